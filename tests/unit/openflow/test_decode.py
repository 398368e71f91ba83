"""What switches report: read back as it was written, and never believed further than it reaches."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.openflow_peer import features, port
from strategies.pipeline import flows
from zethane.adapters.openflow import decode, encode
from zethane.adapters.openflow.oxm import UnreadableMatchError, read_match
from zethane.errors import ChannelError
from zethane.pipeline.change import Add, Installed, Remove, RemoveMatching, RemoveRaw
from zethane.pipeline.fields import cookie
from zethane.pipeline.flow import Flow, Output, OutputRegister, PushVlan, SetField, match
from zethane.pipeline.tables import Table
from zethane.service.switch import PortState

_ENTRY = struct.Struct("!HBxIIHHHH4xQQQ")


def as_reported(flow: Flow, packets: int = 3, octets: int = 200) -> bytes:
    """The entry of a flow-stats reply for what a flow-mod has put into a switch."""
    written = encode.flow_mod(Add(flow), 1)
    rest = written[48:]
    return (
        _ENTRY.pack(
            _ENTRY.size + len(rest),
            flow.table,
            10,
            500_000_000,
            flow.priority,
            flow.idle_timeout,
            flow.hard_timeout,
            int(flow.notify_removed),
            flow.cookie,
            packets,
            octets,
        )
        + rest
    )


def read_all(data: bytes) -> list[Installed]:
    return list(decode.read_flow_stats(data))


@given(st.lists(flows(), max_size=4))
def test_every_entry_reads_back_as_it_was_written(written: list[Flow]) -> None:
    found = read_all(b"".join(map(as_reported, written)))
    assert [entry.flow for entry in found] == written
    for entry, flow in zip(found, written, strict=True):
        assert (entry.table, entry.priority, entry.match, entry.cookie) == (*flow.key, flow.cookie)
        assert (entry.age, entry.packets, entry.octets, entry.raw) == (10.5, 3, 200, b"")


PLAIN = Flow(Table.FORWARD, 200, match(reg2=1), 5, (SetField("vlan_vid", 0x1002), PushVlan(), Output(3)))


def changed(data: bytes, old: str, new: str) -> bytes:
    assert data.count(bytes.fromhex(old)) == 1
    return data.replace(bytes.fromhex(old), bytes.fromhex(new))


REGISTER = as_reported(Flow(Table.FORWARD, 200, (), 5, (OutputRegister("reg3"),)))
FOREIGN = {
    "a set-field of a part": (as_reported(PLAIN), "0019 0010 80000c02 1002 0000", "0019 0010 80000d04 1002 0fff"),
    "another tag protocol": (as_reported(PLAIN), "0011 0008 8100", "0011 0008 88a8"),
    "half a register": (REGISTER, "000f 001f 0001 0604", "000f 000f 0001 0604"),
    "another register": (REGISTER, "000f 001f 0001 0604", "000f 001f 0001 0e04"),
    "another vendor": (REGISTER, "ffff 0018 00002320", "ffff 0018 00002321"),
    "another action": (as_reported(PLAIN), "0011 0008 8100", "000b 0008 0000"),
    "write-actions": (REGISTER, "0004 0020 0000 0000", "0003 0020 0000 0000"),
    "an action of length zero": (REGISTER, "ffff 0018 00002320", "ffff 0000 00002320"),
    "an action beyond its instruction": (REGISTER, "ffff 0018 00002320", "ffff 0028 00002320"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_an_entry_that_does_something_else_is_foreign_and_can_be_named(name: str) -> None:
    """Whatever resembles an entry of ours and is not exactly one must not pass for it."""
    data, old, new = FOREIGN[name]
    assert read_all(data)[0].flow is not None
    (entry,) = read_all(changed(data, old, new))
    assert entry.flow is None
    assert not entry.raw
    assert (entry.table, entry.priority, entry.cookie) == (Table.FORWARD, 200, 5)


def test_an_instruction_twice_is_foreign() -> None:
    flow = Flow(Table.PORT, 1, (), 5, goto=Table.SOURCE)
    data = as_reported(flow)
    twice = struct.pack("!H", len(data) + 8) + data[2:] + data[-8:]
    assert read_all(twice)[0].flow is None


def test_an_instruction_too_short_for_what_it_says_is_foreign() -> None:
    """Metadata of 8 bytes would be read from the entry that follows."""
    flow = Flow(Table.PORT, 1, (), 5, metadata=(1, 1))
    data = as_reported(flow)
    cut = struct.pack("!H", len(data) - 16) + data[2:-24] + struct.pack("!HH4x", 2, 8)
    found = read_all(cut + as_reported(flow))
    assert [entry.flow for entry in found] == [None, flow]


def test_an_entry_in_another_table_or_not_fit_for_its_own_is_foreign() -> None:
    data = bytearray(as_reported(Flow(Table.SOURCE, 1, match(eth_src=1), 5)))
    for table in (Table.FORWARD, Table.RULE, 6, 254):
        data[2] = table
        (entry,) = read_all(bytes(data))
        assert (entry.flow, entry.table) == (None, table)


def test_a_match_on_an_unknown_field_is_removed_by_its_own_bytes() -> None:
    data = changed(as_reported(PLAIN), "0001 0404 00000001", "0001 1e04 00000001")
    (entry,) = read_all(data)
    assert (entry.match, entry.flow, entry.cookie) == ((), None, 5)
    assert entry.removal == RemoveRaw(Table.FORWARD, 200, bytes.fromhex("0001 000c 0001 1e04 00000001 00000000"))
    written = encode.flow_mod(entry.removal, 1)
    assert struct.unpack_from("!QQBB", written, 8) == (0, 0, Table.FORWARD, 4)
    assert written[48:] == entry.raw
    named = encode.flow_mod(Remove(*PLAIN.key), 1)
    assert changed(named, "0001 0404 00000001", "0001 1e04 00000001") == written
    inside = encode.bundle_add(9, entry.removal, 1)
    assert inside == encode.bundle_add(9, Remove(*PLAIN.key), 1).replace(named[8:], written[8:])


def test_a_match_that_is_none_ends_the_connection() -> None:
    """Without its bytes the entry could not be removed alone."""
    data = bytearray(as_reported(PLAIN))
    data[48:50] = b"\0\2"
    with pytest.raises(ChannelError, match="match"):
        read_all(bytes(data))


# errors


def test_an_error_names_the_flow_mod_that_caused_it() -> None:
    cause = encode.flow_mod(Add(PLAIN), 0x77)
    text = decode.describe_error(struct.pack("!HH", 5, 1) + cause[:64])
    assert text == (
        "error type 5 code 1 for message type 14 xid 119 "
        f"(flow-mod command 0 table {Table.FORWARD:d} cookie 0x0000000000000005)"
    )


def test_an_error_names_the_flow_mod_inside_a_bundle() -> None:
    cause = encode.bundle_add(1, Add(PLAIN), 0x78)
    text = decode.describe_error(struct.pack("!HH", 5, 1) + cause[:64])
    assert text.startswith("error type 5 code 1 for message type 4 xid 120")
    assert text.endswith(f"(flow-mod command 0 table {Table.FORWARD:d} cookie 0x0000000000000005)")


@given(st.binary(max_size=100))
def test_every_error_has_a_text(body: bytes) -> None:
    assert decode.describe_error(body).startswith("error")


# ports, meters, features


def test_ports_are_read_with_their_state_and_reserved_ones_left_out() -> None:
    body = port(1, "eth1") + port(2, "down", config=1) + port(3, "no-link", state=1) + port(0xFFFFFFFE, "local")
    assert decode.read_ports(body) == [
        PortState(1, "eth1", up=True),
        PortState(2, "down", up=False),
        PortState(3, "no-link", up=False),
    ]


def test_a_port_name_that_is_no_text_is_still_a_name() -> None:
    body = port(1).replace(b"p1", b"\xff\xfe")
    (state,) = decode.read_ports(body)
    assert state.name == "\ufffd\ufffd"


def test_meters_are_read_and_strange_ones_have_no_rate() -> None:
    ours = encode.meter_mod(0, 3, 100, 50, 1)[16:]
    entry = struct.pack("!HHI", 8 + len(ours), 6, 3) + ours
    kbps = struct.pack("!HHI", 8 + len(ours), 5, 4) + ours
    remark = struct.pack("!HHI", 8 + len(ours), 6, 5) + b"\0\2" + ours[2:]
    two = struct.pack("!HHI", 8 + 2 * len(ours), 6, 6) + 2 * ours
    found = decode.read_meters(entry + kbps + remark + two + struct.pack("!HHI", 8, 6, 9))
    assert found == {3: (100, 50), 4: (0, 0), 5: (0, 0), 6: (0, 0), 9: (0, 0)}


def test_the_drops_of_a_meter_are_those_of_its_band() -> None:
    entry = struct.pack("!IH6xIQQIIQQ", 3, 56, 0, 1000, 2000, 1, 0, 40, 5000)
    assert decode.read_meter_drops(entry) == {3: 40}


def test_the_sum_of_counters_is_read_and_what_is_not_counted_is_none() -> None:
    assert decode.read_aggregate(struct.pack("!QQI4x", 3, 180, 2)) == (3, 180)
    assert decode.read_aggregate(struct.pack("!QQI4x", 2**64 - 1, 2**64 - 1, 2)) == (0, 0)


def test_the_datapath_id_is_read() -> None:
    assert decode.read_datapath_id(features(0xABCDEF)) == 0xABCDEF


READERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (read_all, as_reported(PLAIN) + REGISTER),
    (decode.read_ports, port(1) + port(2)),
    (decode.read_meters, struct.pack("!HHI", 24, 0, 3) + encode.meter_mod(0, 3, 100, 50, 1)[16:]),
    (decode.read_meter_drops, struct.pack("!IH6xIQQIIQQ", 3, 56, 0, 1000, 2000, 1, 0, 40, 5000)),
    (decode.read_datapath_id, features(1)),
    (decode.read_aggregate, struct.pack("!QQI4x", 3, 180, 2)),
]


@pytest.mark.parametrize(("read", "valid"), READERS)
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_are_a_channel_error(
    read: Callable[[bytes], object], valid: bytes, data: bytes
) -> None:
    """And nothing loops: a list of entries has fewer of them than bytes."""
    _bounded(read, data)
    _bounded(read, valid[: len(data)] + data)


@pytest.mark.parametrize(("read", "valid"), READERS)
@given(changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6))
def test_a_valid_reply_with_changes_is_read_or_is_a_channel_error(
    read: Callable[[bytes], object], valid: bytes, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(valid)
    for at, value in changes:
        if at < len(data):
            data[at] = value
    _bounded(read, bytes(data))


def _bounded(read: Callable[[bytes], Any], data: bytes) -> None:
    try:
        found = read(data)
    except ChannelError as error:
        assert str(error)  # noqa: PT017  # the property is that nothing else is raised
    else:
        assert isinstance(found, int) or len(found) <= len(data)


@pytest.mark.parametrize(("read", "valid"), READERS)
def test_a_truncated_reply_is_a_channel_error_or_ends_between_entries(
    read: Callable[[bytes], Any], valid: bytes
) -> None:
    whole = read(valid)
    for length in range(len(valid)):
        try:
            found = read(valid[:length])
        except ChannelError:
            continue
        assert length == 0 or len(found) < len(whole)


@given(st.binary(max_size=100), st.integers(0, 100), st.integers(0, 100))
def test_a_match_is_read_or_unreadable(data: bytes, at: int, end: int) -> None:
    end = min(end, len(data))
    try:
        found, stop = read_match(data, at, end)
    except UnreadableMatchError as error:
        assert str(error)  # noqa: PT017
    else:
        assert at < stop <= end
        assert len(found) * 5 <= stop - at


# encoding of what takes entries away


def test_a_removal_names_one_entry_exactly() -> None:
    written = encode.flow_mod(Remove(*PLAIN.key), 1)
    cookie, mask, table, command, _, _, priority = struct.unpack_from("!QQBBHHH", written, 8)
    assert (cookie, mask, table, command, priority) == (0, 0, Table.FORWARD, 4, 200)
    assert read_match(written, 48, len(written))[0] == PLAIN.match


def test_a_removal_by_cookie_is_one_message_for_one_table() -> None:
    written = encode.flow_mod(RemoveMatching(Table.FLOW, (), 0x70000000000, 0xFFFFFF << 40), 1)
    assert struct.unpack_from("!QQBB", written, 8) == (0x70000000000, 0xFFFFFF << 40, 3, 3)
    assert struct.unpack_from("!III", written, 8 + 24) == (0xFFFFFFFF,) * 3


def test_a_match_with_a_field_twice_is_no_match_of_zethanes() -> None:
    """OFPBMC_DUP_FIELD: a switch that sends thousands of them in one entry would fill the memory with objects."""
    field = struct.pack("!II", 0x80000004, 1)
    for count, length in ((1, 12), (2, 20), (8000, 64004)):
        wanted = struct.pack("!HH", 1, length) + count * field
        wanted += bytes(-len(wanted) % 8)
        if count == 1:
            assert len(read_match(wanted, 0, len(wanted))[0]) == 1
            continue
        with pytest.raises(UnreadableMatchError):
            read_match(wanted, 0, len(wanted))


def test_an_entry_with_very_many_actions_is_foreign_and_not_kept_in_mind() -> None:
    flow = Flow(Table.FORWARD, 9, match(reg2=1), 5, (Output(3),))
    pop = struct.pack("!HH4x", 18, 8)
    found = []
    for count in (1, decode.MAX_ACTIONS, decode.MAX_ACTIONS + 1, 8000):
        apply = struct.pack("!HH4x", 4, 8 + 8 * count) + count * pop
        entry = as_reported(flow)
        at = 48 + 16
        body = struct.pack("!H", at + len(apply)) + entry[2:at] + apply
        (one,) = read_all(body)
        found.append(one.flow is not None)
    assert found == [True, True, False, False]
    kept = decode._known_entry, decode._known_instructions
    before = [one.cache_info().currsize for one in kept]
    body = body[:24] + bytes((1,)) + body[25:]  # not the one that was read before
    assert read_all(body)[0].flow is None
    assert [one.cache_info().currsize for one in kept] == before


def _standing(number: int, *, counted: int = 3, age: int = 10) -> bytes:
    entry = bytearray(as_reported(Flow(Table.FORWARD, 9, match(reg2=number), 5, (Output(3),)), packets=counted))
    entry[4:8] = age.to_bytes(4, "big")
    return bytes(entry)


def test_what_says_the_same_but_for_age_and_counters_has_one_number() -> None:
    decode._known_entry.cache_clear()
    first, again, other = read_all(_standing(1) + _standing(1, counted=9, age=99) + _standing(2))
    assert first.says == again.says != other.says
    assert 0 not in (first.says, other.says)
    assert (again.packets, again.age) == (9, 99.5)


def test_a_number_never_stands_for_something_else_also_when_it_was_forgotten() -> None:
    before = {entry.says for entry in read_all(_standing(1) + _standing(2))}
    decode._known_entry.cache_clear()
    assert before.isdisjoint(entry.says for entry in read_all(_standing(2) + _standing(1)))


def test_entries_of_sessions_and_long_ones_have_no_number() -> None:
    of_session = Flow(Table.FORWARD, 9, match(reg2=1), cookie(5, 0, 3), (Output(3),))
    long = Flow(Table.FORWARD, 9, match(reg2=1), 5, (Output(3),) * (decode.KEPT_SIZE // 16))
    assert [entry.says for entry in read_all(as_reported(of_session) + as_reported(long))] == [0, 0]


_NOT_SAID = (*range(3, 12), *range(20, 24), *range(32, 48))
"""Bytes of an entry in which its age, its counters and nothing are."""


@given(st.integers(2, len(_standing(1)) - 1), st.integers(1, 255))
def test_whatever_byte_is_another_one_says_something_else(place: int, change: int) -> None:
    right = _standing(1)
    other = bytearray(right)
    other[place] ^= change
    (first,) = read_all(right)
    try:
        (second,) = read_all(bytes(other))
    except ChannelError:
        return
    assert (second.says == first.says) == (place in _NOT_SAID)
