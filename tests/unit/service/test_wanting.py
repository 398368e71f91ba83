"""Denials for want of a proof: named in the log with what is lacking, kept for the person, gone once it is proved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fakes.frames import ACK, SYN, Host
from fakes.site import BOB, DB, ONE_SWITCH, TWO_SWITCHES, WEB, Site, proof_of
from zethane.app.controller import Controller
from zethane.policy.principal import Principal
from zethane.service.policy_in_force import Standing
from zethane.service.wanting import MAX_WANTED, still_wanted

POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
  - {id: staff-web, from: [staff], to: [web], services: [tcp/443, icmp], when: {mfa: {within: 15m}}}
  - {id: staff-all, from: [staff], to: [web], services: [tcp], when: {aal: 3, device: true}}
  - {id: staff-out, from: [staff], to: {networks: [198.51.100.0/24]}, services: [tcp/443], when: {mfa: true}}
  - {id: no-22, from: [any], to: [web], services: [tcp/22], action: deny}
"""
UPLINK = """
uplinks:
  wan: {switch: s1, port: 7, mac: "02:00:00:00:00:01", ip: [10.0.0.1/24], networks: [198.51.100.0/24]}
"""
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
WWW = Host(7, "02:00:00:00:00:01", "198.51.100.80")
ROUTER = Host(7, "02:00:00:00:00:01", "10.0.0.1")


async def site_with(who: Principal, network: str = ONE_SWITCH, far: str = "s1") -> tuple[Site, int]:
    site = await Site(network, POLICY).start()
    site.login(WEB1, WEB, far)
    site.login(DB1, DB)
    number = site.login(LAPTOP, who).number
    for switch in site.switches.values():
        switch.take()
    return site, number


def standing(site: Site, who: Principal, now: float) -> Standing:
    found = site.state.policy.place(who, now)
    assert found is not None
    return found


def wanted(site: Site, number: int) -> list[tuple[str, str, tuple[str, ...]]]:
    live = site.state.sessions.by_number[number]
    return [(one.rule.id, one.service, one.needs) for one in still_wanted(site.state, live)]


def logged(site: Site) -> list[tuple[Any, ...]]:
    return [(what.reason.value, what.rule, what.needs) for what, _ in site.records.of("denied")]


@pytest.mark.parametrize(("network", "far"), [(ONE_SWITCH, "s1"), (TWO_SWITCHES, "s2")])
async def test_what_is_lacking_is_logged_and_kept_and_one_proof_later_the_same_flow_passes(
    network: str, far: str
) -> None:
    """Also where the object is at another switch, which does not know of it as long as nothing may reach it."""
    site, number = await site_with(BOB, network, far)
    syn = LAPTOP.tcp(WEB1, 40000, 443)
    site.s1.send(4, syn)
    assert logged(site) == [("condition-not-met", "staff-web", ("a second factor",))]
    assert wanted(site, number) == [("staff-web", "tcp/443", ("a second factor",))]
    endpoint = site.endpoint(LAPTOP)
    proof = proof_of(replace(BOB, mfa=True), site.now)
    assert site.admin.start_session(endpoint.attachment, proof, endpoint.address, None).number == number
    site.s1.send(4, syn)
    assert len(site.records.of("allowed")) == 1
    assert wanted(site, number) == []


async def test_the_facade_tells_what_is_wanting_and_explains_it() -> None:
    site, number = await site_with(BOB)
    nothing: Any = None
    facade = Controller(site.admin, nothing, nothing, nothing, nothing, nothing, nothing)
    assert (facade.wanting(number), facade.wanting(number + 1)) == ([], [])
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    assert facade.wanting(number) == [
        {
            "rule": "staff-web",
            "needs": ["a second factor"],
            "service": "tcp/443",
            "destination": "10.0.0.11",
            "time": site.now,
            "mfa": True,
            "within": 900.0,
            "aal": None,
        }
    ]
    said = facade.explain("user:bob", "10.0.0.11", "tcp/443")
    assert (said["decision"], said["rule"]) == ("deny", None)
    assert said["lacking"] == {"rule": "staff-web", "needs": ["a second factor"]}


async def test_the_rule_that_asks_for_the_fewest_things_is_named() -> None:
    site, _ = await site_with(BOB)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 80))
    needs = ("a proof of assurance level 3", "a device that has proved itself")
    assert logged(site) == [("condition-not-met", "staff-all", needs)]


