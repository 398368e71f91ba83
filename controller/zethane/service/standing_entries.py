"""What a switch holds that is about no session and no flow: its ports, its ways to other switches, the policy's rules.

Every attestation needs all of it for every switch. What is the same on many switches, as the entries of an edge port
with one number are, is made once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import chain
from typing import NamedTuple

from zethane.pipeline.dns import dns_rule
from zethane.pipeline.eapol import supplicants
from zethane.pipeline.fabric import forward_entries
from zethane.pipeline.flow import Flow
from zethane.pipeline.frames import fragments
from zethane.pipeline.grants import Opening, Tracking, opening_entries, tracking_entries
from zethane.pipeline.infrastructure import DHCP, DNS, dhcp_answers, dhcp_clients, rogue_answers
from zethane.pipeline.portal import Portal, portal_path, portal_rule
from zethane.pipeline.ports import (
    edge_port,
    link_discovery,
    misses,
    still_tagged,
    tagged_port,
    trunk_port,
    unverified,
)
from zethane.pipeline.routers import advertisements
from zethane.pipeline.rules import related_errors
from zethane.service.points import Fabric, Point

MAX_PORTS_KEPT = 1024
"""Kinds of ports whose entries are kept: some 20 KiB each."""

MAX_SWITCHES_KEPT = 1024
"""Switches whose own entries are kept, some 20 KiB each: what is the same object as before need not be compared."""


class _EdgePort(NamedTuple):
    """All that the entries of a port that is no trunk's are made from.

    `has_server`: a trusted DHCP server is there, whose answers go up. `asks`: hosts may be there, and there is a server
    to answer them. `router` is the MAC of the router behind an uplink, whose advertisements are looked at.
    """

    number: int
    has_server: bool
    asks: bool
    router: int | None
    dot1x: bool
    vlans: tuple[int, ...]
    untagged: bool


def standing_entries(fabric: Fabric, point: Point, policy: Iterable[Flow]) -> Iterator[Flow]:
    """All that is intended for a switch apart from bindings and per-flow rules."""
    portal = fabric.portal
    yield from _of_every_switch()
    yield from _tracking(fabric.tracking, point.number)
    yield from _opening(fabric.tracking, point.number, point.opening)
    yield from forward_entries(point.number, point.hops, point.vlans)
    if fabric.serving(DNS):
        yield from _dns_rule()
    yield from policy
    if portal is not None:
        yield from _portal_path(portal, point.number)
    asked = bool(fabric.serving(DHCP))
    for number in sorted(point.standing):
        port = point.switch.port(number)
        if port.role == "trunk":
            yield from _trunk(number, point.number)
            continue
        is_edge = point.is_edge(number)
        yield from _edge(
            _EdgePort(
                number,
                has_server=_has_server(fabric, point, number),
                asks=asked and is_edge,
                router=point.routers[number].mac if number in point.routers else None,
                dot1x=port.dot1x and is_edge,
                vlans=tuple(port.vlans),
                untagged=port.untagged,
            )
        )


def _has_server(fabric: Fabric, point: Point, port: int) -> bool:
    """Whether a trusted DHCP server is at a port."""
    return any(
        (server.attachment.dpid, server.attachment.port) == (point.switch.dpid, port) for server in fabric.serving(DHCP)
    )


@cache
def _of_every_switch() -> tuple[Flow, ...]:
    return (*misses(), *fragments(), *still_tagged(), *unverified(), *related_errors(), *portal_rule())


@cache
def _dns_rule() -> tuple[Flow, ...]:
    return tuple(dns_rule())


@lru_cache(MAX_SWITCHES_KEPT)
def _tracking(tracking: Tracking, switch: int) -> tuple[Flow, ...]:
    return tuple(tracking_entries(tracking, switch))


@lru_cache(MAX_SWITCHES_KEPT)
def _opening(tracking: Tracking, switch: int, how: Opening) -> tuple[Flow, ...]:
    return tuple(opening_entries(tracking, switch, how))


@lru_cache(MAX_SWITCHES_KEPT)
def _portal_path(portal: Portal, switch: int) -> tuple[Flow, ...]:
    return tuple(portal_path(portal, switch))


@lru_cache(MAX_PORTS_KEPT)
def _trunk(port: int, switch: int) -> tuple[Flow, ...]:
    return (link_discovery(port, trunk=True), *trunk_port(port, switch))


@lru_cache(MAX_PORTS_KEPT)
def _edge(port: _EdgePort) -> tuple[Flow, ...]:
    number = port.number
    entries = chain(
        edge_port(number),
        dhcp_answers(number) if port.has_server else rogue_answers(number),
        dhcp_clients(number) if port.asks and not port.has_server else (),
        (advertisements(number, port.router),) if port.router is not None else (),
        supplicants(number) if port.dot1x else (),
    )
    return (link_discovery(number, trunk=False), *tagged_port(entries, port.vlans, untagged=port.untagged))
