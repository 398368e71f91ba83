"""How many entries a switch holds: as many as endpoints plus policy, and never their product."""

from __future__ import annotations

import pytest

from fakes.frames import Host
from fakes.site import TWO_SWITCHES, Site
from zethane.pipeline.tables import Table
from zethane.policy.principal import Principal

ALL_TO_ALL = """
version: 1
segments: {one: {labels: {s: one}}, two: {labels: {s: two}}}
rules:
  - {id: a, from: [one], to: [two], services: [tcp/443]}
  - {id: b, from: [two], to: [one], services: [udp/53]}
"""
ONE_MORE = ALL_TO_ALL + "  - {id: c, from: [one], to: [one], services: [tcp/22]}\n"


MANY_CARDS = "{ports: {" + ", ".join(f"{port}: {{macs: 64}}" for port in range(2, 9)) + "}}"
SITES = TWO_SWITCHES.replace("s1: {}, s2: {}", f"s1: {MANY_CARDS}, s2: {MANY_CARDS}")


def fill(site: Site, count: int, first: int = 1) -> None:
    """Sessions on the two edge switches in turn, of the two segments in turn, spread over the ports."""
    for number in range(first, first + count):
        host = Host(1 + (number + 1) // 2 % 8 or 8, f"02:00:00:00:01:{number:02x}", f"10.0.1.{number}")
        host.port = 2 + number // 2 % 7
        segment = "two" if number // 2 % 2 else "one"
        site.login(host, Principal("workload", f"w{number}", labels=(("s", segment),)), f"s{1 + number % 2}")


def sizes(site: Site) -> dict[str, int]:
    return {name: len(switch.tables) for name, switch in site.switches.items()}


async def test_the_entries_of_a_core_switch_do_not_grow_with_sessions() -> None:
    site = await Site(SITES, ALL_TO_ALL).start()
    empty = sizes(site)["s3"]
    fill(site, 40)
    assert sizes(site)["s3"] == empty
    assert sizes(site)["s1"] > empty


@pytest.mark.parametrize("policy", [ALL_TO_ALL, ONE_MORE])
async def test_a_session_adds_two_entries_per_address_however_many_there_are(policy: str) -> None:
    site = await Site(SITES, policy).start()
    fill(site, 8)
    before = sizes(site)
    fill(site, 8, first=9)
    middle = sizes(site)
    fill(site, 8, first=17)
    after = sizes(site)
    for name in ("s1", "s2"):
        assert after[name] - middle[name] == middle[name] - before[name] == 2 * 8


async def test_a_rule_adds_as_many_entries_with_sessions_as_without() -> None:
    added = []
    for count in (0, 30):
        site = await Site(SITES, ALL_TO_ALL).start()
        fill(site, count)
        before = site.s1.tables.keys() - {key for key in site.s1.tables if key[0] != Table.RULE}
        await site.use_policy(ONE_MORE)
        after = [key for key in site.s1.tables if key[0] == Table.RULE]
        added.append(len(after) - len(before))
    assert added[0] == added[1] > 0


async def test_sessions_that_nobody_here_may_talk_with_take_no_room() -> None:
    apart = ALL_TO_ALL.replace("to: [two]", "to: [one]").replace(
        "to: [one], services: [udp/53]", "to: [two], services: [udp/53]"
    )
    site = await Site(SITES, apart).start()
    site.login(Host(2, "02:00:00:00:02:01", "10.0.2.1"), Principal("workload", "here", labels=(("s", "one"),)), "s1")
    before = sizes(site)["s1"]
    site.login(Host(2, "02:00:00:00:02:02", "10.0.2.2"), Principal("workload", "there", labels=(("s", "two"),)), "s2")
    assert sizes(site)["s1"] == before
