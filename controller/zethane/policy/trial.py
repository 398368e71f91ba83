"""The policy's own tests: what hosts may do now, and what all members of segments, present and possible, may do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network

from zethane.net.prefix import Prefix, parse_prefix
from zethane.policy.atom import Atom, Literals, Side, literals_of
from zethane.policy.calendar import Calendar
from zethane.policy.condition import Condition
from zethane.policy.cube import Cube, Work
from zethane.policy.decide import Decision, decide, decisions, describe, each
from zethane.policy.example import Example, example_of
from zethane.policy.model import ANY, Policy, Test
from zethane.policy.outcome import Outcome
from zethane.policy.principal import DeviceFacts, External, Parties, Party, Principal
from zethane.policy.space import Space, Terms
from zethane.policy.traits import addresses, traits

Find = Callable[[str], Parties]
"""Who is behind the name of a host, or behind an address. Raises KeyError for a name of nothing."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a test: who is at a host or has an address, or all members of `segment`, or all of `network`."""

    name: str
    parties: Parties = None
    segment: str | None = None
    network: Prefix | None = None

    @property
    def is_known(self) -> bool:
        """Whether it is one host or address."""
        return self.segment is None and self.network is None


def end(policy: Policy, find: Find, name: str) -> End:
    """What a test's word stands for: a host before a segment, unless it says which. Raises KeyError if nothing."""
    kind, _, rest = name.partition(":")
    if kind == "host" and rest:
        return End(name, find(rest))
    if kind == "segment" and rest:
        return _segment(policy, name, rest)
    try:
        return End(name, find(name))
    except KeyError:
        pass
    if "/" in name:
        try:
            return End(name, network=parse_prefix(name))
        except ValueError:
            raise KeyError(name) from None
    return _segment(policy, name, name)


def _segment(policy: Policy, name: str, segment: str) -> End:
    if segment != ANY and segment not in policy.segments:
        raise KeyError(name)
    return End(name, segment=segment)


