"""Whatever the policy and whatever happens: what passes the switches is what the engine decides at that moment."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.frames import Host, packed
from fakes.site import Site
from strategies.policy import NOW, SITES, hours, members, policy_files, read
from zethane.audit.reason import SessionEvent
from zethane.identity.proof import Proof
from zethane.net.flowkey import ICMPV6, TCP, UDP
from zethane.pipeline.flow import Flow
from zethane.pipeline.tables import Priority, Table
from zethane.policy.decide import decide
from zethane.policy.model import Policy
from zethane.policy.principal import Party, Principal
from zethane.policy.stage import Staging, compose
from zethane.service import administrator
from zethane.service.accounting import REMOVED_HARD
from zethane.service.sessions import Live

NETWORK = """
switches: {s1: {}}
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
uplinks:
  wan:
    switch: s1
    port: 8
    mac: "02:00:00:00:00:01"
    ip: [10.0.0.1/24, "2001:db8::1/64"]
    networks: [0.0.0.0/0, "2001:db8:ffff::/48"]
"""
EMPTY = "version: 1\nsegments: {none: {labels: {segment: none}}}\nrules: []\n"
RELATIONS = (
    "subject.labels.site == object.labels.site",
    "object.labels.site != subject.labels.site || time.hour < 12",
    "time.minute < 50",
    "cidr('10.0.0.0/29').containsIP(subject.address) || object.kind == 'network'",
)
ROUTER = "02:00:00:00:00:01"
HOSTS = (
    Host(2, "02:00:00:00:00:21", "10.0.0.2", "2001:db8::4"),
    Host(3, "02:00:00:00:00:11", "10.0.0.5", "2001:db8::5"),
)


@st.composite
def staged(draw: st.DrawFn) -> Policy:
    """A policy about what is tried here, some of whose rules may be staged."""
    file = draw(policy_files(5, expressions=True))
    for rule in file["rules"]:
        rule["services"] = draw(st.sampled_from((["any"], ["any"], ["udp"], ["udp/53-80", "tcp"])))
        for side in ("from", "to"):
            if isinstance(rule[side], list) and draw(st.booleans()):
                rule[side] = ["any"]
        if draw(st.booleans()):
            rule["when"] = draw(st.fixed_dictionaries({"cel": st.sampled_from(RELATIONS)}, optional={"hours": hours()}))
        if draw(st.integers(0, 3)) == 0:
            rule["stage"] = "audit"
    if draw(st.integers(0, 2)) == 0:
        base = {"id": "base", "from": ["any"], "to": ["any"], "services": ["any"], "action": "allow"}
        file["rules"].append(base)
    return read(file)


Question = tuple[Host, Host, int, int]
"""Who sends to whom, by which IP protocol, to which port."""


def _questions() -> Iterator[Question]:
    for at, (out, into) in enumerate((("198.51.100.80", "203.0.113.9"), ("2001:db8:ffff:1::80", "2001:db8:ffff:2::1"))):
        one, other = (Host(host.port, host.mac, host.addresses[at]) for host in HOSTS)
        yield one, other, UDP, 53
        yield other, one, UDP, 443
        yield one, Host(8, ROUTER, out), UDP, 80
        yield Host(8, ROUTER, into), other, UDP, 53
    yield one, other, TCP, 80
    yield one, other, ICMPV6, 0


QUESTIONS = tuple(_questions())

waits = st.sampled_from((61.0, 300.0, 600.0, 900.0, 3600.0, 20000.0, 86400.0))
events = st.one_of(
    st.tuples(st.just("wait"), waits),
    st.tuples(st.just("away"), waits),
    st.tuples(st.just("jump"), waits),
    st.tuples(st.just("jump"), waits),
    st.tuples(st.just("idle"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("member"), st.tuples(st.integers(0, 1), members())),
    st.tuples(st.just("moves"), st.tuples(st.integers(0, 1), st.sampled_from((*SITES, "")))),
    st.tuples(st.just("moves"), st.tuples(st.integers(0, 1), st.sampled_from((*SITES, "")))),
    st.tuples(st.just("policy"), staged()),
)


class Tried:
    """A site with two hosts that are logged in, and everything that can happen to it."""

    def __init__(self) -> None:
        self.site = Site(NETWORK, EMPTY, session_lifetime=1e9, reauthenticate_after=1e9)
        self.site.now = NOW + 30.5
        self.staging: Staging = compose(self.site.state.policy.policy, None)
        self.numbers: list[int] = []
        self.ports = 40000

    async def start(self, policy: Policy, who: tuple[Principal, Principal]) -> None:
        await self.use(policy)
        await self.site.start()
        for host, member in zip(HOSTS, who, strict=True):
            self.login(host, member)
        await self.site.settle()

    async def use(self, policy: Policy) -> None:
        self.staging = compose(policy, None)
        await self.site.admin.use_policy(self.staging.enforced, self.staging.staged)

    def login(self, host: Host, member: Principal) -> None:
        admin, endpoint = self.site.admin, self.site.endpoint(host)
        for proof in self.proofs(host, member):
            number = admin.start_session(endpoint.attachment, proof, endpoint.address, None).number
        self.numbers.append(number)
        admin.claim_address(self.site.endpoint(host, address=host.addresses[1]), number)

    def proofs(self, host: Host, member: Principal) -> tuple[Proof, ...]:
        """What a member has proved at a host; what was measured of its device is known from then on."""
        name, aal = f"host{host.port}", max(member.aal, 1)
        user = Proof("user", name, "portal", NOW, (), aal, member.mfa_at, member.groups, member.labels, NOW + 1e9)
        if member.device is None:
            return (user,)
        device = replace(member.device, name=f"device{host.port}")
        self.site.state.postures[device.name] = device
        of_device = Proof(
            "device", device.name, "certificate", NOW, groups=device.groups, labels=device.labels, expires=NOW + 1e9
        )
        return user, of_device

    # what happens

    async def happens(self, what: str, value: object) -> None:
        await getattr(self, what)(value)
        await self.site.settle()
        for live in self.site.state.sessions:
            if live.stood > self.site.now:  # looked at shortly before a condition lapses
                self.site.now = live.stood

    async def policy(self, policy: Policy) -> None:
        await self.use(policy)

    async def member(self, who: tuple[int, Principal]) -> None:
        """Somebody has other attributes, another factor, another device."""
        index, member = who
        live = self.site.state.sessions.by_number[self.numbers[index]]
        self.site.admin.life.rest_on(live, self.proofs(HOSTS[index], member), SessionEvent.CHANGED)

    async def moves(self, who: tuple[int, str]) -> None:
        """Somebody is at another site, and all else is the same."""
        index, site = who
        live = self.site.state.sessions.by_number[self.numbers[index]]
        first, *others = live.session.proofs
        labels = [pair for pair in first.labels if pair[0] != "site"] + ([("site", site)] if site else [])
        proofs = (replace(first, labels=tuple(sorted(labels))), *others)
        self.site.admin.life.rest_on(live, proofs, SessionEvent.CHANGED)

    async def idle(self, _: object) -> None:
        """The rules of every flow have been idle for long enough."""
        for flow in self.per_flow():
            self.site.s1.expire(flow)

    async def jump(self, seconds: float) -> None:
        """The clock is put forward; the switch has counted a moment of it."""
        for _ in range(2):
            self.site.now += seconds / 2
            self.site.admin.tick(self.site.now)

    async def wait(self, seconds: float, *, away: bool = False) -> None:
        """Time passes, and each moment is looked at at which something may happen."""
        site, end = self.site, self.site.now + seconds
        with patch.object(administrator, "MAX_STEP", math.inf):
            while site.now < end:
                due = [live.due for live in site.state.sessions]
                moments = [site.state.policy.until, *due, *(self.ends(flow) for flow in self.per_flow()), end]
                site.now = min(moment for moment in moments if moment > site.now)
                for flow in self.per_flow():
                    if self.ends(flow) <= site.now and away:
                        del site.s1.tables[flow.key]
                    elif self.ends(flow) <= site.now:
                        site.s1.expire(flow, REMOVED_HARD)
                site.admin.tick(site.now)
                await site.settle()

    async def away(self, seconds: float) -> None:
        """The switch has no controller for a while, and is back then."""
        self.site.s1.close("away")
        await self.wait(seconds, away=True)
        assert self.site.s1.connect()

    async def restart(self, _: object) -> None:
        """Another controller with the same store; the switch holds what it has held."""
        before, now = self.site, self.site.now
        self.site = Site(NETWORK, EMPTY, before.store, session_lifetime=1e9, reauthenticate_after=1e9)
        self.site.now = now
        self.site.state.postures |= before.state.postures
        await self.site.admin.use_policy(self.staging.enforced, self.staging.staged)
        self.site.s1.tables, self.site.s1.added = dict(before.s1.tables), dict(before.s1.added)
        await self.site.start()

    def per_flow(self) -> list[Flow]:
        tables = self.site.s1.tables.values()
        return [flow for flow in tables if (flow.table, flow.priority) == (Table.FLOW, Priority.FLOW_VERIFIED)]

    def ends(self, flow: Flow) -> float:
        return self.site.s1.added[flow.key] + flow.hard_timeout if flow.hard_timeout else math.inf

    # what passes

    def party(self, host: Host) -> Party:
        state = self.site.state
        live: Live | None = state.sessions.by_address.get(packed(host.ip))
        return (live or next(iter(state.outside.values()))).principal_at(packed(host.ip))

    def passes(self, sender: Host, receiver: Host, frame: bytes) -> bool:
        self.site.s1.take()
        self.site.s1.send(sender.port, frame)
        return (receiver.port, frame) in self.site.s1.take()

    def ask(self, question: Question, sport: int) -> None:
        """Send a packet that opens a flow, or goes on with one, and hold what becomes of it against the engine."""
        sender, receiver, proto, port = question
        site, records = self.site, self.site.records
        frame = {TCP: sender.tcp, UDP: sender.udp}[proto](receiver, sport, port) if port else sender.echo(receiver)
        ends = self.party(sender), self.party(receiver)
        told = len(records.calls)
        decision = decide(self.staging.enforced, *ends, proto, port, site.now)
        assert self.passes(sender, receiver, frame) == decision.allowed, (decision, question)
        for name, arguments in records.calls[told:]:
            if name == "allowed":
                assert arguments[2] == decision.rule
                self.would_be(arguments[4], ends, proto, port)
            elif name == "denied":
                what = arguments[0]
                if what.reason.value in ("no-rule", "deny-rule", "condition-not-met"):
                    self.would_be(what.staged, ends, proto, port)
        if decision.allowed and proto == UDP:
            assert self.passes(receiver, sender, receiver.udp(sender, port, sport)), "the answer"

    def would_be(self, found: object, ends: tuple[Party, Party], proto: int, port: int) -> None:
        """What a record says would be decided if nothing were staged."""
        if self.staging.staged is None:
            assert found is None
        else:
            decision = decide(self.staging.staged, *ends, proto, port, self.site.now)
            assert (found.allowed, found.rule) == (decision.allowed, decision.rule)  # type: ignore[attr-defined]

    def ask_all(self) -> None:
        """UDP goes on with the flows that there are, everything else opens new ones."""
        for index, question in enumerate(QUESTIONS):
            self.ports += 1
            self.ask(question, 30000 + index if question[2] == UDP else self.ports)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(staged(), st.tuples(members(), members()), st.lists(events, min_size=3, max_size=6))
def test_what_passes_is_what_is_decided(
    policy: Policy, who: tuple[Principal, Principal], happening: list[tuple[str, object]]
) -> None:
    """After whatever has happened, for new flows and for those that were there."""

    async def run() -> None:
        tried = Tried()
        await tried.start(policy, who)
        tried.ask_all()
        for what, value in happening:
            await tried.happens(what, value)
            tried.ask_all()

    asyncio.run(run())
