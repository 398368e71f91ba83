"""What the compiled path sends past the transport is what the transport would have sent, in the same order."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterator

import pytest

from fakes.frames import SYN
from fakes.hot_site import LAPTOP, WEB1, HotSite, Sink, packet_in
from zethane.adapters.openflow.pace import MARK_EVERY
from zethane.native import native
from zethane.service.switch import PacketIn

pytestmark = pytest.mark.skipif(
    native("zethane.adapters.openflow.fast_path") is None, reason="nothing is compiled here"
)


OFPT_PACKET_OUT, OFPT_FLOW_MOD, OFPT_BARRIER_REQUEST, OFPT_BARRIER_REPLY = 13, 14, 20, 21


class Rest(Sink):
    """A transport that gets what was not sent, from the middle of a message on as well."""

    def write(self, data: bytes) -> None:
        self.written += data


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, switch = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    switch.setblocking(False)
    with ours, switch:
        yield ours, switch


def taken(switch: socket.socket) -> bytes:
    """All that the switch has got."""
    found = b""
    try:
        while part := switch.recv(1 << 16):
            found += part
    except BlockingIOError:
        pass
    return found


def barrier_reply(xid: int) -> bytes:
    return struct.pack("!BBHI", 4, OFPT_BARRIER_REPLY, 8, xid)


def messages(stream: bytes) -> Iterator[bytes]:
    """The messages of a stream, each as long as it says; each is one that a controller sends."""
    while stream:
        version, kind, length, _ = struct.unpack_from("!BBHI", stream)
        assert version == 4
        assert kind in (OFPT_PACKET_OUT, OFPT_FLOW_MOD, OFPT_BARRIER_REQUEST)
        assert 8 <= length <= len(stream)
        yield stream[:length]
        stream = stream[length:]


def openings(hot: HotSite, first: int, count: int, ports: int = 1) -> bytes:
    """The packet-ins of so many new connections, which come in at so many ports of the switch in turn."""
    rule = hot.state.policy.rule_numbers["staff-web"]
    return b"".join(
        packet_in(rule, 1, 3, LAPTOP.port + number % ports, LAPTOP.tcp(WEB1, first + number, 443, SYN))
        for number in range(count)
    )


async def through_the_transport(counts: list[int]) -> bytes:
    """What a site writes for so many connections at a time when nothing is sent past the transport."""
    hot = await HotSite(fast=True).start()
    for place, count in enumerate(counts):
        hot.channels["s1"].data_received(openings(hot, 1000 * (place + 1), count))
    return hot.sinks["s1"].written


async def test_a_new_flow_is_sent_at_once_and_counts_as_written(ends: tuple[socket.socket, socket.socket]) -> None:
    hot = await HotSite(fast=True).start()
    link, sink = hot.channels["s1"], hot.sinks["s1"]
    link._plain = ends[0].fileno()
    link.data_received(openings(hot, 1000, 1))
    sent = taken(ends[1])
    assert sent == await through_the_transport([1])
    assert sink.written == b""
    assert link._pace.ahead == len(sent)
    assert hot.view()["log"].count(b"\n") == 1


@pytest.mark.parametrize(
    "counts",
    [[1, 1], [1] * 60, [60], [1, 700, 1]],
    ids=["one by one", "until a barrier is due", "many", "more than it takes"],
)
async def test_what_the_connection_does_not_take_is_left_to_the_transport(
    counts: list[int], ends: tuple[socket.socket, socket.socket]
) -> None:
    hot = await HotSite(fast=True).start()
    link = hot.channels["s1"]
    link._attach(sink := Rest())  # type: ignore[arg-type]
    link._plain = ends[0].fileno()
    got = b""
    for place, count in enumerate(counts):
        link.data_received(openings(hot, 1000 * (place + 1), count))
        got += taken(ends[1]) + sink.written
        sink.written = b""
    assert got == await through_the_transport(counts)


async def sending(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> tuple[HotSite, list[int]]:
    """A site with a switch that is sent to past the transport; where the rest of each read begins that Python has."""
    hot = await HotSite(fast=True).start()
    link = hot.channels["s1"]
    hot.sinks["s1"] = Rest()
    link._attach(hot.sinks["s1"])  # type: ignore[arg-type]
    link._plain = ends[0].fileno()
    rests: list[int] = []
    take = link._take

    def look(data: bytes, at: int, *, looked: bool) -> None:
        rests.append(at)
        take(data, at, looked=looked)

    monkeypatch.setattr(link, "_take", look)
    return hot, rests


async def test_a_read_that_was_answered_whole_needs_nothing_more(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    hot, rests = await sending(ends, monkeypatch)
    link = hot.channels["s1"]
    link._alive.heard = 0.0
    for place in range(3):
        link.data_received(openings(hot, 1000 * (place + 1), 2))
    assert rests == []
    assert link._pace.ahead == len(taken(ends[1]))
    assert link._alive.heard > 0
    assert hot.view()["log"].count(b"\n") == 6
    assert link._intake._left == 0  # what comes outside of a read waits for its turn


ECHO_REQUEST = struct.pack("!BBHI", 4, 2, 8, 1)


async def test_what_is_left_of_a_read_is_looked_at_in_its_place(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    hot, rests = await sending(ends, monkeypatch)
    link = hot.channels["s1"]
    opening, other = openings(hot, 1000, 1), openings(hot, 2000, 1)
    link.data_received(opening + ECHO_REQUEST + other)
    assert rests == [len(opening)]
    link.data_received(opening + other[:30])
    assert rests == [len(opening)] * 2
    assert link._received == other[:30]
    link.data_received(other[30:])
    assert rests == [len(opening)] * 2 + [0]
    assert link._received == b""


@pytest.mark.parametrize("reason", ["behind", "resting", "unwritable", "waiting", "share", "barrier"])
async def test_a_read_with_something_to_see_to_is_looked_at(
    reason: str, ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    hot, rests = await sending(ends, monkeypatch)
    link = hot.channels["s1"]
    count = 1
    if reason == "behind":
        link._is_behind = True
    elif reason == "resting":
        link._intake._resting = True
    elif reason == "unwritable":
        link._writable = False
    elif reason == "waiting":
        link._intake._resting = True
        link._intake.wait(PacketIn(9, 7, 1, 0, b""))
        link._intake._resting = False
    elif reason == "share":
        count = 128
    else:
        link._pace._written = MARK_EVERY
    data = openings(hot, 1000, count)
    link.data_received(data)
    assert rests == [len(data)]


async def test_a_failure_of_the_compiled_path_ends_the_connection_and_nothing_else(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    hot, _ = await sending(ends, monkeypatch)
    link = hot.channels["s1"]
    hot.state.limits = object()  # type: ignore[assignment]
    link.data_received(openings(hot, 1000, 1))
    assert link._closed_for == "messages could not be handled: AttributeError"
    assert hot.sinks["s1"].closing
    assert taken(ends[1]) == b""


async def test_a_barrier_does_not_come_into_the_middle_of_a_message(ends: tuple[socket.socket, socket.socket]) -> None:
    """A switch answers one in the read that brings more than the connection takes, and the next is due."""
    hot = await HotSite(fast=True).start()
    link = hot.channels["s1"]
    link._attach(sink := Rest())  # type: ignore[arg-type]
    link._plain = ends[0].fileno()
    got = b""
    for first, count in ((1000, 100), (2000, 100)):
        link.data_received(openings(hot, first, count, 4))
        got += taken(ends[1]) + sink.written
        sink.written = b""
    assert link._pace._mark is not None
    assert link._pace.ahead - link._pace.due > MARK_EVERY
    link.data_received(openings(hot, 3000, 700, 4) + barrier_reply(link._pace._mark))
    got += taken(ends[1]) + sink.written
    kinds = Counter(message[1] for message in messages(got))
    # The rest of what each port sends waits.
    assert kinds[OFPT_PACKET_OUT] > 200
    assert kinds[OFPT_FLOW_MOD] == 2 * kinds[OFPT_PACKET_OUT]
    assert kinds[OFPT_BARRIER_REQUEST] == 2


async def test_nothing_overtakes_what_waits_in_the_transport(ends: tuple[socket.socket, socket.socket]) -> None:
    hot = await HotSite(fast=True).start()
    link, sink = hot.channels["s1"], hot.sinks["s1"]
    link._plain = ends[0].fileno()
    sink.unwritten = 1
    link.data_received(openings(hot, 1000, 2))
    assert taken(ends[1]) == b""
    assert sink.written == await through_the_transport([2])


async def test_a_connection_that_is_broken_is_left_to_the_transport(ends: tuple[socket.socket, socket.socket]) -> None:
    hot = await HotSite(fast=True).start()
    link, sink = hot.channels["s1"], hot.sinks["s1"]
    link._plain = ends[0].fileno()
    ends[1].close()
    link.data_received(openings(hot, 1000, 1))
    assert sink.written == await through_the_transport([1])


async def test_a_connection_that_ends_is_not_sent_to(ends: tuple[socket.socket, socket.socket]) -> None:
    hot = await HotSite(fast=True).start()
    link = hot.channels["s1"]
    link._plain = ends[0].fileno()
    link.connection_lost(None)
    assert link._plain == -1
