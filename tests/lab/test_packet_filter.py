"""An exported ruleset at work: packets between two namespaces pass where the policy allows them, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from zethane.convert import Known, export_nftables
from zethane.policy.decide import decide
from zethane.policy.load import parse_policy
from zethane.policy.principal import External, Party, Principal

pytestmark = pytest.mark.lab

POLICY = parse_policy(
    """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  ops: {labels: {tier: ops}}
rules:
  - {id: web-db, from: [web], to: [db], services: [tcp/5432, udp/5000-5001]}
  - {id: ops-db, from: [ops], to: [db], services: [any]}
  - {id: strong, from: [web], to: [db], services: [tcp/5433], when: {mfa: true}}
  - {id: here, from: [web], to: [db], services: [tcp/5434], when: {subject: {networks: [10.9.0.0/28]}}}
  - {id: no-ssh, from: [any], to: [db], services: [tcp/22], action: deny}
  - {id: db-web, from: [db], to: [web], services: [icmp, tcp/5434]}
  - {id: world-db, from: {networks: [198.51.100.0/24, "2001:db8:ffff::/48"]}, to: [db], services: [tcp/5432, icmp]}
  - {id: not-him, from: {networks: [198.51.100.9/32]}, to: [db], services: [tcp/5432], action: deny}
  - {id: db-world, from: [db], to: {networks: [0.0.0.0/0]}, services: [udp/5000]}
""",
    "policy.yaml",
)


def workload(name: str, tier: str) -> Principal:
    return Principal("workload", name, labels=(("tier", tier),))


DB = workload("db1", "db")
OWN = ("10.9.0.1", "2001:db8:9::1")
PARTIES: dict[str, Party] = {
    "10.9.0.11": workload("web1", "web"),
    "2001:db8:9::11": workload("web1", "web"),
    "10.9.0.30": workload("web2", "web"),
    "10.9.0.13": workload("ops1", "ops"),
    "2001:db8:9::13": workload("ops1", "ops"),
    "10.9.0.14": workload("db2", "db"),
    "10.9.0.66": None,
    "198.51.100.7": External(ip_address("198.51.100.7")),
    "198.51.100.9": External(ip_address("198.51.100.9")),
    "203.0.113.9": External(ip_address("203.0.113.9")),
    "2001:db8:ffff::7": External(ip_address("2001:db8:ffff::7")),
}
PORTS = (22, 5000, 5001, 5432, 5433, 5434)

AGENT = str(Path(__file__).parents[1] / "flow_agent.py")


def run(*command: str, given: str | None = None) -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)


class Place:
    """A namespace with a process in it that listens, and tries flows when told."""

    def __init__(self, name: str, listen: tuple[str, ...]) -> None:
        self.name = name
        command = ["ip", "netns", "exec", name, sys.executable, AGENT]
        self._agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._tell({"listen": listen, "ports": PORTS})
        assert self._agent.stdout is not None
        assert self._agent.stdout.readline() == "ready\n"

    def attempts(self, flows: list[tuple[str, str, str, int]]) -> list[bool]:
        """Which of these flows (source, target, protocol, port) got an answer."""
        self._tell(flows)
        assert self._agent.stdout is not None
        answers: list[bool] = json.loads(self._agent.stdout.readline())
        return answers

    def _tell(self, what: Any) -> None:
        assert self._agent.stdin is not None
        self._agent.stdin.write(json.dumps(what) + "\n")
        self._agent.stdin.flush()

    def close(self) -> None:
        assert self._agent.stdin is not None
        assert self._agent.stdout is not None
        self._agent.stdin.close()
        self._agent.wait(timeout=30)
        self._agent.stdout.close()


@pytest.fixture
def places() -> Iterator[tuple[Place, Place]]:
    """The host with the filter, and a namespace that has everybody else's addresses."""
    assert os.geteuid() == 0, "namespaces need root"
    mine, others = f"znf{os.getpid()}m", f"znf{os.getpid()}o"
    started: list[Place] = []
    try:
        for name in (mine, others):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "add", "veth0", "netns", mine, "type", "veth", "peer", "name", "veth0", "netns", others)
        for name, addresses in ((mine, OWN), (others, tuple(PARTIES))):
            for address in addresses:
                length = 32 if "." in address else 128
                run("ip", "-n", name, "address", "add", f"{address}/{length}", "dev", "veth0", *_no_detection(address))
            run("ip", "-n", name, "link", "set", "veth0", "up")
            for family, everywhere in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
                run("ip", "-n", name, family, "route", "add", everywhere, "dev", "veth0")
        started.append(Place(mine, OWN))
        started.append(Place(others, tuple(PARTIES)))
        yield started[0], started[1]
    finally:
        for place in started:
            place.close()
        for name in (mine, others):
            subprocess.run(["ip", "netns", "delete", name], check=False)


def _no_detection(address: str) -> list[str]:
    return ["nodad"] if ":" in address else []


NUMBERS = {"tcp": (6, 6), "udp": (17, 17), "icmp": (1, 58)}


def flows(leaving: bool) -> list[tuple[str, str, str, int]]:
    """Every flow between the host and everybody else, in one direction."""
    found = []
    for peer in PARTIES:
        own = OWN[1] if ":" in peer else OWN[0]
        source, target = (own, peer) if leaving else (peer, own)
        found += [(source, target, proto, port) for proto in ("tcp", "udp") for port in PORTS]
        found.append((source, target, "icmp", 0))
    return found


def expected(flow: tuple[str, str, str, int]) -> bool:
    """What the policy decides."""

    def party(text: str) -> Party:
        found = DB if text in OWN else PARTIES[text]
        if not isinstance(found, Principal):
            return found
        return Principal(found.kind, found.name, labels=found.labels, address=ip_address(text))

    source, target, proto, port = flow
    number = NUMBERS[proto][":" in source]
    return decide(POLICY, party(source), party(target), number, port).allowed


def test_packets_pass_where_the_policy_allows_them(places: tuple[Place, Place]) -> None:
    """Both ways, IPv4 and IPv6, known, unknown and outside. Without the filter everything passes."""
    mine, others = places
    for place, leaving in ((mine, True), (others, False)):
        assert all(place.attempts(flows(leaving)))
    parties = {ip_network(text): party for text, party in PARTIES.items() if not isinstance(party, External)}
    outside = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    known = Known(parties, outside, (ip_network("10.9.0.0/24"), ip_network("2001:db8:9::/64")))
    exported = export_nftables(POLICY, DB, known)
    assert [loss.message for loss in exported.losses] == ["rule strong asks for mfa: closed"]
    for _ in range(2):  # what is there is replaced as a whole
        run("ip", "netns", "exec", mine.name, "nft", "-f", "-", given=exported.text)
    for place, leaving in ((mine, True), (others, False)):
        table = flows(leaving)
        wrong = [
            (flow, passed)
            for flow, passed in zip(table, place.attempts(table), strict=True)
            if passed is not expected(flow)
        ]
        assert wrong == []
    allowed = [flow for leaving in (True, False) for flow in flows(leaving) if expected(flow)]
    assert ("10.9.0.11", "10.9.0.1", "tcp", 5434) in allowed
    assert 20 < len(allowed) < 60
