"""Networks outside: entries of `source` and `destination` for what lies behind the router of an uplink.

An uplink has a number where a session would have one. Which of its networks mean anything is for the policy to say:
a region is a prefix that the policy names and that the uplink leads to, and has the class of that prefix. The longest
region decides which class an address has, by priority. What is never outside, whatever region it is in, is barred above
all of them: the subnets of this site, and so the addresses of its sessions, which nobody outside can claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from zethane.net.endpoint import Attachment
from zethane.net.prefix import Prefix, longest, within
from zethane.pipeline.addresses import destination_prefix, source_prefix
from zethane.pipeline.fields import (
    FABRIC,
    SUBJECT_CLASS,
    SUBJECT_MASK,
    SUBJECT_SHIFT,
    VLAN_MASK,
    VLAN_SHIFT,
    Reason,
    cookie,
)
from zethane.pipeline.flow import SAMPLED, FieldValue, Flow, Match, SetField, match
from zethane.pipeline.receiver import receives
from zethane.pipeline.tables import Priority, Table

Regions = Mapping[Prefix, int]
"""Prefixes that are outside and mean something to the policy, with the numbers of their classes."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """The router at an uplink: its number, its switch's number, its own addresses, and where it leads to."""

    name: str
    number: int
    switch: int
    attachment: Attachment
    addresses: tuple[bytes, ...]
    networks: tuple[Prefix, ...]


def regions(gateway: Gateway, classes: Regions, own: Iterable[Prefix]) -> dict[Prefix, int]:
    """What the classes of the named prefixes come to behind a gateway. `own` is never outside.

    A named prefix that is part of a network behind the gateway is a region; a network that is part of named prefixes is
    one with the class of the longest of them.
    """
    found: dict[Prefix, int] = {}
    for network in gateway.networks:
        around = longest(network.network_address, (prefix for prefix in classes if within(network, prefix)))
        if around is not None:
            found[network] = classes[around]
        found.update((prefix, number) for prefix, number in classes.items() if within(prefix, network))
    inside = tuple(own)
    return {prefix: number for prefix, number in found.items() if not any(within(prefix, one) for one in inside)}


def barred(found: Iterable[Prefix], own: Iterable[Prefix]) -> list[Prefix]:
    """The parts of these prefixes that are never outside."""
    outside = tuple(found)
    return [prefix for prefix in own if any(within(prefix, one) for one in outside)]


def external_sources(gateway: Gateway, found: Regions, own: Iterable[Prefix], switch: int) -> Iterator[Flow]:
    """Entries of `source` on one switch: at the gateway's own by port and VLAN, at others by the fabric bit."""
    at_home = switch == gateway.switch
    port: dict[str, FieldValue] = {"in_port": gateway.attachment.port} if at_home else {"metadata": (FABRIC, FABRIC)}
    place = dict(port)
    if at_home:
        place["metadata"] = (gateway.attachment.vlan << VLAN_SHIFT, VLAN_MASK)
        yield from _refusals(gateway, place)
    else:
        port["eth_src"] = gateway.attachment.mac
    for prefix in barred(gateway.networks if at_home else found, own):
        spoofed = match(**port, **source_prefix(prefix))
        yield _sampled(Table.SOURCE, Priority.SOURCE_BARRED, spoofed, Reason.EXTERNAL_SPOOF)
    for prefix, number in found.items():
        yield Flow(
            Table.SOURCE,
            Priority.SOURCE_EXTERNAL + prefix.prefixlen,
            match(**place, eth_src=gateway.attachment.mac, **source_prefix(prefix)),
            cookie(gateway.number, 0, Reason.BINDING),
            actions=(SetField(SUBJECT_CLASS, number),),
            metadata=(gateway.number << SUBJECT_SHIFT, SUBJECT_MASK),
            goto=Table.DESTINATION,
            source=f"uplink {gateway.name}",
        )


def _refusals(gateway: Gateway, place: Mapping[str, FieldValue]) -> Iterator[Flow]:
    """What comes in at an uplink's port and is in no region: of its networks, or a lie."""
    for network in gateway.networks:
        wanted = match(**place, eth_src=gateway.attachment.mac, **source_prefix(network))
        yield _sampled(Table.SOURCE, Priority.SOURCE_UNNAMED, wanted, Reason.NO_RULE)
    wanted = match(in_port=gateway.attachment.port)
    yield _sampled(Table.SOURCE, Priority.SOURCE_UPLINK, wanted, Reason.EXTERNAL_SPOOF)


def external_destinations(gateway: Gateway, found: Regions, own: Iterable[Prefix]) -> Iterator[Flow]:
    """Entries of `destination`; the same on every switch."""
    for prefix in barred(found, own):
        wanted = match(eth_dst=gateway.attachment.mac, **destination_prefix(prefix))
        yield _sampled(Table.DESTINATION, Priority.DESTINATION_BARRED, wanted, Reason.UNKNOWN_DESTINATION)
    for prefix, number in found.items():
        wanted = match(eth_dst=gateway.attachment.mac, **destination_prefix(prefix))
        priority = Priority.DESTINATION_EXTERNAL + prefix.prefixlen
        yield receives(gateway, number, wanted, priority, f"uplink {gateway.name}")


def _sampled(table: Table, priority: int, wanted: Match, reason: Reason) -> Flow:
    """A deny that an operator wants to know of."""
    return Flow(table, priority, wanted, cookie(0, 0, reason), actions=SAMPLED)
