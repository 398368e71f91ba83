"""Verification: the hot path from a packet that came up to the per-flow rules that let its flow through.

The switch has already worked out subject and object; here the decision is looked up, both directions are written
to the switches at both ends, and the packet is delivered. Handling a packet twice is harmless: it is delivered
again and nothing else happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from zethane.audit.reason import DenyReason
from zethane.audit.refused import why_refused
from zethane.identity.session import Session
from zethane.net.flowkey import (
    ICMP,
    ICMPV6,
    TCP,
    TCP_ACK,
    TCP_FIN,
    TCP_RST,
    TCP_SYN,
    UDP,
    FlowKey,
    Packet,
    parse_frame,
)
from zethane.pipeline.fields import ANSWERS, CONNECTION_MASK, RULE_MASK, Reason, split_cookie
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import both_directions
from zethane.service.denials import for_want_of_proof
from zethane.service.flows import FORWARD, RETURN, LiveFlow
from zethane.service.journal import Denied
from zethane.service.points import Point
from zethane.service.relations import resolved
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.switch import PacketIn
from zethane.service.verdict import Verdict

REINSTALL_AFTER = 1.0
"""Seconds after which a packet of a live flow that comes up means that its rule is gone from the switch."""

REOPENED_AFTER = 0.1
"""Seconds after which a SYN of a live flow may begin another connection, from the ports of one that has just ended.

