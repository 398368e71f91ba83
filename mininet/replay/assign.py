"""Which host of the lab plays whom of a capture. Pure.

Who has an address of the capture is told as for a replay without a lab: by a mapping file, by the topology, by
assumption. Here each gets a host from which that principal logs in, or one of its segment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from zethane.app.topology import Topology
from zethane.policy.decide import name_of
from zethane.policy.principal import External, Principal
from zethane.replay.attribution import Attribution
from zethane.replay.who import Who

Address = IPv4Address | IPv6Address
_SEGMENT = "segment:"
MAX_ADDRESSES = 10_000
"""Addresses of a capture that are given a part, or told to have none; all others have none either."""


@dataclass(frozen=True, slots=True)
class Part:
    """An address of a capture, with the host of the lab that plays it and that host's address; `source` says why."""

    captured: Address
    host: str
    address: Address
    source: str


class Assignment:
    """The parts, given out as addresses come up: of hosts that would do, to the one with the fewest.

    `homes` are the addresses of the lab's hosts, servers and of what is outside.
    """

    def __init__(self, topology: Topology, attribution: Attribution, homes: Mapping[str, Sequence[Address]]) -> None:
        self.parts: dict[bytes, Part] = {}
        self.without: dict[Address, str] = {}
        """Addresses that nobody plays, with why."""
        self._topology = topology
        self._attribution = attribution
        self._homes = homes
        self._owners = {address: host for host, addresses in homes.items() for address in addresses}
        self._principals = topology.principals()
        self._busy: Counter[tuple[str, int]] = Counter()

    def part(self, address: bytes, mac: bytes) -> Part | None:
        """Who plays an address; None if nobody does."""
        known = self.parts.get(address)
        if known is not None:
            return known
        captured = ip_address(address)
        if captured in self.without or len(self.parts) + len(self.without) >= MAX_ADDRESSES:
            return None
        who = self._attribution.who(address, mac)
        candidates = self._candidates(who, captured)
        homes = [(host, home) for host in candidates for home in self._homes[host] if home.version == captured.version]
        if not homes:
            self.without[captured] = _why_not(who, candidates, captured.version)
            return None
        host, home = min(homes, key=lambda one: (one[1] != captured, self._busy[one[0], captured.version]))
        self._busy[host, captured.version] += 1
        part = self.parts[address] = Part(captured, host, home, who.source)
        return part

    def is_outside(self, part: Part) -> bool:
        """Whether a part is played by somebody behind a router."""
        return part.host in self._topology.external_hosts

    def _candidates(self, who: Who, captured: Address) -> list[str]:
        """The hosts that would do, in the order of the topology."""
        owner = self._owners.get(captured)
        if who.standing == "unattributed" or who.standing == "portal":
            return []
        if who.standing == "dns":
            return [owner] if owner else []
        if isinstance(who.party, External):
            outside = [name for name in self._topology.external_hosts if name in self._homes]
            return [owner] if owner in outside else outside
        if who.party is None:
            return [name for name in (who.text, owner) if name in self._homes and name in self._principals][:1]
        found = [name for name, principal in self._principals.items() if principal and self._is(principal, who.text)]
        found = [name for name in found if name in self._homes]
        return [owner] if owner in found else found

    def _is(self, principal: Principal, text: str) -> bool:
        if text.startswith(_SEGMENT):
            return self._topology.policy.segments_of(principal) == (text.removeprefix(_SEGMENT),)
        return name_of(principal) == text


def _why_not(who: Who, candidates: Sequence[str], version: int) -> str:
    if candidates:
        return f"{', '.join(candidates)}: no IPv{version} address"
    if who.standing == "unattributed":
        return who.source
    if who.standing == "portal":
        return "the portal is nobody's part"
    return f"no host of the lab is {who.text}"
