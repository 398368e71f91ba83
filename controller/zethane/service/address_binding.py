"""Addresses that a session takes by using them: first come, first served (RFC 6620).

IPv6 hosts have several addresses and change them. A session that probes for an address, or asks from one, gets it
bound if nobody holds it and it lies in the site, in the same tables as the one that it logged in from. Before a login
nothing is bound. An IPv4 address is taken by sessions that began below IP, and had none: others have claimed theirs at
the portal.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from zethane.audit.reason import DenyReason, SessionEvent
from zethane.errors import CapacityError
from zethane.identity.session import MAX_ADDRESSES, Session
from zethane.net.endpoint import Attachment
from zethane.net.nd import UNSPECIFIED, is_link_local
from zethane.service.enforcement import Enforcement
from zethane.service.journal import Denied
from zethane.service.leases import Lease
from zethane.service.leasing import Leasing
from zethane.service.routers import Routers
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.store import SessionStore

PERIOD = 60.0
"""Seconds in which a session may take as many addresses as it may hold, and no more: each is written to the store and
to the switches. Temporary addresses change once a day (RFC 8981 §3.8)."""


MAX_IPV4 = 2
"""IPv4 addresses that a session may have taken: a leased and a set one, or an old and a new one."""

_IPV4_LENGTH = 4


class AddressBinding:
    """Binds and releases the addresses that live sessions take."""

    def __init__(
        self, state: State, store: SessionStore, enforcement: Enforcement, routers: Routers, leasing: Leasing
    ) -> None:
        self._state = state
        self._store = store
        self._enforcement = enforcement
        self._routers = routers
        self._leasing = leasing

    def is_fixed(self, address: bytes) -> bool:
        """Whether the address is of what does not log in: portal, servers, routers."""
        return address in self._state.fabric.own_addresses or address in self._routers.addresses

    def may_take(self, live: Live, address: bytes) -> bool:
        """Whether such an address is had by using it: of IPv6 always, of IPv4 by sessions that began without one."""
        return len(address) != _IPV4_LENGTH or live.session.is_below_ip

    def use(self, attachment: Attachment, address: bytes) -> None:
        """A host uses an address: bind it to its session, if that may have it."""
        live = self._state.sessions.at(attachment)
        if live is None or not self.may_take(live, address):
            return
        refusal = self.take(live, address)
        if refusal is not None:
            self._refused(live, refusal)

    def lease_granted(self, lease: Lease) -> None:
        """A server has given an address to a host, which is going to use it."""
        live = self._state.sessions.at(lease.attachment)
        if live is not None and live.session.is_below_ip:
            self.use(lease.attachment, lease.address)

    def with_leases(self, session: Session) -> Session:
        """A session that has just begun, with what its host has leased before."""
        if session.is_below_ip:
            for lease in self._state.leases.of(session.attachment):
                if not lease.declined:
                    self.use(session.attachment, lease.address)
        live = self._state.sessions.at(session.attachment)
        return live.session if live is not None else session

    def _refused(self, live: Live, why: DenyReason) -> None:
        place = live.session.attachment
        switch = self._state.fabric.points[place.dpid].switch.name
        self._state.deny(Denied(why, switch, place.port, None, live.mac, live.session, None))

    def take(self, live: Live, address: bytes) -> DenyReason | None:
        """Bind an address to a session; the reason if it may not have it."""
        held = live.session.addresses
        if address in held:
            return None
        leased_to = self._state.leases.holder(address, self._state.clock())
        if address in self._state.sessions.by_address or self.is_fixed(address):
            return DenyReason.ADDRESS_IN_USE
        if leased_to not in (None, live.session.attachment):
            return DenyReason.ADDRESS_IN_USE
        if not self._is_allowed(live, address):
            return DenyReason.ADDRESS_NOT_ALLOWED
        full = self._is_full(live, address)
        leaving = self._idle(live, len(address) if len(held) < MAX_ADDRESSES else None) if full else None
        if (full and leaving is None) or not self._has_turn(live):
            return DenyReason.QUOTA
        return self._exchange(live, address, leaving)

    @staticmethod
    def _is_full(live: Live, address: bytes) -> bool:
        """Whether one has to go for this one to come."""
        held = live.session.addresses
        of_ipv4 = sum(len(known) == _IPV4_LENGTH for known in held)
        return len(held) >= MAX_ADDRESSES or (len(address) == _IPV4_LENGTH and of_ipv4 >= MAX_IPV4)

    def make_room(self, live: Live) -> None:
        """Release an address if the session is full and one is idle: what is claimed comes before what was taken."""
        leaving = self._idle(live) if len(live.session.addresses) >= MAX_ADDRESSES else None
        if leaving is not None:
            self._release(live, leaving)

    def _is_allowed(self, live: Live, address: bytes) -> bool:
        """Whether it is a host's address in a prefix of the site that its port allows."""
        if len(address) == _IPV4_LENGTH:
            return self._is_allowed_ipv4(live.session.attachment, address)
        if len(address) != len(UNSPECIFIED) or not any(address[8:]):
            return False  # all zeros behind the prefix: the routers' anycast address (RFC 4291 §2.6.1)
        attachment = live.session.attachment
        if self._state.fabric.is_outside(address):
            return False  # whoever leases it: what lies behind an uplink is no session's
        if is_link_local(address) or self._leasing.has_lease(attachment, address):
            return True
        ip = IPv6Address(address)
        port = self._state.fabric.points[attachment.dpid].switch.port(attachment.port)
        if port.dhcp:
            return False
        prefixes = self._state.fabric.ipv6_prefixes | self._routers.prefixes if port.prefixes is None else port.prefixes
        return not ip.is_multicast and any(ip in prefix for prefix in prefixes)

    def _is_allowed_ipv4(self, attachment: Attachment, address: bytes) -> bool:
        ip = IPv4Address(address)
        if ip.is_multicast or ip.is_reserved or ip.is_loopback or ip.is_unspecified or ip.is_link_local:
            return False
        if self._state.fabric.is_outside(address):
            return False
        if self._leasing.has_lease(attachment, address):
            return True
        port = self._state.fabric.points[attachment.dpid].switch.port(attachment.port)
        if port.dhcp:
            return False
        subnets = [subnet for subnet in self._state.fabric.ipv4_prefixes if ip in subnet and subnet.prefixlen < 31]
        if any(ip in (subnet.network_address, subnet.broadcast_address) for subnet in subnets):
            return False
        prefixes = self._state.fabric.ipv4_prefixes if port.prefixes is None else port.prefixes
        return any(ip in prefix for prefix in prefixes)

    def _idle(self, live: Live, length: int | None = None) -> bytes | None:
        """The address (of this length, if it matters) that was taken longest ago and has no live flow."""
        flows = self._state.flows.of_session(live.session.number)
        busy = {address for flow in flows for address in (flow.key.src, flow.key.dst)}
        taken = (address for address in live.session.taken if length in (None, len(address)))
        return next((address for address in taken if address not in busy), None)

    def _has_turn(self, live: Live) -> bool:
        """Whether the session has not taken more than its share of late."""
        now = self._state.clock()
        live.turns = [moment for moment in live.turns if now - moment < PERIOD]
        if len(live.turns) >= MAX_ADDRESSES:
            return False
        live.turns.append(now)
        return True

    def give_way(self) -> None:
        """Take the addresses of routers back from sessions: who routes is declared, not first come, first served."""
        for address in self._routers.addresses:
            holder = self._state.sessions.by_address.get(address)
            if holder is not None:
                self._release(holder, address)
                self._store.save(holder.session)

    def _exchange(self, live: Live, address: bytes, leaving: bytes | None) -> DenyReason | None:
        """Bind one address, and release another for it; the store first, so that nothing is bound and forgotten."""
        session = live.session
        changed = replace(
            session,
            addresses=(*(held for held in session.addresses if held != leaving), address),
            taken=(*(held for held in session.taken if held != leaving), address),
        )
        try:
            self._store.save(changed)
        except CapacityError:
            return DenyReason.TABLE_FULL
        if leaving is not None:
            self._release(live, leaving)
        self._state.sessions.add_address(live, address)
        live.session = changed
        self._enforcement.session_changed(live)
        self._state.counters["addresses_bound"] += 1
        self._state.journal.session(SessionEvent.ADDRESS_BOUND, changed, "", self._state.clock())
        return None

    def _release(self, live: Live, address: bytes) -> None:
        self._enforcement.address_released(live, address)
        self._state.sessions.remove_address(live, address)
        self._state.counters["addresses_released"] += 1
        self._state.journal.session(SessionEvent.ADDRESS_RELEASED, live.session, "", self._state.clock())
