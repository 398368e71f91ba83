"""Whether a scenario went as its file says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replay.act import Outcome, StepResult
from replay.evidence import History, Reach
from replay.scenario import Answer, Containment, Scenario
from zethane.document import count

SHOWN = 20
"""Faults of one step that are told one by one."""


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """A step with what speaks against it; nothing does if it went as wanted."""

    result: StepResult
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether it went as wanted."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class ContainmentVerdict:
    """A statement with whoever was reached against it."""

    statement: Containment
    reached: tuple[Reach, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A scenario that was played, with Zethane (`protected`) or on bridges that learn and forward by themselves."""

    scenario: Scenario
    protected: bool
    steps: tuple[StepVerdict, ...]
    contained: tuple[ContainmentVerdict, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """With Zethane: every step as expected, every statement true. Without it: every statement broken, or, if
        there is none, something that was to be denied got through: else the scenario would prove nothing."""
        if self.protected:
            return all(step.ok for step in self.steps) and not any(one.reached for one in self.contained)
        steps_done = not any(step.result.fault for step in self.steps)
        if self.contained:
            return steps_done and all(one.reached for one in self.contained)
        return steps_done and any(_got_through(step.result) for step in self.steps)


def _got_through(result: StepResult) -> bool:
    return any(one.reached for one in result.outcomes if result.step.expected[one.attempt] == "deny")


def judge(
    scenario: Scenario, results: Sequence[StepResult], history: History, seconds: float, *, protected: bool
) -> Verdict:
    """The verdict on what was played."""
    steps = tuple(StepVerdict(result, tuple(faults(result, protected=protected))) for result in results)
    contained = tuple(ContainmentVerdict(one, tuple(history.broken(one))) for one in scenario.contained)
    return Verdict(scenario, protected, steps, contained, seconds)


def faults(result: StepResult, *, protected: bool) -> list[str]:
    """What speaks against a step, in words. Without Zethane only what keeps it from being a proof."""
    found = [result.fault] if result.fault else []
    for outcome in result.outcomes:
        expected = result.step.expected[outcome.attempt]
        if not outcome.sent:
            found.append(
                f"{outcome.attempt}: nothing of it came out of the sender's cable ({outcome.detail or 'no reason'})"
            )
        elif protected:
            found += [f"{outcome.attempt}: {text}" for text in _against(outcome, expected)]
    if protected:
        found += _log_faults(result)
    more = len(found) - SHOWN
    return [*found[:SHOWN], f"and {more} more"] if more > 0 else found


def _against(outcome: Outcome, expected: Answer) -> Iterator[str]:
    told = f"; the log: {', '.join(outcome.told)}" if outcome.told else ""
    if expected == "deny" and outcome.reached:
        yield f"expected nothing to arrive, but {arrivals_text(outcome.arrived)}{told}"
    elif expected == "deny" and outcome.answered:
        yield f"expected no answer, but there was one{told}"
    elif expected == "allow" and not outcome.reached:
        yield f"expected it to arrive, but nothing did{told}"
    elif expected == "allow" and outcome.answered is False:
        yield f"{arrivals_text(outcome.arrived)}, but no answer came back ({outcome.detail}){told}"
    elif expected == "allow" and outcome.answered is None and max(outcome.arrived.values()) < outcome.sent:
        yield f"of {outcome.sent} packets {arrivals_text(outcome.arrived)}{told}"


def _log_faults(result: StepResult) -> Iterator[str]:
    """What the decision log should have said. Denials are sampled: it is enough if it says so of one attempt, and of
    none something else."""
    step = result.step
    if step.rule is not None:
        rules = {rule for one in result.outcomes if step.expected[one.attempt] == "allow" for rule in one.rules}
        if rules != {step.rule}:
            yield f"expected the rule {step.rule} in the decision log, found {_listed(rules)}"
    if step.reason is not None:
        reasons = {reason for one in result.outcomes for reason in one.reasons}
        if reasons != {step.reason}:
            yield f"expected the reason {step.reason} in the decision log, found {_listed(reasons)}"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "nothing"


def arrivals_text(arrived: Mapping[str, int]) -> str:
    """`3 arrived at db1`."""
    return ", ".join(f"{number} arrived at {host}" for host, number in arrived.items()) or "nothing arrived"


def reach_text(reach: Reach) -> str:
    """`web1 reached db1 with 3 packets, the first: …`."""
    packets = count(reach.packets, "packet")
    return f"{reach.source} reached {reach.target} with {packets}, the first {reach.example}"


def report(verdict: Verdict) -> Mapping[str, Any]:
    """JSON-ready."""
    return {
        "scenario": str(verdict.scenario.file),
        "topology": str(verdict.scenario.topology.folder),
        "about": verdict.scenario.document.value.about,
        "protected": verdict.protected,
        "steps": [_step_view(step) for step in verdict.steps],
        "contained": [_containment_view(one) for one in verdict.contained],
        "ok": verdict.ok,
        "seconds": round(verdict.seconds, 2),
    }


def _step_view(verdict: StepVerdict) -> Mapping[str, Any]:
    step = verdict.result.step
    return {
        "step": step.number,
        "action": step.file.action,
        "title": step.title,
        "attempts": [_attempt_view(one, step.expected[one.attempt]) for one in verdict.result.outcomes],
        "faults": list(verdict.faults),
        "ok": verdict.ok,
        "seconds": round(verdict.result.seconds, 2),
    }


def _attempt_view(outcome: Outcome, expected: Answer) -> Mapping[str, Any]:
    attempt = outcome.attempt
    return {
        "from": attempt.source,
        "to": attempt.target,
        "service": attempt.what,
        "expected": expected,
        "sent": outcome.sent,
        "arrived": dict(outcome.arrived),
        "answered": outcome.answered,
        "log": list(outcome.told),
    }


def _containment_view(verdict: ContainmentVerdict) -> Mapping[str, Any]:
    return {
        "statement": verdict.statement.text,
        "held": not verdict.reached,
        "reached": [
            {"from": one.source, "to": one.target, "packets": one.packets, "example": one.example}
            for one in verdict.reached
        ],
    }
