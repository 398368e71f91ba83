"""Requests, bundles and writing on one connection, against a switch in memory."""

from __future__ import annotations

import asyncio
import struct

import pytest

from fakes.openflow_peer import (
    BARRIER_REPLY,
    BARRIER_REQUEST,
    ECHO_REPLY,
    ECHO_REQUEST,
    ERROR,
    EXPERIMENTER,
    FEATURES_REPLY,
    FLOW_MOD,
    FLOW_STATS,
    METER_MOD,
    MULTIPART_REPLY,
    MULTIPART_REQUEST,
    PACKET_OUT,
    Events,
    Message,
    Peer,
    Wire,
    bundle_reply,
    connect,
    message,
    wire,
)
from zethane.adapters.openflow.channel import Channel
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.errors import ChannelError
from zethane.pipeline.change import Add
from zethane.pipeline.flow import Flow, match
from zethane.pipeline.tables import Table


def change(cookie: int = 1) -> Add:
    return Add(Flow(Table.RULE, 10, match(eth_type=0x800), cookie))


# requests


async def test_an_error_is_matched_to_the_request_that_caused_it() -> None:
    peer = Peer()
    channel, _, events = await connect(peer)
    peer.refuse = lambda asked: (1, 2) if asked.kind == MULTIPART_REQUEST else None
    with pytest.raises(ChannelError, match="error type 1 code 2 for message type 18"):
        await channel.read_meter_drops()
    await channel.barrier()
    assert len(events.of("refused")) == 1


async def test_an_error_that_nothing_waits_for_is_reported_with_its_cookie() -> None:
    peer = Peer()
    channel, _, events = await connect(peer)
    peer.refuse = lambda asked: (5, 1) if asked.kind == FLOW_MOD else None
    channel.apply([change(0xC0FFEE)])
    await channel.barrier()
    (what,) = events.of("refused")
    assert f"table {Table.RULE:d} cookie 0x0000000000c0ffee" in what


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
    channel, transport, events = await connect(peer, ChannelLimits(flow_list_bytes=2000))
    with pytest.raises(ChannelError, match="too long"):
        await channel.read_tables()
    await transport.lost
    assert events.of("disconnected") == ["an answer is too long"]


async def test_a_flood_of_meters_or_of_ports_ends_the_connection() -> None:
    """There may be more entries than meters: the bound on the one is not that on the other."""
    peer = Peer()
    peer.meters = bytes.fromhex("0008000000000001") * 400
    channel, transport, events = await connect(peer, ChannelLimits(list_bytes=2000))
    with pytest.raises(ChannelError, match="too long"):
        await channel.set_meters({})
    await transport.lost
    assert events.of("disconnected") == ["an answer is too long"]

    peer = Peer(ports=range(1, 100))
    events = Events()
    _, transport = wire(events, peer, ChannelLimits(list_bytes=2000))
    await transport.lost
    assert not events.of("connected")


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


async def test_a_bundle_is_committed_when_all_of_it_was_taken_and_before_anything_that_comes_after() -> None:
    channel, transport, _ = await connect()
    del transport.written[:]
    commit = channel.commit([change(1), change(2)])
    channel.packet_out(1, b"frame")
    await commit
    bundles = [struct.unpack_from("!IIIH", sent.body)[1:] for sent in transport.of(EXPERIMENTER)]
    assert bundles == [(2300, 1, 0), (2301, 1, 0), (2301, 1, 0), (2300, 1, 4)]
    assert [sent.kind for sent in transport.written] == [
        *[EXPERIMENTER] * 3,
        BARRIER_REQUEST,
        EXPERIMENTER,
        PACKET_OUT,
    ]
    assert transport.written[0].body[14:16] == transport.written[4].body[14:16] == b"\0\3"  # atomic and ordered


async def test_a_bundle_that_was_not_taken_whole_is_discarded_and_what_waited_goes_out() -> None:
    """A switch would commit what is left of it."""
    peer = Peer()
    channel, transport, _ = await connect(peer)
    peer.refuse = lambda asked: (5, 0) if asked.kind == EXPERIMENTER and asked.body[4:8] == b"\0\0\x08\xfd" else None
    commit = channel.commit([change(1), change(2)])
    channel.packet_out(1, b"frame")
    with pytest.raises(ChannelError, match="cookie 0x0000000000000001"):
        await commit
    await channel.barrier()
    controls = [struct.unpack_from("!IIIH", sent.body) for sent in transport.of(EXPERIMENTER)]
    assert [kind for _, number, _, kind in controls if number == 2300] == [0, 6]
    assert len(transport.of(PACKET_OUT)) == 1


