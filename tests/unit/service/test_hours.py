"""Rules that open and close while traffic flows: on time, in one bundle, and nothing else is touched."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.frames import ACK, FIN_ACK, Host
from fakes.records import MemoryStore
from fakes.site import ALICE, DB, ONE_SWITCH, TWO_SWITCHES, WEB, Site
from strategies.policy import NOW, policies
from zethane.audit.reason import SessionEvent
from zethane.net.flowkey import TCP, UDP
from zethane.pipeline.change import Add, Change, Remove
from zethane.pipeline.flow import Flow
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import FIN_IDLE, key_of
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.service import policy_review
from zethane.service.accounting import REMOVED_HARD
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.wanting import still_wanted

POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
  - id: day
    from: [staff]
    to: [web]
    services: [tcp/443, udp/443]
    when: {hours: "Mon-Fri 07:00-19:00 Europe/Berlin"}
  - {id: late, from: [staff], to: [web], services: [tcp/443], when: {hours: "Mon-Fri 18:00-22:00 Europe/Berlin"}}
  - {id: backup, from: [web], to: [db], services: [tcp/5432]}
  - id: no-backup
    from: [web]
    to: [db]
    services: [tcp/5432]
    action: deny
    when: {hours: "Mon-Sun 02:00-04:00 UTC"}
"""
ONLY_DAY = "".join(line for line in POLICY.splitlines(keepends=True) if "id: late" not in line)
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


MORNING = moment("2026-11-25T06:59:58+01:00")
OPENS, CLOSES = moment("2026-11-25T07:00+01:00"), moment("2026-11-25T19:00+01:00")


async def site_at(now: float, policy: str = ONLY_DAY, network: str = ONE_SWITCH, far: str = "s1") -> Site:
    site = await Site(network, policy, session_lifetime=1e6, reauthenticate_after=1e6).start()
    at(site, now)
    site.login(WEB1, WEB, far)
    site.login(DB1, DB, far)
    site.login(LAPTOP, ALICE)
    return site


def at(site: Site, now: float) -> None:
    """The clock shows this, and the controller has looked at it."""
    site.now = now
    site.admin.tick(now)


def per_flow(site: Site, switch: str = "s1") -> list[Flow]:
    entries = site.switches[switch].tables.values()
    return [flow for flow in entries if flow.table == Table.FLOW and flow.priority == Priority.FLOW_VERIFIED]


def passes(site: Site, sport: int = 40000, **what: Any) -> bool:
    """Whether the switch itself lets a packet of an established connection through."""
    site.s1.take()
    return bool(site.s1.send(4, LAPTOP.tcp(WEB1, sport, 443, ACK, **what)).ports)


async def test_a_rule_opens_and_closes_on_time_for_new_flows() -> None:
    site = await site_at(MORNING)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    assert site.records.reasons() == ["condition-not-met"]
    (what, _) = site.records.of("denied")[0]
    assert (what.rule, what.needs) == ("day", ("a time within Mon-Fri 07:00-19:00 Europe/Berlin",))
    at(site, OPENS)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443))
    assert len(site.records.of("allowed")) == 1
    at(site, CLOSES - 0.1)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40002, 443))
    assert len(site.records.of("allowed")) == 2
    at(site, CLOSES)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40003, 443))
    assert len(site.records.of("allowed")) == 2
    told = [(event, detail) for event, _, detail, _ in site.records.of("policy")]
    assert told[-2:] == [("opened", "day"), ("closed", "day")]


async def test_nobody_is_told_to_prove_what_time_it_is() -> None:
    site = await site_at(MORNING, ONLY_DAY.replace("when: {hours", "when: {mfa: {within: 15m}, hours"))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    (live,) = [live for live in site.state.sessions if live.session.principal.name == "alice"]
    assert still_wanted(site.state, live) == []
    at(site, OPENS + 3600)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443))
    (wanted,) = still_wanted(site.state, live)
    assert wanted.needs == ("a second factor not older than 15m",)
    at(site, CLOSES)
    assert still_wanted(site.state, live) == []