class Trials:
    """All tests of one policy, on the hosts that `find` knows, at `now`, in seconds since the epoch."""

    def __init__(self, policy: Policy, find: Find, now: float) -> None:
        self._policy = policy
        self._now = now
        self._ends = [(end(policy, find, test.source), end(policy, find, test.target)) for test in policy.tests]
        self._hours = {rule.hours for rule in policy.enforced if rule.hours is not None}
        self._work = Work(MAX_WORK)
        self._spaces: dict[frozenset[object] | None, Space] = {}

    def run(self) -> tuple[Outcome, ...]:
        """The outcome of each test. Raises CapacityError where they take more work than they may."""
        return tuple(self._run(test, *ends) for test, ends in zip(self._policy.tests, self._ends, strict=True))

    def _run(self, test: Test, source: End, target: End) -> Outcome:
        moment = self._now if test.at is None else test.at
        try:
            subjects = _as_asked(source.parties, test.condition, moment)
            objects = _as_asked(target.parties, test.object_condition, moment)
        except _Nobody:
            return _nobody(test)
        if source.is_known and target.is_known and not test.never:
            return self._decided(test, subjects, objects, moment)
        return self._proved(test, replace(source, parties=subjects), replace(target, parties=objects))

    def _decided(self, test: Test, subjects: Parties, objects: Parties, moment: float) -> Outcome:
        """`allow` expects that all of the service is allowed, `deny` that no part of it is."""
        made = [
            (decision, service)
            for service in test.services
            for decision in decisions(self._policy, subjects, objects, service, moment)
        ]
        wrong = next((one for one in made if one[0].allowed != test.allow), None)
        decision, service = wrong or made[0]
        return Outcome(test, wrong is None, decision, str(service), place=self._place(decision))

    def _place(self, decision: Decision) -> str | None:
        rule = self._policy.rule(decision.rule) if decision.rule else None
        return f"{self._policy.file}:{rule.line}" if rule else None

    def _proved(self, test: Test, source: End, target: End) -> Outcome:
        """Whether it is so for all members of both ends; otherwise somebody for whom it is not."""
        space = self._space(test.at)
        terms = space.new
        asked = [
            Cube(subjects, objects, space.pieces.of(test.services), *space.standing([*one, *other]))
            for subjects, one in self._questions(space, source, "subject", test)
            for objects, other in self._questions(space, target, "object", test)
        ]
        real = [part for cube in asked if not cube.held & cube.lacking for part in space.possible(cube)]
        if not real and (test.allow or test.when):
            return _nobody(test, next((one.name for one in (source, target) if self._is_out(one)), None))
        otherwise = (part for cube in real for part in _parts(space, cube, terms, test.allow))
        wrong = next(otherwise, None)
        services = ", ".join(map(str, test.services))
        if wrong is None:
            decision = Decision(test.allow, None, "it is so for everybody there may be")
            return Outcome(test, True, decision, services)
        example = self._example(space, wrong, source, target, test)
        decision = self._decision(space, wrong, example, test.allow)
        return Outcome(test, False, decision, describe(example.ip_proto, example.port), example, self._place(decision))

    def _is_out(self, one: End) -> bool:
        who = one.parties
        if not one.is_known or isinstance(who, External | tuple):
            return False
        return who is None or len(self._policy.segments_of(who)) != 1

    def _space(self, at: float | None) -> Space:
        """What to look for examples in; moments at which the same rules are open have the same."""
        key = None if at is None else frozenset(one for one in self._hours if one.open(at))
        if key not in self._spaces:
            networks = {network for ends in self._ends for one in ends for network in _networks(one)}
            services = [service for test in self._policy.tests for service in test.services]
            calendar = Calendar(self._now) if at is None else Calendar(at, INSTANT)
            self._spaces[key] = Space(self._policy, self._policy, calendar, networks, services, self._work)
        return self._spaces[key]

    def _questions(self, space: Space, one: End, side: Side, test: Test) -> Iterator[tuple[int, Literals]]:
        """The places of one end, with what is true there and what is not."""
        condition = test.condition if side == "subject" else test.object_condition
        if one.segment is not None:
            yield space.segments((one.segment,), 1), literals_of(condition, side)
        if one.network is not None:
            yield space.inside((one.network,)), literals_of(condition, side)
        for party in each(one.parties):
            if isinstance(party, External):
                yield space.inside((ip_network(party.address),)), literals_of(condition, side)
            elif isinstance(party, Principal) and len(self._policy.segments_of(party)) == 1:
                yield space.segments(self._policy.segments_of(party), 1), self._known(space, party, side, test)

    def _known(self, space: Space, who: Principal, side: Side, test: Test) -> Literals:
        """What is true of a principal: all of it or, for what must never be, what no login changes."""
        about = [atom for atom in space.atoms if atom.side == side]
        if test.never:
            condition = test.condition if side == "subject" else test.object_condition
            asked = [literal for literal in literals_of(condition, side) if literal[0].kind not in ITSELF]
            return [*asked, *(_said(atom, who, self._now) for atom in about if atom.kind in ITSELF)]
        moment = self._now if test.at is None else test.at
        known = [atom for atom in about if atom.kind != "address" or who.address is not None]
        return [_said(atom, who, moment) for atom in known]

    def _example(self, space: Space, cube: Cube, source: End, target: End, test: Test) -> Example:
        found = example_of(space, cube)
        moment = found.moment if test.at is None else test.at
        pinned = not test.never
        subject = _named(found.subject, source, moment, pinned)
        target_party = _named(found.object, target, moment, pinned)
        return replace(found, subject=subject, object=target_party, moment=moment)

    def _decision(self, space: Space, cube: Cube, example: Example, allow: bool) -> Decision:
        flow = example.subject, example.object, example.ip_proto, example.port, example.moment
        decision = decide(self._policy, *flow)
        if decision.allowed != allow:
            return decision
        # It depends on an expression, of which the example only supposes what it says.
        rules = (space.new.denies if allow else space.new.allows).about(cube, space.work)
        name = min((rule.id for rule in rules), default=None)
        said = f"rule {name} {'denies' if allow else 'allows'} it" if name else "no rule allows it"
        return Decision(not allow, name, said)


