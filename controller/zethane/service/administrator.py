"""The policy administrator: turns events into sessions, flows and changes on the switches.

It implements `SwitchEvents`. Every method runs on the event loop and finishes at once, so that a revocation and
a decision cannot race; what has to wait for a switch is a task that the caller starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from zethane.audit.reason import DenyReason, SessionEvent
from zethane.document import some
from zethane.identity.directory import Directory
from zethane.identity.proof import Proof
from zethane.identity.session import Attachment, Endpoint, Session
from zethane.pipeline.fields import PORTAL_NUMBER, Reason, split_cookie
from zethane.policy.model import Policy
from zethane.policy.stage import Staging
from zethane.service.accounting import Accounting
from zethane.service.address_binding import AddressBinding
from zethane.service.aging import Aging
from zethane.service.attestation import Attestation
from zethane.service.blocking import Blocking
from zethane.service.clearing import Clearing
from zethane.service.connected_switches import ConnectedSwitches
from zethane.service.delivery import Pending, settle
from zethane.service.denials import SAMPLED, denied
from zethane.service.dhcp_relay import DhcpRelay
from zethane.service.directory_change import use_directory
from zethane.service.discovery import Discovery
from zethane.service.dot1x import TELLS_OF_HOSTS, PortAccess
from zethane.service.enforcement import Enforcement
from zethane.service.grant_usage import GrantUsage
from zethane.service.grants import Grants, is_record
from zethane.service.idleness import Idleness
from zethane.service.journal import Denied
from zethane.service.leases import Lease
from zethane.service.leasing import Leasing
from zethane.service.neighbours import Neighbours
from zethane.service.policy_change import PolicyChange
from zethane.service.policy_numbers import Numbering, Numbers
from zethane.service.policy_succession import Beside, Succession, on_the_spot
from zethane.service.portal_access import PortalAccess
from zethane.service.preparation import Preparation
from zethane.service.reconciliation import Reconciliation
from zethane.service.routers import Routers
from zethane.service.session_life import SessionLife, Spawn
from zethane.service.session_start import SessionStart
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.store import Store
from zethane.service.switch import EntryRemoved, FlowRemoved, PacketIn, PortState, SwitchChannel
from zethane.service.verification import Verifier

MAX_NAMED = 20
"""Rules that one record names."""

MAX_STEP = 5.0
"""Seconds between two looks at the clock; more, or less than none, and it has been set."""


class Administrator:
    """Owns the state."""

    def __init__(
        self, state: State, store: Store, numbers: Numbers, spawn: Spawn, beside: Beside = on_the_spot
    ) -> None:
        """`beside` is where work is done that takes long and touches nothing that changes."""
        self.state = state
        self.portal_access = PortalAccess(state)
        self.clearing = Clearing(state, spawn)
        self.enforcement = Enforcement(state, self.clearing)
        self._policy_change = PolicyChange(state, self.enforcement.presence)
        self.reconciliation = Reconciliation(state, self.portal_access)
        self.discovery = Discovery(state, self.enforcement.links_changed)
        self._grants = Grants(state)
        self._verifier = Verifier(state, self._grants.no_connection)
        self.grant_usage = GrantUsage(state)
        self.attestation = Attestation(state, self.reconciliation, self.portal_access, self.grant_usage, self.clearing)
        self.accounting = Accounting(state, self._verifier.renew)
        self.aging = Aging(state, self.accounting.silent)
        self.life = SessionLife(state, store, self.enforcement, spawn, self.grant_usage.ended)
        self.blocking = Blocking(state, store, self.life)
        self.idleness = Idleness(state, self.life, spawn)
        self.leasing = Leasing(state, store, self._lease_granted, self.life.lease_ended)
        self._dhcp = DhcpRelay(state, self.leasing)
        self._routers = Routers(state)
        self._binding = AddressBinding(state, store, self.enforcement, self._routers, self.leasing)
        self._starts = SessionStart(
            state, store, self.enforcement, self.life, self.leasing, self._binding, self.clearing
        )
        self._neighbours = Neighbours(state, self._binding, self._routers, self.leasing)
        self.port_access: PortAccess | None = None  # there is one where hosts authenticate below IP
        self._switches = ConnectedSwitches(
            state,
            self.reconciliation,
            self.discovery,
            self.portal_access,
            self.clearing,
            self.life,
            self.enforcement,
            self._port_gone,
            spawn,
        )
        self._numbers = numbers
        self._beside = beside
        self._changing = asyncio.Lock()
        self._looked_at = state.clock()
        self._spawn = spawn

    # sessions

    def restore(self, sessions: Sequence[Session]) -> None:
        """Take up leases, blocks and sessions of the last run."""
        self.leasing.restore()
        self.blocking.restore()
        self._starts.restore(sessions)

    def start_session(self, attachment: Attachment, proof: Proof, address: bytes | None, device: str | None) -> Session:
        """Bind a principal that has just proved itself. Raises AddressInUse, SessionError, CapacityError."""
        return self._binding.with_leases(self._starts.start(attachment, proof, address, device))

    def use_address(self, attachment: Attachment, address: bytes) -> None:
        """The host at an attachment uses an address: it is its session's, if that may have it."""
        self._binding.use(attachment, address)

    def _lease_granted(self, lease: Lease) -> None:
        self.life.lease_granted(lease)
        self._binding.lease_granted(lease)

    def claim_address(self, endpoint: Endpoint, number: int) -> Session:
        """Add an address to the session at the same attachment. Raises AddressInUse, SessionError."""
        return self._starts.claim_address(endpoint, number)

    def change_proof(
        self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent | None, detail: str
    ) -> bool:
        """Change or end one proof of a session; False if there is no such proof."""
        return self.life.change_proof(number, proof, changed, reason, detail)

    def end_session(self, number: int, reason: SessionEvent) -> bool:
        """End one session; False if there is none."""
        return self.life.end_session(number, reason)

    def tick(self, now: float) -> None:
        """End what has come to its end, renew what runs out before its session, settle old accounts."""
        self._keep_hours(now)
        self.blocking.tick(now)
        self.life.tick(now)
        self.idleness.tick(now)
        self.leasing.tick(now)
        self._routers.tick()
        self.accounting.settle(now)
        self.grant_usage.tick(now)
        self._grants.tick(now)
        self.discovery.tick(now)
        if self.state.policy.classes.between.has_untold:
            self._spawn(self._tell_all())
        if self.port_access is not None:
            self.port_access.tick(now)

    # policy

    async def use_directory(self, directory: Directory) -> None:
        """Put a version of identities.yaml in force, for logins from now on and for every live session."""
        await use_directory(self.state, self.life, directory)

    async def use_policy(self, policy: Policy, staged: Policy | None = None) -> list[Session]:
        """Put a policy in force as one change per switch; the sessions that it has no place for are ended.

        That is who fits no single segment now, or is tagged with another VLAN than that of the segment. `staged` is
        only asked from now on what it would decide. What takes long is worked out beside the event loop. Raises
        CapacityError, and nothing has changed then.
        """
        homeless, pending = await self._change_over(policy, staged)
        await settle(self.state, pending)
        staging = Staging(policy, staged)
        self.state.journal.policy("loaded", (staged or policy).digest, staging.detail, self.state.clock())
        return [live.session for live in homeless]

    async def _change_over(self, policy: Policy, staged: Policy | None) -> tuple[list[Live], list[Pending]]:
        """Work it out, keep what it rests on, put it in force; whose sessions have ended, and what is to be settled."""
        while True:
            succession, prepared = await self._prepare(policy)
            try:
                async with self._changing:
                    if await self._is_kept(succession):
                        done = self._put_in_force(succession, prepared, staged)
                        break
            finally:
                prepared.discard()
        await prepared.forget()
        return done

    async def _prepare(self, policy: Policy) -> tuple[Succession, Preparation]:
        """Work a policy out that follows the one in force, and write as much of it as can be before it is."""
        while True:
            succession = Succession(self.state, policy, Numbering(self._numbers))
            await self._beside(succession.work_out)
            if not succession.fits():
                continue
            new = succession.as_of_now()
            prepared = Preparation(self.state, new, succession.difference())
            await prepared.write()
            if succession.fits():
                return succession, prepared
            prepared.discard()

    async def _is_kept(self, succession: Succession) -> bool:
        """Keep the numbers that a policy gives out, beside the event loop; False if it does not fit any more.

        No other is put in force meanwhile. What is being kept is waited for, even if this is given up: the next policy
        rests on it. Raises CapacityError.
        """
        if not succession.fits():
            return False
        keeping = asyncio.ensure_future(self._beside(succession.keep))
        try:
            await asyncio.shield(keeping)
        except asyncio.CancelledError:
            await asyncio.wait([keeping])
            raise
        return True

    def _put_in_force(
        self, succession: Succession, prepared: Preparation, staged: Policy | None
    ) -> tuple[list[Live], list[Pending]]:
        """Change over, in one step; the sessions that have been ended, and what is to be settled."""
        state, now = self.state, self.state.clock()
        new = succession.as_of_now()
        moved, homeless = [], []
        for live, standing in succession.standings(now):
            if standing is None:
                homeless.append((live, SessionEvent.NO_SEGMENT))
            elif not new.allows_vlan(standing.segment, live.session.attachment.vlan):
                homeless.append((live, SessionEvent.VLAN_NOT_ALLOWED))
            else:
                moved.append((live, self.life.in_segment(live.session, standing.segment), standing))
        for live, why in homeless:
            self.life.end(live, why)
        state.stage(staged)
        return [live for live, _ in homeless], self._policy_change.replaced(new, moved, prepared)

    async def _tell_all(self) -> None:
        """What a change of the policy has left to be told when it is asked for: not all of it is asked for at once."""
        await self._beside(self.state.policy.classes.between.tell_all)

    def _keep_hours(self, now: float) -> None:
        """Put in force what the policy says at this hour, if it is another: held against the clock, which may jump."""
        state = self.state
        before = state.policy
        policy = before.as_of(now)
        step, self._looked_at = now - self._looked_at, now
        jump = 0.0 if 0.0 <= step < MAX_STEP else step
        if policy is before and not (jump and before.has_relations):
            return
        pending = self._policy_change.hours_changed(policy, jump)
        if pending:
            self._spawn(settle(state, pending))
        opened, closed = before.turns_to(policy)
        for event, rules in (("opened", opened), ("closed", closed)):
            if rules:
                state.journal.policy(event, policy.policy.digest, some(sorted(rules), MAX_NAMED), now)

    # SwitchEvents

    def connected(self, channel: SwitchChannel, ports: Sequence[PortState]) -> bool:
        """A switch has connected: wanted if it is described and not connected already."""
        return self._switches.connected(channel, ports)

    def disconnected(self, channel: SwitchChannel, reason: str) -> None:
        """A switch is away. Its entries stay in force there until their leases end."""
        self._switches.disconnected(channel, reason)

    def packet_in(self, channel: SwitchChannel, event: PacketIn) -> None:
        """A packet came up; the rule part of its cookie says why."""
        state = self.state
        state.counters["packet_ins"] += 1
        point = state.fabric.points[channel.dpid]
        if not point.ready:
            state.counters["packet_ins_early"] += 1
            return
        rule = event.cookie & 0xFFFF
        if self.port_access is not None and rule in TELLS_OF_HOSTS:
            self.port_access.heard(point, event)
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
        elif rule == Reason.EAPOL:
            if self.port_access is not None:
                self.port_access.packet_in(point, event)
        elif rule in SAMPLED or state.policy.denies(rule):
            state.deny(denied(state, point, event, rule))
        elif is_record(event):
            self._grants.packet_in(point, event)
        elif rule == Reason.NOT_COMMITTED:
            self._grants.no_room(point)
            self._verifier.packet_in(point, event)
        else:
            self._verifier.packet_in(point, event)

    def packet_dropped(self, channel: SwitchChannel, event: PacketIn) -> None:
        """A packet found its port's queue full, or waited there for too long.

        It is not looked at: that would be work for whoever floods.
        """
        point = self.state.fabric.points[channel.dpid]
        if is_record(event):
            self.state.counters["grant_records_dropped"] += 1
            return
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

    def entry_removed(self, channel: SwitchChannel, event: EntryRemoved) -> None:
        """An entry whose counters are a session's account is gone."""
        self.grant_usage.removed(channel.dpid, event)

    def port_status(self, channel: SwitchChannel, port: PortState, *, removed: bool) -> None:
        """A port changed: its sessions end when it goes down, and paths lead around it."""
        self._switches.port_status(channel, port, removed=removed)

    def _port_gone(self, dpid: int, port: int) -> None:
        self.portal_access.port_gone(dpid, port)
        self.leasing.transactions.port_gone(dpid, port)
        if self.port_access is not None:
            self.port_access.port_gone(dpid, port)

    def refused(self, channel: SwitchChannel, what: str) -> None:
        """A switch answered with an error."""
        point = self.state.fabric.points.get(channel.dpid)
        name = point.switch.name if point else f"{channel.dpid:016x}"
        self.state.counters["switch_errors"] += 1
        now = self.state.clock()
        if self.state.error_log.wait(channel.dpid, now) <= 0:
            self.state.error_log.take(channel.dpid, now)
            self.state.journal.switch("error", name, what, now)
