"""The flows that are under way, in a table of bounded size: packets find theirs, and what has ended is told."""

from __future__ import annotations

from collections.abc import Callable

from zethane.net.flowkey import ICMP, ICMPV6, TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, FlowKey
from zethane.replay.attribution import Attribution
from zethane.replay.flow import NONE, Count, Flow, Opening, opened_by
from zethane.replay.shape import Tables, tables
from zethane.replay.verdict import Judge, Verdict, named_services
from zethane.replay.who import Who

MAX_FLOWS = 100_000
"""Flows that are under way at once."""

TCP_ENDS = TCP_FIN | TCP_RST
"""What the first packet of a flow can say beside that it begins."""

_SWEEP = 16_384
"""Flows that begin between two looks at what is over."""
_BOTH = 3
"""`Live.ends` of what is over."""

MAX_SIGNATURES = 8
"""Signatures that one flow may have: they differ when its packets take other paths, which is rare."""

_IDLE = {TCP: 7440.0, ICMP: 60.0, ICMPV6: 60.0}
"""Seconds without a packet after which the next one is of another flow: RFC 5382 REQ-5 for TCP."""
_OVER_IDLE = 60.0
"""The same for TCP connections that have ended: twice the maximum segment lifetime that systems assume."""
_OTHER_IDLE = 300.0
"""RFC 4787 REQ-5 for UDP, and for everything else."""


class Way:
    """One direction of a flow, as the fast path sees it. `due` is when somebody has to look at the flow again."""

    __slots__ = (
        "captured",
        "due",
        "flow",
        "is_forward",
        "last",
        "least",
        "lengths",
        "mask",
        "octets",
        "packets",
        "proto",
    )

    def __init__(self, flow: Live, is_forward: bool, limits: Tables, due: float) -> None:
        self.packets = 0
        self.octets = 0
        self.last = flow.first
        self.due = due
        self.flow = flow
        self.is_forward = is_forward
        self.proto = flow.key.proto
        self.mask, self.lengths, self.captured, self.least = limits

    @property
    def count(self) -> Count:
        """What has come this way."""
        return Count(self.packets, self.octets)


class Live:
    """A flow that is under way.

    `ends` is 1 and 2 for a FIN of the subject, of the object, 3 for both or a RST. `is_over` says that it has been
    told: nothing counts any more. `is_refused`: the object's first packet was a RST.
    """

    __slots__ = (
        "ends",
        "first",
        "hurdles",
        "idle",
        "is_over",
        "is_refused",
        "key",
        "object",
        "opening",
        "related",
        "sequence",
        "signatures",
        "subject",
        "verdict",
        "ways",
    )

    def __init__(
        self, key: FlowKey, subject: Who, target: Who, opening: Opening, verdict: Verdict, first: float, sequence: int
    ) -> None:
        self.key = key
        self.subject = subject
        self.object = target
        self.opening = opening
        self.verdict = verdict
        self.first = first
        self.sequence = sequence
        self.idle = _IDLE.get(key.proto, _OTHER_IDLE)
        """How long it may be silent, in seconds."""
        self.signatures: list[bytes] = []
        self.related = NONE
        self.hurdles: dict[str, Count] | None = None
        self.ends = 0
        self.is_over = False
        self.is_refused = False
        limits, due = tables(key.proto, len(key.src)), min(first + self.idle, verdict.until)
        self.ways: tuple[Way, ...] = Way(self, True, limits, due), Way(self, False, limits, due)

    @property
    def last(self) -> float:
        """The time of its newest packet."""
        return max(self.ways[0].last, self.ways[1].last)

    def hinder(self, reason: str, count: Count) -> None:
        """Some of its packets would be dropped whatever the verdict."""
        if self.hurdles is None:
            self.hurdles = {}
        self.hurdles[reason] = self.hurdles.get(reason, NONE).plus(count)

    def told(self) -> Flow:
        """As it is now."""
        there, back = self.ways
        return Flow(
            self.key,
            self.subject,
            self.object,
            self.opening,
            self.verdict,
            min(self.first, there.last, back.last),
            max(self.first, self.last),
            there.count,
            back.count,
            self.related,
            tuple(self.hurdles.items()) if self.hurdles else (),
            back.packets > 0 and not self.is_refused,
        )


