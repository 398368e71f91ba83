"""Clearing: takes the per-flow rules of ended sessions from switches that hold many, in pieces and when there is time.

Nothing reaches these rules any more: the bindings without which no packet is the session's went first. But to remove
thousands of rules at once keeps Open vSwitch busy. A removal by a part of the cookie looks at every entry of the table,
and while a hundred reports of removed entries are not taken from it, it reads nothing: not the next revocation, and no
new flow. So a piece is as many rules as make fewer reports than that, one piece is under way at a time, and none begins
while sessions are being revoked. A piece names a whole cookie, by which Open vSwitch finds entries without looking at
others; where one cookie has many, a part of the clients' ports as well.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from zethane.errors import ChannelError
from zethane.net.flowkey import ETH_IPV4, ETH_IPV6
from zethane.pipeline.addresses import IPV4_LENGTH
from zethane.pipeline.change import RemoveMatching
from zethane.pipeline.fields import ALL_BITS, PARTIES_MASK, cookie, parties
from zethane.pipeline.flow import FieldValue, match
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import PORT_NAMES
from zethane.service.flows import LiveFlow
from zethane.service.points import Point
from zethane.service.state import State
from zethane.service.switch import SwitchChannel

SMALL = 4096
"""Flows of a switch up to which a session's rules are removed at once: that takes it about 10 ms at most."""

PIECE = 32
"""Flows whose rules are removed in one go, or half as many more: up to 96 reports. At a hundred that are not taken Open
vSwitch reads nothing more."""

PIECES = 300
"""Into so many all that waits is divided where that makes larger ones: when very many sessions have ended, to be done
with it counts for more."""

LOOKED_AT = 1024
"""Flows that are told apart in one go: a millisecond."""

MAX_PART_BITS = 8
"""Bits of a client's port by which one cookie's rules are told apart, at most."""

QUIET = 1.0
"""Seconds since the last session was revoked after which a piece may begin."""

PATIENCE = 3.0
"""Seconds after which it may begin although others are revoked."""

MANY = 50_000
"""Flows of a switch with which nothing is waited for: their last counters are held in memory."""

LINGER = 310.0
"""Seconds that the far end's rule of a flow may outlive the flow: its idle timeout."""

MAX_LINGERING = 65_536
"""Ended sessions that are kept in mind for so long."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class _Kind(NamedTuple):
    """What one removal can take: the flows of one pair of sessions under one rule; of one protocol, by their ports."""

    subject: int
    object: int
    rule: int
    is_ipv4: bool
    proto: int

    @property
    def cookie(self) -> int:
        return cookie(self.subject, self.object, self.rule)


class Piece(NamedTuple):
    """Removals, and about how many flows' rules they take. None: there was enough to do for now."""

    removals: list[RemoveMatching]
    flows: int


@dataclass(slots=True)
class _Ended:
    """What one switch holds of one session."""

    number: int
    flows: int
    pieces: Iterator[Piece]


@dataclass(slots=True)
class _Waiting:
    """What is to be removed from one switch, over which connection, and since when."""

    point: Point
    channel: SwitchChannel
    since: float
    sessions: deque[_Ended] = field(default_factory=deque)
    flows: int = 0
    under_way: bool = False