A FIN or RST has the switch remove the flow's rules after two seconds of silence, whatever follows: they have to be
written again. A SYN comes up whether they are there or not.
"""


class Verifier:
    """Decides packets that the table `rule` sent up."""

    def __init__(self, state: State, no_connection: Callable[[Point], None] = lambda _: None) -> None:
        """`no_connection` is told of a switch at which the answer to a grant's service belongs to no connection."""
        self._state = state
        self._no_connection = no_connection

    def packet_in(self, point: Point, event: PacketIn) -> None:
        """Handle one packet."""
        state = self._state
        subject_number, object_number, _ = split_cookie(event.metadata)
        sender, receiver = state.party(subject_number), state.party(object_number)
        packet = parse_frame(event.frame)
        if packet is None:
            self._deny(point, event, why_refused(event.frame), None, sender, receiver)
        elif sender is None or receiver is None:
            self._deny(point, event, DenyReason.SESSION_ENDED, packet, sender, receiver)
        elif point.number not in (sender.switch, receiver.switch):
            # Only the switches at both ends ask about a flow: another one speaks for hosts that are not its own.
            self._deny(point, event, DenyReason.WRONG_SWITCH, packet, sender, receiver)
        elif packet.error_about is not None:
            self._related(point, event, packet, sender, receiver, packet.error_about)
        elif not sender.holds(packet.key.src) or not receiver.holds(packet.key.dst):
            self._deny(point, event, DenyReason.ADDRESS_NOT_BOUND, packet, sender, receiver)
        else:
            self._verify(point, event, packet, sender, receiver)

    def _verify(self, point: Point, event: PacketIn, packet: Packet, sender: Live, receiver: Live) -> None:
        found = self._state.flows.find(packet.key)
        is_recalled = found is None
        if found is None:
            found = self._recall(packet, sender, receiver)
        if found is None and event.cookie & RULE_MASK == Reason.NO_CONNECTION and _answers_opening(packet):
            self._no_connection(point)
        if packet.flags & TCP_SYN and _is_stray_syn(packet, found):
            self._deny(point, event, DenyReason.NO_FLOW, packet, sender, receiver)
        elif found is not None and _is_between(found, sender, receiver):
            waits = not is_recalled and not found[0].alive
            self._known(point, event, packet, sender, receiver, *found, waits=waits)
        elif found is not None:
            self._deny(point, event, DenyReason.ADDRESS_NOT_BOUND, packet, sender, receiver)
        elif event.metadata & CONNECTION_MASK and not packet.flags & TCP_SYN:
            self._adopt(point, event, packet, sender, receiver)
        elif not _opens(packet) or (point.number != sender.switch and event.table != Table.COMMITTED):
            # By a grant the subject's own switch has let a connection in for which the object's has no room.
            self._deny(point, event, DenyReason.NO_FLOW, packet, sender, receiver)
        else:
            self._open(point, event, packet, sender, receiver)

    def _adopt(self, point: Point, event: PacketIn, packet: Packet, sender: Live, receiver: Live) -> None:
        """A connection that a switch let in by itself goes on as a flow: its rule is no grant any more.

        The switch has shown by the connection's label that these sessions are its ends, and which of them opened it.
        """
        if event.metadata & CONNECTION_MASK == ANSWERS:
            self._open(point, event, packet, receiver, sender, RETURN)
        else:
            self._open(point, event, packet, sender, receiver)

    def _open(
        self, point: Point, event: PacketIn, packet: Packet, subject: Live, obj: Live, direction: int = FORWARD
    ) -> None:
        """A new flow: decide. `direction` is that of the packet."""
        state = self._state
        key = packet.key if direction == FORWARD else packet.key.reverse()
        verdict = self._verdict(key, subject, obj)
        if not verdict.allowed:
            reason = DenyReason.DENY_RULE if verdict.rule_id else DenyReason.NO_RULE
            self._deny(point, event, reason, packet, subject, obj, verdict.rule_id)
            return
        if not subject.has_room(key.src, state.limits):
            self._deny(point, event, DenyReason.QUOTA, packet, subject, obj, verdict.rule_id)
            return
        if subject.opened >= state.room_for_flows(subject, obj):
            # As many as are still free, so that however many sessions take all they can, there is room for another.
            self._deny(point, event, DenyReason.TABLE_FULL, packet, subject, obj, verdict.rule_id)
            return
        own, far = state.point_of(subject), state.point_of(obj)
        if not point.ready or not far.ready or own.is_full or far.is_full:
            self._deny(point, event, DenyReason.SWITCH_AWAY, packet, subject, obj, verdict.rule_id)
            return
        now = state.clock()
        if verdict.until <= now:
            # The rule has closed a moment ago, and the switches have not been told yet.
            self._deny(point, event, DenyReason.NO_RULE, packet, subject, obj)
            return
        waits = (
            key.proto == UDP
            and direction == FORWARD
            and verdict.until == math.inf
            and event.table != Table.COMMITTED
            and state.defers(subject, obj, now)
        )
        flow = LiveFlow(
            key,
            subject.session.number,
            obj.session.number,
            verdict.rule,
            subject.class_at(key.src),
            obj.class_at(key.dst),
            subject.party_at(key.src),
            obj.party_at(key.dst),
            now,
            now,
            alive=0 if waits else FORWARD | RETURN,
            idle_timeout=0 if waits else state.idle_timeout(key.proto, subject, obj),
        )
        state.flows.add(flow)
        subject.opens(key.src)
        self._deliver(*((subject, obj) if direction == FORWARD else (obj, subject)), event.frame)
        if waits:
            state.counters["flows_deferred"] += 1
        else:
            self._install(flow, subject, obj, 0 if verdict.until == math.inf else flow.lease(verdict.until, now))
        flow.count(direction, 1, len(event.frame))
        state.counters["allowed"] += 1
        state.journal.allowed(flow, point.switch.name, verdict.rule_id or "", now, state.would_be(flow, now))

    def _known(
        self,
        point: Point,
        event: PacketIn,
        packet: Packet,
        sender: Live,
        receiver: Live,
        flow: LiveFlow,
        direction: int,
        *,
        waits: bool,
    ) -> None:
        """A packet of a flow that is known: deliver it if the decision still stands.

        `waits`: the flow has no rules yet. The first packet of either way brings none.
        """
        state = self._state
        subject, obj = (sender, receiver) if direction == FORWARD else (receiver, sender)
        verdict = self._verdict(flow.key, subject, obj)
        now = state.clock()
        allowed = verdict.allowed and verdict.until > now
        if not allowed or state.point_of(receiver).is_full:
            why = DenyReason.SWITCH_AWAY if allowed else DenyReason.NO_LONGER_ALLOWED
            self._deny(point, event, why, packet, sender, receiver, verdict.rule_id)
            if not flow.alive and not waits:  # recalled a moment ago: nothing would end it
                state.flows.remove(flow)
                state.flows.remember(flow)
                subject.closes(flow.key.src)
            return
        after = REOPENED_AFTER if packet.flags & TCP_SYN else REINSTALL_AFTER
        stale = flow.alive & direction == 0 or now - flow.installed > after
        classes = subject.class_at(flow.key.src), obj.class_at(flow.key.dst)
        is_same = (flow.subject_class, flow.object_class) == classes
        if waits and is_same and not flow.counts[0 if direction == FORWARD else 2]:
            state.flows.wait(flow, now)
        elif stale or not is_same:
            flow.alive = FORWARD | RETURN
            flow.installed = now
            flow.rule = verdict.rule
            flow.subject_class, flow.object_class = classes
            self._install(flow, subject, obj, flow.lease(verdict.until, now))
            state.counters["reinstalled"] += not waits
        self._deliver(sender, receiver, event.frame)
        flow.count(direction, 1, len(event.frame))

    def _recall(self, packet: Packet, sender: Live, receiver: Live) -> tuple[LiveFlow, int] | None:
        """A flow that was idle and goes on: it is live again if its sessions are the same.

        It counts as any other for what its subject may have: else a host could let flows go idle again and again, and
        have all of them in the end.
        """
        state = self._state
        if packet.flags & TCP_SYN or state.room_for_flows(sender, receiver) <= 0:
            return None
        found = state.flows.recall(packet.key, state.clock())
        if found is None or not _is_between(found, sender, receiver):
            return None
        flow, direction = found
        subject, obj = (sender, receiver) if direction == FORWARD else (receiver, sender)
        if (flow.opened_by.started, flow.opened_to.started) != (subject.session.started, obj.session.started):
            return None  # it was of others, who had these numbers before
        room = state.room_for_flows(sender, receiver)
        if not subject.has_room(flow.key.src, state.limits) or subject.opened >= room:
            if flow.key.proto == TCP:
                state.flows.remember(flow)
            return None
        flow.alive = flow.tests = 0
        flow.idle_timeout = state.idle_timeout(flow.key.proto, sender, receiver)
        state.flows.add(flow)
        subject.opens(flow.key.src)
        return found

    def _related(
        self, point: Point, event: PacketIn, packet: Packet, sender: Live, receiver: Live, about: FlowKey
    ) -> None:
        """An ICMP error passes if it goes to the end that sent what it quotes, from the other end of that flow."""
        found = self._state.flows.find(about)
        known = _is_between(found, receiver, sender) or (
            found is None and self._granted(event, sender, receiver, about)
        )
        fits = about.src == packet.key.dst and _may_tell(sender, packet.key.src, about) and known
        if fits and self._state.point_of(receiver).is_full:
            self._deny(point, event, DenyReason.SWITCH_AWAY, packet, sender, receiver)
        elif fits:
            self._deliver(sender, receiver, event.frame)
            self._state.counters["related"] += 1
        else:
            self._deny(point, event, DenyReason.UNRELATED_ERROR, packet, sender, receiver)

    def _granted(self, event: PacketIn, sender: Live, receiver: Live, about: FlowKey) -> bool:
        """Whether a packet that a host is told of belongs to a connection which a switch has let in, and still may."""
        role = event.metadata & CONNECTION_MASK
        if not role or not receiver.holds(about.src) or not sender.holds(about.dst):
            return False
        if role == ANSWERS:  # the error goes against the way in which the connection was opened: what it quotes, along
            return self._verdict(about, receiver, sender).allowed
        return self._verdict(about.reverse(), sender, receiver).allowed

    def _verdict(self, key: FlowKey, subject: Live, obj: Live) -> Verdict:
        port = 0 if key.proto in (ICMP, ICMPV6) else key.dport
        verdict = self._state.policy.verdict(subject.class_at(key.src), obj.class_at(key.dst), key.proto, port)
        return verdict if not verdict.relations else resolved(self._state, verdict, key, subject, obj)

    def renew(self, flow: LiveFlow, direction: int) -> bool:
        """A switch has removed one direction's rule because its time was over: write it again if the flow may go on."""
        state = self._state
        subject, obj = state.party(flow.subject), state.party(flow.object)
        if subject is None or obj is None or not state.point_of(subject).ready or not state.point_of(obj).ready:
            return False
        verdict, now = self._verdict(flow.key, subject, obj), state.clock()
        classes = subject.class_at(flow.key.src), obj.class_at(flow.key.dst)
        if not verdict.allowed or verdict.until <= now or (flow.subject_class, flow.object_class) != classes:
            return False
        directions = {direction}
        if not state.policy.stands(verdict, flow.group, flow.rule):
            flow.rule, directions = verdict.rule, {FORWARD, RETURN}
        flow.installed = now
        lease = flow.lease(verdict.until, now)
        pair = both_directions(flow.key, flow.subject, flow.object, *classes, flow.rule)
        for point in {state.point_of(subject), state.point_of(obj)}:
            if point.channel is not None:
                for one in directions:
                    own = point.number == subject.switch
                    point.channel.install(pair[one - 1], notify=own, lease=lease, idle=flow.idle_timeout)
        state.counters["reinstalled"] += 1
        return True

    def _install(self, flow: LiveFlow, subject: Live, obj: Live, lease: int) -> None:
        idle = flow.idle_timeout
        there, back = both_directions(
            flow.key, flow.subject, flow.object, flow.subject_class, flow.object_class, flow.rule
        )
        own, far = self._state.point_of(subject), self._state.point_of(obj)
        if far is not own and far.channel is not None:
            # The far end first: the packet is delivered there as soon as this is written.
            far.channel.install(back, notify=False, lease=lease, idle=idle)
            far.channel.install(there, notify=False, lease=lease, idle=idle)
        if own.channel is not None:
            own.channel.install(back, notify=True, lease=lease, idle=idle)
            own.channel.install(there, notify=True, lease=lease, idle=idle)

    def _deliver(self, sender: Live, receiver: Live, frame: bytes) -> None:
        """Send a packet to its receiver. Within a VLAN of one port it is there already, as for the switch itself."""
        source, target = sender.session.attachment, receiver.session.attachment
        if (source.dpid, source.port, source.vlan) == (target.dpid, target.port, target.vlan):
            self._state.counters["not_sent_back"] += 1
            return
        channel = self._state.point_of(receiver).channel
        if channel is not None:
            channel.packet_out(target.port, frame, target.vlan)

    def _deny(
        self,
        point: Point,
        event: PacketIn,
        reason: DenyReason,
        packet: Packet | None,
        sender: Live | None,
        receiver: Live | None,
        rule: str | None = None,
    ) -> None:
        what = Denied(
            reason,
            point.switch.name,
            event.port,
            packet.key if packet else None,
            event.frame[6:12],
            _party(sender, packet.key.src if packet else b""),
            _party(receiver, packet.key.dst if packet else b""),
            rule,
        )
        if reason is DenyReason.NO_RULE and sender is not None:
            what = for_want_of_proof(self._state, what, sender, receiver)
        self._state.deny(what)


