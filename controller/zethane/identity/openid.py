"""What an OpenID provider says of a person: which claims are taken, and the proof that they make.

Pure: signatures are checked before (`adapters.oidc`), and time is a parameter. The messages of InvalidTokenError
are for the log; a client learns none of them.
"""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zethane.document.duration import seconds
from zethane.errors import ZethaneError
from zethane.identity.directory import Directory
from zethane.identity.proof import Proof
from zethane.identity.sources.oidc import OpenIdProvider

Claims = Mapping[str, Any]

MAX_NAME = 63
"""Characters of a principal's name, the provider's with it."""

MAX_SUBJECT = 255
"""Characters of `sub` (OpenID Connect Core §2)."""

MAX_ISSUE_AGE = 600.0
"""Seconds that a token may be old when it arrives, beside the skew of clocks: it comes straight from the provider."""

MAX_VALUES = 1024
"""Values of a claim that is a list."""

MAX_GROUPS = 64
"""Groups that a principal may have."""

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_METHOD = re.compile(r"[a-z0-9_-]{1,32}")
_PRINTABLE = re.compile(r"[\x20-\x7e]+")


class InvalidTokenError(ZethaneError):
    """A token, or what it says, cannot be taken; the message says why, and holds nothing that a token said."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token has to agree with. `nonce` None: there was none; `max_age`, `skew` in seconds."""

    issuer: str
    client_id: str
    nonce: str | None = None
    max_age: float | None = None
    skew: float = 60.0


def check_id_token(claims: Claims, expected: Expected, now: float) -> None:
    """Hold an ID token's claims against what was asked for (OpenID Connect Core §3.1.3.7). Raises InvalidTokenError."""
    _check_issuer_and_audience(claims, expected)
    if now >= _moment(claims, "exp") + expected.skew:
        raise InvalidTokenError("the token has expired")
    _check_issue(claims, expected, now)
    subject_of(claims)
    nonce = claims.get("nonce")
    if expected.nonce is not None:
        if not isinstance(nonce, str) or not _same(nonce, expected.nonce):
            raise InvalidTokenError("the nonce is not that of the request")
    elif nonce is not None:
        raise InvalidTokenError("there is a nonce that nobody asked for")
    authenticated = _moment(claims, "auth_time") if "auth_time" in claims else None
    if authenticated is not None and authenticated > now + expected.skew:
        raise InvalidTokenError("auth_time is in the future")
    if expected.max_age is not None and (
        authenticated is None or now - authenticated > expected.max_age + expected.skew
    ):
        raise InvalidTokenError("the login at the provider is older than max_age")


