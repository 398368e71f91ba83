"""Router Discovery in the table `port`: hosts may ask, and only the router of an uplink may tell.

Both go to the controller and no further. What else claims to be a router is refused (`pipeline.frames`).
"""

from __future__ import annotations

from zethane.net.flowkey import ETH_IPV6, ICMPV6
from zethane.net.nd import ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION
from zethane.pipeline.fields import Reason, cookie, protocol_meter
from zethane.pipeline.flow import FieldValue, Flow, ToController, match
from zethane.pipeline.tables import Priority, Table


def solicitations(port: int) -> Flow:
    """Hosts of a port ask for routers."""
    return _goes_up(port, ROUTER_SOLICITATION)


def advertisements(port: int, mac: int) -> Flow:
    """The router with this MAC tells of itself."""
    return _goes_up(port, ROUTER_ADVERTISEMENT, eth_src=mac)


def _goes_up(port: int, kind: int, **fields: FieldValue) -> Flow:
    wanted = match(in_port=port, vlan_vid=0, eth_type=ETH_IPV6, ip_proto=ICMPV6, icmpv6_type=kind, **fields)
    why = cookie(0, 0, Reason.ROUTER)
    return Flow(Table.PORT, Priority.PORT_NEIGHBOUR, wanted, why, actions=(ToController(),), meter=protocol_meter(port))
