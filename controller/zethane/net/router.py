"""Router Discovery (RFC 4861 §6): solicitations of hosts, advertisements of routers."""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

from zethane.net.nd import (
    ALL_NODES,
    ALL_ROUTERS,
    ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
    SOURCE_LINK_LAYER,
    UNSPECIFIED,
    build_message,
    is_link_local,
    parse_message,
    parse_options,
)

_PREFIX_INFORMATION, _MTU = 3, 5
_AUTONOMOUS = 0x40
_INTERFACE_BITS = 64
"""Hosts make addresses of prefixes of this length only (RFC 4862 §5.5.3, RFC 4291 §2.5.1)."""
_LENGTHS = {SOURCE_LINK_LAYER: 6, _PREFIX_INFORMATION: 30, _MTU: 6}
"""Bytes behind type and length of the options that are looked at."""
MAX_OPTIONS = 32
MAX_SOLICITATION_OPTIONS = 4
_GROUP_MAC = bytes.fromhex("333300000001")
_ROUTERS_MAC = bytes.fromhex("333300000002")


class Solicitation(NamedTuple):
    """A host asks for routers; `source` is all zeros if it has no address yet."""

    mac: bytes
    source: bytes


class Advertisement(NamedTuple):
    """What a router tells hosts: its link-local address, and the prefixes that they may make addresses of."""

    source: bytes
    prefixes: tuple[ipaddress.IPv6Network, ...]


def parse_solicitation(frame: bytes) -> Solicitation | None:
    """The solicitation in an untagged frame, checked as RFC 4861 §6.1.1 asks; None for anything else."""
    message = parse_message(frame)
    if message is None or message.kind != ROUTER_SOLICITATION:
        return None
    unspecified = message.source == UNSPECIFIED
    options = parse_options(message.body, 8, MAX_SOLICITATION_OPTIONS)
    if options is None or not (unspecified or is_link_local(message.source)):
        return None
    told = [option.value for option in options if option.kind == SOURCE_LINK_LAYER]
    if any(value != message.mac for value in told) or (unspecified and told):
        return None
    return Solicitation(message.mac, message.source)


def parse_advertisement(frame: bytes, mac: bytes) -> Advertisement | None:
    """The advertisement of the router with this MAC to all nodes, checked as RFC 4861 §6.1.2 asks; or None."""
    message = parse_message(frame)
    if message is None or message.kind != ROUTER_ADVERTISEMENT or message.mac != mac:
        return None
    options = parse_options(message.body, 16, MAX_OPTIONS)
    if options is None or not is_link_local(message.source) or message.destination != ALL_NODES:
        return None
    prefixes = []
    for kind, value in options:
        if len(value) != _LENGTHS.get(kind, len(value)) or (kind == SOURCE_LINK_LAYER and value != mac):
            return None
        if kind == _PREFIX_INFORMATION and (prefix := _own_prefix(value)) is not None:
            prefixes.append(prefix)
    return Advertisement(message.source, tuple(prefixes))


def _own_prefix(value: bytes) -> ipaddress.IPv6Network | None:
    """The prefix of a Prefix Information option, if hosts are to make addresses of it (RFC 4861 §4.6.2)."""
    length, flags, lifetime = struct.unpack_from("!BBI", value)
    if length != _INTERFACE_BITS or not flags & _AUTONOMOUS or not lifetime:
        return None
    prefix = ipaddress.IPv6Network((value[14:30], length), strict=False)
    special = prefix.is_link_local or prefix.is_multicast or prefix.network_address.is_loopback
    return None if special or prefix.network_address.is_unspecified else prefix


def for_all(frame: bytes) -> bytes:
    """An advertisement in a frame to every host of a port."""
    return _GROUP_MAC + frame[6:]


def for_one(frame: bytes, mac: bytes) -> bytes:
    """An advertisement in a frame to one card (RFC 6085)."""
    return mac + frame[6:]


def build_solicitation(mac: bytes) -> bytes:
    """A question for routers from nobody, so that the answer is to all nodes (RFC 4861 §6.2.6)."""
    body = struct.pack("!BBHI", ROUTER_SOLICITATION, 0, 0, 0)
    return build_message(_ROUTERS_MAC, mac, UNSPECIFIED, ALL_ROUTERS, body)