def _check_issuer_and_audience(claims: Claims, expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise InvalidTokenError("iss is not the provider")
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else _texts(audience, "aud")
    if expected.client_id not in audiences:
        raise InvalidTokenError("aud is another client")
    azp = claims.get("azp")
    if azp != expected.client_id and (azp is not None or len(audiences) > 1):
        raise InvalidTokenError("azp is another client, or missing where aud holds several")


def _check_issue(claims: Claims, expected: Expected, now: float) -> None:
    issued = _moment(claims, "iat")
    if issued > now + expected.skew:
        raise InvalidTokenError("iat is in the future")
    if issued < now - expected.skew - MAX_ISSUE_AGE:
        raise InvalidTokenError("iat is too long ago")
    if "nbf" in claims and _moment(claims, "nbf") > now + expected.skew:
        raise InvalidTokenError("nbf is in the future")


def check_refreshed(claims: Claims, before: Claims, expected: Expected, now: float) -> None:
    """Hold a refreshed ID token against that of the login (OpenID Connect Core §12.2). Raises InvalidTokenError."""
    nonce = claims.get("nonce")
    if nonce is not None and nonce != before.get("nonce"):
        raise InvalidTokenError("the nonce is not that of the login")
    check_id_token({key: value for key, value in claims.items() if key != "nonce"}, expected, now)
    if claims["sub"] != before["sub"]:
        raise InvalidTokenError("sub is another person than at the login")
    if "auth_time" in claims and "auth_time" in before and claims["auth_time"] < before["auth_time"]:
        raise InvalidTokenError("auth_time is before the login")


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """Whose sessions end: those of a subject, of one session `sid` at the provider, or both. `until`: seconds since
    the epoch until which its `jti` must not be taken again."""

    issuer: str
    jti: str
    until: float
    subject: str | None
    sid: str | None

    def fits(self, proof: Proof) -> bool:
        """Whether a proof rests on what has ended."""
        if proof.method != "oidc" or proof.issuer != self.issuer:
            return False
        return self.subject in (None, proof.subject) and self.sid in (None, proof.reference)


def check_logout_token(claims: Claims, expected: Expected, now: float) -> LogoutToken:
    """The logout that a token asks for (OpenID Connect Back-Channel Logout 1.0 §2.6). Raises InvalidTokenError."""
    _check_issuer_and_audience(claims, expected)
    _check_issue(claims, expected, now)
    if "exp" in claims and now >= _moment(claims, "exp") + expected.skew:
        raise InvalidTokenError("the token has expired")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise InvalidTokenError("events holds no back-channel logout")
    if "nonce" in claims:
        raise InvalidTokenError("a logout token has no nonce")
    subject = subject_of(claims) if "sub" in claims else None
    sid = _text(claims, "sid") if "sid" in claims else None
    if subject is None and sid is None:
        raise InvalidTokenError("neither sub nor sid")
    until = _moment(claims, "iat") + MAX_ISSUE_AGE + 2 * expected.skew
    return LogoutToken(expected.issuer, _text(claims, "jti"), until, subject, sid)


def subject_of(claims: Claims) -> str:
    """`sub`. Raises InvalidTokenError."""
    return _text(claims, "sub")


def proof_of(provider: str, settings: OpenIdProvider, claims: Claims, now: float) -> Proof:
    """The proof that claims make. A name ends in `@` and the provider's own, so that none speaks for another's people.

    It is as old as the provider's word; a second factor is as old as the login there.

    Raises InvalidTokenError for a name or groups that cannot be taken.
    """
    authenticated = _moment(claims, "auth_time") if "auth_time" in claims else now
    amr = _methods(claims.get("amr"))
    acr = claims.get("acr")
    acr = acr if isinstance(acr, str) and len(acr) <= MAX_SUBJECT and _PRINTABLE.fullmatch(acr) else None
    known = settings.acr.get(acr) if acr is not None else None
    return Proof(
        "user",
        name_of(provider, settings, claims),
        "oidc",
        now,
        amr,
        known if known is not None else 2 if "mfa" in amr else 1,
        min(authenticated, now) if "mfa" in amr else None,
        groups_of(settings, claims),
        issuer=settings.issuer,
        subject=subject_of(claims),
        reference=_text(claims, "sid") if "sid" in claims else "",
        attributes=(*((("acr", acr),) if acr is not None else ()), *_address(claims)),
    )


def _address(claims: Claims) -> tuple[tuple[str, str], ...]:
    """The address that the provider has made sure of (OpenID Connect Core §5.1): signals may name her by it."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return ()
    return (("email", email),) if len(email) <= MAX_SUBJECT and _PRINTABLE.fullmatch(email) else ()


def completed(proof: Proof, directory: Directory) -> Proof | None:
    """The proof with the groups and labels that identities.yaml gives a person of this name as well; None if it
    disables her."""
    known = directory.users.get(proof.name)
    if known is None:
        return proof
    if known.disabled:
        return None
    return replace(proof, groups=proof.groups | frozenset(known.groups), labels=tuple(sorted(known.labels.items())))


def name_of(provider: str, settings: OpenIdProvider, claims: Claims) -> str:
    """`alice@corp`. Raises InvalidTokenError."""
    said = claims.get(settings.name_claim)
    if not isinstance(said, str):
        raise InvalidTokenError(f"the claim {settings.name_claim} is no text")
    name = f"{said}@{provider}"
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise InvalidTokenError(f"the claim {settings.name_claim} is no name of letters, digits, dot, dash and at")
    return name


def groups_of(settings: OpenIdProvider, claims: Claims) -> frozenset[str]:
    """The groups that the claim names, by the mapping if there is one. Raises InvalidTokenError."""
    said = claims.get(settings.groups_claim)
    values = [] if said is None else [said] if isinstance(said, str) else _texts(said, settings.groups_claim)
    if settings.groups is None:
        groups = frozenset(value for value in values if _GROUP.fullmatch(value))
    else:
        groups = frozenset(settings.groups[value] for value in values if value in settings.groups)
    if len(groups) > MAX_GROUPS:
        raise InvalidTokenError(f"more than {MAX_GROUPS} groups")
    return groups


def _methods(said: object) -> tuple[str, ...]:
    """The names in `amr` that have the form of RFC 8176's, in their order."""
    values = said if isinstance(said, list) else []
    return tuple(dict.fromkeys(one for one in values[:16] if isinstance(one, str) and _METHOD.fullmatch(one)))


def _texts(value: object, claim: str) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_VALUES or not all(isinstance(one, str) for one in value):
        raise InvalidTokenError(f"the claim {claim} is no list of texts")
    return value


def _text(claims: Claims, claim: str) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SUBJECT or not _PRINTABLE.fullmatch(value):
        raise InvalidTokenError(f"the claim {claim} is missing, or no short printable text")
    return value


def _moment(claims: Claims, claim: str) -> float:
    """A NumericDate (RFC 7519 §2)."""
    value = claims.get(claim)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e12 or not math.isfinite(value):
        raise InvalidTokenError(f"the claim {claim} is missing, or no time")
    return float(value)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def expected_of(settings: OpenIdProvider, nonce: str | None = None, max_age: float | None = None) -> Expected:
    """What tokens of a provider have to agree with."""
    return Expected(settings.issuer, settings.client_id, nonce, max_age, seconds(settings.clock_skew))
