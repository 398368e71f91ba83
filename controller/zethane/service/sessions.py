"""The live sessions: found by number, by address and by attachment, and ended in time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol, TypeVar

from zethane.errors import AddressInUse, CapacityError, SessionError
from zethane.identity.session import MAX_ADDRESSES, Attachment, Endpoint, Session
from zethane.native import native
from zethane.pipeline.bindings import MAX_LEASE, Binding
from zethane.policy.principal import Party
from zethane.service.moments import Moments

MAX_SESSIONS = 200_000
"""Sessions at once."""

LOOKS = 4
"""How often a session is asked about in the time for which it may be silent."""

RENEWED_WITHIN = MAX_LEASE / 4
"""Seconds over which leases that began together are renewed, one after the other: until half of each is left."""

LEAD = 2.0
"""Seconds by which a session is looked at before something of it ends that leaves the rest. Leases are cut to whole
seconds: by then the switches have the lease of what is left, and nothing of that is interrupted."""


_Key = TypeVar("_Key")


class FlowLimits(Protocol):
    """How many live flows may be opened by whom."""

    @property
    def flows_per_session(self) -> int: ...
    @property
    def flows_per_uplink(self) -> int: ...
    @property
    def flows_per_external_address(self) -> int: ...


@dataclass(slots=True, eq=False)
class Watched:
    """Counts the live flows that a session is the subject of. The compiled one also tells the hot path at once when
    what that keeps of the session is void."""

    opened: int = field(default=0, init=False)


PureWatched = Watched
if not TYPE_CHECKING and (compiled := native("zethane.service.watched")) is not None:
    Watched = compiled.Watched


@dataclass(slots=True, eq=False)
class Live(Watched):
    """A live session with what the hot path needs to know of it.

    `switch` and `session_class` are numbers; `opened` counts the live flows that it is the subject of, `turns` are
    the moments at which it has taken an address of late, `wanted` what it was denied for want of a proof (rule,
    service, destination), when, and from which address; the newest last (`service.wanting`).

    `by_address` are its classes by its addresses where the policy asks for networks, and empty elsewhere; it is
    replaced as a whole, so that whoever watches the session sees it. `classed` are those under which enforcement
    counts it, `stood` the moment as of which it was placed.

    `until` is the moment at which its class may be another one by time alone, `leased` the end of the leases that its
    bindings have. `heard` is when the session's host was last known to have sent, `counted` the packets of it by then.
    `entered` says that it is in the table.
    """

    session: Session
    session_class: int
    switch: int
    mac: bytes
    turns: list[float] = field(default_factory=list)
    wanted: dict[tuple[str, str, bytes], tuple[float, bytes]] = field(default_factory=dict)
    until: float = math.inf
    leased: float = 0.0
    by_address: Mapping[bytes, int] = field(default_factory=dict)
    classed: frozenset[int] = frozenset()
    stood: float = -math.inf
    heard: float = 0.0
    counted: int = 0
    entered: bool = False

    @property
    def ends(self) -> float:
        """The moment after which nothing may pass with what the session is now."""
        return min(self.session.ends, self.until)

    @property
    def due(self) -> float:
        """When it has to be looked at: at its end, and somewhat before what ends only a part of it."""
        ends, proofs = self.session.ends, self.session.proofs
        if len(proofs) > 1 and any(proof.ends > ends for proof in proofs):
            ends -= LEAD
        return min(ends, self.until - LEAD)

    @property
    def renews(self) -> float:
        """When its lease has to be renewed: never, if it goes on until the end. Sessions of which the leases began
        together, as after a start, have moments of their own (multiplicative hashing; Knuth, vol. 3, 6.4)."""
        if self.leased >= self.ends:
            return math.inf
        share = (self.session.number * 0x9E3779B1 & 0xFFFFFFFF) / 2**32
        return self.leased - MAX_LEASE / 2 - share * RENEWED_WITHIN

    @property
    def binding(self) -> Binding:
        """What the switches need to know."""
        session = self.session
        return Binding(session.number, self.switch, session.attachment, session.addresses, self.session_class)

    def holds(self, address: bytes) -> bool:
        """Whether the address is one of the session's."""
        return address in self.session.addresses

    def class_at(self, address: bytes) -> int:
        """The class of the session at one of its addresses."""
        return self.by_address.get(address, self.session_class) if self.by_address else self.session_class

    @property
    def held(self) -> frozenset[int]:
        """Every class that it has at some address."""
        return frozenset(self.by_address.values()) or frozenset((self.session_class,))

    def stand(self, session_class: int, by_address: Mapping[bytes, int], moment: float) -> bool:
        """Place the session elsewhere, as of a moment; whether that is another place."""
        before = self.session_class, self.by_address
        self.session_class, self.by_address, self.stood = session_class, by_address, moment
        return before != (session_class, by_address)

    def party_at(self, address: bytes) -> Session:  # noqa: ARG002
        """Who a record names for this address."""
        return self.session

    def principal_at(self, address: bytes) -> Party:
        """Who policy decides about for a flow with this address."""
        return replace(self.session.principal, address=ip_address(address))

    def has_room(self, address: bytes, limits: FlowLimits) -> bool:  # noqa: ARG002
        """Whether the session may open one more flow."""
        return self.opened < limits.flows_per_session

    def opens(self, address: bytes) -> None:  # noqa: ARG002
        """The session has opened a flow from one of its addresses."""
        self.opened += 1

    def closes(self, address: bytes, flows: int = 1) -> None:  # noqa: ARG002
        """So many of them have ended."""
        self.opened -= flows


