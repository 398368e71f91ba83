"""pcapng files (draft-ietf-opsawg-pcapng): sections, interfaces, and the three kinds of blocks with packets."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from zethane.replay.pcap import MAX_CAPTURED, Record
from zethane.replay.source import Cut, Damage, Window

SECTION = 0x0A0D0D0A
_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 1, 2, 3, 6
_BYTE_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_SMALLEST = 12
_MAX_HELD = MAX_CAPTURED + (1 << 16)
"""Bytes of a block that is held whole: one packet and its options, or an interface."""

MAX_INTERFACES = 4096

LATEST = 253_370_764_800.0
"""The beginning of the year 9999: later times, which the format has room for, count as this one, those before 1970 as
its beginning."""
_RESOLUTION, _OFFSET, _END = 9, 14, 0
_DEFAULT_TICKS = 10**6


@dataclass(frozen=True, slots=True)
class _Interface:
    """`ticks` are in a second; `offset` is added to its times, in seconds."""

    link: int
    snap: int
    ticks: int
    offset: int


class Pcapng:
    """A pcapng file from its beginning."""

    name = "pcapng"

    def __init__(self, window: Window) -> None:
        self.links: dict[int, int] = {}
        self.untimed = 0
        """Packets of blocks that have no time: they count as at that of the packet before."""
        self.damage: Damage | None = None
        """Why the last packet was the last one, if the file does not end there."""
        self._window = window
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._now = 0.0

    def records(self) -> Iterator[Record]:
        """Every packet, up to where the file does not go on as it should."""
        window = self._window
        try:
            while window.has(_SMALLEST):
                yield from self._row_of_packets()
                if not window.has(_SMALLEST):
                    break
                record = self._take_block()
                if record is not None:
                    yield record
            if window.at < window.size:
                raise Cut(window.position, "the file ends in the middle of a block")
        except Damage as damage:
            self.damage = damage

    def _take_block(self) -> Record | None:
        """Go on behind the next block; the packet in it, if it is one that holds a packet."""
        window = self._window
        kind, length = self._block()
        if kind not in (SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET):
            if not window.skip(length):
                raise Cut(window.position, "the file ends in the middle of a block")
            return None
        if length > _MAX_HELD:
            raise Damage(window.position, f"a block of {length} bytes; expected at most {_MAX_HELD}")
        if not window.has(length):
            raise Cut(window.position, "the file ends in the middle of a block")
        self._check_end(length)
        record = None
        if kind == SECTION:
            self._interfaces = []
        elif kind == _INTERFACE:
            self._add_interface(length)
        else:
            record = self._packet(kind, length)
        window.at += length
        return record

    def _row_of_packets(self) -> Iterator[Record]:
        """Enhanced Packet Blocks, as many as are here one after the other, up to one that is odd in any way."""
        window, interfaces = self._window, self._interfaces
        unpack = struct.Struct(f"{self._order}IIIIIII").unpack_from
        ending = struct.Struct(f"{self._order}I").unpack_from
        data, at = window.data, window.at
        size, count = window.size, len(interfaces)
        while True:
            kind, length, number, high, low, captured, wire = unpack(data, at)
            end = at + length
            if (
                kind != _PACKET
                or length % 4
                or length > _MAX_HELD
                or end > size
                or captured + 32 > length
                or captured > MAX_CAPTURED
                or number >= count
                or ending(data, end - 4)[0] != length
            ):
                return
            interface = interfaces[number]
            when = (high << 32 | low) / interface.ticks + interface.offset
            if not 0.0 <= when <= LATEST:
                when = min(max(when, 0.0), LATEST)
            self._now = when
            window.at = end  # what comes next may be looked at by others
            yield data, at + 28, captured, wire if wire > captured else captured, when, interface.link
            at = end

    def _block(self) -> tuple[int, int]:
        """Type and length of the block that comes next; a section says in which order its bytes are."""
        window = self._window
        kind: int = struct.unpack_from(f"{self._order}I", window.data, window.at)[0]
        if kind == SECTION:
            order = _BYTE_ORDER.get(window.data[window.at + 8 : window.at + 12])
            if order is None:
                raise Damage(window.position, "a section whose byte order cannot be told")
            self._order = order
        length: int = struct.unpack_from(f"{self._order}I", window.data, window.at + 4)[0]
        if length < _SMALLEST or length % 4:
            raise Damage(window.position, f"a block of {length} bytes; expected a multiple of 4 from {_SMALLEST}")
        return kind, length

    def _check_end(self, length: int) -> None:
        window = self._window
        again = struct.unpack_from(f"{self._order}I", window.data, window.at + length - 4)[0]
        if again != length:
            raise Damage(window.position, f"a block that begins as one of {length} bytes and ends as one of {again}")

    def _add_interface(self, length: int) -> None:
        window = self._window
        if length < 20:
            raise Damage(window.position, "an interface whose description is too short")
        if len(self._interfaces) >= MAX_INTERFACES:
            raise Damage(window.position, f"more than {MAX_INTERFACES} interfaces in a section")
        link, _, snap = struct.unpack_from(f"{self._order}HHI", window.data, window.at + 8)
        ticks, offset = _DEFAULT_TICKS, 0
        for code, value in self._options(window.at + 16, window.at + length - 4):
            if code == _RESOLUTION and len(value) == 1:
                ticks = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            elif code == _OFFSET and len(value) == 8:
                offset = struct.unpack(f"{self._order}q", value)[0]
        self._interfaces.append(_Interface(link, snap, ticks, offset))
        self.links[link] = self.links.get(link, 0) + 1

    def _options(self, at: int, end: int) -> Iterator[tuple[int, bytes]]:
        """The options of a block: each takes at least four bytes, so that they end."""
        while at + 4 <= end:
            code, length = struct.unpack_from(f"{self._order}HH", self._window.data, at)
            at += 4
            if code == _END or at + length > end:
                return
            yield code, self._window.data[at : at + length]
            at += length + -length % 4

    def _packet(self, kind: int, length: int) -> Record:
        window, order = self._window, self._order
        data, at = window.data, window.at
        if kind == _SIMPLE_PACKET:
            return self._simple_packet(length)
        if length < 32:
            raise Damage(window.position, "a packet's block that is too short")
        if kind == _PACKET:
            number, high, low, captured, wire = struct.unpack_from(f"{order}IIIII", data, at + 8)
        else:
            number, _, high, low, captured, wire = struct.unpack_from(f"{order}HHIIII", data, at + 8)
        if captured > length - 32 or captured > MAX_CAPTURED:
            raise Damage(window.position, f"a packet of {captured} bytes in a block of {length}")
        interface = self._interface(number)
        when = min(max((high << 32 | low) / interface.ticks + interface.offset, 0.0), LATEST)
        self._now = when
        return data, at + 28, captured, max(wire, captured), when, interface.link

    def _simple_packet(self, length: int) -> Record:
        window = self._window
        if length < 16:
            raise Damage(window.position, "a packet's block that is too short")
        interface = self._interface(0)
        wire: int = struct.unpack_from(f"{self._order}I", window.data, window.at + 8)[0]
        captured = min(wire, length - 16, MAX_CAPTURED, interface.snap or MAX_CAPTURED)
        self.untimed += 1
        return window.data, window.at + 12, captured, max(wire, captured), self._now, interface.link

    def _interface(self, number: int) -> _Interface:
        if number >= len(self._interfaces):
            raise Damage(self._window.position, f"a packet of interface {number}, which is not described")
        return self._interfaces[number]


def is_pcapng(magic: bytes) -> bool:
    """Whether a file begins as one of this format does."""
    return magic == SECTION.to_bytes(4, "big")
