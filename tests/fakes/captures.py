"""Captures for tests, byte by byte: pcap and pcapng in all their forms, and wrong ones."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence

from zethane.replay.capture import Capture
from zethane.replay.source import Source

ETHERNET = 1

Taken = tuple[float, bytes] | tuple[float, bytes, int]
"""A packet: its time, what was captured of it and, if that is not all, how long it was."""


def pcap(packets: Iterable[Taken], *, order: str = "<", nano: bool = False, link: int = ETHERNET) -> bytes:
    """A pcap file."""
    ticks = 10**9 if nano else 10**6
    out = [struct.pack(f"{order}IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)]
    for when, frame, *length in packets:
        seconds, fraction = int(when), round(when % 1 * ticks)
        out.append(
            struct.pack(f"{order}IIII", seconds, fraction, len(frame), length[0] if length else len(frame)) + frame
        )
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of pcapng, padded."""
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    """A section's header, of unknown length."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    link: int = ETHERNET, order: str = "<", snap: int = 0, options: Sequence[tuple[int, bytes]] = ()
) -> bytes:
    """An interface's description."""
    told = b"".join(
        struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in options
    )
    ending = struct.pack(f"{order}HH", 0, 0) if options else b""
    return block(1, struct.pack(f"{order}HHI", link, 0, snap) + told + ending, order)


def packet(ticks: int, frame: bytes, *, number: int = 0, order: str = "<", length: int | None = None) -> bytes:
    """An Enhanced Packet Block."""
    fields = (number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame) if length is None else length)
    return block(6, struct.pack(f"{order}IIIII", *fields) + frame + bytes(-len(frame) % 4), order)


def old_packet(ticks: int, frame: bytes, *, number: int = 0, order: str = "<") -> bytes:
    """A Packet Block, which is obsolete."""
    fields = (number, 0xFFFF, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(2, struct.pack(f"{order}HHIIII", *fields) + frame + bytes(-len(frame) % 4), order)


def simple_packet(frame: bytes, *, order: str = "<", length: int | None = None) -> bytes:
    """A Simple Packet Block."""
    return block(3, struct.pack(f"{order}I", len(frame) if length is None else length) + frame, order)


def pcapng(packets: Iterable[Taken], order: str = "<") -> bytes:
    """A pcapng file with one interface, in microseconds."""
    blocks = [
        packet(round(when * 10**6), frame, order=order, length=length[0] if length else None)
        for when, frame, *length in packets
    ]
    return section(order) + interface(order=order) + b"".join(blocks)


def capture(data: bytes, name: str = "test.pcap") -> Capture:
    """A capture with these bytes. Raises InputError."""
    return Capture(Source(name, io.BytesIO(data), len(data), lambda: len(data)))


def read(data: bytes) -> list[tuple[bytes, int, float, int]]:
    """All that can be read: what was captured, how long it was, when, and the link type."""
    return [
        (window[at : at + captured], length, when, link)
        for window, at, captured, length, when, link in capture(data).records()
    ]
