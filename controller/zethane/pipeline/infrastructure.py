"""Servers that belong to the network itself: DHCP, which only the controller carries, between a host and a server.

A host's question goes up, and from there to the trusted servers' ports alone; a server's answer goes up, and from there
to the one host that asked. Nothing of it is flooded, and what only servers send is dropped where no server is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zethane.net import dhcp, dhcpv6
from zethane.net.endpoint import Attachment
from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, UDP
from zethane.pipeline.fields import Reason, cookie, denied_meter, protocol_meter
from zethane.pipeline.flow import FieldValue, Flow, Match, ToController, match
from zethane.pipeline.tables import Priority, Table

DHCP, DNS = "dhcp", "dns"
"""What a server can serve, as network.yaml names it."""

_FAMILIES = ((ETH_IPV4, dhcp.CLIENT_PORT, dhcp.SERVER_PORT), (ETH_IPV6, dhcpv6.CLIENT_PORT, dhcpv6.SERVER_PORT))
_WHY = cookie(0, 0, Reason.DHCP)


@dataclass(frozen=True, slots=True)
class Server:
    """A server of the infrastructure. `number` stands for it where a session's would be, `switch` is its switch's."""

    name: str
    number: int
    switch: int
    attachment: Attachment
    addresses: tuple[bytes, ...]
    serves: frozenset[str]


def dhcp_clients(port: int) -> Iterator[Flow]:
    """An edge port of a network with a DHCP server: what hosts ask goes up."""
    for eth_type, client, server in _FAMILIES:
        asked = _datagram(port, eth_type, udp_src=client, udp_dst=server)
        yield Flow(Table.PORT, Priority.PORT_DHCP, asked, _WHY, actions=(ToController(),), meter=protocol_meter(port))


def dhcp_answers(port: int) -> Iterator[Flow]:
    """The port of a trusted DHCP server: what it answers goes up."""
    for eth_type, client, server in _FAMILIES:
        answered = _datagram(port, eth_type, udp_src=server, udp_dst=client)
        yield Flow(
            Table.PORT, Priority.PORT_DHCP, answered, _WHY, actions=(ToController(),), meter=protocol_meter(port)
        )


def rogue_answers(port: int) -> Iterator[Flow]:
    """Any other port: whatever goes to a DHCP client's port stops here, and a sample goes up for the log.

    Clients look at no more than that port: an answer from another one than a server's would be believed.
    """
    for eth_type, client, _ in _FAMILIES:
        yield Flow(
            Table.PORT,
            Priority.PORT_DHCP,
            _datagram(port, eth_type, udp_dst=client),
            _WHY,
            actions=(ToController(),),
            meter=denied_meter(port),
        )


def _datagram(port: int, eth_type: int, **ports: FieldValue) -> Match:
    return match(in_port=port, vlan_vid=0, eth_type=eth_type, ip_proto=UDP, **ports)
