"""`policy diff`: who gains and who loses what between two policies, however they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zethane.net.prefix import Prefix, within
from zethane.policy.bits import bits
from zethane.policy.calendar import Calendar
from zethane.policy.cube import Cube
from zethane.policy.difference import Cause, Change, Difference
from zethane.policy.example import example_of
from zethane.policy.model import ANY, Policy, Rule
from zethane.policy.place import NOWHERE, SEVERAL, Place
from zethane.policy.reduce import Block, blocks
from zethane.policy.space import Rules, Space

_WORDS = {NOWHERE: "in no segment", SEVERAL: "in several segments"}


def diff(old: Policy, new: Policy, now: float) -> Difference:
    """The difference between two policies from `now` on, in seconds since the epoch.

    There is none if every flow, of whomever, at whatever time, is allowed by both or by none. Staged rules count as
    not there. Raises CapacityError where the policies are too different, or too large, to be compared.
    """
    space = Space(old, new, Calendar(now))
    gained = space.only(space.new, space.old)
    lost = space.only(space.old, space.new)
    several = space.several
    harmless = _harmless(space, [*gained, *lost], several)
    plain = [_changes(space, _without(found, several), side) for side, found in ((1, gained), (0, lost))]
    double = [
        _changes(space, _about(_without(found, harmless), several), side) for side, found in ((1, gained), (0, lost))
    ]
    notes = [*_partial(space), *_double(space, harmless), *_renamed(old, new), *_enforced(old, new), *_staged(space)]
    return Difference(old, new, plain[0], plain[1], double[0], double[1], tuple(notes), tuple(space.places.all))


def _changes(space: Space, found: Iterable[Cube], side: int) -> tuple[Change, ...]:
    return tuple(sorted((_change(space, block, side) for block in blocks(space, found)), key=_order))


def _order(change: Change) -> tuple[tuple[str, ...], ...]:
    return change.sources, change.targets, tuple(map(str, change.services))


def _change(space: Space, block: Block, side: int) -> Change:
    """`side` is that of the policy which allows it: 1 is the new one."""
    terms, others = (space.new, space.old) if side else (space.old, space.new)
    cubes = block.cubes
    real = next(part for cube in cubes for part in space.possible(cube))
    return Change(
        bool(side),
        tuple(_names(space, block.subjects, side)),
        tuple(_names(space, block.objects, side)),
        space.pieces.services(block.services),
        tuple(tuple(space.literals(cube)) for cube in cubes),
        _causes(space, terms.allows, cubes, side),
        _causes(space, others.denies, cubes, 1 - side),
        example_of(space, real),
        block.services != space.pieces.all and space.pieces.has_others(block.services),
        (block.subjects, block.objects),
    )


def _causes(space: Space, rules: Rules, cubes: Iterable[Cube], side: int) -> tuple[Cause, ...]:
    found = {rule.id: rule for cube in cubes for rule in rules.about(cube, space.work)}
    file = space.policies[side].file
    return tuple(Cause(found[name], file, bool(side)) for name in sorted(found))


def _names(space: Space, places: int, side: int) -> Iterator[str]:
    """What one policy calls these places. Where they are only a part of a segment, the other policy says which.

    Those who are in several segments of the other policy are told apart, so that without them a segment is whole.
    """
    whole = places if places & space.several else places | space.several
    every = space.segments((ANY,), side)
    if every & places and not every & ~whole:
        yield ANY
    else:
        parts: dict[str, list[Place]] = {}
        for bit in bits(places & space.sessions):
            place = space.places.all[bit]
            parts.setdefault((place.old, place.new)[side], []).append(place)
        for name, found in sorted(parts.items()):
            if not space.segments((name,), side) & ~whole:
                yield name
            else:
                yield from (f"{name} ({_elsewhere(place, side)})" for place in found)
    yield from _prefixes(space, places)


def _elsewhere(place: Place, side: int) -> str:
    other = (place.new, place.old)[side]
    return f"{'before' if side else 'now'} {_WORDS.get(other, other)}"


def _prefixes(space: Space, places: int) -> Iterator[str]:
    inside = [place.network for place in space.places.all if place.network is not None]
    chosen = [place.network for bit in bits(places & ~space.sessions) if (place := space.places.all[bit]).network]
    for network in chosen:
        outer = (other for other in chosen if other != network and within(network, other))
        if any(_reaches(other, network, inside, chosen) for other in outer):
            continue
        left = [other for other in inside if within(other, network) and other not in chosen]
        tops = [one for one in left if not any(one != other and within(one, other) for other in left)]
        yield f"{network} except {', '.join(map(str, tops))}" if tops else str(network)


def _reaches(outer: Prefix, inner: Prefix, inside: Iterable[Prefix], chosen: Iterable[Prefix]) -> bool:
    """Whether everything between two prefixes is chosen, so that to name the outer one names the inner one too."""
    between = [one for one in inside if within(inner, one) and within(one, outer)]
    return all(one in chosen for one in between)


def _without(cubes: Iterable[Cube], places: int) -> Iterator[Cube]:
    for cube in cubes:
        left = cube._replace(subjects=cube.subjects & ~places, objects=cube.objects & ~places)
        if left.subjects and left.objects:
            yield left


def _about(cubes: Iterable[Cube], places: int) -> Iterator[Cube]:
    """The parts of the cubes that are about these places."""
    for cube in cubes:
        yield from (
            part
            for part in (
                cube._replace(subjects=cube.subjects & places),
                cube._replace(subjects=cube.subjects & ~places, objects=cube.objects & places),
            )
            if part.subjects and part.objects
        )


def _harmless(space: Space, found: Iterable[Cube], several: int) -> int:
    """The places of those who come to be in several segments each of which is as good as the one that they are in.

    A segment that is split in two leaves those who are in both parts without access. Nobody may be in two, which is
    checked elsewhere: it is noted, and no difference.
    """
    dirty = 0
    for cube in found:
        dirty |= (cube.subjects if cube.objects & ~several else 0) | (cube.objects if cube.subjects & ~several else 0)
    numbers = {place: bit for bit, place in enumerate(space.places.all)}
    harmless = 0
    for bit in bits(several):
        parts = space.places.parts(space.places.all[bit])
        if parts and all(part in numbers and not dirty >> numbers[part] & 1 for part in parts):
            harmless |= 1 << bit
    return harmless


def _partial(space: Space) -> Iterator[str]:
    if space.places.is_partial:
        yield (
            "selectors of many segments have changed: who is in one before and in another now is looked at only where "
            "one of the two selectors asks for all that the other does"
        )


def _double(space: Space, harmless: int) -> Iterator[str]:
    for bit in bits(harmless):
        place = space.places.all[bit]
        side = 1 if place.new == SEVERAL else 0
        parts = [(part.old, part.new)[side] for part in space.places.parts(place)]
        word = "is" if side else "was"
        other = (place.old, place.new)[1 - side]
        when = "has no access now" if side else "had no access before"
        yield f"segment {other}: who {word} in more than one of {', '.join(parts)} {when}"


def _renamed(old: Policy, new: Policy) -> Iterator[str]:
    names = {(one.labels, one.groups): one for one in old.segments.values()}
    for segment in new.segments.values():
        before = names.get((segment.labels, segment.groups))
        if before is None:
            continue
        if before.name != segment.name:
            yield f"segment {before.name} is called {segment.name} now"
        if before.vlan != segment.vlan:
            yield f"segment {segment.name}: its VLAN is {segment.vlan or 'none'} now, not {before.vlan or 'none'}"


def _enforced(old: Policy, new: Policy) -> Iterator[str]:
    """Rules of which somebody else lets the flows in."""
    for rule in new.rules:
        before = old.rule(rule.id)
        if before is None or not rule.allow or not before.allow or before.enforce == rule.enforce:
            continue
        who = (
            "the switch lets its connections in by itself now" if rule.is_grant else "each of its flows is verified now"
        )
        yield f"rule {rule.id} ({new.file}:{rule.line}): {who}"


def _staged(space: Space) -> Iterator[str]:
    """Differences between rules that are not in force."""
    old, new = space.policies
    if old.stage != new.stage:
        yield f"the policy as a whole is {_STAGES[new.stage]} now, and was {_STAGES[old.stage]}"
    said = [{_meaning(space, rule, side) for rule in _of_stage(policy)} for side, policy in enumerate((old, new))]
    for side, policy, word in (
        (1, new, "is staged: logged, not enforced"),
        (0, old, "was staged, and is not any more"),
    ):
        for rule in _of_stage(policy):
            if _meaning(space, rule, side) not in said[1 - side]:
                yield f"rule {rule.id} ({policy.file}:{rule.line}) {word}"


_STAGES = {"audit": "staged", "enforce": "in force"}


def _of_stage(policy: Policy) -> Iterator[Rule]:
    return (rule for rule in policy.rules if rule.stage == "audit")


def _meaning(space: Space, rule: Rule, side: int) -> tuple[str, Cube | None]:
    return rule.action, space.cube_of(rule, side)
