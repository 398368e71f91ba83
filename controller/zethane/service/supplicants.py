"""The hosts that are being authenticated below IP: one state for each port, VLAN and MAC, within bounds."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from zethane.net.endpoint import Attachment
from zethane.service.eap_exchange import Exchange

T = TypeVar("T")

MAX_SUPPLICANTS = 16_384
"""States at once, of all ports."""

SPARE = 8
"""States of a port besides one for each card that it may have: cards that were refused, or say nothing."""

MAX_SEEN = 4
"""Addresses of a host that are remembered until it has a session."""


@dataclass(slots=True, eq=False)
class Supplicant:
    """A host that authenticates, or is asked to.

    `session_id` is the Acct-Session-Id of the session that may come of it; `seen` are the addresses that it has used.
    """

    attachment: Attachment
    exchange: Exchange
    session_id: str
    seen: list[bytes] = field(default_factory=list)
    queued: float | None = None

    def uses(self, address: bytes) -> None:
        """Remember an address that it speaks for; it is checked when there is a session to bind it to."""
        if address not in self.seen and any(address):
            self.seen = [*self.seen, address][-MAX_SEEN:]


class SupplicantTable:
    """All states, by attachment, by port and by MAC, and when each has something to do."""

    def __init__(self) -> None:
        self.by_attachment: dict[Attachment, Supplicant] = {}
        self._by_port: dict[tuple[int, int], set[Attachment]] = defaultdict(set)
        self._by_mac: dict[int, set[Attachment]] = defaultdict(set)
        self._due: list[tuple[float, int, Attachment]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self.by_attachment)

    def has_room(self, attachment: Attachment, macs: int) -> bool:
        """Whether one more fits, at a port that may have so many cards."""
        port = self._by_port.get((attachment.dpid, attachment.port), ())
        return len(self.by_attachment) < MAX_SUPPLICANTS and len(port) < macs + SPARE

    def is_elsewhere(self, attachment: Attachment) -> bool:
        """Whether the same MAC authenticates at another place."""
        return bool(self._by_mac.get(attachment.mac, set()) - {attachment})

    def add(self, supplicant: Supplicant) -> None:
        """Enter one, in the place of what was there."""
        attachment = supplicant.attachment
        self.by_attachment[attachment] = supplicant
        self._by_port[attachment.dpid, attachment.port].add(attachment)
        self._by_mac[attachment.mac].add(attachment)

    def remove(self, attachment: Attachment) -> None:
        """Forget one."""
        if self.by_attachment.pop(attachment, None) is None:
            return
        _discard(self._by_port, (attachment.dpid, attachment.port), attachment)
        _discard(self._by_mac, attachment.mac, attachment)

    def port_gone(self, dpid: int, port: int) -> None:
        """Forget all of a port."""
        for attachment in tuple(self._by_port.get((dpid, port), ())):
            self.remove(attachment)

    def schedule(self, supplicant: Supplicant) -> None:
        """Its exchange has another `due`: look at it then, or before."""
        due = supplicant.exchange.due
        if supplicant.queued is None or due < supplicant.queued:
            supplicant.queued = due
            heapq.heappush(self._due, (due, next(self._order), supplicant.attachment))

    def due(self, now: float) -> Iterator[Supplicant]:
        """Those that have something to do; each is to be scheduled again, or removed."""
        while self._due and self._due[0][0] <= now:
            moment, _, attachment = heapq.heappop(self._due)
            supplicant = self.by_attachment.get(attachment)
            if supplicant is None or supplicant.queued != moment:
                continue
            supplicant.queued = None
            if supplicant.exchange.due <= now:
                yield supplicant
            else:
                self.schedule(supplicant)


def _discard(index: dict[T, set[Attachment]], key: T, attachment: Attachment) -> None:
    places = index[key]
    places.discard(attachment)
    if not places:
        del index[key]
