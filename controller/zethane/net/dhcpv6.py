"""DHCPv6 (RFC 8415): what hosts ask and what servers answer, read from the UDP payload.

Addresses alone are handed out this way: a message about prefixes to delegate (RFC 8415 §6.3) is none of a host.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

SERVER_PORT, CLIENT_PORT = 547, 546
ALL_SERVERS = bytes.fromhex("ff020000000000000000000000010002")
"""All_DHCP_Relay_Agents_and_Servers (RFC 8415 §7.1)."""

MAX_MESSAGE = 1452
MAX_DUID = 130
"""Bytes of a DUID at the most (RFC 8415 §11.1)."""

MAX_OPTIONS = 64
MAX_LEASES = 8
"""Associations in one message, and addresses in one association, at the most: as many as a session may hold."""

INFINITE = 0xFFFFFFFF
"""The lifetime that never ends (RFC 8415 §7.7)."""

_CLIENT_ID, _SERVER_ID, _IA_NA, _IA_TA, _IA_ADDRESS, _IA_PD = 1, 2, 3, 4, 5, 25
_RELAYS = frozenset((9, 18, 37, 38))
"""Relay message, interface id, remote id, subscriber id (RFC 8415 §21.10, §21.18; RFC 4649; RFC 4580)."""
_IA_HEADER = {_IA_NA: 12, _IA_TA: 4}


class Kind(IntEnum):
    """DHCPv6 message types (RFC 8415 §7.3) that hosts and servers exchange."""

    SOLICIT = 1
    ADVERTISE = 2
    REQUEST = 3
    CONFIRM = 4
    RENEW = 5
    REBIND = 6
    REPLY = 7
    RELEASE = 8
    DECLINE = 9
    INFORMATION_REQUEST = 11


_FROM_SERVER = frozenset((Kind.ADVERTISE, Kind.REPLY))


class Leased(NamedTuple):
    """An address of an IA, and for how many seconds it is valid; 0: it is not."""

    address: bytes
    valid: int


class Association(NamedTuple):
    """What a client groups addresses by (IA_NA or IA_TA, RFC 8415 §21.4, §21.5). `identity` is its IAID."""

    identity: bytes
    leases: tuple[Leased, ...]


class Message(NamedTuple):
    """A message of a client (`from_client`) or a server. `client` and `server` are DUIDs, None where there is none.

    `relayed`: it comes with what only a relay agent adds.
    """

    kind: Kind
    xid: int
    client: bytes | None
    server: bytes | None
    associations: tuple[Association, ...]
    relayed: bool

    @property
    def from_client(self) -> bool:
        """Whether hosts send this kind of message."""
        return self.kind not in _FROM_SERVER

    @property
    def leases(self) -> tuple[Leased, ...]:
        """The addresses of all associations."""
        return tuple(leased for association in self.associations for leased in association.leases)


def parse_message(payload: bytes) -> Message | None:
    """The message between a host and a server; None for anything else."""
    if not 4 <= len(payload) <= MAX_MESSAGE:
        return None
    try:
        kind = Kind(payload[0])
        options = list(_options(payload, 4, len(payload)))
        client, server = _only(payload, options, _CLIENT_ID), _only(payload, options, _SERVER_ID)
        associations = tuple(_associations(payload, options))
    except ValueError:
        return None
    codes = {code for code, _, _ in options}
    if _IA_PD in codes or len(associations) > MAX_LEASES:
        return None
    if client is None and kind != Kind.INFORMATION_REQUEST and kind != Kind.REPLY:
        return None
    return Message(kind, int.from_bytes(payload[1:4], "big"), client, server, associations, bool(codes & _RELAYS))


def _options(payload: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Code, start and end of each option between two places. Raises ValueError unless they fill it exactly."""
    for _ in range(MAX_OPTIONS):
        if at == end:
            return
        if at + 4 > end:
            break
        code = payload[at] << 8 | payload[at + 1]
        start = at + 4
        at = start + (payload[at + 2] << 8 | payload[at + 3])
        if at > end:
            break
        yield code, start, at
    raise ValueError("options that do not fill their place")


def _only(payload: bytes, options: list[tuple[int, int, int]], wanted: int) -> bytes | None:
    """The value of an option that may be there once: a DUID. Raises ValueError."""
    found = [payload[start:end] for code, start, end in options if code == wanted]
    if not found:
        return None
    if len(found) > 1 or not 3 <= len(found[0]) <= MAX_DUID:
        raise ValueError("two DUIDs, or none that is one")
    return found[0]


def _associations(payload: bytes, options: list[tuple[int, int, int]]) -> Iterator[Association]:
    """Every IA with its addresses. Raises ValueError."""
    for code, start, end in options:
        header = _IA_HEADER.get(code)
        if header is None:
            continue
        if start + header > end:
            raise ValueError("an IA that is too short")
        leases = tuple(_leases(payload, start + header, end))
        yield Association(payload[start : start + 4], leases)


def _leases(payload: bytes, start: int, end: int) -> Iterator[Leased]:
    """The addresses of one IA (RFC 8415 §21.6). Raises ValueError."""
    for position, (code, at, stop) in enumerate(_options(payload, start, end)):
        if code == _IA_ADDRESS:
            if at + 24 > stop or position >= MAX_LEASES:
                raise ValueError("an address that is too short, or one too many")
            yield Leased(payload[at : at + 16], int.from_bytes(payload[at + 20 : at + 24], "big"))
