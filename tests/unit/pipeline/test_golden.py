"""The standing tables of small sites as text, held against files that people can read.

`ZETHANE_REWRITE_GOLDEN=1 pytest tests/unit/pipeline/test_golden.py` writes the files anew; look at the difference.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from fakes.records import MemoryStore
from zethane.network.load import parse_network
from zethane.pipeline.tables import Table
from zethane.pipeline.text import render
from zethane.policy.load import parse_policy
from zethane.service.points import Fabric
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.standing_entries import standing_entries
from zethane.service.switch import PortState

GOLDEN = Path(__file__).parents[2] / "golden"

ONE_SWITCH = """
switches: {s1: {}}
portal: {switch: s1, port: 1, ip: 10.0.0.254/24, mac: "02:00:00:00:00:fe"}
"""
THREE_SWITCHES = """
switches: {s1: {}, s2: {}, s3: {}}
links: [["s1:8", "s2:8"], ["s2:9", "s3:8"], ["s3:9", "s1:9"]]
portal: {switch: s1, port: 1, ip: "2001:db8::fe/64", mac: "02:00:00:00:00:fe", login_ports: [9443]}
"""
TAGGED_PORT = """
switches: {s1: {ports: {7: {macs: 8, vlans: [20, 30], untagged: true}}}}
"""
DOT1X_PORT = """
switches: {s1: {ports: {7: {dot1x: true, vlans: [20], untagged: true}}}}
"""
POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
services: {dns: [udp/53, tcp/53]}
rules:
  - {id: staff-web, from: [staff], to: [web], services: [tcp/443], when: {mfa: true}}
  - {id: web-db, from: [web], to: [db], services: [tcp/5432-5433]}
  - {id: names, from: [web], to: [db], services: [dns]}
  - {id: ping, from: [any], to: [web], services: [icmp]}
  - {id: no-ssh, from: [any], to: [db], services: [tcp/22], action: deny}
"""
NOTHING = "version: 1\nsegments: {all: {labels: {a: b}}}\nrules: []\n"


def standing(network: str, policy: str, ports: Sequence[int]) -> str:
    """The standing tables of every switch, with a heading per switch and table."""
    fabric = Fabric(parse_network(network, "network.yaml"))
    in_force = PolicyInForce(parse_policy(policy, "policy.yaml"), MemoryStore(), 0.0)
    lines = []
    for point in fabric.points.values():
        trunks = [number for number, port in point.switch.ports.items() if port.role == "trunk"]
        point.ports = {number: PortState(number, f"p{number}", up=True) for number in {*ports, *trunks}}
        point.standing = frozenset(point.ports)
        entries = list(standing_entries(fabric, point, in_force.flows))
        for table in Table:
            lines += [f"# {point.switch.name}, table {table.value}: {table.text}"]
            lines += [render(flow for flow in entries if flow.table == table), ""]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "network", "policy", "ports"),
    [
        ("one-switch", ONE_SWITCH, POLICY, (1, 2)),
        ("three-switches", THREE_SWITCHES, NOTHING, (1,)),
        ("tagged-port", TAGGED_PORT, NOTHING, (7,)),
        ("dot1x-port", DOT1X_PORT, NOTHING, (7,)),
    ],
)
def test_the_standing_tables_are_those_on_file(name: str, network: str, policy: str, ports: tuple[int, ...]) -> None:
    file = GOLDEN / f"{name}.txt"
    text = standing(network, policy, ports)
    if os.environ.get("ZETHANE_REWRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text.splitlines() == file.read_text(encoding="utf-8").splitlines()


def test_the_tables_do_not_depend_on_the_order_of_rules() -> None:
    head, _, rules = POLICY.partition("rules:\n")
    shuffled = head + "rules:\n" + "".join(f"{line}\n" for line in reversed(rules.splitlines()))
    # Numbers are given out in the file's order and kept from then on; here each rule has had its own before.
    store = MemoryStore()
    in_force = [PolicyInForce(parse_policy(text, "policy.yaml"), store, 0.0) for text in (POLICY, shuffled)]
    assert in_force[0].entries == in_force[1].entries
