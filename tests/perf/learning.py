"""Hosts that appear one after the other at a fake switch of FAUCET, which learns each from its first packet.

FAUCET's switch tags what comes from a port without tags, and sends what comes from an unknown MAC to the controller.
Each packet is a broadcast ARP request in the VLAN, from a MAC of its own. A host is learned when both entries are
there: whose packets may come from the port, and where packets to it go.
"""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path
from typing import Any

from lab.errors import LabError
from perf import wire
from perf.load import Load
from perf.statistics import percentile

VLAN, PORTS = 100, 48
COOKIE = 0x5ADC15C0
"""What FAUCET gives its entries, and wants to see in a packet-in."""

MAX_HOSTS = 1_000_000

CONFIGURATION = f"""
vlans:
  hosts: {{vid: {VLAN}, max_hosts: {MAX_HOSTS}}}
dps:
  s1:
    dp_id: {wire.DPID:#x}
    hardware: Open vSwitch
    ignore_learn_ins: 0
    interface_ranges:
      1-{PORTS}: {{native_vlan: hosts, max_hosts: {MAX_HOSTS}}}
"""
"""Bounds on hosts raised, and no packet-in ignored on purpose: FAUCET leaves out one in ten by default."""

_SILENCE, _QUIET = 20.0, 0.5
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_PACKET_IN = struct.Struct("!BBHIIHBBQHHII4x2x")
_FIRST_MAC = 0x0200_0010_0000
_ETH_DST, _ETH_SRC, _IN_PORT = 0x80000606, 0x80000806, 0x80000004
_CONFIG_REQUEST, _CONFIG_REPLY, _ADD = 7, 8, 0
_DESCRIPTION, _DESCRIPTION_SIZE = 0, 1056
_FLOW_MOD_MATCH = 48
_MAX_READ = 1 << 18


def packet_in(host: int) -> bytes:
    """The first packet of a host, as the table that knows senders reports it."""
    mac = (_FIRST_MAC + host).to_bytes(6, "big")
    address = (0x0A00_0001 + host).to_bytes(4, "big")
    frame = b"\xff" * 6 + mac + struct.pack("!HHH", 0x8100, VLAN, 0x0806)
    frame += _ARP.pack(1, 0x0800, 6, 4, 1, mac, address, bytes(6), address)
    frame += bytes(64 - len(frame))
    return _PACKET_IN.pack(
        wire.VERSION, wire.PACKET_IN, _PACKET_IN.size + len(frame), 0, 0xFFFFFFFF, len(frame), 1, 1, COOKIE, 1, 12,
        _IN_PORT, 1 + host % PORTS,
    ) + frame  # fmt: skip  # in the order of the wire


