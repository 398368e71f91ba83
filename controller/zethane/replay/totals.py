"""What is added up over all flows: by outcome, by pair of places, by service, by rule; and all packets of no flow."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from zethane.audit.reason import DenyReason
from zethane.policy.decide import describe
from zethane.replay.flow import Count, Flow
from zethane.replay.packet import Aside
from zethane.replay.verdict import Outcome

K = TypeVar("K")

MAX_DETAILS = 10_000
"""Different rows that are counted by themselves; what comes after is counted together."""

OTHERS = "others"

OUTCOMES: tuple[Outcome, ...] = ("allow", "deny", "unattributed")


@dataclass(slots=True)
class Tally:
    """Flows, how many of them were answered, their packets and octets, and when the first and the last packet came.

    Times are seconds since the epoch.
    """

    flows: int = 0
    packets: int = 0
    octets: int = 0
    answered: int = 0
    first: float = 0.0
    last: float = 0.0

    def add(self, count: Count, first: float, last: float, flows: int = 1, answered: int = 0) -> None:
        """Some more."""
        self.answered += answered
        if not self.packets:
            self.first, self.last = first, last
        elif first < self.first:
            self.first = first
        if last > self.last:
            self.last = last
        self.flows += flows
        self.packets += count[0]
        self.octets += count[1]


class Service(NamedTuple):
    """Flows that only their addresses, source ports and times tell apart."""

    source: str
    target: str
    service: str
    outcome: Outcome
    rule: str | None
    reason: str


class Unknown(NamedTuple):
    """An address that could not be attributed, and why."""

    address: str
    why: str


@dataclass
class Totals:
    """Everything that is told about a capture without telling each flow."""

    outcomes: dict[Outcome, Tally] = field(default_factory=lambda: {outcome: Tally() for outcome in OUTCOMES})
    pairs: dict[tuple[str, str], dict[Outcome, Tally]] = field(default_factory=dict)
    services: dict[Service, Tally] = field(default_factory=dict)
    rules: dict[str, Tally] = field(default_factory=dict)
    """By the rule that decided."""
    unknown: dict[Unknown, Tally] = field(default_factory=dict)
    asides: dict[Aside, Tally] = field(default_factory=dict)
    hurdles: dict[tuple[str, Outcome], Tally] = field(default_factory=dict)
    """Packets of flows that would be dropped whatever the verdict."""
    related: Tally = field(default_factory=Tally)
    uncertain: Tally = field(default_factory=Tally)
    """Flows of which no opening packet was seen."""
    all: Tally = field(default_factory=Tally)
    _kept: dict[tuple[object, ...], tuple[Tally, ...]] = field(default_factory=dict, repr=False)

    def add(self, flow: Flow) -> None:
        """Count a flow."""
        count, first, last, verdict = flow.whole, flow.first, flow.last, flow.verdict
        answered = int(flow.is_answered)
        for tally in self._tallies(flow):
            tally.add(count, first, last, 1, answered)
        if verdict.outcome == "unattributed":
            self._add_unknown(flow, count)
        if flow.related.packets:
            self.related.add(flow.related, first, last)
        if not flow.is_opening_seen:
            self.uncertain.add(count, first, last)
        for reason, hindered in flow.hurdles:
            _row(self.hurdles, (reason, verdict.outcome)).add(hindered, first, last)

    def _tallies(self, flow: Flow) -> tuple[Tally, ...]:
        """Everything that counts such flows."""
        verdict, source, target, port = flow.verdict, flow.subject.place, flow.object.place, flow.port
        key = (source, target, flow.key.proto, port, verdict.outcome, verdict.rule, verdict.reason)
        kept = self._kept.get(key)
        if kept is None:
            pair = self.pairs.setdefault((source, target), {})
            service = describe(flow.key.proto, port)
            row = Service(source, target, service, verdict.outcome, verdict.rule, verdict.reason)
            if row not in self.services and len(self.services) >= MAX_DETAILS:
                row = row._replace(service=OTHERS)
            is_decided = verdict.rule is not None and verdict.reason != DenyReason.CONDITION_NOT_MET.value
            rule = (_row(self.rules, str(verdict.rule)),) if is_decided else ()
            by_outcome = self.outcomes[verdict.outcome], _row(pair, verdict.outcome)
            kept = (self.all, *by_outcome, _row(self.services, row), *rule)
            if len(self._kept) >= MAX_DETAILS:
                self._kept.clear()
            self._kept[key] = kept
        return kept

    def put_aside(self, aside: Aside, count: Count, when: float) -> None:
        """Count packets of no flow."""
        if aside not in self.asides and len(self.asides) >= MAX_DETAILS:
            aside = aside._replace(what=OTHERS)
        _row(self.asides, aside).add(count, when, when, 0)
        self.all.add(count, when, when, 0)

    def _add_unknown(self, flow: Flow, count: Count) -> None:
        for who in (flow.subject, flow.object):
            if who.standing == "unattributed":
                row = Unknown(who.address, who.source)
                if row not in self.unknown and len(self.unknown) >= MAX_DETAILS:
                    row = Unknown(OTHERS, who.source)
                _row(self.unknown, row).add(count, flow.first, flow.last)


def _row(rows: dict[K, Tally], key: K) -> Tally:
    found = rows.get(key)
    if found is None:
        found = rows[key] = Tally()
    return found


class Largest:
    """The flows with the most octets, those that do not pass first; no more than a number of them."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._count = 0
        self._heap: list[tuple[bool, int, int, Flow]] = []

    def add(self, flow: Flow) -> None:
        """Keep a flow if it is one of them."""
        self._count += 1
        entry = (flow.verdict.outcome != "allow", flow.whole.octets, -self._count, flow)
        if len(self._heap) < self._number:
            heapq.heappush(self._heap, entry)
        elif self._number and entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    def __iter__(self) -> Iterator[Flow]:
        return (entry[-1] for entry in sorted(self._heap, reverse=True))
