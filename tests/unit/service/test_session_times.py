"""How long sessions and their proofs hold: lifetimes, renewal, conditions that lapse, and hosts that fall silent."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from fakes.frames import ACK, Host
from fakes.site import ALICE, MANY_CARDS, POLICY, WEB, Site, proof_of
from zethane.audit.reason import SessionEvent
from zethane.errors import SessionError
from zethane.identity.proof import Method, Proof
from zethane.identity.session import Session
from zethane.identity.sources.file import parse_sources
from zethane.pipeline.bindings import MAX_LEASE
from zethane.pipeline.tables import Table
from zethane.policy.principal import DeviceFacts, Principal
from zethane.service.session_life import RENEWED_AT_ONCE
from zethane.service.sessions import LEAD

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
DEVICE = Principal("device", "alice-laptop", labels=(("managed", "yes"),))

FRESH = POLICY.replace("when: {mfa: true}", "when: {mfa: {within: 15m}}").replace(
    "rules:", "rules:\n  - {id: anyway, from: [staff], to: [web], services: [tcp/80]}"
)
MANAGED = """
version: 1
segments:
  web: {labels: {tier: web}}
  machines: {labels: {managed: "yes"}}
  staff: {groups: [staff]}
rules:
  - {id: base, from: [staff, machines], to: [web], services: [tcp/80]}
  - {id: both, from: [staff], to: [web], services: [tcp/443], when: {device: {labels: {managed: "yes"}}}}
  - {id: healthy, from: [staff], to: [web], services: [tcp/22], when: {posture: {disk_encrypted: true, max_age: 1h}}}
"""


def start(site: Site, host: Host, principal: Principal, method: Method = "portal", **changes: Any) -> Session:
    endpoint = site.endpoint(host)
    proof = proof_of(principal, site.now, method=method, **changes)
    return site.admin.start_session(endpoint.attachment, proof, endpoint.address, None)


def times(site: Site, text: str) -> None:
    site.state.times = parse_sources(text, "sources.yaml").settings.sessions


def leases(site: Site, session: Session) -> set[int]:
    """The hard timeouts of a session's bindings."""
    entries = site.s1.tables.values()
    return {flow.hard_timeout for flow in entries if flow.source == f"session {session.number}"}


def events(site: Site, session: Session) -> list[SessionEvent]:
    return [one[0] for one in site.records.of("session") if one[1].number == session.number]


# lifetimes


@pytest.mark.parametrize(
    ("text", "proof", "ends"),
    [
        ("sessions: {}", {}, 8 * 3600),
        ("sessions: {lifetime: 1h}", {}, 3600),
        ("sessions: {lifetime: 12h}", {}, 8 * 3600),  # the option for reauthentication is 8 h
        ("sessions: {lifetime: 1h, methods: {portal: {lifetime: 2h}}}", {}, 3600),
        ("sessions: {lifetime: 3h, methods: {portal: {lifetime: 2h}}}", {}, 7200),
        ("sessions: {methods: {dot1x: {lifetime: 1m}}}", {}, 8 * 3600),
        ("sessions: {segments: {staff: {reauthenticate: 30m}}}", {}, 1800),
        ("sessions: {segments: {web: {reauthenticate: 30m}}}", {}, 8 * 3600),
        ("sessions: {lifetime: 1h}", {"expires": 1060.0}, 60),  # what the source itself has said
        ("sessions: {lifetime: 1h}", {"expires": 9999.0}, 3600),
    ],
)
async def test_the_shortest_time_that_applies_counts(text: str, proof: dict[str, float], ends: float) -> None:
    site = await Site().start()
    times(site, text)
    session = start(site, LAPTOP, ALICE, **proof)
    assert session.ends == site.now + ends
    assert leases(site, session) == {ends}
    site.now += ends
    site.admin.tick(site.now)
    assert events(site, session) == [SessionEvent.STARTED, SessionEvent.EXPIRED]


async def test_a_proof_is_renewed_without_a_gap() -> None:
    site = await Site().start()
    times(site, "sessions: {reauthenticate: 1m}")
    session = start(site, LAPTOP, ALICE)
    site.now += 50
    assert start(site, LAPTOP, ALICE).number == session.number
    assert leases(site, session) == {60}
    site.now += 59
    site.admin.tick(site.now)
    assert session.number in site.state.sessions.by_number


async def test_what_was_proved_too_long_ago_starts_nothing() -> None:
    site = await Site().start()
    times(site, "sessions: {lifetime: 1h}")
    with pytest.raises(SessionError, match="too old"):
        start(site, LAPTOP, ALICE, at=site.now - 3600)


