"""What the tests of replays share: a topology's principals at addresses, and captures of their traffic decided."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from fakes import captures
from fakes.frames import Host
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import Principal
from zethane.replay.attribution import Attribution, Entity, Told
from zethane.replay.flow import Flow
from zethane.replay.replay import Replay, replay

POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
  - {id: staff-web, from: [staff], to: [web], services: [tcp/443]}
  - {id: staff-ssh, from: [staff], to: [web], services: [tcp/22], when: {mfa: true}}
  - {id: web-db, from: [web], to: [db], services: [tcp/5432, udp/5000-5010]}
  - {id: ping, from: [staff], to: [web], services: [icmp]}
  - {id: no-ssh, from: [any], to: [db], services: [tcp/22], action: deny}
  - {id: updates, from: [web], to: {networks: [198.51.100.0/24]}, services: [tcp/80]}
"""

ALICE = Host(1, "02:00:00:00:00:21", "10.0.0.21", "2001:db8::21")
WEB = Host(2, "02:00:00:00:00:11", "10.0.0.11", "2001:db8::11")
DB = Host(3, "02:00:00:00:00:14", "10.0.0.14", "2001:db8::14")
GHOST = Host(4, "02:00:00:00:00:66", "10.0.0.66")
STRANGER = Host(5, "02:00:00:00:00:99", "10.0.0.99")
MIRROR = Host(6, "02:00:00:00:00:01", "198.51.100.80")

_PEOPLE = {
    ALICE: Principal("user", "alice", frozenset(("staff",))),
    WEB: Principal("workload", "web1", labels=(("tier", "web"),)),
    DB: Principal("workload", "db1", labels=(("tier", "db"),)),
}


def policy(text: str = POLICY) -> Policy:
    """A policy of this text."""
    return parse_policy(text, "policy.yaml")


def attribution(wanted: Policy) -> Attribution:
    """Alice, web1, db1; a ghost that never logs in; 198.51.100.0/24 outside; nobody else."""
    told = {
        ip_network(address): Entity(f"{who.kind}:{who.name}", "the test", who)
        for host, who in _PEOPLE.items()
        for address in host.addresses
    }
    told[ip_network(GHOST.ip)] = Entity("ghost", "the test")
    told[ip_network("198.51.100.0/24")] = Entity("", "the test", is_outside=True)
    return Attribution(wanted, (Told(told),))


def decided(
    packets: Iterable[captures.Taken], *, text: str = POLICY, link: int = 1, **options: object
) -> tuple[Replay, list[Flow]]:
    """The replay of these packets, and its flows in the order in which they ended."""
    flows: list[Flow] = []
    wanted = policy(text)
    capture = captures.capture(captures.pcap(packets, link=link))
    done = replay(capture, wanted, attribution(wanted), tell=flows.append, **options)  # type: ignore[arg-type]
    return done, flows
