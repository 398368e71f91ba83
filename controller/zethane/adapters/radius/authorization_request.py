"""What the attributes of a Disconnect-Request or CoA-Request mean (RFC 5176 §3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from zethane.adapters.radius.attribute import RADIUS_REQUEST, Attribute, Pairs, read_integer, values
from zethane.net.mac import parse_mac
from zethane.service.dynamic_authorization import Change, ErrorCause, Refused, Target
from zethane.service.radius import TerminationAction

T = TypeVar("T")

_IDENTIFYING = frozenset(
    {
        Attribute.USER_NAME,
        Attribute.NAS_PORT,
        Attribute.NAS_PORT_ID,
        Attribute.FRAMED_IP_ADDRESS,
        Attribute.FRAMED_IPV6_ADDRESS,
        Attribute.CALLED_STATION_ID,
        Attribute.CALLING_STATION_ID,
        Attribute.ACCT_SESSION_ID,
        Attribute.CLASS,
    }
)

_ALWAYS = frozenset(
    {
        Attribute.NAS_IDENTIFIER,
        Attribute.NAS_IP_ADDRESS,
        Attribute.NAS_IPV6_ADDRESS,
        Attribute.PROXY_STATE,
        Attribute.EVENT_TIMESTAMP,
        Attribute.MESSAGE_AUTHENTICATOR,
    }
)

_CHANGING = frozenset(
    {
        Attribute.SESSION_TIMEOUT,
        Attribute.TERMINATION_ACTION,
        Attribute.IDLE_TIMEOUT,
        Attribute.FILTER_ID,
    }
)

_ACTIONS: dict[int, TerminationAction] = {0: "default", RADIUS_REQUEST: "radius-request"}


def require_supported(pairs: Pairs, nas: str, own_address: bytes | None, *, change: bool) -> None:
    """Raise Refused for attributes that mean nothing here, and for requests that are for another NAS.

    `own_address` is where requests are taken, packed; None: anywhere, and then any address is ours.
    """
    supported = _IDENTIFYING | _ALWAYS | (_CHANGING if change else {Attribute.ACCT_TERMINATE_CAUSE})
    for code, value in pairs:
        if code == Attribute.SERVICE_TYPE:
            raise Refused(ErrorCause.UNSUPPORTED_SERVICE)
        if code not in supported:
            # All that is asked for is done, or nothing (RFC 5176 §2.3).
            raise Refused(ErrorCause.UNSUPPORTED_ATTRIBUTE)
        if code == Attribute.NAS_IDENTIFIER and value != nas.encode():
            raise Refused(ErrorCause.NAS_IDENTIFICATION_MISMATCH)
        is_address = code in (Attribute.NAS_IP_ADDRESS, Attribute.NAS_IPV6_ADDRESS)
        if is_address and own_address is not None and value != own_address:
            raise Refused(ErrorCause.NAS_IDENTIFICATION_MISMATCH)


def target_of(pairs: Pairs, *, change: bool) -> Target:
    """The session that is meant. Class says so in a Disconnect-Request alone. Raises Refused."""
    addresses = (
        *(_sized(value, 4) for value in values(pairs, Attribute.FRAMED_IP_ADDRESS)),
        *(_sized(value, 16) for value in values(pairs, Attribute.FRAMED_IPV6_ADDRESS)),
    )
    return Target(
        session_id=_one(pairs, Attribute.ACCT_SESSION_ID, _text),
        user_name=_one(pairs, Attribute.USER_NAME, _text),
        station=_one(pairs, Attribute.CALLING_STATION_ID, _station),
        bridge=_one(pairs, Attribute.CALLED_STATION_ID, _station),
        port=_one(pairs, Attribute.NAS_PORT, read_integer),
        port_name=_one(pairs, Attribute.NAS_PORT_ID, _text),
        addresses=addresses,
        classes=() if change else tuple(values(pairs, Attribute.CLASS)),
    )


def change_of(pairs: Pairs) -> Change:
    """What is to change. Raises Refused."""
    filters = values(pairs, Attribute.FILTER_ID)
    classes = values(pairs, Attribute.CLASS)
    return Change(
        session_timeout=_one(pairs, Attribute.SESSION_TIMEOUT, _seconds),
        termination_action=_one(pairs, Attribute.TERMINATION_ACTION, _action),
        idle_timeout=_one(pairs, Attribute.IDLE_TIMEOUT, _seconds),
        filter_ids=tuple(_read(value, _text) for value in filters) if filters else None,
        classes=tuple(classes) if classes else None,
    )


def _one(pairs: Pairs, wanted: Attribute, read: Callable[[bytes], T]) -> T | None:
    found = values(pairs, wanted)
    return _read(found[0], read) if found else None


def _read(value: bytes, read: Callable[[bytes], T]) -> T:
    """Raises Refused for a value that cannot be one."""
    try:
        return read(value)
    except (ValueError, KeyError):
        raise Refused(ErrorCause.INVALID_ATTRIBUTE_VALUE) from None


def _text(value: bytes) -> str:
    """A text is never empty (RFC 2865 §5); an empty one would fit what has no name."""
    if not value:
        raise ValueError("expected a text")
    return value.decode()


def _sized(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise Refused(ErrorCause.INVALID_ATTRIBUTE_VALUE)
    return value


def _station(value: bytes) -> int:
    """A MAC address with - or : between its bytes (RFC 3580 §3.20, §3.21)."""
    return parse_mac(value.decode("ascii").replace("-", ":"))


def _seconds(value: bytes) -> float:
    return float(read_integer(value))


def _action(value: bytes) -> TerminationAction:
    return _ACTIONS[read_integer(value)]