@pytest.mark.parametrize(("network", "far"), [(ONE_SWITCH, "s1"), (TWO_SWITCHES, "s2")])
async def test_what_closes_takes_its_flows_with_it_and_touches_nothing_else(network: str, far: str) -> None:
    site = await site_at(CLOSES - 600, network=network, far=far)
    for sport in range(40000, 40020):
        site.s1.send(4, LAPTOP.tcp(WEB1, sport, 443))
    site.switches[far].send(2, WEB1.tcp(DB1, 41000, 5432))
    bundles: dict[str, list[list[Change]]] = {name: [] for name in site.switches}
    for name, switch in site.switches.items():
        commit = switch.commit

        def kept(changes: Any, commit: Any = commit, name: str = name) -> Any:
            bundles[name].append(list(changes))
            return commit(changes)

        switch.commit = kept
    before = {name: dict(switch.tables) for name, switch in site.switches.items()}
    mods = {name: switch.flow_mods for name, switch in site.switches.items()}
    at(site, CLOSES)
    for name, switch in site.switches.items():
        (changes,) = bundles[name]
        assert not any(isinstance(change, Add) for change in changes)
        assert switch.flow_mods - mods[name] == len(changes), "and nothing beside it"
        gone = set(before[name]) - set(switch.tables)
        assert {flow.source for key, flow in before[name].items() if key in gone and flow.source} == {"day"}
        removed = [change for change in changes if isinstance(change, Remove)]
        assert {change.table for change in removed} == {Table.RULE}
        assert len(changes) == len(removed) + 1, "one removal takes all flows of the rule"
    assert [flow.key.dport for flow in site.state.flows.by_key.values()] == [5432]
    assert not passes(site)
    assert site.switches[far].send(2, WEB1.tcp(DB1, 41000, 5432, ACK)).ports == [3]
    assert {arguments[2] for arguments in site.records.of("flow_ended")} == {"policy-changed"}
    await site.settle()


async def test_no_session_is_written_again_at_a_boundary() -> None:
    """Who may have to do with whom is the same at any hour: bindings are at the switches before a rule opens."""
    site = await site_at(MORNING, network=TWO_SWITCHES, far="s2")
    sessions = {
        name: {flow.key for flow in switch.tables.values() if flow.source.startswith("session")}
        for name, switch in site.switches.items()
    }
    changes = {name: switch.flow_mods for name, switch in site.switches.items()}
    at(site, OPENS)
    for name, switch in site.switches.items():
        assert {flow.key for flow in switch.tables.values() if flow.source.startswith("session")} == sessions[name]
        assert switch.flow_mods - changes[name] == len([f for f in switch.tables.values() if f.source == "day"])
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK)).ports == [9]


async def test_a_flow_that_another_open_rule_allows_goes_on_without_a_packet_to_the_controller() -> None:
    site = await site_at(OPENS, POLICY)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.send(4, LAPTOP.udp(WEB1, 5000, 443))
    (tcp, udp) = (flow for flow in site.state.flows.by_key.values())
    at(site, moment("2026-11-25T18:30+01:00"))
    assert site.state.policy.rule_ids[tcp.rule] == "day"
    packet_ins = site.state.counters["packet_ins"]
    at(site, CLOSES)
    assert passes(site)
    assert site.state.counters["packet_ins"] == packet_ins
    assert list(site.state.flows.by_key.values()) == [tcp]
    assert site.state.policy.rule_ids[tcp.rule] == "late"
    assert {flow.hard_timeout for flow in per_flow(site)} == {3 * 3600}
    assert [arguments[0] for arguments in site.records.of("flow_ended")] == [udp]
    assert tcp.packets == 2, "the one that opened it, and one that the old rule has counted"
    at(site, moment("2026-11-25T22:00+01:00"))
    assert not passes(site)
    assert len(site.state.flows) == 0


async def test_more_flows_than_can_be_written_at_once_come_back_with_their_next_packets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policy_review, "MAX_CARRIED", 1)
    site = await site_at(OPENS, POLICY)
    for sport in (40000, 40001):
        site.s1.send(4, LAPTOP.tcp(WEB1, sport, 443))
    at(site, CLOSES)
    assert len(site.state.flows) == 1
    for sport in (40000, 40001):
        site.s1.send(4, LAPTOP.tcp(WEB1, sport, 443, ACK))
    assert len(site.state.flows) == 2
    assert passes(site, 40001)


async def test_a_deny_that_opens_stops_flows_of_other_rules_and_lets_them_in_again_when_it_closes() -> None:
    begins, ends = moment("2026-11-26T02:00+00:00"), moment("2026-11-26T04:00+00:00")
    site = await site_at(begins - 3600)
    site.s1.send(2, WEB1.tcp(DB1, 41000, 5432))
    assert {flow.hard_timeout for flow in per_flow(site)} == {3600}
    at(site, begins)
    assert site.s1.send(2, WEB1.tcp(DB1, 41000, 5432, ACK)).ports == []
    site.s1.send(2, WEB1.tcp(DB1, 41001, 5432))
    assert site.records.reasons()[-1] == "deny-rule"
    at(site, ends)
    site.s1.send(2, WEB1.tcp(DB1, 41002, 5432))
    assert len(site.state.flows) == 1


