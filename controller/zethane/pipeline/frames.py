"""Odd frames of edge ports: what the table `port` lets go no further, with a sample for the log.

Each is a closed decision of the switch. What Open vSwitch cannot match (options of IPv4, extension headers that it
walks over) is refused by the controller when it would open a flow.
"""

from __future__ import annotations

from collections.abc import Iterator

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, HOP_BY_HOP, ICMP, ICMPV6
from zethane.net.nd import ROUTER_ADVERTISEMENT
from zethane.pipeline.fields import Reason, cookie, denied_meter
from zethane.pipeline.flow import SAMPLE_LENGTH, FieldValue, Flow, ToController, match
from zethane.pipeline.tables import Priority, Table

IS_FRAGMENT = (1, 1)
"""`ip_frag` of any fragment, first or later (Open vSwitch, ovs-fields(7), nw_frag). An atomic fragment, which is
alone (RFC 6946), is none to the switch: it has the whole packet, and is looked at as such."""

_ETH_RARP = 0x8035
_FAMILIES = (ETH_IPV4, ETH_IPV6)
_IMPOSSIBLE = ((ETH_IPV4, HOP_BY_HOP), (ETH_IPV4, ICMPV6), (ETH_IPV6, HOP_BY_HOP), (ETH_IPV6, ICMP))
"""Protocols that belong to the other family, and 0: so Open vSwitch reads headers whose lengths are wrong, and on an
old one an entry that matches on it would be too wide (CVE-2023-1668)."""
_ICMP_REDIRECT, _ICMP_ROUTER_ADVERTISEMENT = 5, 9
_REDIRECT = 137


def refused(port: int, priority: Priority, **fields: FieldValue) -> Flow:
    """An entry of `port` that drops what comes from this port, and sends a sample up."""
    return Flow(
        Table.PORT,
        priority,
        match(in_port=port, **fields),
        cookie(0, 0, Reason.REFUSED),
        actions=(ToController(SAMPLE_LENGTH),),
        meter=denied_meter(port),
    )


def odd_frames(port: int) -> Iterator[Flow]:
    """What no host may send, with and without tags."""
    for eth_type in _FAMILIES:
        yield refused(port, Priority.PORT_EDGE_FRAGMENT, eth_type=eth_type, ip_frag=IS_FRAGMENT)
    for eth_type, proto in _IMPOSSIBLE:
        yield refused(port, Priority.PORT_REFUSED, eth_type=eth_type, ip_proto=proto)
    for kind in (_ICMP_REDIRECT, _ICMP_ROUTER_ADVERTISEMENT):
        yield refused(port, Priority.PORT_REFUSED, eth_type=ETH_IPV4, ip_proto=ICMP, icmpv4_type=kind)
    for kind in (ROUTER_ADVERTISEMENT, _REDIRECT):
        yield refused(port, Priority.PORT_REFUSED, eth_type=ETH_IPV6, ip_proto=ICMPV6, icmpv6_type=kind)
    yield refused(port, Priority.PORT_REFUSED, eth_type=_ETH_RARP)
    yield refused(port, Priority.PORT_STRANGE)


def fragments() -> Iterator[Flow]:
    """Fragments pass nowhere, whatever port they come from and whatever flow they say they belong to.

    Later ones have no ports to decide by, and their pieces may overlap (RFC 1858, RFC 3128, RFC 5722).
    """
    for eth_type in _FAMILIES:
        wanted = match(eth_type=eth_type, ip_frag=IS_FRAGMENT)
        yield Flow(Table.PORT, Priority.PORT_FRAGMENT, wanted, cookie(0, 0, Reason.MALFORMED))
