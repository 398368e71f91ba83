"""The live flows: what the controller has allowed and the switches have not yet reported as ended.

Where it was built, `flow_table` takes the place of both classes: the same, compiled.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from zethane.identity.session import Session
from zethane.native import native
from zethane.net.flowkey import ICMP, ICMPV6, FlowKey
from zethane.pipeline.bindings import flow_lease
from zethane.service.untimed import Untimed

MOST = 2**64 - 1

FORWARD, RETURN = 1, 2
"""Directions: from the subject to the object, and back."""

RuleGroup = tuple[int, tuple[int, int, int, int]]
"""The number of a rule, and a group of its flows: see `LiveFlow.group`."""

MAX_REMEMBERED = 100_000
"""Flows without rules that are known and may go on when their next packet comes."""

MAX_UNANSWERED = 20_000
"""Those of them that are no connections: an answer may still come."""

ANSWERED_WITHIN = 60.0
"""Seconds for which it may."""

MAX_CLOSING = 100_000
"""Flows taken back whose last counters are still to come; beyond that the oldest are recorded without them."""


@dataclass(slots=True, eq=False)
class LiveFlow:
    """One connection. `alive` has a bit for each direction whose per-flow rule is in the switch; with neither, its
    rules wait (`Deferral`).

    `opened_by` and `opened_to` are the sessions as they were then, for the record; `subject_class`
    and `object_class` those at the time of installing. Counters are of what the controller
    delivered itself, and of entries that are gone. `ends` is when the switches remove its rules
    by themselves; infinity if they do not.
    """

    key: FlowKey
    subject: int
    object: int
    rule: int
    subject_class: int
    object_class: int
    opened_by: Session
    opened_to: Session
    started: float
    installed: float
    alive: int = FORWARD | RETURN
    packets: int = 0
    octets: int = 0
    return_packets: int = 0
    return_octets: int = 0
    told: tuple[int, int, int, int] = (0, 0, 0, 0)
    """The counters in its last record: a flow that was idle and goes on has had one."""
    ends: float = math.inf
    idle_timeout: int = 0
    """That of its rules, in seconds; 0: they have none, and the controller finds out when they are idle."""
    tests: int = 0
    """How often it has been found in use since then."""
    queue: OrderedDict[LiveFlow, float] | None = field(default=None, repr=False)
    """Where it waits for its next test, or for the end of one."""
    replaced: tuple[int, int] = (0, 0)
    """How many rules of each direction have been taken away for others, and not yet reported as gone."""

    def lease(self, until: float, now: float) -> int:
        """The hard timeout of rules that are written now, when hours end the flow at `until`: seconds, 0 for none."""
        seconds = flow_lease(until, now)
        self.ends = now + seconds if seconds else math.inf
        return seconds

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Packets and octets, then those of the way back."""
        return self.packets, self.octets, self.return_packets, self.return_octets

    @property
    def untold(self) -> tuple[int, int, int, int]:
        """What has come to the counters since its last record."""
        packets, octets, return_packets, return_octets = self.told
        return (
            self.packets - packets,
            self.octets - octets,
            self.return_packets - return_packets,
            self.return_octets - return_octets,
        )

    def afresh(self) -> LiveFlow:
        """The same flow without rules and counters, to be remembered: what this one has carried, its record tells."""
        nothing = (0, 0, 0, 0)
        flow = replace(self, alive=0, replaced=(0, 0), tests=0, queue=None, told=nothing)
        flow.packets = flow.octets = flow.return_packets = flow.return_octets = 0
        return flow

    @property
    def switches(self) -> set[int]:
        """Datapath ids of the switches that hold its rules."""
        return {self.opened_by.attachment.dpid, self.opened_to.attachment.dpid}

    def replace_rules(self) -> None:
        """Its rules are taken away and written anew: what a switch reports of the old ones is not its end."""
        forward, back = self.replaced
        self.replaced = forward + (self.alive & FORWARD > 0), back + (self.alive & RETURN > 0)
        self.alive = FORWARD | RETURN

    def expect_reports_of(self, other: LiveFlow) -> None:
        """Reports that the rules of another flow with the same key are gone are still to come, before those of its own:
        what they tell is counted here."""
        forward, back = self.replaced
        more = other.replaced
        self.replaced = (
            forward + more[0] + (other.alive & FORWARD > 0),
            back + more[1] + (other.alive & RETURN > 0),
        )

    def is_replaced(self, direction: int) -> bool:
        """Whether a report that a direction's rule is gone is about one that was taken away for another."""
        forward, back = self.replaced
        if (forward if direction == FORWARD else back) == 0:
            return False
        self.replaced = (forward - 1, back) if direction == FORWARD else (forward, back - 1)
        return True

    @property
    def group(self) -> tuple[int, int, int, int]:
        """What the decision on it depends on: both classes, the protocol, and the port that was opened."""
        return (self.subject_class, self.object_class, *opened(self.key))

    def count(self, direction: int, packets: int, octets: int) -> None:
        """Add to the counters of a direction, which have 64 bits and stay at their end."""
        if direction == FORWARD:
            self.packets = min(self.packets + packets, MOST)
            self.octets = min(self.octets + octets, MOST)
        else:
            self.return_packets = min(self.return_packets + packets, MOST)
            self.return_octets = min(self.return_octets + octets, MOST)


