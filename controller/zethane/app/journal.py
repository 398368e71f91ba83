"""The journal over the decision log: every record is built later, in the log's own thread."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import partial
from typing import Any

from zethane.adapters.audit_log import AuditLog
from zethane.audit.reason import FactorEvent, LoginRefusal, SessionEvent
from zethane.audit.record import connection, head, party, place, session_event
from zethane.identity.session import Attachment, Endpoint, Session
from zethane.policy.stage import WouldBe
from zethane.service.counts import Counts, RuleCounts
from zethane.service.flows import LiveFlow
from zethane.service.journal import Denied
from zethane.service.points import Fabric
from zethane.service.state import Clock

Watcher = Callable[[SessionEvent, Session, str, float], None]
"""Called with what happened to a session, the session as it is now, the detail, and the time."""


class LogJournal:
    """Implements `service.journal.Journal`."""

    def __init__(self, log: AuditLog, fabric: Fabric, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._names = {dpid: point.switch.name for dpid, point in fabric.points.items()}
        self._watchers: list[Watcher] = []
        self.flow_watchers: list[Callable[[LiveFlow], None]] = []
        """Who wants to know of flows that end. A part of the hot path that writes its records itself calls them too."""

    def watch(self, watcher: Watcher) -> None:
        """Let `watcher` know of every event of a session from now on, on the event loop. It must not wait or raise."""
        self._watchers.append(watcher)

    def watch_flows(self, watcher: Callable[[LiveFlow], None]) -> None:
        """Let `watcher` know of every flow that ends, with its final counters. It must not wait or raise."""
        self.flow_watchers.append(watcher)

    def write_lines(self, text: bytes, count: int) -> None:
        """So many records that are lines already, of flows that were allowed or have ended."""
        self._log.write_lines(text, count)

    def allowed(self, flow: LiveFlow, switch: str, rule: str, now: float, staged: WouldBe | None = None) -> None:
        """A flow was verified and let through."""
        self._log.write(partial(_allowed, flow, switch, rule, now, staged))

    def granted(self, flow: LiveFlow, switch: str, rule: str, now: float, staged: WouldBe | None = None) -> None:
        """A switch has let a connection in by itself."""
        self._log.write(partial(_granted, flow, switch, rule, now, staged))

    def denied(self, what: Denied, now: float) -> None:
        """A packet was not let through."""
        self._log.write(partial(_denied, what, now))

    def suppressed(self, switch: str, port: int | None, limit: str, reason: str, packets: int, now: float) -> None:
        """So many packets were left out by a rate limit."""
        self._write("suppressed", now, switch=switch, port=port, limit=limit, reason=reason, packets=packets)

    def flow_ended(self, flow: LiveFlow, rule: str | None, reason: str, now: float) -> None:
        """A flow has ended: what it has carried since its last record, if it was idle and went on."""
        switch = self._name(flow.opened_by.attachment.dpid)
        self._log.write(partial(_flow_ended, flow, switch, flow.untold, rule, reason, now))
        for watcher in self.flow_watchers:
            watcher(flow)

    def session_usage(self, session: Session, counts: Counts, reason: str, now: float) -> None:
        """What a session has carried so far through connections that switches have let in by themselves."""
        switch = self._name(session.attachment.dpid)
        self._log.write(partial(_session_usage, session, switch, counts, reason, now))

    def rule_usage(self, rule: str, switch: str, counts: RuleCounts, now: float) -> None:
        """What a switch has let through by a rule since the last such record."""
        self._write(
            "grant_usage",
            now,
            reason="interval",
            rule=rule,
            switch=switch,
            connections=counts.connections,
            packets=counts.packets,
            bytes=counts.octets,
        )

    def session(self, event: SessionEvent, session: Session, reason: str, now: float) -> None:
        """A session started, was renewed, or ended."""
        switch = self._name(session.attachment.dpid)
        self._log.write(partial(session_event, event, session, switch, reason, now))
        for watcher in self._watchers:
            watcher(event, session, reason, now)

    def login_refused(
        self, where: Endpoint | Attachment, account: str, why: LoginRefusal, explanation: str = ""
    ) -> None:
        """A login was refused, at an address or below IP; `account` holds no name that nobody has."""
        attachment = where.attachment if isinstance(where, Endpoint) else where
        addresses = [str(ipaddress.ip_address(where.address))] if isinstance(where, Endpoint) else []
        self._write(
            "session",
            self._clock(),
            reason=SessionEvent.LOGIN_REFUSED.value,
            detail=why.value,
            explanation=explanation or None,
            subject=None,
            account=account,
            **place(self._name(attachment.dpid), attachment.port, attachment.mac),
            vlan=attachment.vlan or None,
            addresses=addresses,
        )

    def factor(self, event: FactorEvent, account: str, factor: str, endpoint: Endpoint | None) -> None:
        """Somebody's second factors have changed: at this endpoint, or by an operator (None)."""
        where: dict[str, Any] = {}
        if endpoint is not None:
            attachment = endpoint.attachment
            where = place(self._name(attachment.dpid), attachment.port, attachment.mac)
            where["addresses"] = [str(ipaddress.ip_address(endpoint.address))]
        self._write("factor", self._clock(), reason=event.value, account=account, factor=factor, **where)

    def policy(self, event: str, version: str, detail: str, now: float) -> None:
        """A policy was loaded or refused."""
        self._write("policy", now, reason=event, version=version, detail=detail or None)

    def switch(self, event: str, name: str, detail: str, now: float) -> None:
        """Something happened to a switch."""
        self._write("switch", now, reason=event, switch=name, detail=detail or None)

    def _name(self, dpid: int) -> str:
        return self._names.get(dpid, f"{dpid:016x}")

    def _write(self, event: str, now: float, **fields: Any) -> None:
        self._log.write(lambda: {**head(event, now), **fields})