async def test_a_move_into_a_segment_with_shorter_times_gets_those() -> None:
    site = await Site().start()
    times(site, "sessions: {segments: {db: {lifetime: 10m}}}")
    session = start(site, LAPTOP, ALICE)
    site.now += 60
    changed = replace(session.proofs[0], groups=frozenset(), labels=(("tier", "db"),))
    site.admin.change_proof(session.number, session.proofs[0], changed, SessionEvent.CHANGED, "")
    (live,) = site.state.sessions
    assert (live.session.segment, live.session.ends) == ("db", 1000.0 + 600)
    assert leases(site, session) == {540}


# leases


async def many_for_a_month() -> Site:
    """Sessions that last longer than a lease can be, and began together."""
    month = 30 * 86400
    site = await Site(MANY_CARDS, session_lifetime=month, reauthenticate_after=month).start()
    for number in range(32):
        start(site, Host(9, f"02:00:00:00:01:{number:02x}", f"10.0.0.{100 + number}"), ALICE)
    return site


async def test_leases_that_began_together_are_renewed_one_after_the_other_while_half_of_each_is_left() -> None:
    site = await many_for_a_month()
    began, first = site.now, dict(site.s1.tables)
    renewed: dict[int, float] = {}
    while site.now < began + MAX_LEASE / 2:
        site.now += 60
        site.admin.tick(site.now)
        for live in site.state.sessions:
            if live.leased == site.now + MAX_LEASE:
                assert renewed.setdefault(live.session.number, site.now) == site.now
    assert renewed.keys() == site.state.sessions.by_number.keys()
    bindings = {key: flow for key, flow in first.items() if flow.source.startswith("session ")}
    assert bindings
    assert not any(site.s1.tables[key] is flow for key, flow in bindings.items()), "each has been written again"
    assert min(renewed.values()) >= began + MAX_LEASE / 4
    assert len(set(renewed.values())) > 28, "each has a moment of its own"


async def test_where_all_leases_are_due_at_once_few_are_renewed_in_a_tick() -> None:
    site = await many_for_a_month()
    site.now += MAX_LEASE / 2 + 1  # nobody looked meanwhile
    for ticks in range(1, 32 // RENEWED_AT_ONCE + 1):
        site.admin.tick(site.now)
        renewed = [live for live in site.state.sessions if live.leased == site.now + MAX_LEASE]
        assert len(renewed) == ticks * RENEWED_AT_ONCE


async def test_a_session_that_may_go_on_for_longer_has_its_lease_renewed_at_once() -> None:
    site = await Site().start()
    times(site, "sessions: {lifetime: 1h}")
    session = start(site, LAPTOP, ALICE)
    (live,) = site.state.sessions
    longer = replace(session, proofs=tuple(replace(proof, expires=math.inf) for proof in session.proofs))
    site.state.sessions.change(live, longer, math.inf)
    assert leases(site, session) == {3600}
    site.admin.tick(site.now)
    assert min(leases(site, session)) > 3600
    assert live.leased > site.now + 3600


# users on devices


async def on_device(policy: str = MANAGED, **user: Any) -> tuple[Site, Session]:
    """A machine that has proved itself, with a user who has logged in on it, and a flow of each kind."""
    site = await Site(policy=policy).start()
    site.login(WEB1, WEB)
    start(site, LAPTOP, DEVICE, "dot1x")
    session = start(site, LAPTOP, ALICE, **user)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 80))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443))
    site.s1.take()
    return site, session


def passes(site: Site, sport: int, port: int) -> bool:
    site.s1.take()
    site.s1.send(4, LAPTOP.tcp(WEB1, sport, port, ACK))
    return len(site.s1.take()) == 1


async def test_a_user_joins_the_session_of_the_machine_and_leaves_it_again() -> None:
    site, session = await on_device()
    assert (session.principal.name, session.segment) == ("alice", "staff")
    assert [proof.account for proof in session.proofs] == ["user:alice", "device:alice-laptop"]
    assert passes(site, 40000, 80)
    assert passes(site, 40001, 443)
    assert site.admin.life.logout(session.number)
    (left,) = (live.session for live in site.state.sessions if live.session.number == session.number)
    assert (left.principal.kind, left.segment) == ("device", "machines")
    assert passes(site, 40000, 80), "what the machine may by itself goes on"
    assert not passes(site, 40001, 443)
    assert events(site, session) == [SessionEvent.STARTED, SessionEvent.JOINED, SessionEvent.LEFT]
    assert site.admin.life.logout(session.number)
    assert session.number not in site.state.sessions.by_number


async def test_each_proof_ends_in_its_own_time_and_leaves_the_other() -> None:
    site, session = await on_device(expires=1060.0)
    for moment, acting in ((1060.0 - LEAD - 1, "user"), (1060.0 - LEAD, "device")):
        site.now = moment
        site.admin.tick(site.now)
        assert site.state.sessions.by_number[session.number].session.principal.kind == acting
    assert passes(site, 40000, 80)
    assert min(leases(site, session)) > 3600, "the machine's own lease: nothing of it ends with the user's"
    assert site.records.of("session")[-1][2] == "user:alice: expired"


