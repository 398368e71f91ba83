"""The attributes that Zethane sends and reads, by their numbers, and how their values are written.

Numbers: RFC 2865 §5, RFC 2866 §5, RFC 2868 §3, RFC 2869 §5, RFC 5176 §3, RFC 6911 §3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum

MAX_VALUE = 253
"""Bytes of one attribute's value (RFC 2865 §5)."""

Pairs = Sequence[tuple[int, bytes]]
"""Attributes in their order."""


class Attribute(IntEnum):
    """The number of an attribute."""

    USER_NAME = 1
    NAS_IP_ADDRESS = 4
    NAS_PORT = 5
    SERVICE_TYPE = 6
    FRAMED_IP_ADDRESS = 8
    FILTER_ID = 11
    FRAMED_MTU = 12
    STATE = 24
    CLASS = 25
    VENDOR_SPECIFIC = 26
    SESSION_TIMEOUT = 27
    IDLE_TIMEOUT = 28
    TERMINATION_ACTION = 29
    CALLED_STATION_ID = 30
    CALLING_STATION_ID = 31
    NAS_IDENTIFIER = 32
    PROXY_STATE = 33
    ACCT_STATUS_TYPE = 40
    ACCT_DELAY_TIME = 41
    ACCT_INPUT_OCTETS = 42
    ACCT_OUTPUT_OCTETS = 43
    ACCT_SESSION_ID = 44
    ACCT_AUTHENTIC = 45
    ACCT_SESSION_TIME = 46
    ACCT_INPUT_PACKETS = 47
    ACCT_OUTPUT_PACKETS = 48
    ACCT_TERMINATE_CAUSE = 49
    ACCT_INPUT_GIGAWORDS = 52
    ACCT_OUTPUT_GIGAWORDS = 53
    EVENT_TIMESTAMP = 55
    NAS_PORT_TYPE = 61
    TUNNEL_TYPE = 64
    TUNNEL_MEDIUM_TYPE = 65
    EAP_MESSAGE = 79
    MESSAGE_AUTHENTICATOR = 80
    TUNNEL_PRIVATE_GROUP_ID = 81
    ACCT_INTERIM_INTERVAL = 85
    NAS_PORT_ID = 87
    NAS_IPV6_ADDRESS = 95
    ERROR_CAUSE = 101
    FRAMED_IPV6_ADDRESS = 168


class Code(IntEnum):
    """The code of a packet (RFC 2865 §3, RFC 2866 §3, RFC 5176 §2)."""

    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCOUNTING_REQUEST = 4
    ACCOUNTING_RESPONSE = 5
    ACCESS_CHALLENGE = 11
    DISCONNECT_REQUEST = 40
    DISCONNECT_ACK = 41
    DISCONNECT_NAK = 42
    COA_REQUEST = 43
    COA_ACK = 44
    COA_NAK = 45


ETHERNET = 15
"""NAS-Port-Type (RFC 2865 §5.41)."""

VLAN = 13
"""Tunnel-Type (RFC 3580 §3.31)."""

FRAMED, CALL_CHECK = 2, 10
"""Service-Type (RFC 2865 §5.6)."""

RADIUS_REQUEST = 1
"""Termination-Action (RFC 2865 §5.29)."""


def integer(value: int) -> bytes:
    """A 32-bit value."""
    return value.to_bytes(4, "big")


def text(value: str) -> bytes:
    """A text. Raises ValueError if it is empty or too long for one attribute."""
    encoded = value.encode("utf-8", "replace")
    if not 0 < len(encoded) <= MAX_VALUE:
        raise ValueError(f"expected 1 to {MAX_VALUE} bytes")
    return encoded


def read_integer(value: bytes) -> int:
    """The number in a 32-bit value. Raises ValueError."""
    if len(value) != 4:
        raise ValueError("expected four bytes")
    return int.from_bytes(value, "big")


def fragments(value: bytes) -> Iterator[bytes]:
    """A long value as those of several attributes (RFC 3579 §3.1)."""
    for at in range(0, len(value), MAX_VALUE):
        yield value[at : at + MAX_VALUE]


def station(mac: int) -> bytes:
    """`02-00-00-00-00-15`: a MAC address in Calling-Station-Id and Called-Station-Id (RFC 3580 §3.20)."""
    return "-".join(f"{byte:02X}" for byte in mac.to_bytes(6, "big")).encode()


def values(pairs: Iterable[tuple[int, bytes]], wanted: int) -> list[bytes]:
    """The values of an attribute, in their order."""
    return [value for code, value in pairs if code == wanted]
