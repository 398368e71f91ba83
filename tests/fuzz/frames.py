"""Targets: what hosts send, as frames."""

from __future__ import annotations

from fakes.frames import FIN_ACK, SYN, Host, ethernet, ip, mac, packed, tcp_segment
from fuzz import reference
from fuzz.target import Target
from zethane.audit.reason import DenyReason
from zethane.audit.refused import why_refused
from zethane.net.flowkey import TCP, FlowKey, Packet, parse_frame
from zethane.net.neighbour import build_answer, parse_question, parse_statement
from zethane.net.router import parse_advertisement, parse_solicitation
from zethane.net.vlan import tagged, untagged
from zethane.net.walked import read_walked
from zethane.pipeline.flow import match
from zethane.pipeline.simulate import Simulator
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import Verified, key_fields, key_of, verified_flow

ALICE = Host(2, "02:00:00:00:00:15", "10.0.0.21", "2001:db8::21")
WEB = Host(3, "02:00:00:00:00:11", "10.0.0.11", "2001:db8::11")
ALICE6 = Host(2, ALICE.mac, "2001:db8::21")
WEB6 = Host(3, WEB.mac, "2001:db8::11")
_OPTIONS = b"\x3c\0" + bytes(6) + b"\x06\0" + bytes(6)
"""A hop-by-hop and a destination options header in front of TCP, each without options."""

_SYN = tcp_segment(40000, 443, SYN)
ROUTER = Host(7, "02:00:00:00:00:01", "fe80::1")
PREFIX = bytes((3, 4, 64, 0xC0)) + b"\0\0\x0e\x10" * 2 + bytes(4) + packed("2001:db8::")
ADVERTISEMENT = bytes((134, 0, 0, 0, 64, 0, 7, 8)) + bytes(8) + b"\1\1" + mac(ROUTER.mac) + PREFIX
OWN_MAC = bytes.fromhex("0200000000fe")


def seed_frames() -> dict[str, bytes]:
    """A frame of every kind that the parsers tell apart."""
    request = ALICE.udp(WEB, 40000, 53)
    return {
        "tcp-syn": ALICE.tcp(WEB, 40000, 443),
        "tcp-data": ALICE.tcp(WEB, 40000, 443, 0x18, b"GET / HTTP/1.0\r\n\r\n"),
        "tcp-fin": WEB.tcp(ALICE, 443, 40000, FIN_ACK),
        "tcp-ipv6": ALICE6.tcp(WEB6, 40000, 443),
        "udp": request,
        "udp-ipv6": ALICE6.udp(WEB6, 40000, 53),
        "sctp": ethernet(ALICE.mac, WEB.mac, *ip(ALICE.ip, WEB.ip, 132, b"\x9c\x40\x16\x63" + bytes(16))),
        "echo": ALICE.echo(WEB),
        "echo-reply": WEB.echo(ALICE, reply=True),
        "echo-ipv6": ALICE6.echo(WEB6),
        "unreachable": WEB.unreachable(ALICE, request),
        "options": ethernet(
            ALICE.mac, WEB.mac, *ip(ALICE6.ip, WEB6.ip, 0, b"\x3c\0" + bytes(6) + b"\x06\0" + bytes(6) + _SYN)
        ),
        "router": ethernet(ALICE.mac, "33:33:00:00:00:01", *ip("fe80::1", "ff02::1", 58, b"\x86" + bytes(15))),
        "gre": ethernet(ALICE.mac, WEB.mac, *ip(ALICE.ip, WEB.ip, 47, b"\0\0\x08\0" + bytes(8))),
        "arp": ALICE.arp(WEB.ip),
        "arp-reply": ALICE.arp(WEB.ip, operation=2),
        "arp-probe": ALICE.arp(WEB.ip, sender="0.0.0.0"),  # noqa: S104  # an ARP probe, not a listener
        "solicitation": ALICE6.solicitation(WEB6.ip),
        "solicitation-probe": ALICE6.solicitation(WEB6.ip, sender="::"),
        "both-options": behind_options(ALICE6.tcp(WEB6, 40000, 443), 0, 60),
        "destination-options": behind_options(ALICE6.echo(WEB6), 60),
        "routing-header": behind_options(ALICE6.tcp(WEB6, 40000, 443), 43),
        "atomic-fragment": behind_options(ALICE6.tcp(WEB6, 40000, 443), 44),
        "advertisement": ALICE6.advertisement(ALICE6.ip),
        "router-solicitation": ALICE6.icmpv6("fe80::15", "ff02::2", bytes((133, 0, 0, 0, 0, 0, 0, 0))),
        "router-advertisement": ROUTER.icmpv6("fe80::1", "ff02::1", ADVERTISEMENT),
    }


def behind_options(frame: bytes, *kinds: int) -> bytes:
    """The IPv6 packet of a frame with extension headers of eight bytes in front of what it carries."""
    following, payload = frame[20], frame[54 : 54 + int.from_bytes(frame[18:20], "big")]
    for kind in reversed(kinds):
        payload, following = bytes((following, 0)) + bytes(6) + payload, kind
    return frame[:18] + len(payload).to_bytes(2, "big") + bytes((following,)) + frame[21:54] + payload


