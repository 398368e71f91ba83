"""All scenarios, a module per group. Importing this fills the registry."""

from attack.scenario import ATTACKS
from attack.scenarios import arp, dhcp, fragments, headers, layer2, nd, spoofing, vlan

__all__ = ["ATTACKS", "arp", "dhcp", "fragments", "headers", "layer2", "nd", "spoofing", "vlan"]
