"""EAPOL on a real bridge: up where hosts authenticate by it, answered at the one port, and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fakes.eapol import IDENTITY, answers, eapol, start
from fakes.frames import Host
from fakes.port_access import IDENTITIES, POLICY, FakeRadius, authenticate_at
from livesite import LiveSite
from openvswitch import Bridge, Step
from wires import Wires
from zethane.audit.reason import DenyReason
from zethane.identity.directory import parse_identities
from zethane.net.eapol import Eap, parse_frame
from zethane.net.vlan import tagged, untagged
from zethane.pipeline.simulate import Simulator
from zethane.pipeline.tables import VLAN_PRESENT
from zethane.service.intent import intended

pytestmark = pytest.mark.ovs

PORTS = "ports: {2: {dot1x: true}, 4: {dot1x: true, vlans: [20, 30]}}"
LAPTOP = Host(2, "02:00:00:00:00:15", "10.0.0.21")
PLAIN = Host(3, "02:00:00:00:00:16", "10.0.0.22")
TAGGED = Host(4, "02:00:00:00:00:17", "10.0.0.23", vlan=20)


@pytest.fixture
async def radius() -> FakeRadius:
    return FakeRadius()


@pytest.fixture
async def site(bridge: Bridge, radius: FakeRadius) -> AsyncIterator[LiveSite]:
    live = LiveSite(bridge, POLICY, ports=PORTS)
    authenticate_at(live, radius, lambda *_: None, parse_identities(IDENTITIES, "identities.yaml"))
    await live.start()
    yield live
    assert live.state.counters["switch_errors"] == 0
    radius.leave()
    await live.stop()


def read(frame: bytes) -> tuple[int, Eap | None]:
    vlan, inner = untagged(frame)
    found = parse_frame(inner)
    assert found is not None, frame.hex()
    return vlan, found.eap


async def test_a_host_is_answered_at_its_port_and_in_its_vlan_alone(site: LiveSite) -> None:
    with Wires(site.bridge, range(1, 7)) as wires:
        for host in (LAPTOP, TAGGED):
            wires.send(host.port, tagged(start(host), host.vlan))
            port, frame = await wires.next()
            vlan, eap = read(frame)
            assert (port, vlan, frame[:6]) == (host.port, host.vlan, start(host)[6:12])
            assert eap is not None
            wires.send(host.port, tagged(answers(host, eap.identifier, IDENTITY, b"alice"), host.vlan))
        # Whatever else there is comes out before this.
        wires.send(LAPTOP.port, start(Host(2, "02:00:00:00:00:77", "10.0.0.77")))
        assert (await wires.next())[1][:6] == bytes.fromhex("020000000077")
    assert site.records.reasons() == []


async def test_elsewhere_it_is_a_strange_frame(site: LiveSite) -> None:
    with Wires(site.bridge, range(1, 7)) as wires:
        wires.send(PLAIN.port, start(PLAIN))
        wires.send(LAPTOP.port, eapol(LAPTOP, 1, to="ff:ff:ff:ff:ff:ff"))
        wires.send(LAPTOP.port, eapol(LAPTOP, 1, to=PLAIN.mac))
        wires.send(TAGGED.port, start(TAGGED))
        wires.send(TAGGED.port, tagged(start(TAGGED), 21))
        wires.send(LAPTOP.port, start(LAPTOP))
        assert (await wires.next())[0] == LAPTOP.port
    reasons = site.records.reasons()
    assert reasons.count(DenyReason.MALFORMED) == 3
    assert reasons.count(DenyReason.VLAN_NOT_ALLOWED) == 2


GROUP, OWN = 0x0180C2000003, 0x027A65746803


@pytest.mark.parametrize("destination", [GROUP, OWN, 0x0180C2000000, 0xFFFFFFFFFFFF, 0x020000000016])
async def test_the_bridge_and_the_simulator_agree(site: LiveSite, destination: int) -> None:
    table = Simulator(intended(site.state, site.point).values())
    for port, vlan in [(port, vlan) for port in (1, 2, 3, 4) for vlan in (0, 20, 21)]:
        fields = {"in_port": port, "eth_dst": destination, "eth_src": 0x020000000015, "eth_type": 0x888E}
        simulated = table.run({**fields, "vlan_vid": VLAN_PRESENT | vlan if vlan else 0})
        trace = site.bridge.trace(fields | ({"dl_vlan": vlan} if vlan else {"vlan_tci": 0}))
        assert list(trace.steps) == [Step(flow.table, flow.priority, flow.cookie) for flow in simulated.path]
        wanted = (port, vlan) in ((2, 0), (4, 20)) and destination in (GROUP, OWN)
        assert any(does.startswith("CONTROLLER:65535") for does in trace.does) is wanted
        assert not any(does.startswith("output") for does in trace.does)
