"""What two policies differ in is written while the first is in force; whatever comes in between, all is right then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from weakref import ref

import pytest

from fakes.frames import ACK, Host
from fakes.site import ALICE, DB, POLICY, TWO_SWITCHES, WEB, Site
from fakes.switch import FakeBundle, FakeSwitch
from zethane.audit.reason import SessionEvent
from zethane.errors import CapacityError, ChannelError
from zethane.pipeline.change import Add, Change, RemoveMatching
from zethane.pipeline.tables import Table
from zethane.policy.load import parse_policy
from zethane.policy.principal import Principal
from zethane.service import preparation
from zethane.service.intent import intended

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


def large(first: int, text: str = POLICY, rules: int = 100) -> str:
    """The policy with many rules more."""
    more = (
        f"  - {{id: more{number}, from: [web], to: [db], services: [tcp/{number}]}}\n"
        for number in range(first, first + rules)
    )
    return text + "".join(more)


def timed(first: int) -> str:
    """One with a rule that closes a little after the site's time."""
    rule = '  - {id: hour, from: [db], to: [web], services: [tcp/9], when: {hours: "Mon-Sun 00:00-00:30 UTC"}}\n'
    return large(first, POLICY + rule)


async def site_with(policy: str = POLICY) -> Site:
    """Sessions at both ends, and a live flow of staff to web."""
    site = await Site(TWO_SWITCHES, policy).start()
    site.login(WEB1, WEB, "s2")
    site.login(DB1, DB)
    site.login(LAPTOP, ALICE)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    return site


def right(site: Site) -> None:
    """Every switch holds what it should, and no bundle is open."""
    for name, switch in site.switches.items():
        assert not switch.open_bundles, name
        held = {key: flow for key, flow in switch.tables.items() if key[0] != Table.FLOW or flow.priority != 200}
        wanted = intended(site.state, site.state.fabric.points[switch.dpid])
        assert held.keys() == wanted.keys(), name
        assert all(held[key].body == flow.body for key, flow in wanted.items()), name


async def prepare(site: Site, text: str) -> asyncio.Task[None]:
    """Begin to put a policy in force, up to the middle of what is prepared."""
    task = asyncio.get_running_loop().create_task(site.use_policy(text))
    while not (site.s1.open_bundles and site.s1.open_bundles[0].size > preparation.PIECE):
        assert not task.done()
        await asyncio.sleep(0)
    return task


def rules(switch: FakeSwitch) -> set[str]:
    return {flow.source for flow in switch.tables.values() if flow.table == Table.RULE}


async def test_nothing_takes_effect_before_all_does() -> None:
    site = await site_with()
    before = {name: dict(switch.tables) for name, switch in site.switches.items()}
    old = site.state.policy
    task = await prepare(site, large(1000))
    assert {name: switch.tables for name, switch in site.switches.items()} == before
    assert site.state.policy is old
    await task
    right(site)
    assert "more1099" in rules(site.switches["s3"])


async def test_what_goes_into_a_bundle_comes_in_order_and_removals_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    site = await site_with(large(1000))
    committed: list[Sequence[Change]] = []
    commit = FakeSwitch.commit

    def noted(switch: FakeSwitch, changes: Sequence[Change]) -> object:
        committed.append(list(changes))
        return commit(switch, changes)

    monkeypatch.setattr(FakeSwitch, "commit", noted)
    await site.use_policy(large(2000).replace("  - {id: staff-web", "  - {id: staff-other"))
    assert len(committed) == 3
    for changes in committed:
        about_rules = [change for change in changes if not isinstance(change, RemoveMatching)]
        kinds = [isinstance(change, Add) for change in about_rules]
        assert kinds == sorted(kinds)
        taken_back = [place for place, change in enumerate(changes) if isinstance(change, RemoveMatching)]
        assert taken_back
        assert all(change.table != Table.RULE for change in changes if isinstance(change, RemoveMatching))
    right(site)
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK)).ports == []


async def test_few_changes_are_written_in_one_step() -> None:
    site = await site_with()
    opened: list[FakeBundle] = []
    for switch in site.switches.values():
        switch.open_bundles = opened
    task = asyncio.get_running_loop().create_task(site.use_policy(large(1000, rules=3)))
    while not task.done():
        assert not opened
        await asyncio.sleep(0)
    right(site)


async def test_sessions_and_flows_that_come_and_go_meanwhile() -> None:
    site = await site_with()
    task = await prepare(site, large(1000).replace("[tcp/443, udp/443]", "[udp/443]"))
    bob = Host(5, "02:00:00:00:00:22", "10.0.0.22")
    site.login(bob, Principal("user", "carol", frozenset({"staff"}), mfa=True), "s3")
    site.switches["s3"].send(5, bob.tcp(WEB1, 40001, 443))
    (db,) = (live for live in site.state.sessions if live.session.principal.name == DB.name)
    site.admin.end_session(db.session.number, SessionEvent.LOGOUT)
    await task
    right(site)
    assert not len(site.state.flows)
    assert site.switches["s3"].send(5, bob.tcp(WEB1, 40001, 443, ACK)).ports == []
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK)).ports == []


