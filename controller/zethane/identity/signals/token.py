"""Security Event Tokens (RFC 8417) with one event, as OpenID SSF 1.0 has them: what they must say to be taken.

The signature is checked before. The refusals are those of push delivery (RFC 8935 §2.4).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zethane.errors import ZethaneError
from zethane.identity.signals.subject import Subject, SubjectError, parse_subject

SetErrorCode = Literal[
    "invalid_request",
    "invalid_key",
    "invalid_issuer",
    "invalid_audience",
    "authentication_failed",
    "access_denied",
]

MAX_AGE = 24 * 3600.0
"""Seconds after which a token is no longer taken. A transmitter that could not deliver it has tried for long enough."""

MAX_JTI = 255
MAX_TYPE = 512
MAX_AUDIENCES = 64

CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"

_JTI = re.compile(r"[\x21-\x7e]+")
_TYPES = ("secevent+jwt", "application/secevent+jwt")


class SetError(ZethaneError):
    """A token is refused; the message tells the transmitter why, and holds nothing that the token said."""

    def __init__(self, code: SetErrorCode, message: str) -> None:
        self.code: SetErrorCode = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a transmitter's tokens have to agree with. `skew` is in seconds."""

    issuer: str
    audience: str
    skew: float = 60.0


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """One event. `type` is its URI, `content` its payload; times are in seconds since the epoch.

    `happened` is when what it tells has happened: anything in the second that it names. `until` is the moment after
    which the token is too old to be taken again.
    """

    issuer: str
    jti: str
    type: str
    content: Mapping[str, Any]
    subject: Subject
    issued: float
    happened: float
    until: float

    @property
    def name(self) -> str:
        """The last part of the type, such as `session-revoked`."""
        return self.type.rstrip("/").rpartition("/")[2]


def check_set(header: Mapping[str, Any], claims: Mapping[str, Any], expected: Expected, now: float) -> SecurityEvent:
    """The event in a token whose signature is right. Raises SetError."""
    typ = header.get("typ")
    if not isinstance(typ, str) or typ.lower() not in _TYPES:
        raise SetError("invalid_request", "expected a token of type secevent+jwt")
    if claims.get("iss") != expected.issuer:
        raise SetError("invalid_issuer", "the token is not of this stream's issuer")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.audience not in audiences[:MAX_AUDIENCES]:
        raise SetError("invalid_audience", "the token is for another audience")
    for name in ("exp", "sub"):
        if name in claims:
            raise SetError("invalid_request", f"expected no {name} in a token of shared signals")
    issued = _moment(claims.get("iat"), "iat")
    if issued > now + expected.skew:
        raise SetError("invalid_request", "iat is in the future")
    if issued < now - MAX_AGE - expected.skew:
        raise SetError("invalid_request", f"iat is more than {MAX_AGE:.0f} seconds ago")
    uri, content = _event(claims.get("events"))
    happened = _happened(claims, content, issued)
    if happened > now + expected.skew:
        raise SetError("invalid_request", "the event is in the future")
    until = issued + MAX_AGE + 2 * expected.skew
    return SecurityEvent(
        expected.issuer, _jti(claims.get("jti")), uri, content, _subject(claims), issued, happened, until
    )


def _event(events: object) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(events, dict) or len(events) != 1:
        raise SetError("invalid_request", "expected exactly one event")
    ((uri, content),) = events.items()
    if not 0 < len(uri) <= MAX_TYPE or not _JTI.fullmatch(uri):
        raise SetError("invalid_request", "expected the type of the event to be a URI")
    if not isinstance(content, dict):
        raise SetError("invalid_request", "expected the event to be an object")
    return uri, content


def _happened(claims: Mapping[str, Any], content: Mapping[str, Any], issued: float) -> float:
    """When it happened: as the event says (CAEP 1.0 §2), else the token (`toe`, RFC 8417 §2.2), else when issued."""
    for source, name in ((content, "event_timestamp"), (claims, "toe")):
        if name in source:
            return _moment(source[name], name)
    return issued


def _jti(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_JTI or not _JTI.fullmatch(value):
        raise SetError("invalid_request", f"expected jti to be a text of at most {MAX_JTI} visible characters")
    return value


def _subject(claims: Mapping[str, Any]) -> Subject:
    try:
        return parse_subject(claims.get("sub_id"))
    except SubjectError as error:
        raise SetError("invalid_request", str(error)) from None


def _moment(value: object, name: str) -> float:
    """A NumericDate (RFC 7519 §2)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12 or math.isnan(value):
        raise SetError("invalid_request", f"expected {name} in seconds since 1970")
    return float(value)
