"""The links between switches: what network.yaml declares, what probes have shown, and which of them paths may use.

A trunk with a declared link leads where the file says and nowhere else: what a probe says can only take it out of
use. A trunk without one leads where probes in both directions say, until they stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from zethane.network.model import Network
from zethane.pipeline.fabric import FabricLink

End = tuple[int, int]
"""A switch's number and one of its ports."""


class Heard(Enum):
    """What a probe that arrived says about the links."""

    CONFIRMED = "confirmed"
    """It arrived where it should, or where no link was known."""
    CONTRADICTED = "contradicted"
    """It arrived somewhere else."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where the probes of a port have last arrived, and when."""

    at: End
    when: float


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A probe that arrived where no link should lead: from where, at what, when."""

    sender: End
    receiver: End
    when: float


class Links:
    """Knows every trunk that is described."""

    def __init__(self, network: Network) -> None:
        numbers = {name: switch.number for name, switch in network.switches.items()}
        self.declared = tuple(
            FabricLink(numbers[link.a[0]], link.a[1], numbers[link.b[0]], link.b[1]) for link in network.links
        )
        self._peers: dict[End, End] = {}
        self._declared_at: dict[End, FabricLink] = {}
        for link in self.declared:
            a, b = ends(link)
            self._peers[a], self._peers[b] = b, a
            self._declared_at[a] = self._declared_at[b] = link
        self._seen: dict[End, Sighting] = {}
        self._against: dict[End, Contradiction] = {}

    def heard(self, sender: End, receiver: End, now: float) -> Heard:
        """A good probe of one trunk arrived at another."""
        if self._expected(sender, receiver) and self._expected(receiver, sender):
            self._seen[sender] = Sighting(receiver, now)
            return Heard.CONFIRMED
        for end in (sender, receiver):
            self._against[end] = Contradiction(sender, receiver, now)
        return Heard.CONTRADICTED

    def _expected(self, one: End, other: End) -> bool:
        """Whether a link between the two fits what is declared at `one` or, if nothing is, what was seen there.

        What was seen stands until it has not been seen for a while: whoever can send probes on to somewhere else
        does not take a link over.
        """
        peer = self._peers.get(one)
        if peer is None and one in self._seen:
            peer = self._seen[one].at
        # A declared end is the peer of no other, and so is one that was seen: `other` is asked in turn.
        return peer is None or peer == other

    def lost(self, end: End) -> None:
        """The probes of a port no longer arrive."""
        self._seen.pop(end, None)

    def port_down(self, end: End) -> None:
        """What was known of the cable at a port holds no longer."""
        self._seen = {one: found for one, found in self._seen.items() if end not in (one, found.at)}
        for one in (end, self._peers.get(end, end)):
            self._against.pop(one, None)

    def forget_contradictions(self, before: float) -> None:
        """What was last contradicted before this time is taken back into use."""
        for end in [end for end, found in self._against.items() if found.when < before]:
            del self._against[end]

    def sighting(self, end: End) -> Sighting | None:
        """Where the probes of a port arrive."""
        return self._seen.get(end)

    def confirmed(self, link: FabricLink) -> float | None:
        """When both ends of a link were last heard at the other, by the older of the two; None if they were not."""
        a, b = ends(link)
        there, back = self._seen.get(a), self._seen.get(b)
        if there is None or back is None or there.at != b or back.at != a:
            return None
        return min(there.when, back.when)

    def contradiction(self, link: FabricLink) -> Contradiction | None:
        """The latest probe that says that a link leads elsewhere."""
        found = [self._against[end] for end in ends(link) if end in self._against]
        return max(found, key=lambda one: one.when) if found else None

    def discovered(self) -> Iterator[FabricLink]:
        """The links that nobody has declared: probes arrive in both directions, and nothing else was seen."""
        for end, sighting in self._seen.items():
            link = self._discovered_at(end) if end < sighting.at else None
            if link is not None:
                yield link

    def _discovered_at(self, end: End) -> FabricLink | None:
        """The undeclared link at an end."""
        sighting = self._seen.get(end)
        if sighting is None or end in self._peers:
            return None
        link = FabricLink(*min(end, sighting.at), *max(end, sighting.at))
        return link if self.confirmed(link) is not None else None

    def at(self, wanted: Iterable[End]) -> Iterator[FabricLink]:
        """The links at some ends, declared or discovered; one with both ends there comes twice."""
        for end in wanted:
            link = self._declared_at.get(end) or self._discovered_at(end)
            if link is not None:
                yield link

    def usable(self) -> tuple[FabricLink, ...]:
        """The links that paths may use while their ports are up, in an order of their own."""
        known = (*self.declared, *sorted(self.discovered(), key=ends))
        return tuple(link for link in known if self.contradiction(link) is None)


def ends(link: FabricLink) -> tuple[End, End]:
    """The two ends of a link."""
    return (link.a, link.a_port), (link.b, link.b_port)
