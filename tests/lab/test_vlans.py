"""A legacy switch behind a port: who gets in, what passes, and what does not hop, with real hosts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from attack.capture import Tap
from attack.namespace import inside
from fakes.frames import Host, ethernet, ip
from lab import openvswitch
from lab.errors import LabError
from lab.ledger import Ledger
from lab.network import LabNetwork
from lab.stream import Stream
from labsite import TOPOLOGIES, Site, reaches, running
from zethane.net.mac import format_mac
from zethane.net.vlan import tagged
from zethane.network.load import parse_network

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("switches")]

MORE_HOSTS = """
  camera:
    {switch: s2, port: 7, vlan: 30, ip: 10.20.0.32/24, login: {workload: camera, secret: lab-printer}}
  squatter: {switch: s2, port: 7, vlan: 20, ip: 10.20.0.33/24}
"""
MORE_RULES = """
  - {id: watch, from: [cameras], to: [printers], services: [udp/161]}
  - {id: alarm, from: [printers], to: [staff], services: [udp/162]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The branch with a camera and a stranger beside its printer."""
    copy = tmp_path_factory.mktemp("vlans") / "branch"
    shutil.copytree(TOPOLOGIES / "branch", copy)
    _edit(copy / "network.yaml", ("\nhosts:\n", "\nhosts:" + MORE_HOSTS), ("vlans: [20]", "vlans: [20, 30]"))
    identities = (copy / "identities.yaml").read_text(encoding="utf-8")
    printer = identities[identities.index("  printer:") :]
    _edit(copy / "identities.yaml", (printer, printer + printer.replace("printer", "camera")))
    segment = "\n  cameras: {labels: {role: camera}, vlan: 30}\n\nservices:"
    _edit(copy / "policy.yaml", ("\n\nservices:", segment), ("\n\ntests:", MORE_RULES + "\ntests:"))
    return copy


def _edit(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    """Staff, files, printer and camera are logged in."""
    with running(folder, login=("desk", "files", "printer", "camera")) as site:
        yield site


def as_sent(site: Site, name: str, vlan: int) -> Host:
    """A host as the writer of frames knows it."""
    host = site.network.network.hosts[name]
    return Host(host.port, format_mac(host.mac), *(str(interface.ip) for interface in host.interfaces), vlan=vlan)


def test_a_login_from_behind_a_legacy_switch_is_in_its_vlan(site: Site) -> None:
    sessions = {one["principal"]: one for one in site.get("/sessions")["sessions"]}
    places = {name: (one["dpid"], one["port"], one["vlan"]) for name, one in sessions.items()}
    assert places["workload:printer"] == ("0000000000000002", 7, 20)
    assert places["workload:camera"] == ("0000000000000002", 7, 30)
    assert places["workload:files"][2] == places["user:bob"][2] == 0


@pytest.mark.parametrize(
    ("source", "target", "proto", "port"),
    [
        ("desk", "printer", "tcp", 631),
        ("desk", "printer", "icmp", 0),
        ("printer", "files", "tcp", 443),
        ("printer", "desk", "udp", 162),
        ("camera", "printer", "udp", 161),
    ],
)
def test_what_rules_allow_passes_both_ways(site: Site, source: str, target: str, proto: str, port: int) -> None:
    """The switch carries the packets: per-flow rules are there, and nothing is lost, between VLANs of a port too."""
    hosts = site.network.hosts
    with Stream(hosts[source], hosts[target], proto, port) as stream:  # type: ignore[arg-type]  # from the table above
        stream.wait_received(50)
        stream.stop()
        assert stream.missing() == []


def test_what_no_rule_allows_does_not(site: Site) -> None:
    hosts = site.network.hosts
    for source, target in (("printer", "desk"), ("files", "printer"), ("camera", "desk"), ("printer", "camera")):
        address = str(hosts[target].address())
        assert hosts[source].run(["ping", "-c", "1", "-W", "1", address]).returncode != 0, (source, target)


def test_a_stranger_in_the_printers_vlan_gets_no_further_than_the_legacy_switch(site: Site) -> None:
    hosts = site.network.hosts
    ping = ["ping", "-c", "1", "-W", "1", str(hosts["printer"].address())]
    assert reaches(lambda: hosts["squatter"].run(ping).returncode)
    assert hosts["squatter"].run(["ping", "-c", "1", "-W", "1", str(hosts["files"].address())]).returncode != 0
    hosts["squatter"].login = hosts["camera"].login
    with pytest.raises(LabError, match="VLAN 20"):
        site.network.login("squatter")
    refused = site.wait_record("session", reason="login-refused", detail="vlan-not-allowed")
    assert (refused["switch"], refused["port"], refused["vlan"]) == ("s2", 7, 20)


def test_nothing_hops_from_the_trunk_of_a_legacy_switch(site: Site) -> None:
    """What the legacy switch itself could send if somebody took it over: the printer's packets with other tags."""
    network = site.network
    printer, desk = as_sent(site, "printer", 20), as_sent(site, "desk", 0)
    alarm = printer.udp(desk, 5000, 162, b"hop")
    trunk = network.legacy["printer"].trunk
    rightly = tagged(alarm.replace(b"hop", b"ok!"), 20)
    hops = [
        alarm,
        tagged(alarm, 30),
        tagged(alarm, 21),
        tagged(alarm, network.network.switches["s2"].number),
        tagged(tagged(alarm, 20), 20),
        tagged(tagged(alarm, network.network.switches["s1"].number), 20),
        tagged(tagged(alarm, 30), 20),
        tagged(alarm, 20).replace(b"\x81\x00\x00\x14", b"\x81\x00\x00\x00"),
        tagged(tagged(alarm, 20), 30).replace(b"\x81\x00\x00\x1e", b"\x88\xa8\x00\x1e"),
        tagged(tagged(alarm, 20), 20).replace(b"\x81\x00\x00\x14", b"\x88\xa8\x00\x14", 1),
    ]
    sender, desks = Tap(trunk), inside(network.hosts["desk"].pid, lambda: Tap("eth0"))
    ears = [Tap(network.port(*end)) for link in network.network.links for end in (link.a, link.b)]
    with Stream(network.hosts["printer"], network.hosts["desk"], "udp", 162) as stream:
        stream.wait_received(20)
        before = len(stream.received)
        sender.send([rightly, *hops, rightly])
        stream.wait_received(before + 50)
    heard = {ear: ear.drain() for ear in (sender, desks, *ears)}
    for ear in heard:
        ear.close()
    assert [frame.hex() for frames in heard.values() for frame in frames if b"hop" in frame] == []
    assert len([frame for frame in heard[desks] if b"ok!" in frame]) == 2


def test_a_host_cannot_tag_itself_into_another_vlan(site: Site) -> None:
    """At a port without VLANs every tag is refused, with the reason in the log."""
    network = site.network
    desk, printer = as_sent(site, "desk", 0), as_sent(site, "printer", 20)
    echo = ethernet(desk.mac, printer.mac, *ip(desk.ip, printer.ip, 1, bytes((8, 0, 0, 0, 0, 1, 0, 1)) + b"hop"))
    trunk = Tap(network.legacy["printer"].trunk)
    place = network.network.hosts["desk"]
    network.hosts["desk"].run(["python3", "-c", _SEND, *(tagged(echo, vlan).hex() for vlan in (20, 2, 1, 30))])
    record = site.wait_record("decision", reason="vlan-not-allowed", port=place.port)
    assert record["switch"] == "s2"
    assert [frame for frame in trunk.drain() if b"hop" in frame] == []
    trunk.close()


_SEND = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
for frame in sys.argv[1:]:
    wire.send(bytes.fromhex(frame))
"""


def test_a_legacy_switch_is_the_runs_own_and_goes_with_it() -> None:
    """Also without Zethane, where the VLANs are all that keeps hosts apart."""
    text = """
switches: {s1: {ports: {7: {macs: 8, vlans: [20, 30]}, 8: {macs: 2}}}}
hosts:
  a: {switch: s1, port: 7, vlan: 20, ip: 10.9.0.1/24}
  b: {switch: s1, port: 7, vlan: 20, ip: 10.9.0.2/24}
  c: {switch: s1, port: 7, vlan: 30, ip: 10.9.0.3/24}
  d: {switch: s1, port: 8, ip: 10.9.0.4/24}
  e: {switch: s1, port: 8, ip: 10.9.0.5/24}
  f: {switch: s1, ip: 10.9.0.6/24}
"""
    with LabNetwork(parse_network(text, "network.yaml"), unprotected=True) as lab:
        bridges = [legacy.bridge for legacy in lab.legacy.values()]
        assert set(bridges) <= set(lab.ledger.noted("bridge")) & set(openvswitch.existing_bridges())
        assert len(set(bridges)) == 2
        reached = {
            f"{source}{target}": lab.hosts[source].run(["ping", "-c", "1", "-W", "1", address]).returncode == 0
            for source, target in ("ab", "ac", "af", "de", "df", "fe", "fc")
            if (address := str(lab.hosts[target].address()))
        }
        assert reached == {"ab": True, "ac": False, "af": False, "de": True, "df": True, "fe": True, "fc": False}
        run_id = lab.ledger.run_id
    assert not [name for name in openvswitch.existing_bridges() if name.startswith(run_id)]
    with pytest.raises(LabError):
        Ledger.open_old(run_id)
