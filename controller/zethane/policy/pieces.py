"""All services that some policies name, cut into pieces within which none of them begins or ends."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from zethane.policy.bits import bits
from zethane.policy.service import MAX_PORT, OTHER_PROTOCOL, PROTOCOLS, Proto, Service, simplify

_WITH_PORTS: tuple[Proto, ...] = ("tcp", "udp", "sctp")
_ICMP, _OTHER = 1, 2
"""The bits of echo, and of every protocol that has no name."""


class Pieces:
    """Sets of services as bits, one for each piece."""

    def __init__(self, services: Iterable[Service]) -> None:
        cuts: dict[Proto, set[int]] = {proto: {0} for proto in _WITH_PORTS}
        for service in services:
            if service.proto in cuts:
                cuts[service.proto].update((service.low, service.high + 1))
        self._starts = {proto: sorted(port for port in found if port <= MAX_PORT) for proto, found in cuts.items()}
        self._offsets: dict[Proto, int] = {}
        offset = _OTHER.bit_length()
        for proto, starts in self._starts.items():
            self._offsets[proto] = offset
            offset += len(starts)
        self.all = (1 << offset) - 1
        self._known: dict[Service, int] = {}

    def of(self, services: Iterable[Service]) -> int:
        """The pieces of these services, which are among those that the cuts were made for."""
        found = 0
        for service in services:
            if service not in self._known:
                self._known[service] = self._of(service)
            found |= self._known[service]
        return found

    def _of(self, service: Service) -> int:
        if service.proto == "any":
            return self.all
        if service.proto == "icmp":
            return _ICMP
        starts = self._starts[service.proto]
        first, end = bisect_left(starts, service.low), bisect_left(starts, service.high + 1)
        return ((1 << (end - first)) - 1) << (self._offsets[service.proto] + first)

    def services(self, pieces: int) -> tuple[Service, ...]:
        """The fewest services that are these pieces. IP protocols without a name are not in it, unless all are."""
        if pieces == self.all:
            return (Service("any"),)
        return simplify(self._service(bit) for bit in bits(pieces & ~_OTHER))

    def has_others(self, pieces: int) -> bool:
        """Whether IP protocols without a name are among them."""
        return bool(pieces & _OTHER)

    def probe(self, pieces: int) -> tuple[int, int]:
        """The IP protocol and the lowest port of one of them; what has a port before what has none."""
        with_port = pieces & ~(_ICMP | _OTHER)
        if with_port:
            service = self._service(next(bits(with_port)))
            return PROTOCOLS[service.proto][0], service.low
        return (PROTOCOLS["icmp"][0], 0) if pieces & _ICMP else (OTHER_PROTOCOL, 0)

    def _service(self, bit: int) -> Service:
        if 1 << bit == _ICMP:
            return Service("icmp")
        proto = max((one for one, offset in self._offsets.items() if offset <= bit), key=self._offsets.__getitem__)
        starts, number = self._starts[proto], bit - self._offsets[proto]
        high = starts[number + 1] - 1 if number + 1 < len(starts) else MAX_PORT
        return Service(proto, starts[number], high)
