"""From what each end lets pass to rules: a flow needs both ends, and few rules are to say what all pairs may.

Classes are numbered; between two of them the answer is computed for the pair, once, and pairs with the same answer for
the same reasons share a rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import collapse_addresses, ip_network

from zethane.convert.services import EVERYTHING, Services, both, holds, union
from zethane.net.prefix import Prefix, in_order, within

WHOLE_WORLD: tuple[Prefix, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))

OPEN = ""
"""The origin of what passes because nothing was said of that end."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one thing said (`origin`) lets a class open to others, or others to it: to classes, or to networks.

    Between classes it may be about one version of IP only (`family`; 0: both).
    """

    origin: str
    services: Services
    classes: frozenset[int] = frozenset()
    networks: tuple[Prefix, ...] = ()
    family: int = 0


Side = tuple[Grant, ...] | None
"""Everything that is granted to a class in one direction. None: nothing was said, and everything passes."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule to be written. Classes are numbers; `egress` and `ingress` are the origins (OPEN: none).

    `family` is the only version of IP that it is about (0: both).
    """

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    services: Services
    egress: str
    ingress: str
    source_networks: tuple[Prefix, ...] = ()
    target_networks: tuple[Prefix, ...] = ()
    family: int = 0

    @property
    def word(self) -> str:
        """What it is called after."""
        if self.source_networks:
            return f"{self.ingress or 'open'}-in"
        if self.target_networks:
            return f"{self.egress or 'open'}-out"
        # What both ends say is called after it once.
        origins = dict.fromkeys(origin for origin in (self.egress, self.ingress) if origin)
        return ("-and-".join(origins) or "open") + (f"-ipv{self.family}" if self.family else "")


_Key = tuple[str, str, Services]
_common = lru_cache(maxsize=65536)(both)
_holds = lru_cache(maxsize=65536)(holds)


def rules(egress: Sequence[Side], ingress: Sequence[Side]) -> list[Draft]:
    """The rules that allow what the egress of a class and the ingress of another both let pass, and no more."""
    return [*_inside(egress, ingress), *_outside(egress, True), *_outside(ingress, False)]


def _inside(egress: Sequence[Side], ingress: Sequence[Side]) -> Iterator[Draft]:
    if all(grant.family == 0 for side in (*egress, *ingress) for grant in side or ()):
        yield from _drafts(_pairs(egress, ingress, 0), 0)
        return
    four, six = _pairs(egress, ingress, 4), _pairs(egress, ingress, 6)
    for family, pairs in ((0, four & six), (4, four - six), (6, six - four)):
        yield from _drafts(pairs, family)


_Pair = tuple[_Key, int, int]


def _pairs(egress: Sequence[Side], ingress: Sequence[Side], family: int) -> set[_Pair]:
    """What passes between which classes with this version of IP."""
    found: set[_Pair] = set()
    leaving = [_by_peer(side, family) for side in egress]
    entering = [_by_peer(side, family) for side in ingress]
    everyone = range(len(egress))
    for source in everyone:
        out = leaving[source]
        for target in everyone if out is None else out:
            into = entering[target]
            by_ingress = _ANYTHING if into is None else into.get(source)
            if by_ingress is not None:
                keys = _keys(_ANYTHING if out is None else out[target], by_ingress)
                found.update((key, source, target) for key in keys)
    return found


def _drafts(found: Iterable[_Pair], family: int) -> Iterator[Draft]:
    pairs: dict[_Key, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for key, source, target in found:
        pairs[key][source].add(target)
    for (from_word, to_word, services), by_source in sorted(pairs.items()):
        for sources, targets in _rectangles(by_source):
            yield Draft(sources, targets, services, from_word, to_word, family=family)


_ByOrigin = Mapping[str, Services]
_ANYTHING: _ByOrigin = {OPEN: EVERYTHING}


def _by_peer(side: Side, family: int) -> dict[int, dict[str, Services]] | None:
    """What each other class gets, by origin, with this version of IP."""
    if side is None:
        return None
    found: dict[int, dict[str, Services]] = defaultdict(dict)
    for grant in side:
        for peer in grant.classes if grant.family in (0, family) else ():
            before = found[peer].get(grant.origin)
            found[peer][grant.origin] = union((before, grant.services)) if before else grant.services
    return found


def _keys(out: _ByOrigin, into: _ByOrigin) -> list[_Key]:
    """What passes between two classes, by the origins that let it; without what others of them cover."""
    found: list[_Key] = []
    for from_word, leaving in out.items():
        for to_word, entering in into.items():
            services = _common(leaving, entering)
            # An end that lets everything pass is no reason for what passes.
            if leaving == EVERYTHING != entering:
                found.append((OPEN, to_word, services))
            elif entering == EVERYTHING != leaving:
                found.append((from_word, OPEN, services))
            elif services:
                found.append((from_word, to_word, services))
    return _needed(list(dict.fromkeys(found)), lambda wide, key: _holds(wide[2], key[2]))


def _needed(found: list[_Key], covers: Callable[[_Key, _Key], bool]) -> list[_Key]:
    """Those that no other one covers; of two that cover each other the smaller stays."""
    if len(found) < 2:
        return found

    def spare(key: _Key) -> bool:
        return any(
            covers(other, key) and (other < key or not covers(key, other)) for other in found if other is not key
        )

    return [key for key in found if not spare(key)]


def _rectangles(by_source: Mapping[int, set[int]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pairs as products of sets: by sources that have the same targets, or the other way round if that is fewer."""
    by_target: dict[int, set[int]] = defaultdict(set)
    for source, targets in by_source.items():
        for target in targets:
            by_target[target].add(source)
    forward, backward = _alike(by_source), _alike(by_target)
    if len(forward) <= len(backward):
        return forward
    return [(sources, targets) for targets, sources in backward]


