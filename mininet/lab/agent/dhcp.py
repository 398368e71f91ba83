"""A small DHCP client: asks for addresses, renews them by unicast, gives them back. Standard library only.

It says what it got and sets nothing: `python -c … lease|renew|release ipv4|ipv6 [WHAT]` prints JSON, where WHAT is what
an earlier `lease` has printed.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from lab.agent.packets import internet_checksum

INTERFACE = "eth0"
TRIES, PATIENCE = 4, 2.0
"""How often a message is sent, and how many seconds an answer gets."""

_ETH_IP = 0x0800
_COOKIE = b"\x63\x82\x53\x63"
_DISCOVER, _OFFER, _REQUEST, _ACK, _NAK, _RELEASE = 1, 2, 3, 5, 6, 7
_SOLICIT, _ADVERTISE, _REQUEST6, _RENEW6, _REPLY, _RELEASE6 = 1, 2, 3, 5, 7, 8
_ALL_SERVERS = "ff02::1:2"

Answer = dict[int, bytes]
"""Options of a message; 0 is the address offered, -1 the message's type."""


def own_mac() -> bytes:
    """The interface's MAC."""
    with open(f"/sys/class/net/{INTERFACE}/address", encoding="ascii") as file:
        return bytes.fromhex(file.read().strip().replace(":", ""))


def _options(pairs: Iterable[tuple[int, bytes]], size: str) -> bytes:
    return b"".join(struct.pack(size, code, len(value)) + value for code, value in pairs)


def _until(wanted: Callable[[], Any], what: str, send: Callable[[], object]) -> Any:
    """Send until an answer comes. Raises SystemExit without one.

    An interface that is only just up may refuse to send, for lack of a route or an address of its own.
    """
    refused = ""
    for _ in range(TRIES):
        try:
            send()
            refused = ""
        except OSError as error:
            refused = f", and the last question could not be sent: {error.strerror}"
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = wanted()
            if found is not None:
                return found
    raise SystemExit(f"no answer to {what}{refused}")


# IPv4 (RFC 2131)


def _message(kind: int, xid: int, mac: bytes, current: bytes, options: Iterable[tuple[int, bytes]]) -> bytes:
    fixed = struct.pack("!BBBBIHH4s12x16s192x", 1, 1, 6, 0, xid, 0, 0, current, mac)
    given = _options([(53, bytes((kind,))), *options], "!BB")
    return fixed + _COOKIE + given + b"\xff"


def _frame(mac: bytes, payload: bytes) -> bytes:
    """A broadcast of a host that has no address, which no socket of the kernel's would send."""
    udp = struct.pack("!HHHH", 68, 67, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    header = header[:10] + struct.pack("!H", internet_checksum(header)) + header[12:]
    return b"\xff" * 6 + mac + struct.pack("!H", _ETH_IP) + header + udp


def _answer(payload: bytes, xid: int) -> Answer | None:
    if len(payload) < 241 or payload[0] != 2 or int.from_bytes(payload[4:8], "big") != xid:
        return None
    found: Answer = {0: payload[16:20]}
    at = 240
    while at + 1 < len(payload) and payload[at] != 255:
        if payload[at] == 0:
            at += 1
            continue
        found[payload[at]] = payload[at + 2 : at + 2 + payload[at + 1]]
        at += 2 + payload[at + 1]
    found[-1] = found.get(53, b"\0")
    return found


def _receive_frame(raw: socket.socket, xid: int, kinds: tuple[int, ...]) -> Answer | None:
    try:
        frame = raw.recv(2048)
    except TimeoutError:
        return None
    at = 14 + (frame[14] & 15) * 4 if len(frame) > 14 else len(frame)
    if len(frame) < at + 8 or frame[23] != 17 or frame[at + 2 : at + 4] != b"\0\x44":
        return None
    found = _answer(frame[at + 8 :], xid)
    return found if found is not None and found[-1][0] in kinds else None


def _told(answer: Answer) -> dict[str, Any]:
    mask = ipaddress.ip_address(answer.get(1, b"\xff" * 4))
    address = ipaddress.ip_interface(f"{ipaddress.ip_address(answer[0])}/{mask}")
    names = [str(ipaddress.ip_address(answer[6][at : at + 4])) for at in range(0, len(answer.get(6, b"")), 4)]
    return {
        "address": str(address),
        "server": str(ipaddress.ip_address(answer[54])),
        "seconds": int.from_bytes(answer[51], "big"),
        "dns": names,
    }


def lease4() -> dict[str, Any]:
    """Ask for an address. Raises SystemExit if no server gives one."""
    mac, xid = own_mac(), int.from_bytes(os.urandom(4), "big")
    wish = (55, bytes((1, 6, 51)))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_IP)) as raw:
        raw.bind((INTERFACE, _ETH_IP))
        raw.settimeout(PATIENCE / 4)
        discover = _frame(mac, _message(_DISCOVER, xid, mac, bytes(4), [wish]))
        offer = _until(lambda: _receive_frame(raw, xid, (_OFFER,)), "DISCOVER", lambda: raw.send(discover))
        options = [(50, offer[0]), (54, offer[54]), wish]
        request = _frame(mac, _message(_REQUEST, xid, mac, bytes(4), options))
        answer = _until(lambda: _receive_frame(raw, xid, (_ACK, _NAK)), "REQUEST", lambda: raw.send(request))
    if answer[-1][0] == _NAK:
        raise SystemExit("the server has changed its mind")
    return _told(answer)


