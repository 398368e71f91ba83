"""Reconciliation with a real bridge: what is right stays, what is missing comes back, all else goes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fakes.frames import ACK, Host
from fakes.records import MemoryStore
from fakes.site import ALICE, DB, POLICY, PORTAL, WEB
from livesite import LiveSite
from openvswitch import Bridge
from zethane.adapters.openflow.bundles import OpenBundle
from zethane.net.endpoint import Attachment
from zethane.pipeline.bindings import Binding, destination_binding, source_binding
from zethane.pipeline.change import Add, Change, Installed
from zethane.pipeline.fields import PARTIES_MASK, Reason, parties
from zethane.pipeline.flow import EntryKey
from zethane.pipeline.grants import connection_ends
from zethane.pipeline.held import HeldBinding, bindings_say, connections_say, remote_bindings_say
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import Verified, both_directions
from zethane.service.intent import intended

pytestmark = pytest.mark.ovs

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
WEB6 = Host(2, "02:00:00:00:00:11", "2001:db8::11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
STRICTER = POLICY.replace("services: [tcp/443, udp/443], when", "services: [tcp/443], when")


class Site(LiveSite):
    """A live site with three sessions."""

    numbers: tuple[int, int, int]

    async def log_in(self) -> Site:
        self.numbers = tuple(  # type: ignore[assignment]  # three of them
            self.login(host, principal).number for host, principal in ((WEB1, WEB), (DB1, DB), (LAPTOP, ALICE))
        )
        self.admin.claim_address(self.endpoint(WEB1, address=WEB6.ip), self.numbers[0])
        await self.channel.barrier()
        return self

    async def open_flows(self) -> None:
        """Three flows of the laptop to the web server and one of the web server to the database."""
        web, db, laptop = self.numbers
        rules = self.state.policy.rule_numbers
        for frame in (LAPTOP.tcp(WEB1, 40000, 443), LAPTOP.udp(WEB1, 5000, 443)):
            self.comes_up(LAPTOP, frame, laptop, web, rules["staff-web"])
        self.comes_up(LAPTOP, LAPTOP.echo(WEB1), laptop, web, rules["ping"])
        self.comes_up(WEB1, WEB1.tcp(DB1, 41000, 5432), web, db, rules["web-db"])
        assert len(self.state.flows) == 4
        await self.channel.barrier()

    async def tables(self) -> dict[EntryKey, Installed]:
        """What the bridge holds."""
        found = await self.channel.read_tables()
        assert all(entry.flow is not None for entry in found)
        return {entry.flow.key: entry for entry in found if entry.flow is not None}

    async def bodies(self) -> dict[EntryKey, Any]:
        """What every entry of the bridge does."""
        return {key: entry.flow.body for key, entry in (await self.tables()).items() if entry.flow is not None}


class Controllers:
    """Starts controllers for the bridge, one at a time, and stops the last."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._running: Site | None = None

    async def start(self, policy: str = POLICY, store: MemoryStore | None = None, **limits: Any) -> Site:
        site = self._running = Site(self._bridge, policy, store, **limits)
        await site.start()
        return site

    async def restart(self, policy: str = POLICY) -> Site:
        """Another controller with the store of the first, which is gone."""
        assert self._running is not None
        old = self._running
        await old.stop()
        site = await self.start(policy, old.store)
        site.numbers = old.numbers
        return site

    async def stop(self) -> None:
        if self._running is not None:
            await self._running.stop()


@pytest.fixture
async def controllers(bridge: Bridge) -> AsyncIterator[Controllers]:
    made = Controllers(bridge)
    yield made
    await made.stop()


