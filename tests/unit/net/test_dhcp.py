"""DHCP and DHCPv6: read as RFC 2131 and RFC 8415 have it, and nothing that is not exactly so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.dhcp import from_host, from_host6, from_server, from_server6, message6
from fakes.frames import Host, ip, mac, packed
from zethane.net import dhcp, dhcpv6
from zethane.net.datagram import parse_datagram

HOST = Host(2, "02:00:00:00:00:21", "10.0.0.21")
SERVER = Host(3, "02:00:00:00:00:03", "10.0.0.3")


def v4(frame: bytes) -> dhcp.Message | None:
    datagram = parse_datagram(frame)
    assert datagram is not None
    return dhcp.parse_message(datagram.payload)


def v6(frame: bytes) -> dhcpv6.Message | None:
    datagram = parse_datagram(frame)
    assert datagram is not None
    return dhcpv6.parse_message(datagram.payload)


def payload(*options: Any, **changed: Any) -> bytes:
    datagram = parse_datagram(from_host(HOST, "request", *options, **changed))
    assert datagram is not None
    return datagram.payload


# frames


def test_a_datagram_is_what_its_lengths_say_and_its_frame_has_no_padding() -> None:
    frame = HOST.udp(SERVER, 68, 67, b"abc")
    found = parse_datagram(frame)
    assert found is not None
    assert (found.sport, found.dport, found.payload) == (68, 67, b"abc")
    assert found.frame == frame[:45]
    assert len(frame) == 60


@pytest.mark.parametrize("length", [0, 7, 10, 12, 0xFFFF])
def test_a_udp_length_that_does_not_fit_is_no_datagram(length: int) -> None:
    frame = bytearray(HOST.udp(SERVER, 68, 67, b"abc"))
    frame[38:40] = length.to_bytes(2, "big")
    assert parse_datagram(bytes(frame)) is None


def test_ipv4_options_tcp_and_nothing_are_no_datagrams() -> None:
    _, packet = ip(HOST.ip, SERVER.ip, 17, b"\0\x44\0\x43\0\x08\0\0")
    longer = bytes((0x46,)) + packet[1:20] + bytes(4) + packet[20:]
    assert parse_datagram((HOST.udp(SERVER, 1, 2)[:14] + longer).ljust(60, b"\0")) is None
    assert parse_datagram(HOST.tcp(SERVER, 68, 67)) is None
    assert parse_datagram(b"") is None


@given(st.binary(max_size=120))
def test_no_bytes_stop_the_datagram_parser(tail: bytes) -> None:
    for head in (HOST.udp(SERVER, 68, 67)[:14], from_host6(HOST, "solicit")[:20]):
        found = parse_datagram(head + tail)
        assert found is None or found.payload in head + tail


# DHCPv4


def test_a_discover() -> None:
    assert v4(from_host(HOST, "discover", xid=99)) == dhcp.Message(
        dhcp.Kind.DISCOVER, 99, mac(HOST.mac), mac(HOST.mac), None, None, None, None, None, relayed=False
    )


def test_a_request_names_address_server_and_client() -> None:
    options = [("requested_addr", "10.0.0.77"), ("server_id", "10.0.0.3"), ("client_id", b"\xffabc")]
    found = v4(from_host(HOST, "request", *options))
    assert found is not None
    assert (found.requested, found.wanted, found.server) == (
        packed("10.0.0.77"),
        packed("10.0.0.77"),
        packed(SERVER.ip),
    )
    assert found.client == b"\xffabc"
    assert found.from_client


def test_an_ack() -> None:
    found = v4(from_server(SERVER, HOST, "ack", "10.0.0.77", lease=600))
    assert found is not None
    assert (found.kind, found.offered, found.lease, found.server) == (
        dhcp.Kind.ACK,
        packed("10.0.0.77"),
        600,
        packed(SERVER.ip),
    )
    assert not found.from_client


@pytest.mark.parametrize(
    "frame",
    [
        from_host(HOST, "discover", giaddr="10.0.0.9"),
        from_host(HOST, "discover", hops=1),
        from_host(HOST, "discover", ("relay_agent_information", b"\1\2ab")),
    ],
    ids=["giaddr", "hops", "option 82"],
)
def test_what_only_relay_agents_add_is_seen(frame: bytes) -> None:
    found = v4(frame)
    assert found is not None
    assert found.relayed


REFUSED = {
    "short": payload()[:239],
    "another cookie": payload()[:236] + b"abcd" + payload()[240:],
    "a request from a server": b"\2" + payload()[1:],
    "token ring": b"\1\6" + payload()[2:],
    "a long hardware address": b"\1\1\x10" + payload()[3:],
    "no end": payload()[: payload().rindex(b"\xff")],
    "an option without a length": payload()[: payload().rindex(b"\xff")] + b"\x0c",
    "an option longer than the message": payload()[: payload().rindex(b"\xff")] + b"\x0c\xf0abc",
    "two types": payload(("message-type", 7)),
    "two addresses": payload(("requested_addr", "10.0.0.7"), ("requested_addr", "10.0.0.8")),
    "an address of 5 bytes": payload()[: payload().rindex(b"\xff")] + b"\x32\x05abcde\xff",
    "options in other fields": payload()[: payload().rindex(b"\xff")] + b"\x34\x01\x03\xff",
    "no type": payload()[:240] + b"\xff",
    "type 9": payload()[:240] + b"\x35\x01\x09\xff",
    "too long": payload()[: payload().rindex(b"\xff")] + bytes(1500) + b"\xff",
}


@pytest.mark.parametrize("message", REFUSED.values(), ids=REFUSED)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    assert dhcp.parse_message(message) is None


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_stop_the_parser(tail: bytes, framed: bool) -> None:
    found = dhcp.parse_message(payload()[:240] + tail if framed else tail)
    assert found is None or found.kind in dhcp.Kind


# DHCPv6


def test_a_solicit() -> None:
    found = v6(from_host6(HOST, "solicit", xid=0x123456))
    assert found is not None
    assert (found.kind, found.xid, found.leases, found.relayed) == (dhcpv6.Kind.SOLICIT, 0x123456, (), False)
    assert found.client == b"\0\3\0\1" + mac(HOST.mac)
    assert found.associations == (dhcpv6.Association(b"\0\0\0\1", ()),)


def test_a_reply_with_addresses() -> None:
    found = v6(from_server6(SERVER, HOST, "reply", **{"2001:db8::70": 600, "2001:db8::71": 0}))
    assert found is not None
    assert found.leases == (dhcpv6.Leased(packed("2001:db8::70"), 600), dhcpv6.Leased(packed("2001:db8::71"), 0))
    assert not found.from_client


def test_a_relay_agents_options_are_seen() -> None:
    found = dhcpv6.parse_message(bytes(message6("solicit", HOST, {})) + b"\0\x12\0\2ab")
    assert found is not None
    assert found.relayed


SOLICIT = bytes(message6("solicit", HOST, {"2001:db8::70": 600}))
REFUSED6 = {
    "short": SOLICIT[:3],
    "relay-forward": b"\x0c" + SOLICIT[1:],
    "reconfigure": b"\x0a" + SOLICIT[1:],
    "cut": SOLICIT[:-1],
    "longer": SOLICIT + b"\0",
    "an option longer than the message": SOLICIT + b"\0\x06\xff\xff",
    "no client": SOLICIT[:4],
    "two clients": SOLICIT + b"\0\1\0\4abcd",
    "a long client": SOLICIT[:4] + b"\0\1\0\x83" + bytes(131),
    "prefix delegation": SOLICIT + b"\0\x19\0\x0c" + bytes(12),
    "a short IA": SOLICIT + b"\0\3\0\4" + bytes(4),
    "a short address": SOLICIT + b"\0\3\0\x18" + bytes(12) + b"\0\5\0\x08" + bytes(8),
    "too many IAs": SOLICIT + (b"\0\4\0\4" + bytes(4)) * 8,
    "too many options": SOLICIT + b"\0\x08\0\0" * 64,
}


@pytest.mark.parametrize("message", REFUSED6.values(), ids=REFUSED6)
def test_what_is_no_dhcpv6_message_is_refused(message: bytes) -> None:
    assert dhcpv6.parse_message(SOLICIT) is not None
    assert dhcpv6.parse_message(message) is None


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_stop_the_dhcpv6_parser(tail: bytes, framed: bool) -> None:
    found = dhcpv6.parse_message(SOLICIT + tail if framed else tail)
    assert found is None or found.kind in dhcpv6.Kind
