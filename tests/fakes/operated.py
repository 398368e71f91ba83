"""An in-memory controller for the operators' API: sessions, flows, a policy and a decision log to ask about."""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

from zethane.errors import InputError, Problem
from zethane.identity.posture import Report
from zethane.identity.proof import Proof, acting
from zethane.identity.session import MAX_SESSION, Attachment, Endpoint, Session
from zethane.service.accounts import Block
from zethane.service.metrics import Metric, gauge
from zethane.service.posture import Outcome, UnknownDeviceError

STARTED = 1_700_000_000.0


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def make_session(number: int, kind: Any, name: str, segment: str, *addresses: str) -> Session:
    amr = ("pwd", "otp") if kind == "user" else ("pwd",)
    mfa_at = STARTED if kind == "user" else None
    proof = Proof(
        kind, name, "portal", STARTED, amr, len(amr), mfa_at, expires=STARTED + 60, reauthenticate=STARTED + 30
    )
    return Session(
        number=number,
        principal=acting((proof,)),
        attachment=Attachment(1, number, 0, 0x020000000000 + number),
        addresses=tuple(packed(address) for address in addresses),
        segment=segment,
        started=STARTED,
        proofs=(proof,),
    )


class NotForOperatorsError(AssertionError):
    """The API asked for something that only the portal's back end may ask for."""


