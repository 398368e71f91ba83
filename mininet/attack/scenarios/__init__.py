"""All scenarios, a module per group. Importing this fills the registry."""

from attack.scenario import ATTACKS
from attack.scenarios import (
    arp,
    broadcast,
    dhcp,
    fragments,
    headers,
    icmp,
    layer2,
    lldp,
    location,
    nd,
    outside,
    scans,
    spoofing,
    tcp,
    toolbox,
    tunnels,
    vlan,
)

__all__ = [
    "ATTACKS",
    "arp",
    "broadcast",
    "dhcp",
    "fragments",
    "headers",
    "icmp",
    "layer2",
    "lldp",
    "location",
    "nd",
    "outside",
    "scans",
    "spoofing",
    "tcp",
    "toolbox",
    "tunnels",
    "vlan",
]
