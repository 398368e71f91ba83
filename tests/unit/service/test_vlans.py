"""Edge ports that take tags: each VLAN is a place of its own, the tag goes at the edge and comes back there."""

from __future__ import annotations

import pytest

from fakes.frames import ACK, SYN_ACK, Host
from fakes.records import MemoryStore
from fakes.site import PORTAL, Site
from zethane.errors import PortRefusal
from zethane.net.vlan import tagged
from zethane.pipeline.fields import Reason
from zethane.pipeline.simulate import Simulator
from zethane.pipeline.tables import Table
from zethane.policy.principal import Principal
from zethane.service.switch import PacketIn

NETWORK = """
switches:
  s1: {ports: {7: {macs: 8, vlans: [20, 30]}, 6: {macs: 2, vlans: [2], untagged: true}}}
  s2: {}
links: [["s1:9", "s2:9"]]
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
"""
POLICY = """
version: 1
segments:
  printers: {labels: {role: printer}, vlan: 20}
  cameras: {labels: {role: camera}, vlan: 30}
  labs: {labels: {role: lab}, vlan: 2}
  staff: {labels: {role: staff}}
rules:
  - {id: print, from: [staff, cameras, labs], to: [printers], services: [tcp/631, icmp]}
  - {id: call, from: [printers], to: [staff], services: [udp/162]}
"""
PRINTER = Host(7, "02:00:00:00:00:71", "10.0.0.71", "2001:db8::71", vlan=20)
CAMERA = Host(7, "02:00:00:00:00:72", "10.0.0.72", vlan=30)
LAB = Host(6, "02:00:00:00:00:61", "10.0.0.61", vlan=2)
STAFF = Host(3, "02:00:00:00:00:31", "10.0.0.31")
FAR = Host(2, "02:00:00:00:00:22", "10.0.0.22")


def who(role: str, name: str = "") -> Principal:
    return Principal("workload", name or role, labels=(("role", role),))


async def start(store: MemoryStore | None = None) -> Site:
    site = await Site(NETWORK, POLICY, store).start()
    if store is None:
        site.login(PRINTER, who("printer"))
        site.login(CAMERA, who("camera"))
        site.login(LAB, who("lab"))
        site.login(STAFF, who("staff"))
        site.login(FAR, who("staff", "far"), "s2")
    return site


async def test_a_tag_goes_at_the_edge_and_comes_back_there() -> None:
    site = await start()
    s1 = site.s1
    syn, reply = STAFF.tcp(PRINTER, 40000, 631), PRINTER.tcp(STAFF, 631, 40000, SYN_ACK)
    s1.send(3, syn)
    assert s1.take() == [(7, tagged(syn, 20))]
    assert not s1.send(7, reply, vlan=20).to_controller
    data = STAFF.tcp(PRINTER, 40000, 631, ACK)
    assert not s1.send(3, data).to_controller
    assert s1.take() == [(3, reply), (7, tagged(data, 20))]


async def test_a_tagged_session_opens_flows_as_any_other() -> None:
    site = await start()
    trap = PRINTER.udp(STAFF, 5000, 162)
    for _ in range(2):
        site.s1.send(7, trap, vlan=20)
    assert site.s1.take() == [(3, trap), (3, trap)]


@pytest.mark.parametrize("vlan", [0, 30, 2, 21, 4095])
async def test_no_other_tag_than_its_own_is_a_sessions(vlan: int) -> None:
    site = await start()
    s1 = site.s1
    s1.send(7, PRINTER.udp(STAFF, 5000, 162), vlan=20)
    s1.take()
    for frame in (PRINTER.udp(STAFF, 5000, 162), PRINTER.udp(STAFF, 5001, 162), PRINTER.arp("10.0.0.31")):
        s1.send(7, frame, vlan=vlan)
    assert s1.take() == []
    s1.send(7, PRINTER.arp("10.0.0.31"), vlan=20)
    assert len(s1.take()) == 1


@pytest.mark.parametrize("vlan", [2, 20])
async def test_a_port_without_vlans_takes_no_tag(vlan: int) -> None:
    site = await start()
    for port, frame in ((3, STAFF.tcp(PRINTER, 40000, 631)), (3, STAFF.arp("10.0.0.71"))):
        assert site.s1.send(port, frame, vlan=vlan).last.table == Table.PORT  # type: ignore[union-attr]  # a miss
    assert site.s1.take() == []


