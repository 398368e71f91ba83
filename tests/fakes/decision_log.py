"""Decision logs as the controller writes them, with sessions, flows and denials that a test makes up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from fakes.site import ONE_SWITCH, proof_of
from zethane.app.journal import LogJournal
from zethane.audit.reason import DenyReason, SessionEvent
from zethane.identity.session import Attachment, Session
from zethane.net.flowkey import FlowKey
from zethane.network.load import parse_network
from zethane.policy.principal import Principal
from zethane.service.counts import Counts, RuleCounts
from zethane.service.flows import LiveFlow
from zethane.service.journal import Denied
from zethane.service.points import Fabric

START = 1_700_000_000.0
"""When the log begins: a Tuesday, 22:13:20 UTC."""


class _Lines:
    """In the place of the log: each record as a line."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self.lines.append(json.dumps(make()).encode() + b"\n")


class WrittenLog:
    """The lines of a log. The time is that of the last record, and goes on by a second with each."""

    def __init__(self) -> None:
        self._log = _Lines()
        self.now = START
        self.journal = LogJournal(self._log, Fabric(parse_network(ONE_SWITCH, "network.yaml")), lambda: self.now)  # type: ignore[arg-type]
        self._sessions: dict[str, Session] = {}

    @property
    def lines(self) -> list[bytes]:
        return self._log.lines

    def login(self, principal: Principal, address: str, *, told: bool = True) -> Session:
        """A session starts; `told`: the log says so."""
        number = len(self._sessions) + 1
        place = Attachment(1, number + 1, 0, 0x020000000000 + number)
        proof = proof_of(principal, self.now)
        session = Session(number, principal, place, (ip_address(address).packed,), "segment", self.now, (proof,))
        self._sessions[address] = session
        if told:
            self.journal.session(SessionEvent.STARTED, session, "", self._tick())
        return session

    def change(self, session: Session, principal: Principal) -> Session:
        """The same session with somebody who is somebody else by now."""
        changed = replace(session, principal=principal)
        self.journal.session(SessionEvent.CHANGED, changed, "", self._tick())
        return changed

    def outside(self, network: str, address: str) -> None:
        """An address behind the uplink, and the network that the policy names."""
        place = Attachment(1, 9, 0, 9)
        self._sessions[address] = Session(1 << 24, Principal("network", network), place, (), "wan", 0.0)

    def flow(self, source: str, target: str, rule: str, port: int = 443, proto: int = 6) -> LiveFlow:
        """A flow is let through."""
        flow = self._flow(source, target, port, proto)
        self.journal.allowed(flow, "s1", rule, self._tick())
        return flow

    def end(self, flow: LiveFlow, rule: str | None, lasted: float, packets: int = 10, octets: int = 1000) -> None:
        """It ends."""
        ended = flow.afresh()
        ended.started, ended.packets, ended.octets = self.now + 1 - lasted, packets, octets
        self.journal.flow_ended(ended, rule, "finished", self._tick())

    def grant(self, source: str, target: str, rule: str, port: int = 443, proto: int = 6) -> None:
        """A switch has let a connection in by itself."""
        self.journal.granted(self._flow(source, target, port, proto), "s1", rule, self._tick())

    def usage(self, source: str, rule: str) -> None:
        """What a session, and a rule, have carried through such connections."""
        self.journal.session_usage(self._sessions[source], Counts(7, 700, 5, 500), "interval", self._tick())
        self.journal.rule_usage(rule, "s1", RuleCounts(2, 7, 700), self._tick())

    def denial(
        self,
        source: str,
        target: str,
        port: int = 443,
        reason: DenyReason = DenyReason.NO_RULE,
        rule: str | None = None,
    ) -> None:
        """A packet is not let through."""
        key = self._key(source, target, port, 6)
        ends = self._sessions.get(source), self._sessions.get(target)
        self.journal.denied(Denied(reason, "s1", 2, key, b"\2\0\0\0\0\1", *ends, rule), self._tick())

    def _flow(self, source: str, target: str, port: int, proto: int) -> LiveFlow:
        subject, obj = self._sessions[source], self._sessions[target]
        key = self._key(source, target, port, proto)
        return LiveFlow(key, subject.number, obj.number, 1, 1, 2, subject, obj, self.now, self.now)

    def _key(self, source: str, target: str, port: int, proto: int) -> FlowKey:
        return FlowKey(ip_address(source).packed, ip_address(target).packed, proto, 40000, port)

    def _tick(self) -> float:
        self.now += 1
        return self.now
