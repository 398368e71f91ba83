"""`policy check`: errors that need the identities, remarks, and the policy's own tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from zethane.document import MAX_PROBLEMS, Place, closest, quote
from zethane.errors import CapacityError, Problem
from zethane.net.prefix import Prefix, within
from zethane.policy.compile import compile_policy
from zethane.policy.condition import Condition
from zethane.policy.decide import each, place_of, segment_of
from zethane.policy.lint import Finding, lint
from zethane.policy.matrix import Hosts
from zethane.policy.model import Policy, Rule, Test
from zethane.policy.outcome import Outcome
from zethane.policy.principal import DeviceFacts, Principal
from zethane.policy.trial import End, Find, Trials, end

Population = Iterable[tuple[Principal, Place]]
"""Everybody who can have a session, and where the file of identities says so."""


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
    now: float = 0.0,
) -> Report:
    """Hold the policy against the identities and run its tests on `hosts`; `find` knows addresses as well.

    `outside` is what uplinks lead to; None where no network is described. `devices` are those that can prove
    themselves; None where that is not known. Tests are about `now`, in seconds since the epoch, unless they say when.
    """
    find = find or hosts.__getitem__
    people = list(population)
    errors = [*membership_problems(policy, people), *wrong_tests(policy, hosts, find, outside)]
    try:
        compiled = compile_policy(policy)
        if len(policy.enforced) < len(policy.rules):
            compile_policy(policy.as_if_enforced())  # it is meant to be enforced one day
    except CapacityError as error:
        return Report((*errors, Problem(policy.file, str(error))), (), ())
    findings = lint(policy, compiled, (principal for principal, _ in people), outside, devices)
    if errors:
        return Report(tuple(errors), findings, ())
    findings = (*findings, *timed_tests(policy, find))
    try:
        return Report((), findings, run_tests(policy, find, now))
    except CapacityError as error:
        return Report((Problem(policy.file, str(error), key="tests"),), findings, ())


def membership_problems(policy: Policy, population: Population) -> list[Problem]:
    """Everybody who is in no segment, or in more than one. A device may be in none: then it only carries its user."""
    problems = []
    for principal, place in population:
        segment, why = segment_of(policy, principal, "principal")
        if segment is None and not (principal.kind == "device" and not policy.segments_of(principal)):
            message = f"{why.removeprefix('the ')}; expected exactly one segment of {policy.file}"
            problems.append(Problem(place.file, message, place.line, place.column, place.key or None))
    return problems


def wrong_tests(policy: Policy, hosts: Hosts, find: Find, outside: Sequence[Prefix] | None) -> Iterator[Problem]:
    """Tests about what there is not: hosts, segments, networks outside, conditions of those who do not log in."""
    for number, test in enumerate(policy.tests):
        for name, condition in ((test.source, test.condition), (test.target, test.object_condition)):
            # A look for what was meant takes milliseconds: the first ones are helped.
            near = (*hosts, *policy.segments) if number < MAX_PROBLEMS else ()
            message = _wrong(policy, find, name, near, outside) or _unable(policy, find, name, condition)
            if message:
                yield Problem(policy.file, message, test.line, test.column, "tests")


def _wrong(policy: Policy, find: Find, name: str, near: Sequence[str], outside: Sequence[Prefix] | None) -> str | None:
    try:
        one = end(policy, find, name)
    except KeyError:
        return f"no host and no segment is named {quote(name)}{closest(name, near)}"
    network = one.network
    if network is None or outside is None or any(within(network, one) or within(one, network) for one in outside):
        return None
    return f"no uplink of the network leads to {network}; expected a network outside, or the name of a segment"


def _unable(policy: Policy, find: Find, name: str, condition: Condition) -> str | None:
    one = end(policy, find, name)
    logs_in = one.segment is not None or isinstance(one.parties, Principal)
    return None if logs_in or not condition else f"expected no condition: nobody at {quote(name)} logs in"


def timed_tests(policy: Policy, find: Find) -> Iterator[Finding]:
    """Remarks on tests about hosts that rules with hours decide, and that do not say when: at another time of day they
    may fail, and then the policy is not put in force."""
    for test in policy.tests:
        ends = end(policy, find, test.source), end(policy, find, test.target)
        if test.at is not None or not all(one.is_known for one in ends):
            continue
        rule = next((rule for rule in policy.enforced if rule.hours and _is_about(policy, rule, ends, test)), None)
        if rule is not None:
            message = f"depends on the time, by the hours of rule {rule.id}; expected at: TIME"
            yield Finding("timed-test", Problem(policy.file, message, test.line, test.column, "tests"))


def _is_about(policy: Policy, rule: Rule, ends: tuple[End, End], test: Test) -> bool:
    """Whether a rule is about a test between hosts, or addresses."""
    sources = (place_of(policy, one, "subject")[0] for one in each(ends[0].parties))
    targets = [place_of(policy, one, "object")[0] for one in each(ends[1].parties)]
    return any(
        source is not None and target is not None and rule.opens_from(source) and rule.opens_to(target)
        for source in sources
        for target in targets
    ) and any(one.overlaps(other) for one in rule.services for other in test.services)


def run_tests(policy: Policy, find: Find, now: float = 0.0) -> tuple[Outcome, ...]:
    """The outcome of each test at a moment, in seconds since the epoch.

    Raises KeyError for a host that is not there, and CapacityError where they take more work than they may.
    """
    return Trials(policy, find, now).run()
