"""Tags in the tables: off in `port`, never beyond `source`, on again in `forward`."""

from __future__ import annotations

import pytest

from fakes.records import MemoryStore
from zethane.network.load import parse_network
from zethane.pipeline.fabric import forward_entries
from zethane.pipeline.fields import FABRIC, VLAN_MASK, VLAN_SHIFT, vlan_of
from zethane.pipeline.flow import Flow, PopVlan, SetField, ToController
from zethane.pipeline.ports import still_tagged
from zethane.pipeline.simulate import Simulator
from zethane.pipeline.tables import VLAN_PRESENT, Table
from zethane.policy.load import parse_policy
from zethane.service.points import Fabric
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.standing_entries import standing_entries

NETWORK = """
switches: {s1: {ports: {3: {}, 7: {vlans: [20, 30], dot1x: true}, 8: {vlans: [20], untagged: true}}}}
portal: {switch: s1, port: 1, ip: 10.0.0.254/24}
infrastructure: {dhcp1: {switch: s1, port: 2, ip: 10.0.0.53/24, serves: [dhcp, dns]}}
"""
TAKEN = {1: [0], 2: [0], 3: [0], 7: [20, 30], 8: [0, 20]}


def standing() -> list[Flow]:
    fabric = Fabric(parse_network(NETWORK, "network.yaml"))
    (point,) = fabric.points.values()
    point.standing = frozenset(TAKEN)
    in_force = PolicyInForce(
        parse_policy("version: 1\nsegments: {all: {labels: {a: b}}}\nrules: []\n", "p"), MemoryStore(), 0.0
    )
    return list(standing_entries(fabric, point, in_force.flows))


def test_whatever_leaves_the_table_port_has_no_tag_and_its_vlan_in_the_metadata() -> None:
    """Every entry of every kind, also those that are not about VLANs: none lets a tag or another VLAN through."""
    checked = set()
    for flow in standing():
        wanted = {name: (value, mask) for name, value, mask in flow.match}
        up = any(action == ToController() for action in flow.actions)  # whole: not a sample of what is refused
        if flow.table != Table.PORT or not (flow.goto or up):
            continue
        port = wanted["in_port"][0]
        tag, mask = wanted.get("vlan_vid", (None, None))
        if tag is None:
            assert flow.goto is None, "an entry for any tag lets nothing go on"
            continue
        vlan = tag & ~VLAN_PRESENT
        checked.add((port, vlan))
        assert mask == 0x1FFF
        assert vlan in TAKEN[port]
        assert (PopVlan() in flow.actions) is bool(tag)
        if tag and up:
            assert SetField("metadata", vlan << VLAN_SHIFT) in flow.actions
        if tag and flow.goto:
            assert flow.metadata is not None
            assert (vlan_of(flow.metadata[0]), flow.metadata[1] & VLAN_MASK) == (vlan, VLAN_MASK)
    assert checked == {(port, vlan) for port, vlans in TAKEN.items() for vlan in vlans}


@pytest.mark.parametrize("port", TAKEN)
@pytest.mark.parametrize("eth_type", [0x0800, 0x86DD])
def test_a_port_takes_its_own_tags_and_no_other(port: int, eth_type: int) -> None:
    table = Simulator(standing())
    tags = {0: 0} | {VLAN_PRESENT | vlan: vlan for vlan in range(1, 4096)}
    packet = {"in_port": port, "eth_type": eth_type, "ip_proto": 6}
    went_on = [vlan for tag, vlan in tags.items() if len(table.run({**packet, "vlan_vid": tag}).path) > 1]
    assert went_on == TAKEN[port]
    assert len(table.run({**packet, "vlan_vid": VLAN_PRESENT}).path) == 1, "a priority tag"


def test_a_frame_that_still_has_a_tag_ends_in_source() -> None:
    """Two tags of which an Open vSwitch with a higher vlan-limit has read both; two in the fabric."""
    table = Simulator([*standing(), *still_tagged()])
    for vlan in (0, 20, 4095):
        outcome = table.run_from(Table.SOURCE, {"vlan_vid": VLAN_PRESENT | vlan, "eth_type": 0x0800, "in_port": 7})
        assert [(flow.table, flow.actions, flow.goto) for flow in outcome.path] == [(Table.SOURCE, (), None)]


@pytest.mark.parametrize(
    ("came_in", "goes_to", "ports", "vlans"),
    [
        ((3, 0), (7, 20), [7], [20]),
        ((7, 20), (3, 0), [3], [0]),
        ((7, 20), (7, 30), [7], [30]),
        ((7, 20), (8, 20), [8], [20]),
        ((8, 20), (8, 0), [8], [0]),
        ((8, 0), (8, 20), [8], [20]),
        ((7, 20), (7, 20), [], []),
        ((3, 0), (3, 0), [], []),
        ((3, 0), (7, 21), [], []),
    ],
)
def test_a_packet_leaves_with_the_tag_of_its_object_and_comes_back_to_its_port_in_another_vlan_alone(
    came_in: tuple[int, int], goes_to: tuple[int, int], ports: list[int], vlans: list[int]
) -> None:
    table = Simulator(forward_entries(1, {2: 9}, (20, 30)))
    fields = {"in_port": came_in[0], "metadata": came_in[1] << VLAN_SHIFT, "reg2": 1, "reg3": goes_to[0]}
    outcome = table.run_from(Table.FORWARD, {**fields, "reg4": goes_to[1], "vlan_vid": 0})
    assert (outcome.ports, outcome.vlans) == (ports, vlans)


def test_through_the_fabric_goes_the_number_of_the_switch_whatever_the_vlan() -> None:
    table = Simulator(forward_entries(1, {2: 9}, (2, 20)))
    fields = {"in_port": 7, "metadata": 20 << VLAN_SHIFT, "reg2": 2, "reg3": 5, "reg4": 20, "vlan_vid": 0}
    outcome = table.run_from(Table.FORWARD, fields)
    assert (outcome.ports, outcome.vlans) == ([9], [2])
    assert table.run_from(Table.FORWARD, fields | {"metadata": 20 << VLAN_SHIFT | FABRIC}).ports == []
