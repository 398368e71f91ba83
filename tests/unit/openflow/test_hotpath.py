"""The hot path on bytes, held against os-ken's codecs and against messages as Open vSwitch sends them."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_v1_3, ofproto_v1_3_parser

from fakes.frames import packed
from strategies.pipeline import directions
from zethane.adapters.openflow import encode
from zethane.adapters.openflow.hotpath import (
    read_flow_removed,
    read_packet_in,
    write_packet_out,
    write_verified,
)
from zethane.adapters.openflow.oxm import read_match
from zethane.net.flowkey import FlowKey
from zethane.pipeline.change import Add
from zethane.pipeline.fields import parties
from zethane.pipeline.verified import Verified, verified_flow
from zethane.service.switch import FlowRemoved, PacketIn

V4 = (packed("10.0.0.21"), packed("10.0.0.11"))
V6 = (packed("2001:db8::21"), packed("2001:db8::11"))
KEYS = {
    "tcp": FlowKey(*V4, 6, 40000, 443),
    "udp": FlowKey(*V4, 17, 5000, 53),
    "sctp": FlowKey(*V4, 132, 7, 9),
    "echo": FlowKey(*V4, 1, 8, 0),
    "echo reply": FlowKey(*V4, 1, 0, 8),
    "gre": FlowKey(*V4, 47, 0, 0),
    "tcp over ipv6": FlowKey(*V6, 6, 40000, 443),
    "udp over ipv6": FlowKey(*V6, 17, 5000, 53),
    "sctp over ipv6": FlowKey(*V6, 132, 7, 9),
    "echo over ipv6": FlowKey(*V6, 58, 8, 0),
    "echo reply over ipv6": FlowKey(*V6, 58, 0, 8),
    "gre over ipv6": FlowKey(*V6, 47, 0, 0),
}


def fields_in_order(written: bytes) -> list[bytes]:
    """The fields of a flow-mod's match as they stand there."""
    at, stop = 52, 48 + struct.unpack_from("!H", written, 50)[0]
    found = []
    while at < stop:
        length = 4 + written[at + 3]
        found.append(written[at : at + length])
        at += length
    assert at == stop
    return found


def decoded(written: bytes) -> dict[str, Any]:
    """The flow-mod as os-ken's own reader understands it."""
    version, kind, length, xid = struct.unpack_from("!BBHI", written)
    assert (version, kind, length) == (4, 14, len(written))
    message = ofproto_v1_3_parser.OFPFlowMod.parser(encode._DATAPATH, version, kind, length, xid, written)
    found: dict[str, Any] = message.to_jsondict()["OFPFlowMod"]
    found["match"]["OFPMatch"]["oxm_fields"].sort(key=str)
    return found


def check_equal(direction: Verified, *, notify: bool, lease: int, idle: int = 300) -> None:
    ours = write_verified(direction, 7, notify=notify, lease=lease, idle=idle)
    theirs = encode.flow_mod(Add(verified_flow(direction, notify=notify, lease=lease, idle=idle)), 7)
    assert ours[:48] == theirs[:48]
    assert sorted(fields_in_order(ours)) == sorted(fields_in_order(theirs))
    match, instructions = read_match(ours, 48, len(ours))
    assert (match, ours[instructions:]) == (read_match(theirs, 48, len(theirs))[0], theirs[instructions:])
    assert decoded(ours) == decoded(theirs)


@pytest.mark.parametrize("notify", [True, False])
@pytest.mark.parametrize("name", KEYS)
def test_a_per_flow_rule_is_written_as_os_ken_writes_it(name: str, notify: bool) -> None:
    check_equal(Verified(KEYS[name], 5, 9, 2, 3, 0x0000050000090007), notify=notify, lease=0)