async def test_a_deny_with_an_expression_that_opens_after_a_jump_of_the_clock_ends_flows_of_other_rules() -> None:
    """Its entry only asks the controller: what is there already has to be held against it all the same."""
    barred = '  action: deny\n    when: {cel: "subject.kind == object.kind", hours: "Mon-Sun 02:00-04:00 UTC"}\n'
    policy = re.sub(r"  action: deny\n    when: .*UTC\"}\n", barred, ONLY_DAY)
    begins = moment("2026-11-26T02:00+00:00")
    site = await site_at(begins - 3600, policy)
    site.s1.send(2, WEB1.tcp(DB1, 41000, 5432))
    assert {flow.hard_timeout for flow in per_flow(site)} == {3600}
    at(site, begins + 60)  # the switch has counted a moment of it
    assert site.s1.send(2, WEB1.tcp(DB1, 41000, 5432, ACK)).ports == []
    assert len(site.state.flows) == 0


async def test_what_looks_at_the_clock_is_asked_again_when_the_clock_has_jumped() -> None:
    """The switches count leases from when they were written, whatever the controller's clock shows since."""
    policy = ONLY_DAY.replace(
        'when: {hours: "Mon-Fri 07:00-19:00 Europe/Berlin"}', "when: {cel: \"time.now.getHours('Europe/Berlin') < 19\"}"
    )
    site = await site_at(CLOSES - 7200, policy)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.send(2, WEB1.tcp(DB1, 41000, 5432))
    before = list(site.state.flows.by_key.values())
    at(site, CLOSES - 7199.9)
    assert list(site.state.flows.by_key.values()) == before
    at(site, CLOSES + 60)
    assert not passes(site)
    assert list(site.state.flows.by_key.values()) == before[1:]
    (closes,) = {flow.hard_timeout for flow in per_flow(site)}
    assert site.now + closes == pytest.approx(moment("2026-11-26T02:00+00:00"), abs=1)
    at(site, CLOSES - 7200)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443))
    assert passes(site, 40001)
    at(site, moment("2026-11-24T23:30+01:00"))
    assert not passes(site, 40001)


# leases: what holds with the controller away


async def test_the_switch_ends_a_flow_by_itself_when_its_rule_closes() -> None:
    site = await site_at(CLOSES - 100.5, network=TWO_SWITCHES, far="s2")
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    for switch in ("s1", "s2"):
        assert [flow.hard_timeout for flow in per_flow(site, switch)] == [100, 100]
    site.switches["s2"].send(2, WEB1.tcp(DB1, 41000, 5432))
    deny_opens = moment("2026-11-26T02:00+00:00") - site.now
    assert {flow.hard_timeout for flow in per_flow(site, "s2")} == {100, int(deny_opens)}


async def test_without_hours_no_flow_has_a_lease() -> None:
    site = await Site().start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    assert {flow.hard_timeout for flow in per_flow(site)} == {0}
    assert site.state.policy.as_of(site.now + 1e9) is site.state.policy


async def test_a_lease_is_no_longer_than_a_switch_can_count_and_the_flow_goes_on_after_it() -> None:
    weekend = ONLY_DAY.replace("Mon-Fri 07:00-19:00 Europe/Berlin", "Mon-Fri 00:00-24:00 UTC")
    site = await site_at(moment("2026-11-23T12:00+00:00"), weekend)
    site.s1.send(4, LAPTOP.udp(WEB1, 5000, 443))
    rules = per_flow(site)
    assert {flow.hard_timeout for flow in rules} == {65535}
    site.now += 65535
    for flow in rules:
        site.s1.expire(flow, REMOVED_HARD)
    assert site.records.of("flow_ended") == []
    assert len(per_flow(site)) == 2
    assert site.s1.send(2, WEB1.udp(LAPTOP, 443, 5000)).ports == [4], "without a question to the controller"
    (flow,) = site.state.flows.by_key.values()
    assert (flow.packets, flow.return_packets) == (2, 1)