@pytest.mark.parametrize(
    ("target", "port", "reason"), [(WEB1, 22, "deny-rule"), (DB1, 443, "no-rule"), (WWW, 80, "no-rule")]
)
async def test_what_no_proof_would_change_is_denied_as_ever(target: Host, port: int, reason: str) -> None:
    site, number = await site_with(BOB, ONE_SWITCH + UPLINK)
    site.s1.send(4, LAPTOP.tcp(target, 40000, port))
    assert site.records.reasons() == [reason]
    assert wanted(site, number) == []


@pytest.mark.parametrize("network", [ONE_SWITCH + UPLINK, TWO_SWITCHES + UPLINK.replace("s1", "s2")])
async def test_addresses_outside_are_told_of_too(network: str) -> None:
    site, number = await site_with(BOB, network)
    site.s1.send(4, LAPTOP.tcp(WWW, 40000, 443))
    assert logged(site) == [("condition-not-met", "staff-out", ("a second factor",))]
    assert wanted(site, number) == [("staff-out", "tcp/443", ("a second factor",))]


async def test_a_host_learns_the_way_to_what_it_could_reach_with_another_proof() -> None:
    """It would never send the packet otherwise; of what no rule offers it, it learns nothing."""
    site, _ = await site_with(BOB, ONE_SWITCH + UPLINK)
    for target, answered in ((WEB1, True), (ROUTER, True), (DB1, False)):
        site.s1.send(4, LAPTOP.arp(target.ip))
        assert bool(site.s1.take()) is answered, target


async def test_what_the_controller_itself_denies_is_told_of_too() -> None:
    """The switch asks about what might be an answer to a flow of the other side."""
    site, number = await site_with(BOB)
    await site.use_policy(POLICY + "  - {id: back, from: [web], to: [staff], services: [tcp/80]}\n")
    site.s1.send(4, LAPTOP.tcp(WEB1, 80, 443))
    assert logged(site) == [("condition-not-met", "staff-web", ("a second factor",))]
    assert wanted(site, number) == [("staff-web", "tcp/443", ("a second factor",))]


async def test_echoes_are_told_of_and_other_packets_of_icmp_are_not() -> None:
    site, number = await site_with(BOB)
    site.s1.send(4, LAPTOP.echo(WEB1))
    assert wanted(site, number) == [("staff-web", "icmp", ("a second factor",))]
    site.s1.send(4, LAPTOP.echo(WEB1, reply=True))
    assert site.records.reasons() == ["condition-not-met", "no-rule"]


async def test_each_session_keeps_a_bounded_number_of_the_newest_denials() -> None:
    site, number = await site_with(replace(BOB, mfa=True))
    for port in range(1000, 1000 + 3 * MAX_WANTED):
        site.s1.send(4, LAPTOP.tcp(WEB1, 40000, port, SYN))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 1020, SYN))
    found = [service for _, service, _ in wanted(site, number)]
    assert found == [*(f"tcp/{port}" for port in range(1016, 1024) if port != 1020), "tcp/1020"]


async def test_packets_of_a_connection_whose_proof_is_too_old_say_so() -> None:
    site, number = await site_with(replace(BOB, mfa=True))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    assert len(site.records.of("allowed")) == 1
    site.now += 900
    site.admin.tick(site.now)  # looks at the session: its factor is too old
    await site.settle()
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK, b"x"))
    assert logged(site) == [("condition-not-met", "staff-web", ("a second factor not older than 15m",))]
    assert wanted(site, number) == [("staff-web", "tcp/443", ("a second factor not older than 15m",))]


async def test_a_standing_says_until_when_it_holds() -> None:
    site, _ = await site_with(BOB)
    assert standing(site, BOB, site.now).until == float("inf")
    proved = replace(BOB, mfa=True, mfa_at=site.now, aal=2)
    fresh, stale = standing(site, proved, site.now + 899), standing(site, proved, site.now + 900)
    assert (fresh.until, stale.until) == (site.now + 900, float("inf"))
    assert fresh.segment == stale.segment == "staff"
    assert fresh.session_class != stale.session_class


async def test_a_class_number_never_comes_to_mean_another_condition() -> None:
    """The same condition in another policy has the same number; a different one has another."""
    site, _ = await site_with(BOB)
    proved = replace(BOB, mfa=True, mfa_at=site.now, aal=2)
    number = standing(site, proved, site.now).session_class
    await site.use_policy(POLICY.replace("services: [tcp], when: {aal: 3, device: true}", "services: [udp], when: {}"))
    other = standing(site, proved, site.now).session_class
    await site.use_policy(POLICY.replace("within: 15m", "within: 16m"))
    third = standing(site, proved, site.now).session_class
    await site.use_policy(POLICY)
    again = standing(site, proved, site.now).session_class
    assert again == number
    # What else is asked of others is no part of what this one is: only another condition is another number.
    assert other == number
    assert third != number