@given(directions(), st.booleans(), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_every_per_flow_rule_is_written_as_os_ken_writes_it(
    direction: Verified, notify: bool, lease: int, idle: int
) -> None:
    check_equal(direction, notify=notify, lease=lease, idle=idle)


@pytest.mark.parametrize("name", KEYS)
def test_fields_come_after_those_that_they_need(name: str) -> None:
    """OpenFlow 1.3.5 §7.2.3.6: the EtherType before the protocol and addresses, the protocol before the ports."""
    written = write_verified(Verified(KEYS[name], 5, 9, 2, 3, 1), 7, notify=True, lease=0, idle=300)
    numbers = [field[2] >> 1 for field in fields_in_order(written) if field[:2] == b"\x80\x00"]
    assert numbers.index(5) < numbers.index(10)
    ports = [number for number in numbers if number in {13, 14, 15, 16, 17, 18, 19, 20, 29, 30}]
    assert len(ports) == (0 if "gre" in name else 2)
    assert all(numbers.index(10) < numbers.index(number) for number in ports)


@given(st.integers(1, 0xFFFFFF00), st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_a_packet_out_is_written_as_os_ken_writes_it(port: int, frame: bytes, xid: int) -> None:
    theirs = ofproto_v1_3_parser.OFPPacketOut(
        encode._DATAPATH,
        ofproto_v1_3.OFP_NO_BUFFER,
        ofproto_v1_3.OFPP_CONTROLLER,
        [ofproto_v1_3_parser.OFPActionOutput(port, 0)],
        frame,
    )
    assert write_packet_out(port, frame, xid) == encode._finish(theirs, xid)


PACKET_IN = bytes.fromhex(
    "040a 0068 00000000"  # header: version, packet-in, length, xid
    "ffffffff 0036 01 04 0000000000000007"  # no buffer, total length, by action, table 4, cookie
    "0001 0020"  # match: OXM, 32 bytes
    "80000004 00000003"  # in_port 3
    "80000408 0000050000090000"  # metadata: subject 5, object 9
    "00010004 00000002"  # reg0 2
    "0000"  # padding of the body, not of the match
) + bytes.fromhex("020000000011 020000000021 0800 45000028") + bytes(28)  # fmt: skip  # a line per structure


def test_a_packet_in_is_read() -> None:
    event = read_packet_in(PACKET_IN)
    assert event == PacketIn(3, 4, 7, parties(5, 9), PACKET_IN[58:])
    assert event.frame[:6].hex() == "020000000011"


def test_a_packet_in_without_metadata_belongs_to_nobody() -> None:
    body = PACKET_IN[:24] + bytes.fromhex("0001 000c 80000004 00000003 00000000 0000") + b"frame"
    assert read_packet_in(body) == PacketIn(3, 4, 7, 0, b"frame")


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (24, "0000"),  # a match that is not OXM
        (26, "0003"),  # a match shorter than its own header
        (26, "ffff"),  # a match longer than the message
        (31, "ff"),  # a field longer than the match
    ],
)
def test_a_packet_in_with_a_bad_match_is_malformed(at: int, value: str) -> None:
    changed = bytearray(PACKET_IN)
    changed[at : at + len(value) // 2] = bytes.fromhex(value)
    assert read_packet_in(bytes(changed)) is None


def test_a_truncated_packet_in_is_malformed_or_has_a_shorter_frame() -> None:
    for length in range(len(PACKET_IN)):
        event = read_packet_in(PACKET_IN[:length])
        assert event is None or (length >= 58 and event.frame == PACKET_IN[58:length])


FLOW_REMOVED = struct.pack(
    "!BBHI QHBBIIHHQQ", 4, 11, 0, 0, 0x0000050000090007, 200, 0, 3, 12, 5, 300, 0, 17, 1700
)  # fmt: skip  # header and body


def flow_removed(direction: Verified) -> bytes:
    """A flow-removed about a per-flow rule: its match is the flow-mod's."""
    written = write_verified(direction, 0, notify=True, lease=0, idle=300)
    at = read_match(written, 48, len(written))[1]
    return FLOW_REMOVED + written[48:at]


@given(directions())
def test_a_flow_removed_tells_which_flow_and_how_much(direction: Verified) -> None:
    classes = (direction.sender_class, direction.receiver_class)
    assert read_flow_removed(flow_removed(direction)) == FlowRemoved(
        0x0000050000090007, 0, direction.key, 17, 1700, 300, parties(direction.sender, direction.receiver), 0, classes
    )


def test_a_flow_removed_of_another_table_is_left_out() -> None:
    message = bytearray(flow_removed(Verified(KEYS["tcp"], 5, 9, 2, 3, 1)))
    message[19] = 1
    assert read_flow_removed(bytes(message)) is None


def test_a_truncated_flow_removed_is_malformed() -> None:
    message = flow_removed(Verified(KEYS["tcp over ipv6"], 5, 9, 2, 3, 1))
    assert read_flow_removed(message) is not None
    assert all(read_flow_removed(message[:length]) is None for length in range(len(message)))


@given(st.binary(max_size=120))
def test_no_bytes_raise(data: bytes) -> None:
    event = read_packet_in(data)
    assert event is None or event.frame == data[len(data) - len(event.frame) :]
    removed = read_flow_removed(data)
    assert removed is None or removed.cookie == int.from_bytes(data[8:16], "big")


CHANGES = st.lists(st.tuples(st.integers(8, 110), st.integers(0, 255)), max_size=6)


@given(st.sampled_from((PACKET_IN, flow_removed(Verified(KEYS["udp"], 5, 9, 2, 3, 1)))), CHANGES)
def test_no_change_to_a_message_makes_its_reader_raise(message: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(message)
    for at, value in changes:
        if at < len(data):
            data[at] = value
    event = read_packet_in(bytes(data))
    assert event is None or len(event.frame) < len(data)
    removed = read_flow_removed(bytes(data))
    assert removed is None or removed.key is None or len(removed.key.src) == len(removed.key.dst)
