"""Runs scenarios: tries, collects, judges, and makes sure that nobody else was harmed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from attack.arena import Arena
from attack.evidence import Evidence, Passed, logged, unsent
from attack.scenario import Attack, NotHereError, Scenario
from attack.trial import Trial
from lab.errors import LabError

Status = Literal["held", "limited", "passed", "unproven", "harmed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a scenario.

    held      nothing got through, the controller is well and permitted traffic passes
    limited   under grants, what a switch cannot keep out of permitted connections got through, and nothing else
    passed    something got through
    unproven  the attempt proves nothing: its frames were not sent or not all captured, or its control was not seen
    harmed    nothing got through, but the controller or permitted traffic suffered
    failed    the scenario itself could not be run
    skipped   the topology has nothing to try it on, or an unprotected network has no meaning for it
    """

    scenario: Scenario
    status: Status
    passed: Passed = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    logged: str = ""
    seconds: float = 0.0

    def as_wanted(self, *, protected: bool) -> bool:
        """Under Zethane every attack has to be held; without it every one has to succeed in all of its variants."""
        return self.status in ("held", "limited", "skipped") if protected else self.status in ("passed", "skipped")

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "attack": self.scenario.name,
            "group": self.scenario.group,
            "reference": self.scenario.reference,
            "tried": self.scenario.tried,
            "success": self.scenario.success,
            "status": self.status,
            "variants": dict(self.passed),
            "faults": list(self.faults),
            "logged": self.logged,
            "seconds": round(self.seconds, 2),
        }


def run_scenario(arena: Arena, scenario: Scenario) -> Result:
    """Try a scenario in the arena. Errors of the scenario itself are in the result."""
    started = time.monotonic()
    if not arena.protected and scenario.unprotected:
        return Result(scenario, "skipped", faults=(scenario.unprotected,))
    try:
        status, passed, faults, log = _try(arena, scenario)
    except NotHereError as missing:
        return Result(scenario, "skipped", faults=(str(missing),), seconds=time.monotonic() - started)
    except Exception as error:  # noqa: BLE001 - a defect of one scenario must not hide what the others show
        told = str(error) if isinstance(error, LabError) else repr(error)
        return Result(scenario, "failed", faults=(told,), seconds=time.monotonic() - started)
    return Result(scenario, status, passed, tuple(faults), log, time.monotonic() - started)


def _try(arena: Arena, scenario: Scenario) -> tuple[Status, Passed, list[str], str]:
    health = _Health(arena)
    if scenario.version:
        arena.ip(arena.cast.stranger, scenario.version)
    evidence = attempt(arena, scenario.attack)
    passed = scenario.judge(evidence)
    if not passed:
        raise LabError("it has noted nothing: neither a mark nor an observation")
    if not arena.protected:
        missing = [f"“{label}” did not get through" for label, text in passed.items() if not text]
        return ("unproven" if missing else "passed"), passed, missing, ""
    unproven = [f"no frame of “{label}” reached the switch" for label in unsent(evidence)]
    if evidence.missed:
        unproven.append(f"captures missed {evidence.missed} frames")
    if scenario.control is not None:
        shown = scenario.judge(attempt(arena, scenario.control))
        unproven += [f"the control “{label}” was not seen" for label, text in shown.items() if not text]
        if not shown:
            unproven.append("the control has shown nothing")
    harm = health.faults()
    status: Status = "held"
    if any(passed.values()):
        status = "limited" if _is_limit(arena, scenario, passed) and not harm else "passed"
    elif harm:
        status = "harmed"
    elif unproven:
        status = "unproven"
    return status, passed, [*unproven, *harm], logged(evidence)


def _is_limit(arena: Arena, scenario: Scenario, passed: Passed) -> bool:
    permit, known = arena.cast.service, scenario.granted
    if known is None or not arena.granted:
        return False
    return all(known.covers(label, permit.source, permit.target) for label, text in passed.items() if text)


def attempt(arena: Arena, attack: Attack) -> Evidence:
    """Attack, let things settle, and collect."""
    arena.neutral()
    arena.forget()
    since, before = arena.log_size(), arena.counters()
    trial = Trial(arena)
    attack(trial)
    arena.settle()
    return arena.evidence(trial, since, before)


class _Health:
    """The controller's health before an attack, to be compared with that after it."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._errors = self._switch_errors() if arena.protected else 0
        self._log = self._log_text() if arena.protected else ""

    def faults(self) -> list[str]:
        """What is not well."""
        arena = self._arena
        controller = arena.network.controller
        if controller is None or not controller.running:
            return ["the controller has ended"]
        try:
            errors = self._switch_errors() - self._errors
            found = [f"switches refused {errors} messages"] if errors else []
        except LabError as error:
            return [str(error)]
        if "Traceback" in self._log_text()[len(self._log) :]:
            found.append("the controller logged an exception")
        return found + arena.cut_off()

    def _switch_errors(self) -> int:
        return int(self._arena.api("GET", "/health")["switch_errors"])

    def _log_text(self) -> str:
        controller = self._arena.network.controller
        return controller.log.read_text(encoding="utf-8", errors="replace") if controller else ""
