"""Targets: what hosts and servers say to the network's own services, DHCP, DHCPv6 and LLDP."""

from __future__ import annotations

from fakes import eapol as supplicant
from fakes.dhcp import from_host, from_host6, from_server, from_server6
from fuzz import reference
from fuzz.frames import ALICE, ALICE6, WEB, WEB6, seed_frames
from fuzz.target import Target
from zethane.net import dhcp, dhcpv6
from zethane.net.datagram import parse_datagram
from zethane.net.eapol import ETH_EAPOL, MAX_IDENTITY, Code, FrameType, build_frame, parse_eap, parse_frame
from zethane.net.lldp import KEY_LENGTH, NONCE_LENGTH, PROBE_LENGTH, Probe, build_probe, read_probe

_KEY = bytes(KEY_LENGTH)


def _dhcp_frames() -> dict[str, bytes]:
    requested = ("requested_addr", ALICE.ip)
    return {
        "discover": from_host(ALICE, "discover", requested),
        "request": from_host(ALICE, "request", requested, ("server_id", WEB.ip)),
        "renew": from_host(ALICE, "request", current=ALICE.ip),
        "decline": from_host(ALICE, "decline", requested, ("server_id", WEB.ip)),
        "offer": from_server(WEB, ALICE, "offer", ALICE.ip),
        "ack": from_server(WEB, ALICE, "ack", ALICE.ip),
        "nak": from_server(WEB, ALICE, "nak", lease=None),
    }


def _dhcpv6_frames() -> dict[str, bytes]:
    return {
        "solicit": from_host6(ALICE6, "solicit"),
        "request": from_host6(ALICE6, "request", ALICE6.ip),
        "release": from_host6(ALICE6, "release", ALICE6.ip, "2001:db8::22"),
        "reply": from_server6(WEB6, ALICE6, "reply", **{ALICE6.ip: 3600}),
    }


# datagrams


def check_datagram(data: bytes) -> None:
    """The payload is what the reference finds behind a UDP header directly behind an IP header, to the last byte."""
    found = parse_datagram(data)
    if found is None:
        return
    seen = reference.read(data)
    assert seen is not None
    assert seen.plain
    assert data[20 if len(found.src) == 16 else 23] == 17
    assert (found.src, found.dst) == reference.addresses(seen.fields)
    assert (found.sport, found.dport) == (seen.fields["udp_src"], seen.fields["udp_dst"])
    assert int.from_bytes(seen.transport[4:6], "big") == len(seen.transport)
    assert found.payload == seen.transport[8:]
    assert data.startswith(found.frame)
    assert found.frame.endswith(found.payload)


def seed_datagrams() -> dict[str, bytes]:
    return seed_frames() | _dhcp_frames() | {f"{name}-v6": frame for name, frame in _dhcpv6_frames().items()}


# DHCP


def check_dhcp(data: bytes) -> None:
    """What decides is said once in the options that everybody finds, and taken from nowhere else."""
    message = dhcp.parse_message(data)
    if message is None:
        return
    options = _walk(data)
    codes = [code for code, _ in options]
    values = dict(options)
    assert all(codes.count(code) <= 1 for code in (50, 51, 52, 53, 54, 61, 82))
    assert values[53] == bytes((message.kind,))
    assert data[0] == (1 if message.from_client else 2)
    assert (message.mac, message.client) == (data[28:34], values.get(61, data[28:34]))
    for address, said in (
        (message.current, data[12:16]),
        (message.offered, data[16:20]),
        (message.requested, values.get(50, bytes(4))),
        (message.server, values.get(54, bytes(4))),
    ):
        assert (address or bytes(4)) == said
    assert message.lease is None or message.lease == int.from_bytes(values[51], "big")
    assert message.relayed == (data[3] != 0 or data[24:28] != bytes(4) or 82 in codes)


def _walk(data: bytes) -> list[tuple[int, bytes]]:
    """Code and value of every option up to the end (RFC 2132 section 2)."""
    left, found = reference.Reader(data[240:]), []
    while (code := left.number(1)) != 255:
        if code:
            found.append((code, left.take(left.number(1))))
    return found


def seed_dhcp() -> dict[str, bytes]:
    return {name: frame[42:] for name, frame in _dhcp_frames().items()}