async def test_a_priority_tag_is_a_tag() -> None:
    """VID 0 (IEEE 802.1Q-2022 §6.9): neither untagged nor a VLAN, also on a port that takes both."""
    site = await start()
    fields = {"in_port": 6, "vlan_vid": 0x1000, "eth_type": 0x0806}
    path = Simulator(site.s1.tables.values()).run(fields).path
    assert [flow.cookie for flow in path] == [Reason.REFUSED]


async def test_two_vlans_of_one_port_talk_through_the_policy_and_come_back_to_the_port() -> None:
    site = await start()
    s1 = site.s1
    syn, reply = CAMERA.tcp(PRINTER, 40000, 631), PRINTER.tcp(CAMERA, 631, 40000, SYN_ACK)
    s1.send(7, syn, vlan=30)
    s1.send(7, reply, vlan=20)
    outcome = s1.send(7, CAMERA.tcp(PRINTER, 40000, 631, ACK), vlan=30)
    assert not outcome.to_controller
    assert (outcome.ports, outcome.vlans) == ([7], [20])
    assert s1.take()[:2] == [(7, tagged(syn, 20)), (7, tagged(reply, 30))]


async def test_within_a_vlan_of_a_port_nothing_is_sent_back_where_it_came_from() -> None:
    site = await start()
    await site.use_policy(POLICY + "  - {id: relay, from: [printers], to: [printers], services: [tcp/631]}\n")
    other = Host(7, "02:00:00:00:00:73", "10.0.0.73", vlan=20)
    site.login(other, who("printer", "second"))
    site.s1.send(7, PRINTER.tcp(other, 40000, 631), vlan=20)
    outcome = site.s1.send(7, PRINTER.tcp(other, 40000, 631, ACK), vlan=20)
    assert outcome.last.table == Table.FORWARD  # type: ignore[union-attr]  # it has a rule
    assert site.s1.take() == []
    assert site.state.counters["not_sent_back"] == 1


async def test_a_tag_of_an_edge_port_and_the_number_of_a_switch_stay_apart() -> None:
    """VLAN 2 at the edge and switch 2 in the fabric: the one is gone before the other is there."""
    site = await start()
    s1, s2 = site.s1, site.switches["s2"]
    far = FAR.tcp(PRINTER, 40000, 631)
    s2.send(2, far)
    assert s1.take() == [(7, tagged(far, 20))]
    more = FAR.tcp(PRINTER, 40000, 631, ACK)
    assert (s2.send(2, more).ports, s2.take()) == ([9], [(9, tagged(more, 1))])
    assert s1.send(9, more, vlan=1).ports == [7]
    assert s1.take() == [(7, tagged(more, 20))]
    back = PRINTER.tcp(FAR, 631, 40000, ACK)
    assert s1.send(7, back, vlan=20).ports == [9]
    assert s1.take() == [(9, tagged(back, 2))]
    assert s2.send(9, back, vlan=2).ports == [2]
    # A frame tagged 2 that comes in at an edge is VLAN 2 or nothing, never one for switch 2.
    for port, host in ((6, LAB), (7, PRINTER), (3, STAFF)):
        assert site.s1.send(port, host.tcp(FAR, 40000, 631, ACK), vlan=2).ports == []


async def test_a_login_comes_from_the_vlan_of_its_connection_to_the_portal() -> None:
    site = await start()
    s1 = site.s1
    new = Host(7, "02:00:00:00:00:79", "10.0.0.79", vlan=20)
    syn, reply = new.tcp(PORTAL, 50000, 8080), PORTAL.tcp(new, 8080, 50000, SYN_ACK)
    s1.send(7, syn, vlan=20)
    s1.send(1, reply)
    s1.send(7, new.tcp(PORTAL, 50000, 8080, ACK), vlan=20)
    assert s1.take() == [(1, syn), (7, tagged(reply, 20)), (1, new.tcp(PORTAL, 50000, 8080, ACK))]
    (key,) = site.admin.portal_access._connections
    assert site.admin.portal_access.locate(key) == site.endpoint(new)
    # The same card and connection from another VLAN is somebody else.
    for vlan in (0, 30):
        s1.send(7, new.tcp(PORTAL, 50000, 8080, ACK), vlan=vlan)
    assert s1.take() == []
    assert site.records.reasons() == ["vlan-not-allowed", "address-in-use"]


