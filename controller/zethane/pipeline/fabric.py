"""The fabric: shortest paths over declared links, as entries of the table `forward`.

Between switches a packet carries an 802.1Q tag with the number of the switch that its object is attached to, so
that a switch in between needs one entry per switch and none per endpoint. Nothing is ever flooded, and the paths
to one switch form a tree: loops in the links carry no loops of packets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from zethane.network.graph import distances
from zethane.pipeline.fields import (
    EGRESS_PORT,
    EGRESS_SWITCH,
    EGRESS_VLAN,
    FABRIC,
    VLAN_MASK,
    VLAN_SHIFT,
    Reason,
    cookie,
)
from zethane.pipeline.flow import Action, Flow, ForgetPort, Output, OutputRegister, PushVlan, SetField, match
from zethane.pipeline.tables import VLAN_PRESENT, Priority, Table

MAX_SWITCH = 4094
"""Switch numbers are VLAN ids within the fabric (IEEE 802.1Q-2022 §9.6)."""

MAX_SWITCHES_KEPT = 1024
"""Switches whose entries for their own ports are kept."""

MAX_HOPS_KEPT = 16_384
"""Ways to a switch whose entries are kept, for all switches together: some kilobyte each."""


@dataclass(frozen=True, slots=True)
class FabricLink:
    """A cable between two switches, by their numbers and OpenFlow ports."""

    a: int
    a_port: int
    b: int
    b_port: int


def next_hops(links: tuple[FabricLink, ...], switches: tuple[int, ...]) -> dict[int, dict[int, int]]:
    """For each switch, the port towards every other one that can be reached.

    Among equally short paths the choice is by a fixed spread over (destination, neighbour), so that a leaf-spine
    fabric uses all of its spines and every controller comes to the same answer.
    """
    neighbours: dict[int, set[int]] = {switch: set() for switch in switches}
    ports: dict[tuple[int, int], int] = {}
    for link in sorted(links, key=lambda link: (link.a, link.a_port)):
        neighbours.setdefault(link.a, set()).add(link.b)
        neighbours.setdefault(link.b, set()).add(link.a)
        ports.setdefault((link.a, link.b), link.a_port)
        ports.setdefault((link.b, link.a), link.b_port)
    hops: dict[int, dict[int, int]] = {switch: {} for switch in switches}
    for destination in switches:
        distance = distances(neighbours, destination)
        for switch in switches:
            if switch == destination or switch not in distance:
                continue
            nearer = sorted(n for n in neighbours[switch] if distance[n] == distance[switch] - 1)
            hops[switch][destination] = ports[switch, nearer[(destination + switch) % len(nearer)]]
    return hops


def forward_entries(switch: int, hops: Mapping[int, int], vlans: Iterable[int] = ()) -> Iterator[Flow]:
    """The entries of `forward` on one switch: its own ports, and one pair per switch that can be reached.

    `vlans` are the tags that the switch's own ports take.
    """
    yield from _own_ports(switch, tuple(sorted(vlans)))
    for destination, port in sorted(hops.items()):
        yield from _hop(destination, port)


@lru_cache(MAX_HOPS_KEPT)
def _hop(destination: int, port: int) -> tuple[Flow, Flow]:
    """The way to a switch through a port, which it is on many other switches, too."""
    why, tag = cookie(0, 0, Reason.FORWARD), VLAN_PRESENT | destination
    return (
        Flow(
            Table.FORWARD,
            Priority.FORWARD,
            # What came through the fabric never goes back into it.
            match(**_to(destination), metadata=(0, FABRIC)),
            why,
            actions=(PushVlan(), SetField("vlan_vid", tag), Output(port)),
        ),
        Flow(Table.FORWARD, Priority.FORWARD, match(vlan_vid=tag), why, actions=(Output(port),)),
    )


@lru_cache(MAX_SWITCHES_KEPT)
def _own_ports(switch: int, vlans: tuple[int, ...]) -> tuple[Flow, ...]:
    """Out of one of this switch's own ports, with the tag that the object has there.

    A switch sends nothing out of the port where it came in, and that is right within a VLAN: what is behind the
    port has carried it already. From one VLAN of a port into another it has not; there the port is forgotten.
    """
    why = cookie(0, 0, Reason.FORWARD)
    found: list[Flow] = []
    for vlan in (0, *vlans):
        push: tuple[Action, ...] = (PushVlan(), SetField("vlan_vid", VLAN_PRESENT | vlan)) if vlan else ()
        out = (*push, OutputRegister(EGRESS_PORT))
        to = {**_to(switch), EGRESS_VLAN: vlan}
        if vlans:
            within = match(**to, metadata=(vlan << VLAN_SHIFT, VLAN_MASK))
            found.append(Flow(Table.FORWARD, Priority.FORWARD + 1, within, why, actions=out))
            out = (ForgetPort(), *out)
        found.append(Flow(Table.FORWARD, Priority.FORWARD, match(**to), why, actions=out))
    return tuple(found)


def _to(switch: int) -> dict[str, int]:
    """An untagged packet whose object is attached to this switch."""
    return {EGRESS_SWITCH: switch, "vlan_vid": 0}
