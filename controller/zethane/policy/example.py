"""An example of a question that a cube holds: somebody, somebody else, a service and a moment."""

from __future__ import annotations

from dataclasses import dataclass

from zethane.net.prefix import Address
from zethane.policy.atom import Atom, Literals, Side
from zethane.policy.bits import bits
from zethane.policy.cube import Cube
from zethane.policy.place import Place
from zethane.policy.principal import External, Party, Principal
from zethane.policy.space import VERSIONS, Space, of_side, version_of
from zethane.policy.traits import addresses, traits


@dataclass(frozen=True, slots=True)
class Example:
    """One question of a cube: who, to whom, for what and when, in seconds since the epoch.

    It is an example only if the `assumed` expressions are true, or false, as they say.
    """

    subject: Party
    object: Party
    ip_proto: int
    port: int
    moment: float
    assumed: tuple[tuple[Atom, bool], ...] = ()


def example_of(space: Space, cube: Cube) -> Example:
    """One of the questions of a cube, all of which can be. Raises ValueError if none can."""
    literals = space.literals(cube)
    first = [space.places.all[next(bits(places))] for places in cube[:2]]
    known = [frozenset({version}) if (version := version_of(place)) else VERSIONS for place in first]
    found = [addresses(*of_side(literals, side)) for side in ("subject", "object")]
    version = min(frozenset(found[0]) & frozenset(found[1]) & known[0] & known[1])
    moment = space.moment(literals)
    if moment is None:
        raise ValueError("nothing can be in the cube")
    subject = _party(space, first[0], literals, "subject", found[0][version], moment)
    target = _party(space, first[1], literals, "object", found[1][version], moment)
    assumed = tuple((atom, holds) for atom, holds in literals if atom.kind.startswith("expression"))
    return Example(subject, target, *space.pieces.probe(cube.services), moment, assumed)


def _party(space: Space, place: Place, literals: Literals, side: Side, address: Address, now: float) -> Party:
    if place.address is not None:
        return External(place.address)
    about = [(atom, holds) for atom, holds in literals if atom.side == side]
    who, proved = space.member(place, about), traits(*of_side(literals, side))
    if who is None or proved is None:
        raise ValueError("nothing can be in the cube")
    labels, age = tuple(sorted(who.labels)), proved.factor_age
    device = None if proved.device is None else proved.device.facts(now)
    proof = (age is not None, None if age is None else now - age, proved.aal)
    return Principal("user", "somebody", who.groups, labels, *proof, device, address)
