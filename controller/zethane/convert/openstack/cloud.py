"""What the lists of a cloud say that counts for its security groups, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from zethane.convert.openstack.schema import RuleRow
from zethane.document import Place
from zethane.net.prefix import Address, Prefix


@dataclass(frozen=True, slots=True)
class Member:
    """A port, or a server by what is said of all of its ports: its groups by id, and its addresses."""

    original: str
    name: str
    groups: frozenset[str]
    addresses: tuple[Address, ...]
    place: Place | None


@dataclass(slots=True)
class Cloud:
    """Everything that was read. `names` are those of security groups by id."""

    rules: list[tuple[RuleRow, Place]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    address_groups: dict[str, tuple[Prefix, ...]] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)

    def origin(self, group: str) -> str:
        """What a group is called: its name if no other has it, with the beginning of its id otherwise."""
        name = self.names.get(group)
        if not name:
            return group
        same = sum(1 for other in self.names.values() if other == name)
        return name if same == 1 else f"{name}-{group[:8]}"
