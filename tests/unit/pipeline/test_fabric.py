"""Paths through the fabric: shortest, without loops, spread, and around what has failed."""

from __future__ import annotations

from collections import Counter, deque
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.network import Fabric, fabrics, leaf_spine, linked
from zethane.pipeline.fabric import FabricLink, forward_entries, next_hops
from zethane.pipeline.fields import FABRIC
from zethane.pipeline.simulate import Simulator
from zethane.pipeline.tables import VLAN_PRESENT, Table

Links = tuple[FabricLink, ...]


def behind(links: Links) -> dict[tuple[int, int], tuple[int, int]]:
    """For each (switch, port) of a link the one at its other end."""
    there = {(link.a, link.a_port): (link.b, link.b_port) for link in links}
    return there | {other: one for one, other in there.items()}


def distances(links: Links, to: int) -> dict[int, int]:
    """Links between each switch and `to`, counted breadth first."""
    neighbours: dict[int, set[int]] = {}
    for link in links:
        neighbours.setdefault(link.a, set()).add(link.b)
        neighbours.setdefault(link.b, set()).add(link.a)
    found, queue = {to: 0}, deque([to])
    while queue:
        here = queue.popleft()
        for there in neighbours.get(here, set()) - found.keys():
            found[there] = found[here] + 1
            queue.append(there)
    return found


def check_every_hop_gets_nearer(switches: tuple[int, ...], links: Links) -> None:
    hops, ends = next_hops(links, switches), behind(links)
    for to in switches:
        distance = distances(links, to)
        assert {here for here in switches if to in hops[here]} == distance.keys() - {to}
        for here in distance.keys() - {to}:
            assert distance[ends[here, hops[here][to]][0]] == distance[here] - 1


@given(fabrics())
def test_every_hop_leads_one_link_nearer(fabric: Fabric) -> None:
    """So paths are shortest and have no loops, and everybody is reached."""
    switches, links = fabric
    check_every_hop_gets_nearer(switches, links)
    assert all(len(hops) == len(switches) - 1 for hops in next_hops(links, switches).values())


@given(fabrics(), st.data())
def test_paths_lead_around_any_failed_links(fabric: Fabric, data: st.DataObject) -> None:
    switches, links = fabric
    left = tuple(link for link in links if not data.draw(st.booleans(), label=f"{link} fails"))
    check_every_hop_gets_nearer(switches, left)


@given(fabrics(), st.randoms(use_true_random=False))
def test_the_order_in_which_links_are_named_never_matters(fabric: Fabric, random: Random) -> None:
    switches, links = fabric
    shuffled = list(links)
    random.shuffle(shuffled)
    assert next_hops(tuple(shuffled), switches) == next_hops(links, switches)


@pytest.mark.parametrize(("spines", "leaves"), [(2, 4), (2, 8), (4, 8), (3, 9)])
def test_a_leaf_uses_every_spine_and_none_much_more(spines: int, leaves: int) -> None:
    switches, links = leaf_spine(spines, leaves)
    hops = next_hops(links, switches)
    every: Counter[int] = Counter()
    for leaf in switches[spines:]:
        used = Counter(behind(links)[leaf, hops[leaf][to]][0] for to in switches[spines:] if to != leaf)
        assert set(used) == set(switches[:spines])
        every += used
    assert max(every.values()) <= 2 * min(every.values())


def test_a_spine_that_fails_is_not_used() -> None:
    switches, links = leaf_spine(2, 4)
    left = tuple(link for link in links if link.a != 1)
    hops = next_hops(left, switches)
    assert all(1 not in hops[leaf] for leaf in switches)
    assert all(behind(left)[leaf, port][0] == 2 for leaf in switches[2:] for port in hops[leaf].values())


@given(fabrics())
def test_packets_follow_the_entries_to_their_object_and_out_of_its_port_once(fabric: Fabric) -> None:
    """The entries of `forward`, not only the hops: from every switch to a port on every other."""
    switches, links = fabric
    hops, ends = next_hops(links, switches), behind(links)
    tables = {switch: Simulator(forward_entries(switch, hops[switch])) for switch in switches}
    for start in switches:
        for to in switches:
            assert _travel(tables, ends, start, to) == (to, 77)


def _travel(
    tables: dict[int, Simulator], ends: dict[tuple[int, int], tuple[int, int]], start: int, to: int
) -> tuple[int, int]:
    """Where a packet comes out, as (switch, port)."""
    here, fields = start, {"reg2": to, "reg3": 77, "vlan_vid": 0, "metadata": 0}
    for _ in tables:
        outcome = tables[here].run_from(Table.FORWARD, fields)
        assert len(outcome.ports) == 1
        (port,) = outcome.ports
        if (here, port) not in ends:
            return here, port
        here = ends[here, port][0]
        tag = outcome.fields["vlan_vid"]
        assert tag == VLAN_PRESENT | to
        # At its own switch a trunk takes the tag off and the bindings fill the registers again.
        fields = {"reg2": to, "reg3": 77, "vlan_vid": 0, "metadata": FABRIC} if here == to else {"vlan_vid": tag}
    raise AssertionError("the packet goes on for ever")


def test_what_came_through_the_fabric_never_goes_back_into_it() -> None:
    switches, links = (1, 2, 3), linked([(1, 2), (2, 3)])
    table = Simulator(forward_entries(2, next_hops(links, switches)[2]))
    assert table.run_from(Table.FORWARD, {"reg2": 3, "metadata": FABRIC}).ports == []
    assert table.run_from(Table.FORWARD, {"reg2": 3, "metadata": 0}).ports == [2]


def test_a_tag_that_names_no_switch_is_dropped() -> None:
    switches, links = (1, 2), linked([(1, 2)])
    table = Simulator(forward_entries(1, next_hops(links, switches)[1]))
    assert table.run_from(Table.FORWARD, {"vlan_vid": VLAN_PRESENT | 9}).ports == []
    assert table.run_from(Table.FORWARD, {"vlan_vid": VLAN_PRESENT | 1, "reg2": 1}).ports == []