async def test_another_policy_comes_first() -> None:
    site = await site_with()
    task = await prepare(site, large(1000))
    await site.use_policy(POLICY.replace("id: ping", "id: echo"))
    await task
    right(site)
    assert {"more1000", "ping"} <= rules(site.s1)
    assert not {"echo"} & rules(site.s1)


async def test_two_large_policies_at_once() -> None:
    site = await site_with()
    await asyncio.gather(*(site.use_policy(large(first)) for first in (1000, 1050, 3000)))
    right(site)
    numbers = site.state.policy.rule_numbers
    assert len(set(numbers.values())) == len(numbers)
    assert dict(site.store.kept["rule"]).items() >= dict(numbers).items()


async def test_the_hour_changes_meanwhile() -> None:
    site = await site_with(timed(1000))
    task = await prepare(site, timed(2000))
    site.now += 3600
    site.admin.tick(site.now)
    await task
    await site.settle()
    right(site)
    assert "hour" not in rules(site.s1)


async def test_the_new_policy_has_another_hour_when_it_is_prepared() -> None:
    site = await site_with()
    task = await prepare(site, timed(2000))
    site.now += 3600
    await task
    right(site)
    assert "hour" not in rules(site.s1)


@pytest.mark.parametrize("comes_back", [False, True])
async def test_a_switch_goes_meanwhile(comes_back: bool) -> None:
    site = await site_with()
    task = await prepare(site, large(1000))
    switch = site.switches["s3"]
    switch.close("gone")
    if comes_back:
        assert switch.connect()
    await task
    await site.settle()
    if not comes_back:
        assert "more1000" not in rules(switch)
        assert switch.connect()
        await site.settle()
    right(site)


async def test_a_switch_that_has_just_come_is_made_right() -> None:
    site = Site(TWO_SWITCHES)
    site.admin.restore([])
    for name in ("s1", "s2"):
        assert site.switches[name].connect()
    await site.settle()
    task = await prepare(site, large(1000))
    assert site.switches["s3"].connect()
    await task
    await site.settle()
    right(site)


async def test_a_switch_that_has_refused_is_written_to_in_one_step() -> None:
    site = await site_with()
    task = await prepare(site, large(1000))
    site.switches["s3"].open_bundles[0].is_refused = True
    await task
    right(site)


async def test_a_switch_that_refuses_at_the_end_is_started_over_with(monkeypatch: pytest.MonkeyPatch) -> None:
    site = await site_with()
    task = await prepare(site, large(1000))

    async def refused(_: FakeBundle) -> None:
        raise ChannelError("no room")

    switch = site.switches["s3"]
    with monkeypatch.context() as patch:
        patch.setattr(switch.open_bundles[0].__class__, "commit", _only(switch, refused))
        await task
    assert switch.closed is not None
    switch.open_bundles.clear()  # they went with the connection
    assert switch.connect()
    await site.settle()
    right(site)


def _only(switch: FakeSwitch, instead: Callable[[FakeBundle], object]) -> Callable[[FakeBundle], object]:
    commit = FakeBundle.commit
    return lambda bundle: instead(bundle) if bundle._switch is switch else commit(bundle)


async def test_a_switch_that_stays_busy_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "PATIENCE", 3)
    monkeypatch.setattr(preparation, "LOOK_AGAIN", 0.0)
    site = await site_with()
    site.switches["s2"].is_busy = True
    task = await prepare(site, large(1000))
    assert not site.switches["s2"].open_bundles
    await task
    right(site)


async def test_a_store_that_cannot_keep_its_numbers_leaves_everything_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = await site_with()
    old = site.state.policy
    task = await prepare(site, large(1000))

    def full(*_: object) -> None:
        raise CapacityError("no room")

    monkeypatch.setattr(site.store, "keep_numbers", full)
    with pytest.raises(CapacityError):
        await task
    assert site.state.policy is old
    right(site)


async def test_when_it_is_given_up_nothing_is_left() -> None:
    site = await site_with()
    task = await prepare(site, large(1000))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    right(site)
    assert site.state.policy.policy.rules == parse_policy(POLICY, "policy.yaml").rules


async def test_what_a_large_policy_was_made_of_goes_little_by_little_when_nobody_holds_it() -> None:
    site = await site_with()
    await site.use_policy(large(1000))
    before = ref(site.state.policy)
    await site.use_policy(POLICY)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert before() is None
    assert not preparation._going
