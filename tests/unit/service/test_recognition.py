"""Entries that were right before are not compared again; what is another one, by however little, is found as before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.frames import Host
from fakes.site import ALICE, POLICY, Site
from zethane.pipeline.change import Add, Installed
from zethane.pipeline.flow import EntryKey, Flow, Output, match
from zethane.pipeline.held import session_of
from zethane.pipeline.tables import Priority, Table
from zethane.service.comparison import Comparison, Finding, Leases
from zethane.service.points import Point
from zethane.service.recognition import Recognition

LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


def point(site: Site) -> Point:
    return site.state.fabric.points[site.s1.dpid]


async def attest(site: Site) -> int:
    return await site.admin.attestation.attest(point(site))


async def known() -> Site:
    """A site whose switch has been found right."""
    site = await Site().start()
    site.login(LAPTOP, ALICE)
    assert [await attest(site) for _ in range(2)] == [0, 0]
    return site


def common(site: Site) -> list[Flow]:
    """The entries of a switch that are about no session and no flow."""
    return [
        flow
        for flow in site.s1.tables.values()
        if not session_of(flow.table, flow.cookie)
        and (flow.table, flow.priority) != (Table.FLOW, Priority.FLOW_VERIFIED)
    ]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[EntryKey]:
    """The intended entries that were looked for in full."""
    found: list[EntryKey] = []
    real = Comparison.hold

    def hold(self: Comparison, intended: Flow, leases: Leases) -> Finding | None:
        found.append(intended.key)
        return real(self, intended, leases)

    monkeypatch.setattr(Comparison, "hold", hold)
    return found


async def test_what_was_right_and_is_said_again_is_not_compared(compared: list[EntryKey]) -> None:
    site = await known()
    assert len(compared) >= len(common(site)) > 50
    compared.clear()
    for _ in range(3):
        site.now += 30
        assert await attest(site) == 0
    assert compared == []


async def test_only_what_is_another_one_is_compared(compared: list[EntryKey]) -> None:
    site = await known()
    altered = next(flow for flow in common(site) if flow.table == Table.RULE)
    site.s1.tables[altered.key] = replace(altered, cookie=altered.cookie ^ 1)
    compared.clear()
    assert await attest(site) == 1
    assert compared == [altered.key]
    assert await attest(site) == 0
    assert compared == [altered.key, altered.key]
    assert await attest(site) == 0
    assert len(compared) == 2


CHANGES: dict[str, dict[str, object]] = {
    "cookie": {"cookie": 0xFFFF},
    "idle": {"idle_timeout": 9},
    "hard": {"hard_timeout": 900},
    "notify": {"notify_removed": True},
    "drop": {"actions": (), "goto": None, "metadata": None, "meter": None},
}


def tampered(flow: Flow, change: str) -> Flow | None:
    """The entry with something else in it; None for what its table does not allow, or what is no change."""
    fields = {name: getattr(flow, name) for name in Flow.__dataclass_fields__}
    try:
        found = Flow(**(fields | CHANGES[change]))  # type: ignore[arg-type]  # one of each
    except ValueError:
        return None
    return None if found == flow else found


@settings(max_examples=25, deadline=None)
@given(st.data())
async def test_whatever_is_done_to_known_entries_is_found_and_put_right(data: st.DataObject) -> None:
    site = await known()
    before = dict(site.s1.tables)
    for _ in range(2):
        chosen = data.draw(st.lists(st.sampled_from(common(site)), max_size=6, unique_by=lambda flow: flow.key))
        wrong = 0
        for flow in chosen:
            change = data.draw(st.sampled_from(["gone", "more", *CHANGES]))
            other = None if change in ("gone", "more") else tampered(flow, change)
            if change == "gone":
                del site.s1.tables[flow.key]
            elif change == "more":
                key = (flow.table, flow.priority + 7, flow.match)
                if key in site.s1.tables:
                    continue
                site.s1.tables[key] = replace(flow, priority=flow.priority + 7)
            elif other is not None:
                site.s1.tables[flow.key] = other
            else:
                continue
            wrong += 1
        assert await attest(site) == wrong
        assert site.s1.tables == before


async def test_a_known_entry_that_is_intended_no_longer_is_foreign() -> None:
    site = await known()
    before = dict(site.s1.tables)
    gone = [flow for flow in common(site) if flow.table == Table.RULE]
    await site.use_policy(POLICY.replace("tcp/443, udp/443", "tcp/443"))
    assert await attest(site) == 0
    old = [flow for flow in gone if flow.key not in site.s1.tables]
    assert old
    now = dict(site.s1.tables)
    site.s1.apply([Add(flow) for flow in old])
    assert await attest(site) == len(old)
    assert site.s1.tables == now != before


async def test_an_entry_that_only_looks_right_in_a_piece_is_not_learned() -> None:
    """A pass that does not read per-flow rules says nothing of the entries that are among them."""
    site = await known()
    flow = next(flow for flow in common(site) if flow.table == Table.FLOW)
    site.admin.attestation.in_pieces = lambda _: True  # type: ignore[method-assign]
    site.s1.tables[flow.key] = replace(flow, cookie=flow.cookie ^ 1)
    assert await attest(site) == 0
    del site.admin.attestation.in_pieces  # type: ignore[method-assign]
    assert await attest(site) == 1
    assert site.s1.tables[flow.key] == flow


def _entry(number: int, *, says: int | None = None) -> tuple[Installed, Flow]:
    flow = Flow(Table.FORWARD, 9, match(reg2=number), 7, actions=(Output(3),))
    said = number if says is None else says
    return Installed(flow.table, 9, flow.match, flow, 1.0, 0, 0, 7, says=said), flow


def test_there_is_room_for_so_many_entries_of_all_switches() -> None:
    recognition = Recognition(most=3)
    pairs = [_entry(number) for number in range(1, 5)]
    for switch, number in ((1, 2), (2, 2), (3, 1)):
        one = recognition.begin(switch)
        for entry, flow in pairs[:number]:
            one.learn(entry, flow)
        recognition.keep(switch, one)
    assert [recognition.begin(switch).has(pairs[0][0]) for switch in (1, 2, 3)] == [True, False, True]
    recognition.keep(1, recognition.begin(1))
    again = recognition.begin(2)
    again.learn(*pairs[0])
    recognition.keep(2, again)
    assert [recognition.begin(switch).has(pairs[0][0]) for switch in (1, 2, 3)] == [False, True, True]


def test_what_has_no_number_or_a_lease_is_not_learned() -> None:
    recognition = Recognition()
    one = recognition.begin(1)
    entry, flow = _entry(1, says=0)
    one.learn(entry, flow)
    one.learn(_entry(1)[0], replace(flow, hard_timeout=60))
    recognition.keep(1, one)
    assert not recognition.begin(1).has(entry)
    assert not recognition.begin(1).has(_entry(1)[0])


def test_another_object_claims_nothing_also_if_it_intends_the_same() -> None:
    recognition = Recognition()
    entry, flow = _entry(1)
    one = recognition.begin(1)
    one.learn(entry, flow)
    recognition.keep(1, one)
    again = recognition.begin(1)
    assert again.has(entry)
    assert not again.claim(replace(flow))
    assert list(again.unclaimed()) == [entry]
    assert again.claim(flow)
    assert not again.claim(flow)
    assert list(again.unclaimed()) == []
