"""Services as match fields: one service becomes a few matches over both address families."""

from __future__ import annotations

from collections.abc import Iterator

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, SCTP, TCP, TCP_ACK, UDP
from zethane.pipeline.flow import FieldValue
from zethane.policy.service import Service

Fields = dict[str, FieldValue]

_PORT_BITS = 16
_PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
_ECHO = {"request": (8, 128), "reply": (0, 129)}


def prefixes(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The (value, mask) pairs that together match exactly the ports `low`..`high`."""
    full = (1 << _PORT_BITS) - 1
    while low <= high:
        size = (low & -low) or 1 << _PORT_BITS
        while size > high - low + 1:
            size >>= 1
        yield low, full & ~(size - 1)
        low += size


def opening(service: Service) -> Iterator[Fields]:
    """Matches on packets that open a flow of this service, or go on with it in the same direction."""
    return _fields(service, "dst", "request")


def returning(service: Service) -> Iterator[Fields]:
    """Matches on packets that answer a flow of this service. A TCP answer always has ACK (RFC 9293 §3.5.2)."""
    for fields in _fields(service, "src", "reply"):
        if fields.get("ip_proto") == TCP:
            fields["tcp_flags"] = (TCP_ACK, TCP_ACK)
        yield fields


def _fields(service: Service, side: str, echo: str) -> Iterator[Fields]:
    for eth_type, icmp, family in ((ETH_IPV4, ICMP, 0), (ETH_IPV6, ICMPV6, 1)):
        base: Fields = {"eth_type": eth_type}
        if service.proto == "any":
            yield base
        elif service.proto == "icmp":
            version = "icmpv4" if icmp == ICMP else "icmpv6"
            yield base | {"ip_proto": icmp, f"{version}_type": _ECHO[echo][family], f"{version}_code": 0}
        else:
            base["ip_proto"] = _PROTOCOLS[service.proto]
            for value, mask in prefixes(service.low, service.high):
                yield base | {f"{service.proto}_{side}": (value, mask)}
