"""The way to the portal, open to everybody and leading nowhere else.

A connection to the portal is verified like any other, but by place instead of session: its per-flow rules are
bound to the port, the VLAN and the MAC it came from, so that the portal's peer address and port stand for one endpoint.
They do not depend on a session, and live through login and logout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from zethane.net.endpoint import Attachment
from zethane.net.flowkey import TCP, FlowKey
from zethane.pipeline.addresses import destination_fields, source_fields
from zethane.pipeline.fields import (
    EGRESS_PORT,
    EGRESS_SWITCH,
    EGRESS_VLAN,
    FABRIC,
    OBJECT_MASK,
    OBJECT_SHIFT,
    PARTIES_MASK,
    PORTAL_NUMBER,
    SUBJECT_MASK,
    SUBJECT_SHIFT,
    VLAN_MASK,
    VLAN_SHIFT,
    Reason,
    cookie,
    parties,
)
from zethane.pipeline.flow import ASKED, FinTimeout, Flow, SetField, match
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import FIN_IDLE, key_fields

PORTAL_IDLE = 60
"""Seconds that a silent connection to the portal stays."""

NEIGHBOUR_MAC = 0x027A65746800
"""What the portal is told when it asks for a host's MAC. The host's own is written by the connection's rule, so
that no host can poison what the portal believes."""

PORTAL_COOKIE = cookie(0, PORTAL_NUMBER, Reason.PORTAL)


@dataclass(frozen=True, slots=True)
class Portal:
    """Where the portal is: `switch` is the number of its switch.

    `login_ports` are further TCP ports of its addresses that everybody reaches as its own, where an identity
    provider is that people have to see before they can log in.
    """

    switch: int
    attachment: Attachment
    addresses: tuple[bytes, ...]
    tcp_port: int
    login_ports: tuple[int, ...] = ()
    tls_port: int | None = None

    @property
    def tcp_ports(self) -> tuple[int, ...]:
        """Every port that is open to everybody, each once."""
        return tuple(dict.fromkeys((*self.own_ports, *self.login_ports)))

    @property
    def own_ports(self) -> tuple[int, ...]:
        """The TCP ports of the portal itself: who comes over a connection to one of them may log in."""
        return (self.tcp_port,) if self.tls_port is None else (self.tcp_port, self.tls_port)


def portal_path(portal: Portal, switch: int) -> Iterator[Flow]:
    """The standing entries for the portal on a switch."""
    attached = switch == portal.switch
    for address, port in product(portal.addresses, portal.tcp_ports):
        yield Flow(
            Table.SOURCE,
            Priority.SOURCE_PORTAL,
            match(
                eth_dst=portal.attachment.mac,
                ip_proto=TCP,
                tcp_dst=port,
                **destination_fields(address),
            ),
            PORTAL_COOKIE,
            actions=(
                SetField(EGRESS_SWITCH, portal.switch),
                SetField(EGRESS_PORT, portal.attachment.port),
            ),
            metadata=(PORTAL_NUMBER << OBJECT_SHIFT, OBJECT_MASK),
            goto=Table.FLOW,
        )
        place: dict[str, int | tuple[int, int]] = (
            {"in_port": portal.attachment.port} if attached else {"metadata": (FABRIC, FABRIC)}
        )
        yield Flow(
            Table.SOURCE,
            Priority.SOURCE_PORTAL + 1,  # a packet of the portal to itself is from the portal
            match(
                **place,
                eth_src=portal.attachment.mac,
                ip_proto=TCP,
                tcp_src=port,
                **source_fields(address),
            ),
            PORTAL_COOKIE,
            metadata=(PORTAL_NUMBER << SUBJECT_SHIFT, SUBJECT_MASK),
            goto=Table.FLOW,
        )
    if attached:  # whatever else the portal's port sends is nobody's
        yield Flow(
            Table.SOURCE,
            Priority.SOURCE_SESSION + 50,
            match(in_port=portal.attachment.port),
            cookie(0, 0, Reason.UNAUTHENTICATED),
        )


def portal_rule() -> Iterator[Flow]:
    """The entries of `rule` for packets to and from the portal, and for packets that belong to nobody."""
    why = cookie(0, 0, Reason.PORTAL)
    to_portal = match(metadata=(parties(0, PORTAL_NUMBER), PARTIES_MASK))
    from_portal = match(metadata=(parties(PORTAL_NUMBER, 0), PARTIES_MASK))
    yield Flow(Table.RULE, Priority.RULE_PORTAL, to_portal, why, actions=ASKED)
    yield Flow(Table.RULE, Priority.RULE_PORTAL, from_portal, why, actions=ASKED)
    for mask in (SUBJECT_MASK, OBJECT_MASK):
        nobody = match(metadata=(0, mask))
        yield Flow(Table.RULE, Priority.RULE_NOBODY + (mask == SUBJECT_MASK), nobody, cookie(0, 0, Reason.NO_RULE))


def portal_flow(key: FlowKey, client: Attachment, client_switch: int, switch: int) -> Iterator[Flow]:
    """Both directions of one connection to the portal, on one of the (at most two) switches it crosses.

    The entries have to be on the client's switch (bound to port and VLAN) and on the portal's.
    """
    local = switch == client_switch
    place: dict[str, int | tuple[int, int]] = {"in_port": client.port} if local else {}
    origin = client.vlan << VLAN_SHIFT if local else FABRIC
    yield Flow(
        Table.FLOW,
        Priority.FLOW_VERIFIED,
        match(
            **place,
            metadata=(parties(0, PORTAL_NUMBER) | origin, PARTIES_MASK | VLAN_MASK | FABRIC),
            eth_src=client.mac,
            **key_fields(key),
        ),
        PORTAL_COOKIE,
        actions=(FinTimeout(FIN_IDLE, 0),),
        goto=Table.FORWARD,
        idle_timeout=PORTAL_IDLE,
        notify_removed=local,
    )
    yield Flow(
        Table.FLOW,
        Priority.FLOW_VERIFIED,
        match(metadata=(parties(PORTAL_NUMBER, 0), PARTIES_MASK), **key_fields(key.reverse())),
        PORTAL_COOKIE,
        actions=(
            FinTimeout(FIN_IDLE, 0),
            SetField("eth_dst", client.mac),
            SetField(EGRESS_SWITCH, client_switch),
            SetField(EGRESS_PORT, client.port),
            SetField(EGRESS_VLAN, client.vlan),
        ),
        goto=Table.FORWARD,
        idle_timeout=PORTAL_IDLE,
    )
