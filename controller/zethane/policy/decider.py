"""The decisions of `decide` for many flows: what does not change from flow to flow is worked out once.

Which rules are about a pair of places, and of those which about a service; where an end is, and which conditions it
meets until when. Whoever asks uses the same object for an end again: by that it is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from zethane.policy.condition import Condition
from zethane.policy.decide import BOTH_OUTSIDE, Decision, describe, place_of, verdict
from zethane.policy.hours import Hours
from zethane.policy.model import Place, Policy, Rule
from zethane.policy.principal import External, Party, Principal

MAX_KNOWN = 100_000
"""Ends, pairs of places, and services between them that are remembered, each; then all is worked out again."""

MAX_SPANS = 32
"""Times between openings and closings of one rule that are remembered."""


@dataclass(slots=True)
class _Spans:
    """When something is so, and when not: times that are known, the end excluded."""

    known: list[tuple[float, float, bool]] = field(default_factory=list)

    def at(self, now: float) -> tuple[float, bool] | None:
        """Until when what is so then, and whether; None where that is not known."""
        for since, until, holds in self.known:
            if since <= now < until:
                return until, holds
        return None

    def learn(self, now: float, until: float, holds: bool) -> tuple[float, bool]:
        """It is so from a moment until another one, and perhaps from earlier on."""
        if len(self.known) >= MAX_SPANS:
            self.known.pop(0)
        self.known = [span for span in self.known if span[1] != until]
        self.known.append((now, until, holds))
        return until, holds


@dataclass(slots=True, eq=False)
class _End:
    """One end of flows: where it is, or why nowhere; and which conditions it meets."""

    party: Party
    place: Place | None
    why: str
    meets: dict[int, _Spans] = field(default_factory=dict)


class _Question:
    """The rules about flows of one service between two places: denies first, and by their ids."""

    __slots__ = ("_answers", "_names", "_what", "rules")

    def __init__(self, rules: Iterable[Rule], source: str, target: str, what: str) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: (rule.allow, rule.id)))
        self._names = source, target
        self._what = what
        self._answers: dict[str | None, Decision] = {}

    def answer(self, winner: Rule | None) -> Decision:
        """The decision where this is the first rule that holds."""
        key = winner.id if winner is not None else None
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = verdict([winner] if winner else [], *self._names, self._what)
        return found


class Decider:
    """Decides by one policy. The rules that are staged in it are left out, as everywhere."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._ends: dict[int, tuple[_End, _End]] = {}
        self._pairs: dict[tuple[Place, Place], tuple[Rule, ...]] = {}
        self._questions: dict[tuple[Place, Place, int, int], _Question] = {}
        self._hours: dict[int, _Spans] = {}  # by the ids of what the policy holds, as conditions are

    def decide(
        self,
        subject: Party,
        object: Party,  # noqa: A002 - as in decide
        ip_proto: int,
        port: int,
        now: float,
    ) -> Decision:
        """The same as `decide`."""
        return self.decide_until(subject, object, ip_proto, port, now)[0]

    def decide_until(
        self,
        subject: Party,
        object: Party,  # noqa: A002 - as in decide
        ip_proto: int,
        port: int,
        now: float,
    ) -> tuple[Decision, float]:
        """The decision, and the first moment after `now` at which it may be another one by time alone."""
        source, target = self._end(subject, 0), self._end(object, 1)
        if source.place is None or target.place is None:
            names = tuple(None if end.place is None else str(end.place) for end in (source, target))
            return Decision(False, None, source.why or target.why, *names), math.inf
        if isinstance(subject, External) and isinstance(object, External):
            return Decision(False, None, BOTH_OUTSIDE, str(source.place), str(target.place)), math.inf
        question = self._question(source.place, target.place, ip_proto, port)
        until = math.inf
        for rule in question.rules:
            if not rule.is_conditional:
                return question.answer(rule), until
            lasts, holds = self._holds(rule, source, target, now)
            until = min(until, lasts)
            if holds:
                return question.answer(rule), until
        return question.answer(None), until

    def _end(self, party: Party, role: int) -> _End:
        known = self._ends.get(id(party))
        if known is None:
            if len(self._ends) >= MAX_KNOWN:
                self._ends.clear()
            # Kept with the party itself: as long as it is here, nothing else has its id.
            ends = (_End(party, *place_of(self.policy, party, word)) for word in ("subject", "object"))
            known = self._ends[id(party)] = next(ends), next(ends)
        return known[role]

    def _question(self, source: Place, target: Place, ip_proto: int, port: int) -> _Question:
        key = (source, target, ip_proto, port)
        found = self._questions.get(key)
        if found is None:
            if len(self._questions) >= MAX_KNOWN:
                self._questions.clear()
            about = (rule for rule in self._about(source, target) if rule.serves(ip_proto, port))
            found = _Question(about, str(source), str(target), describe(ip_proto, port))
            self._questions[key] = found
        return found

    def _about(self, source: Place, target: Place) -> tuple[Rule, ...]:
        """The rules about a pair of places."""
        pair = (source, target)
        found = self._pairs.get(pair)
        if found is None:
            if len(self._pairs) >= MAX_KNOWN:
                self._pairs.clear()
            found = self._pairs[pair] = tuple(
                rule
                for rule in self.policy.rules_from(source)
                if rule.stage == "enforce" and rule.opens_from(source) and rule.opens_to(target)
            )
        return found

    def _holds(self, rule: Rule, source: _End, target: _End, now: float) -> tuple[float, bool]:
        """Until when a rule holds for two ends, or does not; no later than the first part of it that does not."""
        until, holds = math.inf, True
        if rule.hours is not None:
            until, holds = self._open(rule.hours, now)
        for condition, end in ((rule.condition, source), (rule.object_condition, target)):
            if holds and condition:
                lasts, holds = _meets(end, condition, now)
                until = min(until, lasts)
        answer = rule.relation(source.party, target.party, now) if holds else None
        if answer is not None:
            until, holds = min(until, answer.until), answer.holds(or_error=not rule.allow)
        return until, holds

    def _open(self, hours: Hours, now: float) -> tuple[float, bool]:
        spans = self._hours.get(id(hours))
        if spans is None:
            spans = self._hours[id(hours)] = _Spans()
        return spans.at(now) or spans.learn(now, hours.until(now), hours.open(now))


def _meets(end: _End, condition: Condition, now: float) -> tuple[float, bool]:
    """Until when an end meets a condition, or does not."""
    spans = end.meets.get(id(condition))
    if spans is None:
        spans = end.meets[id(condition)] = _Spans()
    known = spans.at(now)
    if known is not None:
        return known
    party = end.party
    if not isinstance(party, Principal):
        return spans.learn(now, math.inf, False)
    return spans.learn(now, condition.until(party, now), condition.holds(party, now))
