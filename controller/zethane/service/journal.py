"""The journal: what the policy administrator has to say about decisions, flows, sessions, policy and switches.

The decision log implements it. Calls come from the hot path: they must not block, wait or raise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from zethane.audit.reason import DenyReason, SessionEvent
from zethane.identity.session import Session
from zethane.net.flowkey import FlowKey
from zethane.policy.stage import WouldBe
from zethane.service.counts import Counts, RuleCounts
from zethane.service.flows import LiveFlow


@dataclass(frozen=True, slots=True)
class Denied:
    """A packet that was not let through: where it came from, what it was, and why not.

    `rule` names the deny rule, if one did it, or the rule that would let it pass if the subject had what it `needs`.
    `staged` is what would be decided if nothing were staged; None where nothing is.
    """

    reason: DenyReason
    switch: str
    port: int
    key: FlowKey | None
    mac: bytes | None
    subject: Session | None
    object: Session | None
    rule: str | None = None
    needs: tuple[str, ...] = ()
    staged: WouldBe | None = None


class Journal(Protocol):
    """Where records go."""

    def allowed(self, flow: LiveFlow, switch: str, rule: str, now: float, staged: WouldBe | None = None) -> None:
        """A flow was verified and let through. `staged` is what would be decided if nothing were staged."""

    def granted(self, flow: LiveFlow, switch: str, rule: str, now: float, staged: WouldBe | None = None) -> None:
        """A switch has let a connection in by itself; `flow` describes it, and is none that the controller keeps."""

    def denied(self, what: Denied, now: float) -> None:
        """A packet was not let through."""

    def suppressed(self, switch: str, port: int | None, limit: str, reason: str, packets: int, now: float) -> None:
        """So many packets were left out by a rate limit, and not logged one by one.

        `limit` is "meter", and `reason` what the meter is for; or "log", and `reason` that of the denial. A port of
        None is the fabric.
        """

    def flow_ended(self, flow: LiveFlow, rule: str | None, reason: str, now: float) -> None:
        """A flow has ended; its counters are final."""

    def session_usage(self, session: Session, counts: Counts, reason: str, now: float) -> None:
        """What a session has carried so far through connections that switches have let in by themselves.

        `reason` is `interval` or `session-ended`.
        """

    def rule_usage(self, rule: str, switch: str, counts: RuleCounts, now: float) -> None:
        """What a switch has let through by a rule since the last such record."""

    def session(self, event: SessionEvent, session: Session, reason: str, now: float) -> None:
        """A session started, was renewed, or ended."""

    def policy(self, event: str, version: str, detail: str, now: float) -> None:
        """A policy was loaded or refused."""

    def switch(self, event: str, name: str, detail: str, now: float) -> None:
        """A switch connected, disconnected, was reconciled, or refused something."""
