"""What follows from an event: which proofs end, and which change. CAEP 1.0 §3, and the account events of RISC 1.0."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from zethane.identity.openid import InvalidTokenError, groups_of
from zethane.identity.proof import Proof
from zethane.identity.session import Session
from zethane.identity.signals.scope import Scope, concerned, device_in
from zethane.identity.signals.token import CAEP, RISC, SecurityEvent


@dataclass(frozen=True, slots=True)
class Change:
    """One proof of a session becomes another; None: it ends."""

    session: int
    proof: Proof
    changed: Proof | None


Effect = Callable[[SecurityEvent, Proof, Scope], Proof | None]
"""What a proof that the event concerns becomes; None: it ends."""


def changes(event: SecurityEvent, sessions: Iterable[Session], scope: Scope) -> list[Change]:
    """What the event changes in these sessions: only proofs that are older than what it tells."""
    effect = _EFFECTS.get(event.type)
    if effect is None:
        return []
    return [
        Change(session.number, proof, changed)
        for session in sessions
        for proof, changed in _changed(effect, event, session, scope)
        if changed != proof
    ]


def _changed(
    effect: Effect, event: SecurityEvent, session: Session, scope: Scope
) -> Iterator[tuple[Proof, Proof | None]]:
    for proof in concerned(event.subject, session, scope):
        if not is_before(proof, event, scope.skew):
            continue
        changed = effect(event, proof, scope)
        if changed is None or is_before(proof, event, 0.0):
            yield proof, changed


def is_known(event: SecurityEvent) -> bool:
    """Whether the event is of a type that has an effect."""
    return event.type in _EFFECTS or event.type == DEVICE_COMPLIANCE


def concerns_proofs(event: SecurityEvent) -> bool:
    """Whether it may end or change a proof, also one of somebody who is just logging in."""
    return event.type in _EFFECTS


def is_before(proof: Proof, event: SecurityEvent, skew: float) -> bool:
    """Whether the proof was made before the event happened, or may have been: events tell whole seconds.

    A proof that ends may be some seconds (`skew`) younger, since the transmitter's clock may be behind; what only
    changes may not, since what was proved later is the news.
    """
    return proof.at < event.happened + 1 + skew


DEVICE_COMPLIANCE = CAEP + "device-compliance-change"


@dataclass(frozen=True, slots=True)
class Compliance:
    """A verdict on a device, at a time in seconds since the epoch."""

    device: str
    compliant: bool
    at: float


def compliance(event: SecurityEvent, scope: Scope) -> Compliance | None:
    """The verdict in a device-compliance-change; None for other events, and for devices that are not its business."""
    if event.type != DEVICE_COMPLIANCE:
        return None
    device = device_in(event.subject.device or event.subject.simple, scope)
    if device is None or not scope.judges(device):
        return None
    return Compliance(device, event.content.get("current_status") == "compliant", event.happened)


def _ends(_: SecurityEvent, __: Proof, ___: Scope) -> None:
    return None


_CREDENTIALS: Mapping[str, frozenset[str]] = {
    "password": frozenset(("pwd",)),
    "pin": frozenset(("pin",)),
    "x509": frozenset(("x509", "sc", "swk", "hwk", "pop")),
    "fido2-platform": frozenset(("hwk", "swk", "pop", "fido", "webauthn", "phr", "phrh")),
    "fido2-roaming": frozenset(("hwk", "swk", "pop", "fido", "webauthn", "phr", "phrh")),
    "fido-u2f": frozenset(("hwk", "swk", "pop", "fido", "webauthn")),
    "verifiable-credential": frozenset(("vc", "pop")),
    "phone-voice": frozenset(("tel",)),
    "phone-sms": frozenset(("sms",)),
    "app": frozenset(("otp", "mca", "swk")),
}
"""The types of CAEP 1.0 §3.3.1 with the authentication methods (RFC 8176 §2) that use them."""

_GENERAL = frozenset(("mfa",))
"""Methods that say nothing of which credentials were used."""


def _credential(event: SecurityEvent, proof: Proof, _: Scope) -> Proof | None:
    """The proof ends if it rests on the credential. Where that cannot be told, it does."""
    if event.content.get("change_type") == "create":
        return proof
    kind = event.content.get("credential_type")
    methods = _CREDENTIALS.get(kind) if isinstance(kind, str) else None
    used = set(proof.amr) - _GENERAL
    if proof.method == "certificate":
        used.add("x509")
    rests = methods is None or not used or not methods.isdisjoint(used)
    return None if rests and not _is_other_certificate(event, proof) else proof


def _is_other_certificate(event: SecurityEvent, proof: Proof) -> bool:
    """Whether a certificate is meant, and another than that of the proof (its `reference` is a serial number)."""
    serial = event.content.get("x509_serial")
    if proof.method != "certificate" or not isinstance(serial, str) or not proof.reference:
        return False
    return _serial(serial) != _serial(proof.reference)


def _serial(text: str) -> str:
    return text.replace(":", "").lower().removeprefix("0x").lstrip("0")


_LEVEL = re.compile(r"(?:nist-)?(?:aal)?([1-3])", re.IGNORECASE)


def _assurance(event: SecurityEvent, proof: Proof, _: Scope) -> Proof | None:
    """The level of the proof is another one; a second factor that no longer counts is none."""
    level = event.content.get("current_level")
    match = _LEVEL.fullmatch(level) if isinstance(level, str) else None
    if event.content.get("namespace") not in ("NIST-AAL", "nist-aal"):
        return proof
    if match is None:
        return None  # no level of authentication at all
    aal = int(match[1])
    changed = replace(proof, aal=aal, mfa_at=proof.mfa_at if aal >= 2 else None)
    return _noted(changed, proof, "assurance_changed", event)


def _claims(event: SecurityEvent, proof: Proof, scope: Scope) -> Proof | None:
    """The groups are what the claim says now. A claim that makes no sense gives none."""
    claims = event.content.get("claims")
    if scope.provider is None:
        return proof  # identities.yaml says which groups its principals have
    if not isinstance(claims, dict) or scope.provider.groups_claim not in claims:
        return proof
    try:
        groups = groups_of(scope.provider, claims)
    except InvalidTokenError:
        groups = frozenset()
    changed = scope.complete(replace(proof, groups=groups))
    return _noted(changed, proof, "claims_changed", event) if changed is not None else None


def _noted(changed: Proof, proof: Proof, what: str, event: SecurityEvent) -> Proof:
    """The changed proof, with when that was: what happened earlier, and is told later, changes nothing."""
    before = dict(proof.attributes).get(what)
    if before is not None and float(before) > event.happened:
        return proof
    others = tuple(pair for pair in changed.attributes if pair[0] != what)
    return replace(changed, attributes=(*others, (what, repr(event.happened))))


_EFFECTS: Mapping[str, Effect] = {
    CAEP + "session-revoked": _ends,
    CAEP + "credential-change": _credential,
    CAEP + "assurance-level-change": _assurance,
    CAEP + "token-claims-change": _claims,
    RISC + "account-disabled": _ends,
    RISC + "account-purged": _ends,
    RISC + "sessions-revoked": _ends,
}


def told(event: SecurityEvent, transmitter: str) -> str:
    """Who told what, for the records."""
    return f"{transmitter}: {event.name} {event.jti}"


def content_text(content: Mapping[str, Any], name: str) -> str:
    """A text of an event's content for the log; empty if it has none."""
    value = content.get(name)
    return value[:255] if isinstance(value, str) and value[:255].isprintable() else ""
