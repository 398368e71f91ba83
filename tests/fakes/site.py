"""A whole site in memory: switches, administrator, journal and clock, with hosts that log in."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from fakes.frames import Host, mac, packed
from fakes.records import MemoryStore, Records
from fakes.switch import FakeSwitch
from zethane.identity.proof import Proof
from zethane.identity.session import Attachment, Endpoint, Session
from zethane.network.load import parse_network
from zethane.policy.load import parse_policy
from zethane.policy.principal import Principal
from zethane.service.administrator import Administrator
from zethane.service.points import Fabric
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.state import Limits, State

ONE_SWITCH = """
switches: {s1: {}}
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
"""

MANY_CARDS = ONE_SWITCH.replace("s1: {}", "s1: {ports: {9: {macs: 64}}}")

TWO_SWITCHES = """
switches: {s1: {}, s2: {}, s3: {}}
links: [["s1:9", "s3:1"], ["s3:2", "s2:9"]]
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
"""

POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
  - {id: staff-web, from: [staff], to: [web], services: [tcp/443, udp/443], when: {mfa: true}}
  - {id: web-db, from: [web], to: [db], services: [tcp/5432]}
  - {id: ping, from: [any], to: [web], services: [icmp]}
  - {id: no-ssh, from: [any], to: [db], services: [tcp/22], action: deny}
"""

WEB = Principal("workload", "web1", labels=(("tier", "web"),))
DB = Principal("workload", "db1", labels=(("tier", "db"),))
ALICE = Principal("user", "alice", frozenset({"staff"}), mfa=True)
BOB = Principal("user", "bob", frozenset({"staff"}))


def proof_of(principal: Principal, now: float, **changes: Any) -> Proof:
    """What a principal has just proved at the portal."""
    proof = Proof(
        principal.kind,
        principal.name,
        "portal",
        now,
        ("pwd", "otp") if principal.mfa else ("pwd",),
        2 if principal.mfa else 1,
        now if principal.mfa else None,
        principal.groups,
        principal.labels,
    )
    return replace(proof, **changes)


PORTAL = Host(1, "02:00:00:00:00:fe", "10.0.0.254")


class Site:
    """One controller with its switches. Hosts are given as `fakes.frames.Host`."""

    def __init__(
        self, network: str = ONE_SWITCH, policy: str = POLICY, store: MemoryStore | None = None, **limits: Any
    ) -> None:
        self.now = 1000.0
        self.records = Records()
        self.store = store or MemoryStore()
        described = parse_network(network, "network.yaml")
        self.state = State(
            lambda: self.now,
            self.records,
            Fabric(described),
            PolicyInForce(parse_policy(policy, "policy.yaml"), self.store, self.now),
            Limits(**limits),
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.admin = Administrator(self.state, self.store, self.store, self._spawn)
        self.switches = {
            switch.name: FakeSwitch(switch.dpid, self.admin, range(1, 10)) for switch in described.switches.values()
        }
        for switch in self.switches.values():
            switch.clock = lambda: self.now

    def _spawn(self, work: Coroutine[Any, Any, None]) -> object:
        self._tasks.append(asyncio.get_running_loop().create_task(work))
        return self._tasks[-1]

    async def settle(self) -> None:
        while self._tasks:
            await self._tasks.pop()

    async def start(self) -> Site:
        self.admin.restore(self.store.sessions())
        for switch in self.switches.values():
            assert switch.connect()
        await self.settle()
        return self

    @property
    def s1(self) -> FakeSwitch:
        return self.switches["s1"]

    def endpoint(self, host: Host, switch: str = "s1", address: str | None = None) -> Endpoint:
        dpid = self.switches[switch].dpid
        attachment = Attachment(dpid, host.port, host.vlan, int.from_bytes(mac(host.mac), "big"))
        return Endpoint(attachment, packed(address or host.ip))

    def login(self, host: Host, principal: Principal, switch: str = "s1") -> Session:
        endpoint = self.endpoint(host, switch)
        return self.admin.start_session(endpoint.attachment, proof_of(principal, self.now), endpoint.address, None)

    async def use_policy(self, text: str) -> None:
        await self.admin.use_policy(parse_policy(text, "policy.yaml"))