async def test_a_question_is_answered_with_the_tag_that_it_had() -> None:
    site = await start()
    for frame, host in ((PRINTER.arp("10.0.0.254"), PRINTER), (CAMERA.arp("10.0.0.71"), CAMERA)):
        site.s1.send(7, frame, vlan=host.vlan)
        ((port, answer),) = site.s1.take()
        assert (port, answer[12:16].hex()) == (7, f"8100{host.vlan:04x}")
    site.s1.send(7, PRINTER.solicitation("2001:db8::fe", sender="2001:db8::71"), vlan=20)
    assert [answer[12:16].hex() for _, answer in site.s1.take()] == ["81000014"]


@pytest.mark.parametrize(
    ("host", "role"),
    [
        (Host(7, "02:00:00:00:00:79", "10.0.0.79", vlan=20), "camera"),
        (Host(7, "02:00:00:00:00:79", "10.0.0.79", vlan=20), "staff"),
        (Host(7, "02:00:00:00:00:79", "10.0.0.79", vlan=2), "lab"),
        (Host(7, "02:00:00:00:00:79", "10.0.0.79"), "printer"),
        (Host(3, "02:00:00:00:00:31", "10.0.0.79", vlan=20), "printer"),
    ],
)
async def test_a_login_is_only_good_in_the_vlan_of_its_segment_on_a_port_that_takes_it(host: Host, role: str) -> None:
    site = await start()
    before = len(site.state.sessions)
    with pytest.raises(PortRefusal):
        site.login(host, who(role, "new"))
    assert site.records.reasons() == ["vlan-not-allowed"]
    assert len(site.state.sessions) == before


async def test_without_a_tag_a_session_may_be_of_any_segment() -> None:
    site = await start()
    untagged = Host(6, "02:00:00:00:00:79", "10.0.0.79")
    site.login(untagged, who("printer", "new"))
    syn = STAFF.tcp(untagged, 40000, 631)
    site.s1.send(3, syn)
    assert site.s1.take() == [(6, syn)]


async def test_a_policy_that_moves_a_segment_to_another_vlan_ends_its_sessions_there() -> None:
    site = await start()
    site.s1.send(3, STAFF.tcp(PRINTER, 40000, 631))
    site.s1.take()
    await site.use_policy(POLICY.replace("vlan: 20", "vlan: 21"))
    assert [event for event, *_ in site.records.of("session")][-1] == "vlan-not-allowed"
    assert len(site.state.sessions) == 4
    site.s1.send(3, STAFF.tcp(PRINTER, 40000, 631, ACK))
    site.s1.send(7, PRINTER.tcp(STAFF, 631, 40000, ACK), vlan=20)
    assert site.s1.take() == []


async def test_a_restart_takes_up_vlans_and_the_portals_connections_in_them() -> None:
    site = await start()
    site.s1.send(7, PRINTER.tcp(PORTAL, 50000, 8080), vlan=20)
    again = Site(NETWORK, POLICY, site.store)
    again.now = site.now
    for name, switch in again.switches.items():
        switch.tables = dict(site.switches[name].tables)
    await again.start()
    assert [switch.flow_mods for switch in again.switches.values()] == [0, 0]
    assert len(again.state.sessions) == 5
    answer = PORTAL.tcp(PRINTER, 8080, 50000, ACK)
    again.s1.send(1, answer)
    assert again.s1.take() == [(7, tagged(answer, 20))]
    # A port that takes the tag no longer has no session and no connection there.
    third = Site(NETWORK.replace("[20, 30]", "[30]"), POLICY, site.store)
    third.s1.tables = dict(site.s1.tables)
    await third.start()
    assert len(third.admin.portal_access) == 0
    assert [event for event, *_ in third.records.of("session")] == ["vlan-not-allowed"]
    third.s1.send(7, PRINTER.udp(STAFF, 5000, 162), vlan=20)
    third.s1.send(1, answer)
    assert third.s1.take() == []


@pytest.mark.parametrize(
    ("vlan", "reason"), [(20, "neighbour-spoof"), (21, "vlan-not-allowed"), (0, "vlan-not-allowed")]
)
async def test_what_is_refused_behind_a_tag_that_the_port_takes_is_named_for_itself(vlan: int, reason: str) -> None:
    site = await start()
    rarp = PRINTER.arp("10.0.0.31")
    rarp = rarp[:12] + b"\x80\x35" + rarp[14:]
    fields = {"in_port": 7, "vlan_vid": 0x1000 | vlan if vlan else 0, "eth_type": 0x8035}
    assert Simulator(site.s1.tables.values()).run(fields).path[-1].cookie == Reason.REFUSED
    site.admin.packet_in(site.s1, PacketIn(7, Table.PORT, Reason.REFUSED, 0, tagged(rarp, vlan)))
    assert site.records.reasons() == [reason]
