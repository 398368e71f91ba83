"""Hypothesis strategies for security groups, and what is in them; and how openstack prints them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Object = dict[str, Any]

GROUPS = ("g-web", "g-db", "g-ops")
PORTS = (21, 22, 23, 80, 443)
PREFIXES = {
    "IPv4": ("0.0.0.0/0", "10.0.0.0/24", "10.0.1.0/24", "10.0.0.11/32", "198.51.100.0/24"),
    "IPv6": ("::/0", "2001:db8::/64", "2001:db8:ffff::/48"),
}
OUTSIDE = ("198.51.100.7", "8.8.8.8", "2001:db8:ffff::1", "2001:db9::1")


@st.composite
def _rule(draw: st.DrawFn, number: int) -> Object:
    family = draw(st.sampled_from(("IPv4", "IPv6")))
    protocol = draw(st.sampled_from((None, "tcp", "udp", "sctp", "icmp")))
    low = draw(st.sampled_from((None, *PORTS))) if protocol in ("tcp", "udp", "sctp") else None
    high = low if low is None else draw(st.integers(low, 443))
    if protocol == "icmp" and draw(st.booleans()):
        low, high = (8 if family == "IPv4" else 128), None
    remote = draw(st.sampled_from((None, None, *GROUPS)))
    return {
        "id": f"rule-{number}",
        "group": draw(st.sampled_from(GROUPS)),
        "direction": draw(st.sampled_from(("ingress", "egress"))),
        "ethertype": family,
        "protocol": protocol,
        "min": low,
        "max": high,
        "remote_group": remote,
        "prefix": None if remote else draw(st.sampled_from((None, *PREFIXES[family]))),
    }


@st.composite
def clouds(draw: st.DrawFn) -> Object:
    """Ports in groups, each with at most one address of each version, and rules of the groups."""
    ports = []
    for number in range(draw(st.integers(1, 4))):
        both = [f"10.0.{number % 2}.{11 + number}", f"2001:db8:0:{number % 2}::{11 + number}"]
        addresses = draw(st.sampled_from((both, both[:1], both[1:])))
        groups = draw(st.lists(st.sampled_from(GROUPS), max_size=2, unique=True))
        ports.append({"id": f"port-{number}", "addresses": addresses, "groups": groups})
    rules = [draw(_rule(number)) for number in range(draw(st.integers(0, 8)))]
    return {"ports": ports, "rules": rules}


def rule_list(cloud: Object) -> list[Object]:
    """As `openstack security group rule list -f json` prints it: a prefix even where there is none, zeros left out."""
    return [
        {
            "ID": rule["id"],
            "IP Protocol": ("ipv6-icmp" if rule["ethertype"] == "IPv6" else "icmp")
            if rule["protocol"] == "icmp"
            else rule["protocol"],
            "Ethertype": rule["ethertype"],
            "IP Range": rule["prefix"] or ("0.0.0.0/0" if rule["ethertype"] == "IPv4" else "::/0"),
            "Port Range": _port_range(rule),
            "Direction": rule["direction"],
            "Remote Security Group": rule["remote_group"],
            "Remote Address Group": None,
            "Security Group": rule["group"],
        }
        for rule in cloud["rules"]
    ]


def _port_range(rule: Object) -> str:
    if rule["min"] is None:
        return ""
    return f"type={rule['min']}" if rule["protocol"] == "icmp" else f"{rule['min']}:{rule['max']}"


def port_list(cloud: Object) -> list[Object]:
    """As `openstack port list --long -f json` prints it."""
    return [
        {
            "ID": port["id"],
            "Name": "",
            "MAC Address": "fa:16:3e:00:00:01",
            "Fixed IP Addresses": [{"subnet_id": "s", "ip_address": one} for one in port["addresses"]],
            "Status": "ACTIVE",
            "Security Groups": port["groups"],
            "Device Owner": "compute:nova",
            "Tags": [],
            "Trunk subports": None,
        }
        for port in cloud["ports"]
    ]
