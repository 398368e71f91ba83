"""The state that the policy administrator's parts share. One event loop owns it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from zethane.identity.attempts import Buckets, Rate
from zethane.identity.proof import Proof, acting, proven_device
from zethane.identity.sources.times import SessionTimes
from zethane.pipeline.infrastructure import DNS
from zethane.pipeline.verified import idle_timeout
from zethane.policy.model import Policy
from zethane.policy.principal import DeviceFacts, Principal
from zethane.policy.stage import Staging, WouldBe
from zethane.service.accounts import Accounts
from zethane.service.deferral import Deferral
from zethane.service.denial_log import DenialLog
from zethane.service.flows import FlowTable, LiveFlow
from zethane.service.journal import Denied, Journal
from zethane.service.leases import LeaseTable
from zethane.service.outside import Outside
from zethane.service.points import Fabric, MeterRates, Point
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.serving import Serving
from zethane.service.sessions import Live, SessionTable
from zethane.service.staged import Staged

MAX_LOGGED_RULES = 1024
"""Rules whose failing expressions have a rate of their own in the log."""

Clock = Callable[[], float]
"""Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that the administrator enforces; times in seconds."""

    flows_per_session: int = 4096
    flows_per_switch: int = 250_000
    """Two entries each."""
    timed_flows_per_switch: int = 256
    """Those of them whose entries can expire: while new flows come, a switch looks at each of these entries up to 200
    times a second, some 0.1 µs or more each, and does nothing else meanwhile. The others have no timeouts, and cost it
    nothing but their tests."""
    rules_wait_from: int = 1000
    """New UDP flows of a switch's hosts in a second from which on their rules wait for the second packet that goes the
    same way: see `Deferral`."""
    flows_per_uplink: int = 16384
    flows_per_external_address: int = 512
    portal_flows_per_port: int = 64
    portal_flows: int = 16_384
    switch_errors_per_second: int = 10
    session_lifetime: float = 8 * 3600
    reauthenticate_after: float = 8 * 3600
    probe_interval: float = 5.0
    """Between two probes out of a trunk."""
    probe_age: float = 2.0
    """From sending a probe to judging it; what took longer may have been relayed."""
    meters: MeterRates = field(default_factory=MeterRates)


@dataclass(slots=True, eq=False)
class State:
    """Sessions, flows, leases, switches and policy, with the clock and the journal."""

    clock: Clock
    journal: Journal
    fabric: Fabric
    policy: PolicyInForce
    limits: Limits
    sessions: SessionTable = field(default_factory=SessionTable)
    flows: FlowTable = field(default_factory=FlowTable)
    leases: LeaseTable = field(default_factory=LeaseTable)
    times: SessionTimes = field(default_factory=SessionTimes)
    accounts: Accounts = field(default_factory=Accounts)
    postures: dict[str, DeviceFacts] = field(default_factory=dict)
    """What is known of devices by their names, as it was last reported. It counts where a device has proved itself."""

    deferral: Deferral = field(default_factory=Deferral)

    counters: Counter[str] = field(default_factory=Counter)

    staged: Staged | None = None
    """What would decide if nothing were staged; None where nothing is."""

    denials: DenialLog = field(init=False)
    """Which denied packets are logged, and how many there were."""

    error_log: Buckets = field(init=False)
    """How many errors of a switch are logged, by datapath id."""

    expression_log: Buckets = field(init=False)
    """How often a rule's expression that has no answer is logged, by the rule."""

    outside: dict[int, Outside] = field(init=False)
    """The uplinks by their numbers."""

    serving: dict[int, Serving] = field(init=False)
    """The servers that sessions may use, by their numbers."""

    def __post_init__(self) -> None:
        """Give the servers their numbers, and let the uplinks know what the policy says about their networks."""
        self.denials = DenialLog(self.limits.meters.denied)
        self.serving = {server.number: Serving(server) for server in self.fabric.serving(DNS)}
        errors = self.limits.switch_errors_per_second
        self.error_log = Buckets(Rate(errors, 1 / errors), len(self.fabric.points) or 1)
        self.expression_log = Buckets(Rate(5, 60.0), MAX_LOGGED_RULES)
        self.outside = {gateway.number: Outside(gateway) for gateway in self.fabric.gateways}
        self.use_networks()

    def use_networks(self) -> None:
        """The policy in force is another one: so are the networks that it names."""
        for one in self.outside.values():
            one.use(self.policy.networks, self.fabric.own_prefixes)

    def principal(self, proofs: tuple[Proof, ...]) -> Principal:
        """Who acts by these proofs, with what is known of the device. Raises ValueError without a proof."""
        device = proven_device(proofs)
        return acting(proofs, self.postures.get(device.name) if device is not None else None)

    def party(self, number: int) -> Live | None:
        """The session, the uplink or the server of this number."""
        return self.sessions.by_number.get(number) or self.outside.get(number) or self.serving.get(number)

    def point_of(self, live: Live) -> Point:
        """The switch that a session is attached to."""
        return self.fabric.by_number[live.switch]

    def room_for_flows(self, subject: Live, obj: Live) -> int:
        """How many more flows the two parties' switches may hold."""
        ends = (self.point_of(subject).switch.dpid, self.point_of(obj).switch.dpid)
        return self.limits.flows_per_switch - max(map(self.flows.at, ends))

    def idle_timeout(self, proto: int, subject: Live, obj: Live) -> int:
        """The idle timeout of the rules of a new flow: its protocol's, or 0 where as many as may can expire already."""
        timed = self.flows.timed_at
        most = self.limits.timed_flows_per_switch
        if timed(subject.session.attachment.dpid) >= most or timed(obj.session.attachment.dpid) >= most:
            return 0
        return idle_timeout(proto)

    def defers(self, subject: Live, obj: Live, now: float) -> bool:
        """Whether the rules of a new UDP flow wait; counts it."""
        own, far = subject.session.attachment, obj.session.attachment
        many, share = self.limits.rules_wait_from, self.limits.meters.verify // 2
        return self.deferral.waits((own.dpid, own.port), (far.dpid, far.port), many, share, now)

    def deny(self, what: Denied) -> None:
        """Count a packet that is not let through, and log it at a bounded rate."""
        now = self.clock()
        self.counters[f"denied_{what.reason.value}"] += 1
        if self.denials.admit(what, now):
            if self.staged is not None:
                would_be = self.staged.of_denial(what, now)
                what = replace(what, staged=would_be)
                self.counters["staged_allow"] += would_be.allowed
            self.journal.denied(what, now)

    def stage(self, policy: Policy | None) -> None:
        """Ask this policy from now on what it would decide; None: nothing is staged."""
        self.staged = Staged(policy) if policy is not None else None

    @property
    def staging(self) -> Staging:
        """The policy in force, and what is staged."""
        return Staging(self.policy.policy, self.staged.policy if self.staged is not None else None)

    def would_be(self, flow: LiveFlow, now: float) -> WouldBe | None:
        """What would be decided of a flow that was allowed, if nothing were staged; None where nothing is."""
        if self.staged is None:
            return None
        would_be = self.staged.of_flow(flow.opened_by, flow.opened_to, flow.key, now)
        self.counters["staged_deny"] += not would_be.allowed
        return would_be
