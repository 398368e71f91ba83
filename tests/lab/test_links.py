"""Links between real switches: found by probes where nobody declared them, and never at a port with hosts."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.network import LabNetwork
from lab.processes import wait_for
from lab.stream import Stream
from labsite import PORTAL_ONLY, TIERS, Site
from zethane.app.topology import load_topology
from zethane.net.lldp import ETH_LLDP, PROBE_LENGTH

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

HOSTS = """
hosts:
  web1: {switch: s1, ip: 10.0.0.11/24, login: {workload: web1, secret: lab-web1}}
  app1: {switch: s2, ip: 10.0.0.13/24, login: {workload: app1, secret: lab-app1}}
  db1:  {switch: s3, ip: 10.0.0.14/24, login: {workload: db1, secret: lab-db1}}
"""
CABLES = (
    """
switches: {s1: {}, s2: {}, s3: {}}
links: [["s1:21", "s2:22"], ["s2:21", "s3:22"], ["s3:21", "s1:22"]]
"""
    + HOSTS
)
TRUNKS = (
    """
switches:
  s1: {ports: {21: {role: trunk}, 22: {role: trunk}}}
  s2: {ports: {21: {role: trunk}, 22: {role: trunk}}}
  s3: {ports: {21: {role: trunk}, 22: {role: trunk}}}
"""
    + HOSTS
)
POLICY = (
    TIERS
    + """\
rules:
  - {id: web-app, from: [web], to: [app], services: [udp/8080]}
"""
)
SEND = (
    "import socket,sys; s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW); s.bind(('eth0',0)); "
    "s.send(bytes.fromhex(sys.argv[1]))"
)


@contextmanager
def discovering(folder: Path) -> Iterator[Site]:
    """Three switches in a ring, of which the controller is told the trunks and no links."""
    shutil.copytree(PORTAL_ONLY, folder)
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (folder / "network.yaml").write_text(CABLES, encoding="utf-8")
    built = load_topology(folder).network
    assert built is not None
    (folder / "network.yaml").write_text(TRUNKS, encoding="utf-8")
    with LabNetwork(built, folder) as network:
        network.start_controller()
        network.start_portal()
        yield Site(network)


def links(site: Site) -> dict[tuple[str, str], Any]:
    return {(link["a"], link["b"]): link for link in site.get("/links")["links"]}


RING = {("s1:21", "s2:22"), ("s2:21", "s3:22"), ("s1:22", "s3:21")}


def wait_links(site: Site, wanted: set[tuple[str, str]]) -> None:
    """Wait until paths lead over exactly these links."""

    def found() -> bool | None:
        return {ends for ends, link in links(site).items() if link["used"]} == wanted or None

    wait_for(f"The links are not {wanted}", found, 30.0, lambda: str(links(site)))


def sniff(interface: str) -> bytes:
    """The next probe that arrives at an interface of this machine: what somebody at the cable sees."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_LLDP)) as raw:
        raw.bind((interface, ETH_LLDP))
        raw.settimeout(20.0)
        return raw.recv(2048)


def test_a_fabric_that_nobody_declared_carries_traffic_and_hosts_add_no_link_to_it(tmp_path: Path) -> None:
    with discovering(tmp_path / "topology") as site:
        wait_links(site, RING)
        assert {link["origin"] for link in links(site).values()} == {"discovered"}
        site.login("web1", "app1")
        hosts = site.network.hosts
        with Stream(hosts["web1"], hosts["app1"], "udp", 8080) as stream:
            stream.wait_received(100)
            _relay(site)
            cable = next(link for link in site.network.network.links if link.a == ("s1", 21))
            site.network.set_link(cable, up=False)
            wait_links(site, RING - {("s1:21", "s2:22")})
            stream.wait_received(100)
            site.network.set_link(cable, up=True)
            wait_links(site, RING)
            stream.wait_received(100)
        reasons = {record["reason"] for record in site.records("switch")}
        assert reasons >= {"link-discovered", "link-lost", "probe-on-edge"}
        assert site.health()["switch_errors"] == 0


def _relay(site: Site) -> None:
    """A host sends a probe in that was taken from a trunk, whole and then changed."""
    place = site.network.network.hosts["db1"]
    before = links(site).keys()
    probe = sniff(site.network.port("s1", 21))
    assert len(probe) == PROBE_LENGTH
    for frame in (probe, probe[:-3] + b"\0\0\0"):
        done = site.network.hosts["db1"].run(["python3", "-c", SEND, frame.hex()])
        assert done.returncode == 0, done.stderr
    record = site.wait_record("switch", reason="probe-on-edge")
    assert record["switch"] == place.switch
    denied = [record for record in site.records("decision") if record["reason"] == "lldp-on-edge"]
    assert {(record["switch"], record["port"]) for record in denied} == {(place.switch, place.port)}
    assert links(site).keys() == before