def _alike(rows: Mapping[int, set[int]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    same: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row in sorted(rows):
        same[tuple(sorted(rows[row]))].append(row)
    return [(tuple(members), columns) for columns, members in same.items()]


def _outside(sides: Sequence[Side], leaving: bool) -> Iterator[Draft]:
    """What passes to networks outside (`leaving`), or from them."""
    members: dict[tuple[str, tuple[Prefix, ...], Services], list[int]] = defaultdict(list)
    for number, side in enumerate(sides):
        for key in _network_keys(side):
            members[key].append(number)
    for (origin, networks, services), classes in sorted(members.items(), key=lambda item: _order(item[0])):
        if leaving:
            yield Draft(tuple(classes), (), services, origin, OPEN, target_networks=networks)
        else:
            yield Draft((), tuple(classes), services, OPEN, origin, source_networks=networks)


def _order(key: tuple[str, tuple[Prefix, ...], Services]) -> tuple[str, list[str], Services]:
    origin, networks, services = key
    return origin, [str(network) for network in networks], services


def _network_keys(side: Side) -> list[tuple[str, tuple[Prefix, ...], Services]]:
    if side is None:
        return [(OPEN, WHOLE_WORLD, EVERYTHING)]
    merged: dict[tuple[str, Services], list[Prefix]] = defaultdict(list)
    for grant in side:
        if grant.networks:
            merged[grant.origin, grant.services].extend(grant.networks)
    alike: dict[tuple[str, tuple[Prefix, ...]], list[Services]] = defaultdict(list)
    for (origin, services), networks in merged.items():
        alike[origin, collapse(networks)].append(services)
    found = [(origin, networks, union(services)) for (origin, networks), services in alike.items()]
    return [
        key
        for index, key in enumerate(found)
        if not any(
            _covers(other, key) and (number < index or not _covers(key, other))
            for number, other in enumerate(found)
            if number != index
        )
    ]


def _covers(wide: tuple[str, tuple[Prefix, ...], Services], key: tuple[str, tuple[Prefix, ...], Services]) -> bool:
    return _holds(wide[2], key[2]) and all(any(within(network, outer) for outer in wide[1]) for network in key[1])


def collapse(networks: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """The fewest prefixes with the same addresses, in order."""
    listed = list(networks)
    four = collapse_addresses(one for one in listed if one.version == 4)
    six = collapse_addresses(one for one in listed if one.version == 6)
    return tuple(in_order((*four, *six)))


def without(network: Prefix, exceptions: Iterable[Prefix], most: int) -> tuple[Prefix, ...] | None:
    """The fewest prefixes with what `network` has and none of the exceptions; None if that is more than `most`."""
    left: list[Prefix] = [network]
    for exception in collapse(exceptions):
        remaining: list[Prefix] = []
        for one in left:
            if within(one, exception):
                continue
            if within(exception, one):
                remaining.extend(one.address_exclude(exception))  # type: ignore[arg-type] # of the same family
            else:
                remaining.append(one)
        left = remaining
        if len(left) > most:
            return None
    return collapse(left)