def check_dhcpv6(data: bytes) -> None:
    """Identities and addresses are bounded in number and length, and are bytes of the message."""
    message = dhcpv6.parse_message(data)
    if message is None:
        return
    assert (message.kind, message.xid) == (data[0], int.from_bytes(data[1:4], "big"))
    for duid in (message.client, message.server):
        assert duid is None or (3 <= len(duid) <= dhcpv6.MAX_DUID and duid in data)
    assert len(message.associations) <= dhcpv6.MAX_LEASES
    for association in message.associations:
        assert len(association.identity) == 4
        assert len(association.leases) <= dhcpv6.MAX_LEASES
    for leased in message.leases:
        assert len(leased.address) == 16
        assert leased.address + bytes(0) in data
        assert 0 <= leased.valid <= dhcpv6.INFINITE


def seed_dhcpv6() -> dict[str, bytes]:
    return {name: frame[62:] for name, frame in _dhcpv6_frames().items()}


# LLDP


def check_lldp(data: bytes) -> None:
    """A frame is a probe only if it is one that was built; a probe with any one byte changed is none.

    The bytes are a frame; or, if there are just so many, what a probe says and where it is changed to what.
    """
    found = read_probe(data, _KEY)
    assert found is None or build_probe(found, _KEY) == data
    if len(data) != 12 + NONCE_LENGTH + 8 + 2:
        return
    nonce = data[12 : 12 + NONCE_LENGTH]
    sent = int.from_bytes(data[-10:-2], "big")
    probe = Probe(int.from_bytes(data[:8], "big"), int.from_bytes(data[8:12], "big"), nonce, sent)
    frame = bytearray(build_probe(probe, _KEY))
    assert len(frame) == PROBE_LENGTH
    assert read_probe(bytes(frame), _KEY) == probe
    assert read_probe(bytes(frame), bytes((1,)) * KEY_LENGTH) is None
    frame[data[-2] % len(frame)] ^= data[-1]
    assert (read_probe(bytes(frame), _KEY) is None) == (data[-1] != 0)


def seed_lldp() -> dict[str, bytes]:
    probe = Probe(1, 2, bytes(NONCE_LENGTH), 1_700_000_000_000)
    return {"probe": build_probe(probe, _KEY), "changed": bytes(12 + NONCE_LENGTH + 8) + b"\x07\x01"}


# EAPOL


def seed_eapol() -> dict[str, bytes]:
    hello = bytes.fromhex("0000000516030100c8")
    return {
        "start": supplicant.start(ALICE),
        "logoff": supplicant.logoff(ALICE),
        "identity": supplicant.answers(ALICE, 1, 1, b"alice"),
        "nak": supplicant.answers(ALICE, 2, 3, bytes((25, 21))),
        "tls": supplicant.answers(ALICE, 3, 13, hello),
        "request": build_frame(bytes(6), bytes(6), supplicant.eap(1, 1, bytes((1,)))),
        "success": build_frame(bytes(6), bytes(6), supplicant.eap(3, 1)),
    }


def check_eapol(data: bytes) -> None:
    """What is read is in the frame, with lengths that fit; EAP reads back out of a frame that is built for it."""
    parse_eap(data)
    found = parse_frame(data)
    if found is None:
        return
    assert data[12:14] == ETH_EAPOL.to_bytes(2, "big")
    assert (found.destination, found.mac, found.kind) == (data[:6], data[6:12], data[15])
    assert (found.eap is not None) is (found.kind == FrameType.EAP)
    if found.eap is None:
        return
    eap = found.eap
    assert data[18:].startswith(eap.packet)
    assert len(eap.packet) == int.from_bytes(data[20:22], "big") <= int.from_bytes(data[16:18], "big")
    assert (eap.method is None) is (eap.code in (Code.SUCCESS, Code.FAILURE))
    assert eap.identity is None or 0 < len(eap.identity.encode()) <= MAX_IDENTITY
    again = parse_frame(build_frame(bytes(6), found.mac, eap.packet))
    assert again is not None
    assert again.eap == eap


TARGETS = (
    Target("datagram", check_datagram, seed_datagrams, 512),
    Target("dhcp", check_dhcp, seed_dhcp, 512),
    Target("dhcpv6", check_dhcpv6, seed_dhcpv6, 256),
    Target("lldp", check_lldp, seed_lldp, 256),
    Target("eapol", check_eapol, seed_eapol, 256),
)
