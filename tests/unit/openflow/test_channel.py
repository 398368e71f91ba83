"""One connection, against a switch in memory: what it says, what it puts up with, and what ends it."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.openflow_peer import (
    BARRIER_REPLY,
    BARRIER_REQUEST,
    ECHO_REPLY,
    ECHO_REQUEST,
    ERROR,
    EXPERIMENTER,
    FEATURES_REPLY,
    FEATURES_REQUEST,
    FLOW_MOD,
    FLOW_REMOVED,
    FLOW_STATS,
    HEADER,
    HELLO,
    METER_MOD,
    MULTIPART_REPLY,
    MULTIPART_REQUEST,
    PACKET_IN,
    PACKET_OUT,
    PORT_STATUS,
    SET_CONFIG,
    Events,
    Message,
    Peer,
    Wire,
    bundle_reply,
    connect,
    features,
    message,
    multipart,
    port,
    wire,
)
from zethane.adapters.openflow.channel import Channel, ChannelLimits
from zethane.errors import ChannelError
from zethane.pipeline.change import Add
from zethane.pipeline.flow import Flow, match
from zethane.pipeline.tables import Table
from zethane.service.switch import PacketIn, PortState

BRIEF = ChannelLimits(handshake=0.02, echo_interval=0.005, echo_deadline=0.02, request=0.02)
"""Limits that a silent switch breaks at once."""

PACKET_IN_BODY = struct.pack("!IHBBQ", 0xFFFFFFFF, 4, 1, 4, 0xABCD) + bytes.fromhex(
    "0001 000c 80000004 00000003 00000000 0000"  # match: in_port 3, and its padding
) + b"data"  # fmt: skip  # a line per structure


def change(cookie: int = 1) -> Add:
    return Add(Flow(Table.RULE, 10, match(eth_type=0x800), cookie))


# handshake


async def test_the_handshake_greets_asks_who_it_is_drops_fragments_and_reports_the_ports() -> None:
    channel, transport, events = await connect(Peer(0xABC, ports=(1, 7)))
    kinds = [written.kind for written in transport.written]
    assert kinds[:4] == [HELLO, FEATURES_REQUEST, SET_CONFIG, MULTIPART_REQUEST]
    assert transport.of(SET_CONFIG)[0].body == bytes.fromhex("0001 ffff")
    assert channel.dpid == 0xABC
    assert events.of("connected") == [0xABC]
    assert events.ports == [PortState(1, "p1", up=True), PortState(7, "p7", up=True)]
    assert channel.peer == "('192.0.2.1', 6653)"


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_switch_that_is_too_old_is_told_so(version: int) -> None:
    events = Events()
    _, transport = wire(events, _silent())
    transport.deliver(message(HELLO, 0, version=version))
    await transport.lost
    assert events.calls == []


def _silent() -> Peer:
    peer = Peer()
    peer.silent = set(range(256))
    return peer


async def test_a_switch_that_could_speak_a_newer_version_speaks_ours() -> None:
    """OpenFlow 1.3.5 §6.3.1; the elements of its hello are not even read."""
    peer = Peer()
    peer.silent = {HELLO}
    events = Events()
    _, transport = wire(events, peer)
    transport.deliver(message(HELLO, 0, struct.pack("!HHI", 1, 8, 0x7E), version=6))
    await events.ready.wait()
    assert events.of("connected") == [1]


async def test_a_hello_with_an_element_of_length_zero_is_harmless() -> None:
    peer = Peer()
    peer.silent = {HELLO}
    events = Events()
    _, transport = wire(events, peer)
    transport.deliver(message(HELLO, 0, bytes(8)))
    await events.ready.wait()
    assert events.of("connected") == [1]


@pytest.mark.parametrize("silent", [HELLO, FEATURES_REQUEST, MULTIPART_REQUEST])
async def test_a_handshake_that_does_not_get_on_is_given_up(silent: int) -> None:
    peer = Peer()
    peer.silent = {silent}
    events = Events()
    channel, transport = wire(events, peer, BRIEF)
    await transport.lost
    assert events.calls == []
    with pytest.raises(ChannelError):
        await channel.barrier()


@pytest.mark.parametrize(
    ("kind", "body"),
    [(FEATURES_REPLY, features(1)[:23]), (FEATURES_REPLY, b""), (MULTIPART_REPLY, multipart(13, port(1)[:63]))],
)
async def test_answers_that_are_too_short_end_the_handshake(kind: int, body: bytes) -> None:
    class Short(Peer):
        def answers(self, asked: Message) -> Any:
            for answer in super().answers(asked):
                yield message(kind, asked.xid, body) if answer[1] == kind else answer

    events = Events()
    _, transport = wire(events, Short())
    await transport.lost
    assert events.calls == []


async def test_an_unwanted_switch_is_disconnected_and_not_reported_as_lost() -> None:
    events = Events(wanted=False)
    _, transport = wire(events)
    await transport.lost
    assert events.calls == [("connected", 1)]


async def test_messages_before_the_handshake_is_done_are_ignored() -> None:
    events = Events()
    peer = Peer()
    peer.silent = {MULTIPART_REQUEST}
    _, transport = wire(events, peer)
    early = message(PACKET_IN, 0, PACKET_IN_BODY) + message(PORT_STATUS, 0, bytes(8) + port(3))
    early += message(FLOW_REMOVED, 0, bytes(48)) + message(BARRIER_REPLY, 99) + message(MULTIPART_REPLY, 98, bytes(8))
    transport.deliver(early)
    await asyncio.sleep(0)
    assert events.calls == []
    assert not transport.is_closing()


async def test_a_second_hello_ends_the_connection() -> None:
    _, transport, events = await connect()
    transport.deliver(message(HELLO, 0))
    await transport.lost
    assert events.of("disconnected") == ["a second hello"]


# bytes


@pytest.mark.parametrize("length", [0, 1, 7])
async def test_a_length_shorter_than_the_header_ends_the_connection(length: int) -> None:
    _, transport, events = await connect()
    transport.deliver(HEADER.pack(4, ECHO_REQUEST, length, 0))
    await transport.lost
    assert events.of("disconnected") == [f"bad header: version 4 length {length}"]


@pytest.mark.parametrize("version", [0, 1, 3, 5, 6, 255])
async def test_another_version_after_the_handshake_ends_the_connection(version: int) -> None:
    _, transport, events = await connect()
    transport.deliver(message(ECHO_REQUEST, 0, version=version))
    await transport.lost
    assert len(events.of("disconnected")) == 1


async def test_the_longest_message_is_waited_for_and_read() -> None:
    _, transport, events = await connect()
    whole = message(PACKET_IN, 0, PACKET_IN_BODY + bytes(0xFFFF - HEADER.size - len(PACKET_IN_BODY)))
    transport.deliver(whole[:-1])
    assert events.of("packet_in") == []
    transport.deliver(whole[-1:])
    (event,) = events.of("packet_in")
    assert len(event.frame) == 0xFFFF - HEADER.size - len(PACKET_IN_BODY) + 4


async def test_nothing_is_read_after_the_connection_was_given_up() -> None:
    _, transport, events = await connect()
    transport.deliver(HEADER.pack(4, ECHO_REQUEST, 0, 0) + message(PACKET_IN, 0, PACKET_IN_BODY))
    await transport.lost
    assert events.of("packet_in") == []


@given(st.lists(st.integers(1, 40), max_size=20))
def test_where_the_stream_is_cut_never_matters(cuts: list[int]) -> None:
    async def run() -> list[Any]:
        _, transport, events = await connect()
        status = message(PORT_STATUS, 0, bytes(8) + port(3))
        stream = message(PACKET_IN, 0, PACKET_IN_BODY) + status + message(ECHO_REQUEST, 5, b"hi")
        for cut in cuts:
            transport.deliver(stream[:cut])
            stream = stream[cut:]
        transport.deliver(stream)
        await asyncio.sleep(0)
        assert [answer[1:] for answer in transport.of(ECHO_REPLY)] == [(5, b"hi")]
        return events.calls[1:]

    wanted = [("packet_in", PacketIn(3, 4, 0xABCD, 0, b"data")), ("port_status", (PortState(3, "p3", up=True), False))]
    assert asyncio.run(run()) == wanted


KINDS = st.one_of(st.integers(0, 30), st.integers(0, 255))


@given(st.lists(st.tuples(KINDS, st.integers(0, 8), st.binary(max_size=120)), max_size=8), st.binary(max_size=40))
def test_no_garbage_raises_or_hangs(sent: list[tuple[int, int, bytes]], tail: bytes) -> None:
    """Whatever comes, before and after the handshake, the channel handles it or ends, and tells at most once."""

    async def run() -> None:
        for silent in (set[int](), {MULTIPART_REQUEST}):
            peer = Peer()
            peer.silent = silent
            events = Events()
            channel, transport = wire(events, peer)
            if not silent:
                await events.ready.wait()
            for kind, xid, body in sent:
                transport.deliver(message(kind, xid, body))
            transport.deliver(tail)
            channel.close("the test is over")
            await transport.lost
            assert len(events.of("disconnected")) == len(events.of("connected")) * (not silent)

    asyncio.run(asyncio.wait_for(run(), 5))


async def test_a_packet_that_cannot_be_handled_is_dropped_and_costs_the_switch_nothing() -> None:
    """A host sent it: it must not be able to cut its switch off."""

    class Fragile(Events):
        def packet_in(self, channel: Any, event: PacketIn) -> None:  # noqa: ARG002  # SwitchEvents names them
            raise ZeroDivisionError

    _, transport, events = await connect(events=Fragile())
    transport.deliver(message(PACKET_IN, 0, PACKET_IN_BODY))
    assert events.of("disconnected") == []
    assert not transport.is_closing()


async def test_an_event_that_cannot_be_handled_ends_this_connection_and_no_other() -> None:
    class Fragile(Events):
        def port_status(self, channel: Any, port: PortState, *, removed: bool) -> None:  # noqa: ARG002  # as above
            raise ZeroDivisionError

    _, other, others = await connect()
    _, transport, events = await connect(events=Fragile())
    transport.deliver(message(PORT_STATUS, 0, bytes(8) + port(3)))
    await transport.lost
    assert events.of("disconnected") == ["a message of type 12 could not be handled: ZeroDivisionError"]
    other.deliver(message(PACKET_IN, 0, PACKET_IN_BODY))
    assert len(others.of("packet_in")) == 1


async def test_a_malformed_packet_in_or_flow_removed_is_left_out() -> None:
    _, transport, events = await connect()
    for kind in (PACKET_IN, FLOW_REMOVED):
        transport.deliver(message(kind, 0, bytes(30)))
    assert events.calls[1:] == []
    assert not transport.is_closing()


@pytest.mark.parametrize("body", [b"", bytes(7), bytes(8) + port(3)[:63]])
async def test_a_malformed_port_status_ends_the_connection(body: bytes) -> None:
    _, transport, events = await connect()
    transport.deliver(message(PORT_STATUS, 0, body))
    await transport.lost
    assert len(events.of("disconnected")) == 1


@pytest.mark.parametrize(("reason", "removed"), [(0, False), (1, True), (2, False)])
async def test_a_port_that_comes_goes_or_changes_is_reported(reason: int, removed: bool) -> None:
    _, transport, events = await connect()
    down = port(3, config=1) if reason == 2 else port(3)
    transport.deliver(message(PORT_STATUS, 0, bytes((reason,)) + bytes(7) + down))
    assert events.of("port_status") == [(PortState(3, "p3", up=reason != 2), removed)]


# echo


async def test_an_echo_request_is_answered_with_its_data() -> None:
    _, transport, _ = await connect()
    transport.deliver(message(ECHO_REQUEST, 0xFEED, b"are you there"))
    assert transport.of(ECHO_REPLY) == [Message(ECHO_REPLY, 0xFEED, b"are you there")]


async def test_a_switch_that_answers_echo_requests_is_kept_beyond_the_deadline() -> None:
    """Ended by a count of echo requests, not by time."""
    enough = asyncio.Event()

    class Counting(Peer):
        def answers(self, asked: Message) -> Any:
            self.count = getattr(self, "count", 0) + (asked.kind == ECHO_REQUEST)
            if self.count >= 12:
                enough.set()
            return super().answers(asked)

    limits = ChannelLimits(echo_interval=0.005, echo_deadline=0.03)
    _, transport, _ = await connect(Counting(), limits)
    await enough.wait()
    assert not transport.is_closing()


async def test_a_switch_that_stops_answering_is_dropped() -> None:
    peer = Peer()
    peer.silent = {ECHO_REQUEST}
    _, transport, events = await connect(peer, ChannelLimits(echo_interval=0.002, echo_deadline=0.01))
    await transport.lost
    assert events.of("disconnected") == ["no answer to echo requests"]


# requests


async def test_an_error_is_matched_to_the_request_that_caused_it() -> None:
    peer = Peer()
    channel, _, events = await connect(peer)
    peer.refuse = lambda asked: (1, 2) if asked.kind == MULTIPART_REQUEST else None
    with pytest.raises(ChannelError, match="error type 1 code 2 for message type 18"):
        await channel.read_tables()
    await channel.barrier()
    assert len(events.of("refused")) == 1


async def test_an_error_that_nothing_waits_for_is_reported_with_its_cookie() -> None:
    peer = Peer()
    channel, _, events = await connect(peer)
    peer.refuse = lambda asked: (5, 1) if asked.kind == FLOW_MOD else None
    channel.apply([change(0xC0FFEE)])
    await channel.barrier()
    (what,) = events.of("refused")
    assert "table 4 cookie 0x0000000000c0ffee" in what


async def test_two_requests_at_once_get_each_its_own_answer() -> None:
    peer = Peer()
    peer.meters = struct.pack("!HHI", 24, 0, 3) + struct.pack("!HHIII", 1, 16, 100, 7, 0)
    channel, transport, _ = await connect(peer)
    tables, _, drops = await asyncio.gather(channel.read_tables(), channel.barrier(), channel.read_meter_drops())
    assert (tables, drops) == ([], {})
    assert len({written.xid for written in transport.written}) == len(transport.written)


async def test_an_answer_in_parts_is_put_together() -> None:
    peer = Peer()
    peer.flows = [_flow_stats(1) + _flow_stats(2), b"", _flow_stats(3)]
    channel, _, _ = await connect(peer)
    assert [entry.cookie for entry in await channel.read_tables()] == [1, 2, 3]


def _flow_stats(cookie: int) -> bytes:
    return struct.pack("!HBxIIHHHH4xQQQHHI", 56, 0, 0, 0, 1, 0, 0, 0, cookie, 0, 0, 1, 4, 0)


async def test_an_answer_that_is_too_long_ends_the_connection() -> None:
    peer = Peer()
    peer.flows = [_flow_stats(1)] * 40
    channel, transport, events = await connect(peer, ChannelLimits(multipart_bytes=2000))
    with pytest.raises(ChannelError, match="too long"):
        await channel.read_tables()
    await transport.lost
    assert events.of("disconnected") == ["an answer is too long"]


async def test_an_answer_that_is_no_list_of_entries_is_an_error() -> None:
    peer = Peer()
    peer.flows = [bytes(56)]
    channel, _, _ = await connect(peer)
    with pytest.raises(ChannelError, match="entry of 0 bytes"):
        await channel.read_tables()


async def test_a_request_without_an_answer_ends_the_connection() -> None:
    peer = Peer()
    channel, transport, events = await connect(peer, ChannelLimits(request=0.01))
    peer.silent = {BARRIER_REQUEST}
    with pytest.raises(ChannelError, match="no answer to a request"):
        await channel.barrier()
    await transport.lost
    assert events.of("disconnected") == ["no answer to a request"]


async def test_answers_to_what_was_never_asked_are_ignored() -> None:
    channel, transport, _ = await connect()
    for kind in (BARRIER_REPLY, FEATURES_REPLY, MULTIPART_REPLY):
        transport.deliver(message(kind, 0x7777, bytes(16)))
    transport.deliver(message(EXPERIMENTER, 0x7777, bundle_reply(5)))
    transport.deliver(message(ERROR, 0x7777, b"\0\1\0\2"))
    await channel.barrier()


async def test_when_the_connection_is_lost_everything_that_waits_fails_and_it_is_told_once() -> None:
    peer = Peer()
    lost: list[Channel] = []
    events = Events()
    channel = Channel(events, on_lost=lost.append)
    transport = Wire(channel, peer)
    channel.connection_made(transport)
    await events.ready.wait()
    await channel.barrier()
    peer.silent = {BARRIER_REQUEST, MULTIPART_REQUEST, EXPERIMENTER}
    waiting = [asyncio.ensure_future(work) for work in (channel.barrier(), channel.read_tables())]
    waiting.append(channel.commit([change()]))
    await asyncio.sleep(0)
    transport.drop(ConnectionResetError("reset"))
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [ChannelError] * 3
    assert events.of("disconnected") == ["connection lost: reset"]
    assert lost == [channel]


async def test_what_is_asked_of_a_connection_that_is_gone_fails_at_once() -> None:
    channel, transport, _ = await connect()
    channel.close("enough")
    await transport.lost
    for work in (channel.barrier(), channel.read_tables(), channel.commit([change()])):
        with pytest.raises(ChannelError, match="enough"):
            await work
    channel.apply([change()])
    channel.packet_out(1, b"frame")
    await asyncio.sleep(0)
    assert transport.of(FLOW_MOD) == []


# bundles


async def test_a_bundle_is_written_whole_and_in_order_before_anything_that_comes_after() -> None:
    channel, transport, _ = await connect()
    del transport.written[:]
    commit = channel.commit([change(1), change(2)])
    channel.packet_out(1, b"frame")
    await commit
    bundles = [struct.unpack_from("!IIIH", sent.body)[1:] for sent in transport.of(EXPERIMENTER)]
    assert bundles == [(2300, 1, 0), (2301, 1, 0), (2301, 1, 0), (2300, 1, 4)]
    assert [sent.kind for sent in transport.written] == [EXPERIMENTER] * 4 + [PACKET_OUT]
    assert transport.written[0].body[14:16] == transport.written[3].body[14:16] == b"\0\3"  # atomic and ordered


@pytest.mark.parametrize("member", [0, 1, 2, 3])
async def test_a_bundle_that_is_refused_anywhere_is_an_error(member: int) -> None:
    """At its opening, at either change, or at its commit."""
    peer = Peer()
    channel, transport, _ = await connect(peer)
    sent = len(transport.of(EXPERIMENTER))
    peer.refuse = lambda asked: (17, 3) if transport.of(EXPERIMENTER)[sent + member :] == [asked] else None
    with pytest.raises(ChannelError, match="error type 17 code 3 for message type 4"):
        await channel.commit([change(1), change(2)])
    peer.refuse = lambda _: None
    await channel.commit([change(3)])


async def test_bundles_at_once_fail_apart() -> None:
    peer = Peer()
    channel, transport, _ = await connect(peer)
    peer.refuse = lambda asked: (5, 0) if asked.kind == EXPERIMENTER and _bundle_of(asked) == 2 else None
    first, second, third = (channel.commit([change(number)]) for number in range(3))
    await first
    with pytest.raises(ChannelError):
        await second
    await third
    assert {_bundle_of(sent) for sent in transport.of(EXPERIMENTER)} == {1, 2, 3}


def _bundle_of(sent: Message) -> int:
    return int.from_bytes(sent.body[8:12], "big")


# meters


def meter(number: int, rate: int, burst: int) -> bytes:
    return struct.pack("!HHIHHIII", 24, 5, number, 1, 16, rate, burst, 0)


async def test_meters_are_made_changed_and_removed_and_what_is_right_stays() -> None:
    peer = Peer()
    peer.meters = meter(1, 100, 100) + meter(2, 50, 50) + meter(9, 1, 1)
    channel, transport, _ = await connect(peer)
    await channel.set_meters({1: (100, 100), 2: (70, 70), 3: (5, 6)})
    sent = [(*struct.unpack_from("!HHI", one.body), one.body[8:]) for one in transport.of(METER_MOD)]
    assert [(command, number) for command, _, number, _ in sent] == [(1, 2), (0, 3), (2, 9)]
    assert sent[1][3] == struct.pack("!HHIII", 1, 16, 5, 6, 0)


# back-pressure and writing


async def test_a_switch_that_does_not_read_is_not_read_from() -> None:
    channel, transport, _ = await connect()
    channel.pause_writing()
    assert not transport.reading
    channel.resume_writing()
    assert transport.reading
    assert transport.high_water == (4 * 2**20, None)


async def test_nothing_is_read_again_from_a_connection_that_is_closing() -> None:
    channel, transport, _ = await connect()
    channel.pause_writing()
    channel.close("enough")
    channel.resume_writing()
    assert not transport.reading


async def test_what_one_event_writes_goes_out_in_one_piece() -> None:
    channel, transport, _ = await connect()
    await asyncio.sleep(0)
    before = transport.writes
    channel.apply([change(number) for number in range(10)])
    channel.packet_out(2, b"frame")
    assert transport.writes == before
    await asyncio.sleep(0)
    assert transport.writes == before + 1
    assert [sent.kind for sent in transport.written[-11:]] == [FLOW_MOD] * 10 + [PACKET_OUT]


async def test_what_was_written_before_closing_still_goes_out() -> None:
    channel, transport, _ = await connect()
    channel.apply([change()])
    channel.close("enough")
    assert len(transport.of(FLOW_MOD)) == 1


async def test_flow_stats_are_asked_for_all_tables() -> None:
    channel, transport, _ = await connect()
    await channel.read_tables()
    asked = transport.of(MULTIPART_REQUEST)[-1]
    assert struct.unpack_from("!H6xB", asked.body) == (FLOW_STATS, 0xFF)