@pytest.mark.parametrize("proto", [TCP, UDP])
async def test_a_flow_whose_time_was_over_has_ended_where_its_rule_has_closed(proto: int) -> None:
    site = await site_at(CLOSES - 10)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443) if proto == TCP else LAPTOP.udp(WEB1, 40000, 443))
    site.now = CLOSES  # the controller has not looked at its clock yet
    for flow in per_flow(site):
        site.s1.expire(flow, REMOVED_HARD)
    (ended,) = site.records.of("flow_ended")
    assert ended[2] == "lease-ended"
    assert per_flow(site) == []


async def test_a_flow_that_has_finished_is_not_taken_up_again() -> None:
    site = await site_at(CLOSES - 10)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    for flow in per_flow(site):
        fields = {name: getattr(flow, name) for name in Flow.__dataclass_fields__} | {"idle_timeout": FIN_IDLE}
        site.s1.tables[flow.key] = Flow(**fields)
        site.s1.expire(site.s1.tables[flow.key], REMOVED_HARD)
    (ended,) = site.records.of("flow_ended")
    assert ended[2] == "finished"
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, FIN_ACK)).ports == []


async def test_a_packet_after_the_end_of_a_window_is_denied_before_the_controller_has_looked_at_its_clock() -> None:
    site = await site_at(CLOSES - 10)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    for flow in per_flow(site):
        site.s1.tables.pop(flow.key)
    site.now = CLOSES
    site.s1.take()
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443))
    assert site.s1.take() == []
    assert site.records.reasons()[-2] == "no-longer-allowed"
    assert len(site.records.of("allowed")) == 1


async def test_in_the_last_second_of_a_window_a_flow_gets_a_second() -> None:
    """A timeout of 0 would be none at all."""
    site = await site_at(CLOSES - 0.5)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    assert {flow.hard_timeout for flow in per_flow(site)} == {1}
    at(site, CLOSES)
    assert per_flow(site) == []


# clocks that jump, policies that change, controllers that restart


async def test_a_clock_that_jumps_is_noticed_in_both_directions() -> None:
    site = await site_at(OPENS + 3600)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    at(site, CLOSES + 40 * 3600 + 1)  # Friday, noon: open again, and nothing has happened
    assert passes(site)
    at(site, CLOSES + 60)
    assert not passes(site)
    at(site, OPENS + 60)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443))
    assert passes(site, 40001)


async def test_a_policy_with_other_hours_takes_flows_back_whose_leases_are_too_long() -> None:
    site = await site_at(CLOSES - 7200)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.send(2, WEB1.tcp(DB1, 41000, 5432))
    await site.use_policy(ONLY_DAY.replace("19:00", "18:00"))
    assert [flow.key.dport for flow in site.state.flows.by_key.values()] == [5432]
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK))
    assert passes(site)
    assert {flow.hard_timeout for flow in per_flow(site) if key_of(flow.match).dport != 5432} >= {3600}  # type: ignore[union-attr]
    await site.use_policy(ONLY_DAY.replace("19:00", "17:00"))
    assert not passes(site)


async def test_a_longer_window_touches_no_flow() -> None:
    site = await site_at(CLOSES - 100)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    before = dict(site.s1.tables)
    await site.use_policy(ONLY_DAY.replace("19:00", "20:00"))
    assert site.s1.tables == before
    site.now += 99
    for flow in per_flow(site):
        site.s1.expire(flow, REMOVED_HARD)
    at(site, CLOSES + 1)
    assert passes(site)
    assert {flow.hard_timeout for flow in per_flow(site)} == {3601}


async def test_a_restart_keeps_flows_with_leases_and_removes_what_would_outlive_its_window() -> None:
    site = await site_at(CLOSES - 100)
    for sport in (40000, 40001, 40002):
        site.s1.send(4, LAPTOP.tcp(WEB1, sport, 443))
    for flow in per_flow(site):
        key = key_of(flow.match)
        assert key is not None
        longer = {40001: 0, 40002: 200}.get(key.sport if key.sport >= 40000 else key.dport)
        if longer is not None:
            fields = {name: getattr(flow, name) for name in Flow.__dataclass_fields__} | {"hard_timeout": longer}
            site.s1.tables[flow.key] = Flow(**fields)
    again = Site(policy=ONLY_DAY, store=site.store)
    at(again, site.now + 50)
    again.s1.tables, again.s1.added = dict(site.s1.tables), dict(site.s1.added)
    await again.start()
    assert {flow.key.sport for flow in again.state.flows.by_key.values()} == {40000}
    (flow,) = again.state.flows.by_key.values()
    assert flow.ends == CLOSES
    assert passes(again)
    again.now += 10
    assert await again.admin.attestation.attest(again.admin.state.fabric.points[again.s1.dpid]) == 0
    at(again, CLOSES)
    assert not passes(again)