class Operated:
    """Implements `ControllerFacade`, as far as operators go. `failure` is raised by whatever is asked next."""

    def __init__(self) -> None:
        self.live = {
            1: make_session(1, "user", "alice", "staff", "10.0.0.21", "2001:db8::21"),
            2: make_session(2, "workload", "web1", "web", "10.0.0.11"),
        }
        self.ended: list[tuple[int, str]] = []
        self.blocked: dict[str, Block] = {}
        self.log: list[dict[str, Any]] = [
            {
                "time": "2023-11-14T22:13:20.000Z",
                "event": "policy",
                "reason": "loaded",
                "version": "abc",
                "detail": None,
            },
            {
                "time": "2023-11-14T22:13:21.000Z",
                "event": "decision",
                "decision": "deny",
                "rule": None,
                "reason": "no-rule",
                "subject": {"session": 1, "principal": "user:alice", "segment": "staff"},
                "object": None,
                "switch": "s1",
                "port": 1,
                "mac": "02:00:00:00:00:01",
                "source": "10.0.0.21",
                "destination": "10.0.0.11",
                "protocol": "tcp",
                "source_port": 40000,
                "destination_port": 22,
                "service": "tcp/22",
            },
        ]
        self.arriving: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.status = "ok"
        self.source_state = "up"
        self.bad_policy: list[Problem] = []
        self.failure: Exception | None = None
        self.extra_metrics: dict[str, float] = {}
        self.wanted: dict[int, list[dict[str, Any]]] = {}
        self.reports: list[Report] = []

    def _fail(self) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def sessions(self, *, after: int = 0, limit: int = MAX_SESSION) -> list[Session]:
        self._fail()
        return [self.live[number] for number in sorted(self.live) if number > after][:limit]

    def sessions_known_as(self, *words: str) -> list[Session]:
        raise NotForOperatorsError(words)

    def sessions_vouched_by(self, issuer: str) -> list[Session]:
        raise NotForOperatorsError(issuer)

    def session(self, number: int) -> Session | None:
        return self.live.get(number)

    def session_at(self, endpoint: Endpoint) -> Session | None:
        raise NotForOperatorsError(endpoint)

    def locate(self, address: bytes, port: int, server: bytes, server_port: int) -> Endpoint | None:
        raise NotForOperatorsError(address, port, server, server_port)

    def start_session(self, attachment: Attachment, proof: Proof, address: bytes | None = None) -> Session:
        raise NotForOperatorsError(attachment, proof, address)

    def session_of(self, attachment: Attachment) -> Session | None:
        raise NotForOperatorsError(attachment)

    def change_proof(self, number: int, proof: Proof, changed: Proof | None, reason: str, detail: str = "") -> bool:
        raise NotForOperatorsError(number, proof, changed, reason, detail)

    def proofs(self) -> Iterator[tuple[Session, Proof]]:
        return ((session, proof) for session in self.sessions() for proof in session.proofs)

    def logout(self, number: int) -> bool:
        raise NotForOperatorsError(number)

    def look_again(self, device: str) -> None:
        raise NotForOperatorsError(device)

    def blocks(self) -> list[Block]:
        return [self.blocked[account] for account in sorted(self.blocked)]

    def block(self, account: str, why: str, until: float = math.inf, by: str = "") -> list[int]:
        self._fail()
        self.blocked[account] = Block(account, why, STARTED, until, by)
        return self.revoke(principal=account)

    def unblock(self, account: str) -> bool:
        return self.blocked.pop(account, None) is not None

    def claim_address(self, endpoint: Endpoint, number: int) -> Session:
        raise NotForOperatorsError(endpoint, number)

    def end_session(self, number: int, reason: str) -> bool:
        if self.live.pop(number, None) is None:
            return False
        self.ended.append((number, reason))
        return True

    def revoke(
        self, *, principal: str | None = None, number: int | None = None, host: bytes | None = None
    ) -> list[int]:
        found = [
            session.number
            for session in self.sessions()
            if session.number == number
            or host in session.addresses
            or principal in (session.principal.name, f"{session.principal.kind}:{session.principal.name}")
        ]
        for one in found:
            self.end_session(one, "revoked")
        return found

    def flows(self, *, session: int | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        flow = {
            "subject": 1,
            "subject_principal": "user:alice",
            "object": 2,
            "object_principal": "workload:web1",
            "protocol": 6,
            "source": "10.0.0.21",
            "source_port": 40000,
            "destination": "10.0.0.11",
            "destination_port": 443,
            "service": "tcp/443",
            "rule": "staff-web",
            "since": STARTED,
            "lease": STARTED + 30,
        }
        return [flow][:limit] if session in (None, 1, 2) else []

    def decisions(self, *, limit: int = 100) -> list[dict[str, Any]]:
        return self.log[-limit:]

    async def decision_stream(self) -> AsyncIterator[dict[str, Any]]:
        while (record := await self.arriving.get()) is not None:
            yield record

    def policy(self) -> dict[str, Any]:
        return {
            "version": "0123456789abcdef",
            "file": "policy.yaml",
            "loaded": STARTED,
            "rules": 4,
            "segments": 3,
            "error": [str(problem) for problem in self.bad_policy] or None,
        }

    async def reload(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        if self.bad_policy:
            raise InputError(self.bad_policy)
        return self.policy()

    def switches(self) -> list[dict[str, Any]]:
        away = {"name": "s2", "dpid": "0000000000000002", "connected": False, "ready": False, "since": None}
        here = {"name": "s1", "dpid": "0000000000000001", "connected": True, "ready": True, "since": STARTED}
        return [here | {"sessions": 2}, away | {"sessions": 0}]

    def links(self) -> list[dict[str, Any]]:
        good = {"a": "s1:9", "b": "s2:9", "origin": "declared", "state": "confirmed", "used": True}
        found = {"a": "s1:8", "b": "s2:8", "origin": "discovered", "state": "unconfirmed", "used": False}
        return [good | {"confirmed": STARTED, "detail": None}, found | {"confirmed": None, "detail": "a probe"}]

    def sources(self) -> list[dict[str, Any]]:
        return [
            {"name": "crl", "kind": "certificates", "state": self.source_state, "since": STARTED, "detail": None},
            {"name": "rack1", "kind": "ovsdb", "state": "idle", "since": None, "detail": "not asked yet"},
        ]

    def devices(self) -> list[dict[str, Any]]:
        return [self._device("laptop")]

    def device(self, name: str) -> dict[str, Any] | None:
        return self._device(name) | {"reports": []} if name == "laptop" else None

    def _device(self, name: str) -> dict[str, Any]:
        known = {"disk_encrypted": {"value": True, "measured": "2023-11-14T22:13:20.000Z"}}
        where = {"registered": True, "disabled": False, "owner": "alice", "mac": None, "groups": [], "labels": {}}
        measured = "2023-11-14T22:13:20.000Z"
        return {"device": name, **where, "sessions": [1], "measured": measured, "posture": known}

    def report_posture(self, report: Report) -> Outcome:
        if report.device != "laptop":
            raise UnknownDeviceError("no device of this name is known")
        self.reports.append(report)
        return Outcome(True, report.measured)

    def health(self) -> dict[str, Any]:
        return {"status": self.status, "switches": {"connected": 1, "expected": 2}, "sessions": len(self.live)}

    def explain(self, source: str, target: str, service: str) -> dict[str, Any]:
        if service == "nonsense":
            raise InputError([Problem("service", "expected PROTO/PORT")])
        allowed = service == "tcp/443"
        return {
            "decision": "allow" if allowed else "deny",
            "rule": "staff-web" if allowed else None,
            "reason": f"{source} to {target}",
            "place": "policy.yaml:9" if allowed else None,
        }

    def wanting(self, number: int) -> list[dict[str, Any]]:
        return self.wanted.get(number, [])

    def metrics(self) -> list[Metric]:
        place = {"switch": "s1", "port": "3", "reason": "no-rule"}
        return [
            Metric("denied", "Packets not let through.", "counter", [(place, 7.0)]),
            gauge("sessions", "Live sessions.", len(self.live)),
            *(gauge(name, name, value) for name, value in self.extra_metrics.items()),
        ]
