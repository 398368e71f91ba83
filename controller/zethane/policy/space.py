"""Two policies as cubes over the same places, services and atoms; one policy is compared with itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from zethane.net.prefix import Prefix, within
from zethane.policy.atom import Atom, Literals, Side, expression_literal, literals_of
from zethane.policy.bits import bits
from zethane.policy.calendar import Calendar
from zethane.policy.cube import Cube, CubeIndex, Work, meet, subtract
from zethane.policy.model import ANY, Policy, Rule
from zethane.policy.pieces import Pieces
from zethane.policy.place import NOWHERE, SEVERAL, Member, Place, Places
from zethane.policy.service import Service
from zethane.policy.traits import addresses, traits

VERSIONS = frozenset((4, 6))


class Rules:
    """The rules of one action of one policy, and their cubes in the same order."""

    def __init__(self, found: Iterable[tuple[Rule, Cube]]) -> None:
        pairs = list(found)
        self.rules = [rule for rule, _ in pairs]
        self.index = CubeIndex(cube for _, cube in pairs)
        self.cubes = self.index.cubes
        self.known = set(self.cubes)

    def near(self, cube: Cube, work: Work) -> list[Cube]:
        """The cubes that have something in common with one."""
        return [self.cubes[number] for number in self.index.overlapping(cube, work)]

    def about(self, cube: Cube, work: Work) -> list[Rule]:
        """The rules that have something in common with a cube."""
        return [self.rules[number] for number in self.index.overlapping(cube, work)]


@dataclass(frozen=True, slots=True)
class Terms:
    """What one policy allows, and what it denies whatever it allows."""

    allows: Rules
    denies: Rules


class Space:
    """What `old` and `new` are compared in. `networks` and `services` are those of questions besides their own."""

    def __init__(
        self,
        old: Policy,
        new: Policy,
        calendar: Calendar,
        networks: Iterable[Prefix] = (),
        services: Iterable[Service] = (),
        work: Work | None = None,
    ) -> None:
        self.policies = old, new
        self.work = work or Work()
        self.calendar = calendar
        self.places = Places(old, new, networks)
        self.pieces = Pieces([*services, *(one for rule in (*old.rules, *new.rules) for one in rule.services)])
        self.atoms: list[Atom] = []
        self._bits: dict[Atom, int] = {}
        self._inside: dict[Prefix, int] = {}
        self._segments = tuple(self._by_name(side) for side in (0, 1))
        self.sessions = sum(1 << bit for bit, place in enumerate(self.places.all) if place.network is None)
        self.several = sum(1 << bit for bit, place in enumerate(self.places.all) if SEVERAL in (place.old, place.new))
        self.networks = {
            version: sum(1 << bit for bit, place in enumerate(self.places.all) if version_of(place) == version)
            for version in VERSIONS
        }
        self.old, self.new = self._terms(old, 0), self._terms(new, 1)
        self._rooms: dict[tuple[int, int], _Room | None] = {}

    def _by_name(self, side: int) -> dict[str, int]:
        found: dict[str, int] = {ANY: 0}
        for bit, place in enumerate(self.places.all):
            name = (place.old, place.new)[side]
            if place.network is None and name not in (NOWHERE, SEVERAL):
                found[name] = found.get(name, 0) | 1 << bit
                found[ANY] |= 1 << bit
        return found

    def _terms(self, policy: Policy, side: int) -> Terms:
        found = [(rule, self.cube_of(rule, side)) for rule in policy.enforced]
        made = [(rule, cube) for rule, cube in found if cube is not None]
        return Terms(Rules(one for one in made if one[0].allow), Rules(one for one in made if not one[0].allow))

    def cube_of(self, rule: Rule, side: int) -> Cube | None:
        """The questions that a rule is about, side 0 being the old policy; None if there are none."""
        literals = [*literals_of(rule.condition, "subject"), *literals_of(rule.object_condition, "object")]
        if rule.expression is not None:
            literals.append(expression_literal("flow", rule.expression, not rule.allow))
        if rule.hours is not None:
            if not self.calendar.spans(rule.hours):
                return None
            if not self.calendar.is_always(rule.hours):
                literals.append((Atom("flow", "hours", self.calendar.same(rule.hours)), True))
        cube = Cube(
            self.segments(rule.sources, side) | self.inside(rule.source_networks),
            self.segments(rule.targets, side) | self.inside(rule.target_networks),
            self.pieces.of(rule.services),
            *self.standing(literals),
        )
        return cube if all(cube[:3]) and not cube.held & cube.lacking else None

    def standing(self, literals: Literals) -> tuple[int, int]:
        """The bits of the atoms that hold, and of those that do not."""
        found = [0, 0]
        for atom, holds in literals:
            if atom not in self._bits:
                self._bits[atom] = len(self.atoms)
                self.atoms.append(atom)
            found[not holds] |= 1 << self._bits[atom]
        return found[0], found[1]

    def segments(self, names: Iterable[str], side: int) -> int:
        """The places that are in one of these segments of a policy, or in any."""
        found = 0
        for name in names:
            found |= self._segments[side].get(name, 0)
        return found

    def inside(self, networks: Iterable[Prefix]) -> int:
        """The places outside that are in one of these networks."""
        found = 0
        for network in networks:
            if network not in self._inside:
                self._inside[network] = sum(
                    1 << bit
                    for bit, place in enumerate(self.places.all)
                    if place.network is not None and within(place.network, network)
                )
            found |= self._inside[network]
        return found

    def literals(self, cube: Cube) -> Literals:
        """What holds and what does not for all of a cube."""
        return [
            *((self.atoms[bit], True) for bit in bits(cube.held)),
            *((self.atoms[bit], False) for bit in bits(cube.lacking)),
        ]

    def only(self, one: Terms, other: Terms) -> list[Cube]:
        """What the one allows and the other does not, as cubes that do not overlap, and all of which can be."""
        changed = CubeIndex(cube for cube in other.denies.cubes if cube not in one.denies.known)
        found = CubeIndex()
        for cube in sorted(one.allows.known, key=_size):
            left = [] if cube in other.allows.known else self._without(cube, other.allows)
            denied = (changed.cubes[number] for number in changed.overlapping(cube, self.work))
            left += [both for deny in denied if (both := meet(cube, deny))]
            for part in (part for whole in left for part in self._without(whole, one.denies)):
                for real in self.possible(part):
                    known = [found.cubes[number] for number in found.overlapping(real, self.work)]
                    for rest in subtract([real], known, self.work):
                        for final in self.possible(rest):
                            found.add(final)
        return found.cubes

    def allowed(self, cube: Cube, terms: Terms) -> Iterator[Cube]:
        """The parts of a cube that are allowed."""
        for rule in terms.allows.near(cube, self.work):
            if both := meet(cube, rule):
                for part in self._without(both, terms.denies):
                    yield from self.possible(part)

    def denied(self, cube: Cube, terms: Terms) -> Iterator[Cube]:
        """The parts of a cube that are not allowed."""
        for rule in terms.denies.near(cube, self.work):
            if both := meet(cube, rule):
                yield from self.possible(both)
        for part in self._without(cube, terms.allows):
            yield from self.possible(part)

    def _without(self, cube: Cube, rules: Rules) -> list[Cube]:
        return subtract([cube], rules.near(cube, self.work), self.work)

    def possible(self, cube: Cube) -> list[Cube]:
        """The part of a cube in which something can be."""
        room = self._room(cube)
        if room is None:
            return []
        subjects = self._members(cube.subjects, "subject", room.literals)
        objects = self._members(cube.objects, "object", room.literals)
        inner, outer = self.sessions, ~self.sessions
        parts = [(subjects & inner, objects & outer & self._outside(room.versions[0]))]
        parts.append((subjects & outer & self._outside(room.versions[1]), objects & inner))
        if room.versions[0] & room.versions[1]:
            parts = _joined([(subjects & inner, objects & inner), *parts])
        return [Cube(*part, *cube[2:]) for part in parts if all(part)]

    def _outside(self, versions: frozenset[int]) -> int:
        return sum(self.networks[version] for version in versions)

    def _room(self, cube: Cube) -> _Room | None:
        key = cube.held, cube.lacking
        if key not in self._rooms:
            self._rooms[key] = self._made_room(cube)
        return self._rooms[key]

    def _made_room(self, cube: Cube) -> _Room | None:
        literals = self.literals(cube)
        true = {atom[::2] for atom, holds in literals if holds and atom.kind == "expression-true"}
        if any(holds and atom.kind == "expression-false" and atom[::2] in true for atom, holds in literals):
            return None
        versions = []
        for side in ("subject", "object"):
            held, lacking = of_side(literals, side)
            if traits(held, lacking) is None:
                return None
            versions.append(frozenset(addresses(held, lacking)) if _asks_address(held, lacking) else VERSIONS)
        return None if self.moment(literals) is None else _Room(literals, (versions[0], versions[1]))

    def moment(self, literals: Literals) -> float | None:
        """The first moment at which the hours among these atoms are as they say; None if there is none."""
        hours = [(atom.value, holds) for atom, holds in literals if atom.kind == "hours"]
        return self.calendar.moment(
            (one for one, holds in hours if holds), (one for one, holds in hours if not holds), self.work
        )

    def _members(self, places: int, side: Side, literals: Literals) -> int:
        """Those of the places in which somebody can be that is so."""
        about = [(atom, holds) for atom, holds in literals if atom.side == side and atom.kind in ("label", "groups")]
        if not about:
            return places
        return sum(1 << bit for bit in bits(places) if self.member(self.places.all[bit], about) is not None)

    def member(self, place: Place, about: Literals) -> Member | None:
        """Somebody in a place whose labels and groups are as these atoms of one side say; None if there is nobody."""
        if place.network is not None:
            return None
        asked = {
            (kind, holds): [atom.value for atom, held in about if (atom.kind, held) == (kind, holds)]
            for kind in ("label", "groups")
            for holds in (True, False)
        }
        without = asked["label", False], asked["groups", False]
        return self.places.member(place, asked["label", True], asked["groups", True], without)


@dataclass(frozen=True, slots=True)
class _Room:
    """What can be where some atoms are true and others are not: with which IP versions at either end."""

    literals: Literals
    versions: tuple[frozenset[int], frozenset[int]]


def _joined(parts: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The products of places, as one where they are."""
    inner, to_networks, from_networks = parts
    if from_networks[0] and from_networks[1]:
        if to_networks[0] and to_networks[1]:
            return [(inner[0], inner[1] | to_networks[1]), from_networks]
        return [(inner[0] | from_networks[0], inner[1])]
    return [(inner[0], inner[1] | to_networks[1])]


def of_side(literals: Literals, side: Side) -> tuple[list[Atom], list[Atom]]:
    """The atoms of one side that hold, and those that do not."""
    about = [(atom, holds) for atom, holds in literals if atom.side == side]
    return [atom for atom, holds in about if holds], [atom for atom, holds in about if not holds]


def _asks_address(held: Iterable[Atom], lacking: Iterable[Atom]) -> bool:
    return any(atom.kind == "address" for atom in (*held, *lacking))


def version_of(place: Place) -> int | None:
    """The IP version of the addresses of a place outside."""
    return place.network.version if place.network is not None else None


def _size(cube: Cube) -> tuple[int, int, Cube]:
    """The cubes about most places first, in an order that depends on nothing else."""
    return -cube.subjects.bit_count(), -cube.objects.bit_count(), cube
