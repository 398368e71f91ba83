"""What would be decided if nothing were staged: for the record of each decision, and counted."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from zethane.audit.observed import OF_POLICY
from zethane.audit.reason import DenyReason, SessionEvent
from zethane.identity.session import Session
from zethane.net.flowkey import ICMP, ICMPV6, FlowKey
from zethane.policy.decider import Decider
from zethane.policy.model import Policy
from zethane.policy.principal import External, Party, Principal
from zethane.policy.stage import WouldBe
from zethane.service.journal import Denied
from zethane.service.policy_in_force import DNS_RULE

BY_RULE = "rule"
"""The reason of what a rule allows."""

MAX_PARTIES = 65_536
"""Ends of flows, each with an address, that are remembered."""


class Staged:
    """Decides by a policy in which nothing is staged. Its segments are its own: sessions are in those in force."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._decider = Decider(policy)
        self._parties: dict[tuple[int, bytes], tuple[Principal, Party]] = {}

    def of_flow(self, subject: Session, target: Session, key: FlowKey, now: float) -> WouldBe:
        """What would be decided of a flow that is being opened, at a moment in seconds since the epoch."""
        if "server" in (subject.principal.kind, target.principal.kind):
            return WouldBe(True, DNS_RULE, BY_RULE)  # servers of the network itself answer whatever policy says
        source, obj = self._party(subject.principal, key.src), self._party(target.principal, key.dst)
        port = 0 if key.proto in (ICMP, ICMPV6) else key.dport
        decision = self._decider.decide(source, obj, key.proto, port, now)
        if decision.allowed:
            return WouldBe(True, decision.rule, BY_RULE)
        if decision.rule is not None:
            return WouldBe(False, decision.rule, DenyReason.DENY_RULE.value)
        segments = (source, decision.subject_segment), (obj, decision.object_segment)
        is_homeless = any(isinstance(end, Principal) and segment is None for end, segment in segments)
        return WouldBe(False, None, (SessionEvent.NO_SEGMENT if is_homeless else DenyReason.NO_RULE).value)

    def of_denial(self, what: Denied, now: float) -> WouldBe:
        """The same for a packet that was not let through. What policy has no say in, it has none in here."""
        subject, target = what.subject, what.object
        if what.key is None or subject is None or target is None or what.reason.value not in OF_POLICY:
            return WouldBe(False, None, what.reason.value)
        if "server" in (subject.principal.kind, target.principal.kind):
            return WouldBe(False, None, what.reason.value)
        return self.of_flow(subject, target, what.key, now)

    def _party(self, principal: Principal, address: bytes) -> Party:
        """The end of a flow as the decider knows it again."""
        key = (id(principal), address)
        known = self._parties.get(key)
        if known is None:
            if len(self._parties) >= MAX_PARTIES:
                self._parties.clear()
            place = ip_address(address)
            party = External(place) if principal.kind == "network" else replace(principal, address=place)
            known = self._parties[key] = principal, party
        return known[1]
