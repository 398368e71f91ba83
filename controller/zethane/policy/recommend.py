"""The least policy that explains what was seen: in segments and services, each rule with its evidence.

Whoever spoke to whom is counted by segment, or outside by network. What some rule of the policy let through keeps the
conditions of that rule; what rules deny stays denied.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any, Literal

from zethane.errors import CapacityError
from zethane.policy.decide import decide, describe, place_of
from zethane.policy.model import MAX_RULES, Place, Policy
from zethane.policy.principal import External, Party
from zethane.policy.recommendation import Evidence, LeftOut, Proposal, Recommendation, ends_file
from zethane.policy.schema import PolicyFile
from zethane.policy.seen import Seen
from zethane.policy.service import PROTOCOLS, Service, simplify, word_of

ServiceGrain = Literal["port", "named", "protocol"]

MAX_SERVICES = 256
"""Services of one rule, as the file allows."""

MAX_ID = 63

MAX_LEFT_OUT = 10_000
"""Different flows that are listed as left out; the rest is counted together."""

REST = ("many more were left out", "any", "any", "any")

OWN = "infrastructure:"
"""What the names of rules that no policy has begin with, such as that for DNS servers."""


@dataclass(frozen=True, slots=True)
class Grain:
    """How fine the rules are to be.

    `services`: each port that was seen (`port`), the named service of the policy that has it (`named`), or all of its
    protocol. Addresses outside count by the longest network that the policy names, if that is not all addresses;
    otherwise, or if a length is given here, by prefixes of this length of IPv4 and IPv6.
    """

    services: ServiceGrain = "port"
    prefix4: int | None = None
    prefix6: int | None = None


@dataclass(frozen=True, slots=True)
class _Cell:
    """What one rule would be needed for: who, to whom, what, by which rule so far."""

    source: Place
    target: Place
    service: str
    rule: str | None


def recommend(policy: Policy, file: PolicyFile, seen: Iterable[Seen], grain: Grain) -> Recommendation:
    """The policy that allows what was seen and was not denied. `file` is what `policy` was read from.

    Raises CapacityError if that takes more rules than a policy may have.
    """
    cells: dict[_Cell, Evidence] = defaultdict(Evidence)
    out: dict[tuple[str, str, str, str], int] = defaultdict(int)
    used: set[str] = set()
    flows, first, last = 0, math.inf, -math.inf
    for one in seen:
        first, last = min(first, one.first), max(last, one.last)
        flows += one.flows
        rule, why = _decided(policy, one)
        if rule is not None:
            used.add(rule)
        cell = None if why else _cell(policy, one, rule, grain)
        if isinstance(cell, _Cell):
            cells[cell].add(one)
        else:
            ends = _where(policy, one.subject, one.source), _where(policy, one.object, one.target)
            what = why or cell or "", *ends, describe(one.ip_proto, one.port)
            out[what if what in out or len(out) < MAX_LEFT_OUT else REST] += one.flows
    given = {rule.id: rule for rule in file.rules}
    rules = {rule.id: rule.model_dump(by_alias=True, exclude_unset=True) for rule in given.values()}
    proposals = tuple(_named(_proposals(cells, rules), given))
    if len(proposals) + sum(rule.action == "deny" for rule in file.rules) > MAX_RULES:
        raise CapacityError(f"what was seen takes {len(proposals)} rules; expected at most {MAX_RULES}: ask for less")
    kept = tuple(rule.id for rule in policy.rules if not rule.allow)
    return Recommendation(
        proposals,
        kept,
        tuple(rule for rule in policy.rules if rule.id not in used),
        tuple(LeftOut(*what, count) for what, count in sorted(out.items(), key=lambda one: -one[1])),
        flows,
        first,
        last,
    )


def _where(policy: Policy, party: Party, name: str) -> str:
    """The place of an end, or its name where it is in none."""
    place = place_of(policy, party, "subject")[0] if party is not None else None
    return name if place is None else str(place)


def _decided(policy: Policy, seen: Seen) -> tuple[str | None, str]:
    """The rule that decided, as recorded or by the policy, and why what was seen is not to be allowed."""
    if seen.rule is not None and seen.rule.startswith(OWN):
        return seen.rule, "the network allows it by itself"
    if seen.subject is None or seen.object is None:
        return seen.rule, f"nobody is known at the {'source' if seen.subject is None else 'target'}"
    decision = decide(policy, seen.subject, seen.object, seen.ip_proto, seen.port, seen.last)
    if seen.allowed is False:
        return seen.rule, f"it was denied{f' by rule {seen.rule}' if seen.rule else ''}"
    if decision.rule is not None and not decision.allowed:
        return decision.rule, f"rule {decision.rule} denies it"
    recorded = policy.rule(seen.rule) if seen.rule is not None else None
    if recorded is not None and recorded.allow and recorded.holds_for(seen.subject, seen.object, seen.last):
        return recorded.id, ""
    return decision.rule, ""


def _cell(policy: Policy, seen: Seen, rule: str | None, grain: Grain) -> _Cell | str:
    """What has to be allowed for this, or why that cannot be."""
    source, why_no_source = _place(policy, seen.subject, "subject", grain)
    target, why_no_target = _place(policy, seen.object, "object", grain)
    if source is None or target is None:
        return why_no_source or why_no_target
    if not isinstance(source, str) and not isinstance(target, str):
        return "both ends are outside"
    service = _service(policy, seen, grain)
    if service is None:
        return f"IP protocol {seen.ip_proto} has no name: only a rule for any service would allow it"
    return _Cell(source, target, service, rule)


def _place(policy: Policy, party: Party, role: str, grain: Grain) -> tuple[Place | None, str]:
    if not isinstance(party, External):
        return place_of(policy, party, role)
    length = grain.prefix4 if party.address.version == 4 else grain.prefix6
    named = policy.network_of(party.address)
    if length is None and named is not None and named.prefixlen > 0:
        return named, ""
    return ip_network((party.address, party.address.max_prefixlen if length is None else length), strict=False), ""


def _service(policy: Policy, seen: Seen, grain: Grain) -> str | None:
    proto = word_of(seen.ip_proto)
    if proto is None:
        return None
    if proto == "icmp" or grain.services == "protocol":
        return proto
    if grain.services == "named":
        fitting = (
            (sum(service.high - service.low for service in named.services), name)
            for name, named in policy.services.items()
            if any(service.matches(seen.ip_proto, seen.port) for service in named.services)
        )
        narrowest = min(fitting, default=None)
        if narrowest is not None:
            return narrowest[1]
    return f"{proto}/{seen.port}"


def _proposals(cells: Mapping[_Cell, Evidence], rules: Mapping[str, Mapping[str, Any]]) -> Iterator[Proposal]:
    """As few rules as it takes, by joining sources, then targets, that differ in nothing else. None has an id yet."""
    pairs: dict[tuple[str | None, Place, Place], set[str]] = defaultdict(set)
    evidence: dict[tuple[str | None, Place, Place], Evidence] = defaultdict(Evidence)
    for cell, seen in cells.items():
        pairs[cell.rule, cell.source, cell.target].add(cell.service)
        evidence[cell.rule, cell.source, cell.target].join(seen)
    by_target: dict[tuple[str | None, Place, tuple[str, ...]], list[Place]] = defaultdict(list)
    for (rule, source, target), services in pairs.items():
        by_target[rule, target, _joined(services)].append(source)
    whole: dict[tuple[str | None, tuple[Place, ...], tuple[str, ...]], list[Place]] = defaultdict(list)
    for (rule, target, joined), sources in by_target.items():
        whole[rule, _ordered(sources), joined].append(target)
    for (rule, origin, joined), targets in whole.items():
        ends = _ordered(targets)
        total = Evidence()
        for source in origin:
            for target in ends:
                total.join(evidence[rule, source, target])
        when = rules[rule].get("when", {}) if rule is not None else {}
        for sides in _sides(origin, ends):
            for start in range(0, len(joined), MAX_SERVICES):
                part = joined[start : start + MAX_SERVICES]
                yield Proposal("", *sides, part, when, rule, total)


_Sides = tuple[tuple[Place, ...], tuple[Place, ...]]


def _sides(sources: tuple[Place, ...], targets: tuple[Place, ...]) -> Iterator[_Sides]:
    """A rule has networks on one side at the most: apart from those, where both have some."""
    inner = tuple(place for place in targets if isinstance(place, str))
    outer = tuple(place for place in targets if not isinstance(place, str))
    outside = [place for place in sources if not isinstance(place, str)]
    if outside and outer:
        yield sources, inner
        yield tuple(place for place in sources if isinstance(place, str)), outer
    else:
        yield sources, targets


def _is_literal(text: str) -> bool:
    """Whether this is a service and not the name of some: no name is a protocol, or has a slash."""
    return text in PROTOCOLS or "/" in text


def _joined(services: Iterable[str]) -> tuple[str, ...]:
    """Ports next to one another as one range; names stay names."""
    texts = list(services)
    literal = [Service.parse(text) for text in texts if _is_literal(text)]
    named = [text for text in texts if not _is_literal(text)]
    return (*sorted(named), *map(str, simplify(literal)))


def _ordered(places: Iterable[Place]) -> tuple[Place, ...]:
    return tuple(sorted(places, key=lambda place: (not isinstance(place, str), str(place))))


def _named(proposals: Iterable[Proposal], given: Mapping[str, Any]) -> Iterator[Proposal]:
    """The same with ids: that of the rule that is narrowed, or one that says what it is for."""
    taken = {name for name, rule in given.items() if rule.action == "deny"}
    for one in sorted(proposals, key=_order):
        wanted = one.narrows or "-".join((_short(one.sources), _short(one.targets), _short(one.services)))
        name, number = wanted[:MAX_ID], 1
        while name in taken:
            number += 1
            name = f"{wanted[: MAX_ID - 1 - len(str(number))]}-{number}"
        taken.add(name)
        yield replace(one, id=name)


def _order(one: Proposal) -> tuple[Any, ...]:
    return (
        one.narrows is None,
        one.narrows or "",
        str(ends_file(one.sources)),
        str(ends_file(one.targets)),
        one.services,
    )


def _short(names: Sequence[Place]) -> str:
    """The first of several names, as an id may have it, and how many more there are."""
    first = "".join(character if character.isalnum() or character in "_." else "-" for character in str(names[0]))
    return first.strip("-") + (f"-and-{len(names) - 1}" if len(names) > 1 else "")