def _allowed(flow: LiveFlow, switch: str, rule: str, now: float, staged: WouldBe | None) -> dict[str, Any]:
    attachment = flow.opened_by.attachment
    return {
        **head("decision", now),
        "decision": "allow",
        "rule": rule,
        "reason": "rule",
        "subject": party(flow.opened_by),
        "object": party(flow.opened_to),
        **place(switch, attachment.port, attachment.mac),
        **connection(flow.key),
        **_staged(staged),
    }


def _granted(flow: LiveFlow, switch: str, rule: str, now: float, staged: WouldBe | None) -> dict[str, Any]:
    return {**_allowed(flow, switch, rule, now, staged), "enforced": "switch"}


def _session_usage(session: Session, switch: str, counts: Counts, reason: str, now: float) -> dict[str, Any]:
    attachment = session.attachment
    return {
        **head("grant_usage", now),
        "reason": reason,
        "subject": party(session),
        **place(switch, attachment.port, attachment.mac),
        "sent_packets": counts.sent_packets,
        "sent_bytes": counts.sent_octets,
        "received_packets": counts.received_packets,
        "received_bytes": counts.received_octets,
    }


def _staged(would_be: WouldBe | None) -> dict[str, Any]:
    return {} if would_be is None else {"staged": would_be.view()}


def _denied(what: Denied, now: float) -> dict[str, Any]:
    return {
        **head("decision", now),
        "decision": "deny",
        "rule": what.rule,
        "reason": what.reason.value,
        "subject": party(what.subject),
        "object": party(what.object),
        **place(what.switch, what.port, what.mac),
        **connection(what.key),
        **({"needs": list(what.needs)} if what.needs else {}),
        **_staged(what.staged),
    }


def _flow_ended(
    flow: LiveFlow, switch: str, counts: tuple[int, int, int, int], rule: str | None, reason: str, now: float
) -> dict[str, Any]:
    packets, octets, return_packets, return_octets = counts
    attachment = flow.opened_by.attachment
    return {
        **head("flow_end", now),
        "rule": rule,
        "reason": reason,
        "subject": party(flow.opened_by),
        "object": party(flow.opened_to),
        **place(switch, attachment.port, attachment.mac),
        **connection(flow.key),
        "packets": packets,
        "bytes": octets,
        "return_packets": return_packets,
        "return_bytes": return_octets,
        "duration": round(now - flow.started, 3),
    }
