"""DHCP transactions under way: which host a server's answer belongs to, and which cards a port has used DHCP with.

An answer goes to the host that has asked for it: the same transaction id and the same client, within a minute.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from zethane.net.endpoint import Attachment

LIFETIME = 60.0
"""Seconds after a host's last message in which an answer is taken."""

MAX_TRANSACTIONS = 16_384
"""Transactions at once, of all hosts."""

MAX_PER_CARD = 8
"""Transactions of one port, for each card that it may have: a client has one, two with IPv6, and some start again."""


class Key(NamedTuple):
    """What a server repeats: the family (length of an address), the transaction id, and the client (MAC or DUID)."""

    family: int
    xid: int
    client: bytes


@dataclass(frozen=True, slots=True)
class Transaction:
    """Who asked, and what about.

    `source` is the packed link-local address in IPv6; `wanted` are the addresses named, `client` is the client's
    identifier; `asks`: addresses may be given on it.
    """

    attachment: Attachment
    source: bytes
    wanted: tuple[bytes, ...]
    client: bytes
    asks: bool
    until: float = 0.0


class Transactions:
    """All of them, oldest first."""

    def __init__(self) -> None:
        self._by_key: OrderedDict[Key, Transaction] = OrderedDict()
        self._by_port: dict[tuple[int, int], set[Key]] = defaultdict(set)
        self._by_source: dict[bytes, Attachment] = {}
        self._cards: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, key: Key, now: float) -> Transaction | None:
        """The transaction that is not too old."""
        found = self._by_key.get(key)
        return found if found is not None and found.until > now else None

    def asker(self, source: bytes) -> Attachment | None:
        """Who has asked from this link-local address not long ago."""
        return self._by_source.get(source)

    def has_room(self, key: Key, attachment: Attachment, macs: int, now: float) -> bool:
        """Whether one more fits; one that is under way fits always."""
        self._expire(now)
        if key in self._by_key:
            return True
        mine = self._by_port.get((attachment.dpid, attachment.port), ())
        return len(self._by_key) < MAX_TRANSACTIONS and len(mine) < MAX_PER_CARD * macs

    def has_card(self, attachment: Attachment, macs: int, now: float) -> bool:
        """Whether the card is one that its port uses DHCP with, or one more may be."""
        cards = self._cards.get((attachment.dpid, attachment.port), {})
        for mac in [mac for mac, until in cards.items() if until <= now]:
            del cards[mac]
        return attachment.mac in cards or len(cards) < macs

    def use_card(self, attachment: Attachment, until: float) -> None:
        """Count a card on its port until then."""
        self._cards[attachment.dpid, attachment.port][attachment.mac] = until

    def begin(self, key: Key, transaction: Transaction) -> None:
        """Enter a transaction, or that it goes on."""
        self._remove(key)
        self._by_key[key] = transaction
        self._by_port[transaction.attachment.dpid, transaction.attachment.port].add(key)
        if transaction.source:
            self._by_source[transaction.source] = transaction.attachment

    def port_gone(self, dpid: int, port: int) -> None:
        """What was at the port is not there any more."""
        for key in tuple(self._by_port.get((dpid, port), ())):
            self._remove(key)
        self._cards.pop((dpid, port), None)

    def _expire(self, now: float) -> None:
        while self._by_key:
            key, oldest = next(iter(self._by_key.items()))
            if oldest.until > now:
                return
            self._remove(key)

    def _remove(self, key: Key) -> None:
        transaction = self._by_key.pop(key, None)
        if transaction is None:
            return
        place = (transaction.attachment.dpid, transaction.attachment.port)
        keys = self._by_port[place]
        keys.discard(key)
        if not keys:
            del self._by_port[place]
        if self._by_source.get(transaction.source) == transaction.attachment:
            del self._by_source[transaction.source]
