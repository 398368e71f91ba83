"""Tags on a real bridge: what comes off, what goes on, and what does not pass at all."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator

import pytest

from fakes.frames import ACK, SYN, SYN_ACK, Host, packed
from fakes.site import PORTAL
from livesite import LiveSite
from openvswitch import Bridge, Step
from wires import Wires
from zethane.net.vlan import tagged
from zethane.pipeline.simulate import Simulator
from zethane.policy.principal import Principal
from zethane.service.intent import intended

pytestmark = pytest.mark.ovs

POLICY = """
version: 1
segments:
  printers: {labels: {role: printer}, vlan: 20}
  cameras: {labels: {role: camera}, vlan: 30}
  staff: {labels: {role: staff}}
rules:
  - {id: print, from: [staff, cameras], to: [printers], services: [tcp/631, udp/631]}
  - {id: call, from: [printers], to: [staff], services: [udp/162]}
"""
PORTS = "ports: {4: {macs: 8, vlans: [20, 30]}, 5: {vlans: [20], untagged: true}}"
STAFF = Host(2, "02:00:00:00:00:21", "10.0.0.21")
PRINTER = Host(4, "02:00:00:00:00:41", "10.0.0.41", vlan=20)
CAMERA = Host(4, "02:00:00:00:00:42", "10.0.0.42", vlan=30)
VISITOR = Host(4, "02:00:00:00:00:43", "10.0.0.43", vlan=30)


def tag(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """A frame with tags, each (protocol, VLAN), the first outermost."""
    return frame[:12] + b"".join(struct.pack("!HH", *one) for one in tags) + frame[12:]


@pytest.fixture
async def site(bridge: Bridge) -> AsyncIterator[LiveSite]:
    """A bridge with a legacy switch behind port 4; everybody is logged in but the visitor."""
    live = await LiveSite(bridge, POLICY, ports=PORTS).start()
    for host, role in ((STAFF, "staff"), (PRINTER, "printer"), (CAMERA, "camera")):
        live.login(host, Principal("workload", role, labels=(("role", role),)))
    await live.channel.barrier()
    yield live
    assert live.records.of("refused") == []
    assert live.state.counters["switch_errors"] == 0
    await live.stop()


async def test_tags_come_off_and_go_on_at_the_edge(site: LiveSite) -> None:
    """The first packet is the controller's to deliver, the others are the switch's."""
    talks = [
        (STAFF.tcp(PRINTER, 40000, 631, SYN), STAFF, PRINTER),
        (PRINTER.tcp(STAFF, 631, 40000, SYN_ACK), PRINTER, STAFF),
        (STAFF.tcp(PRINTER, 40000, 631, ACK), STAFF, PRINTER),
        (CAMERA.tcp(PRINTER, 40000, 631, SYN), CAMERA, PRINTER),
        (PRINTER.tcp(CAMERA, 631, 40000, SYN_ACK), PRINTER, CAMERA),
        (CAMERA.tcp(PRINTER, 40000, 631, ACK), CAMERA, PRINTER),
        (PRINTER.udp(STAFF, 5000, 162), PRINTER, STAFF),
        (PRINTER.udp(STAFF, 5000, 162), PRINTER, STAFF),
    ]
    with Wires(site.bridge, range(1, 7)) as wires:
        for frame, source, target in talks:
            wires.send(source.port, tagged(frame, source.vlan))
            assert await wires.next() == (target.port, tagged(frame, target.vlan))
            await site.channel.barrier()
    assert site.records.reasons() == []


HOPS = {
    "the other VLAN of the port": (4, (0x8100, 30)),
    "no tag where one is needed": (4,),
    "a VLAN that the port does not take": (4, (0x8100, 21)),
    "a priority tag": (4, (0x8100, 0)),
    "a priority tag outside": (4, (0x8100, 0), (0x8100, 20)),
    "two tags": (4, (0x8100, 20), (0x8100, 20)),
    "two tags, the inner one foreign": (4, (0x8100, 20), (0x8100, 30)),
    "two tags, the outer one foreign": (4, (0x8100, 30), (0x8100, 20)),
    "802.1ad with 802.1Q inside": (4, (0x88A8, 20), (0x8100, 20)),
    "802.1Q with 802.1ad inside": (4, (0x8100, 20), (0x88A8, 20)),
    "802.1ad of the other VLAN": (4, (0x88A8, 30)),
    "three tags": (4, (0x8100, 20), (0x8100, 20), (0x8100, 20)),
    "QinQ of old": (4, (0x9100, 20)),
    "the right tag at another port that takes it": (5, (0x8100, 20)),
    "the right tag at a port without tags": (3, (0x8100, 20)),
}


OTHER_PLACES = (
    "the other VLAN of the port",
    "802.1ad of the other VLAN",
    "the right tag at another port that takes it",
)


@pytest.mark.parametrize("name", HOPS)
async def test_nothing_hops(site: LiveSite, name: str) -> None:
    """The printer's flow lives, its rules are in the switch: a frame with other tags does not profit from it."""
    port, *tags = HOPS[name]
    live = PRINTER.udp(STAFF, 5000, 162)
    with Wires(site.bridge, range(1, 7)) as wires:
        for _ in range(2):
            wires.send(4, tagged(live, 20))
            assert await wires.next() == (2, live)
            await site.channel.barrier()
        for frame in (
            PRINTER.udp(STAFF, 5000, 162, b"hop"),
            PRINTER.udp(STAFF, 5001, 162, b"hop"),
            PRINTER.tcp(PORTAL, 50000, 8080),
            PRINTER.arp("10.0.0.254"),
        ):
            wires.send(port, tag(frame, *tags))  # type: ignore[arg-type]  # a port, then tags
        # The portal and its MAC are there for everybody who comes in by a VLAN that a port takes: that is no hop.
        wanted = [1, port] if name in OTHER_PLACES else []
        heard = [await wires.next() for _ in wanted]
        # The controller's answer to the last question comes when there is nothing else left of its port.
        wires.send(4, tagged(PRINTER.arp("10.0.0.254"), 20))
        heard.append(await wires.next())
    assert [out for out in heard if b"hop" in out[1]] == []
    assert sorted(out for out, _ in heard) == sorted([*wanted, 4])
    assert heard[-1][1][12:18].hex() == "810000140806"
    # In another place the printer's address is somebody else's lie.
    assert ("neighbour-spoof" in site.records.reasons()) is (name in OTHER_PLACES)


