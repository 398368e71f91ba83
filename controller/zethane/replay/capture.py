"""A capture of either format, packet by packet, up to where it ends or cannot be read further."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from zethane.errors import InputError, Problem
from zethane.replay.pcap import Pcap, Record, is_pcap
from zethane.replay.pcapng import Pcapng, is_pcapng
from zethane.replay.source import Cut, Damage, Source, Window

__all__ = ["Broken", "Capture", "Record"]

_MODIFIED = {b"\x34\xcd\xb2\xa1": "modified pcap", b"\xa1\xb2\xcd\x34": "modified pcap"}
"""Formats with a name that are not read."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Where a capture could not be read further: a byte's position (in what is compressed, uncompressed), and why.

    `cut` says that it ends there; otherwise something is there that cannot be.
    """

    position: int
    message: str
    cut: bool

    def __str__(self) -> str:
        return f"byte {self.position}: {self.message}"


class Capture:
    """A capture that is read once. Raises InputError if it is none."""

    def __init__(self, source: Source, on_read: Callable[[], None] = lambda: None) -> None:
        window = Window(source.stream, on_read)
        try:
            self._format = _format(window, source.name)
        except Damage as damage:
            raise InputError([Problem(source.name, f"no capture: {damage.message}")]) from None

    @property
    def format(self) -> str:
        """`pcap` or `pcapng`."""
        return self._format.name

    @property
    def links(self) -> Mapping[int, int]:
        """How many interfaces there were of each link type, as far as it was read."""
        return self._format.links

    @property
    def untimed(self) -> int:
        """How many packets have no time of their own."""
        return getattr(self._format, "untimed", 0)

    @property
    def broken(self) -> Broken | None:
        """What was found at the end of `records`, if that was not where it should be."""
        damage = self._format.damage
        return None if damage is None else Broken(damage.at, damage.message, isinstance(damage, Cut))

    def records(self) -> Iterator[Record]:
        """Every packet that can be read; what is behind is told by `broken`."""
        return self._format.records()


def _format(window: Window, name: str) -> Pcap | Pcapng:
    if not window.has(4):
        raise Cut(0, "it is empty" if window.size == 0 else "it has fewer than four bytes")
    magic = window.data[window.at : window.at + 4]
    if is_pcap(magic):
        return Pcap(window)
    if is_pcapng(magic):
        return Pcapng(window)
    if magic in _MODIFIED:
        raise InputError([Problem(name, f"expected pcap or pcapng, found {_MODIFIED[magic]}; editcap converts it")])
    raise InputError([Problem(name, "expected a capture: pcap or pcapng, compressed with gzip or not")])