class Table:
    """The flows that are under way, by key and by signature; `tell` gets each when it has ended."""

    def __init__(
        self, judge: Judge, attribution: Attribution, tell: Callable[[Flow], None], room: int = MAX_FLOWS
    ) -> None:
        self.signatures: dict[bytes, Way] = {}
        self.evicted = 0
        """Flows that were told before they had ended, for want of room."""
        self._ways: dict[FlowKey, Way] = {}
        self._judge = judge
        self._attribution = attribution
        self._tell = tell
        self._room = room
        self._unswept = 0
        self._services = named_services(judge.policy)

    def find(self, key: FlowKey) -> Way | None:
        """The direction of a live flow that a key is of."""
        return self._ways.get(key)

    def way_of(self, key: FlowKey, flags: int, sequence: int, src: bytes, dst: bytes, when: float) -> Way:
        """The direction that a packet belongs to, of a new flow if need be. `src` and `dst` are its MAC addresses."""
        way = self._ways.get(key)
        if way is None:
            return self.look(self._open(key, flags, sequence, src, dst, when), flags & TCP_ENDS, sequence, when)
        if when < way.due and not flags & way.mask:
            return way
        return self.look(way, flags, sequence, when)

    def look(self, way: Way, flags: int, sequence: int, when: float) -> Way:
        """What a packet of a live flow does to it besides being counted; the direction that it is to be counted in."""
        if when >= way.due:
            way = self._due(way, when)
        if way.flow.key.proto == TCP and flags & way.mask:
            if flags & TCP_SYN and not flags & TCP_ACK:
                return self._again(way, sequence, when)
            if flags & TCP_RST:
                way.flow.ends = _BOTH
                way.flow.is_refused |= not way.is_forward and not way.packets
            elif flags & TCP_FIN:
                way.flow.ends |= 1 if way.is_forward else 2
        return way

    def remember(self, way: Way, signature: bytes) -> None:
        """Let later packets with this signature find their way fast."""
        if len(way.flow.signatures) < MAX_SIGNATURES and signature not in self.signatures:
            way.flow.signatures.append(signature)
            self.signatures[signature] = way

    def finish(self) -> None:
        """Tell all that are left."""
        for way in list(self._ways.values()):
            if way.is_forward:
                self._end(way.flow)

    def _open(self, key: FlowKey, flags: int, sequence: int, src: bytes, dst: bytes, when: float) -> Way:
        is_forward, opening = opened_by(key, flags, self._services)
        sender, receiver = self._attribution.who(key.src, src), self._attribution.who(key.dst, dst)
        if not is_forward:
            key, sender, receiver = key.reverse(), receiver, sender
        flow = self._start(key, sender, receiver, opening, sequence if opening == "syn" else -1, when)
        return flow.ways[0 if is_forward else 1]

    def _start(self, key: FlowKey, subject: Who, target: Who, opening: Opening, sequence: int, when: float) -> Live:
        self._unswept += 1
        if len(self._ways) >= 2 * self._room:
            self._make_room(when)
        elif self._unswept >= _SWEEP and self._unswept * 4 > len(self._ways):
            self._sweep(when)
        port = 0 if key.proto in (ICMP, ICMPV6) else key.dport
        verdict = self._judge.verdict(subject, target, key.proto, port, when)
        flow = Live(key, subject, target, opening, verdict, when, sequence)
        there, back = flow.ways
        self._ways[key.reverse()] = back
        self._ways[key] = there  # a key that is its own reverse has one direction
        return flow

    def _again(self, way: Way, sequence: int, when: float) -> Way:
        """A SYN where a flow is already: of the same connection only if it is the same SYN."""
        flow = way.flow
        if way.is_forward and sequence == flow.sequence:
            return way
        if way.is_forward and flow.sequence < 0 and flow.opening == "answer" and not flow.ends:
            flow.sequence = sequence
            return way
        self._end(flow)
        key, subject, target = flow.key, flow.subject, flow.object
        if not way.is_forward:
            key, subject, target = key.reverse(), target, subject
        return self._start(key, subject, target, "syn", sequence, when).ways[0]

    def _due(self, way: Way, when: float) -> Way:
        """Look whether a flow has been silent for too long, or has another verdict by now."""
        flow = way.flow
        if when - flow.last > flow.idle:
            self._end(flow)
            key, opening = flow.key, flow.opening
            goes_on = flow.key.proto == TCP
            if way.is_forward or goes_on:
                again = self._start(key, flow.subject, flow.object, opening if goes_on else "first", -1, when)
                return again.ways[0 if way.is_forward else 1]
            return self._start(key.reverse(), flow.object, flow.subject, "first", -1, when).ways[0]
        port = 0 if flow.key.proto in (ICMP, ICMPV6) else flow.key.dport
        verdict = self._judge.verdict(flow.subject, flow.object, flow.key.proto, port, when)
        if verdict.outcome != flow.verdict.outcome:
            self._end(flow)
            rest = self._start(flow.key, flow.subject, flow.object, "goes-on", flow.sequence, when)
            rest.ends = flow.ends
            return rest.ways[0 if way.is_forward else 1]
        for one in flow.ways:
            one.due = min(when + flow.idle, verdict.until)
        return way

    def _end(self, flow: Live) -> None:
        there, back = flow.key, flow.key.reverse()
        self._ways.pop(there, None)
        self._ways.pop(back, None)
        for signature in flow.signatures:
            del self.signatures[signature]
        flow.is_over = True
        self._tell(flow.told())
        flow.ways = ()  # and with them the circle that only the garbage collector would find

    def _sweep(self, when: float) -> None:
        """End what is over, or has been silent for too long."""
        self._unswept = 0
        for flow in [way.flow for way in self._ways.values() if way.is_forward]:
            silent = when - flow.last
            if silent > flow.idle or (flow.ends == _BOTH and silent > _OVER_IDLE):
                self._end(flow)

    def _make_room(self, when: float) -> None:
        """End what may be ended; then, if that is not enough, what has been silent for longest."""
        self._sweep(when)
        left = [way.flow for way in self._ways.values() if way.is_forward]
        surplus = len(left) - self._room * 3 // 4
        if surplus > 0:
            left.sort(key=lambda flow: (flow.ends != _BOTH, flow.last))
            for flow in left[:surplus]:
                self.evicted += flow.ends != _BOTH
                self._end(flow)