class SessionTable:
    """All live sessions. One per attachment; an address belongs to one session at the most."""

    def __init__(self) -> None:
        self.by_number: dict[int, Live] = {}
        self.by_address: dict[bytes, Live] = {}
        self._by_attachment: dict[Attachment, Live] = {}
        self._by_port: dict[tuple[int, int], dict[int, Live]] = defaultdict(dict)
        self._by_mac: dict[int, dict[int, Live]] = defaultdict(dict)
        self._by_segment: dict[str, dict[int, Live]] = defaultdict(dict)
        self._by_name: dict[str, dict[int, Live]] = defaultdict(dict)
        self._by_issuer: dict[str, dict[int, Live]] = defaultdict(dict)
        self._due = Moments()
        self._renewing = Moments()
        self._hearing = Moments()

    def __len__(self) -> int:
        return len(self.by_number)

    def __iter__(self) -> Iterator[Live]:
        return iter(tuple(self.by_number.values()))

    def at(self, attachment: Attachment) -> Live | None:
        """The session at this port, VLAN and MAC."""
        return self._by_attachment.get(attachment)

    def on_port(self, dpid: int, port: int) -> list[Live]:
        """The sessions of a port."""
        return list(self._by_port.get((dpid, port), {}).values())

    def number_on_port(self, dpid: int, port: int) -> int:
        """How many sessions a port has."""
        return len(self._by_port.get((dpid, port), ()))

    def of_mac(self, mac: int) -> list[Live]:
        """The sessions of a card, wherever they are."""
        return list(self._by_mac.get(mac, {}).values())

    def in_segments(self, segments: Iterable[str]) -> list[Live]:
        """The sessions of some segments."""
        return [live for name in segments for live in self._by_segment.get(name, {}).values()]

    def named(self, name: str) -> list[Live]:
        """The sessions with a proof of this name, or this account, and those on this device (`device:NAME`)."""
        return list(self._by_name.get(name, {}).values())

    def vouched_by(self, issuer: str) -> list[Live]:
        """The sessions with a proof of this issuer."""
        return list(self._by_issuer.get(issuer, {}).values())

    def check_address(self, endpoint: Endpoint) -> None:
        """Raise AddressInUse if a session elsewhere holds the address."""
        holder = self.by_address.get(endpoint.address)
        if holder is not None and holder.session.attachment != endpoint.attachment:
            raise AddressInUse("another session holds this address")

    def add(self, live: Live) -> None:
        """Enter a new session. Raises AddressInUse, SessionError, CapacityError; nothing is changed then."""
        session = live.session
        if len(self.by_number) >= MAX_SESSIONS:
            raise CapacityError("too many sessions")
        if session.number in self.by_number or session.attachment in self._by_attachment:
            raise SessionError("there is a session already")
        if any(address in self.by_address for address in session.addresses):
            raise AddressInUse("another session holds this address")
        self.by_number[session.number] = live
        live.entered = True
        self._by_attachment[session.attachment] = live
        self._by_port[_port(session)][session.number] = live
        self._by_mac[session.attachment.mac][session.number] = live
        self._by_segment[session.segment][session.number] = live
        for name in _names(session):
            self._by_name[name][session.number] = live
        for issuer in _issuers(session):
            self._by_issuer[issuer][session.number] = live
        for address in session.addresses:
            self.by_address[address] = live
        self._plan(live)
        self.listen(live, live.heard)

    def add_address(self, live: Live, address: bytes) -> None:
        """Give a session one more address. Raises AddressInUse, CapacityError."""
        holder = self.by_address.get(address)
        if holder is live:
            return
        if holder is not None:
            raise AddressInUse("another session holds this address")
        if len(live.session.addresses) >= MAX_ADDRESSES:
            raise CapacityError(f"a session holds {MAX_ADDRESSES} addresses at the most")
        live.session = replace(live.session, addresses=(*live.session.addresses, address))
        self.by_address[address] = live

    def remove_address(self, live: Live, address: bytes) -> None:
        """Take an address from a session that has others."""
        session = live.session
        addresses = tuple(held for held in session.addresses if held != address)
        taken = tuple(held for held in session.taken if held != address)
        live.session = replace(session, addresses=addresses, taken=taken)
        del self.by_address[address]

    def change(self, live: Live, session: Session, until: float) -> None:
        """Put renewed times, methods or attributes in force; number, attachment and addresses stay."""
        if live.entered:
            self._move(live, session)
        live.session = session
        live.until = until
        self._plan(live)
        self._plan_renewal(live)
        self.listen(live, live.heard)

    def lease(self, live: Live, now: float) -> None:
        """The session's bindings are leased anew: until its end, or for as long as can be said."""
        live.leased = min(live.ends, now + MAX_LEASE)
        self._plan_renewal(live)

    def _plan(self, live: Live) -> None:
        """See to it that the session is looked at in time. One that is due later is asked again then."""
        self._due.plan(live.session.number, live.due)

    def _plan_renewal(self, live: Live) -> None:
        """See to it that the lease is looked at in time. One that is renewed later is looked at again then."""
        if live.entered:
            self._renewing.plan(live.session.number, live.renews)

    def listen(self, live: Live, now: float) -> None:
        """See to it that the session is asked about in a while, if it may not be silent for ever."""
        idle = live.session.idle
        self._hearing.plan(live.session.number, max(now, live.heard) + max(idle / LOOKS, 1.0))

    def to_hear(self, now: float) -> Live | None:
        """A session whose switch has to be asked whether its host is silent; None if none is due."""
        return next(self._of(self._hearing, now), None)

    def to_renew(self, now: float) -> Live | None:
        """A session whose lease has to be renewed; None if there is none now."""
        for live in self._of(self._renewing, now):
            if live.renews <= now:
                return live
            self._plan_renewal(live)
        return None

    def due(self, now: float) -> Iterator[Live]:
        """The sessions that have to be looked at, one by one: they have to be changed or removed."""
        for live in self._of(self._due, now):
            if live.due <= now:
                yield live
            else:
                self._plan(live)

    def _of(self, moments: Moments, now: float) -> Iterator[Live]:
        """The sessions whose moments have come."""
        while (number := moments.take(now)) is not None:
            live = self.by_number.get(number)
            if live is not None:
                yield live

    def remove(self, live: Live) -> None:
        """Forget a session."""
        del self.by_number[live.session.number]
        live.entered = False
        for moments in (self._due, self._renewing, self._hearing):
            moments.forget(live.session.number)
        del self._by_attachment[live.session.attachment]
        _leave(self._by_port, _port(live.session), live)
        _leave(self._by_mac, live.session.attachment.mac, live)
        _leave(self._by_segment, live.session.segment, live)
        for name in _names(live.session):
            _leave(self._by_name, name, live)
        for issuer in _issuers(live.session):
            _leave(self._by_issuer, issuer, live)
        for address in live.session.addresses:
            del self.by_address[address]

    def _move(self, live: Live, session: Session) -> None:
        """Have a session found by what it becomes, and no more by what it was."""
        if session.segment != live.session.segment:
            _leave(self._by_segment, live.session.segment, live)
            self._by_segment[session.segment][session.number] = live
        for index, keys in ((self._by_name, _names), (self._by_issuer, _issuers)):
            before, after = keys(live.session), keys(session)
            for key in before - after:
                _leave(index, key, live)
            for key in after - before:
                index[key][session.number] = live


def _names(session: Session) -> set[str]:
    """What the session is found by: everything that its proofs are called, and its device."""
    names = {name for proof in session.proofs for name in (proof.name, proof.account)}
    if session.device is not None:
        names.add(f"device:{session.device}")
    return names


def _issuers(session: Session) -> set[str]:
    """Who outside vouches for anybody in the session."""
    return {proof.issuer for proof in session.proofs if proof.issuer}


def _leave(index: dict[_Key, dict[int, Live]], key: _Key, live: Live) -> None:
    """Have a session not be found by this any more."""
    found = index[key]
    del found[live.session.number]
    if not found:
        del index[key]


def _port(session: Session) -> tuple[int, int]:
    return session.attachment.dpid, session.attachment.port
