"""DHCP and DNS with a real server: addresses before the login, names after it, and nobody else who plays the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import addressing
from labsite import Site, running

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

NETWORK = """
switches:
  s1: {ports: {4: {addresses: dhcp}}}
  s2: {ports: {4: {addresses: dhcp}}}
links: [[s1, s2]]
infrastructure:
  server: {switch: s1, ip: [10.7.0.2/24, "2001:db8:7::2/64"], serves: [dhcp, dns]}
hosts:
  web1:   {switch: s1, port: 4, ip: dhcp, login: {workload: web1, secret: lab-web1}}
  desk:   {switch: s2, port: 4, ip: dhcp, login: {user: bob, password: lab-bob}}
  rogue:  {switch: s2, ip: [10.7.0.66/24, "2001:db8:7::66/64"]}
"""
POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  app: {labels: {tier: app}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
  - {id: staff-web, from: [staff], to: [web], services: [icmp]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    topology = tmp_path / "topology"
    topology.mkdir()
    three_tier = Path(__file__).parents[2] / "topologies" / "three-tier"
    (topology / "network.yaml").write_text(NETWORK, encoding="utf-8")
    (topology / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (topology / "identities.yaml").write_bytes((three_tier / "identities.yaml").read_bytes())
    return topology


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    with running(folder, login=None) as running_site:
        yield running_site


def test_addresses_by_dhcp_then_a_login_with_them(site: Site) -> None:
    hosts, leases = site.network.hosts, site.network.leases
    assert set(leases) == {"web1", "desk"}
    for name in leases:
        assert {interface.version for interface in hosts[name].interfaces} == {4, 6}
    site.login("desk", "web1")
    sessions = {entry["principal"]: entry for entry in site.get("/sessions")["sessions"]}
    assert set(sessions["user:bob"]["addresses"]) == {str(address) for address in hosts["desk"].addresses}
    assert hosts["desk"].run(["ping", "-c1", "-W2", str(hosts["web1"].address(4))]).returncode == 0
    assert hosts["desk"].run(["ping", "-c1", "-W2", str(hosts["web1"].address(6))]).returncode == 0
    for family, held in leases["desk"].items():
        addressing.renew(hosts["desk"], family, held)
    counters = site.get("/health")
    assert counters["switch_errors"] == 0
