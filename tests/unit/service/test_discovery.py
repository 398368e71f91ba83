"""Which links are there: probes in both directions, held against the file; and what comes in where no link may be."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.frames import ACK, Host
from fakes.site import ALICE, TWO_SWITCHES, WEB, Site
from zethane.net.lldp import PROBE_LENGTH
from zethane.service.discovery import PATIENCE, SWEEP_INTERVAL
from zethane.service.switch import PortState

UNDECLARED = """
switches:
  s1: {ports: {8: {role: trunk}, 9: {role: trunk}}}
  s2: {ports: {8: {role: trunk}, 9: {role: trunk}}}
  s3: {ports: {8: {role: trunk}, 9: {role: trunk}}}
portal: {switch: s1, port: 1, ip: 10.0.0.254/24, mac: "02:00:00:00:00:fe"}
"""

PARTLY = UNDECLARED + "links: [[s1:8, s2:9]]\n"

Place = tuple[str, int]
Cables = dict[Place, Place]

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


def cables(*pairs: tuple[Place, Place]) -> Cables:
    return {one: other for a, b in pairs for one, other in ((a, b), (b, a))}


RING = cables((("s1", 8), ("s2", 9)), (("s2", 8), ("s3", 9)), (("s3", 8), ("s1", 9)))
DECLARED = cables((("s1", 9), ("s3", 1)), (("s3", 2), ("s2", 9)))


def take(site: Site) -> list[tuple[Place, bytes]]:
    """The probes that have been sent."""
    found = []
    for name, switch in site.switches.items():
        found += [((name, port), frame) for port, frame in switch.probes]
        switch.probes.clear()
    return found


def carry(site: Site, wires: Cables) -> None:
    """What the cables carry: every probe arrives at the other end, if there is one."""
    for place, frame in take(site):
        if place in wires:
            switch, port = wires[place]
            site.switches[switch].send(port, frame)


def later(site: Site, seconds: float) -> None:
    site.now += seconds
    site.admin.tick(site.now)


def run(site: Site, wires: Cables, intervals: int) -> None:
    """Let time go by with cables in place."""
    for _ in range(10 * intervals):
        later(site, site.state.limits.probe_interval / 10)
        carry(site, wires)


def states(site: Site) -> dict[str, str]:
    return {f"{link['a']}-{link['b']}": link["state"] for link in site.admin.discovery.view()}


def used(site: Site) -> set[str]:
    return {f"{link['a']}-{link['b']}" for link in site.admin.discovery.view() if link["used"]}


def told(site: Site) -> list[str]:
    return [event for event, *_ in site.records.of("switch") if event.startswith(("link-", "probe-"))]


def hops(site: Site, switch: int) -> dict[int, int]:
    return dict(site.state.fabric.by_number[switch].hops)


# discovered links


async def test_links_that_nobody_declared_are_found_and_routed_over() -> None:
    site = await Site(UNDECLARED).start()
    site.login(WEB1, WEB, "s2")
    site.login(LAPTOP, ALICE, "s1")
    assert hops(site, 1) == {}
    carry(site, RING)
    assert states(site) == {"s1:8-s2:9": "confirmed", "s2:8-s3:9": "confirmed", "s1:9-s3:8": "confirmed"}
    assert hops(site, 1) == {2: 8, 3: 9}
    assert told(site) == ["link-discovered"] * 3
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    data = LAPTOP.tcp(WEB1, 40000, 443, ACK, b"x")
    assert site.s1.send(4, data).ports == [8]
    assert site.switches["s2"].send(9, data, vlan=2).ports == [2]


async def test_a_discovered_link_needs_both_directions() -> None:
    site = await Site(UNDECLARED).start()
    run(site, {("s1", 8): ("s2", 9)}, 4)
    assert states(site) == {}
    assert hops(site, 1) == {}


async def test_a_link_is_found_as_soon_as_its_second_switch_is_ready() -> None:
    """The first one's probe came too early: it is sent again when the other's arrives."""
    site = Site(UNDECLARED)
    site.switches["s1"].connect()
    await site.settle()
    carry(site, RING)
    site.switches["s2"].connect()
    await site.settle()
    carry(site, RING)
    carry(site, RING)
    assert states(site)["s1:8-s2:9"] == "confirmed"
    assert hops(site, 1)[2] == 8
    assert take(site) == []


async def test_a_discovered_link_ends_with_its_port_at_once_and_comes_back_with_it_at_once() -> None:
    site = await Site(UNDECLARED).start()
    carry(site, RING)
    carry(site, RING)
    site.admin.port_status(site.s1, PortState(8, "p8", up=False), removed=False)
    assert hops(site, 1) == {2: 9, 3: 9}
    later(site, 1)
    assert "s1:8-s2:9" not in states(site)
    assert told(site)[-1] == "link-lost"
    site.admin.port_status(site.s1, PortState(8, "p8", up=True), removed=False)
    assert [place for place, _ in take(site)] == [("s1", 8)]
    run(site, RING, 1)
    assert hops(site, 1) == {2: 8, 3: 9}


async def test_a_port_that_is_down_for_a_moment_leaves_its_link_in_use() -> None:
    site = await Site(UNDECLARED).start()
    run(site, RING, 2)
    assert hops(site, 1) == {2: 8, 3: 9}
    # Nobody looks at what is due in between.
    site.admin.port_status(site.s1, PortState(8, "p8", up=False), removed=False)
    assert hops(site, 1) == {2: 9, 3: 9}
    site.admin.port_status(site.s1, PortState(8, "p8", up=True), removed=False)
    carry(site, RING)
    carry(site, RING)
    assert hops(site, 1) == {2: 8, 3: 9}
    assert "s1:8-s2:9" in used(site)
    assert told(site)[-2:] == ["link-lost", "link-discovered"]


async def test_a_declared_link_that_is_down_for_a_moment_is_told_of() -> None:
    site = await Site(TWO_SWITCHES).start()
    run(site, DECLARED, 2)
    assert used(site) == {"s1:9-s3:1", "s3:2-s2:9"}
    for up in (False, True):
        site.admin.port_status(site.s1, PortState(9, "p9", up=up), removed=False)
    carry(site, DECLARED)
    carry(site, DECLARED)
    assert used(site) == {"s1:9-s3:1", "s3:2-s2:9"}
    expected = ["link-confirmed", "link-confirmed", "link-down", "link-waiting", "link-confirmed"]
    assert told(site) == expected
    later(site, 1)
    assert told(site) == expected


async def test_a_discovered_link_ends_when_its_probes_no_longer_arrive() -> None:
    site = await Site(UNDECLARED).start()
    carry(site, RING)
    run(site, RING, 4)
    cut = {one: other for one, other in RING.items() if ("s1", 8) not in (one, other)}
    run(site, cut, PATIENCE - 1)
    assert hops(site, 1) == {2: 8, 3: 9}
    run(site, cut, 2)
    assert hops(site, 1) == {2: 9, 3: 9}
    run(site, RING, 1)
    assert hops(site, 1) == {2: 8, 3: 9}


async def test_a_link_to_a_switch_that_is_away_is_kept() -> None:
    """It could not report what arrives there; and nothing has changed in its tables either."""
    site = await Site(UNDECLARED).start()
    carry(site, RING)
    site.switches["s2"].close("gone")
    run(site, RING, 2 * PATIENCE)
    assert hops(site, 1) == {2: 8, 3: 9}
    assert states(site)["s1:8-s2:9"] == "away"
    assert site.switches["s2"].connect()
    await site.settle()
    run(site, RING, 1)
    assert set(states(site).values()) == {"confirmed"}


async def test_a_clock_that_is_set_back_stops_nothing() -> None:
    site = await Site(UNDECLARED).start()
    carry(site, RING)
    carry(site, RING)
    site.now -= 900
    run(site, RING, 4)
    assert set(states(site).values()) == {"confirmed"}
    assert not site.records.reasons()


async def test_a_link_that_is_lost_after_the_clock_was_set_back_is_found_missing() -> None:
    site = await Site(UNDECLARED).start()
    carry(site, RING)
    carry(site, RING)
    site.now -= 900
    run(site, {}, 2 * PATIENCE)
    assert states(site) == {}
    assert hops(site, 1) == {}


async def test_a_cable_that_is_moved_takes_over_when_the_old_one_is_gone() -> None:
    """Whoever sends probes on to somewhere else takes no link over while it lives."""
    site = await Site(UNDECLARED).start()
    first = cables((("s1", 8), ("s2", 9)))
    other = cables((("s1", 8), ("s3", 9)))
    run(site, first, 2)
    run(site, other, 1)
    assert states(site) == {"s1:8-s2:9": "contradicted"}
    assert hops(site, 1) == {}
    run(site, other, 3 * PATIENCE)
    assert states(site) == {"s1:8-s3:9": "confirmed"}
    assert hops(site, 1) == {3: 8}


# declared links


async def test_a_declared_link_is_used_before_and_without_a_probe_and_reported_in_time() -> None:
    site = await Site(TWO_SWITCHES).start()
    assert used(site) == {"s1:9-s3:1", "s3:2-s2:9"}
    assert set(states(site).values()) == {"waiting"}
    run(site, {}, PATIENCE + 1)
    assert set(states(site).values()) == {"unconfirmed"}
    assert used(site) == {"s1:9-s3:1", "s3:2-s2:9"}
    assert told(site) == ["link-unconfirmed"] * 2
    assert site.admin.discovery.doubtful() == 2
    run(site, DECLARED, 1)
    assert set(states(site).values()) == {"confirmed"}
    assert site.admin.discovery.doubtful() == 0


async def test_declared_links_that_are_as_declared_change_nothing_in_the_tables() -> None:
    site = await Site(TWO_SWITCHES).start()
    before = {name: dict(switch.tables) for name, switch in site.switches.items()}
    written = {name: switch.flow_mods for name, switch in site.switches.items()}
    run(site, DECLARED, 4)
    assert {name: switch.tables for name, switch in site.switches.items()} == before
    assert {name: switch.flow_mods for name, switch in site.switches.items()} == written
    assert not site.records.reasons()


async def test_a_declared_link_that_leads_elsewhere_is_an_alarm_and_not_used() -> None:
    site = await Site(TWO_SWITCHES).start()
    swapped = cables((("s1", 9), ("s3", 2)), (("s3", 1), ("s2", 9)))
    carry(site, swapped)
    assert set(states(site).values()) == {"contradicted"}
    assert used(site) == set()
    assert hops(site, 1) == {}
    assert set(site.records.reasons()) == {"lldp-unexpected"}
    assert site.state.counters["denied_lldp-unexpected"] == 4
    detail = next(link["detail"] for link in site.admin.discovery.view() if link["a"] == "s1:9")
    assert detail in ("a probe of s1:9 came in at s3:2", "a probe of s3:2 came in at s1:9")
    assert told(site) == ["link-contradicted"] * 2
    assert site.admin.discovery.doubtful() == 2
    run(site, DECLARED, PATIENCE - 1)
    assert used(site) == set()
    run(site, DECLARED, 2)
    assert used(site) == {"s1:9-s3:1", "s3:2-s2:9"}
    assert set(states(site).values()) == {"confirmed"}


async def test_a_trunk_without_a_link_makes_none_with_a_declared_one() -> None:
    network = TWO_SWITCHES.replace("s2: {}", "s2: {ports: {8: {role: trunk}}}")
    site = await Site(network).start()
    carry(site, DECLARED | cables((("s1", 9), ("s2", 8))))
    assert set(states(site)) == {"s1:9-s3:1", "s3:2-s2:9"}
    assert states(site)["s1:9-s3:1"] == "contradicted"


async def test_a_cable_back_to_the_same_switch_is_no_link() -> None:
    site = await Site(UNDECLARED).start()
    run(site, cables((("s1", 8), ("s1", 9))), 2)
    assert states(site) == {}
    assert set(site.records.reasons()) == {"lldp-unexpected"}


# what is no probe


async def test_a_probe_is_good_once_and_in_time() -> None:
    site = await Site(UNDECLARED).start()
    sent = dict(take(site))
    s2 = site.switches["s2"]
    frame = sent["s1", 8]
    s2.send(9, frame)
    assert not site.records.reasons()
    s2.send(9, frame)
    assert site.records.reasons() == ["lldp-unexpected"]
    site.now += site.state.limits.probe_age + 0.1
    site.s1.send(8, sent["s2", 9])
    assert site.records.reasons() == ["lldp-unexpected"] * 2
    site.admin.tick(site.now)
    assert states(site) == {}


async def test_a_probe_of_another_controller_or_a_forged_one_is_none() -> None:
    site = await Site(UNDECLARED).start()
    other = await Site(UNDECLARED).start()
    sent = dict(take(other))
    site.switches["s2"].send(9, sent["s1", 8])
    mine = bytearray(dict(take(site))["s1", 8])
    mine[-1] ^= 1
    site.switches["s2"].send(9, bytes(mine))
    site.switches["s2"].send(9, bytes(mine[:20]) + bytes(40))
    assert site.records.reasons() == ["lldp-forged"] * 3
    assert states(site) == {}


@pytest.mark.parametrize("port", [1, 2, 5])
async def test_lldp_from_a_port_with_hosts_is_an_alarm_and_never_a_link(port: int) -> None:
    """Made up or relayed; at a host's port and the portal's; nothing is forwarded."""
    site = await Site(UNDECLARED).start()
    relayed = dict(take(site))["s2", 9]
    outcome = site.s1.send(port, relayed)
    assert outcome.ports == []
    site.s1.send(port, relayed[:14] + bytes(PROBE_LENGTH - 14))
    assert site.records.reasons() == ["lldp-on-edge"] * 2
    assert site.records.of("denied")[0][0].port == port
    assert told(site) == ["probe-on-edge"]
    assert site.state.counters["probes_relayed"] == 1
    assert states(site) == {}
    # The relayed probe is used up: it does not arrive at the trunk as well.
    site.s1.send(8, relayed)
    assert site.records.reasons()[-1] == "lldp-unexpected"


async def test_two_hosts_that_relay_probes_between_them_make_no_link() -> None:
    """Probes go out of trunks alone, so there is nothing to relay; what comes in from them is refused anyway."""
    site = await Site(UNDECLARED).start()
    assert {port for (_, port), _ in take(site)} == {8, 9}
    run(site, cables((("s1", 4), ("s2", 4))), 3)
    assert states(site) == {}


async def test_probes_are_sent_to_trunks_that_are_up_once_an_interval_and_to_nobody_else() -> None:
    site = await Site(UNDECLARED).start()
    assert len(take(site)) == 6
    site.admin.port_status(site.s1, PortState(9, "p9", up=False), removed=False)
    for _ in range(52):
        later(site, 0.1)
    sent = take(site)
    assert {place for place, _ in sent} == {("s1", 8), ("s2", 8), ("s2", 9), ("s3", 8), ("s3", 9)}
    assert len(sent) == 5
    assert all(not switch.delivered for switch in site.switches.values())


async def test_the_key_is_of_this_run_and_in_no_text() -> None:
    site = await Site(UNDECLARED).start()
    discovery = site.admin.discovery
    other = (await Site(UNDECLARED).start()).admin.discovery
    assert discovery._key != other._key
    assert len(discovery._key) == 32
    assert discovery._key.hex() not in repr(site.records.calls)


async def test_what_is_on_its_way_is_forgotten_in_time() -> None:
    site = await Site(UNDECLARED).start()
    run(site, {}, 20)
    assert len(site.admin.discovery._on_their_way) <= 6
    later(site, site.state.limits.probe_age + 0.1)
    assert len(site.admin.discovery._on_their_way) <= 6


async def test_probes_that_came_too_early_do_not_end_a_link_that_a_later_one_has_found() -> None:
    site = await Site(UNDECLARED).start()
    take(site)
    one, other = (site.state.fabric.by_number[number] for number in (1, 2))
    for _ in range(PATIENCE):  # each time that its ports have changed it sends some, and nobody is there
        site.admin.discovery.switch_ready(one)
    assert [place for place, _ in take(site)] == [("s1", 8), ("s1", 9)] * PATIENCE
    later(site, 1)
    for point in (one, other):
        site.admin.discovery.switch_ready(point)
    carry(site, RING)
    assert states(site) == {"s1:8-s2:9": "confirmed"}
    later(site, site.state.limits.probe_age)
    assert states(site) == {"s1:8-s2:9": "confirmed"}


@given(st.data())
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
async def test_what_a_probe_says_is_told_at_once_wherever_it_arrives(data: st.DataObject) -> None:
    """A look at every link finds nothing that the probe itself has not led to."""
    site = await Site(data.draw(st.sampled_from((UNDECLARED, PARTLY)))).start()
    places = [(switch, port) for switch in site.switches for port in (8, 9)]
    for place, frame in data.draw(st.permutations(take(site))):
        likely = st.just(RING[place]) if place in RING else st.sampled_from(places)
        switch, port = data.draw(likely | st.sampled_from(places), label=f"where the probe of {place} arrives")
        site.switches[switch].send(port, frame)
        before = told(site), states(site), hops(site, 1)
        later(site, SWEEP_INTERVAL)
        assert (told(site), states(site), hops(site, 1)) == before
