"""Per-flow rules read with one struct: what that yields is what the reader of any field order yields, or nothing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.adapters.openflow import decode
from zethane.adapters.openflow.held import read_held_rule
from zethane.adapters.openflow.hotpath import write_verified
from zethane.net.flowkey import ICMP, SCTP, TCP, UDP, FlowKey
from zethane.pipeline.change import Installed
from zethane.pipeline.held import HeldRule, held_rule
from zethane.pipeline.verified import Verified

ADDRESSES = ((bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))), (bytes(15) + b"\1", bytes(15) + b"\2"))
NUMBERS = st.integers(0, 0xFFFFFF)


def reported(written: bytes, age: float = 1.5, packets: int = 3, octets: int = 180) -> bytes:
    """The flow-stats entry of a flow-mod's entry, its fields in the order in which Open vSwitch has them."""
    (cookie,) = struct.unpack_from("!Q", written, 8)
    idle, hard, priority = struct.unpack_from("!HHH", written, 26)
    (flags,) = struct.unpack_from("!H", written, 44)
    size = struct.unpack_from("!H", written, 50)[0]
    fields, at = [], 52
    while at < 48 + size:
        length = 4 + written[at + 3]
        fields.append(written[at : at + length])
        at += length
    metadata, reg0, reg1, eth_type, proto, src, dst, *ports = fields
    match = b"".join((eth_type, src, dst, proto, *ports, reg0, reg1, metadata))
    rest = written[48 + (size + 7) // 8 * 8 :]
    body = struct.pack("!HH", 1, size) + match + bytes(-size % 8) + rest
    seconds = struct.pack("!II", int(age), int(age % 1 * 1e9))
    head = struct.pack("!HB", 48 + len(body), 3) + b"\0" + seconds + struct.pack("!HHHH", priority, idle, hard, flags)
    return head + bytes(4) + struct.pack("!QQQ", cookie, packets, octets) + body


@st.composite
def directions(draw: st.DrawFn) -> Verified:
    ports = st.integers(0, 0xFFFF)
    key = FlowKey(*draw(st.sampled_from(ADDRESSES)), draw(st.sampled_from((TCP, UDP, SCTP))), draw(ports), draw(ports))
    return Verified(key, draw(NUMBERS), draw(NUMBERS), draw(NUMBERS), draw(NUMBERS), draw(st.integers(0, 2**64 - 1)))


@given(directions(), st.booleans(), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_a_rule_is_read_as_it_was_written(direction: Verified, notify: bool, lease: int, idle: int) -> None:
    body = reported(write_verified(direction, 0, notify=notify, lease=lease, idle=idle))
    rule = read_held_rule(body, 0, len(body))
    assert rule is not None
    assert rule[:9] == (
        direction.key, direction.sender, direction.receiver, direction.sender_class, direction.receiver_class,
        direction.cookie, idle, lease, notify,
    )  # fmt: skip
    assert rule[9:] == (1.5, 3, 180)
    slowly = decode._flow(body, 0)
    assert isinstance(slowly, Installed)
    assert (rule.flow, rule.match, rule.removal) == (slowly.flow, slowly.match, slowly.removal)
    assert held_rule(slowly) == rule


@given(directions(), st.data())
def test_what_differs_in_any_byte_is_another_rule_or_none(direction: Verified, data: st.DataObject) -> None:
    body = bytearray(reported(write_verified(direction, 0, notify=True, lease=0, idle=0)))
    at = data.draw(st.integers(2, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    rule = read_held_rule(bytes(body), 0, len(body))
    if rule is None:
        return
    slowly = decode._flow(bytes(body), 0)
    assert slowly.flow == rule.flow
    assert (slowly.age, slowly.packets, slowly.octets, slowly.cookie) == (*rule[9:], rule.cookie)


@pytest.mark.parametrize("proto", [ICMP, 47])
def test_other_protocols_are_left_to_the_other_reader(proto: int) -> None:
    ports = (8, 0) if proto == ICMP else (0, 0)
    direction = Verified(FlowKey(*ADDRESSES[0], proto, *ports), 5, 9, 2, 3, 7)
    body = reported(write_verified(direction, 0, notify=True, lease=0, idle=0))
    assert read_held_rule(body, 0, len(body)) is None
    (found,) = decode.read_flow_stats(body)
    assert not isinstance(found, HeldRule)
    assert held_rule(found) is not None


@pytest.mark.parametrize("end", range(48, 160))
def test_what_is_cut_off_is_no_rule(end: int) -> None:
    body = reported(
        write_verified(Verified(FlowKey(*ADDRESSES[0], TCP, 1, 2), 5, 9, 2, 3, 7), 0, notify=True, lease=0, idle=0)
    )
    assert read_held_rule(body[:end], 0, end) is None