async def test_a_commit_that_is_cancelled_lets_through_what_waited() -> None:
    peer = Peer()
    channel, transport, _ = await connect(peer)
    peer.silent = {BARRIER_REQUEST}
    commit = channel.commit([change(1)])
    channel.packet_out(1, b"frame")
    await asyncio.sleep(0)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    await asyncio.sleep(0)
    assert [sent.kind for sent in transport.written[-2:]] == [EXPERIMENTER, PACKET_OUT]


async def test_echo_requests_are_answered_while_a_bundle_is_not_committed() -> None:
    peer = Peer()
    channel, transport, _ = await connect(peer)
    peer.silent = {BARRIER_REQUEST}
    commit = channel.commit([change(1)])
    transport.deliver(message(ECHO_REQUEST, 5, b"hi"))
    assert transport.of(ECHO_REPLY) == [Message(ECHO_REPLY, 5, b"hi")]
    commit.cancel()


async def test_what_waits_behind_a_bundle_is_bounded() -> None:
    peer = Peer()
    channel, transport, events = await connect(peer, ChannelLimits(held_bytes=1000))
    peer.silent = {BARRIER_REQUEST}
    commit = channel.commit([change(1)])
    for _ in range(20):
        channel.packet_out(1, bytes(60))
    await transport.lost
    assert events.of("disconnected") == ["too much has to wait for a bundle"]
    with pytest.raises(ChannelError):
        await commit


async def test_bundles_and_what_is_between_them_stay_in_order() -> None:
    channel, transport, _ = await connect()
    del transport.written[:]
    commits = []
    for number in range(1, 4):
        commits.append(channel.commit([change(number)]))
        channel.packet_out(number, b"frame")
    await asyncio.gather(*commits)
    await channel.barrier()
    seen = [
        ("out", struct.unpack_from("!I", sent.body, 20)[0]) if sent.kind == PACKET_OUT else ("bundle", _bundle_of(sent))
        for sent in transport.written
        if sent.kind in (PACKET_OUT, EXPERIMENTER)
    ]
    wanted = [[("bundle", number)] * 3 + [("out", number)] for number in range(1, 4)]
    assert seen == [one for part in wanted for one in part]


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


async def test_what_is_refused_while_a_bundle_is_open_is_not_forgotten_at_its_commit() -> None:
    """The switch tells at once, and would commit the rest: a bundle that it has let go it has begun anew."""
    peer = Peer()
    channel, transport, _ = await connect(peer)
    peer.refuse = lambda asked: (17, 10) if asked.kind == EXPERIMENTER and asked.body[4:8] == b"\0\0\x08\xfc" else None
    bundle = channel.bundle()
    bundle.add((change(1),))
    assert not bundle.is_refused
    await channel.barrier()
    assert bundle.is_refused
    bundle.add((change(2),))
    with pytest.raises(ChannelError, match="error type 17 code 10"):
        await bundle.commit()
    await channel.barrier()
    controls = [struct.unpack_from("!IIIH", sent.body) for sent in transport.of(EXPERIMENTER)]
    assert [kind for _, number, _, kind in controls if number == 2300] == [0, 6]


async def test_a_refusal_of_something_else_meanwhile_does_no_harm_to_an_open_bundle() -> None:
    peer = Peer()
    channel, transport, _ = await connect(peer)
    bundle = channel.bundle()
    bundle.add((change(1),))
    peer.refuse = lambda asked: (5, 0) if asked.kind == PACKET_OUT else None
    channel.packet_out(1, b"frame")
    await channel.barrier()
    bundle.add((change(2),))
    assert not bundle.is_refused
    await bundle.commit()
    controls = [struct.unpack_from("!IIIH", sent.body) for sent in transport.of(EXPERIMENTER)]
    assert [kind for _, number, _, kind in controls if number == 2300] == [0, 4]


async def test_a_bundle_that_is_discarded_is_never_committed() -> None:
    channel, transport, _ = await connect()
    channel.bundle().discard()  # not even begun
    bundle = channel.bundle()
    bundle.add((change(1),))
    bundle.discard()
    bundle.discard()
    await channel.barrier()
    controls = [struct.unpack_from("!IIIH", sent.body) for sent in transport.of(EXPERIMENTER)]
    assert [kind for _, number, _, kind in controls if number == 2300] == [0, 6]