async def test_a_user_who_comes_in_the_moment_that_the_machine_ends_gets_a_session_without_it() -> None:
    site = await Site(policy=MANAGED).start()
    machine = start(site, LAPTOP, DEVICE, "dot1x", expires=1060.0)
    site.now = 1060.0
    session = start(site, LAPTOP, ALICE)
    assert [proof.account for proof in session.proofs] == ["user:alice"]
    assert session.number != machine.number
    assert site.store.saved.keys() == site.state.sessions.by_number.keys() == {session.number}


async def test_a_session_that_ends_while_it_is_renewed_is_kept_nowhere() -> None:
    site = await Site(policy=MANAGED).start()
    session = start(site, LAPTOP, DEVICE, "dot1x", expires=1060.0)
    (live,) = site.state.sessions
    site.now = 1060.0
    with pytest.raises(SessionError, match="has ended"):
        site.admin.life.renew(live, bytes([10, 0, 0, 99]), session.proofs, SessionEvent.REAUTHENTICATED)
    assert site.store.saved == {}


async def test_the_end_of_the_machines_proof_leaves_the_user_with_what_needs_no_machine() -> None:
    site, session = await on_device()
    device = session.proofs[1]
    assert site.admin.change_proof(session.number, device, None, SessionEvent.DISCONNECTED, "")
    assert passes(site, 40000, 80)
    assert not passes(site, 40001, 443)
    assert events(site, session)[-1] == SessionEvent.LEFT


async def test_another_user_on_the_machine_gets_nothing_of_the_first_ones_session() -> None:
    site, session = await on_device()
    other = start(site, LAPTOP, replace(ALICE, name="bob"))
    assert other.number != session.number
    assert [proof.account for proof in other.proofs] == ["user:bob", "device:alice-laptop"]
    assert len(site.state.flows) == 0
    assert events(site, session)[-1] == SessionEvent.REPLACED


async def test_another_machine_at_the_place_takes_neither_session_nor_user() -> None:
    site, session = await on_device()
    other = start(site, LAPTOP, replace(DEVICE, name="other"), "dot1x")
    assert other.number != session.number
    assert [proof.account for proof in other.proofs] == ["device:other"]


async def test_a_supplicant_that_speaks_for_the_machine_again_has_sent_its_user_home() -> None:
    site = await Site(policy=MANAGED).start()
    start(site, LAPTOP, DEVICE, "dot1x")
    session = start(site, LAPTOP, ALICE, "dot1x")
    start(site, LAPTOP, DEVICE, "dot1x")
    (live,) = site.state.sessions
    assert (live.session.number, live.session.principal.kind) == (session.number, "device")
    assert events(site, session)[-1] == SessionEvent.LEFT


async def test_a_mere_mac_is_replaced_by_any_proof_and_replaces_none() -> None:
    site = await Site(policy=MANAGED).start()
    bypassed = start(site, LAPTOP, DEVICE, "mab", aal=0)
    proved = start(site, LAPTOP, DEVICE, "certificate", aal=2)
    assert proved.number != bypassed.number
    with pytest.raises(SessionError, match="with a proof is there"):
        start(site, LAPTOP, DEVICE, "mab", aal=0)
    user = start(site, LAPTOP, ALICE)
    assert user.number == proved.number


async def test_a_user_does_not_join_a_mere_mac() -> None:
    site = await Site(policy=MANAGED).start()
    bypassed = start(site, LAPTOP, DEVICE, "mab", aal=0)
    session = start(site, LAPTOP, ALICE)
    assert session.number != bypassed.number
    assert session.principal.device is None


async def test_a_weaker_proof_of_the_same_principal_does_not_take_the_place_of_a_stronger() -> None:
    site = await Site(policy=MANAGED).start()
    session = start(site, LAPTOP, ALICE, "dot1x", aal=2, expires=1600.0)
    with pytest.raises(SessionError, match="more strongly"):
        start(site, LAPTOP, replace(ALICE, mfa=False), "portal", aal=1)
    (live,) = site.state.sessions
    assert (live.session.number, live.session.ends) == (session.number, 1600.0)


# conditions


async def test_a_condition_lapses_by_time_and_takes_only_what_asked_for_it() -> None:
    site = await Site(policy=FRESH).start()
    site.login(WEB1, WEB)
    session = start(site, LAPTOP, ALICE)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 80))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443))
    assert leases(site, session) == {900}, "also without a controller it ends then"
    site.now += 900 - LEAD
    site.admin.tick(site.now)
    assert passes(site, 40000, 80)
    assert not passes(site, 40001, 443)
    assert min(leases(site, session)) > 3600
    assert events(site, session)[-1] == SessionEvent.CHANGED
    start(site, LAPTOP, ALICE)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40002, 443))
    assert passes(site, 40002, 443)
    assert passes(site, 40000, 80)
    assert leases(site, session) == {900}
    await site.settle()