class Clearing:
    """Does what is left to do for sessions that have ended, for each switch one piece at a time."""

    def __init__(self, state: State, spawn: Spawn) -> None:
        self._state = state
        self._spawn = spawn
        self._waiting: dict[int, _Waiting] = {}
        self._last: dict[int, float] = {}
        self._numbers: Counter[int] = Counter()
        self._lingering: OrderedDict[int, float] = OrderedDict()

    def barred(self, point: Point) -> None:
        """A session has just been taken back there: what comes next may be another one."""
        self._last[point.number] = self._state.clock()

    def ended(self, number: int, points: Sequence[Point], flows: list[LiveFlow]) -> list[Point]:
        """A session has ended that had these flows, which are out of force, and was bound at these switches.

        Returns those of them where its per-flow rules are to be removed at once: this one does not see to them.
        """
        at = self._state.flows.at
        large = [point for point in points if _is_right(point) and at(point.switch.dpid) + len(flows) > SMALL]
        if not large:
            return list(points)
        there = self._state.flows.at_each(flows, [point.switch.dpid for point in large])
        large = [point for point in large if at(point.switch.dpid) + len(there[point.switch.dpid]) > SMALL]
        for point in large:
            self._wait(point, number, there[point.switch.dpid])
        if large and number not in self._numbers:
            self._linger(number)
        return [point for point in points if point not in large]

    def _wait(self, point: Point, number: int, flows: Sequence[LiveFlow]) -> None:
        if not flows or point.channel is None:
            return
        waiting = self._waiting.get(point.number)
        if waiting is None:
            waiting = self._waiting[point.number] = _Waiting(point, point.channel, self._state.clock())
        waiting.sessions.append(_Ended(number, len(flows), pieces(flows)))
        waiting.flows += len(flows)
        self._numbers[number] += 1
        self._state.flows.wait_for_removal(point.switch.dpid, len(flows))

    def away(self, point: Point) -> None:
        """A switch is not connected any more. When it is again, it is made right as a whole."""
        waiting = self._waiting.get(point.number)
        if waiting is not None:
            self._drop(waiting)

    def names(self, number: int) -> bool:
        """Whether switches may hold rules of a session that has ended."""
        return number in self._numbers or number in self._lingering

    def waits(self, number: int) -> bool:
        """Whether rules of a session that has ended wait to be removed."""
        return number in self._numbers

    def tick(self, now: float) -> bool:
        """Begin with what may begin. Returns whether more is to be done soon."""
        while self._lingering:
            number, until = next(iter(self._lingering.items()))
            if now < until <= now + LINGER and len(self._lingering) <= MAX_LINGERING:
                break
            del self._lingering[number]
        more = False
        for waiting in tuple(self._waiting.values()):
            if self._is_quiet(waiting, now):
                more = True
                if not waiting.under_way and not waiting.channel.is_behind:
                    waiting.under_way = True
                    self._spawn(self._remove(waiting))
        return more

    def _is_quiet(self, waiting: _Waiting, now: float) -> bool:
        """Whether a piece may begin. A clock that was put back delays nothing."""
        last = self._last.get(waiting.point.number, now)
        soon = 0 <= now - last < QUIET and 0 <= now - waiting.since < PATIENCE
        return not soon or waiting.flows > MANY

    async def _remove(self, waiting: _Waiting) -> None:
        """One piece, and the switch's word that it has come to it."""
        try:
            waiting.channel.apply(self._next(waiting))
            await waiting.channel.barrier()
        except ChannelError:
            pass  # the connection is gone, and with it what waits
        finally:
            waiting.under_way = False
            if not waiting.sessions and self._waiting.get(waiting.point.number) is waiting:
                del self._waiting[waiting.point.number]

    def _next(self, waiting: _Waiting) -> list[RemoveMatching]:
        """As many removals as make a piece."""
        found: list[RemoveMatching] = []
        most = left = max(PIECE, waiting.flows // PIECES)
        while left > most // 2 and waiting.sessions:
            ended = waiting.sessions[0]
            piece = next(ended.pieces, None)
            if piece is None:
                waiting.sessions.popleft()
                self._done(waiting, ended)
            else:
                found += piece.removals
                left -= max(piece.flows, 1) if piece.removals else most
        return found

    def _done(self, waiting: _Waiting, ended: _Ended) -> None:
        """Nothing is left to do for a session at a switch."""
        waiting.flows -= ended.flows
        self._state.flows.wait_for_removal(waiting.point.switch.dpid, -ended.flows)
        self._numbers[ended.number] -= 1
        if self._numbers[ended.number] <= 0:
            del self._numbers[ended.number]
            self._linger(ended.number)

    def _linger(self, number: int) -> None:
        self._lingering[number] = self._state.clock() + LINGER

    def _drop(self, waiting: _Waiting) -> None:
        while waiting.sessions:
            self._done(waiting, waiting.sessions.popleft())
        if self._waiting.get(waiting.point.number) is waiting:
            del self._waiting[waiting.point.number]


def _is_right(point: Point) -> bool:
    """Whether a switch has what is intended for it; what is just being made right is not looked at again."""
    return point.channel is not None and point.ready and point.missed is None


def pieces(flows: Iterable[LiveFlow]) -> Iterator[Piece]:
    """Removals for the rules of flows, a piece at a time. They are not looked at before the first is asked for."""
    kinds: dict[int, Counter[_Kind]] = {}
    for number, flow in enumerate(flows, 1):
        if number % LOOKED_AT == 0:
            yield Piece([], 0)
        key = flow.key
        kind = _Kind(flow.subject, flow.object, flow.rule, len(key.src) == IPV4_LENGTH, key.proto)
        kinds.setdefault(kind.cookie, Counter())[kind] += 1
    for why, counted in kinds.items():
        left = sum(counted.values())
        for kind, count in counted.items():
            if left > PIECE and count > PIECE and kind.proto in PORT_NAMES:
                yield from _by_ports(kind, count)
                left -= count
        yield Piece([RemoveMatching(Table.FLOW, (), why, ALL_BITS)], left)


def _by_ports(kind: _Kind, count: int) -> Iterator[Piece]:
    """The same for many flows of one kind, by the last bits of the port that each was opened from."""
    bits = min((count // PIECE).bit_length(), MAX_PART_BITS)
    mask = (1 << bits) - 1
    source, destination = PORT_NAMES[kind.proto]
    common = {"eth_type": ETH_IPV4 if kind.is_ipv4 else ETH_IPV6, "ip_proto": kind.proto}
    there: dict[str, FieldValue] = {"metadata": (parties(kind.subject, kind.object), PARTIES_MASK)}
    back: dict[str, FieldValue] = {"metadata": (parties(kind.object, kind.subject), PARTIES_MASK)}
    for part in range(mask + 1):
        ways = there | {source: (part, mask)}, back | {destination: (part, mask)}
        yield Piece(
            [RemoveMatching(Table.FLOW, match(**common, **way), kind.cookie, ALL_BITS) for way in ways],
            (count >> bits) + 1,
        )
