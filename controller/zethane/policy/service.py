"""Services: what a flow is for, by IP protocol and port.

A service is written `PROTO`, `PROTO/PORT` or `PROTO/LOW-HIGH`. `icmp` stands for echo of ICMP and ICMPv6
alike (RFC 792, RFC 4443 §4), `any` for every IP protocol; neither has ports.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast, get_args

Proto = Literal["tcp", "udp", "sctp", "icmp", "any"]

MAX_PORT = 65535
PROTOCOLS: dict[Proto, tuple[int, ...]] = {
    "tcp": (6,),
    "udp": (17,),
    "sctp": (132,),
    "icmp": (1, 58),
    "any": (),
}
"""IP protocol numbers (IANA) of each word; none for `any`, which has them all."""

_WORDS = {number: word for word, numbers in PROTOCOLS.items() for number in numbers}

OTHER_PROTOCOL = 253
"""A protocol that no word but `any` covers (RFC 3692: for experiments), to ask about all such."""

EXPECTED = "expected PROTO, PROTO/PORT or PROTO/LOW-HIGH with PROTO one of tcp, udp, sctp, icmp, any"

_TEXT = re.compile(r"(tcp|udp|sctp|icmp|any)(?:/(0|[1-9][0-9]{0,4})(?:-(0|[1-9][0-9]{0,4}))?)?")


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """One protocol and an inclusive range of destination ports."""

    proto: Proto
    low: int = 0
    high: int = MAX_PORT

    def __post_init__(self) -> None:
        if self.proto not in get_args(Proto) or not 0 <= self.low <= self.high <= MAX_PORT:
            raise ValueError(f"no service: {self.proto} {self.low}-{self.high}")
        if self.proto in ("icmp", "any") and not self.whole:
            raise ValueError(f"{self.proto} has no ports")

    @classmethod
    def parse(cls, text: str) -> Service:
        """The service that `text` names. Raises ValueError that says what was expected."""
        return _parsed(text)

    @classmethod
    def _parse(cls, text: str) -> Service:
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(EXPECTED)
        proto, low, high = cast(Proto, match[1]), match[2], match[3]
        if low is None:
            return cls(proto)
        first, last = int(low), int(high or low)
        if proto in ("icmp", "any"):
            raise ValueError(f"expected no port: {proto} has none")
        if last > MAX_PORT or first > MAX_PORT:
            raise ValueError(f"expected ports of at most {MAX_PORT}")
        if first > last:
            raise ValueError("expected the lower port first")
        return cls(proto, first, last)

    def __reduce__(self) -> tuple[Callable[[Proto, int, int], Service], tuple[Proto, int, int]]:
        """One that comes from another process is the same object as those that are here."""
        return _known, (self.proto, self.low, self.high)

    def __str__(self) -> str:
        if self.whole:
            return self.proto
        return f"{self.proto}/{self.low}" if self.low == self.high else f"{self.proto}/{self.low}-{self.high}"

    @property
    def whole(self) -> bool:
        """Whether every port is in it."""
        return self.low == 0 and self.high == MAX_PORT

    def covers(self, other: Service) -> bool:
        """Whether every packet of `other` is one of this service."""
        if self.proto == "any":
            return True
        return self.proto == other.proto and self.low <= other.low and other.high <= self.high

    def overlaps(self, other: Service) -> bool:
        """Whether some packet is of both."""
        if "any" in (self.proto, other.proto):
            return True
        return self.proto == other.proto and self.low <= other.high and other.low <= self.high

    def matches(self, ip_proto: int, port: int) -> bool:
        """Whether a packet with this IP protocol number and destination port is of this service.

        The caller sees to it that a packet of ICMP or ICMPv6 is an echo; its port does not matter.
        """
        if self.proto == "any":
            return True
        if ip_proto not in PROTOCOLS[self.proto]:
            return False
        return self.proto == "icmp" or self.low <= port <= self.high


@lru_cache(maxsize=16_384)  # the same are named again and again: then they are the same objects, and quick to compare
def _parsed(text: str) -> Service:
    found = Service._parse(text)  # noqa: SLF001  # of this module
    return _known(found.proto, found.low, found.high)


@lru_cache(maxsize=16_384)
def _known(proto: Proto, low: int, high: int) -> Service:
    return Service(proto, low, high)


def word_of(ip_proto: int) -> Proto | None:
    """The word for an IP protocol number; None if only `any` has it."""
    return _WORDS.get(ip_proto)


def simplify(services: Iterable[Service]) -> tuple[Service, ...]:
    """The fewest services that cover the same packets, sorted; neighbouring ranges become one."""
    ordered = sorted(set(services))
    if any(service.proto == "any" for service in ordered):
        return (Service("any"),)
    merged: list[Service] = []
    for service in ordered:
        last = merged[-1] if merged else None
        if last is not None and last.proto == service.proto and service.low <= last.high + 1:
            merged[-1] = Service(last.proto, last.low, max(last.high, service.high))
        else:
            merged.append(service)
    return tuple(merged)


def covered(service: Service, by: Iterable[Service]) -> bool:
    """Whether the services of `by` together cover all of `service`."""
    return any(whole.covers(service) for whole in simplify(by))


def pieces(service: Service, cuts: Iterable[Service]) -> tuple[Service, ...]:
    """`service` cut where one of `cuts` begins or ends: inside a piece they all say the same.

    `any` is cut into its protocols. Nothing is cut out of it that stands for the unnamed ones: see
    OTHER_PROTOCOL.
    """
    if service.proto == "any":
        raise ValueError("any is not cut into ranges")
    near = [cut for cut in cuts if cut.proto == service.proto and cut.overlaps(service)]
    starts = {service.low, *(cut.low for cut in near), *(cut.high + 1 for cut in near)}
    inside = sorted(port for port in starts if service.low <= port <= service.high)
    return tuple(
        Service(service.proto, low, high - 1) for low, high in zip(inside, [*inside[1:], service.high + 1], strict=True)
    )
