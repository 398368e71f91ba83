"""Legacy switches: what stands in the lab between a port of Zethane's and several hosts, or hosts with a VLAN.

Each is one more bridge of the run that learns and forwards by itself, as a cheap 802.1Q switch does: an access port
per host, and a trunk to the port where it is plugged in. It has no controller and no spanning tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab.names import Names
from zethane.network.model import Network
from zethane.network.schema import MAX_FABRIC


@dataclass(frozen=True, slots=True)
class LegacySwitch:
    """A legacy switch: `hosts` maps each to its VLAN there, `access` to the interface at its port.

    What has no VLAN is in `native`, whose frames carry no tag on the trunk.
    """

    bridge: str
    switch: str
    port: int
    trunk: str
    native: int
    hosts: Mapping[str, int]
    access: Mapping[str, str]

    @property
    def vlans(self) -> tuple[int, ...]:
        """The VLANs that the trunk carries."""
        return tuple(sorted({self.native, *self.hosts.values()}))

    def port_of(self, host: str) -> int:
        """The number of a host's port; the trunk's is 1."""
        return 2 + list(self.hosts).index(host)


def legacy_switches(network: Network, names: Names) -> dict[str, LegacySwitch]:
    """The legacy switches that a network needs, by the hosts behind them."""
    found: dict[str, LegacySwitch] = {}
    positions = {name: position for position, name in enumerate(network.hosts)}
    shared: dict[tuple[str, int], dict[str, int]] = {}
    for host in network.hosts.values():
        shared.setdefault((host.switch, host.port), {})[host.name] = host.vlan
    for (switch, port), hosts in shared.items():
        if len(hosts) == 1 and not any(hosts.values()):
            continue
        number = network.switches[switch].number
        taken = {*hosts.values(), *network.switches[switch].port(port).vlans}
        native = next(vlan for vlan in range(MAX_FABRIC, 0, -1) if vlan not in taken)
        legacy = LegacySwitch(
            names.legacy(number, port),
            switch,
            port,
            names.legacy_trunk(number, port),
            native,
            {name: vlan or native for name, vlan in hosts.items()},
            {name: names.access(positions[name]) for name in hosts},
        )
        found |= dict.fromkeys(hosts, legacy)
    return found
