"""The port plan: which link, portal or host is at which port of a switch.

Numbers that the file gives are kept. All others are the lowest free ones of the switch, for the links in
their order, then the portal, then the hosts in their order: the same file always gives the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from zethane.network.model import Port
from zethane.network.schema import MAX_PORT, Role


class PortTakenError(ValueError):
    """The wanted number is in use, declared with another role, or no number is left."""


@dataclass(slots=True)
class SwitchPorts:
    """The ports of one switch while the plan is made.

    `declared` are the roles that the file gives to numbers; `kept` the numbers that it gives to a link, the
    portal or a host. Neither is handed out automatically.
    """

    declared: dict[int, Port]
    kept: set[int]
    used: dict[int, Port] = field(default_factory=dict)
    _next: int = 1

    def take(self, role: Role, wanted: int | None) -> int:
        """The wanted number, or the lowest free one. Raises PortTakenError."""
        number = self._lowest_free() if wanted is None else self._explicit(role, wanted)
        self.used.setdefault(number, self.declared.get(number) or Port(number, role))
        return number

    def _explicit(self, role: Role, wanted: int) -> int:
        if wanted in self.used and not self._is_shared(role, wanted):
            raise PortTakenError(f"port {wanted} is already taken; expected a number that nothing else has")
        declared = self.declared.get(wanted)
        if declared is not None and declared.role != role:
            raise PortTakenError(f"port {wanted} is declared with role {declared.role}; expected role {role}")
        return wanted

    def _is_shared(self, role: Role, number: int) -> bool:
        """Whether several hosts may be behind a port: it is declared for more than one card."""
        port = self.used[number]
        return role == port.role == "edge" and port.macs > 1

    def _lowest_free(self) -> int:
        while self._next in self.used or self._next in self.declared or self._next in self.kept:
            self._next += 1
        if self._next > MAX_PORT:
            raise PortTakenError(f"no port is left; expected at most {MAX_PORT} on a switch")
        return self._next

    def has_undeclared_trunk(self) -> bool:
        """Whether there is a trunk that no link of the file is at."""
        return any(port.role == "trunk" and number not in self.used for number, port in self.declared.items())

    def finish(self) -> dict[int, Port]:
        """All ports by number, with those that are declared but not used."""
        ports = self.declared | self.used
        return dict(sorted(ports.items()))


def reserve(declared: dict[int, Port], numbers: Iterable[int | None]) -> SwitchPorts:
    """The ports of a switch of which nothing is taken yet, with the numbers that the file gives kept."""
    return SwitchPorts(declared, {number for number in numbers if number is not None})
