"""What another policy would do to flows that were seen: which would end, which that were denied would pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zethane.policy.decide import Decision, describe
from zethane.policy.decider import Decider
from zethane.policy.model import Policy
from zethane.policy.moment import moment_text
from zethane.policy.seen import Seen

MAX_ROWS = 200_000
"""Pairs of principals, with service and rules, that are told apart; further flows are only counted."""

MAX_STEPS = 64
"""Times within one flow at which conditions or hours may change that are looked at; then it counts as cut."""

Effect = Literal["ends", "cut", "passes"]
"""`ends`: was allowed, and would not be opened. `cut`: would be opened, and closed by time before it ended. `passes`:
was denied, and would be allowed."""


@dataclass(frozen=True, slots=True)
class Between:
    """The flows of one principal to another that have the same rules before and after.

    `packets` and `octets` are those that the log has counted, both ways together. `rule` decided when they were seen,
    `new_rule` would; None: no rule. `why` is the reason of the new decision, in words.
    """

    source: str
    target: str
    rule: str | None
    new_rule: str | None
    why: str
    flows: int
    packets: int
    octets: int
    first: float
    last: float

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "from": self.source,
            "to": self.target,
            "rule": self.rule,
            "new_rule": self.new_rule,
            "why": self.why,
            **_totals(self),
        }


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the flows of a service between two places of the new policy, the most first.

    A place is None for principals that the new policy has no single place for.
    """

    effect: Effect
    source: str | None
    target: str | None
    service: str
    between: tuple[Between, ...]

    @property
    def flows(self) -> int:
        """How many."""
        return sum(one.flows for one in self.between)

    @property
    def packets(self) -> int:
        """Packets of all."""
        return sum(one.packets for one in self.between)

    @property
    def octets(self) -> int:
        """Bytes of all."""
        return sum(one.octets for one in self.between)

    @property
    def first(self) -> float:
        """When the first was seen."""
        return min(one.first for one in self.between)

    @property
    def last(self) -> float:
        """When the last was seen."""
        return max(one.last for one in self.between)

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "effect": self.effect,
            "from": self.source,
            "to": self.target,
            "service": self.service,
            **_totals(self),
            "between": [one.view() for one in self.between],
        }


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would change, first what ends, then what is cut, then what passes; the most flows first.

    `allowed` and `denied` count the flows that stay as they were. `left_out` are flows that would change as well and
    are not told of one by one, because there are too many kinds of them.
    """

    changes: tuple[Change, ...]
    allowed: int
    denied: int
    left_out: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything would be otherwise."""
        return bool(self.changes or self.left_out)

    def flows(self, effect: Effect) -> int:
        """How many flows it happens to."""
        return sum(change.flows for change in self.changes if change.effect == effect)

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "changed": self.changed,
            "ends": self.flows("ends"),
            "cut": self.flows("cut"),
            "passes": self.flows("passes"),
            "allowed": self.allowed,
            "denied": self.denied,
            "left_out": self.left_out,
            "changes": [change.view() for change in self.changes],
        }


def whatif(new: Policy, seen: Iterable[Seen]) -> WhatIf:
    """Hold what was seen, flow by flow, against a policy, at the time of each flow and with who its ends were then.

    Rules that are staged in the policy are left out, as they would be. What was seen where nobody decided counts as
    allowed. Flows that were added up are decided as of the first of them.
    """
    tally = _Tally(new)
    for one in seen:
        tally.take(one)
    return tally.result()


_Place = tuple[Effect, str | None, str | None, int, int]
_Pair = tuple[str, str, str | None, str | None]


@dataclass(slots=True)
class _Count:
    """The flows of one pair of principals, while they are counted."""

    why: str
    first: float
    last: float
    flows: int = 0
    packets: int = 0
    octets: int = 0

    def add(self, seen: Seen, flows: int) -> None:
        self.flows += flows
        self.packets += seen.packets
        self.octets += seen.octets
        self.first = min(self.first, seen.first)
        self.last = max(self.last, seen.last)


@dataclass(slots=True)
class _Tally:
    """Everything that was counted so far."""

    new: Policy
    allowed: int = 0
    denied: int = 0
    left_out: int = 0
    rows: int = 0
    decider: Decider = field(init=False)
    places: dict[_Place, dict[_Pair, _Count]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.decider = Decider(self.new)

    def take(self, seen: Seen) -> None:
        ends = (seen.subject, seen.object, seen.ip_proto, seen.port)
        decision, until = self.decider.decide_until(*ends, seen.first)
        if seen.allowed is False:
            if decision.allowed:
                self._change("passes", seen, decision, seen.flows)
            else:
                self.denied += seen.flows
        elif not decision.allowed:
            self._change("ends", seen, decision, seen.flows)
        elif until <= seen.last and seen.flows <= 1 and (cut := self._cut(seen, until)) is not None:
            # Its opening may have been counted as allowed already, in a record of its own.
            self.allowed -= 1 - seen.flows
            self._change("cut", seen, cut, 1)
        else:
            self.allowed += seen.flows

    def _cut(self, seen: Seen, until: float) -> Decision | None:
        """The decision that would close a flow before its end, if there is one."""
        for _ in range(MAX_STEPS):
            moment = until
            decision, until = self.decider.decide_until(seen.subject, seen.object, seen.ip_proto, seen.port, moment)
            if not decision.allowed:
                return decision
            if until > seen.last or until <= moment:
                return None
        return decision

    def _change(self, effect: Effect, seen: Seen, decision: Decision, flows: int) -> None:
        place = (effect, decision.subject_segment, decision.object_segment, seen.ip_proto, seen.port)
        pair = (seen.source, seen.target, seen.rule, decision.rule)
        pairs = self.places.get(place)
        count = pairs.get(pair) if pairs is not None else None
        if count is None:
            if self.rows >= MAX_ROWS:
                self.left_out += flows
                return
            self.rows += 1
            count = _Count(decision.reason, seen.first, seen.last)
            self.places.setdefault(place, {})[pair] = count
        count.add(seen, flows)

    def result(self) -> WhatIf:
        changes = (_made(place, pairs) for place, pairs in self.places.items())
        effects: list[Effect] = ["ends", "cut", "passes"]
        # What ended before the time looked at was opened before it: it has packets in it, and no flow.
        ordered = sorted(
            changes,
            key=lambda one: (effects.index(one.effect), -one.flows, str(one.source), str(one.target), one.service),
        )
        return WhatIf(tuple(ordered), max(self.allowed, 0), self.denied, self.left_out)


def _made(place: _Place, pairs: Mapping[_Pair, _Count]) -> Change:
    effect, source, target, ip_proto, port = place
    between = [
        Between(*pair, count.why, count.flows, count.packets, count.octets, count.first, count.last)
        for pair, count in pairs.items()
    ]
    between.sort(key=lambda one: (-one.flows, -one.octets, one.source, one.target, str(one.rule), str(one.new_rule)))
    return Change(effect, source, target, describe(ip_proto, port), tuple(between))


def _totals(one: Change | Between) -> Mapping[str, Any]:
    return {
        "flows": one.flows,
        "packets": one.packets,
        "bytes": one.octets,
        "first": moment_text(one.first),
        "last": moment_text(one.last),
    }
