"""All scenarios, a module per group. Importing this fills the registry."""

from attack.scenario import ATTACKS
from attack.scenarios import arp, layer2, spoofing, vlan

__all__ = ["ATTACKS", "arp", "layer2", "spoofing", "vlan"]
