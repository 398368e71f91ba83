"""The declaration of the tables: what fits, what does not, and that the whole of a site does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest

from fakes.frames import ACK, Host
from fakes.site import ALICE, DB, PORTAL, TWO_SWITCHES, WEB, Site
from zethane.pipeline.fields import (
    DENY_METER,
    FABRIC,
    RECORD_METER,
    denied_meter,
    neighbour_meter,
    opening_meter,
    protocol_meter,
    split_meter,
    verify_meter,
)
from zethane.pipeline.flow import (
    SAMPLED,
    Commit,
    Flow,
    Match,
    Output,
    OutputRegister,
    Resubmit,
    ToController,
    Track,
    match,
)
from zethane.pipeline.simulate import Simulator
from zethane.pipeline.tables import TABLES, VLAN_PRESENT, PipelineError, Priority, Table

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


async def busy_site() -> Site:
    """Three switches, three sessions, a verified flow of each protocol, and a connection to the portal."""
    site = await Site(TWO_SWITCHES).start()
    site.login(WEB1, WEB, "s2")
    site.login(DB1, DB, "s1")
    site.login(LAPTOP, ALICE, "s1")
    s1 = site.s1
    for frame in (LAPTOP.tcp(WEB1, 40000, 443), LAPTOP.udp(WEB1, 5000, 443), LAPTOP.echo(WEB1)):
        s1.send(LAPTOP.port, frame)
    s1.send(LAPTOP.port, LAPTOP.tcp(PORTAL, 40001, 8080))
    s1.send(LAPTOP.port, LAPTOP.tcp(PORTAL, 40001, 8080, ACK))
    return site


async def every_flow() -> list[tuple[str, Flow]]:
    site = await busy_site()
    return [(name, flow) for name, switch in site.switches.items() for flow in switch.tables.values()]


async def test_every_flow_of_a_site_fits_its_tables_declaration() -> None:
    flows = await every_flow()
    assert {flow.table for _, flow in flows} == set(Table)
    assert sum(flow.priority == Priority.FLOW_VERIFIED and flow.table == Table.FLOW for _, flow in flows) >= 14
    for _, flow in flows:
        TABLES[flow.table].check(flow)


async def test_every_table_of_every_switch_ends_in_a_denial() -> None:
    """The last entry matches everything, goes on to no forwarding, and lets nothing out."""
    site = await busy_site()
    for switch in site.switches.values():
        for table in Table:
            last = switch.tables[table, Priority.MISS, ()]
            assert (last.goto, last.outputs) == (None, False)


NEEDED = {
    "ipv4": {"eth_type": {0x0800}},
    "ipv6": {"eth_type": {0x86DD}},
    "ip_proto": {"eth_type": {0x0800, 0x86DD}},
    "tcp": {"ip_proto": {6}},
    "udp": {"ip_proto": {17}},
    "sctp": {"ip_proto": {132}},
    "icmpv4": {"ip_proto": {1}, "eth_type": {0x0800}},
    "icmpv6": {"ip_proto": {58}, "eth_type": {0x86DD}},
}


async def test_every_match_names_what_its_fields_need() -> None:
    """OpenFlow 1.3.5 §7.2.3.6: a switch refuses a TCP port without the protocol being TCP."""
    for _, flow in await every_flow():
        fields = {name: value for name, value, _ in flow.match}
        for name in fields:
            for needed, values in NEEDED.get(name if name == "ip_proto" else name.split("_")[0], {}).items():
                assert fields.get(needed) in values, flow


def overlap(one: Match, other: Match) -> bool:
    """Whether some packet matches both."""
    have = {name: (value, mask) for name, value, mask in one}
    return all(
        (have[name][0] ^ value) & have[name][1] & mask == 0 for name, value, mask in other if name in have
    ) and not _only_one_is_from_the_fabric(one, other)


def _only_one_is_from_the_fabric(one: Match, other: Match) -> bool:
    """Entries by edge port never meet packets with the fabric bit, which a trunk port alone writes."""
    edge = [any(name == "in_port" for name, _, _ in wanted) for wanted in (one, other)]
    trunk = [any(name == "metadata" and value & FABRIC for name, value, _ in wanted) for wanted in (one, other)]
    return (edge[0] and trunk[1]) or (edge[1] and trunk[0])


async def test_entries_of_one_priority_that_a_packet_can_both_match_do_the_same() -> None:
    """What OpenFlow leaves open, which of two equal entries wins, is never asked."""
    groups: dict[tuple[str, Table, int], list[Flow]] = {}
    for name, flow in await every_flow():
        groups.setdefault((name, flow.table, flow.priority), []).append(flow)
    for flows in groups.values():
        for one, other in combinations(flows, 2):
            assert not overlap(one.match, other.match) or one.body == other.body, (one, other)


def entry(table: Table, wanted: Match = (), priority: int = 1, **does: object) -> Callable[[], Flow]:
    return lambda: Flow(table, priority, wanted, 0, **does)  # type: ignore[arg-type]  # a dict for several types


BAD = {
    "a port match in destination": (
        entry(Table.DESTINATION, match(in_port=1)),
        "destination does not match on in_port",
    ),
    "addresses in rule": (entry(Table.RULE, match(eth_type=0x800, ipv4_src=1)), "rule does not match on ipv4_src"),
    "addresses in port": (entry(Table.PORT, match(eth_type=0x800, ipv4_src=1)), "port does not match on ipv4_src"),
    "two strange fields": (entry(Table.FORWARD, match(eth_src=1, eth_dst=1)), "eth_dst, eth_src"),
    "a jump over source": (entry(Table.PORT, goto=Table.DESTINATION), "port does not go on to destination"),
    "a jump over flow": (entry(Table.DESTINATION, goto=Table.FORWARD), "destination does not go on to forward"),
    "a jump from rule": (entry(Table.RULE, goto=Table.COMMITTED), "rule does not go on to committed"),
    "tracking in rule": (entry(Table.RULE, actions=(Track(1, Table.FORWARD),)), "rule tracks no connection"),
    "a commit past its check": (
        entry(Table.GRANT, actions=(Commit(1, Table.FORWARD, 1),)),
        "grant tracks no connection on the way to forward",
    ),
    "a jump back": (entry(Table.FLOW, goto=Table.SOURCE), "flow does not go on to source"),
    "a loop": (entry(Table.SOURCE, goto=Table.SOURCE), "source does not go on to source"),
    "an output in port": (entry(Table.PORT, actions=(Output(1),)), "port sends nothing out"),
    "an output in rule": (entry(Table.RULE, actions=(OutputRegister("reg3"),)), "rule sends nothing out"),
    "a meter passed in port": (entry(Table.PORT, actions=SAMPLED), "port sends nothing through another table"),
    "a way through rule": (entry(Table.SOURCE, actions=(Resubmit(Table.RULE),)), "source sends nothing through"),
    "a sample from sample": (entry(Table.SAMPLE, actions=(ToController(),)), "sample does nothing but meter"),
    "a priority too high": (entry(Table.RULE, priority=0x10000), "priority 65536"),
    "a priority below 0": (entry(Table.RULE, priority=-1), "priority -1"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_entry_that_does_not_belong_is_an_error_that_says_why(name: str) -> None:
    make, why = BAD[name]
    with pytest.raises(PipelineError, match=why):
        make()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"tcp_dts": 1}, "no field is called tcp_dts"),
        ({"tcp_dst": 65536}, "does not fit into 16 bits"),
        ({"tcp_dst": -1}, "does not fit into 16 bits"),
        ({"metadata": (0, 1 << 64)}, "does not fit into 64 bits"),
    ],
)
def test_a_match_that_no_packet_has_is_an_error(fields: dict[str, int], why: str) -> None:
    with pytest.raises(PipelineError, match=why):
        match(**fields)


def test_a_match_has_one_form() -> None:
    assert match(tcp_dst=(0x50, 0xFFFF), in_port=1) == match(in_port=1, tcp_dst=0x50)
    assert match(metadata=(0xFF, 0x0F)) == match(metadata=(0x0F, 0x0F))
    assert match(metadata=(5, 0)) == ()


def test_only_forward_lets_anything_out_and_the_order_of_tables_is_fixed() -> None:
    assert [table for table in Table if TABLES[table].may_output] == [Table.FORWARD]
    assert all(after > table for table in Table for after in TABLES[table].next)
    assert TABLES[Table.RULE].next == {Table.GRANT, Table.FORWARD}
    meters = (Table.SAMPLE, Table.ASK, Table.RECORD, Table.OPENING)
    assert not any(TABLES[table].next or TABLES[table].may_act for table in meters)


async def test_samples_of_denied_packets_pass_the_meter_of_the_port_they_came_from() -> None:
    """Wherever a sample goes up from, and whoever made the rule: no edge port can use up another one's samples."""
    site = await busy_site()
    tables = site.s1.tables
    denials = [tables[table, Priority.MISS, ()] for table in (Table.SOURCE, Table.DESTINATION, Table.RULE)]
    denials += [
        flow
        for flow in tables.values()
        if flow.table == Table.RULE and Priority.RULE_ALLOW_TOP < flow.priority <= Priority.RULE_DENY_TOP
    ]
    assert len(denials) > 3
    assert all((flow.actions, flow.meter, flow.goto) == (SAMPLED, None, None) for flow in denials)
    simulator = Simulator(tables.values())
    stranger = {"eth_type": 0x0800, "ip_proto": 17, "eth_src": 0x02_00_00_00_00_99}
    own = {"in_port": 9, "vlan_vid": VLAN_PRESENT | site.admin.state.fabric.points[site.s1.dpid].number}
    for place, meter in (({"in_port": 3}, denied_meter(3)), ({"in_port": 4}, denied_meter(4)), (own, DENY_METER)):
        outcome = simulator.run({**stranger, **place})
        assert outcome.to_controller
        assert outcome.sampled_by is not None
        assert outcome.sampled_by.meter == meter


def test_every_meter_of_every_port_has_an_id_of_its_own() -> None:
    kinds = {
        "new-flows": verify_meter,
        "neighbour": neighbour_meter,
        "denied": denied_meter,
        "protocol": protocol_meter,
        "new-grants": opening_meter,
    }
    ports = (*range(1, 2000), 0xFEFF)
    meters = {made(port): (kind, port) for kind, made in kinds.items() for port in ports}
    assert len(meters) == len(kinds) * len(ports)
    assert meters.keys().isdisjoint({DENY_METER, RECORD_METER})
    assert all(split_meter(meter) == told for meter, told in meters.items())
