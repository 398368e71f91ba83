"""The running controller as the API and the portal's back end see it: `service.facade.ControllerFacade`."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zethane.adapters.audit_log import AuditLog
from zethane.app.devices import Devices
from zethane.app.dns_explained import explain_dns
from zethane.app.reload import DirectoryFile, PolicyFile
from zethane.app.runtime import Runtime
from zethane.audit.reason import SessionEvent
from zethane.audit.record import connection
from zethane.errors import InputError, Problem
from zethane.identity.posture import Report
from zethane.identity.proof import Proof
from zethane.identity.session import MAX_SESSION, Attachment, Endpoint, Session
from zethane.native import HOT_PATH, native
from zethane.net.flowkey import TCP, FlowKey
from zethane.policy.decide import decide_service
from zethane.policy.explain import explain
from zethane.policy.principal import External, Party
from zethane.policy.service import Service
from zethane.service.accounts import Block
from zethane.service.administrator import Administrator
from zethane.service.flows import LiveFlow
from zethane.service.metrics import Metric, gauge, metrics_of, total
from zethane.service.posture import Outcome
from zethane.service.sessions import Live
from zethane.service.sources import SourceRegistry
from zethane.service.wanting import Wanted, still_wanted

_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
"""Of a session, as a name that somebody asks for."""


class Controller:
    """Answers questions from the state and passes orders to the administrator."""

    def __init__(
        self,
        administrator: Administrator,
        log: AuditLog,
        policy: PolicyFile,
        identities: DirectoryFile,
        sources: SourceRegistry,
        devices: Devices,
        runtime: Runtime,
    ) -> None:
        self._runtime = runtime
        self._devices = devices
        self._sources = sources
        self._administrator = administrator
        self._state = administrator.state
        self._log = log
        self._policy = policy
        self._identities = identities

    # sessions

    def sessions(self, *, after: int = 0, limit: int = MAX_SESSION) -> Sequence[Session]:
        """Live sessions by number: as many of those after a number."""
        by_number = self._state.sessions.by_number
        numbers = sorted(by_number)
        begin = bisect_right(numbers, after)
        return [by_number[number].session for number in numbers[begin : begin + limit]]

    def sessions_known_as(self, *words: str) -> Iterable[Session]:
        """Live sessions of which a proof has one of these words as its name, account, subject or reference."""
        return self._devices.index.sessions(word.casefold() for word in words)

    def sessions_vouched_by(self, issuer: str) -> Sequence[Session]:
        """Live sessions with a proof of this issuer."""
        return [live.session for live in self._state.sessions.vouched_by(issuer)]

    def sessions_of_mac(self, mac: int) -> Sequence[Session]:
        """Live sessions of a card, wherever they are."""
        return [live.session for live in self._state.sessions.of_mac(mac)]

    def session_holding(self, address: bytes) -> Session | None:
        """The live session that has an address."""
        live = self._state.sessions.by_address.get(address)
        return live.session if live else None

    def session(self, number: int) -> Session | None:
        """One live session."""
        live = self._state.sessions.by_number.get(number)
        return live.session if live else None

    def session_at(self, endpoint: Endpoint) -> Session | None:
        """The live session that holds this attachment and address."""
        live = self._state.sessions.at(endpoint.attachment)
        return live.session if live and endpoint.address in live.session.addresses else None

    def locate(self, address: bytes, port: int, server: bytes, server_port: int) -> Endpoint | None:
        """Where a connection to the portal comes from; None if no switch carries it."""
        return self._administrator.portal_access.locate(FlowKey(address, server, TCP, port, server_port))

    def start_session(self, attachment: Attachment, proof: Proof, address: bytes | None = None) -> Session:
        """Bind a principal that has just proved itself. Raises AddressInUse, SessionError, CapacityError."""
        directory = self._state.accounts.directory
        device = directory.device_at(attachment.mac) if directory is not None else None
        return self._administrator.start_session(attachment, proof, address, device)

    def session_of(self, attachment: Attachment) -> Session | None:
        """The live session at a port, VLAN and MAC."""
        live = self._state.sessions.at(attachment)
        return live.session if live else None

    def change_proof(
        self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent | None, detail: str = ""
    ) -> bool:
        """Change or end one proof of a session."""
        return self._administrator.change_proof(number, proof, changed, reason, detail)

    def proofs(self) -> Iterator[tuple[Session, Proof]]:
        """Every proof that a live session rests on now."""
        for live in self._state.sessions:
            for proof in live.session.proofs:
                yield live.session, proof

    def claim_address(self, endpoint: Endpoint, number: int) -> Session:
        """Add the endpoint's address to the session there. Raises AddressInUse, SessionError, CapacityError."""
        return self._administrator.claim_address(endpoint, number)

    def end_session(self, number: int, reason: SessionEvent) -> bool:
        """End one session."""
        return self._administrator.end_session(number, reason)

    def logout(self, number: int) -> bool:
        """Who acts in a session has logged out."""
        return self._administrator.life.logout(number)

    def look_again(self, device: str) -> None:
        """Re-decide for the sessions of a device."""
        self._administrator.life.look_at_device(device)

    def blocks(self) -> Sequence[Block]:
        """The accounts that may not log in."""
        return self._administrator.blocking.blocks()

    def block(self, account: str, why: str, until: float = math.inf, by: str = "") -> list[int]:
        """Let an account have no session from now on. Raises CapacityError."""
        return self._administrator.blocking.block(account, why, until, by)

    def unblock(self, account: str) -> bool:
        """Let an account log in again. Raises CapacityError."""
        return self._administrator.blocking.unblock(account)

    def revoke(
        self, *, principal: str | None = None, number: int | None = None, host: bytes | None = None
    ) -> list[int]:
        """End the sessions of a principal, a number or an address; the numbers of those ended."""
        sessions = self._state.sessions
        meant = [] if principal is None else [live for live in sessions.named(principal) if _is_named(live, principal)]
        for live in (
            None if number is None else sessions.by_number.get(number),
            None if host is None else sessions.by_address.get(host),
        ):
            if live is not None and live not in meant:
                meant.append(live)
        self._administrator.life.end_each(meant, SessionEvent.REVOKED)
        return [live.session.number for live in meant]

    # seeing

    def flows(self, *, session: int | None = None, limit: int = 1000) -> Iterator[Mapping[str, Any]]:
        """Live flows, in the order in which they were opened or went on; of more than `limit` the newest."""
        flows = self._state.flows
        found = flows.all() if session is None else flows.of_session(session)
        del found[:-limit]
        found.reverse()
        while found:  # let go of one by one: a hundred thousand at once take milliseconds
            yield self._flow_view(found.pop())

    def _flow_view(self, flow: LiveFlow) -> Mapping[str, Any]:
        return {
            "subject": flow.subject,
            "subject_principal": _name(flow.opened_by),
            "object": flow.object,
            "object_principal": _name(flow.opened_to),
            "protocol": flow.key.proto,
            "source": str(ipaddress.ip_address(flow.key.src)),
            "source_port": flow.key.sport,
            "destination": str(ipaddress.ip_address(flow.key.dst)),
            "destination_port": flow.key.dport,
            "service": connection(flow.key)["service"],
            "rule": self._state.policy.rule_ids.get(flow.rule),
            "since": flow.started,
            "lease": min(self._ends(flow.subject), self._ends(flow.object), flow.ends),
        }

    def _ends(self, number: int) -> float:
        """Until when a party's bindings hold, if nothing renews them."""
        party = self._state.party(number)
        return party.ends if party is not None else 0.0

    def decisions(self, *, limit: int = 100) -> Iterator[Mapping[str, Any]]:
        """The newest records of the decision log, newest last."""
        return self._log.recent(limit)

    def decision_stream(self) -> AsyncIterator[Mapping[str, Any]]:
        """Records as they are written."""
        return self._log.stream()

    def policy(self) -> Mapping[str, Any]:
        """The policy in force, and what was wrong with the last one that was refused."""
        policy = self._state.policy.policy
        return {
            "version": policy.digest,
            "file": policy.file,
            "loaded": self._policy.loaded,
            "rules": len(policy.rules),
            "segments": len(policy.segments),
            **self._state.staging.view(),
            "error": [str(problem) for problem in (*self._policy.problems, *self._identities.problems)] or None,
        }

    async def reload(self) -> Mapping[str, Any]:
        """Read the policy file and identities.yaml again now; a bad one is not put in force. Raises InputError."""
        outcomes = await asyncio.gather(self._identities.reload(), self._policy.reload(), return_exceptions=True)
        problems = [problem for one in outcomes if isinstance(one, InputError) for problem in one.problems]
        if problems:
            raise InputError(problems)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return self.policy()

    def switches(self) -> Iterator[Mapping[str, Any]]:
        """Every described switch."""
        return (
            {
                "name": point.switch.name,
                "dpid": f"{point.switch.dpid:016x}",
                "connected": point.channel is not None,
                "ready": point.ready,
                "since": point.since if point.channel else None,
                "ports": sum(port.up for port in point.ports.values()),
                "sessions": len(point.local),
                "remote_sessions": len(point.remote),
                "suppressed": point.suppressed,
                "attested": point.attested,
                "repaired": point.repaired,
            }
            for point in self._state.fabric.points.values()
        )

    def links(self) -> Sequence[Mapping[str, Any]]:
        """Every link between switches: declared or discovered, and what was seen of it."""
        return self._administrator.discovery.view()

    def sources(self) -> Sequence[Mapping[str, Any]]:
        """Every system outside that vouches for somebody."""
        return [source.view() for source in self._sources.all()]

    def devices(self) -> Iterator[Mapping[str, Any]]:
        """Every device that is known, with its posture, made on the way."""
        return self._devices.all()

    def device(self, name: str) -> Mapping[str, Any] | None:
        """One device, with each reporter's last report."""
        return self._devices.one(name)

    def report_posture(self, report: Report) -> Outcome:
        """Take a report on a device. Raises UnknownDeviceError, ReportTimeError, CapacityError."""
        return self._devices.report(report)

    def health(self) -> Mapping[str, Any]:
        """Whether everything that is described is there and works."""
        points = self._state.fabric.points.values()
        ready = sum(point.ready for point in points)
        doubtful = self._administrator.discovery.doubtful()
        problems = self._policy.problems or self._identities.problems
        fine = ready == len(points) and not doubtful and not problems and not self._log.failing
        return {
            "status": "ok" if fine else "degraded",
            "switches": {"connected": ready, "expected": len(points)},
            "links_in_doubt": doubtful,
            "sessions": len(self._state.sessions),
            "flows": len(self._state.flows),
            "switch_errors": self._state.counters["switch_errors"],
            "policy_stage": self._state.staging.view()["stage"],
            "staged_rules": self._state.staging.rules,
            "policy_error": bool(self._policy.problems),
            "identities_error": bool(self._identities.problems),
            "decision_log_failing": self._log.failing,
        }

    def explain(self, source: str, target: str, service: str) -> Mapping[str, Any]:
        """The decision between two live sessions, named by address, principal or number. Raises InputError."""
        try:
            wanted = Service.parse(service)
        except ValueError as error:
            raise InputError([Problem("service", str(error))]) from None
        subject = self._party(source)
        for serving in self._state.serving.values():
            if _address(target) in serving.server.addresses or target == _name(serving.session):
                return explain_dns(serving.server, subject, wanted)
        obj = self._party(target)
        now, staged = self._state.clock(), self._state.staging.staged
        explained = explain(self._state.policy.policy, subject, obj, wanted, now)
        return replace(explained, staged=decide_service(staged, subject, obj, wanted, now) if staged else None).view()

    def wanting(self, number: int) -> Sequence[Mapping[str, Any]]:
        """What a session was denied of late for want of a proof."""
        live = self._state.sessions.by_number.get(number)
        return [_wanted_view(one) for one in still_wanted(self._state, live)] if live is not None else []

    def _party(self, name: str) -> Party:
        """Who is meant; an address that nobody is logged in at is an unauthenticated party."""
        address = _address(name)
        if address is not None:
            live = self._state.sessions.by_address.get(address)
            if live is None and self._state.fabric.is_outside(address):
                return External(ipaddress.ip_address(address))
            return live.principal_at(address) if live else None
        sessions = self._state.sessions
        live = next((live for live in sessions.named(name) if _is_named(live, name)), None)
        if live is None and _NUMBER.fullmatch(name):
            live = sessions.by_number.get(int(name))
        if live is None:
            raise InputError([Problem("explain", f"no session is at, of or numbered {name!r}")])
        addresses = live.session.addresses
        return live.principal_at(addresses[0]) if addresses else live.session.principal

    def metrics(self) -> Iterator[Metric]:
        """Every counter and gauge, as it is when it is come to."""
        state = self._state
        yield from metrics_of(state)
        ready = sum(point.ready for point in state.fabric.points.values())
        yield gauge("portal_connections", "Connections to the portal.", len(self._administrator.portal_access))
        yield gauge("blocked_accounts", "Accounts that an operator has blocked.", len(state.accounts.blocks))
        yield gauge("switches_ready", "Switches that have their tables.", ready)
        yield gauge("hot_path_compiled", "Whether the hot path is compiled.", float(native(HOT_PATH) is not None))
        yield total("log_records_lost", "Records that the decision log had no room for.", self._log.lost)
        yield from self._runtime.metrics()


def _wanted_view(wanted: Wanted) -> Mapping[str, Any]:
    condition = wanted.rule.condition
    return {
        "rule": wanted.rule.id,
        "needs": list(wanted.needs),
        "service": wanted.service,
        "destination": str(ipaddress.ip_address(wanted.destination)),
        "time": wanted.time,
        "mfa": condition.mfa,
        "within": condition.mfa_within,
        "aal": condition.aal,
    }


def _address(text: str) -> bytes | None:
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        return None


def _name(session: Session) -> str:
    return f"{session.principal.kind}:{session.principal.name}"


def _is_named(live: Live, name: str) -> bool:
    """Whether a name is that of somebody in the session: who acts, or the device."""
    return name in {one for proof in live.session.proofs for one in (proof.name, proof.account)}
