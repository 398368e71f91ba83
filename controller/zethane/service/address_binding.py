"""Addresses that a session takes by using them: first come, first served (RFC 6620).

IPv6 hosts have several addresses and change them. A session that probes for an address, or asks from one, gets it
bound if nobody holds it and it lies in the site, in the same tables as the one that it logged in from. Before a login
nothing is bound, and IPv4 addresses never are: those are claimed at the portal or leased.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

from zethane.audit.reason import DenyReason, SessionEvent
from zethane.errors import CapacityError
from zethane.identity.session import MAX_ADDRESSES
from zethane.net.nd import UNSPECIFIED, is_link_local
from zethane.service.enforcement import Enforcement
from zethane.service.leasing import Leasing
from zethane.service.routers import Routers
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.store import SessionStore

PERIOD = 60.0
"""Seconds in which a session may take as many addresses as it may hold, and no more: each is written to the store and
to the switches. Temporary addresses change once a day (RFC 8981 §3.8)."""


class AddressBinding:
    """Binds and releases the IPv6 addresses of live sessions."""

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

    def take(self, live: Live, address: bytes) -> DenyReason | None:
        """Bind an IPv6 address to a session; the reason if it may not have it."""
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
        leaving = self._idle(live) if len(held) >= MAX_ADDRESSES else None
        if (len(held) >= MAX_ADDRESSES and leaving is None) or not self._has_turn(live):
            return DenyReason.QUOTA
        return self._exchange(live, address, leaving)

    def make_room(self, live: Live) -> None:
        """Release an address if the session is full and one is idle: what is claimed comes before what was taken."""
        leaving = self._idle(live) if len(live.session.addresses) >= MAX_ADDRESSES else None
        if leaving is not None:
            self._release(live, leaving)

    def _is_allowed(self, live: Live, address: bytes) -> bool:
        """Whether it is a host's address in a prefix of the site that its port allows."""
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

    def _idle(self, live: Live) -> bytes | None:
        """The address that was taken longest ago and has no live flow."""
        flows = self._state.flows.of_session(live.session.number)
        busy = {address for flow in flows for address in (flow.key.src, flow.key.dst)}
        return next((address for address in live.session.taken if address not in busy), None)

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