async def test_the_same_changes_to_two_switches_are_each_switchs_own() -> None:
    changes = (change(1), change(2))
    written = []
    for first in (False, True):
        channel, transport, _ = await connect()
        if first:
            channel.packet_out(1, b"frame")
        bundle = channel.bundle()
        bundle.add(changes)
        bundle.add(list(changes))
        await bundle.commit()
        members = [sent for sent in transport.of(EXPERIMENTER) if sent.body[4:8] == b"\0\0\x08\xfd"]
        assert len({sent.xid for sent in members}) == 4
        assert [int.from_bytes(sent.body[20:24], "big") for sent in members] == [sent.xid for sent in members]
        written.append([sent.body[24:] for sent in members])
    assert written[0] == written[1]
    assert written[0][:2] == written[0][2:]


async def test_who_begins_to_watch_while_a_bundle_is_open_is_told_that_it_takes_effect() -> None:
    channel, _, _ = await connect()
    bundle = channel.bundle()
    bundle.add((change(1),))
    with channel.watch() as written:
        assert not written.is_too_much
        await bundle.commit()
        assert written.is_too_much
    with channel.watch() as written:
        await channel.commit([change(2)])
        assert not written.is_too_much


def _bundle_of(sent: Message) -> int:
    return int.from_bytes(sent.body[8:12], "big")


# meters


def meter(number: int, rate: int, burst: int) -> bytes:
    return struct.pack("!HHIHHIII", 24, 6, number, 1, 16, rate, burst, 0)


async def test_meters_are_made_changed_and_removed_and_what_is_right_or_somebody_elses_stays() -> None:
    peer = Peer()
    peer.meters = meter(1, 100, 100) + meter(2, 50, 50) + meter(9, 1, 1) + meter(77, 1, 1)
    channel, transport, _ = await connect(peer)
    wrong = await channel.set_meters({1: (100, 100), 2: (70, 70), 3: (5, 6)}, {9, 10})
    assert wrong == {2: "altered", 3: "missing", 9: "stale"}
    sent = [(*struct.unpack_from("!HHI", one.body), one.body[8:]) for one in transport.of(METER_MOD)]
    assert [(command, number) for command, _, number, _ in sent] == [(1, 2), (0, 3), (2, 9)]
    assert sent[1][3] == struct.pack("!HHIII", 1, 16, 5, 6, 0)


# back-pressure and writing


async def test_a_switch_that_does_not_read_is_not_read_from() -> None:
    channel, transport, _ = await connect()
    transport.unwritten = 5 * 2**20
    channel.pause_writing()
    assert not transport.reading
    transport.unwritten = 0
    channel.resume_writing()
    assert transport.reading
    assert transport.high_water == (2**16, None)


async def test_a_switch_that_takes_nothing_is_full_until_it_reads_again() -> None:
    channel, transport, _ = await connect()
    transport.unwritten = 5 * 2**20
    assert not channel.is_full
    channel.pause_writing()
    assert channel.is_full
    transport.unwritten = 2**17
    assert not channel.is_full
    transport.unwritten = 5 * 2**20
    channel.resume_writing()
    assert not channel.is_full


async def test_a_switch_that_does_not_take_a_bundle_is_full_before_its_connection_is_given_up() -> None:
    peer = Peer()
    channel, _, _ = await connect(peer)
    peer.silent = {BARRIER_REQUEST}
    writing = channel.commit([])
    while not channel.is_full:
        channel.packet_out(1, bytes(60000))
    channel.packet_out(1, bytes(60000))
    assert channel._closed_for is None
    channel.close("over")
    writing.cancel()


async def test_a_switch_that_is_a_little_behind_is_read_from_until_its_questions_are_too_many() -> None:
    channel, transport, _ = await connect()
    transport.unwritten = 2**17
    channel.pause_writing()
    assert channel.is_behind
    assert transport.reading
    transport.unwritten = 5 * 2**20
    transport.deliver(message(ECHO_REQUEST, 1))
    assert not transport.reading
    transport.unwritten = 0
    channel.resume_writing()
    assert transport.reading
    assert not channel.is_behind


async def test_nothing_is_read_again_from_a_connection_that_is_closing() -> None:
    channel, transport, _ = await connect()
    transport.unwritten = 5 * 2**20
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


async def test_flow_stats_are_asked_for_the_pipelines_tables_and_no_others() -> None:
    channel, transport, _ = await connect()
    await channel.read_tables()
    asked = [one for one in transport.of(MULTIPART_REQUEST) if one.body[:2] == FLOW_STATS.to_bytes(2, "big")]
    assert [struct.unpack_from("!H6xB", one.body) for one in asked] == [(FLOW_STATS, table) for table in Table]
