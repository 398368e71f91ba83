"""Whom an event is about: Subject Identifiers (RFC 9493), and the complex subjects of OpenID SSF 1.0 §3.3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_TEXT = 1024
"""Characters of one value."""

MAX_ALIASES = 16

_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")

_FORMATS: Mapping[str, tuple[str, ...]] = {
    "account": ("uri",),
    "email": ("email",),
    "iss_sub": ("iss", "sub"),
    "opaque": ("id",),
    "phone_number": ("phone_number",),
    "did": ("url",),
    "uri": ("uri",),
    "jwt_id": ("iss", "jti"),
    "saml_assertion_id": ("issuer", "assertion_id"),
}
"""The formats of RFC 9493 §3.2 and SSF 1.0 §3.4 with their members; `aliases` and `complex` hold others."""


class SubjectError(ValueError):
    """What should identify somebody does not. The message says what was expected, and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """One simple identifier: its format, and the values of its members in the order of the format."""

    format: str
    values: tuple[str, ...]


Identifiers = tuple[Identifier, ...]
"""Several that identify the same (`aliases`): it is enough that one fits."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject. `simple` is one without parts: a user, a session or a device, as the event has it.

    A complex one names some of user, session and device, and all of those together. Its other members (tenant,
    organizational unit, group, application) say more closely who that is, and name nobody by themselves.
    """

    simple: Identifiers = ()
    user: Identifiers = ()
    session: Identifiers = ()
    device: Identifiers = ()


def parse_subject(value: object) -> Subject:
    """The subject in `sub_id`. Raises SubjectError."""
    if not isinstance(value, dict):
        raise SubjectError("expected sub_id to be an object")
    # A complex subject without `format` is what implementers' drafts of SSF have.
    if value.get("format") != "complex" and ("format" in value or not _MEMBERS.intersection(value)):
        return Subject(simple=_identifiers(value))
    members = {name: _identifiers(one) for name, one in value.items() if name != "format"}
    unknown = members.keys() - _MEMBERS
    if unknown or not members:
        raise SubjectError("expected a complex subject of user, session, device, tenant, org_unit, group, application")
    known = {name: one for name, one in members.items() if name in ("user", "session", "device")}
    return Subject(**known)


_MEMBERS = frozenset(("user", "device", "session", "application", "tenant", "org_unit", "group"))


def _identifiers(value: object) -> Identifiers:
    if not isinstance(value, dict):
        raise SubjectError("expected a subject identifier to be an object")
    if value.get("format") != "aliases":
        return (_identifier(value),)
    aliases = value.get("identifiers")
    if not isinstance(aliases, list) or not 1 <= len(aliases) <= MAX_ALIASES:
        raise SubjectError(f"expected 1 to {MAX_ALIASES} aliases")
    return tuple(_identifier(one) for one in aliases)


def _identifier(value: object) -> Identifier:
    if not isinstance(value, dict):
        raise SubjectError("expected a subject identifier to be an object")
    kind = value.get("format")
    members = _FORMATS.get(kind) if isinstance(kind, str) else None
    if members is None or not isinstance(kind, str):
        raise SubjectError("expected a subject identifier of a known format")
    return Identifier(kind, tuple(_text(value.get(name), f"{kind}.{name}") for name in members))


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not _PRINTABLE.fullmatch(value):
        raise SubjectError(f"expected {what} to be a printable text of at most {MAX_TEXT} characters")
    return value
