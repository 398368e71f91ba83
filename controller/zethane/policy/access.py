"""Who may open what to whom at all: between places rather than hosts, whatever conditions may have to be met for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from zethane.policy.model import ANY, Place, Policy, Rule
from zethane.policy.service import PROTOCOLS, Proto, Service, pieces, simplify


@dataclass(frozen=True, slots=True)
class Opening:
    """What members of one place may open to members of another.

    `rules` allow it. `always` says that it is open whenever both ends are there; otherwise a condition of each of these
    rules has to hold, or one of a deny must not.
    """

    source: Place
    target: Place
    service: Service
    rules: tuple[Rule, ...]
    always: bool


def openings(policy: Policy) -> Iterator[Opening]:
    """Every opening, by source, target and service; a service is cut where a rule of its pair begins or ends.

    Its size is that of the pairs of places that a rule connects.
    """
    for (source, target), rules in _by_pair(policy).items():
        yield from _openings(source, target, rules)


def _by_pair(policy: Policy) -> dict[tuple[Place, Place], list[Rule]]:
    """The rules about each pair of places, allows and denies, of those pairs that some rule allows something."""
    places: list[Place] = [*policy.segments, *policy.networks]
    allows: dict[tuple[Place, Place], list[Rule]] = defaultdict(list)
    denies = [rule for rule in policy.enforced if not rule.allow]
    for rule in policy.enforced:
        if rule.allow:
            targets = list(_places(policy, rule.targets, rule.opens_to, places))
            for source in _places(policy, rule.sources, rule.opens_from, places):
                for target in targets:
                    if isinstance(source, str) or isinstance(target, str):
                        allows[source, target].append(rule)
    by_source: dict[Place, list[Rule]] = {
        source: [rule for rule in denies if rule.opens_from(source)] for source in {pair[0] for pair in allows}
    }
    return {
        pair: [*found, *(rule for rule in by_source[pair[0]] if rule.opens_to(pair[1]))]
        for pair, found in allows.items()
    }


def _places(
    policy: Policy, names: tuple[str, ...], fits: Callable[[Place], bool], places: Iterable[Place]
) -> Iterator[Place]:
    """The places that one side of a rule is about."""
    yield from (policy.segments if ANY in names else names)
    yield from (place for place in places if not isinstance(place, str) and fits(place))


def _openings(source: Place, target: Place, rules: list[Rule]) -> Iterator[Opening]:
    services = [service for rule in rules for service in rule.services]
    for piece in _cut(simplify(service for rule in rules if rule.allow for service in rule.services), services):
        about = [rule for rule in rules if any(service.covers(piece) for service in rule.services)]
        allowing = tuple(rule for rule in about if rule.allow)
        denying = [rule for rule in about if not rule.allow]
        if allowing and all(rule.is_conditional for rule in denying):
            always = not denying and any(not rule.is_conditional for rule in allowing)
            yield Opening(source, target, piece, allowing, always)


def _cut(whole: Iterable[Service], services: list[Service]) -> Iterator[Service]:
    """The services cut into pieces within which the others say the same.

    `any` is left whole where nothing cuts it; otherwise its protocols stand for it, without those that have no name.
    """
    for service in whole:
        if service.proto != "any":
            yield from pieces(service, services)
        elif all(one.proto == "any" for one in services):
            yield service
        else:
            protocols: list[Proto] = [proto for proto in PROTOCOLS if proto != "any"]
            for proto in protocols:
                yield from pieces(Service(proto), services)
