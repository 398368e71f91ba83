"""What hosts may ask of DHCP servers and be given by them, and the leases that follow.

A host speaks for itself only, within the bounds of its port. A server decides who has an address, with one exception:
what a live session holds is nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from zethane.audit.reason import DenyReason
from zethane.net.endpoint import Attachment, Endpoint
from zethane.net.mac import is_multicast
from zethane.service.dhcp_transactions import LIFETIME, Key, Transaction, Transactions
from zethane.service.leases import DECLINED, Lease, LeaseEnd
from zethane.service.state import State
from zethane.service.store import LeaseStore

Granted = Callable[[Lease], None]
"""Called with a lease that is new or longer."""

Ended = Callable[[Lease, LeaseEnd], None]
"""Called with a lease that has ended, and why."""


class Leasing:
    """Transactions under way, and what they lead to."""

    def __init__(self, state: State, store: LeaseStore, granted: Granted, ended: Ended) -> None:
        self.transactions = Transactions()
        self._state = state
        self._store = store
        self._granted = granted
        self._ended = ended

    def restore(self) -> None:
        """Take up the leases of the last run."""
        now = self._state.clock()
        for lease in self._store.leases():
            if lease.until > now:
                self._state.leases.grant(lease)
                self._count_card(lease.attachment)
            else:
                self._store.end_lease(lease.address)

    def tick(self, now: float) -> None:
        """End the leases that have run out."""
        for lease in self._state.leases.expired(now):
            self._store.end_lease(lease.address)
            self._gone(lease, LeaseEnd.EXPIRED)

    # what a host may say

    def is_a_host(self, attachment: Attachment) -> bool:
        """Whether a MAC is one that a host may have: not a group's, and not one of the network's own."""
        mac = attachment.mac
        return not is_multicast(mac) and mac != 0 and mac not in self._state.fabric.own_macs

    def has_lease(self, attachment: Attachment, address: bytes) -> bool:
        """Whether an address is leased to an attachment."""
        return self._state.leases.holder(address, self._state.clock()) == attachment

    def has(self, attachment: Attachment, address: bytes) -> bool:
        """Whether an address is leased to an attachment, or bound there."""
        live = self._state.sessions.at(attachment)
        return self.has_lease(attachment, address) or (live is not None and address in live.session.addresses)

    def may_have(self, attachment: Attachment, address: bytes) -> bool:
        """Whether an attachment may be given an address: it is no part of the network, and no session has it."""
        if address in self._state.fabric.own_addresses:
            return False
        session = self._state.sessions.by_address.get(address)
        return session is None or session.session.attachment == attachment

    def is_elsewhere(self, attachment: Attachment) -> bool:
        """Whether the same card has leases at another place, in use by a live session: that would lose them."""
        return any(
            lease.attachment != attachment and self._state.sessions.at(lease.attachment) is not None
            for lease in self._state.leases.of_card(attachment.mac)
        )

    def is_own_link_local(self, attachment: Attachment, source: bytes) -> bool:
        """Whether a host may ask from this IPv6 address: link-local (RFC 8415 §13.1), and nobody else's."""
        if not _is_link_local(source):
            return False
        session = self._state.sessions.by_address.get(source)
        if session is not None and session.session.attachment != attachment:
            return False
        return self.transactions.asker(source) in (None, attachment)

    # what a session may bind

    def may_bind(self, endpoint: Endpoint, moving_from: Attachment | None = None) -> bool:
        """Whether an address may be bound at a place: not if it is leased to another, but for who moves from there.

        At a port whose addresses come by DHCP it has to be leased to this one. Link-local addresses are not handed out.
        """
        attachment = endpoint.attachment
        holder = self._state.leases.holder(endpoint.address, self._state.clock())
        if holder is not None:
            return holder in (attachment, moving_from)
        port = self._state.fabric.points[attachment.dpid].switch.port(attachment.port)
        return not port.dhcp or _is_link_local(endpoint.address)

    def move(self, endpoint: Endpoint) -> None:
        """An address has moved with its session: what lease there is of it goes with it."""
        lease = self._state.leases.by_address.get(endpoint.address)
        if lease is not None and lease.attachment != endpoint.attachment:
            moved = replace(lease, attachment=endpoint.attachment)
            self._state.leases.grant(moved)
            self._store.save_lease(moved)
            self._count_card(endpoint.attachment)

    # transactions

    def admit(self, attachment: Attachment, key: Key, transaction: Transaction, more: int) -> DenyReason | None:
        """Enter what a host asks, within the bounds of its port; or why not.

        `more` is how many leases it may lead to that the host does not have.
        """
        now = self._state.clock()
        transactions, leases = self.transactions, self._state.leases
        macs = self._state.fabric.points[attachment.dpid].switch.port(attachment.port).macs
        under_way = transactions.find(key, now)
        if under_way is not None and under_way.attachment != attachment:
            return DenyReason.DHCP_SPOOF
        if not transactions.has_card(attachment, macs, now):
            return DenyReason.MAC_LIMIT
        if not transactions.has_room(key, attachment, macs, now):
            return DenyReason.QUOTA
        if not leases.has_room(attachment, more, key.family, macs):
            return DenyReason.QUOTA
        transactions.begin(key, replace(transaction, until=now + LIFETIME))
        self._count_card(attachment)
        return None

    def is_renewal(self, attachment: Attachment, address: bytes, client: bytes) -> bool:
        """Whether a client asks for what it has."""
        lease = self._state.leases.by_address.get(address)
        return lease is not None and (lease.attachment, lease.client) == (attachment, client)

    def _count_card(self, attachment: Attachment) -> None:
        """A card is its port's as long as it has leases, and for a minute after its last message."""
        ends = [lease.until for lease in self._state.leases.of(attachment)]
        self.transactions.use_card(attachment, max(self._state.clock() + LIFETIME, *ends, 0.0))

    # leases

    def grant(self, attachment: Attachment, address: bytes, seconds: int, client: bytes) -> None:
        """A server has given an address: it is this attachment's now, whoever had it before."""
        state = self._state
        before = state.leases.end(address)
        lease = Lease(address, attachment, state.clock() + seconds, client)
        state.leases.grant(lease)
        self._store.save_lease(lease)
        self._count_card(attachment)
        self._granted(lease)
        same = before is not None and before.attachment == attachment
        state.counters["dhcp_leases_renewed" if same else "dhcp_leases_granted"] += 1

    def take(self, attachment: Attachment, addresses: tuple[bytes, ...], why: LeaseEnd) -> None:
        """A host has given up what it has of these addresses, or a server has refused it."""
        for address in addresses:
            if self.has_lease(attachment, address):
                lease = self._state.leases.end(address)
                if lease is not None:
                    if why == LeaseEnd.DECLINED:
                        self._keep_back(lease)
                    else:
                        self._store.end_lease(address)
                    self._gone(lease, why)

    def _keep_back(self, lease: Lease) -> None:
        """Count a declined address as long as the server may keep it from everybody."""
        kept = replace(lease, until=max(lease.until, self._state.clock() + DECLINED), declined=True)
        self._state.leases.grant(kept)
        self._store.save_lease(kept)

    def _gone(self, lease: Lease, why: LeaseEnd) -> None:
        self._state.counters["dhcp_leases_ended"] += 1
        self._count_card(lease.attachment)
        if not lease.declined:
            self._ended(lease, why)


def _is_link_local(address: bytes) -> bool:
    """Whether an address is of fe80::/10 (RFC 4291 §2.5.6)."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80
