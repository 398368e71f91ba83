"""pcap files (draft-ietf-opsawg-pcap), of both byte orders, with microseconds or nanoseconds."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from zethane.replay.source import Cut, Damage, Window

Record = tuple[bytes, int, int, int, float, int]
"""One packet: the bytes that it stands in, where it begins there, how many bytes of it were captured, how many there
were on the link, when (seconds since the epoch), and the link type. Valid until the next record is asked for."""

MAX_CAPTURED = 262_144
"""Bytes of one packet at the most: what libpcap takes (MAXIMUM_SNAPLEN)."""

HEADER = 24
_RECORD = 16
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
}


class Pcap:
    """A pcap file from its beginning. Raises Damage if the header is not whole."""

    name = "pcap"

    def __init__(self, window: Window) -> None:
        if not window.has(HEADER):
            raise Cut(window.position, "the file's header is not whole")
        self._order, self._ticks = _MAGIC[window.data[window.at : window.at + 4]]
        link = struct.unpack_from(f"{self._order}I", window.data, window.at + 20)[0]
        self.links = {link & 0xFFFF: 1}
        self._link = link & 0xFFFF
        self._window = window
        self.damage: Damage | None = None
        """Why the last packet was the last one, if the file does not end there."""
        window.at += HEADER

    def records(self) -> Iterator[Record]:
        """Every packet, up to where the file does not go on as it should."""
        window, link, ticks = self._window, self._link, self._ticks
        unpack = struct.Struct(f"{self._order}IIII").unpack_from
        while True:
            data, at = window.data, window.at
            last = window.size - _RECORD
            size = window.size
            while at <= last:
                seconds, fraction, captured, length = unpack(data, at)
                begin = at + _RECORD
                end = begin + captured
                if end > size or captured > MAX_CAPTURED:
                    break
                yield data, begin, captured, length if length > captured else captured, seconds + fraction / ticks, link
                at = end
            window.at = at
            if at <= last and captured > MAX_CAPTURED:
                message = f"a packet of {captured} bytes; expected at most {MAX_CAPTURED}"
                self.damage = Damage(window.position, message)
                return
            try:
                if not window.more():
                    break
            except Cut as cut:
                self.damage = cut
                return
        if window.at < window.size:
            self.damage = Cut(window.position, "the file ends in the middle of a packet")


def is_pcap(magic: bytes) -> bool:
    """Whether a file begins as one of this format does."""
    return magic in _MAGIC
