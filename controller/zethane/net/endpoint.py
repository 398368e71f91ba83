"""Endpoints: where something is attached to the network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where a network card is: datapath id, OpenFlow port, VLAN id (0: untagged) and MAC as integer."""

    dpid: int
    port: int
    vlan: int
    mac: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An attachment with the one IP address that a connection to the portal came from.

    `address` is the packed address: 4 bytes of IPv4 or 16 of IPv6.
    """

    attachment: Attachment
    address: bytes
