"""Attestation of a real bridge: somebody else's hand on the tables, and a flow that goes on meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.frames import Host
from fakes.site import ALICE, DB, WEB
from livesite import LiveSite
from openvswitch import Bridge
from zethane.audit.reason import SessionEvent
from zethane.pipeline.flow import EntryKey
from zethane.pipeline.tables import Table

pytestmark = pytest.mark.ovs

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


@pytest.fixture
async def site(bridge: Bridge) -> AsyncIterator[LiveSite]:
    """Three sessions and a flow of each kind."""
    made = await LiveSite(bridge).start()
    web, db, laptop = (
        made.login(host, principal).number for host, principal in ((WEB1, WEB), (DB1, DB), (LAPTOP, ALICE))
    )
    rules = made.state.policy.rule_numbers
    made.comes_up(LAPTOP, LAPTOP.tcp(WEB1, 40000, 443), laptop, web, rules["staff-web"])
    made.comes_up(LAPTOP, LAPTOP.udp(WEB1, 5000, 443), laptop, web, rules["staff-web"])
    made.comes_up(LAPTOP, LAPTOP.echo(WEB1), laptop, web, rules["ping"])
    made.comes_up(WEB1, WEB1.tcp(DB1, 41000, 5432), web, db, rules["web-db"])
    await made.channel.barrier()
    assert len(made.state.flows) == 4
    yield made
    await made.stop()


async def attest(site: LiveSite) -> int:
    found = await site.admin.attestation.attest(site.point)
    await site.channel.barrier()
    return found


async def bodies(site: LiveSite) -> dict[EntryKey, Any]:
    found = await site.channel.read_tables()
    return {(Table(e.table), e.priority, e.match): e.flow.body if e.flow else None for e in found}


def told(site: LiveSite) -> list[tuple[str, str]]:
    return [(event, text) for event, _, text, _ in site.records.of("switch") if event.endswith(("-rule", "-meter"))]


async def test_a_bridge_as_it_was_written_has_no_findings(site: LiveSite) -> None:
    assert await attest(site) == 0
    assert told(site) == []


async def test_one_pass_puts_right_whatever_somebody_did_and_leaves_other_tables_and_meters_alone(
    site: LiveSite, bridge: Bridge
) -> None:
    before = await bodies(site)
    bridge.ofctl("add-flow", "table=0,priority=65000,actions=NORMAL")
    bridge.ofctl("add-flow", "table=1,priority=1000,ct_state=+trk,ip,actions=goto_table:10")
    bridge.ofctl("del-flows", "table=0,priority=250,arp,in_port=2,vlan_tci=0x0000/0x1fff", strict=True)
    bridge.ofctl("add-flow", "table=7,priority=0,cookie=0xff07,actions=output:2")
    rule = next(
        line.strip()
        for line in bridge.ofctl("dump-flows", "table=3,tcp,nw_src=10.0.0.21,tp_dst=443", "--no-stats").splitlines()
        if "tp_src=40000" in line
    )
    bridge.ofctl("add-flow", rule.replace("goto_table:10", "output:3"))
    bridge.ofctl("add-flow", "table=20,cookie=0xff07,priority=9,ip,actions=output:2")
    bridge.ofctl("add-flow", f"table=20,cookie={3 << 40 | 1 << 16:#x},priority=8,actions=drop")
    bridge.ofctl("add-meter", "meter=999,pktps,burst,bands=type=drop,rate=3,burst_size=3")
    bridge.ofctl("add-group", "group_id=5,type=all,bucket=actions=output:2")
    foreign = [line.split("actions")[0] for line in bridge.ofctl("dump-flows", "table=20", "--no-stats").splitlines()]
    bridge.ofctl("mod-meter", "meter=15,pktps,burst,bands=type=drop,rate=99999,burst_size=99999")

    assert await attest(site) == 6
    assert await bodies(site) == before
    assert sorted(event for event, _ in told(site)) == [
        "altered-meter",
        "altered-rule",
        "altered-rule",
        "foreign-rule",
        "foreign-rule",
        "missing-rule",
    ]
    texts = " ".join(text for _, text in told(site))
    assert "port 65000" in texts
    assert "source 1000 cookie" in texts
    assert "new-flows, port 2" in texts
    # Others' own tables, meters and groups are theirs, whatever their cookies look like; so it is after a logout.
    site.admin.end_session(1, SessionEvent.LOGOUT)
    await site.channel.barrier()
    after = [line.split("actions")[0] for line in bridge.ofctl("dump-flows", "table=20", "--no-stats").splitlines()]
    assert after == foreign
    assert "meter=999" in bridge.ofctl("dump-meters")
    assert "group_id=5" in bridge.ofctl("dump-groups")


async def test_a_live_flow_is_not_interrupted_and_keeps_its_counters(site: LiveSite, bridge: Bridge) -> None:
    packet = LAPTOP.tcp(WEB1, 40000, 443, 0x10, b"data").hex()

    def send() -> None:
        bridge.ofctl("packet-out", f"in_port={LAPTOP.port} packet={packet} actions=table")

    send()
    for priority in (50, 100, 150):
        bridge.ofctl("add-flow", f"table=7,priority={priority},tcp,tp_dst=9,actions=drop")
    bridge.ofctl("del-flows", "table=1,ip,nw_src=10.0.0.14")
    assert await attest(site) >= 4
    send()
    rules = [e for e in await site.channel.read_tables() if e.table == Table.FLOW and e.packets >= 2]
    assert any(("tcp_src", 40000, 0xFFFF) in e.match for e in rules)
    assert len(site.state.flows) == 4
    assert await attest(site) == 0


async def test_a_lease_runs_down_in_the_bridge_without_a_finding(bridge: Bridge) -> None:
    """And what somebody lengthens is cut again."""
    site = await LiveSite(bridge, session_lifetime=600.0).start()
    try:
        site.login(DB1, DB)
        assert await attest(site) == 0
        lines = bridge.ofctl("dump-flows", "table=2", "--no-stats").splitlines()
        entry = next(line.strip() for line in lines if "10.0.0.14" in line)
        assert "hard_timeout=599" in entry or "hard_timeout=600" in entry
        longer = entry.replace("hard_timeout=599", "hard_timeout=9000").replace("hard_timeout=600", "hard_timeout=9000")
        bridge.ofctl("add-flow", longer)
        assert await attest(site) == 1
        assert await attest(site) == 0
    finally:
        await site.stop()
