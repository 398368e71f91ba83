"""Connection tracking in Python, as far as the tables ask for it: whose connection a packet belongs to, and which way.

A connection is one of addresses, protocol and ports. How TCP's flags follow each other is not looked at, and nothing
times out: a connection is there until it is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping

from zethane.net.flowkey import ICMP, ICMPV6, TCP, UDP
from zethane.pipeline.fields import CT_INVALID, CT_REPLY, CT_TRACKED

CT_NEW, CT_ESTABLISHED = 1, 2
_PORTS = {TCP: ("tcp_src", "tcp_dst"), UDP: ("udp_src", "udp_dst"), ICMP: ("", ""), ICMPV6: ("", "")}

_Ends = tuple[int, int, int, int, int]


class Connections:
    """The connections of every zone. `room` is for how many there is room; None: for any number."""

    def __init__(self, room: int | None = None) -> None:
        self._room = room
        self._labels: dict[tuple[int, _Ends], int] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def look_up(self, zone: int, fields: Mapping[str, int]) -> tuple[int, int]:
        """`ct_state` and `ct_label` of a packet."""
        ends = _ends(fields)
        if ends is None:
            return CT_TRACKED | CT_INVALID, 0
        for found, reply in ((ends, 0), (_reverse(ends), CT_REPLY)):
            label = self._labels.get((zone, found))
            if label is not None:
                return CT_TRACKED | CT_ESTABLISHED | reply, label
        return CT_TRACKED | CT_NEW, 0

    def commit(self, zone: int, fields: Mapping[str, int], label: int) -> tuple[int, int]:
        """Take a packet's connection up; the same of it after that."""
        ends = _ends(fields)
        if ends is not None:
            self._labels.pop((zone, _reverse(ends)), None)
            if (zone, ends) in self._labels or self._room is None or len(self._labels) < self._room:
                self._labels[zone, ends] = label
        return self.look_up(zone, fields)

    def forget(self) -> None:
        """Forget all of them."""
        self._labels.clear()


def _ends(fields: Mapping[str, int]) -> _Ends | None:
    proto = fields.get("ip_proto", 0)
    names = _PORTS.get(proto)
    if names is None:
        return None
    family = "ipv4" if "ipv4_src" in fields else "ipv6"
    first, second = (fields.get(name, 0) for name in names)
    return fields.get(f"{family}_src", 0), fields.get(f"{family}_dst", 0), proto, first, second


def _reverse(ends: _Ends) -> _Ends:
    src, dst, proto, first, second = ends
    return dst, src, proto, second, first
