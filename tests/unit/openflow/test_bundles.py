"""Bundles of one connection, against a switch in memory: whole, in order, or not at all."""

from __future__ import annotations

import asyncio
import struct

import pytest

from fakes.openflow_peer import (
    BARRIER_REQUEST,
    ECHO_REPLY,
    ECHO_REQUEST,
    EXPERIMENTER,
    PACKET_OUT,
    Message,
    Peer,
    change,
    connect,
    message,
)
from zethane.adapters.openflow.bundles import Members
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.errors import ChannelError


async def test_a_bundle_is_committed_when_all_of_it_was_taken_and_before_anything_that_comes_after() -> None:
    channel, transport, _ = await connect()
    del transport.written[:]
    commit = channel.commit([change(1), change(2)])
    channel.packet_out(1, b"frame")
    await commit
    bundles = [struct.unpack_from("!IIIH", sent.body)[1:] for sent in transport.of(EXPERIMENTER)]
    assert bundles == [(2300, 1, 0), (2301, 1, 0), (2301, 1, 0), (2300, 1, 4)]
    assert [sent.kind for sent in transport.written] == [*[EXPERIMENTER] * 3, BARRIER_REQUEST, EXPERIMENTER, PACKET_OUT]
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


async def test_what_waits_behind_a_bundle_is_bounded_also_where_it_has_waited_behind_another() -> None:
    peer = Peer()
    channel, transport, events = await connect(peer, ChannelLimits(held_bytes=1000))
    peer.silent = {BARRIER_REQUEST}
    first = channel.commit([change(1)])
    for _ in range(4):
        second = channel.commit([change(2)])
        for _ in range(4):
            channel.packet_out(1, bytes(60))
        second.cancel()
        await asyncio.wait([second])
        await asyncio.sleep(0)
    channel.packet_out(1, bytes(60))
    await transport.lost
    assert events.of("disconnected") == ["too much has to wait for a bundle"]
    with pytest.raises(ChannelError):
        await first


@pytest.mark.parametrize("first", [1, 2**32 - 30, 2**32 - 1])
def test_the_messages_of_a_bundle_are_known_by_their_numbers_also_where_those_begin_again(first: int) -> None:
    members = Members(1, ())
    numbers = [(first - 1 + place) % (2**32 - 1) + 1 for place in range(60)]
    taken = [number for place, number in enumerate(numbers) if place == 0 or place % 4]
    for number in taken:
        members.add(number)
    assert [number for number in numbers if number in members] == taken
    assert (first + 2**31) % 2**32 not in members


async def test_a_commit_that_is_cancelled_before_it_has_begun_lets_through_what_waited() -> None:
    channel, transport, _ = await connect()
    commit = channel.commit([change(1)])
    channel.packet_out(1, b"frame")
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    await channel.barrier()
    assert [sent.kind for sent in transport.written[-3:]] == [EXPERIMENTER, PACKET_OUT, BARRIER_REQUEST]
    controls = [struct.unpack_from("!IIIH", sent.body) for sent in transport.of(EXPERIMENTER)]
    assert [kind for _, number, _, kind in controls if number == 2300] == [0, 6]


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
