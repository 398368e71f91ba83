"""What the API and the portal may ask of the running controller.

`app.controller.Controller` implements it; the API and the portal's back end know only this. All methods
run on the event loop and return at once, unless they are coroutines.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from zethane.audit.reason import SessionEvent
from zethane.identity.posture import Report
from zethane.identity.proof import Proof
from zethane.identity.session import MAX_SESSION, Attachment, Endpoint, Session
from zethane.service.accounts import Block
from zethane.service.metrics import Metric
from zethane.service.posture import Outcome

View = Mapping[str, Any]
"""A JSON-ready mapping: only str, int, float, bool, None, lists and mappings of those."""


class ControllerFacade(Protocol):
    """The running controller as the API sees it."""

    def sessions(self, *, after: int = 0, limit: int = MAX_SESSION) -> Sequence[Session]:
        """Live sessions by number: as many of those after a number."""

    def sessions_known_as(self, *words: str) -> Iterable[Session]:
        """Live sessions of which a proof has one of these words as its name, account, subject or reference, in any
        case of letters; each once, in no order. There may be others among them."""

    def sessions_vouched_by(self, issuer: str) -> Sequence[Session]:
        """Live sessions with a proof of this issuer."""

    def session(self, number: int) -> Session | None:
        """One live session."""

    def session_at(self, endpoint: Endpoint) -> Session | None:
        """The live session that holds this attachment and address."""

    def locate(self, address: bytes, port: int, server: bytes, server_port: int) -> Endpoint | None:
        """Where the live TCP connection `address:port -> server:server_port` to the portal comes from.

        None if the switches know of no such connection: the request must then be refused.
        """

    def start_session(self, attachment: Attachment, proof: Proof, address: bytes | None = None) -> Session:
        """Bind a principal that has just proved itself, or renew the session that it has there.

        Without an address, as after IEEE 802.1X, the session gets those that its host uses. Users and devices that
        both prove themselves at one place share a session. Another session of the same attachment ends; one of the
        same principal, MAC and address elsewhere ends too (the host moved).
        Raises AddressInUse, PortRefusal, SessionError (no segment, or more than one, or an unusable port),
        CapacityError.
        """

    def session_of(self, attachment: Attachment) -> Session | None:
        """The live session at a port, VLAN and MAC."""

    def change_proof(
        self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent | None, detail: str = ""
    ) -> bool:
        """Put `changed` in the place of one proof of a session, at once and on every switch; None ends that proof.

        Only the flows end that the new state does not allow. A session without a proof, or without a segment, ends.
        Without a reason only its times have moved, and nobody is told. False if there is no such session or proof (any
        more).
        """

    def proofs(self) -> Iterator[tuple[Session, Proof]]:
        """Every proof that a live session rests on now, with that session. Proofs may be changed on the way."""

    def claim_address(self, endpoint: Endpoint, number: int) -> Session:
        """Add the endpoint's address to the session, which must be at the endpoint's attachment.

        Raises AddressInUse, SessionError, CapacityError (more than MAX_ADDRESSES).
        """

    def end_session(self, number: int, reason: SessionEvent) -> bool:
        """End one session: its flows stop on every switch. False if there is none."""

    def logout(self, number: int) -> bool:
        """The user or workload of a session has logged out: a device that has proved itself there goes on.

        False if there is no such session.
        """

    def look_again(self, device: str) -> None:
        """Something is known of a device that was not: re-decide for the sessions that it has proved itself in."""

    def blocks(self) -> Sequence[Block]:
        """The accounts that may not log in, by name."""

    def block(self, account: str, why: str, until: float = math.inf, by: str = "") -> list[int]:
        """Let an account (`user:alice`) have no session from now on, by whatever method, over restarts.

        Returns the numbers of the sessions that it was in. Raises CapacityError.
        """

    def unblock(self, account: str) -> bool:
        """Let an account log in again; False if it was not blocked. Raises CapacityError."""

    def revoke(
        self, *, principal: str | None = None, number: int | None = None, host: bytes | None = None
    ) -> list[int]:
        """End the sessions of a principal (`user:alice` or plain `alice`), a number, or an address.

        Returns the numbers of the sessions ended.
        """

    def flows(self, *, session: int | None = None, limit: int = 1000) -> Iterable[View]:
        """The newest live flows, the newest last, made on the way.

        Each with subject, object, addresses, protocol, ports, rule, since, lease.
        """

    def decisions(self, *, limit: int = 100) -> Iterable[View]:
        """The newest records of the decision log, newest last, made on the way."""

    def decision_stream(self) -> AsyncIterator[View]:
        """Records as they are written; bounded, a slow reader loses records and is told how many."""

    def policy(self) -> View:
        """`{"version": sha256, "file": …, "loaded": time, "rules": n, "segments": n, "error": null|[…]}` of the one in
        force; `stage`, `staged_version` and `staged_rules` are those of `policy.stage.Staging`."""

    async def reload(self) -> View:
        """Read the policy file and identities.yaml again now. A bad one is not put in force: raises InputError."""

    def switches(self) -> Iterable[View]:
        """Per switch, made on the way: name, dpid, connected, since, sessions, flows, counters."""

    def links(self) -> Sequence[View]:
        """Every link between switches, declared or discovered, with its state and whether paths lead over it."""

    def sources(self) -> Sequence[View]:
        """Every system outside that vouches for somebody: name, kind, state, since, detail."""

    def devices(self) -> Iterable[View]:
        """Every device that the identities name or that has proved itself, with its posture, made on the way."""

    def device(self, name: str) -> View | None:
        """One device, with each reporter's last report; None if nobody knows it."""

    def report_posture(self, report: Report) -> Outcome:
        """Take a report on a device. Raises UnknownDeviceError, ReportTimeError, CapacityError."""

    def health(self) -> View:
        """`{"status": "ok"|"degraded", "switches": {"connected": n, "expected": n}, …}`."""

    def explain(self, source: str, target: str, service: str) -> View:
        """The decision for two live sessions, each named by address, principal or number.

        Raises InputError for names that mean nothing.
        """

    def wanting(self, number: int) -> Sequence[View]:
        """What a session was denied of late, and would not have been with a stronger or fresher proof; the newest last.

        `{"rule": …, "needs": [words], "service": "tcp/443", "destination": address, "time": …, "mfa": bool|null,
        "within": seconds|null, "aal": 1..3|null}`: the last three are what the rule's condition asks of the proof.
        What the session has proved meanwhile is left out. Empty if there is no such session.
        """

    def metrics(self) -> Iterable[Metric]:
        """Every counter and gauge, with its labels."""
