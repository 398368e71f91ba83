"""Uplinks as the hot path sees them: like a session that has no lease and many addresses, each in its network.

An uplink has a `Live` of its own under its number, so that flows with addresses outside are verified, counted, taken
back and adopted as all others are. It never is in the table of sessions: nobody logs in or out there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_address

from zethane.identity.session import Session
from zethane.net.prefix import Prefix, PrefixTable
from zethane.pipeline.external import Gateway, Regions, regions
from zethane.policy.principal import External, Party, Principal
from zethane.service.sessions import FlowLimits, Live

MAX_KNOWN = 65_536
"""Addresses outside whose class is remembered; a scan fills and empties this, and harms nobody."""


class Outside(Live):
    """An uplink, with what the policy in force says about the networks behind it."""

    __slots__ = ("_known", "_own", "_per_address", "_table", "gateway", "regions")

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(_party(gateway, gateway.name), 0, gateway.switch, gateway.attachment.mac.to_bytes(6, "big"))
        self.gateway = gateway
        self.regions: Regions = {}
        self._table: PrefixTable[tuple[int, Session] | None] = PrefixTable({})
        self._own: PrefixTable[bool] = PrefixTable({})
        self._known: dict[bytes, tuple[int, Session] | None] = {}
        self._per_address: Counter[bytes] = Counter()

    @property
    def classes(self) -> frozenset[int]:
        """The classes of everything that the policy knows behind this uplink."""
        return frozenset(self.regions.values())

    def use(self, classes: Regions, own: Iterable[Prefix]) -> None:
        """Put the named networks of a policy in force. `own` is never outside."""
        inside = tuple(own)
        self.regions = regions(self.gateway, classes, inside)
        names = {number: str(prefix) for prefix, number in classes.items()}
        found: dict[Prefix, tuple[int, Session] | None] = {
            prefix: (number, _party(self.gateway, names[number])) for prefix, number in self.regions.items()
        }
        self._table = PrefixTable(found)
        self._own = PrefixTable(dict.fromkeys(inside, True))
        self._known.clear()

    def holds(self, address: bytes) -> bool:
        """Whether the address is outside here, in a network that the policy names."""
        return self._find(address) is not None

    def class_at(self, address: bytes) -> int:
        """The class of an address outside; 0, which nothing has, if it is not."""
        found = self._find(address)
        return found[0] if found else 0

    def party_at(self, address: bytes) -> Session:
        """Who a record names for this address: its network."""
        found = self._find(address)
        return found[1] if found else self.session

    def principal_at(self, address: bytes) -> Party:
        """All that is known of an address outside."""
        return External(ip_address(address))

    def has_room(self, address: bytes, limits: FlowLimits) -> bool:
        """Whether one more flow may be opened from an address outside."""
        return self.opened < limits.flows_per_uplink and self._per_address[address] < limits.flows_per_external_address

    def opens(self, address: bytes) -> None:
        """A flow was opened from an address outside."""
        self.opened += 1
        self._per_address[address] += 1

    def closes(self, address: bytes, flows: int = 1) -> None:
        """So many of them have ended."""
        self.opened -= flows
        self._per_address[address] -= flows
        if self._per_address[address] <= 0:
            del self._per_address[address]

    def _find(self, address: bytes) -> tuple[int, Session] | None:
        """The class of an address and its network; remembered, since one packet asks for both several times."""
        if address in self._known:
            return self._known[address]
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        found = None if self._own.find(address) else self._table.find(address)
        self._known[address] = found
        return found


def _party(gateway: Gateway, name: str) -> Session:
    """What stands in the records where a session would: `network:198.51.100.0/24`, behind the uplink."""
    principal = Principal("network", name)
    return Session(gateway.number, principal, gateway.attachment, (), gateway.name, 0.0)
