"""Packets and octets, as sessions and rules see them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """Packets and octets of frames, as the session sees them."""

    sent_packets: int = 0
    sent_octets: int = 0
    received_packets: int = 0
    received_octets: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.sent_packets + other.sent_packets,
            self.sent_octets + other.sent_octets,
            self.received_packets + other.received_packets,
            self.received_octets + other.received_octets,
        )

    def less(self, other: Counts) -> Counts:
        """Without what is in the other's, and nothing below zero."""
        return Counts(*(max(0, one - two) for one, two in zip(self.all, other.all, strict=True)))

    def is_before(self, other: Counts) -> bool:
        """Whether a counter is lower than the other's."""
        return any(one < two for one, two in zip(self.all, other.all, strict=True))

    @property
    def all(self) -> tuple[int, int, int, int]:
        """In their order."""
        return self.sent_packets, self.sent_octets, self.received_packets, self.received_octets

    def at_least(self, other: Counts) -> Counts:
        """Each of them as large as the other's: counters never go back."""
        return Counts(
            max(self.sent_packets, other.sent_packets),
            max(self.sent_octets, other.sent_octets),
            max(self.received_packets, other.received_packets),
            max(self.received_octets, other.received_octets),
        )


NOTHING = Counts()


@dataclass(frozen=True, slots=True)
class RuleCounts:
    """Connections that a rule has let in at a switch, and what went the way in which they were opened."""

    connections: int = 0
    packets: int = 0
    octets: int = 0

    def __add__(self, other: RuleCounts) -> RuleCounts:
        return RuleCounts(
            self.connections + other.connections, self.packets + other.packets, self.octets + other.octets
        )

    def since(self, earlier: RuleCounts) -> RuleCounts:
        """What has come since; counters that have gone back have begun anew."""
        if self.connections < earlier.connections or self.packets < earlier.packets:
            return self
        return RuleCounts(
            self.connections - earlier.connections, self.packets - earlier.packets, self.octets - earlier.octets
        )