def again4(kind: int, lease: dict[str, Any]) -> dict[str, Any]:
    """Renew or release a lease, by unicast from its address."""
    address = str(ipaddress.ip_interface(lease["address"]).ip)
    mac, xid = own_mac(), int.from_bytes(os.urandom(4), "big")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, INTERFACE.encode())
        udp.bind((address, 68))
        udp.settimeout(PATIENCE)
        server = (54, ipaddress.ip_address(lease["server"]).packed)
        options = [server] if kind == _RELEASE else [(55, bytes((1, 6, 51)))]
        message = _message(kind, xid, mac, ipaddress.ip_address(address).packed, options)
        if kind == _RELEASE:
            udp.sendto(message, (lease["server"], 67))
            return {}

        def received() -> Answer | None:
            try:
                found = _answer(udp.recv(2048), xid)
            except TimeoutError:
                return None
            return found if found is not None and found[-1][0] in (_ACK, _NAK) else None

        answer = _until(received, "renewal", lambda: udp.sendto(message, (lease["server"], 67)))
    if answer[-1][0] == _NAK:
        raise SystemExit("the server does not renew the lease")
    return _told(answer)


# IPv6 (RFC 8415)


def _parts(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from("!HH", data, at)
        found[code] = data[at + 4 : at + 4 + length]
        at += 4 + length
    return found


def ask6(kinds: tuple[int, int], lease: dict[str, Any] | None) -> dict[str, Any]:
    """One question and its answer: the address, for how long, and the server's DUID. Raises SystemExit."""
    mac, xid = own_mac(), os.urandom(3)
    inside = b""
    if lease is not None:
        address = ipaddress.ip_interface(lease["address"]).ip.packed
        inside = _options([(5, address + struct.pack("!II", 0, 0))], "!HH")
    options = [(1, b"\0\3\0\1" + mac), (8, b"\0\0"), (3, mac[2:] + struct.pack("!II", 0, 0) + inside)]
    if lease is not None:
        options.append((2, bytes.fromhex(lease["server"])))
    message = bytes((kinds[0],)) + xid + _options(options, "!HH")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, INTERFACE.encode())
        udp.bind(("::", 546))
        udp.settimeout(PATIENCE)
        place = (_ALL_SERVERS, 547, 0, socket.if_nametoindex(INTERFACE))

        def received() -> dict[int, bytes] | None:
            try:
                data = udp.recv(2048)
            except TimeoutError:
                return None
            return _parts(data[4:]) if data[:1] == bytes((kinds[1],)) and data[1:4] == xid else None

        answer = _until(received, f"DHCPv6 {kinds[0]}", lambda: udp.sendto(message, place))
    given = _parts(answer.get(3, b"")[12:]).get(5)
    if given is None:
        return {"server": answer[2].hex()}
    return {
        "address": str(ipaddress.ip_address(given[:16])),
        "seconds": int.from_bytes(given[20:24], "big"),
        "server": answer[2].hex(),
    }


def lease6() -> dict[str, Any]:
    """Ask for an address. Raises SystemExit if no server gives one."""
    offer = ask6((_SOLICIT, _ADVERTISE), None)
    lease = ask6((_REQUEST6, _REPLY), offer) if "address" in offer else {}
    if "address" not in lease:
        raise SystemExit("no server has an IPv6 address")
    return lease


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    action, family, *rest = arguments
    what = json.loads(rest[0]) if rest else None
    if family == "ipv4":
        told = lease4() if what is None else again4(_REQUEST if action == "renew" else _RELEASE, what)
    elif what is None:
        told = lease6()
    else:
        told = ask6((_RENEW6 if action == "renew" else _RELEASE6, _REPLY), what)
    sys.stdout.write(json.dumps(told) + "\n")