def _opens(packet: Packet) -> bool:
    """Whether a packet may be the first of a flow: a SYN, an echo request, anything without connections."""
    proto = packet.key.proto
    if proto == TCP:
        return packet.flags & (TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST) == TCP_SYN
    if proto in (ICMP, ICMPV6):
        return packet.key.sport == 8
    return True


def _answers_opening(packet: Packet) -> bool:
    """Whether a packet may be the first answer to one that has opened a connection."""
    return packet.key.proto != TCP or packet.flags & (TCP_SYN | TCP_ACK) == TCP_SYN | TCP_ACK


def _is_stray_syn(packet: Packet, found: tuple[LiveFlow, int] | None) -> bool:
    """A SYN that opens nothing: with FIN or RST, or from the end that is to answer.

    Without this, a server could connect back to its client from the service's port while their flow lives.
    """
    if packet.flags & TCP_ACK:
        return False
    return not _opens(packet) or (found is not None and found[1] == RETURN)


def _may_tell(sender: Live, source: bytes, about: FlowKey) -> bool:
    """Whether an ICMP error may come from this address: any of the session's, or outside that of the flow alone."""
    return source == about.dst or source in sender.session.addresses


def _party(live: Live | None, address: bytes) -> Session | None:
    return live.party_at(address) if live else None


def _is_between(found: tuple[LiveFlow, int] | None, sender: Live, receiver: Live) -> bool:
    if found is None:
        return False
    flow, direction = found
    ends = (sender.session.number, receiver.session.number)
    return (flow.subject, flow.object) == (ends if direction == FORWARD else ends[::-1])
