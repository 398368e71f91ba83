"""One policy, three verdicts: the engine's, the compiled tables', and Open vSwitch's own."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fakes.frames import Host, mac, packed
from livesite import LiveSite
from openvswitch import Bridge, Step, Trace
from strategies.policy import NOW, OUTSIDE, SEGMENTS, flows, members, policies, ports, read
from zethane.audit.reason import SessionEvent
from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, SCTP, TCP, TCP_SYN, UDP, FlowKey
from zethane.pipeline.fields import Reason
from zethane.pipeline.flow import Flow
from zethane.pipeline.simulate import Simulator
from zethane.pipeline.tables import Table
from zethane.policy.compile import CompiledPolicy, compile_policy, simulate
from zethane.policy.decide import Decision, decide
from zethane.policy.entry import Class, Entry, NetworkClass
from zethane.policy.model import Policy
from zethane.policy.principal import External, Party, Principal
from zethane.policy.service import Service
from zethane.service.intent import intended
from zethane.service.relations import verdict_on
from zethane.service.state import State

pytestmark = pytest.mark.ovs

POLICIES, PACKETS = 50, 20
NOTHING = "version: 1\nsegments: {all: {labels: {all: all}}}\nrules: []\n"
ARRIVAL = read(
    {"version": 1, "segments": {name: {"labels": {"segment": name}} for name in (*SEGMENTS, "nobody")}, "rules": []}
)
"""Everybody finds a place under it. A policy without its last segment places everybody anew."""
HOSTS = [
    Host(number, f"02:00:00:00:00:{number:02x}", f"10.0.0.{number}", f"2001:db8::{number:x}") for number in range(2, 7)
]
STRANGER = len(HOSTS) - 1
"""The last host is at a port of its own and never logs in."""
ROUTER = 7
"""The port of the uplink; its networks are everything but this one."""
UPLINK = (
    "uplinks:\n"
    f'  wan: {{switch: s1, port: {ROUTER}, mac: "02:00:00:00:00:01", ip: [10.0.0.1/24, "2001:db8::1/64"], '
    'networks: [0.0.0.0/0, "::/0"]}\n'
)
V4, V6 = ([address for address in OUTSIDE if (":" in address) is ipv6] for ipv6 in (False, True))
PLACES = len(HOSTS) + max(len(V4), len(V6))
"""Places of the hosts, and behind them those of addresses outside."""


def outside(place: int, ipv6: bool) -> str | None:
    """The address of a place outside."""
    known = V6 if ipv6 else V4
    return known[(place - len(HOSTS)) % len(known)] if place >= len(HOSTS) else None


def host_at(place: int, ipv6: bool) -> Host:
    """What is at a place: a host, or an address behind the router."""
    address = outside(place, ipv6)
    return HOSTS[place] if address is None else Host(ROUTER, "02:00:00:00:00:01", address, address)


VERIFY, SAMPLE = "CONTROLLER:65535", "CONTROLLER:128"


@dataclass(frozen=True)
class Attempt:
    """The first packet of a flow, from one host to another by their places."""

    source: int
    target: int
    proto: int
    port: int
    sport: int
    ipv6: bool

    def fields(self) -> dict[str, int]:
        """The packet as match fields."""
        source, target = host_at(self.source, self.ipv6), host_at(self.target, self.ipv6)
        family, eth_type = ("ipv6", ETH_IPV6) if self.ipv6 else ("ipv4", ETH_IPV4)
        own, other = packed(source.addresses[self.ipv6]), packed(target.addresses[self.ipv6])
        found = {
            "in_port": source.port,
            "eth_src": int.from_bytes(mac(source.mac), "big"),
            "eth_dst": int.from_bytes(mac(target.mac), "big"),
            "eth_type": eth_type,
            f"{family}_src": int.from_bytes(own, "big"),
            f"{family}_dst": int.from_bytes(other, "big"),
            "ip_proto": self.proto,
        }
        if name := {TCP: "tcp", UDP: "udp", SCTP: "sctp"}.get(self.proto):
            found |= {f"{name}_src": self.sport, f"{name}_dst": self.port}
            found |= {"tcp_flags": TCP_SYN} if self.proto == TCP else {}
        elif self.proto in (ICMP, ICMPV6):
            echo = {ICMP: ("icmpv4", 8), ICMPV6: ("icmpv6", 128)}[self.proto]
            found |= {f"{echo[0]}_type": echo[1], f"{echo[0]}_code": 0}
        return found


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    """Packets between any two hosts, here or outside; source ports are seldom those that rules name."""
    proto, port = draw(flows)
    ipv6 = proto == ICMPV6 or (proto != ICMP and draw(st.booleans()))
    places = st.integers(0, PLACES - 1)
    return Attempt(draw(places), draw(places), proto, port, draw(st.just(40000) | ports), ipv6)


class Lab:
    """One bridge for all examples, and a way to run each of them on its event loop."""

    def __init__(self, bridge: Bridge) -> None:
        self.loop = asyncio.new_event_loop()
        self.bridge = bridge
        self.site = self.loop.run_until_complete(self._start())

    async def _start(self) -> LiveSite:
        site = LiveSite(self.bridge, NOTHING, more=UPLINK)
        site.state.clock = lambda: NOW  # so that what has just not lapsed does not lapse meanwhile
        return await site.start()

    def close(self) -> None:
        self.loop.run_until_complete(self.site.stop())
        self.loop.close()

    def keep_up(self) -> None:
        """Answer the bridge, which gives a silent controller up: an example takes long on a busy machine."""
        self.loop.run_until_complete(self.site.channel.barrier())

    def put_in_force(self, policy: Policy, principals: list[Principal]) -> None:
        """End every session, log the principals in, and change the policy, all over the real channel."""
        self.loop.run_until_complete(self._put_in_force(policy, principals))

    async def _put_in_force(self, policy: Policy, principals: list[Principal]) -> None:
        site = self.site
        for live in site.state.sessions:
            site.admin.life.end(live, SessionEvent.REVOKED)
        await site.admin.use_policy(ARRIVAL)
        for host, principal in zip(HOSTS[:STRANGER], principals, strict=True):
            session = site.login(host, principal)
            site.admin.claim_address(site.endpoint(host, address=host.addresses[1]), session.number)
            live = site.state.sessions.by_number[session.number]
            site.state.sessions.change(live, replace(live.session, principal=principal), live.until)
        # With what the principals have besides now: the age of their factors, and their devices.
        await site.admin.use_policy(policy)
        await site.channel.barrier()
        assert site.records.of("refused") == []
        assert site.point.ready


@pytest.fixture(scope="module")
def lab(switches: None) -> Iterator[Lab]:  # noqa: ARG001  # a fixture cannot use usefixtures
    with Bridge(ROUTER) as bridge:
        lab = Lab(bridge)
        yield lab
        lab.close()


def check(lab: Lab, policy: Policy, principals: list[Principal], sent: list[Attempt]) -> None:
    """The three verdicts, and the way through the tables, agree on every packet."""
    lab.put_in_force(policy, principals)
    tables = Simulator(intended(lab.site.state, lab.site.point).values())
    for attempt in sent:
        lab.keep_up()
        trace = lab.bridge.trace(attempt.fields())
        outcome = tables.run(attempt.fields())
        assert trace.steps == tuple(map(_step, outcome.path)), trace.text
        assert trace.nested == tuple(map(_step, outcome.passed)), trace.text
        subject, target = (_party(principals, place, attempt) for place in (attempt.source, attempt.target))
        decision = decide(policy, subject, target, attempt.proto, attempt.port, NOW)
        _compare_compiled(policy, decision, subject, target, attempt)
        _compare(lab.site.state, decision, trace, attempt, subject, target)


def _step(flow: Flow) -> Step:
    return Step(flow.table, flow.priority, flow.cookie)


def _party(principals: list[Principal], place: int, attempt: Attempt) -> Party:
    address = outside(place, attempt.ipv6)
    if address is not None:
        return External(ipaddress.ip_address(address))
    if place >= STRANGER:
        return None
    own = host_at(place, attempt.ipv6).addresses[attempt.ipv6]
    return replace(principals[place], address=ipaddress.ip_address(own))


def _compare_compiled(policy: Policy, decision: Decision, subject: Party, target: Party, attempt: Attempt) -> None:
    """The compiled policy knows classes: what has none is denied, for whichever reason."""
    compiled = compile_policy(policy).as_of(NOW)
    classes = _class(policy, compiled, subject), _class(policy, compiled, target)

    def holds(entry: Entry) -> bool:
        rule = policy.rule(entry.rule)
        assert rule is not None
        answer = rule.relation(subject, target, NOW)
        return answer is None or answer.holds(or_error=not entry.allow)

    simulated = simulate(compiled, *classes, attempt.proto, attempt.port, holds)
    if None in classes:
        assert (decision.allowed, decision.rule) == (simulated.allowed, simulated.rule) == (False, None)
    else:
        assert decision == simulated


def _class(policy: Policy, compiled: CompiledPolicy, party: Party) -> Class | None:
    if isinstance(party, External):
        network = policy.network_of(party.address)
        return NetworkClass(network) if network else None
    if party is None:
        return None
    (segment,) = policy.segments_of(party)
    return compiled.class_of(segment, party, NOW)


def _compare(
    state: State,
    decision: Decision,
    trace: Trace,
    attempt: Attempt,
    subject: Party,
    target: Party,
) -> None:
    """What the switch did, or the controller where the switch asks, is what the engine decided, by the same rule."""
    in_force = state.policy
    table, _, why = trace.steps[-1]
    rule = why & 0xFFFF
    does = trace.does[-1]
    source, destination = (_class(in_force.policy, in_force.compiled, one) for one in (subject, target))
    if source is None or destination is None:
        # Only a party's own absence is looked at: the source's first.
        unknown = Reason.NO_RULE if isinstance(subject, External) else Reason.UNAUTHENTICATED
        wanted = unknown if source is None else Reason.UNKNOWN_DESTINATION
        assert (rule, does) == (wanted, SAMPLE)
        assert not decision.allowed
    elif table == Table.COMMITTED:
        # Let in by the switch, and a copy told of it: the controller would have decided the same.
        assert (decision.allowed, decision.rule, does) == (True, in_force.rule_ids[rule], SAMPLE)
        assert in_force.policy.rule(decision.rule).is_grant
        assert _controller(state, attempt) == (True, decision.rule)
    elif rule == Reason.UNTRACKED:
        assert attempt.proto not in (TCP, UDP, ICMP, ICMPV6)
        assert decision.allowed
        assert in_force.policy.rule(decision.rule).is_grant
        assert (_controller(state, attempt), does) == ((True, decision.rule), VERIFY)
    elif rule in (Reason.RETURN, Reason.NO_CONNECTION):
        # It may be an answer to what the other side was allowed to open; only the controller knows.
        concerning = in_force.compiled.concerning(destination, source)
        assert any(entry.allow and (entry.grant or rule == Reason.RETURN) for entry in concerning)
        assert _controller(state, attempt) == (decision.allowed, decision.rule)
        assert does == VERIFY
    elif rule == Reason.NO_RULE:
        assert (decision.allowed, decision.rule, does) == (False, None, SAMPLE)
    elif in_force.policy.rule(in_force.rule_ids[rule]).expression is not None:
        assert _controller(state, attempt) == (decision.allowed, decision.rule)
        assert does == VERIFY
    else:
        assert _controller(state, attempt) == (decision.allowed, decision.rule)
        assert decision.rule == in_force.rule_ids[rule]
        assert does == (VERIFY if decision.allowed else SAMPLE)


def _controller(state: State, attempt: Attempt) -> tuple[bool, str | None]:
    """What the controller decides of the packet, and by which rule."""
    source, target = (
        packed(host_at(place, attempt.ipv6).addresses[attempt.ipv6]) for place in (attempt.source, attempt.target)
    )
    ports = (8, 0) if attempt.proto in (ICMP, ICMPV6) else (attempt.sport, attempt.port)
    (uplink,) = state.outside.values()
    subject, obj = (state.sessions.by_address.get(address, uplink) for address in (source, target))
    verdict = verdict_on(state, FlowKey(source, target, attempt.proto, *ports), subject, obj)
    return verdict.allowed, verdict.rule_id


@st.composite
def mixed(draw: st.DrawFn) -> Policy:
    """Policies of which about half of the rules that may be grants are."""
    policy = draw(policies(expressions=True))
    may_be = [rule.allow and rule.expression is None for rule in policy.rules]
    rules = [
        replace(rule, enforce="switch") if may and draw(st.booleans()) else rule
        for rule, may in zip(policy.rules, may_be, strict=True)
    ]
    return replace(policy, rules=tuple(rules))


ALICE = Principal("user", "a", labels=(("segment", "web"),), mfa=True)
BOB = Principal("user", "b", labels=(("segment", "db"),))
EVERYTHING = read(
    {
        "version": 1,
        "segments": {name: {"labels": {"segment": name}} for name in ("app", "db", "staff", "web")},
        "rules": [
            {"id": "a", "from": ["any"], "to": ["any"], "services": ["any"]},
            {"id": "b", "from": ["web"], "to": ["db"], "services": ["tcp/22", "icmp"], "action": "deny"},
        ],
    }
)


TO_DB = replace(
    EVERYTHING.rules[0], id="c", sources=("web",), targets=("db",), services=(Service("udp", 53, 53),), enforce="switch"
)


@settings(
    max_examples=POLICIES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(
    policy=mixed(),
    principals=st.lists(members(), min_size=STRANGER, max_size=STRANGER),
    sent=st.lists(attempts(), min_size=1, max_size=PACKETS),
)
@example(
    policy=replace(EVERYTHING, rules=(replace(EVERYTHING.rules[0], enforce="switch"), EVERYTHING.rules[1])),
    principals=[ALICE, BOB, ALICE, BOB],
    sent=[
        Attempt(a, b, proto, 22, 40000, proto == ICMPV6) for a, b in ((0, 1), (1, 0)) for proto in (TCP, ICMP, 58, 47)
    ],
)
@example(
    policy=replace(EVERYTHING, rules=(TO_DB,)),
    principals=[ALICE, BOB, ALICE, BOB],
    sent=[Attempt(1, 0, UDP, 40000, 53, ipv6=False)],
)
@example(
    policy=EVERYTHING,
    principals=[ALICE, BOB, ALICE, BOB],
    sent=[
        Attempt(a, b, proto, 22, 40000, proto == ICMPV6) for a, b in ((0, 1), (1, 0)) for proto in (TCP, ICMP, 58, 47)
    ],
)
def test_engine_tables_and_switch_agree(
    lab: Lab, policy: Policy, principals: list[Principal], sent: list[Attempt]
) -> None:
    check(lab, policy, principals, sent)


def test_a_wrong_table_would_be_noticed(lab: Lab) -> None:
    """The comparison itself: an entry that lets a denied service through is found out."""
    principals = [ALICE, BOB, ALICE, BOB]
    denied = [Attempt(0, 1, TCP, 22, 40000, ipv6=False)]
    check(lab, EVERYTHING, principals, denied)
    lab.bridge.ofctl("add-flow", "table=7,priority=65535,tcp,tp_dst=22,actions=CONTROLLER:65535")
    try:
        lab.loop.run_until_complete(lab.site.channel.barrier())
        trace = lab.bridge.trace(denied[0].fields())
        assert trace.steps[-1] == Step(Table.RULE, 65535, 0)
        assert trace.does == (VERIFY,)
    finally:
        lab.bridge.ofctl("del-flows", "table=7,priority=65535,tcp,tp_dst=22", strict=True)
    check(lab, EVERYTHING, principals, denied)