class FlowTable(Untimed):
    """Flows by their key, by session, and by pair of sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.by_key: dict[FlowKey, LiveFlow] = {}
        self._by_session: dict[int, dict[FlowKey, LiveFlow]] = defaultdict(dict)
        self._pairs: dict[tuple[int, int], int] = defaultdict(int)
        self._at: Counter[int] = Counter()
        self._timed_at: Counter[int] = Counter()
        self._idle: OrderedDict[FlowKey, LiveFlow] = OrderedDict()
        self._unanswered: OrderedDict[FlowKey, tuple[LiveFlow, float]] = OrderedDict()
        self._closing_of: Counter[int] = Counter()
        self._closing: OrderedDict[tuple[FlowKey, int, int], tuple[LiveFlow, str, float]] = OrderedDict()
        self._followed: deque[tuple[LiveFlow, str]] = deque()
        """Flows after which another one with the same ends and key was closed before their last counters came."""

    def __len__(self) -> int:
        return len(self.by_key)

    def all(self) -> list[LiveFlow]:
        """Every flow, in the order in which they came."""
        return list(self.by_key.values())

    def find(self, key: FlowKey) -> tuple[LiveFlow, int] | None:
        """The flow that a packet with this key belongs to, and its direction."""
        flow = self.by_key.get(key)
        if flow is not None:
            return flow, FORWARD
        flow = self.by_key.get(key.reverse())
        return None if flow is None else (flow, RETURN)

    def groups(self) -> dict[RuleGroup, float]:
        """The groups that flows are of, rule by rule, and the latest end of the flows of each."""
        found: dict[RuleGroup, float] = {}
        for flow in self.by_key.values():
            place = flow.rule, flow.group
            found[place] = max(found.get(place, flow.ends), flow.ends)
        return found

    def of_groups(self, groups: Collection[RuleGroup]) -> list[LiveFlow]:
        """The flows of these groups, in the order in which they came."""
        return [flow for flow in self.by_key.values() if (flow.rule, flow.group) in groups]

    def add(self, flow: LiveFlow) -> None:
        """Enter a flow."""
        self.by_key[flow.key] = flow
        self._by_session[flow.subject][flow.key] = flow
        self._by_session[flow.object][flow.key] = flow
        self._pairs[_pair(flow)] += 1
        switches = flow.switches
        self._at.update(switches)
        if flow.idle_timeout:
            self._timed_at.update(switches)
        else:
            self.wait(flow, flow.installed)

    def at(self, dpid: int) -> int:
        """How many flows have their rules on a switch, two entries each; also those that wait to be removed."""
        return self._at[dpid]

    def at_each(self, flows: list[LiveFlow], dpids: Iterable[int]) -> dict[int, list[LiveFlow]]:
        """The flows of these that have, or had, their rules on each of these switches."""
        return {dpid: [flow for flow in flows if dpid in flow.switches] for dpid in dpids}

    def wait_for_removal(self, dpid: int, flows: int) -> None:
        """So many flows more, or fewer, have their rules on a switch that are out of force."""
        self._at[dpid] += flows

    def timed_at(self, dpid: int) -> int:
        """How many of the flows on a switch have rules that can expire."""
        return self._timed_at[dpid]

    def set_idle_timeout(self, flow: LiveFlow, seconds: int) -> None:
        """A live flow's rules are to have this idle timeout from now on."""
        if bool(seconds) != bool(flow.idle_timeout):
            (self._timed_at.update if seconds else self._timed_at.subtract)(flow.switches)
        flow.idle_timeout = seconds

    def of_session(self, number: int) -> list[LiveFlow]:
        """The flows that a session opened or that were opened to it."""
        return list(self._by_session.get(number, {}).values())

    def between(self, a: int, b: int) -> bool:
        """Whether two sessions have a live flow, in either direction."""
        return (min(a, b), max(a, b)) in self._pairs

    def remove(self, flow: LiveFlow) -> None:
        """Forget a flow."""
        self.wait_no_more(flow)
        if self.by_key.get(flow.key) is flow:
            del self.by_key[flow.key]
            switches = flow.switches
            self._at.subtract(switches)
            if flow.idle_timeout:
                self._timed_at.subtract(switches)
        for number in (flow.subject, flow.object):
            flows = self._by_session.get(number)
            if flows is not None and flows.get(flow.key) is flow:
                del flows[flow.key]
                if not flows:
                    del self._by_session[number]
        pair = _pair(flow)
        self._pairs[pair] -= 1
        if self._pairs[pair] <= 0:
            del self._pairs[pair]

    def close(self, flow: LiveFlow, why: str, now: float) -> None:
        """Take a flow out of force; its counters are still to come from the switch, unless it had no rules there.

        Where those of another one are, which was between the same with the same key, that one is due for its record:
        no report tells the two apart, so that this one takes what is still to come of both.
        """
        self.remove(flow)
        place = (flow.key, flow.subject, flow.object)
        before = self._closing.pop(place, None)
        if before is None:
            for number in (flow.subject, flow.object):
                self._closing_of[number] += 1
        elif before[0] is not flow:
            flow.expect_reports_of(before[0])
            self._followed.append(before[:2])
        waits = flow.alive or any(flow.replaced)
        self._closing[place] = (flow, why, now if waits else -math.inf)
        if not waits:
            self._closing.move_to_end(place, last=False)

    def close_each(self, flows: list[LiveFlow], why: str, now: float) -> list[tuple[int, bytes, int]]:
        """The same for many flows. Returns which sessions had opened them, from which address, and how many."""
        opened: Counter[tuple[int, bytes]] = Counter()
        for flow in flows:
            self.close(flow, why, now)
            opened[flow.subject, flow.key.src] += 1
        return [(subject, address, count) for (subject, address), count in opened.items()]

    def closing(self, key: FlowKey, subject: int, obj: int) -> tuple[LiveFlow, int, str] | None:
        """A flow between these taken out of force, by the key of one of its directions."""
        for wanted, direction in ((key, FORWARD), (key.reverse(), RETURN)):
            found = self._closing.get((wanted, subject, obj))
            if found is not None:
                return found[0], direction, found[1]
        return None

    def closed(self, flow: LiveFlow) -> None:
        """All that was to come has come."""
        if self._closing.pop((flow.key, flow.subject, flow.object), None) is not None:
            self._forget_closing(flow)

    def _forget_closing(self, flow: LiveFlow) -> None:
        for number in (flow.subject, flow.object):
            self._closing_of[number] -= 1
            if self._closing_of[number] <= 0:
                del self._closing_of[number]

    def is_closing(self, number: int) -> bool:
        """Whether counters of a session's flows are still to come."""
        return number in self._closing_of

    def overdue(self, before: float) -> Iterator[tuple[LiveFlow, str]]:
        """Take out the flows that were closed before this time and that no switch has reported on; and, at any time,
        those that others have followed."""
        while self._followed:
            yield self._followed.popleft()
        while self._closing:
            flow, why, since = next(iter(self._closing.values()))
            if since >= before and len(self._closing) <= MAX_CLOSING:
                return
            self._closing.popitem(last=False)
            self._forget_closing(flow)
            yield flow, why

    def remember(self, flow: LiveFlow) -> None:
        """Keep a flow in mind whose rules are gone, so that its next packet lets it in again."""
        self._idle[flow.key] = flow
        self._idle.move_to_end(flow.key)
        if len(self._idle) > MAX_REMEMBERED:
            self._idle.popitem(last=False)

    def expect_answer(self, flow: LiveFlow, now: float) -> None:
        """Keep a flow without a connection in mind for a while, in which an answer to it may come."""
        self._unanswered[flow.key] = flow, now + ANSWERED_WITHIN
        self._unanswered.move_to_end(flow.key)
        if len(self._unanswered) > MAX_UNANSWERED:
            self._unanswered.popitem(last=False)

    def recall(self, key: FlowKey, now: float) -> tuple[LiveFlow, int] | None:
        """A remembered flow by the key of a packet, and the packet's direction; it is forgotten with this."""
        for wanted, direction in ((key, FORWARD), (key.reverse(), RETURN)):
            flow = self._idle.pop(wanted, None)
            if flow is not None:
                return flow, direction
            asked, until = self._unanswered.pop(wanted, (None, 0.0))
            if asked is not None and now < until <= now + ANSWERED_WITHIN:
                return asked, direction
        return None


def opened(key: FlowKey) -> tuple[int, int]:
    """What a flow is decided by besides its ends: the protocol, and the port that it opens; 0 where there is none."""
    return key.proto, 0 if key.proto in (ICMP, ICMPV6) else key.dport


def _pair(flow: LiveFlow) -> tuple[int, int]:
    return min(flow.subject, flow.object), max(flow.subject, flow.object)


PureLiveFlow, PureFlowTable = LiveFlow, FlowTable
if not TYPE_CHECKING and (compiled := native("zethane.service.flow_table")) is not None:
    LiveFlow, FlowTable = compiled.LiveFlow, compiled.FlowTable
