"""DHCPv4 (RFC 2131, options of RFC 2132): what hosts ask and what servers answer, read from the UDP payload.

Only what decides is read. A message that says anything of that twice, or hides options of a client in other fields, is
no message: None.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

SERVER_PORT, CLIENT_PORT = 67, 68
MAX_MESSAGE = 1472
"""Bytes of a message at the most: an Ethernet frame's (RFC 894) without the headers around it."""

INFINITE = 0xFFFFFFFF
"""The lease time that never ends (RFC 2131 §3.3)."""

_FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s")
_COOKIE = b"\x63\x82\x53\x63"
_OPTIONS = 240  # fixed fields 44, server name 64, boot file 128, cookie 4
_ETHERNET = (1, 6)
_PAD, _END = 0, 255
_REQUESTED, _LEASE_TIME, _OVERLOAD, _KIND, _SERVER, _CLIENT, _RELAY_AGENT = 50, 51, 52, 53, 54, 61, 82
_LENGTHS = {_REQUESTED: 4, _LEASE_TIME: 4, _OVERLOAD: 1, _KIND: 1, _SERVER: 4}
_DECIDING = frozenset((*_LENGTHS, _CLIENT, _RELAY_AGENT))
_NOWHERE = bytes(4)


class Kind(IntEnum):
    """DHCP message types (RFC 2132 §9.6) that hosts and servers exchange."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


_FROM_CLIENT = frozenset((Kind.DISCOVER, Kind.REQUEST, Kind.DECLINE, Kind.RELEASE, Kind.INFORM))


class Message(NamedTuple):
    """A message of a client (`from_client`) or a server.

    `mac` is the client's hardware address, `client` its identifier (option 61, or else that address); `current` the
    address that it says it has (ciaddr), `offered` the one that the server gives (yiaddr), `requested` option 50; None
    where there is none. `lease` is in seconds. `relayed`: it comes with what only a relay agent adds, its address, a
    hop count or option 82 (RFC 3046 §2.1).
    """

    kind: Kind
    xid: int
    mac: bytes
    client: bytes
    current: bytes | None
    offered: bytes | None
    requested: bytes | None
    server: bytes | None
    lease: int | None
    relayed: bool

    @property
    def from_client(self) -> bool:
        """Whether hosts send this kind of message."""
        return self.kind in _FROM_CLIENT

    @property
    def wanted(self) -> bytes | None:
        """The address that a client's message is about."""
        return self.current or self.requested


def parse_message(payload: bytes) -> Message | None:
    """The message between a host and a server; None for anything else."""
    if not _OPTIONS <= len(payload) <= MAX_MESSAGE or payload[236:240] != _COOKIE:
        return None
    op, htype, hlen, hops, xid, _, _, current, offered, _, relay, mac = _FIXED.unpack_from(payload)
    if (htype, hlen) != _ETHERNET:
        return None
    options = _options(payload)
    if options is None or len(options.get(_KIND, b"")) != 1:
        return None
    try:
        kind = Kind(options[_KIND][0])
    except ValueError:
        return None
    from_client = kind in _FROM_CLIENT
    if op != (1 if from_client else 2) or (from_client and _OVERLOAD in options):
        return None
    lease = options.get(_LEASE_TIME)
    return Message(
        kind,
        xid,
        mac[:6],
        options.get(_CLIENT, mac[:6]),
        _given(current),
        _given(offered),
        _given(options.get(_REQUESTED, _NOWHERE)),
        _given(options.get(_SERVER, _NOWHERE)),
        int.from_bytes(lease, "big") if lease is not None else None,
        bool(hops) or relay != _NOWHERE or _RELAY_AGENT in options,
    )


def _given(address: bytes) -> bytes | None:
    return None if address == _NOWHERE else address


def _options(payload: bytes) -> dict[int, bytes] | None:
    """The options by their code, of those that decide only; None if they are malformed or one is there twice."""
    found: dict[int, bytes] = {}
    at = _OPTIONS
    while at < len(payload):
        code = payload[at]
        if code == _END:
            return found
        if code == _PAD:
            at += 1
            continue
        if at + 2 > len(payload):
            return None
        length = payload[at + 1]
        value = payload[at + 2 : at + 2 + length]
        if len(value) < length or length != _LENGTHS.get(code, length):
            return None
        if code in _DECIDING:
            if code in found:  # RFC 3396 would join them; none of these is that long, and only tricks have two
                return None
            found[code] = value
        at += 2 + length
    return None  # without an end