def count_writes(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every way to change the tables from here on, as (name, changes)."""
    written: list[tuple[str, int]] = []
    channel = site.channel
    real = channel.apply

    def counting(changes: Sequence[Change]) -> None:
        written.append(("apply", len(changes)))
        real(changes)

    monkeypatch.setattr(channel, "apply", counting)

    class Counting(OpenBundle):
        def commit(self) -> asyncio.Task[None]:
            written.append(("commit", self.size))
            return super().commit()

    bundles = channel._bundles  # type: ignore[attr-defined]  # it is a real one
    monkeypatch.setattr(channel, "bundle", lambda: Counting(bundles))
    return written


async def test_what_is_written_reads_back_as_right(controllers: Controllers) -> None:
    """Standing entries, bindings of both families and per-flow rules: nothing is written a second time."""
    site = await (await controllers.start()).log_in()
    await site.open_flows()
    wanted = intended(site.state, site.point)
    found = await site.bodies()
    assert {key: flow.body for key, flow in wanted.items()}.items() <= found.items()
    assert len(found) == len(wanted) + 2 * len(site.state.flows)
    assert await site.reconcile() == 0
    assert await site.bodies() == found


@pytest.mark.parametrize("own", [True, False])
async def test_entries_of_sessions_say_what_they_are_without_being_looked_into(
    controllers: Controllers, own: bool
) -> None:
    site = await controllers.start()
    mac, addresses, there = 0x02000000BEEF, (bytes((10, 9, 8, 7)), bytes(range(16))), 1
    number, switch, epoch = 0xABCDE, there if own else there + 1, 0x80000001
    place = Attachment(1, 77, 0x234, mac)
    binding = Binding(number, switch, place, addresses, 0x12345)
    flows = [
        *source_binding(binding, there, 600),
        *destination_binding(binding, 600),
        *connection_ends(number, epoch, "", notify=own),
    ]
    site.channel.apply([Add(flow) for flow in flows])
    held = [one for one in await site.channel.read_tables(brief=True) if isinstance(one, HeldBinding)]
    held = [one for one in held if one.session == number]
    say = bindings_say if own else remote_bindings_say
    wanted = [
        says for one in addresses for says in say(number, mac.to_bytes(6, "big"), one, 0x12345, (switch, 77, 0x234))
    ]
    wanted += connections_say(number, epoch, notify=own)
    assert {one.says for one in held} == set(wanted)
    assert len(held) == len(wanted) == len(flows)


FOREIGN = [
    "table=0,priority=65535,in_port=5,actions=output:2",
    "table=0,priority=65535,in_port=5,dl_vlan=7,actions=pop_vlan,output:2",
    "table=0,priority=200,arp,arp_spa=10.0.0.11,actions=NORMAL",
    "table=0,priority=9,actions=resubmit(,10)",
    "table=1,priority=1000,ct_state=+trk,ip,actions=goto_table:10",
    "table=1,priority=1,actions=write_actions(output:2),goto_table:2",
    "table=1,priority=200,tun_id=5,actions=NORMAL",
    "table=2,priority=500,ip,nw_tos=32,actions=FLOOD",
    "table=2,priority=500,ip,nw_ttl=1,actions=drop",
    "table=3,priority=200,tcp,nw_src=10.0.0.0/8,tp_dst=22,actions=goto_table:10",
    "table=3,priority=65000,metadata=0x10000/0xff0000,actions=goto_table:10",
    "table=3,cookie=0x123456789abcdef0,priority=3,ip,ip_frag=later,actions=drop",
    "table=7,priority=65535,reg7=1,actions=output:1",
    "table=7,priority=39000,tcp,tp_dst=443,idle_timeout=500,actions=output:2",
    "table=10,priority=300,actions=ALL",
    "table=10,priority=10,mpls,mpls_label=5,actions=output:3",
    "table=10,priority=11,icmp6,nd_target=fe80::1,actions=output:3",
]


@pytest.mark.parametrize("entry", FOREIGN)
async def test_a_foreign_entry_is_removed_and_nothing_else_touched(
    bridge: Bridge, controllers: Controllers, entry: str
) -> None:
    site = await (await controllers.start()).log_in()
    await site.open_flows()
    before = await site.bodies()
    bridge.ofctl("add-flow", entry)
    assert len(await site.channel.read_tables()) == len(before) + 1
    assert await site.reconcile() >= 1
    assert await site.bodies() == before
    assert await site.reconcile() == 0


async def test_all_foreign_entries_go_in_one_bundle(
    bridge: Bridge, controllers: Controllers, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await (await controllers.start()).log_in()
    before = await site.bodies()
    for entry in FOREIGN:
        bridge.ofctl("add-flow", entry)
    written = count_writes(site, monkeypatch)
    await site.reconcile()
    assert [name for name, _ in written] == ["commit"]
    assert await site.bodies() == before


async def test_an_unreadable_entry_with_the_cookie_of_a_session_goes_and_the_sessions_own_stay(
    bridge: Bridge, controllers: Controllers
) -> None:
    """It is removed by the match that the switch reported, in its own bytes, and takes nothing with it."""
    site = await (await controllers.start()).log_in()
    before = await site.bodies()
    web = site.numbers[0]
    why = parties(web, 0) | Reason.BINDING
    bridge.ofctl("add-flow", f"table=1,cookie={why:#x},priority=900,ct_state=+trk,ip,actions=goto_table:3")
    assert await site.reconcile() == 1
    assert await site.bodies() == before


WRONG = [
    # an entry of ours by table, priority and match that does something else
    "table=0,priority=0,cookie=0xff09,actions=NORMAL",
    "table=7,priority=0,cookie=0xff07,actions=output:2",
    "table=10,priority=0,cookie=0xff0a,actions=FLOOD",
    "table=3,priority=0,cookie=0xff0c,actions=goto_table:10",
    "table=2,priority=0,cookie=0xff06,actions=set_field:1->reg1,goto_table:3",
    "table=10,priority=200,cookie=0xff0a,reg2=1,reg4=0,vlan_tci=0x0000/0x1fff,actions=output:NXM_NX_REG3[0..15]",
    "table=0,priority=200,cookie=0xff0a,in_port=2,vlan_tci=0x0000/0x1fff,ip,actions=goto_table:10",
    "table=0,priority=200,cookie=0xff0a,in_port=2,vlan_tci=0x0000/0x1fff,ip,idle_timeout=5,actions=goto_table:1",
    "table=0,priority=200,cookie=0xff0b,in_port=2,vlan_tci=0x0000/0x1fff,ip,actions=goto_table:1",
    "table=0,priority=200,cookie=0xff0a,in_port=2,vlan_tci=0x0000/0x1fff,ip,hard_timeout=9999,actions=goto_table:1",
]


@pytest.mark.parametrize("entry", WRONG)
async def test_an_entry_of_ours_that_somebody_has_changed_is_put_right(
    bridge: Bridge, controllers: Controllers, entry: str
) -> None:
    site = await controllers.start()
    before = await site.bodies()
    bridge.ofctl("add-flow", entry)
    assert len(await site.channel.read_tables()) == len(before), "the entry was meant to replace one of ours"
    assert await site.reconcile() >= 1
    assert await site.bodies() == before
    assert await site.reconcile() == 0


async def test_a_lease_that_somebody_has_lengthened_is_put_right(bridge: Bridge, controllers: Controllers) -> None:
    site = await (await controllers.start(session_lifetime=600.0)).log_in()
    before = await site.tables()
    entry = next(
        line for line in bridge.ofctl("dump-flows", "table=2", "--no-stats").splitlines() if "10.0.0.14" in line
    )
    longer = re.sub(r"hard_timeout=(599|600)\b", "hard_timeout=60000", entry)
    assert longer != entry
    bridge.ofctl("add-flow", longer.strip())
    assert await site.reconcile() == 1
    after = await site.tables()
    leases = {key: entry.flow.hard_timeout for key, entry in after.items() if entry.flow is not None}
    assert max(leases.values()) <= 600
    assert after.keys() == before.keys()


async def test_missing_entries_come_back(bridge: Bridge, controllers: Controllers) -> None:
    site = await (await controllers.start()).log_in()
    before = await site.bodies()
    for wanted in ("table=0,arp", "table=1", "table=7,tcp", "table=10"):
        bridge.ofctl("del-flows", wanted)
    assert len(await site.channel.read_tables()) < len(before)
    await site.reconcile()
    assert await site.bodies() == before


async def test_entries_that_are_right_keep_their_counters_and_their_age(
    bridge: Bridge, controllers: Controllers
) -> None:
    """Over a restart of the controller, with work to do next to them."""
    site = await (await controllers.start()).log_in()
    await site.open_flows()
    packet = LAPTOP.tcp(WEB1, 40000, 443, 0x10, b"data").hex()
    for _ in range(3):
        bridge.ofctl("packet-out", f"in_port={LAPTOP.port} packet={packet} actions=table")
    before = await site.tables()
    counted = {key: entry.packets for key, entry in before.items() if entry.packets >= 3}
    assert {key[0] for key in counted} >= {Table.PORT, Table.SOURCE, Table.DESTINATION, Table.FLOW, Table.FORWARD}
    bridge.ofctl("add-flow", FOREIGN[0])
    bridge.ofctl("del-flows", "table=7,udp")
    other = await controllers.restart()
    after = await other.tables()
    assert after.keys() == before.keys()
    assert all(after[key].packets >= packets for key, packets in counted.items())
    kept = [key for key in before if not (key[0] == Table.RULE and ("ip_proto", 17, 255) in key[2])]
    assert all(after[key].age >= before[key].age for key in kept)


# adoption


async def test_a_new_controller_takes_over_the_flows_of_the_old_one_and_changes_nothing(
    controllers: Controllers,
) -> None:
    site = await (await controllers.start()).log_in()
    await site.open_flows()
    before = await site.bodies()
    known = {key: (flow.subject, flow.object, flow.rule) for key, flow in site.state.flows.by_key.items()}
    other = await controllers.restart()
    assert other.records.of("switch")[-1][:3] == ("reconciled", "s1", "0 changes")
    assert await other.bodies() == before
    assert {key: (flow.subject, flow.object, flow.rule) for key, flow in other.state.flows.by_key.items()} == known
    laptop = other.state.sessions.by_number[site.numbers[2]]
    assert laptop.opened == 3


async def test_a_connection_to_the_portal_is_taken_over_with_its_place(controllers: Controllers) -> None:
    site = await controllers.start()
    frame = LAPTOP.tcp(PORTAL, 42000, 8080)
    site.comes_up(LAPTOP, frame, 0, 0xFFFFFF, Reason.PORTAL)
    await site.channel.barrier()
    site.numbers = (0, 0, 0)
    key = next(iter(site.admin.portal_access._connections))
    wanted = site.admin.portal_access.locate(key)
    assert wanted is not None
    other = await controllers.restart()
    assert other.records.of("switch")[-1][2] == "0 changes"
    assert other.admin.portal_access.locate(key) == wanted


def flow_rules(found: dict[EntryKey, Any]) -> set[EntryKey]:
    return {key for key in found if key[0] == Table.FLOW and key[1] == Priority.FLOW_VERIFIED}


def between(keys: set[EntryKey], a: int, b: int) -> set[EntryKey]:
    wanted = {("metadata", parties(*pair), PARTIES_MASK) for pair in ((a, b), (b, a))}
    return {key for key in keys if wanted & {tuple(field) for field in key[2]}}


async def test_the_flows_of_a_session_that_has_ended_meanwhile_go(controllers: Controllers) -> None:
    site = await (await controllers.start()).log_in()
    await site.open_flows()
    web, db, laptop = site.numbers
    before = flow_rules(await site.bodies())
    site.store.end(db)
    other = await controllers.restart()
    found = await other.tables()
    assert flow_rules(found) == before - between(before, web, db) != before
    assert not any(entry.cookie >> 16 & 0xFFFFFF == db or entry.cookie >> 40 == db for entry in found.values())
    assert {flow.subject for flow in other.state.flows.by_key.values()} == {laptop}


async def test_the_flows_that_the_policy_no_longer_allows_go(controllers: Controllers) -> None:
    site = await (await controllers.start()).log_in()
    await site.open_flows()
    before = flow_rules(await site.bodies())
    other = await controllers.restart(STRICTER)
    after = flow_rules(await other.bodies())
    gone = before - after
    assert after < before
    assert {dict(field[:2] for field in key[2])["ip_proto"] for key in gone} == {17}
    assert len(gone) == 2
    assert len(other.state.flows) == 3


async def test_the_flows_of_a_session_that_has_lost_its_second_factor_go(controllers: Controllers) -> None:
    """Another class: the rule's registers no longer fit."""
    site = await (await controllers.start()).log_in()
    await site.open_flows()
    web, db, laptop = site.numbers
    before = flow_rules(await site.bodies())
    kept = site.store.saved[laptop]
    weaker = tuple(replace(proof, amr=("pwd",), aal=1, mfa_at=None) for proof in kept.proofs)
    site.store.save(replace(kept, principal=replace(kept.principal, mfa=False), proofs=weaker))
    other = await controllers.restart()
    assert flow_rules(await other.bodies()) == between(before, web, db)
    assert {flow.object for flow in other.state.flows.by_key.values()} == {db}


async def test_per_flow_rules_that_nobody_could_have_been_given_are_not_taken_over(
    controllers: Controllers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is right but for one thing; all of them go in one bundle."""
    site = await (await controllers.start()).log_in()
    await site.open_flows()
    before = await site.bodies()
    for wrong in forged(site):
        site.channel.install(wrong, notify=True, lease=0, idle=300)
    there, _ = legitimate(site)
    site.channel.install(replace(there, key=there.key._replace(sport=49999)), notify=False, lease=0, idle=300)
    await site.channel.barrier()
    assert len(await site.bodies()) == len(before) + len(forged(site)) + 1
    written = count_writes(site, monkeypatch)
    await site.reconcile()
    assert written == [("commit", len(forged(site)) + 1)]
    assert await site.bodies() == before
    assert len(site.state.flows) == 4


def legitimate(site: Site, sport: int = 40001) -> tuple[Verified, Verified]:
    web, _, laptop = site.numbers
    sessions = site.state.sessions.by_number
    key = next(key for key in site.state.flows.by_key if key.proto == 6 and key.dport == 443)
    rule = site.state.policy.rule_numbers["staff-web"]
    classes = sessions[laptop].session_class, sessions[web].session_class
    return both_directions(key._replace(sport=sport), laptop, web, *classes, rule)


def forged(site: Site) -> list[Verified]:
    """Per-flow rules for ports of their own, each wrong in one way."""
    web, db, laptop = site.numbers
    rules = site.state.policy.rule_numbers
    right = [legitimate(site, 50000 + number)[0] for number in range(8)]
    return [
        replace(right[0], sender_class=right[0].sender_class + 1),
        replace(right[1], receiver_class=right[1].receiver_class + 1),
        replace(right[2], key=right[2].key._replace(dport=22)),
        replace(right[3], cookie=right[3].cookie & ~0xFFFF | rules["web-db"]),
        replace(right[4], cookie=parties(999, web) | rules["staff-web"]),
        replace(right[5], sender=db),
        replace(right[6], cookie=parties(laptop, db) | rules["staff-web"]),
        replace(right[7], key=right[7].key._replace(src=bytes((10, 0, 0, 99)))),
    ]


async def test_a_flow_whose_rules_are_gone_goes_on_with_its_next_packet(
    bridge: Bridge, controllers: Controllers
) -> None:
    """Somebody has emptied the table; the controller reconnects and knows what was allowed."""
    site = await (await controllers.start()).log_in()
    await site.open_flows()
    before = flow_rules(await site.bodies())
    bridge.ofctl("del-flows", "table=3,tcp,metadata=0/0")
    await site.reconcile()
    web, _, laptop = site.numbers
    site.comes_up(WEB1, WEB1.tcp(LAPTOP, 443, 40000, ACK), web, laptop, Reason.RETURN)
    await site.channel.barrier()
    assert between(flow_rules(await site.bodies()), web, laptop) == between(before, web, laptop)


# meters


def meters(bridge: Bridge) -> dict[int, tuple[int, int]]:
    """The bridge's own word on its meters."""
    found, number = {}, 0
    for line in bridge.ofctl("dump-meters").replace("meter=", "\nmeter=").splitlines():
        words = dict(word.split("=") for word in line.replace("bands", "").split() if word.count("=") == 1)
        number = int(words.get("meter", number))
        if "rate" in words:
            found[number] = (int(words["rate"]), int(words["burst_size"]))
    return found


async def test_meters_are_as_intended_whatever_was_there_and_those_of_others_stay(
    bridge: Bridge, controllers: Controllers
) -> None:
    site = await controllers.start()
    wanted = site.point.meters(site.state.limits.meters)
    assert meters(bridge) == wanted
    assert len(wanted) == 2 + 5 * 6
    bridge.ofctl("add-meter", "meter=99,pktps,burst,bands=type=drop,rate=7,burst_size=7")
    bridge.ofctl("mod-meter", "meter=10,kbps,burst,bands=type=drop,rate=5000,burst_size=5000")
    bridge.ofctl("mod-meter", "meter=1,pktps,burst,bands=type=drop,rate=100000,burst_size=100000")
    bridge.ofctl("add-meter", "meter=77,kbps,burst,bands=type=drop,rate=5,burst_size=6")
    bridge.ofctl("del-meter", "meter=11")
    await site.reconcile()
    assert meters(bridge) == wanted | {77: (5, 6), 99: (7, 7)}
    assert "meter=10 pktps" in bridge.ofctl("dump-meters")
    assert await site.reconcile() == 0


async def test_the_drops_of_every_meter_are_read(controllers: Controllers) -> None:
    site = await controllers.start()
    drops = await site.channel.read_meter_drops()
    assert drops == dict.fromkeys(site.point.meters(site.state.limits.meters), 0)