async def test_a_proof_renewed_in_time_keeps_what_asks_for_a_fresh_one() -> None:
    site = await Site(policy=FRESH).start()
    site.login(WEB1, WEB)
    session = start(site, LAPTOP, ALICE)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443))
    for _ in range(3):
        site.now += 600
        site.admin.tick(site.now)
        proof = site.state.sessions.by_number[session.number].session.proofs[0]
        fresh = replace(proof, mfa_at=site.now)
        assert site.admin.change_proof(session.number, proof, fresh, SessionEvent.CHANGED, "stepped up")
        assert leases(site, session) == {900}
    assert passes(site, 40001, 443)


async def test_what_is_known_of_a_device_counts_until_it_is_too_old() -> None:
    site, session = await on_device()
    live = site.state.sessions.by_number[session.number]
    facts = DeviceFacts("alice-laptop", labels=DEVICE.labels, posture=(("disk_encrypted", True),), measured=site.now)
    site.state.postures["alice-laptop"] = facts
    site.admin.life.look_again(live, detail="posture")
    site.s1.send(4, LAPTOP.tcp(WEB1, 40002, 22))
    assert passes(site, 40002, 22)
    assert passes(site, 40001, 443)
    assert leases(site, session) == {3600}
    site.now += 3600 - LEAD
    site.admin.tick(site.now)
    assert not passes(site, 40002, 22)
    assert passes(site, 40001, 443)
    assert passes(site, 40000, 80)


async def test_a_restart_takes_up_proofs_and_looks_at_conditions_anew() -> None:
    site, session = await on_device(expires=1060.0)
    again = Site(policy=MANAGED, store=site.store)
    again.now = 1100.0
    await again.start()
    live = again.state.sessions.by_number[session.number]
    assert (live.session.principal.kind, live.session.segment) == ("device", "machines")
    assert live.session.proofs[0].ends == session.proofs[1].ends


# silence


async def silent_site(text: str) -> tuple[Site, Session]:
    site = await Site(policy=MANAGED).start()
    times(site, text)
    start(site, LAPTOP, DEVICE, "dot1x")
    return site, start(site, LAPTOP, ALICE)


async def run_until(site: Site, moment: float, step: float = 5.0) -> None:
    while site.now < moment:
        site.now += step
        site.admin.tick(site.now)
        await site.settle()


async def test_a_host_that_is_silent_for_too_long_loses_its_session() -> None:
    site, session = await silent_site("sessions: {idle: 1m}")
    await run_until(site, 1050)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 80))
    await run_until(site, 1110)
    assert session.number in site.state.sessions.by_number, "60 s after it was last heard at 1050"
    await run_until(site, 1135)
    assert session.number not in site.state.sessions.by_number
    assert events(site, session)[-1] == SessionEvent.IDLE


async def test_silence_ends_the_proof_that_it_is_too_long_for() -> None:
    site, session = await silent_site("sessions: {methods: {portal: {idle: 1m}}}")
    await run_until(site, 1080)
    (live,) = site.state.sessions
    assert (live.session.number, live.session.principal.kind) == (session.number, "device")
    await run_until(site, 1400, 50)
    assert len(site.state.sessions) == 1


async def test_only_sessions_that_may_not_be_silent_are_asked_about() -> None:
    site, _ = await silent_site("sessions: {}")
    asked: list[int] = []

    async def read_heard(session: int) -> int:
        asked.append(session)
        return 0

    site.s1.read_heard = read_heard  # type: ignore[method-assign]  # the test counts the questions
    await run_until(site, 5000, 100)
    assert asked == []


async def test_nobody_is_silent_whose_switch_cannot_say() -> None:
    site, session = await silent_site("sessions: {idle: 1m}")
    site.s1.close("away")
    await run_until(site, 1500, 10)
    assert session.number in site.state.sessions.by_number


async def test_an_idle_limit_writes_no_other_entries() -> None:
    site, session = await silent_site("sessions: {idle: 1m}")
    source = [flow for flow in site.s1.tables.values() if flow.table == Table.SOURCE and flow.source.startswith("sess")]
    assert {flow.idle_timeout for flow in source} == {0}
    assert session.idle == 60


def test_a_proof_has_the_times_of_its_source_if_they_are_shorter() -> None:
    site = Site()
    times(site, "sessions: {idle: 10m}")
    proof = Proof("user", "alice", "dot1x", 1000.0, idle=60.0, expires=1100.0)
    limited = site.admin.life.limited(proof, "staff")
    assert (limited.idle, limited.expires) == (60.0, 1100.0)
