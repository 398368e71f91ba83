"""What a comparison of two policies found, as values, in words, and ready for JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zethane.policy.atom import Atom
from zethane.policy.decide import describe, name_of
from zethane.policy.example import Example
from zethane.policy.model import Policy, Rule
from zethane.policy.moment import moment_text
from zethane.policy.place import SEVERAL, Place
from zethane.policy.principal import External, Party, Principal
from zethane.policy.service import Service

ALWAYS = "whatever the conditions"


@dataclass(frozen=True, slots=True)
class Cause:
    """A rule that has to do with a change. `since` tells whether it is one of the new policy."""

    rule: Rule
    file: str
    since: bool

    @property
    def place(self) -> str:
        """FILE:LINE."""
        return f"{self.file}:{self.rule.line}"

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "rule": self.rule.id,
            "action": self.rule.action,
            "policy": "new" if self.since else "old",
            "place": self.place,
        }


@dataclass(frozen=True, slots=True)
class Change:
    """Access that is gained, or lost: of each of `sources`, to each of `targets`, for each of `services`.

    Sources and targets are segments, or prefixes. It is so under any of the `alternatives`, of each of which all has to
    hold. `allowing` are the rules that allow it in that policy which does; `denying` those of the other which deny it:
    if there are none, no rule of it allows it.
    """

    gained: bool
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    services: tuple[Service, ...]
    alternatives: tuple[tuple[tuple[Atom, bool], ...], ...]
    allowing: tuple[Cause, ...]
    denying: tuple[Cause, ...]
    example: Example
    other_protocols: bool = False
    """Whether IP protocols without a name are among the services."""
    ends: tuple[int, int] = (0, 0)
    """The sources and the targets as sets of bits, by their numbers in the difference's `places`."""

    @property
    def condition(self) -> str:
        """When it is so, in words."""
        if not all(self.alternatives):
            return ALWAYS
        return "when " + "; or ".join(
            " and ".join(atom.text(holds) for atom, holds in literals) for literals in self.alternatives
        )

    @property
    def service_text(self) -> str:
        """`tcp/443, udp/53`."""
        words = [*map(str, self.services), *(["IP protocols without a name"] if self.other_protocols else [])]
        return ", ".join(words)

    def __str__(self) -> str:
        sign = "+" if self.gained else "-"
        ends = f"{', '.join(self.sources)} -> {', '.join(self.targets)}"
        return f"{sign} {ends} : {self.service_text}  {self.condition}"

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "from": list(self.sources),
            "to": list(self.targets),
            "services": [*map(str, self.services), *(["other"] if self.other_protocols else [])],
            "condition": {
                "text": self.condition,
                "any_of": [[_literal_view(*literal) for literal in literals] for literals in self.alternatives],
            },
            "rules": [cause.view() for cause in (*self.allowing, *self.denying)],
            "example": example_view(self.example),
        }


def _literal_view(atom: Atom, holds: bool) -> Mapping[str, Any]:
    return {"of": atom.side, "kind": atom.kind, "text": atom.text(holds), "holds": holds}


@dataclass(frozen=True, slots=True)
class Difference:
    """Who gains and who loses what; and what else is to be known, which is no difference.

    `freed` and `caught` are what those gain who were in several segments, and those lose who come to be in several: an
    error of the policy if there is anybody such, and no access for them.
    """

    old: Policy
    new: Policy
    gained: tuple[Change, ...]
    lost: tuple[Change, ...]
    freed: tuple[Change, ...]
    caught: tuple[Change, ...]
    notes: tuple[str, ...]
    places: tuple[Place, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.gained or self.lost or self.freed or self.caught)

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "old": {"file": self.old.file, "digest": self.old.digest},
            "new": {"file": self.new.file, "digest": self.new.digest},
            "different": bool(self),
            "gained": [change.view() for change in self.gained],
            "lost": [change.view() for change in self.lost],
            "in_several_segments": {
                "gained": [change.view() for change in self.freed],
                "lost": [change.view() for change in self.caught],
            },
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Concerned:
    """Who of those that are known is at either end of a change, such as `user:alice`, sorted."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {"from": list(self.sources), "to": list(self.targets)}


def concerned(found: Difference, population: Iterable[Principal]) -> Callable[[Change], Concerned]:
    """Who is at the ends of each change, provided that its conditions hold."""
    numbers = {place: number for number, place in enumerate(found.places)}
    members: dict[int, set[str]] = {}
    for who in population:
        names = [policy.segments_of(who) for policy in (found.old, found.new)]
        old, new = (SEVERAL if len(some) > 1 else "".join(some) for some in names)
        number = numbers.get(Place(old, new))
        if number is not None:
            members.setdefault(number, set()).add(name_of(who))

    def ends(change: Change) -> Concerned:
        sides = ({name for bit, some in members.items() if end >> bit & 1 for name in some} for end in change.ends)
        sources, targets = (tuple(sorted(names)) for names in sides)
        return Concerned(sources, targets)

    return ends


def example_view(example: Example) -> Mapping[str, Any]:
    """JSON-ready."""
    return {
        "from": party_view(example.subject),
        "to": party_view(example.object),
        "service": describe(example.ip_proto, example.port),
        "ip_proto": example.ip_proto,
        "port": example.port,
        "time": moment_text(example.moment),
        "assumed": [_literal_view(*literal) for literal in example.assumed],
        "text": example_text(example),
    }


def party_view(party: Party) -> Mapping[str, Any]:
    """JSON-ready."""
    if not isinstance(party, Principal):
        return {"address": str(party) if party is not None else None}
    device = party.device
    return {
        "labels": dict(party.labels),
        "groups": sorted(party.groups),
        "mfa": party.mfa,
        "mfa_at": moment_text(party.mfa_at) if party.mfa_at is not None else None,
        "aal": party.aal,
        "address": str(party.address) if party.address is not None else None,
        "device": device
        and {
            "labels": dict(device.labels),
            "groups": sorted(device.groups),
            "posture": {
                name: {"value": value, "measured": moment_text(dict(device.times).get(name, 0.0))}
                for name, value in device.posture
            },
        },
    }


def example_text(example: Example) -> str:
    """The example in one sentence."""
    what = describe(example.ip_proto, example.port)
    text = f"{party_text(example.subject)} -> {party_text(example.object)}, {what}, at {moment_text(example.moment)}"
    assumed = " and ".join(atom.text(holds) for atom, holds in example.assumed)
    return f"{text}, if {assumed}" if assumed else text


def party_text(party: Party) -> str:
    """`somebody with tier=web, group staff, a second factor`."""
    if not isinstance(party, Principal):
        return str(party) if isinstance(party, External) else "somebody who has not logged in"
    words = [f"{name}={value}" for name, value in party.labels]
    words += (f"group {group}" for group in sorted(party.groups))
    words.append("a second factor" if party.mfa else "no second factor")
    if party.aal != 1:
        words.append(f"aal {party.aal}")
    if party.device is not None:
        has = [f"{name}={value}" for name, value in party.device.labels]
        has += (f"group {group}" for group in sorted(party.device.groups))
        has += (f"{name}={value}" for name, value in party.device.posture)
        words.append(f"a device ({', '.join(has)})" if has else "a device")
    return f"somebody with {', '.join(words)}"
