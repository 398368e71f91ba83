"""RADIUS as the rest of the controller sees it: one question, one answer, and the proof that an answer gives.

The adapter `adapters.radius` implements `RadiusClient`. RFC 2865, RFC 3579 (EAP), RFC 3580 (IEEE 802.1X).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from zethane.audit.reason import LoginRefusal
from zethane.errors import ZethaneError
from zethane.identity.proof import Method, Proof
from zethane.identity.session import Attachment
from zethane.identity.sources.radius import Radius
from zethane.policy.principal import PrincipalKind

TerminationAction = Literal["default", "radius-request"]
"""What follows when Session-Timeout is over (RFC 2865 §5.29): the end, or another authentication."""

ISSUER = "radius:"
"""What the issuer of a proof begins with that a RADIUS server gave; the server's name follows."""

CLASS = "radius-class"
INTERIM = "radius-interim"
NAS_PORT_ID = "radius-nas-port-id"
"""Names of attributes of a proof: Class in hexadecimal, Acct-Interim-Interval in seconds, NAS-Port-Id."""

MAX_GROUPS = 64
"""Groups that one answer may give."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class RadiusError(ZethaneError):
    """No server has given an answer that can be believed.

    `reason` is NOT_ANSWERED, INVALID_ANSWER (some came, and none was valid), or BUSY (too many questions wait).
    """

    def __init__(self, message: str, reason: LoginRefusal) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """One Access-Request. `user_name` is the identity that EAP gave, or the MAC address for what cannot do EAP."""

    user_name: str
    attachment: Attachment
    port_name: str
    """NAS-Port-Id: `s1:3`."""
    session_id: str
    """Acct-Session-Id, the same in accounting."""
    eap: bytes | None = None
    """One EAP packet; None: MAC authentication bypass."""
    state: bytes | None = None
    server: str | None = None
    """The server that sent the last challenge: nobody else knows of this exchange."""


@dataclass(frozen=True, slots=True)
class AccessReply:
    """A server's answer whose authenticators were right. Times are lengths in seconds.

    In a challenge, `session_timeout` is how long to wait for the host (RFC 3579 §2.5).
    """

    code: Literal["accept", "reject", "challenge"]
    server: str
    eap: bytes | None
    state: bytes | None
    user_name: str | None
    filter_ids: tuple[str, ...]
    tunnel_private_group: str | None
    session_timeout: float | None
    termination_action: TerminationAction
    idle_timeout: float | None
    classes: tuple[bytes, ...]
    interim: float | None = None
    """Acct-Interim-Interval (RFC 2869 §5.16)."""


class RadiusClient(Protocol):
    """Who asks the servers."""

    async def authenticate(self, request: AccessRequest) -> AccessReply:
        """The answer of the first server that gives one. Raises RadiusError."""


def proof_of(
    request: AccessRequest,
    reply: AccessReply,
    kind: PrincipalKind,
    name: str,
    method: Method,
    amr: tuple[str, ...],
    aal: int,
    settings: Radius,
    now: float,
) -> Proof:
    """What an Access-Accept proves: who, in which groups, until when. `now` is in seconds since the epoch.

    Raises ValueError for any other answer.
    """
    if reply.code != "accept":
        raise ValueError("only an Access-Accept proves anything")
    interim = () if reply.interim is None else ((INTERIM, f"{reply.interim:g}"),)
    proof = Proof(
        kind,
        name,
        method,
        now,
        amr=amr,
        aal=aal,
        mfa_at=now if "mfa" in amr else None,
        labels=labels_of(reply.tunnel_private_group, settings),
        issuer=ISSUER + reply.server,
        subject=reply.user_name or request.user_name,
        reference=request.session_id,
        attributes=((NAS_PORT_ID, request.port_name), *interim),
    )
    proof = with_classes(proof, reply.classes)
    proof = replace(proof, groups=groups_of(reply.filter_ids, settings))
    return with_times(proof, reply.session_timeout, reply.termination_action, reply.idle_timeout, now)


def groups_of(filter_ids: tuple[str, ...], settings: Radius) -> frozenset[str]:
    """The groups that Filter-Id names: by the mapping, or by themselves where there is none.

    What the mapping does not name, and what can be no name of a group, gives nothing.
    """
    if settings.groups is not None:
        known = [settings.groups[value] for value in filter_ids if value in settings.groups]
    else:
        known = [value for value in filter_ids if _NAME.fullmatch(value)]
    return frozenset(known[:MAX_GROUPS])


def labels_of(tunnel_private_group: str | None, settings: Radius) -> tuple[tuple[str, str], ...]:
    """The labels that the mapping gives to a Tunnel-Private-Group-ID (RFC 3580 §3.31: a VLAN)."""
    if tunnel_private_group is None or settings.labels is None:
        return ()
    return tuple(sorted(settings.labels.get(tunnel_private_group, {}).items()))


def with_times(
    proof: Proof,
    session_timeout: float | None,
    termination_action: TerminationAction,
    idle_timeout: float | None,
    now: float,
) -> Proof:
    """The proof with its end as the server wants it (RFC 3580 §3.17): from `now` on, not from the start."""
    end = math.inf if session_timeout is None else now + session_timeout
    again = termination_action == "radius-request"
    return replace(
        proof,
        expires=math.inf if again else end,
        reauthenticate=end if again else math.inf,
        idle=math.inf if idle_timeout is None else idle_timeout,
    )


def with_classes(proof: Proof, classes: tuple[bytes, ...]) -> Proof:
    """The proof with these values of Class (RFC 2865 §5.25) instead of those that it has."""
    others = tuple(pair for pair in proof.attributes if pair[0] != CLASS)
    return replace(proof, attributes=(*others, *((CLASS, value.hex()) for value in classes)))


def classes_of(proof: Proof) -> tuple[bytes, ...]:
    """The values of Class that came with the proof, to be sent back in accounting."""
    return tuple(bytes.fromhex(value) for name, value in proof.attributes if name == CLASS)
