"""Packets to flows: the fast path for plain packets of known flows, and the careful one for all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zethane.audit.reason import DenyReason
from zethane.net.flowkey import TCP, TCP_SYN, FlowKey
from zethane.replay.flow import Count
from zethane.replay.link import ETHERNET, Framed, is_read, link_name, unframe
from zethane.replay.packet import Aside, Fate, Piece, Read, read_packet
from zethane.replay.pcap import Record
from zethane.replay.shape import FAST, Fields, Shape, ipv4_shape, is_plain_ipv4, shape_of
from zethane.replay.table import Table, Way

MAX_DATAGRAMS = 4096
"""Datagrams in fragments that are remembered at once."""

Tell = Callable[[Aside, Count, float], None]
"""What is done with packets of no flow: what they are, how many, and when the last of them came."""

_TOO_SHORT = Aside(Fate.UNREAD, "too-short", "captured too short to tell its flow")
_NO_LINK = Aside(Fate.DROPPED, DenyReason.MALFORMED.value, "too short for its link")
_PIECE_ALONE = Aside(Fate.DROPPED, DenyReason.FRAGMENT.value, "without the first one of their datagram")
_PIECE_LATE = Aside(Fate.DROPPED, DenyReason.FRAGMENT.value, "of a flow that has ended")


class _Datagram:
    """A datagram in fragments: its flow, or what has come of it before that is known."""

    __slots__ = ("count", "way", "when")

    def __init__(self) -> None:
        self.way: Way | None = None
        self.count = Count()
        self.when = 0.0


class Meter:
    """Counts packets in the table's flows; packets of no flow go to `tell`."""

    def __init__(self, table: Table, tell: Tell) -> None:
        self.tagged_twice = 0
        self._table = table
        self._find = table.signatures.get
        self._tell = tell
        self._datagrams: dict[tuple[bytes, bytes, int, int], _Datagram] = {}

    def run(self, records: Iterable[Record]) -> None:
        """Take in packets until there are no more."""
        find = self._find
        link, shape = -1, ipv4_shape(-1)
        header, unpack = shape.header, shape.unpack
        for data, at, captured, length, when, kind in records:
            if kind != link:
                link, shape = kind, ipv4_shape(kind)
                header, unpack = shape.header, shape.unpack
            head, total, middle, ends, offset, flags = fields = unpack(data, at)
            way = find(head + middle + ends)
            if (
                way is not None
                and when < way.due
                and not flags & way.mask
                and total >= way.lengths[offset]
                and captured - header >= way.captured[offset]
            ):
                way.packets += 1
                way.octets += length
                way.last = when
            elif link == ETHERNET and is_plain_ipv4(head):
                self._take(shape, fields, head + middle + ends, way, (data, at, captured, length, when, kind))
            else:
                self.take((data, at, captured, length, when, kind))

    def take(self, record: Record) -> None:
        """Take in one packet of whatever shape."""
        data, at, captured, length, when, link = record
        shape = shape_of(link, data, at)
        if shape is None:
            self.careful(record)
        else:
            fields = shape.unpack(data, at)
            signature = shape.signature(fields)
            way = self._find(signature)
            if (
                way is not None
                and when < way.due
                and not fields[-1] & way.mask
                and fields[1] >= way.lengths[fields[-2]]
                and captured - shape.header >= way.captured[fields[-2]]
            ):
                way.packets += 1
                way.octets += length
                way.last = when
            else:
                self._take(shape, fields, signature, way, record)

    def _take(self, shape: Shape, fields: Fields, signature: bytes, way: Way | None, record: Record) -> None:
        """Take in one packet that may be plain. `way` is that of other packets with its signature."""
        data, at, captured, length, when, _ = record
        flags = fields[-1]
        if way is None:
            key = shape.key(fields, captured - shape.header)
            if key is None:
                found = self.careful(record)
                if found is not None and found.proto in FAST and shape.carries(data, at, found.proto):
                    self._table.remember(found, signature)
                return
            if key.proto != TCP:
                flags = 0
            sequence = shape.sequence(data, at) if flags & TCP_SYN else 0
            way = self._table.way_of(key, flags, sequence, data[at + 6 : at + 12], data[at : at + 6], when)
            if key.proto in FAST:
                self._table.remember(way, signature)
        elif not _is_whole(way, fields, captured - shape.header, captured < length):
            self.careful(record)
            return
        elif when >= way.due or flags & way.mask:
            sequence = shape.sequence(data, at) if flags & way.mask & TCP_SYN else 0
            now = self._table.look(way, flags, sequence, when)
            if now.flow is not way.flow:
                self._table.remember(now, signature)
            way = now
        way.packets += 1
        way.octets += length
        way.last = when

    def careful(self, record: Record) -> Way | None:
        """Take in one packet by the careful path; the way that it went if there is nothing special about it."""
        data, at, captured, length, when, link = record
        if not is_read(link):
            self._tell(Aside(Fate.UNREAD, "link-type", link_name(link)), Count(1, length), when)
            return None
        end = at + captured
        framed = unframe(link, data, at, end)
        if framed is None:
            self._tell(_TOO_SHORT if captured < length else _NO_LINK, Count(1, length), when)
            return None
        if len(framed.tags) > 1:
            self.tagged_twice += 1
        read = read_packet(framed, data, end, captured < length)
        if isinstance(read, Aside):
            self._tell(read, Count(1, length), when)
            return None
        return self._count(read, framed, length, when)

    def _count(self, read: Read, framed: Framed, length: int, when: float) -> Way | None:
        if read.about is not None:
            self._related(read, read.about, length, when)
            return None
        if read.key is None:
            if read.piece is not None:
                self._later_piece(read.piece, length, when)
            return None
        way = self._table.way_of(read.key, read.flags, read.sequence, framed.eth_src, framed.eth_dst, when)
        _add(way, Count(1, length), when, read.hurdle)
        if read.piece is not None:
            self._first_piece(read.piece, way, when)
        return way if read.hurdle is None else None

    def _related(self, read: Read, about: FlowKey, length: int, when: float) -> None:
        """An ICMP error counts with the flow that it is about if it goes to the end that sent what it quotes."""
        way = self._table.find(about)
        key = read.key
        if way is None or key is None or key.dst != about.src or key.src != about.dst:
            what = "about no flow" if way is None else "from neither end of the flow"
            self._tell(Aside(Fate.DROPPED, DenyReason.UNRELATED_ERROR.value, what), Count(1, length), when)
            return
        way.flow.related = way.flow.related.plus(Count(1, length))
        if read.hurdle is not None:
            way.flow.hinder(read.hurdle.value, Count(1, length))

    def _first_piece(self, piece: Piece, way: Way, when: float) -> None:
        known = self._datagram(piece)
        known.way = way
        if known.count.packets:
            _add(way, known.count, when, DenyReason.FRAGMENT)
            known.count = Count()

    def _later_piece(self, piece: Piece, length: int, when: float) -> None:
        known = self._datagram(piece)
        known.when = when
        if known.way is None:
            known.count = known.count.plus(Count(1, length))
        elif known.way.flow.is_over:
            self._tell(_PIECE_LATE, Count(1, length), when)
        else:
            _add(known.way, Count(1, length), when, DenyReason.FRAGMENT)

    def _datagram(self, piece: Piece) -> _Datagram:
        known = self._datagrams.get(piece.datagram)
        if known is None:
            if len(self._datagrams) >= MAX_DATAGRAMS:
                self._lost(self._datagrams.pop(next(iter(self._datagrams))))
            known = self._datagrams[piece.datagram] = _Datagram()
        return known

    def _lost(self, datagram: _Datagram) -> None:
        if datagram.count.packets:
            self._tell(_PIECE_ALONE, datagram.count, datagram.when)

    def finish(self) -> None:
        """There are no more packets: tell what waits for another one."""
        for datagram in self._datagrams.values():
            self._lost(datagram)
        self._datagrams.clear()


def _is_whole(way: Way, fields: Fields, captured: int, missing: bool) -> bool:
    """Whether a packet with a known signature has all of the header that it says it has."""
    total, offset = fields[1], fields[-2]
    if total < way.lengths[offset]:
        return False
    return captured >= way.captured[offset] or (missing and captured >= way.least)


def _add(way: Way, count: Count, when: float, hurdle: DenyReason | None) -> None:
    way.packets += count.packets
    way.octets += count.octets
    way.last = when
    if hurdle is not None:
        way.flow.hinder(hurdle.value, count)