class LearningSwitch:
    """The switch. It counts what it is told of each host; everything else it acknowledges."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=_SILENCE)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._told: dict[int, int] = {}
        self.learned = 0
        self.is_asked_for_ports = False
        self.flow_mods = 0
        self._connection.sendall(wire.message(wire.HELLO, 1, struct.pack("!HHI", 1, 8, 1 << 4)))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def handshake(self) -> None:
        """Until FAUCET has written its tables and is silent. Raises LabError."""
        deadline = time.monotonic() + _SILENCE
        while self.read(_QUIET) or not (self.is_asked_for_ports and self.flow_mods):
            if time.monotonic() > deadline:
                raise LabError("FAUCET did not come to rest with the switch")

    def send(self, packets: bytes) -> None:
        """Write packet-ins."""
        self._connection.sendall(packets)

    def read(self, patience: float = _SILENCE) -> bool:
        """Handle what has come; false if nothing did. Raises LabError."""
        self._connection.settimeout(patience)
        try:
            data = self._connection.recv(_MAX_READ)
        except TimeoutError:
            return False
        finally:
            self._connection.settimeout(_SILENCE)
        if not data:
            raise LabError("FAUCET closed the connection")
        self._rest += data
        at = 0
        while len(self._rest) - at >= wire.HEADER.size:
            _, kind, length, xid = wire.HEADER.unpack_from(self._rest, at)
            if length < wire.HEADER.size:
                raise LabError(f"FAUCET sent a message of {length} bytes")
            if len(self._rest) - at < length:
                break
            self._handle(kind, xid, self._rest[at : at + length])
            at += length
        self._rest = self._rest[at:]
        return True

    def _handle(self, kind: int, xid: int, message: bytes) -> None:
        answers = {
            wire.FEATURES_REQUEST: (wire.FEATURES_REPLY, wire.features(xid)[8:]),
            wire.ECHO_REQUEST: (wire.ECHO_REPLY, message[8:]),
            wire.BARRIER_REQUEST: (wire.BARRIER_REPLY, b""),
            _CONFIG_REQUEST: (_CONFIG_REPLY, struct.pack("!HH", 0, 0xFFFF)),
        }
        if kind == wire.FLOW_MOD:
            self._take(message)
        elif kind == wire.MULTIPART_REQUEST:
            self._connection.sendall(self._multipart(xid, int.from_bytes(message[8:10], "big")))
        elif kind in answers:
            answer, body = answers[kind]
            self._connection.sendall(wire.message(answer, xid, body))
        elif kind == wire.ERROR:
            raise LabError(f"FAUCET answered with an error: {message[8:40].hex()}")

    def _multipart(self, xid: int, kind: int) -> bytes:
        if kind == wire.PORT_DESCRIPTION:
            self.is_asked_for_ports = True
            return wire.port_descriptions(xid)
        return wire.multipart(kind, xid, bytes(_DESCRIPTION_SIZE) if kind == _DESCRIPTION else b"")

    def _take(self, message: bytes) -> None:
        """An entry about a host's MAC, for its packets or for those to it."""
        self.flow_mods += 1
        if message[25] != _ADD:
            return
        at, end = _FLOW_MOD_MATCH + 4, _FLOW_MOD_MATCH + int.from_bytes(message[50:52], "big")
        while at < end:
            header = int.from_bytes(message[at : at + 4], "big")
            host = int.from_bytes(message[at + 4 : at + 10], "big") - _FIRST_MAC
            if header in (_ETH_SRC, _ETH_DST) and 0 <= host < MAX_HOSTS:
                before = self._told.get(host, 0)
                self._told[host] = before | (1 if header == _ETH_SRC else 2)
                self.learned += before != 3 and self._told[host] == 3
            at += 4 + (header & 0xFF)


def processor_time(pid: int) -> float:
    """Seconds of all threads of a process."""
    seconds = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            seconds += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
        except OSError:  # it has ended  # noqa: PERF203
            continue
    return seconds / 1e9


def turn_of_faucet(load: Load, port: int, pid: int) -> dict[str, Any]:
    """Hosts instead of flows, with the window of the load. Raises LabError."""
    switch = LearningSwitch(port)
    try:
        switch.handshake()
        hosts = load.warm + load.single + load.many
        packets = [packet_in(host) for host in range(hosts)]
        _many_at_once(switch, packets[: load.warm], load.window)
        alone = [_one(switch, packet) for packet in packets[load.warm : load.warm + load.single]]
        before, own, begun = processor_time(pid), time.process_time(), time.perf_counter()
        _many_at_once(switch, packets[load.warm + load.single :], load.window)
        taken, own = time.perf_counter() - begun, time.process_time() - own
        used = processor_time(pid) - before
    finally:
        switch.close()
    return {
        "rate": load.many / taken,
        "p50": percentile(alone, 50),
        "p99": percentile(alone, 99),
        "p999": percentile(alone, 99.9),
        "cpu": used / load.many * 1e6,
        "load_cpu": own / load.many * 1e6,
        "load_busy": 100 * own / taken,
        "flows": hosts,
        "seconds": taken,
    }


def _one(switch: LearningSwitch, packet: bytes) -> float:
    """Microseconds until one host is learned."""
    due, begun = switch.learned + 1, time.perf_counter()
    switch.send(packet)
    _until(switch, due)
    return (time.perf_counter() - begun) * 1e6


def _many_at_once(switch: LearningSwitch, packets: list[bytes], window: int) -> None:
    """So many outstanding, of which half is sent at once."""
    begun = switch.learned
    for sent in range(0, len(packets), max(1, window // 2)):
        _until(switch, begun + sent - max(1, window // 2))
        switch.send(b"".join(packets[sent : sent + max(1, window // 2)]))
    _until(switch, begun + len(packets))


def _until(switch: LearningSwitch, due: int) -> None:
    while switch.learned < due:
        if not switch.read():
            raise LabError(f"FAUCET has learned {switch.learned} hosts, and no more for {_SILENCE:g} s")