def check_frame(data: bytes) -> None:
    """The key agrees with the reference's, and a per-flow rule for the key matches the very packet."""
    packet, seen = parse_frame(data), reference.read(data)
    walked = read_walked(data)
    if packet is None:
        assert not _should_be_read(seen), f"not read: {reference.text(seen.fields)}" if seen else ""
        return
    assert walked == packet
    assert seen is not None, f"read although it is cut off: {packet}"
    assert seen.plain, f"read although its ports are not certain: {packet}"
    assert (packet.key.src, packet.key.dst) == reference.addresses(seen.fields)
    assert packet.key.proto == seen.fields["ip_proto"]
    assert (packet.eth_dst, packet.eth_src) == (data[:6], data[6:12])
    assert packet.flags == (seen.fields["tcp_flags"] if packet.key.proto == TCP else 0)
    if packet.error_about is not None:
        _check_error(packet, seen)
        return
    _check_key(packet.key)
    _check_rule(packet.key, seen.fields)


def _should_be_read(seen: reference.Seen | None) -> bool:
    """Whether the reference is sure of all that a flow's key needs."""
    if seen is None or not seen.plain:
        return False
    proto = seen.fields["ip_proto"]
    name = {1: "icmpv4", 58: "icmpv6"}.get(proto)
    if name is None:
        return proto != 0
    return seen.fields[f"{name}_type"] in reference.ECHO[proto] and seen.fields[f"{name}_code"] == 0


def _check_key(key: FlowKey) -> None:
    """A key is the same after a way through a match, and its reverse's reverse is itself."""
    assert key.reverse().reverse() == key
    assert key_of(match(**key_fields(key))) == key


def _check_rule(key: FlowKey, fields: dict[str, int]) -> None:
    """The simulator takes the packet by the rule that would be written for it, and none for the other direction."""
    rule = verified_flow(Verified(key, 5, 9, 2, 3, 1), notify=False)
    packet = {**fields, "metadata": 5 << 40 | 9 << 16, "reg0": 2, "reg1": 3}
    assert Simulator([rule]).run_from(Table.FLOW, packet).path == [rule]
    if key.reverse() != key:
        back = verified_flow(Verified(key.reverse(), 5, 9, 2, 3, 1), notify=False)
        assert not Simulator([back]).run_from(Table.FLOW, packet).path


def _check_error(packet: Packet, seen: reference.Seen) -> None:
    """The flow that an ICMP error is about is the one that the reference reads from what it quotes."""
    about, inner = packet.error_about, seen.quoted
    assert about is not None
    assert inner is not None, f"an error about {about}, which it does not quote"
    assert (about.src, about.dst) == reference.addresses(inner.fields)
    assert about.proto == inner.fields["ip_proto"]
    assert all(
        inner.fields.get(name, value) == value for name, value in key_fields(about).items() if "code" not in name
    )


def check_router(data: bytes) -> None:
    """Nobody but the router is believed, and its prefixes are such as hosts make addresses of."""
    asked, said = parse_solicitation(data), parse_advertisement(data, mac(ROUTER.mac))
    assert asked is None or said is None
    if asked is not None:
        assert (asked.mac, asked.source) == (data[6:12], data[22:38])
    if said is not None:
        assert data[6:12] == mac(ROUTER.mac)
        assert (data[20], data[21], data[54], data[55]) == (58, 255, 134, 0)
        assert said.source == data[22:38]
        assert all(prefix.prefixlen == 64 and not prefix.is_link_local for prefix in said.prefixes)
    statement = parse_statement(data)
    assert statement is None or statement.mac == data[6:12]
    assert isinstance(why_refused(data), DenyReason)


def check_neighbour(data: bytes) -> None:
    """A question never names another than its sender, and its answer is an answer to it alone."""
    question = parse_question(data)
    if question is None:
        return
    assert question.mac == data[6:12]
    assert len(question.sender) == len(question.target) in (4, 16)
    if len(question.target) == 4:
        assert data[12:22] == bytes.fromhex("0806 0001 0800 06 04 0001")
        assert (data[22:28], data[28:32], data[38:42]) == (question.mac, question.sender, question.target)
    else:
        assert data[12:14] == b"\x86\xdd"
        assert (data[20], data[21], data[54], data[55]) == (58, 255, 135, 0)
        assert (data[22:38], data[62:78]) == (question.sender, question.target)
    answer = build_answer(question, OWN_MAC)
    assert len(answer) >= 60
    assert (answer[:6], answer[6:12]) == (question.mac, OWN_MAC)
    assert parse_question(answer) is None


def check_refused(data: bytes) -> None:
    """Every frame has a reason, one that is about frames, and has it again when it is cut off behind its headers."""
    reason = why_refused(data)
    assert reason in FRAME_REASONS
    assert isinstance(untagged(data)[1], bytes)
    vlan, inner = untagged(data)
    assert not vlan or tagged(inner, vlan)[16:] == data[16:]


FRAME_REASONS = {
    DenyReason.MALFORMED,
    DenyReason.VLAN_NOT_ALLOWED,
    DenyReason.NEIGHBOUR_SPOOF,
    DenyReason.ROUTER_SPOOF,
    DenyReason.FRAGMENT,
    DenyReason.IP_OPTIONS,
    DenyReason.EXTENSION_HEADER,
}

TARGETS = (
    Target("frame", check_frame, seed_frames, 256),
    Target("refused", check_refused, seed_frames, 256),
    Target("neighbour", check_neighbour, seed_frames, 256),
    Target("router", check_router, seed_frames, 256),
)
