"""Leases: which address the trusted servers have given to which attachment, and until when.

They are learned from the servers' answers and from nothing else. Everything here is bounded: a host can make the table
no larger than its port may have leases.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from zethane.net.endpoint import Attachment

T = TypeVar("T")

MAX_LEASES = 65_536
"""Leases at once, of all hosts."""

DECLINED = 600.0
"""Seconds that a server keeps an address back which a host has declined, at least."""

MAX_PER_HOST = 4
"""Leases of one attachment in one address family: more than one system on a card, or temporary addresses."""

MAX_PER_CARD = 8
"""Leases of one port, for each card that it may have, both families together; of cards that went as well."""


class LeaseEnd(str, Enum):
    """Why a lease is over. The value is the word in the log."""

    EXPIRED = "expired"
    RELEASED = "released"
    DECLINED = "declined"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Lease:
    """A packed address, given to an attachment until a moment in seconds since the epoch.

    `client` is who the server knows it by there: the client identifier, or DUID and IAID.
    `declined`: the host has said that the address is in use, and the server keeps it from everybody for a while. Nobody
    has it, but it counts: a host cannot use up a server's addresses by declining them (RFC 2131 §3.1 step 5).
    """

    address: bytes
    attachment: Attachment
    until: float
    client: bytes = b""
    declined: bool = False


class LeaseTable:
    """All leases that have not run out, by address, by attachment, card and port."""

    def __init__(self) -> None:
        self.by_address: dict[bytes, Lease] = {}
        self._by_attachment: dict[Attachment, set[bytes]] = defaultdict(set)
        self._by_card: dict[int, set[bytes]] = defaultdict(set)
        self._by_port: dict[tuple[int, int], set[bytes]] = defaultdict(set)
        self._ends: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self.by_address)

    def holder(self, address: bytes, now: float) -> Attachment | None:
        """Who has the address; None if nobody has."""
        lease = self.by_address.get(address)
        if lease is None or lease.declined or lease.until <= now:
            return None
        return lease.attachment

    def until(self, address: bytes, attachment: Attachment) -> float | None:
        """When the attachment's lease of an address ends; None if it has none."""
        lease = self.by_address.get(address)
        return lease.until if lease is not None and lease.attachment == attachment and not lease.declined else None

    def of(self, attachment: Attachment) -> list[Lease]:
        """The leases of an attachment."""
        return [self.by_address[address] for address in sorted(self._by_attachment.get(attachment, ()))]

    def of_card(self, mac: int) -> list[Lease]:
        """The leases of a card, wherever it is."""
        return [self.by_address[address] for address in sorted(self._by_card.get(mac, ()))]

    def has_room(self, attachment: Attachment, more: int, family: int, macs: int) -> bool:
        """Whether an attachment may have so many more leases of a family (length of an address).

        `macs` is how many cards its port may have.
        """
        own = sum(len(address) == family for address in self._by_attachment.get(attachment, ()))
        port = len(self._by_port.get((attachment.dpid, attachment.port), ()))
        return not more or (
            len(self.by_address) + more <= MAX_LEASES
            and own + more <= MAX_PER_HOST
            and port + more <= MAX_PER_CARD * macs
        )

    def grant(self, lease: Lease) -> None:
        """Enter a lease, or what has become of one: longer, or somebody else's."""
        self.end(lease.address)
        self.by_address[lease.address] = lease
        self._by_attachment[lease.attachment].add(lease.address)
        self._by_card[lease.attachment.mac].add(lease.address)
        self._by_port[lease.attachment.dpid, lease.attachment.port].add(lease.address)
        heapq.heappush(self._ends, (lease.until, lease.address))
        if len(self._ends) > 2 * len(self.by_address) + 64:  # renewals leave their old ends behind
            self._ends = [(known.until, known.address) for known in self.by_address.values()]
            heapq.heapify(self._ends)

    def end(self, address: bytes) -> Lease | None:
        """Forget a lease; what it was."""
        lease = self.by_address.pop(address, None)
        if lease is not None:
            place = (lease.attachment.dpid, lease.attachment.port)
            _discard(self._by_attachment, lease.attachment, address)
            _discard(self._by_card, lease.attachment.mac, address)
            _discard(self._by_port, place, address)
        return lease

    def expired(self, now: float) -> Iterator[Lease]:
        """Take out the leases whose end has come."""
        while self._ends and self._ends[0][0] <= now:
            until, address = heapq.heappop(self._ends)
            lease = self.by_address.get(address)
            if lease is not None and lease.until <= until:
                self.end(address)
                yield lease


def _discard(index: dict[T, set[bytes]], key: T, address: bytes) -> None:
    found = index.get(key)
    if found is not None:
        found.discard(address)
        if not found:
            del index[key]
