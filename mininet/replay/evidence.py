"""What captures say: which frames arrived where, who had sent them, and who has reached whom. Pure.

A frame is whose cable it came from, whatever addresses it has: what arrives somewhere was sent by whoever's end of a
cable, at the switch, the same octets had come out of.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from replay.scenario import Containment
from replay.schema import MAX_STEPS
from zethane.net.flowkey import ETH_ARP, ETH_IPV6, ICMPV6, TCP_ACK, TCP_SYN, FlowKey, parse_frame

Timed = Sequence[tuple[float, bytes]]
"""Frames with when they came, in seconds since the epoch."""

_TAGS = (b"\x81\x00", b"\x88\xa8")
_NEIGHBOURS = frozenset((130, 131, 132, 133, 134, 135, 136, 137, 143))
"""ICMPv6 types of neighbour discovery and multicast listeners (RFC 4861, RFC 3810)."""


def untagged(frame: bytes) -> bytes:
    """A frame without its VLAN tags."""
    while frame[12:14] in _TAGS:
        frame = frame[:12] + frame[16:]
    return frame


def body(frame: bytes) -> bytes:
    """What of a frame stays the same on its way: its EtherType and what is behind it, without tags."""
    return untagged(frame)[12:]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one step has left in the captures: frames that each host put on its cable, and that reached each host."""

    sent: Mapping[str, Timed] = field(default_factory=dict)
    received: Mapping[str, Timed] = field(default_factory=dict)
    missed: int = 0

    def arrivals(self, wanted: Callable[[bytes], bool], source: str) -> Counter[str]:
        """How many frames of a kind reached each host but the one that sent them."""
        found: Counter[str] = Counter()
        for host, frames in self.received.items():
            if host != source and (number := sum(wanted(frame) for _, frame in frames)):
                found[host] = number
        return found


@dataclass(frozen=True, slots=True)
class Reach:
    """So many packets of one host reached another; `example` is the first, in words."""

    source: str
    target: str
    packets: int
    example: str


class History:
    """All that was captured in a scenario.

    `owner` says whose a frame is that came out of, or went into, a cable: outside several hosts share one. `card` is
    given where bridges flood what they have not learned: only frames to a host's own card, and to groups, reach it
    there.
    """

    def __init__(self, owner: Callable[[str, bytes, bool], str], card: Callable[[str], bytes] | None = None) -> None:
        self._owner = owner
        self._card = card
        self._senders: dict[bytes, set[str]] = defaultdict(set)
        self._arrived: list[tuple[float, int, str, bytes]] = []

    def add(self, evidence: Evidence, step: int = 1) -> None:
        """Add what a step has left."""
        for host, frames in evidence.sent.items():
            for _, frame in frames:
                if _counts(untagged(frame)):
                    self._senders[body(frame)].add(self._owner(host, frame, True))
        for host, frames in evidence.received.items():
            for moment, frame in frames:
                if _counts(untagged(frame)) and self._is_for(host, frame):
                    self._arrived.append((moment, step, self._owner(host, frame, False), untagged(frame)))

    def _is_for(self, host: str, frame: bytes) -> bool:
        return self._card is None or bool(frame[0] & 1) or frame[:6] == self._card(host)

    def reached(self, first: int = 1, last: int = MAX_STEPS) -> list[Reach]:
        """Who has reached whom, in the steps from `first` to `last`.

        Answers do not count: whoever opened a conversation is the one who reached, and whoever sends a SYN of their own
        into it.
        """
        opened: dict[FlowKey, bool] = {}
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for _, step, target, frame in sorted(self._arrived, key=lambda one: one[0]):
            packet = parse_frame(frame)
            if packet is not None and packet.error_about is None:
                if packet.key not in opened:
                    opened[packet.key], opened[packet.key.reverse()] = True, False
                if not opened[packet.key] and packet.flags & (TCP_SYN | TCP_ACK) != TCP_SYN:
                    continue
            elif packet is not None and packet.error_about in opened:
                continue
            for source in self._senders.get(body(frame), ()):
                if source != target and first <= step <= last:
                    found[source, target].append(describe(frame))
        return [Reach(source, target, len(texts), texts[0]) for (source, target), texts in found.items()]

    def broken(self, statement: Containment) -> list[Reach]:
        """What speaks against a statement."""
        reached = self.reached(statement.first, statement.last)
        return [one for one in reached if one.source in statement.sources and one.target in statement.never]


def _counts(frame: bytes) -> bool:
    """Whether a frame carries anything to anybody: ARP, ND and reports of multicast listeners do not."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == ETH_ARP:
        return False
    if kind != ETH_IPV6 or len(frame) < 55:
        return True
    if frame[20] == 0 and len(frame) > 62 and frame[54] == ICMPV6:  # behind the router alert (RFC 2711)
        return frame[62] not in _NEIGHBOURS
    return not (frame[20] == ICMPV6 and frame[54] in _NEIGHBOURS)


def describe(frame: bytes) -> str:
    """A frame in a few words."""
    packet = parse_frame(frame)
    if packet is None:
        return f"a frame of {len(frame)} octets, EtherType 0x{int.from_bytes(frame[12:14], 'big'):04x}"
    return str(packet.key)


def matching(keys: Iterable[FlowKey]) -> Callable[[bytes], bool]:
    """Whether a frame opens one of these, whatever port it is from."""
    wanted = {key._replace(sport=0) for key in keys}

    def matches(frame: bytes) -> bool:
        packet = parse_frame(untagged(frame))
        return packet is not None and packet.error_about is None and packet.key._replace(sport=0) in wanted

    return matches


def same(bodies: Iterable[bytes]) -> Callable[[bytes], bool]:
    """Whether a frame is one of these, as `body` has them."""
    wanted = frozenset(bodies)
    return lambda frame: body(frame) in wanted