MAX_WORK = 10_000_000
"""Steps of work for all tests of a policy together."""

INSTANT = 0.001
"""Seconds of the calendar where one moment is asked about."""

ITSELF = ("label", "groups")
"""What no login changes about a principal."""


class _Nobody(Exception):  # noqa: N818 - says what is the case
    """Nobody can be as a test asks."""


def _networks(one: End) -> Iterator[Prefix]:
    if one.network is not None:
        yield one.network
    yield from (ip_network(party.address) for party in each(one.parties) if isinstance(party, External))


def _parts(space: Space, cube: Cube, terms: Terms, allow: bool) -> Iterator[Cube]:
    """The parts of a cube that are decided otherwise than expected."""
    return space.denied(cube, terms) if allow else space.allowed(cube, terms)


def _nobody(test: Test, out: str | None = None) -> Outcome:
    """The outcome of a test about nobody; `out` is an end where nobody has logged in, or who is in no one segment."""
    why = (
        f"{out} is not authenticated, or not in exactly one segment"
        if out
        else "there can be nobody whom this is about"
    )
    decision = Decision(False, None, why)
    return Outcome(test, False, decision, ", ".join(map(str, test.services)))


def _said(atom: Atom, who: Principal, now: float) -> tuple[Atom, bool]:
    """Whether an atom is true of a principal."""
    if atom.kind.startswith("expression"):
        answer = Condition(expression=atom.value).answer(who, now)
        return atom, answer is not None and answer.value is (atom.kind == "expression-true")
    return atom, atom.condition.holds(who, now)


def _as_asked(parties: Parties, condition: Condition, now: float) -> Parties:
    """Who is at a host, having logged in just now, and being as a test asks."""
    if not isinstance(parties, Principal):
        return parties
    fresh = replace(parties, mfa_at=None if parties.mfa_at is None else now)
    return _meeting(fresh, condition, now) if condition else fresh


def _meeting(who: Principal, condition: Condition, now: float) -> Principal:
    """The principal as it is when a condition holds for it: what it does not ask for stays."""
    literals = literals_of(condition, "subject")
    held, lacking = [atom for atom, holds in literals if holds], [atom for atom, holds in literals if not holds]
    proved = traits(held, lacking)
    if proved is None:
        raise _Nobody
    if condition.mfa is not None:
        who = replace(who, mfa=condition.mfa, mfa_at=now if condition.mfa else None)
    if condition.aal is not None:
        who = replace(who, aal=condition.aal)
    if proved.device is not None:
        who = replace(who, device=_with_device(who.device, proved.device.facts(now), now))
    if condition.groups and condition.groups.isdisjoint(who.groups):
        who = replace(who, groups=who.groups | {min(condition.groups)})
    if condition.networks:
        known = addresses(held, lacking)
        who = replace(who, address=known[min(known)])
    return replace(who, labels=tuple(sorted({**dict(who.labels), **dict(condition.labels)}.items())))


def _with_device(own: DeviceFacts | None, asked: DeviceFacts, now: float) -> DeviceFacts:
    """A device with what is asked for, and what its own has besides."""
    if own is None:
        return asked
    return replace(
        own,
        groups=own.groups | asked.groups,
        labels=tuple(sorted({**dict(own.labels), **dict(asked.labels)}.items())),
        posture=tuple(sorted({**dict(own.posture), **dict(asked.posture)}.items())),
        measured=now if asked.posture else own.measured,
        times=tuple(sorted({**dict(own.times), **dict(asked.times)}.items())),
    )


def _named(party: Party, one: End, now: float, pinned: bool) -> Party:
    """The example as the host's own principal: all of it, or with what it may prove as the example has it."""
    known = one.parties
    if not isinstance(party, Principal) or not isinstance(known, Principal):
        return party
    if pinned:
        return replace(known, mfa_at=now if known.mfa else None, address=known.address or party.address)
    return replace(party, kind=known.kind, name=known.name, labels=known.labels, groups=known.groups)
