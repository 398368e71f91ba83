"""A policy that changes while traffic flows: what goes, what stays, and how many messages it takes."""

from __future__ import annotations

from dataclasses import replace

from fakes.frames import ACK, Host
from fakes.site import ALICE, DB, POLICY, WEB, Site
from zethane.pipeline.flow import EntryKey, Flow
from zethane.pipeline.tables import Table

NO_TCP = "  - {id: no-tcp, from: [staff], to: [web], services: [tcp/443], action: deny}\n"

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


async def busy_site(connections: int = 20) -> Site:
    """A site with live flows: some of staff to web over TCP, one over UDP, one of web to db."""
    site = await Site().start()
    site.login(WEB1, WEB)
    site.login(DB1, DB)
    site.login(LAPTOP, ALICE)
    for sport in range(40000, 40000 + connections):
        site.s1.send(4, LAPTOP.tcp(WEB1, sport, 443))
    site.s1.send(4, LAPTOP.udp(WEB1, 5000, 443))
    site.s1.send(2, WEB1.tcp(DB1, 41000, 5432))
    site.s1.take()
    return site


def verified(site: Site) -> int:
    """Per-flow rules in the switch."""
    return sum(flow.table == Table.FLOW and flow.priority == 200 for flow in site.s1.tables.values())


async def test_a_rule_that_goes_takes_its_flows_with_it_in_one_message_and_leaves_the_others() -> None:
    site = await busy_site()
    without = "\n".join(line for line in POLICY.splitlines() if "staff-web" not in line)
    await site.use_policy(without)
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK)).ports == []
    assert site.s1.send(2, WEB1.tcp(LAPTOP, 443, 40000, ACK)).ports == []
    assert site.s1.send(2, WEB1.tcp(DB1, 41000, 5432, ACK)).ports == [3]
    assert verified(site) == 2
    assert len(site.state.flows) == 1
    ended = site.records.of("flow_ended")
    assert len(ended) == 21
    assert {arguments[2] for arguments in ended} == {"policy-changed"}


async def test_a_deny_that_enters_cuts_exactly_the_flows_that_it_names() -> None:
    site = await busy_site()
    await site.use_policy(POLICY + NO_TCP)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK))
    site.s1.send(4, LAPTOP.tcp(WEB1, 49999, 443))
    assert site.s1.take() == []
    assert site.s1.send(4, LAPTOP.udp(WEB1, 5000, 443)).ports == [2]
    assert len(site.state.flows) == 2


async def test_the_messages_of_a_change_do_not_grow_with_the_flows_that_it_cuts() -> None:
    sent = []
    for connections in (1, 100):
        site = await busy_site(connections)
        before = site.s1.flow_mods
        await site.use_policy(POLICY + NO_TCP)
        assert len(site.records.of("flow_ended")) == connections
        sent.append(site.s1.flow_mods - before)
    assert sent[0] == sent[1]


async def test_an_unrelated_change_touches_no_binding_no_flow_and_no_meaning_of_another_rule() -> None:
    site = await busy_site()
    before = dict(site.s1.tables)
    await site.use_policy(POLICY + "  - {id: db-web, from: [db], to: [web], services: [tcp/9000]}\n")

    def others(tables: dict[EntryKey, Flow]) -> set[tuple[object, ...]]:
        return {(flow.match, flow.body) for flow in tables.values() if "db-web" not in flow.source}

    changed = {key for key, flow in site.s1.tables.items() if before.get(key) != flow}
    assert {table for table, _, _ in changed} == {Table.RULE}
    assert others(site.s1.tables) == others(before)
    assert not site.records.of("flow_ended")


async def test_a_flow_that_another_rule_allows_goes_on_under_that_rule() -> None:
    site = await busy_site()
    await site.use_policy(POLICY.replace("id: web-db", "id: app-data"))
    data = WEB1.tcp(DB1, 41000, 5432, ACK, b"x")
    site.s1.send(2, data)
    assert site.s1.take() == [(3, data)]
    answer = DB1.tcp(WEB1, 5432, 41000, ACK, b"y")
    assert site.s1.send(3, answer).ports == [2]


async def test_a_condition_that_enters_ends_the_flows_of_those_who_do_not_meet_it() -> None:
    site = await Site(policy=POLICY.replace(", when: {mfa: true}", "")).start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, replace(ALICE, mfa=False))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    assert len(site.s1.take()) == 1
    await site.use_policy(POLICY)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK))
    site.s1.send(2, WEB1.tcp(LAPTOP, 443, 40000, ACK))
    assert site.s1.take() == []


ASKING = "  - {id: staff-db, from: [staff], to: [db], services: [tcp/22], when: {aal: 2}}\n"


async def test_flows_of_a_session_that_a_new_condition_gives_another_class_go_on_without_a_gap() -> None:
    site = await Site().start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, replace(ALICE, aal=2))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.take()
    (live,) = (live for live in site.state.sessions if live.session.principal.name == ALICE.name)
    classes = {live.session_class}
    for policy in (POLICY + ASKING, POLICY):
        await site.use_policy(policy)
        classes.add(live.session_class)
        questions = site.state.counters["reinstalled"]
        for port, frame in (
            (4, LAPTOP.tcp(WEB1, 40000, 443, ACK, b"x")),
            (2, WEB1.tcp(LAPTOP, 443, 40000, ACK, b"y")),
        ):
            site.s1.send(port, frame)
            assert len(site.s1.take()) == 1
        assert site.state.counters["reinstalled"] == questions
        # None is left that would take effect again when the session is of its old class.
        assert verified(site) == 2
    assert len(classes) == 2
    assert not site.records.of("flow_ended")
    assert live.opened == 1


async def test_flows_that_a_session_of_another_class_may_not_have_end_at_once() -> None:
    site = await Site().start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, replace(ALICE, aal=2))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    deny = "  - {id: no-more, from: [staff], to: [web], services: [tcp/443], action: deny, when: {aal: 2}}\n"
    await site.use_policy(POLICY + deny)
    assert verified(site) == 0
    site.s1.take()
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK))
    site.s1.send(2, WEB1.tcp(LAPTOP, 443, 40000, ACK))
    assert site.s1.take() == []
    (ended,) = site.records.of("flow_ended")
    assert ended[2] == "policy-changed"


async def test_a_session_without_a_segment_in_the_new_policy_ends() -> None:
    site = await busy_site()
    await site.use_policy(POLICY.replace("db: {labels: {tier: db}}", "db: {labels: {tier: database}}"))
    assert bytes([10, 0, 0, 14]) not in site.state.sessions.by_address
    assert site.s1.send(2, WEB1.tcp(DB1, 41000, 5432, ACK)).ports == []


async def test_what_both_policies_deny_is_denied_at_every_step_of_the_change() -> None:
    """The removals come before the additions; after each single message the packet is still denied."""
    site = await busy_site()
    swapped = POLICY.replace("tcp/5432", "tcp/5433").replace("tcp/22", "tcp/23")
    frames = [(3, DB1.tcp(WEB1, 42000, 443)), (2, WEB1.tcp(DB1, 42000, 80)), (4, LAPTOP.tcp(DB1, 42000, 5432))]
    steps = 0
    apply = site.s1._apply

    def watched(change: object) -> None:
        nonlocal steps
        apply(change)  # type: ignore[arg-type]  # what the switch was given
        steps += 1
        for port, frame in frames:
            site.s1.send(port, frame)

    site.s1._apply = watched  # type: ignore[method-assign]  # the test looks in between
    await site.use_policy(swapped)
    assert steps > 4
    assert site.s1.take() == []