async def test_a_login_over_a_tag_is_located_there(site: LiveSite) -> None:
    """Connection to the portal and ARP, both ways, with the tag of their VLAN."""
    syn, reply = VISITOR.tcp(PORTAL, 50000, 8080), PORTAL.tcp(VISITOR, 8080, 50000, SYN_ACK)
    ack = VISITOR.tcp(PORTAL, 50000, 8080, ACK)
    with Wires(site.bridge, range(1, 7)) as wires:
        wires.send(4, tagged(VISITOR.arp("10.0.0.254"), 30))
        port, answer = await wires.next()
        assert (port, answer[:6].hex(":"), answer[12:18].hex()) == (4, VISITOR.mac, "8100001e0806")
        for frame, source, target in ((syn, VISITOR, PORTAL), (reply, PORTAL, VISITOR), (ack, VISITOR, PORTAL)):
            wires.send(source.port, tagged(frame, source.vlan))
            assert await wires.next() == (target.port, tagged(frame, target.vlan))
            await site.channel.barrier()
    (key,) = site.admin.portal_access._connections
    assert site.admin.portal_access.locate(key) == site.endpoint(VISITOR)


async def test_a_port_for_a_login_is_reached_before_login_and_no_other(bridge: Bridge) -> None:
    """Both ways, on a real bridge: the handshake and what follows, then without the controller."""
    site = LiveSite(bridge, POLICY, portal="login_ports: [9443]")
    guest = Host(5, "02:00:00:00:00:51", "10.0.0.51")
    await site.start()
    with Wires(bridge, range(1, 7)) as wires:
        talk = (
            guest.tcp(PORTAL, 50000, 9443, SYN),
            PORTAL.tcp(guest, 9443, 50000, SYN_ACK),
            guest.tcp(PORTAL, 50000, 9443, ACK),
        )
        for frame, source, target in zip(talk, (guest, PORTAL, guest), (PORTAL, guest, PORTAL), strict=True):
            wires.send(source.port, frame)
            assert await wires.next() == (target.port, frame)
            await site.channel.barrier()
        (key,) = site.admin.portal_access._connections
        assert site.admin.portal_access.locate(key) is None
        wires.send(guest.port, guest.tcp(PORTAL, 50001, 9444, SYN))
        wires.send(guest.port, guest.tcp(PORTAL, 50000, 9443, ACK, b"last"))
        assert await wires.next() == (PORTAL.port, guest.tcp(PORTAL, 50000, 9443, ACK, b"last"))
    await site.stop()


KINDS = {
    "arp": {"eth_type": 0x0806},
    "udp": {
        "eth_type": 0x0800,
        "eth_src": 0x020000000041,
        "eth_dst": 0x020000000021,
        "ipv4_src": int.from_bytes(packed("10.0.0.41"), "big"),
        "ipv4_dst": int.from_bytes(packed("10.0.0.21"), "big"),
        "ip_proto": 17,
        "udp_src": 5000,
        "udp_dst": 162,
    },
}


@pytest.mark.parametrize("kind", KINDS)
async def test_the_tables_and_the_switch_agree_on_tags(site: LiveSite, kind: str) -> None:
    """The way through the tables, for every port and every kind of tag."""
    tables = Simulator(intended(site.state, site.point).values())
    for port in range(1, 7):
        for tag in (0, 0x1000, 0x1014, 0x101E, 0x1015, 0x1FFF):
            packet = {"in_port": port, "vlan_vid": tag, **KINDS[kind]}
            trace = site.bridge.trace({name: value for name, value in packet.items() if value or name != "vlan_vid"})
            path = tables.run(packet).path
            assert trace.steps == tuple(Step(flow.table, flow.priority, flow.cookie) for flow in path), trace.text


async def test_a_bridge_with_vlans_is_found_right_by_the_next_look(site: LiveSite) -> None:
    """Every entry comes back from the switch as it was written, those with tags, metadata and port among them."""
    assert await site.reconcile() == 0
