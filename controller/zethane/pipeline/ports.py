"""What a switch holds per port and once: the tables `port` and `flow` without sessions, and every miss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from zethane.net.flowkey import ETH_ARP, ETH_IPV4, ETH_IPV6, ICMPV6, TCP, TCP_ACK, TCP_SYN
from zethane.net.lldp import ETH_LLDP
from zethane.net.nd import NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION
from zethane.pipeline.fields import (
    DENY_METER,
    FABRIC,
    VLAN_MASK,
    VLAN_SHIFT,
    Reason,
    cookie,
    denied_meter,
    neighbour_meter,
    opening_meter,
    protocol_meter,
    verify_meter,
)
from zethane.pipeline.flow import (
    SAMPLE_LENGTH,
    SAMPLED,
    FieldMatch,
    FieldValue,
    Flow,
    PopVlan,
    SetField,
    ToController,
    match,
)
from zethane.pipeline.frames import odd_frames
from zethane.pipeline.routers import solicitations
from zethane.pipeline.tables import VLAN_PRESENT, Priority, Table

_UNTAGGED = FieldMatch("vlan_vid", 0, 0x1FFF)
_GROUP_BIT = 1 << 40


def edge_port(port: int) -> Iterator[Flow]:
    """The entries of a port with hosts (or the portal) behind it."""
    untagged: dict[str, FieldValue] = {"in_port": port, "vlan_vid": 0}
    nd: dict[str, FieldValue] = {**untagged, "eth_type": ETH_IPV6, "ip_proto": ICMPV6}
    neighbour = [nd | {"icmpv6_type": kind} for kind in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT)]
    for wanted in ({**untagged, "eth_type": ETH_ARP}, *neighbour):
        yield Flow(
            Table.PORT,
            Priority.PORT_NEIGHBOUR,
            match(**wanted),
            cookie(0, 0, Reason.NEIGHBOUR),
            actions=(ToController(),),
            meter=neighbour_meter(port),
        )
    yield solicitations(port)
    yield from odd_frames(port)
    for eth_type in (ETH_IPV4, ETH_IPV6):
        group = match(**untagged, eth_type=eth_type, eth_dst=(_GROUP_BIT, _GROUP_BIT))
        yield Flow(Table.PORT, Priority.PORT_MULTICAST, group, cookie(0, 0, Reason.MULTICAST))
        plain = match(**untagged, eth_type=eth_type)
        yield Flow(Table.PORT, Priority.PORT_IP, plain, cookie(0, 0, Reason.FORWARD), goto=Table.SOURCE)
    for table, priority, meter in (
        (Table.SAMPLE, Priority.SAMPLE_PORT, denied_meter(port)),
        (Table.ASK, Priority.ASK_PORT, verify_meter(port)),
        (Table.OPENING, Priority.OPENING_PORT, opening_meter(port)),
    ):
        yield Flow(table, priority, match(in_port=port), cookie(0, 0, Reason.SAMPLE), meter=meter)


def _new_connection(eth_type: int) -> dict[str, FieldValue]:
    """TCP with SYN and without ACK: always verified, whatever rule its connection may have left."""
    return {"eth_type": eth_type, "ip_proto": TCP, "tcp_flags": (TCP_SYN, TCP_SYN | TCP_ACK)}


def tagged_port(entries: Iterable[Flow], vlans: Iterable[int], *, untagged: bool) -> Iterator[Flow]:
    """The entries of an edge port, for one that takes tags: each entry about untagged frames once per VLAN.

    The tag is taken off, and its VLAN is in the metadata from there on: of what goes on to `source`, and of what
    goes up to the controller.
    """
    wanted = tuple(vlans)
    for flow in entries:
        if _UNTAGGED not in flow.match:
            yield flow
            continue
        if untagged:
            yield flow
        for vlan in wanted:
            yield _tagged(flow, vlan)


def _tagged(flow: Flow, vlan: int) -> Flow:
    tag = FieldMatch("vlan_vid", VLAN_PRESENT | vlan, _UNTAGGED.mask)
    found = tuple(tag if field == _UNTAGGED else field for field in flow.match)
    if flow.goto is None and not flow.actions:
        return replace(flow, match=found)
    actions = flow.actions
    if actions:  # they come before write-metadata
        actions = (SetField("metadata", vlan << VLAN_SHIFT), *actions)
    value, mask = flow.metadata or (0, 0)
    written = None if flow.goto is None else (value | vlan << VLAN_SHIFT, mask | VLAN_MASK)
    return replace(flow, match=found, actions=(PopVlan(), *actions), metadata=written)


def trunk_port(port: int, number: int) -> Iterator[Flow]:
    """The entries of a port into the fabric, on the switch with this number."""
    yield Flow(
        Table.PORT,
        Priority.PORT_TRUNK_OWN,
        match(in_port=port, vlan_vid=VLAN_PRESENT | number),
        cookie(0, 0, Reason.FORWARD),
        actions=(PopVlan(),),
        metadata=(FABRIC, FABRIC),
        goto=Table.SOURCE,
    )
    yield Flow(
        Table.PORT,
        Priority.PORT_TRUNK_TRANSIT,
        match(in_port=port, vlan_vid=(VLAN_PRESENT, VLAN_PRESENT)),
        cookie(0, 0, Reason.FORWARD),
        goto=Table.FORWARD,
    )


def link_discovery(port: int, *, trunk: bool) -> Flow:
    """LLDP goes up and no further: a probe of the fabric on a trunk, an alarm anywhere else, with or without a tag."""
    place: dict[str, FieldValue] = {"in_port": port, "eth_type": ETH_LLDP}
    return Flow(
        Table.PORT,
        Priority.PORT_LLDP,
        match(**place, vlan_vid=0) if trunk else match(**place),
        cookie(0, 0, Reason.LLDP),
        actions=(ToController(SAMPLE_LENGTH),),
        meter=protocol_meter(port),
    )


def misses() -> Iterator[Flow]:
    """The last entry of every table: deny. Where an operator wants to know, a metered sample goes up."""
    for table, reason, sampled in (
        (Table.PORT, Reason.MALFORMED, False),
        (Table.SOURCE, Reason.UNAUTHENTICATED, True),
        (Table.DESTINATION, Reason.UNKNOWN_DESTINATION, True),
        (Table.FLOW, Reason.UNVERIFIED, False),
        (Table.TRACK, Reason.UNVERIFIED, False),
        (Table.CONNECTION, Reason.UNVERIFIED, False),
        (Table.OWNER, Reason.UNVERIFIED, False),
        (Table.RULE, Reason.NO_RULE, True),
        (Table.FORWARD, Reason.FORWARD, False),
        (Table.ASK, Reason.SAMPLE, False),
        (Table.OPENING, Reason.SAMPLE, False),
    ):
        yield Flow(
            table,
            Priority.MISS,
            (),
            cookie(0, 0, reason),
            actions=SAMPLED if sampled else (),
        )
    yield Flow(Table.SAMPLE, Priority.MISS, (), cookie(0, 0, Reason.SAMPLE), meter=DENY_METER)


def still_tagged() -> Iterator[Flow]:
    """A frame that reaches `source` with a tag had more than one (or a switch's and a host's): nobody's."""
    wanted = match(vlan_vid=(VLAN_PRESENT, VLAN_PRESENT))
    yield Flow(Table.SOURCE, Priority.SOURCE_TAGGED, wanted, cookie(0, 0, Reason.MALFORMED))


def unverified() -> Iterator[Flow]:
    """What no per-flow rule takes goes on to `rule`; with SYN and without ACK, whatever its connection has left."""
    why = cookie(0, 0, Reason.UNVERIFIED)
    for eth_type in (ETH_IPV4, ETH_IPV6):
        new = match(**_new_connection(eth_type))
        yield Flow(Table.FLOW, Priority.FLOW_NEW_CONNECTION, new, why, goto=Table.RULE)
    yield Flow(Table.FLOW, Priority.FLOW_UNVERIFIED, (), why, goto=Table.RULE)
