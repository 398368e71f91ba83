"""Flows of a capture: while they are counted, and as they are told when they have ended."""

from __future__ import annotations

from typing import Literal, NamedTuple

from zethane.net.flowkey import TCP, TCP_ACK, TCP_SYN, FlowKey
from zethane.replay.verdict import Verdict
from zethane.replay.who import Who

Opening = Literal["syn", "answer", "ports", "first", "goes-on"]
"""How it is known who opened a flow: a SYN, the answer to one (or to an echo), the ports alone, or who sent the first
packet that was captured. `goes-on`: it is the rest of a flow whose verdict has changed."""

SYSTEM_PORTS = 1024
"""Below it ports are for services (RFC 6335 §6)."""


class Count(NamedTuple):
    """Packets, and their octets on the link with its headers."""

    packets: int = 0
    octets: int = 0

    def plus(self, other: Count) -> Count:
        """Both together."""
        return Count(self.packets + other.packets, self.octets + other.octets)


NONE = Count()


class Flow(NamedTuple):
    """A flow that was seen, and what the policy says of it.

    `key` is as its subject sends. `there` are its packets to the object, `back` those from it, `related` ICMP errors
    about it. `hurdles` are those of them all that Zethane would drop whatever the verdict, by reason. Times are seconds
    since the epoch.
    """

    key: FlowKey
    subject: Who
    object: Who
    opening: Opening
    verdict: Verdict
    first: float
    last: float
    there: Count
    back: Count
    related: Count
    hurdles: tuple[tuple[str, Count], ...] = ()
    is_answered: bool = False
    """Whether its object sent anything but a refusal (RST)."""

    @property
    def whole(self) -> Count:
        """All of its packets."""
        there, back, related = self.there, self.back, self.related
        return Count(there[0] + back[0] + related[0], there[1] + back[1] + related[1])

    @property
    def port(self) -> int:
        """The port that a policy looks at: none for echo."""
        return self.key.dport if self.key.proto not in (1, 58) else 0

    @property
    def is_opening_seen(self) -> bool:
        """Whether its direction is certain. Without connections the first packet is what opens."""
        return self.opening in ("syn", "answer") or (self.opening == "first" and self.key.proto != TCP)


def opened_by(key: FlowKey, flags: int, services: frozenset[tuple[int, int]]) -> tuple[bool, Opening]:
    """Whether the sender of a flow's first packet opened it, and how that is known.

    `services` are the (IP protocol, port) pairs that the policy names. They, and ports for services, help with TCP
    that was under way when the capture began: the end with such a port is the one that it was opened to.
    """
    if key.proto == TCP:
        if flags & TCP_SYN:
            return not flags & TCP_ACK, "answer" if flags & TCP_ACK else "syn"
        here, there = (_serves(port, services) for port in (key.sport, key.dport))
        return (there, "ports") if here != there else (True, "first")
    if (key.sport, key.dport) == (0, 8):
        return False, "answer"
    return True, "first"


def _serves(port: int, services: frozenset[tuple[int, int]]) -> bool:
    return port < SYSTEM_PORTS or (TCP, port) in services
