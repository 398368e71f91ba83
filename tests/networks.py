"""Small networks as text, for tests."""

from __future__ import annotations

from pathlib import Path

TOPOLOGIES = Path(__file__).parents[1] / "topologies"


def network_text(*, hosts: int = 3, ipv6: bool = False) -> str:
    """One switch with some hosts, the last of which has no login."""
    lines = ["switches: {s1: {}}", "hosts:"]
    for number in range(1, hosts + 1):
        addresses = f'[10.9.0.{number}/24, "2001:db8:9::{number}/64"]' if ipv6 else f"10.9.0.{number}/24"
        lines.append(f"  h{number}: {{switch: s1, ip: {addresses}}}")
    return "\n".join(lines) + "\n"
