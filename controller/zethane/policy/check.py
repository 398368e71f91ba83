"""`policy check`: errors that need the identities, remarks, and the policy's own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zethane.document import MAX_PROBLEMS, Place, closest, quote
from zethane.errors import CapacityError, Problem
from zethane.net.prefix import Prefix
from zethane.policy.compile import compile_policy
from zethane.policy.decide import Decision, decisions, segment_of
from zethane.policy.lint import Finding, lint
from zethane.policy.matrix import Hosts
from zethane.policy.model import Policy, Test
from zethane.policy.principal import DeviceFacts, Parties, Principal

Find = Callable[[str], Parties]
"""Who is behind the name of a host, or behind an address. Raises KeyError for a name of nothing."""

Population = Iterable[tuple[Principal, Place]]
"""Everybody who can have a session, and where the file of identities says so."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One of the policy's tests: what was decided, and whether that was expected."""

    test: Test
    passed: bool
    decision: Decision
    service: str

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "line": self.test.line,
            "expected": "allow" if self.test.allow else "deny",
            "from": self.test.source,
            "to": self.test.target,
            "service": self.service,
            "passed": self.passed,
            "decision": "allow" if self.decision.allowed else "deny",
            "rule": self.decision.rule,
            "reason": self.decision.reason,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. The policy may be put in force if there are no errors."""

    errors: tuple[Problem, ...]
    findings: tuple[Finding, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        """Whether there are no errors and no test failed. Remarks do not count."""
        return not self.errors and all(outcome.passed for outcome in self.outcomes)


def check(
    policy: Policy,
    population: Population,
    hosts: Hosts,
    find: Find | None = None,
    outside: Sequence[Prefix] | None = None,
    devices: Iterable[DeviceFacts] | None = None,
) -> Report:
    """Hold the policy against the identities and run its tests on `hosts`; `find` knows addresses as well.

    `outside` is what uplinks lead to; None where no network is described. `devices` are those that can prove
    themselves; None where that is not known.
    """
    find = find or hosts.__getitem__
    people = list(population)
    errors = [*membership_problems(policy, people), *unknown_hosts(policy, hosts, find)]
    try:
        compiled = compile_policy(policy)
        if len(policy.enforced) < len(policy.rules):
            compile_policy(policy.as_if_enforced())  # it is meant to be enforced one day
    except CapacityError as error:
        return Report((*errors, Problem(policy.file, str(error))), (), ())
    findings = lint(policy, compiled, (principal for principal, _ in people), outside, devices)
    return Report(tuple(errors), findings, () if errors else run_tests(policy, find))


def membership_problems(policy: Policy, population: Population) -> list[Problem]:
    """Everybody who is in no segment, or in more than one. A device may be in none: then it only carries its user."""
    problems = []
    for principal, place in population:
        segment, why = segment_of(policy, principal, "principal")
        if segment is None and not (principal.kind == "device" and not policy.segments_of(principal)):
            message = f"{why.removeprefix('the ')}; expected exactly one segment of {policy.file}"
            problems.append(Problem(place.file, message, place.line, place.column, place.key or None))
    return problems


def unknown_hosts(policy: Policy, hosts: Hosts, find: Find) -> list[Problem]:
    """Tests about hosts that the network does not have."""
    problems: list[Problem] = []
    for test in policy.tests:
        for name in (test.source, test.target):
            if not _is_known(find, name):
                # A look for what was meant takes milliseconds: the first ones are helped.
                near = closest(name, hosts) if len(problems) < MAX_PROBLEMS else ""
                message = f"no host is named {quote(name)}{near}"
                problems.append(Problem(policy.file, message, test.line, test.column, "tests"))
    return problems


def _is_known(find: Find, name: str) -> bool:
    try:
        find(name)
    except KeyError:
        return False
    return True


def run_tests(policy: Policy, find: Find) -> tuple[Outcome, ...]:
    """The outcome of each test. Raises KeyError for a host that is not there."""
    return tuple(_run(policy, test, find) for test in policy.tests)


def _run(policy: Policy, test: Test, find: Find) -> Outcome:
    """`allow` expects that all of the service is allowed, `deny` that no part of it is."""
    subject, target = find(test.source), find(test.target)
    made = [
        (decision, service) for service in test.services for decision in decisions(policy, subject, target, service)
    ]
    wrong = next((one for one in made if one[0].allowed != test.allow), None)
    decision, service = wrong or made[0]
    return Outcome(test, wrong is None, decision, str(service))
