"""What the attacks have to cover: the list, and which scenarios cover each line of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attack.scenario import Scenario

ITEMS: Mapping[str, str] = {
    "spoof": "MAC, IPv4 and IPv6 spoofing in every combination of binding fields",
    "arp": "ARP request, reply, gratuitous and probe poisoning",
    "rarp": "RARP",
    "nd": "ND: NS and NA spoofing",
    "ra": "rogue RA",
    "redirect": "redirects",
    "ra-hidden": "RA behind extension headers and fragments",
    "dhcp-server": "rogue DHCP and DHCPv6 servers",
    "dhcp-starvation": "DHCP starvation",
    "dhcp-release": "DHCP: foreign release",
    "dhcp-decline": "DHCP: decline",
    "fragments4": "tiny, overlapping and later fragments in IPv4",
    "fragments6": "tiny, overlapping and later fragments in IPv6",
    "vlan-one": "VLAN hopping with one tag",
    "vlan-two": "VLAN hopping with two tags",
    "vlan-ad": "VLAN hopping with 802.1ad",
    "vlan-priority": "priority tags",
    "ethertypes": "unknown EtherTypes",
    "llc": "LLC and SNAP",
    "jumbo": "jumbo frames",
    "runt": "runt frames",
    "proto-zero": "IP protocol 0",
    "header-length": "bad header lengths",
    "options": "IP options",
    "extension-headers": "extension header chains",
    "scan-syn": "SYN scan",
    "scan-fin": "FIN scan",
    "scan-null": "NULL scan",
    "scan-xmas": "XMAS scan",
    "scan-ack": "ACK scan",
    "scan-window": "window scan",
    "scan-idle": "idle scan",
    "scan-udp": "UDP scan",
    "reverse-connection": "connections opened from an allowed service's port back to the client",
    "syn-data": "data in SYN",
    "ended-flow": "TCP segments of flows that ended",
    "rst": "RST injection into another's flow",
    "icmp-error": "ICMP error injection into another's flow",
    "tunnel-icmp": "ICMP tunnelling as a host that may do only that",
    "tunnel-dns": "DNS tunnelling as a host that may do only that",
    "tunnel-arp": "ARP tunnelling",
    "amplification": "multicast and broadcast amplification",
    "lldp-injection": "LLDP injection",
    "lldp-relay": "LLDP relay between two hosts",
    "lldp-flood": "LLDP flooding",
    "hijack": "host-location hijack",
    "port-probing": "port probing",
    "mac-flood": "MAC flooding",
    "address-held": "login from an address that another holds",
    "fixation": "session fixation",
    "logout-race": "racing logout against new flows",
    "revocation-instant": "a flow opened in the instant of revocation",
    "port-reuse": "port reuse by a second host behind the same port",
    "packet-in-flood": "packet-in flood from one port while others work",
    "flow-table": "flow-table exhaustion",
    "conntrack": "conntrack exhaustion",
    "tuple-space": "tuple-space explosion",
    "parsers": "frames that hang os-ken's parsers",
    "login-flood": "login flood on the portal",
    "slow-requests": "slow requests",
    "oversized": "oversized requests",
    "eapol": "EAPOL-Logoff and EAPOL-Start in another's name, and floods of them",
    "mab-clone": "the MAC address of a device that has nothing better, cloned",
}
"""A short name for every line of the list, as scenarios use it in `covers`."""


def covered(scenarios: Iterable[Scenario]) -> dict[str, list[str]]:
    """The scenarios that cover each item."""
    found: dict[str, list[str]] = {item: [] for item in ITEMS}
    for scenario in scenarios:
        for item in scenario.covers:
            found[item].append(scenario.name)
    return found


def markdown(scenarios: Iterable[Scenario]) -> str:
    """The table in docs/attacks.md."""
    rows = [
        f"| {ITEMS[item]} | {', '.join(f'`{name}`' for name in names)} |" for item, names in covered(scenarios).items()
    ]
    return "\n".join(["| attack | scenarios |", "|---|---|", *rows])
