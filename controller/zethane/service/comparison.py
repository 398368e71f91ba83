"""What a switch holds against what it should hold, entry by entry: for reconciliation and for attestation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from zethane.pipeline.bindings import MAX_LEASE
from zethane.pipeline.change import Add, Change, Remove
from zethane.pipeline.fields import cookie
from zethane.pipeline.flow import EntryKey, FinTimeout, Flow
from zethane.pipeline.held import HeldRule, Reported
from zethane.pipeline.tables import Table
from zethane.pipeline.text import render_flow
from zethane.service.flows import FORWARD, LiveFlow

RuleState = Literal["foreign-rule", "missing-rule", "altered-rule", "inexact-lease"]
"""What is wrong with an entry. Nobody need have done anything for a lease to be inexact: that is no alarm."""

RENEWAL = MAX_LEASE // 2 - 120
"""Seconds that are always left of a lease that is renewed: half of it, less what a renewal may come too late."""

INEXACT = 60.0
"""Seconds by which a lease may be off and is called no more than that."""

MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class Finding:
    """An entry that is not as it should be, with what puts it right. `key` is None where the match has no names."""

    what: RuleState
    key: EntryKey | None
    cookie: int
    change: Change
    found: Reported | None
    intended: Flow | None

    def change_after(self, seconds: float) -> Change:
        """What puts it right when it is done so long after the moment that leases are intended as of: with what is left
        of its own. One that is over then is not written any more."""
        change = self.change
        if not isinstance(change, Add) or not change.flow.hard_timeout or seconds <= 0:
            return change
        left = change.flow.hard_timeout - math.ceil(seconds)
        return Add(replace(change.flow, hard_timeout=left)) if left > 0 else Remove(*change.flow.key)

    @property
    def text(self) -> str:
        """The entry that is there, and the intended one, for people. Few findings are ever told of one by one."""
        if self.found is None:
            return _text(render_flow(self.intended)) if self.intended is not None else ""
        there = _found_text(self.found)
        return there if self.intended is None else _text(f"{there}; intended: {render_flow(self.intended)}")


@dataclass(frozen=True, slots=True)
class Leases:
    """How far the lease in a switch may be from the intended one, in seconds.

    Both are cut to whole seconds: the one that is there may seem up to a second off. `elapsed` is how long the switch
    may have taken to look, after the moment for which the intended lease holds; `renewed`: leases that are renewed in
    time may be shorter than they could be.
    """

    elapsed: float = 0.0
    renewed: bool = False

    def fits(self, remaining: float, intended: int) -> bool:
        """Whether a lease may stay."""
        least = intended - 2.0 - self.elapsed
        if self.renewed:
            least = min(least, RENEWAL)
        return least <= remaining <= intended + 1


class Comparison:
    """Takes what was found; is told what is intended; what remains is foreign."""

    def __init__(self) -> None:
        self._left: dict[EntryKey, Reported] = {}
        self._raw: list[Reported] = []

    def add(self, entry: Reported) -> None:
        """An entry that the switch holds. Those of tables that are not Zethane's are nobody's business."""
        if entry.table not in Table._value2member_map_:
            return
        if entry.raw:
            self._raw.append(entry)
        else:
            self._left[Table(entry.table), entry.priority, entry.match] = entry

    def found(self, key: EntryKey) -> Reported | None:
        """The entry with this key, if nobody has claimed it yet."""
        return self._left.get(key)

    def hold(self, intended: Flow, leases: Leases) -> Finding | None:
        """Claim the entry for an intended one; what is wrong, if something is."""
        entry = self._left.pop(intended.key, None)
        if entry is None:
            return Finding("missing-rule", intended.key, intended.cookie, Add(intended), None, intended)
        if is_right(entry, intended, leases):
            return None
        return Finding("inexact-lease" if is_inexact(entry, intended) else "altered-rule", *_both(entry, intended))

    def foreign(self) -> Iterator[Finding]:
        """What nobody has claimed."""
        for entry in self._raw:
            yield Finding("foreign-rule", None, entry.cookie, entry.removal, entry, None)
        for key, other in self._left.items():
            yield Finding("foreign-rule", key, other.cookie, other.removal, other, None)


def altered(entry: Reported, intended: Flow) -> Finding:
    """An entry of ours that does something else."""
    return Finding("altered-rule", *_both(entry, intended))


def _both(entry: Reported, intended: Flow) -> tuple[EntryKey, int, Change, Reported, Flow]:
    return intended.key, entry.cookie, Add(intended), entry, intended


def is_right(entry: Reported, intended: Flow, leases: Leases) -> bool:
    """Whether an entry does what is intended, for as long."""
    if entry.flow is None or entry.flow.body != intended.body:
        return False
    if not intended.hard_timeout or not entry.flow.hard_timeout:
        return entry.flow.hard_timeout == intended.hard_timeout
    return leases.fits(entry.flow.hard_timeout - entry.age, intended.hard_timeout)


def is_inexact(entry: Reported, intended: Flow) -> bool:
    """Whether an entry does what is intended, but for some seconds more or less: the switch, or the controller, was
    behind when it was written."""
    flow = entry.flow
    if flow is None or flow.body != intended.body or not flow.hard_timeout or not intended.hard_timeout:
        return False
    return abs(flow.hard_timeout - entry.age - intended.hard_timeout) <= INEXACT


def is_same_rule(entry: Reported, intended: Flow, left: float = math.inf) -> bool:
    """Whether a per-flow rule is the intended one but for its idle timeout, which a FIN that passed has shortened.

    `left` is for how many seconds more it may be there. Both leases are cut to whole seconds, and the one that is there
    may seem up to a second off. One that ends before is no harm: the flow goes on with its next packet.
    """
    flow = entry.flow
    if flow is None or flow.key != intended.key:
        return False
    if flow.hard_timeout != intended.hard_timeout if left == math.inf else not _fits_lease(flow, entry.age, left):
        return False
    first, second = list(flow.body), list(intended.body)
    first[5] = second[5] = 0
    return first == second and _fits_idle(flow, intended.idle_timeout)


def is_rule_of(rule: HeldRule, flow: LiveFlow, direction: int, *, own: bool, left: float) -> bool:
    """The same for the rule of a live flow's direction, on its subject's own switch or not."""
    if direction == FORWARD:
        ends = (flow.subject, flow.object, flow.subject_class, flow.object_class)
    else:
        ends = (flow.object, flow.subject, flow.object_class, flow.subject_class)
    return (
        ends == rule[1:5]
        and rule.cookie == cookie(flow.subject, flow.object, flow.rule)
        and rule.notify_removed == own
        and rule.fits_idle_timeout(flow.idle_timeout)
        and fits_lease(rule, left)
    )


def fits_lease(rule: HeldRule, left: float) -> bool:
    """Whether a per-flow rule is there no longer than it may be; one that may be for ever has no lease."""
    return rule.hard_timeout == 0 if left == math.inf else _fits_lease(rule, rule.age, left)


def _fits_lease(found: Flow | HeldRule, age: float, left: float) -> bool:
    return 0 < found.hard_timeout <= age + left + 2.0


def _fits_idle(found: Flow, intended: int) -> bool:
    """Whether an idle timeout is the intended one, or a shorter one after a FIN; where none is, that has set it."""
    if intended:
        return 0 < found.idle_timeout <= intended
    shortened = min((action.idle for action in found.actions if isinstance(action, FinTimeout)), default=0)
    return found.idle_timeout in (0, shortened)


def ends_soon(entry: Reported) -> bool:
    """Whether the switch removes an entry by itself within two seconds."""
    flow = entry.flow
    return flow is not None and 0 < flow.hard_timeout <= entry.age + 2


def _found_text(entry: Reported) -> str:
    """An entry as text; what has no names in Zethane is told by where it is."""
    if entry.flow is not None:
        return _text(render_flow(entry.flow))
    where = f"{Table(entry.table).text} {entry.priority}"
    return _text(f"{where} cookie {entry.cookie:#018x}, not of a form that Zethane writes")


def _text(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