async def test_a_restart_out_of_hours_lets_nothing_through() -> None:
    site = await site_at(CLOSES - 100)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    again = Site(policy=ONLY_DAY, store=site.store)
    again.now = CLOSES + 1
    again.admin.tick(again.now)
    again.s1.tables = dict(site.s1.tables)
    await again.start()
    assert per_flow(again) == []
    assert [flow for flow in again.s1.tables.values() if flow.source == "day"] == []
    assert len(again.state.flows) == 0


async def test_attestation_finds_a_rule_whose_lease_somebody_has_changed() -> None:
    site = await site_at(CLOSES - 1000)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    point = site.state.fabric.points[site.s1.dpid]
    site.now += 10
    assert await site.admin.attestation.attest(point) == 0
    rule = per_flow(site)[0]
    for hard in (0, 1000):
        fields = {name: getattr(rule, name) for name in Flow.__dataclass_fields__} | {"hard_timeout": hard}
        site.s1.tables[rule.key] = Flow(**fields)
        site.s1.added[rule.key] = site.now
        assert await site.admin.attestation.attest(point) == 1
        assert site.s1.tables[rule.key].hard_timeout == 990


async def test_a_session_that_changes_keeps_the_leases_of_its_flows() -> None:
    policy = ONLY_DAY + "  - {id: other, from: [staff], to: [web], services: [tcp/22], when: {mfa: true}}\n"
    site = await site_at(CLOSES - 1000, policy)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.now += 10
    session = site.login(LAPTOP, ALICE.__class__("user", "alice", ALICE.groups))
    assert passes(site)
    assert {flow.hard_timeout for flow in per_flow(site)} == {990}
    site.admin.end_session(session.number, SessionEvent.LOGOUT)
    assert per_flow(site) == []


# whatever the policy


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies(4), st.lists(st.sampled_from((0, 13, 21, 3600, 20000, 50000, 86400, 200000)), min_size=1, max_size=4))
def test_a_policy_that_time_has_passed_for_is_the_one_that_is_read_then(policy: Policy, waits: list[int]) -> None:
    """Its entries, what is sent of them at each boundary, and its verdicts; for a clock that goes back as well."""
    store = MemoryStore()
    moments = [NOW + sum(waits[: index + 1]) for index in range(len(waits))]
    in_force = PolicyInForce(policy, store, NOW)
    for moment in (*moments, NOW):
        before, in_force = in_force, in_force.as_of(moment)
        fresh = PolicyInForce(policy, store, moment)
        assert in_force.entries == fresh.entries
        removed, added = before.difference(in_force)
        held = {key: flow for key, flow in before.entries.items() if key not in removed}
        assert len(held) == len(before.entries) - len(removed)
        assert not held.keys() & {flow.key for flow in added}
        assert held | {flow.key: flow for flow in added} == in_force.entries
        assert in_force.since <= moment < in_force.until
        for one in in_force.classes.classes:
            for other in in_force.classes.at(in_force.classes.peers(one)):
                for flow in ((TCP, 443), (UDP, 53)):
                    mine, now = in_force.verdict(one, other, *flow), fresh.verdict(one, other, *flow)
                    assert mine._replace(until=0) == now._replace(until=0)
                    # One that looked days ago has not looked as far ahead.
                    assert mine.until == now.until or moment < in_force.until <= mine.until < now.until


def test_a_clock_that_goes_back_finds_windows_that_ended_before_anybody_looked() -> None:
    """On Wednesday those of Monday are known that began on Monday, and not the one of Sunday night."""
    before, _, _ = POLICY.partition("  - id: day")
    rules = """
  - {id: early, from: [staff], to: [web], services: [tcp/443], when: {hours: "Mon 04:00-05:00 UTC"}}
  - {id: night, from: [staff], to: [web], services: [tcp/22], when: {hours: "Sun 23:00-07:00 UTC"}}
"""
    policy, store = parse_policy(before + rules, "policy.yaml"), MemoryStore()
    monday, wednesday = moment("2026-11-23T06:00+00:00"), moment("2026-11-25T06:00+00:00")
    then = PolicyInForce(policy, store, wednesday).as_of(monday)
    fresh = PolicyInForce(policy, store, monday)
    assert then.compiled.closed == fresh.compiled.closed == {"early"}
    assert then.entries == fresh.entries
