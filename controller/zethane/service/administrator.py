"""The policy administrator: turns events into sessions, flows and changes on the switches.

It implements `SwitchEvents`. Every method runs on the event loop and finishes at once, so that a revocation and
a decision cannot race; what has to wait for a switch is a task that the caller starts.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from zethane.audit.reason import DenyReason, SessionEvent
from zethane.errors import AddressInUse, PortRefusal, SessionError
from zethane.identity.proof import Proof, acting, proofs_with
from zethane.identity.session import Attachment, Endpoint, Session
from zethane.pipeline.bindings import MAX_LEASE
from zethane.pipeline.fields import PORTAL_NUMBER, Reason, split_cookie
from zethane.policy.model import Policy
from zethane.policy.principal import Principal
from zethane.service.accounting import Accounting
from zethane.service.address_binding import AddressBinding
from zethane.service.attestation import Attestation
from zethane.service.denials import SAMPLED, denied
from zethane.service.dhcp_relay import DhcpRelay
from zethane.service.discovery import Discovery
from zethane.service.enforcement import Enforcement
from zethane.service.journal import Denied
from zethane.service.leases import Lease, LeaseEnd
from zethane.service.leasing import Leasing
from zethane.service.neighbours import Neighbours
from zethane.service.points import Point
from zethane.service.policy_in_force import Numbers, PolicyInForce
from zethane.service.port_security import check_address, check_room, check_vlan, place_of, usable_place, usable_point
from zethane.service.portal_access import PortalAccess
from zethane.service.routers import Routers
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.store import Store
from zethane.service.switch import FlowRemoved, PacketIn, PortState, SwitchChannel
from zethane.service.verification import Verifier

LEASE_INTERVAL = 60.0
"""Seconds between looks for leases to renew: far less than half of MAX_LEASE."""

MAX_PORTS = 1024
"""Ports of a switch that are used; each has its entries and meters. What is at others cannot send anything."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Administrator:
    """Owns the state."""

    def __init__(self, state: State, store: Store, numbers: Numbers, spawn: Spawn) -> None:
        self.state = state
        self.portal_access = PortalAccess(state)
        self.enforcement = Enforcement(state, self.portal_access)
        self.accounting = Accounting(state)
        self.attestation = Attestation(state, self.enforcement, self.portal_access)
        self.discovery = Discovery(state, self.enforcement.links_changed)
        self._verifier = Verifier(state)
        self.leasing = Leasing(state, store, self._lease_granted, self._lease_ended)
        self._dhcp = DhcpRelay(state, self.leasing)
        self._routers = Routers(state)
        self._binding = AddressBinding(state, store, self.enforcement, self._routers, self.leasing)
        self._neighbours = Neighbours(state, self._binding, self._routers, self.leasing)
        self._store = store
        self._numbers = numbers
        self._spawn = spawn
        self._leased: dict[int, float] = {}
        self._leases_due = 0.0

    # sessions

    def restore(self, sessions: Sequence[Session]) -> None:
        """Take up leases and sessions of the last run that have not ended; the policy may have moved them."""
        now = self.state.clock()
        self.leasing.restore()
        for session in sessions:
            reason = self._restore(session, now)
            if reason is not None:
                self._store.end(session.number)
                self.state.journal.session(reason, session, "at start", now)

    def _restore(self, session: Session, now: float) -> SessionEvent | None:
        """Take up one session; the reason if it cannot go on."""
        place = self.state.policy.place(session.principal)
        if session.ends <= now:
            return SessionEvent.EXPIRED
        attachment = session.attachment
        point = self.state.fabric.points.get(attachment.dpid)
        if point is None or not point.is_edge(attachment.port):
            return SessionEvent.NO_PORT
        if place is None:
            return SessionEvent.NO_SEGMENT
        leased = tuple(one for one in session.addresses if self.leasing.may_bind(Endpoint(attachment, one)))
        if session.addresses and not leased:
            return SessionEvent.LEASE_ENDED
        try:
            check_vlan(self.state.policy, place[0], attachment.vlan)
            session = replace(session, segment=place[0], addresses=leased)
            self._enter(session, place[1], self._still_allowed(session))
        except PortRefusal as refusal:
            return SessionEvent(refusal.reason)
        except SessionError:
            return SessionEvent.CONFLICT
        return None

    def _still_allowed(self, session: Session) -> Point:
        """Hold a session of the last run against the ports as they are described now. Raises SessionError."""
        fabric, attachment = self.state.fabric, session.attachment
        point = place_of(fabric, attachment)
        port = point.switch.port(attachment.port)
        for address in session.addresses:
            check_address(fabric, port, Endpoint(attachment, address))
        check_room(self.state.sessions, port, attachment)
        return point

    def start_session(self, attachment: Attachment, proof: Proof, address: bytes | None, device: str | None) -> Session:
        """Bind a principal that has just proved itself, or renew or extend the session there.

        Without an address (a proof below IP) the session gets those that its host uses. A user who proves herself
        where a device has done so, or the other way round, has one session with both proofs.
        Raises AddressInUse, SessionError, CapacityError.
        """
        try:
            return self._start_session(attachment, proof, address, device)
        except PortRefusal as refusal:
            self._refused(attachment, refusal.reason)
            raise

    def _start_session(
        self, attachment: Attachment, proof: Proof, address: bytes | None, device: str | None
    ) -> Session:
        state = self.state
        now = state.clock()
        limits = state.limits
        proof = replace(
            proof,
            expires=min(proof.expires, now + limits.session_lifetime),
            reauthenticate=min(proof.reauthenticate, now + limits.reauthenticate_after),
        )
        here = state.sessions.at(attachment)
        proofs = proofs_with(here.session.proofs if here is not None else (), proof)
        principal = acting(proofs)
        place = state.policy.place(principal)
        if place is None:
            raise SessionError("the policy has no single segment for this principal")
        point = usable_place(state.fabric, attachment)
        if address is not None:
            check_address(state.fabric, point.switch.port(attachment.port), Endpoint(attachment, address))
        check_vlan(state.policy, place[0], attachment.vlan)
        check_room(state.sessions, point.switch.port(attachment.port), attachment)
        moving = self._moving(attachment, address, principal)
        self._check_lease(attachment, address, moving)
        if here is not None and any(known in proofs or known.account == proof.account for known in here.session.proofs):
            return self._renew(here, address, principal, proofs, place, now)
        self._make_room(attachment, address, moving)
        session = Session(
            number=self._store.new_number(state.sessions.by_number.__contains__),
            principal=principal,
            attachment=attachment,
            addresses=(address,) if address is not None else (),
            segment=place[0],
            started=now,
            proofs=proofs,
            device=device,
        )
        self._store.save(session)
        self._enter(session, place[1], point)
        state.journal.session(SessionEvent.STARTED, session, "", now)
        return session

    def _refused(self, attachment: Attachment, reason: str) -> None:
        """Log and count what port security did not let in."""
        switch = self.state.fabric.points[attachment.dpid].switch.name
        self.state.deny(
            Denied(DenyReason(reason), switch, attachment.port, None, attachment.mac.to_bytes(6, "big"), None, None)
        )

    def _moving(self, attachment: Attachment, address: bytes | None, principal: Principal) -> Live | None:
        """The session of the same principal elsewhere that has the address: its host has moved here."""
        holder = self.state.sessions.by_address.get(address) if address is not None else None
        if holder is None or holder.session.attachment == attachment:
            return None
        same = _same_principal(holder.session.principal, principal)
        return holder if same and holder.session.attachment.mac == attachment.mac else None

    def _check_lease(self, attachment: Attachment, address: bytes | None, moving: Live | None = None) -> None:
        """Raise AddressInUse, PortRefusal for an address that DHCP has not given to this host, here or moving."""
        if address is None:
            return
        if self.leasing.may_bind(Endpoint(attachment, address), moving.session.attachment if moving else None):
            return
        if self.state.leases.holder(address, self.state.clock()) is not None:
            raise AddressInUse("the address is leased to another host")
        raise PortRefusal("the port takes only what DHCP has leased to this host", DenyReason.ADDRESS_NOT_ALLOWED.value)

    def _make_room(self, attachment: Attachment, address: bytes | None, moving: Live | None) -> None:
        """End what the new session replaces: another principal's at the same place, or its own that has moved."""
        sessions = self.state.sessions
        holder = sessions.by_address.get(address) if address is not None else None
        here = sessions.at(attachment)
        if holder is not None and holder is not here and address is not None:
            if holder is not moving:
                raise AddressInUse("another session holds this address")
            self.end(holder, SessionEvent.MOVED)
            self.leasing.move(Endpoint(attachment, address))
        if here is not None:
            self.end(here, SessionEvent.REPLACED)

    def _renew(
        self,
        live: Live,
        address: bytes | None,
        principal: Principal,
        proofs: tuple[Proof, ...],
        place: tuple[str, int],
        now: float,
    ) -> Session:
        """A principal of the session has proved itself again at the same place: it goes on, with a new lease."""
        if address is not None:
            self.state.sessions.add_address(live, address)
        session = replace(live.session, principal=principal, proofs=proofs, segment=place[0])
        self._change(live, session, place[1], "reauthenticated")
        self.state.journal.session(SessionEvent.REAUTHENTICATED, session, "", now)
        return session

    def _change(self, live: Live, session: Session, session_class: int, why: str) -> None:
        """Put another standing of a session in force."""
        state = self.state
        if session_class != live.session_class:
            # Another class is another standing: what the old one had open is decided again, packet by packet.
            self._close_flows(live, why, remember=True)
            self.enforcement.session_ended(live)
            state.sessions.change(live, session)
            live.session_class = session_class
            self.enforcement.session_started(live)
        else:
            state.sessions.change(live, session)
            self.enforcement.session_changed(live)
        self._lease(live)
        self._store.save(session)

    def change_proof(self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent, detail: str) -> bool:
        """Put `changed` in the place of one proof of a session, or end that proof; False if there is no such proof.

        A session whose last proof ends, or that is in no single segment with what is left, ends with it.
        """
        live = self.state.sessions.by_number.get(number)
        if live is None or proof not in live.session.proofs:
            return False
        proofs = tuple(changed if known == proof else known for known in live.session.proofs)
        left = tuple(known for known in proofs if known is not None)
        place = self.state.policy.place(acting(left)) if left else None
        if place is None or not self.state.policy.allows_vlan(place[0], live.session.attachment.vlan):
            self.end(live, reason, detail)
            return True
        session = replace(live.session, principal=acting(left), proofs=left, segment=place[0])
        self._change(live, session, place[1], reason.value)
        self.state.journal.session(reason, session, detail, self.state.clock())
        return True

    def _enter(self, session: Session, session_class: int, point: Point) -> None:
        live = Live(session, session_class, point.number, session.attachment.mac.to_bytes(6, "big"))
        self.state.sessions.add(live)
        self.enforcement.session_started(live)
        self._lease(live)

    def _lease(self, live: Live) -> None:
        self._leased[live.session.number] = min(live.session.ends, self.state.clock() + MAX_LEASE)

    def claim_address(self, endpoint: Endpoint, number: int) -> Session:
        """Add an address to the session at the same attachment. Raises AddressInUse, SessionError."""
        try:
            usable_point(self.state.fabric, endpoint)
            self._check_lease(endpoint.attachment, endpoint.address)
        except PortRefusal as refusal:
            self._refused(endpoint.attachment, refusal.reason)
            raise
        live = self.state.sessions.at(endpoint.attachment)
        if live is None or live.session.number != number:
            raise SessionError("the session is not at this place")
        self._binding.make_room(live)
        self.state.sessions.add_address(live, endpoint.address)
        taken = tuple(address for address in live.session.taken if address != endpoint.address)
        live.session = replace(live.session, taken=taken)
        self.enforcement.session_changed(live)
        self._store.save(live.session)
        self.state.journal.session(SessionEvent.ADDRESS_CLAIMED, live.session, "", self.state.clock())
        return live.session

    def end_session(self, number: int, reason: SessionEvent) -> bool:
        """End one session; False if there is none."""
        live = self.state.sessions.by_number.get(number)
        if live is None:
            return False
        self.end(live, reason)
        return True

    def end(self, live: Live, reason: SessionEvent, detail: str = "") -> None:
        """End a session: no packet of it passes any switch from here on."""
        state = self.state
        self._close_flows(live, f"session-{reason.value}", remember=False)
        self.enforcement.session_ended(live)
        state.sessions.remove(live)
        self._leased.pop(live.session.number, None)
        state.counters["sessions_ended"] += 1
        state.journal.session(reason, live.session, detail, state.clock())
        self._store.end(live.session.number)

    def _close_flows(self, live: Live, why: str, *, remember: bool, address: bytes | None = None) -> None:
        """Take a session's flows out of force; with an address only those that have it at one end."""
        state = self.state
        now = state.clock()
        for flow in state.flows.of_session(live.session.number):
            if address is not None and address not in (flow.key.src, flow.key.dst):
                continue
            subject = state.party(flow.subject)
            if subject is not None:
                subject.closes(flow.key.src)
            state.flows.close(flow, why, now)
            if remember:
                state.flows.remember(replace(flow, alive=0))

    def _lease_granted(self, lease: Lease) -> None:
        """An address of a session is leased for longer: so long its bindings hold."""
        live = self.state.sessions.at(lease.attachment)
        if live is not None and lease.address in live.session.addresses:
            self.enforcement.session_changed(live)

    def _lease_ended(self, lease: Lease, why: LeaseEnd) -> None:
        """A DHCP lease has ended: the address is no session's any more; without another one the session ends."""
        live = self.state.sessions.at(lease.attachment)
        if live is None or lease.address not in live.session.addresses:
            return
        if live.session.addresses == (lease.address,):
            self.end(live, SessionEvent.LEASE_ENDED)
            return
        self._close_flows(live, SessionEvent.ADDRESS_RELEASED.value, remember=False, address=lease.address)
        self.enforcement.address_released(live, lease.address)
        self.state.sessions.remove_address(live, lease.address)
        self._store.save(live.session)
        self.state.journal.session(SessionEvent.ADDRESS_RELEASED, live.session, why.value, self.state.clock())

    # time

    def tick(self, now: float) -> None:
        """End what has come to its end, renew leases that run out before their session, settle old accounts."""
        for live in self.state.sessions.expired(now):
            self.end(live, SessionEvent.EXPIRED)
        self.leasing.tick(now)
        if now >= self._leases_due:
            self._leases_due = now + LEASE_INTERVAL
            self._renew_leases(now)
        self._routers.tick()
        self.accounting.settle(now)
        self.discovery.tick(now)

    def _renew_leases(self, now: float) -> None:
        """Sessions longer than a lease can be get another one while half of the old is still there."""
        for live in self.state.sessions:
            until = self._leased[live.session.number]
            if until < live.session.ends and until - now < MAX_LEASE / 2:
                self._lease(live)
                self.enforcement.session_changed(live)

    # policy

    async def use_policy(self, policy: Policy) -> list[Session]:
        """Put a policy in force as one change per switch; the sessions that it has no place for are ended.

        That is who fits no single segment now, or is tagged with another VLAN than that of the segment.
        """
        state = self.state
        new = PolicyInForce(policy, self._numbers)
        now = state.clock()
        moved, homeless = [], []
        for live in state.sessions:
            place = new.place(live.session.principal)
            if place is None:
                homeless.append((live, SessionEvent.NO_SEGMENT))
            elif not new.allows_vlan(place[0], live.session.attachment.vlan):
                homeless.append((live, SessionEvent.VLAN_NOT_ALLOWED))
            else:
                moved.append((live, *place))
        for live, why in homeless:
            self.end(live, why)
        await self.enforcement.policy_changed(new, moved)
        state.journal.policy("loaded", policy.digest, "", now)
        return [live.session for live, _ in homeless]

    # SwitchEvents

    def connected(self, channel: SwitchChannel, ports: Sequence[PortState]) -> bool:
        """A switch has connected: wanted if it is described and not connected already."""
        state = self.state
        point = state.fabric.points.get(channel.dpid)
        if point is None or point.channel is not None:
            reason = "unknown datapath id" if point is None else "already connected"
            state.journal.switch("refused", f"{channel.dpid:016x}", reason, state.clock())
            state.counters["switches_refused"] += 1
            return False
        point.channel, point.ready, point.since = channel, False, state.clock()
        self._take_ports(point, ports)
        state.journal.switch("connected", point.switch.name, "", state.clock())
        for number in self.portal_access.ports_of(channel.dpid):
            if number not in point.ports or not point.ports[number].up:
                self.portal_access.port_gone(channel.dpid, number)
        for number in point.switch.ports:
            if number not in point.ports or not point.ports[number].up:
                self.discovery.port_down(point, number)
        self._ports_changed(point)
        self._start_reconciling(point)
        return True

    def _take_ports(self, point: Point, ports: Sequence[PortState]) -> None:
        """The ports of a switch that has just connected; if there are too many, those that are described come first."""
        ranked = sorted(ports, key=lambda port: (port.number not in point.switch.ports, port.number))
        point.ports = {port.number: port for port in ranked[:MAX_PORTS]}
        if len(ranked) > MAX_PORTS:
            self._ignore_ports(point, len(ranked) - MAX_PORTS)

    def _ignore_ports(self, point: Point, number: int) -> None:
        """Nothing can come in at these: there are no entries for them."""
        self.state.counters["ports_ignored"] += number
        if not point.overfull:
            point.overfull = True
            detail = f"too many ports: {MAX_PORTS} are used"
            self.state.journal.switch("error", point.switch.name, detail, self.state.clock())

    def _start_reconciling(self, point: Point) -> None:
        """One at a time for each switch, whatever it reports meanwhile: that is looked at afterwards."""
        point.again = True
        if not point.reconciling:
            point.reconciling = True
            self._spawn(self._reconcile(point))

    async def _reconcile(self, point: Point) -> None:
        try:
            while point.again and point.channel is not None:
                point.again = False
                await self._reconcile_once(point, point.channel)
        finally:
            point.reconciling = False

    async def _reconcile_once(self, point: Point, channel: SwitchChannel) -> None:
        try:
            work = self.enforcement.ports_changed if point.ready else self.enforcement.reconcile
            changes = await work(point)
        except Exception as error:  # noqa: BLE001  # whatever it is, this switch is not right: start over with it
            channel.close(f"could not be reconciled: {type(error).__name__}: {error}")
            return
        self.state.journal.switch("reconciled", point.switch.name, f"{changes} changes", self.state.clock())
        self.discovery.switch_ready(point)

    def disconnected(self, channel: SwitchChannel, reason: str) -> None:
        """A switch is away. Its entries stay in force there until their leases end."""
        point = self.state.fabric.points.get(channel.dpid)
        if point is not None and point.channel is channel:
            point.channel, point.ready = None, False
            self.state.journal.switch("disconnected", point.switch.name, reason, self.state.clock())

    def packet_in(self, channel: SwitchChannel, event: PacketIn) -> None:
        """A packet came up; the rule part of its cookie says why."""
        state = self.state
        state.counters["packet_ins"] += 1
        point = state.fabric.points[channel.dpid]
        if not point.ready:
            state.counters["packet_ins_early"] += 1
            return
        rule = event.cookie & 0xFFFF
        if rule == Reason.LLDP:
            self.discovery.packet_in(point, event)
        elif rule == Reason.NEIGHBOUR:
            self._neighbours.packet_in(point, event)
        elif rule == Reason.DHCP:
            self._dhcp.packet_in(point, event)
        elif rule == Reason.ROUTER:
            self._routers.packet_in(point, event)
            self._binding.give_way()
        elif rule == Reason.PORTAL:
            self.portal_access.packet_in(point, event)
        elif rule in SAMPLED or state.policy.denies(rule):
            state.deny(denied(state, point, event, rule))
        else:
            self._verifier.packet_in(point, event)

    def packet_dropped(self, channel: SwitchChannel, event: PacketIn) -> None:
        """A packet found its port's queue full. It is not looked at: that would be work for whoever floods."""
        point = self.state.fabric.points[channel.dpid]
        point.queue_drops[event.port if event.port in point.ports else 0] += 1
        self.state.counters["packet_ins_dropped"] += 1
        place = (point.switch.name, event.port)
        self.state.deny(Denied(DenyReason.QUEUE_FULL, *place, None, event.frame[6:12], None, None))

    def flow_removed(self, channel: SwitchChannel, event: FlowRemoved) -> None:
        """A direction of a flow is gone from its subject's switch."""
        subject, obj, _ = split_cookie(event.cookie)
        if obj == PORTAL_NUMBER and subject == 0:
            self.portal_access.flow_removed(channel.dpid, event)
        elif event.key is not None:
            self.accounting.flow_removed(channel.dpid, event.key, subject, event)

    def port_status(self, channel: SwitchChannel, port: PortState, *, removed: bool) -> None:
        """A port changed: its sessions end when it goes down, and paths lead around it."""
        point = self.state.fabric.points[channel.dpid]
        known = point.ports.get(port.number)
        if known == (None if removed else port):
            return  # nothing has changed, however often a switch says so
        if known is None and len(point.ports) >= MAX_PORTS:
            self._ignore_ports(point, 1)
            return
        if removed:
            point.ports.pop(port.number, None)
        else:
            point.ports[port.number] = port
        if removed or not port.up:
            self.portal_access.port_gone(channel.dpid, port.number)
            self.leasing.transactions.port_gone(channel.dpid, port.number)
            self.discovery.port_down(point, port.number)
        elif known is None or not known.up:
            self.discovery.port_up(point, port.number)
        self._ports_changed(point)
        if removed or known is None:
            self._start_reconciling(point)

    def _ports_changed(self, point: Point) -> None:
        for number in tuple(point.local):
            live = self.state.sessions.by_number[number]
            port = point.ports.get(live.session.attachment.port)
            if port is None or not port.up:
                self.end(live, SessionEvent.PORT_DOWN)
        self.enforcement.links_changed()

    def refused(self, channel: SwitchChannel, what: str) -> None:
        """A switch answered with an error."""
        point = self.state.fabric.points.get(channel.dpid)
        name = point.switch.name if point else f"{channel.dpid:016x}"
        self.state.counters["switch_errors"] += 1
        now = self.state.clock()
        if self.state.error_log.wait(channel.dpid, now) <= 0:
            self.state.error_log.take(channel.dpid, now)
            self.state.journal.switch("error", name, what, now)


def _same_principal(first: Principal, second: Principal) -> bool:
    return (first.kind, first.name) == (second.kind, second.name)
