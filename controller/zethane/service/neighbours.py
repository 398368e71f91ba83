"""ARP and Neighbor Discovery, answered by the controller: nobody learns of a host that it may not reach.

An answer goes to the port that the question came from and nowhere else. Hosts that are not logged in learn only
the portal's MAC, and the DHCP server's if they have a lease; a session also that of those it may open a flow to, or
that have one open with it. Who asks from an address that another holds, or speaks for one, is refused and stands in the
log. Replies, announcements and advertisements go nowhere, true or not: nobody needs them.
"""

from __future__ import annotations

from zethane.audit.reason import DenyReason
from zethane.identity.session import Attachment
from zethane.net.flowkey import ETH_ARP, ICMPV6, FlowKey
from zethane.net.nd import is_link_local
from zethane.net.neighbour import Question, build_answer, parse_question, parse_statement
from zethane.pipeline.infrastructure import DHCP, Server
from zethane.pipeline.portal import NEIGHBOUR_MAC
from zethane.service.address_binding import AddressBinding
from zethane.service.journal import Denied
from zethane.service.leasing import Leasing
from zethane.service.outside import Outside
from zethane.service.points import Point
from zethane.service.routers import Routers
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.switch import PacketIn

IPV4_LENGTH = 4


class Neighbours:
    """Answers who-has questions, and binds the addresses that sessions show they use."""

    def __init__(self, state: State, binding: AddressBinding, routers: Routers, leasing: Leasing) -> None:
        self._state = state
        self._binding = binding
        self._routers = routers
        self._leasing = leasing

    def packet_in(self, point: Point, event: PacketIn) -> None:
        """Answer a question, refuse a lie, leave the rest alone."""
        question = parse_question(event.frame)
        if not point.is_edge(event.port):
            self._from_network(point, event, question)
            return
        place = Attachment(point.switch.dpid, event.port, event.vlan, int.from_bytes(event.frame[6:12], "big"))
        asker = self._state.sessions.at(place)
        if question is None:
            self._statement(point, event, asker)
        elif question.is_probe:
            self._probe(point, event, question, place, asker)
        elif (refusal := self._refusal(question, place, asker)) is not None:
            self._refuse(point, event, question, asker, refusal)
        elif question.is_announcement:
            self._state.counters["neighbour_ignored"] += 1
        else:
            self._answer(point, event, question, self._known_mac(question, place, asker))

    def _from_network(self, point: Point, event: PacketIn, question: Question | None) -> None:
        """A question of the portal, a server or a router."""
        if question is None or question.is_probe:
            self._state.counters["neighbour_ignored"] += 1
            return
        server = self._state.fabric.server_at(point.switch.dpid, event.port)
        if server is not None:
            self._answer(point, event, question, self._for_server(server, question))
        elif point.switch.role(event.port) == "uplink":
            self._answer(point, event, question, self._for_router(point, event, question))
        else:
            self._answer(point, event, question, NEIGHBOUR_MAC)

    def _statement(self, point: Point, event: PacketIn, asker: Live | None) -> None:
        """What is no question: an honest reply is only useless, all else is refused."""
        said = parse_statement(event.frame)
        if said is not None and asker is not None and said.address in asker.session.addresses:
            self._state.counters["neighbour_ignored"] += 1
        else:
            self._deny(point, event, None, asker, DenyReason.NEIGHBOUR_SPOOF)

    def _probe(self, point: Point, event: PacketIn, question: Question, place: Attachment, asker: Live | None) -> None:
        """Duplicate address detection: defend what others hold, bind what nobody does (RFC 4862 §5.4, RFC 5227)."""
        if self._is_foreign(question.target, place):
            # That an address is in use, no more: the MAC is nobody's. Strangers are not even told that.
            if asker is not None:
                self._answer(point, event, question, NEIGHBOUR_MAC)
            self._deny(point, event, question, asker, DenyReason.ADDRESS_IN_USE)
        elif asker is not None and self._binding.may_take(asker, question.target):
            refusal = self._binding.take(asker, question.target)
            if refusal is not None:
                self._deny(point, event, question, asker, refusal)
        else:
            self._state.counters["neighbour_ignored"] += 1

    def _is_foreign(self, address: bytes, place: Attachment) -> bool:
        """Whether an address belongs to somebody else than who is at this place: by session, lease or description."""
        live = self._state.sessions.by_address.get(address)
        if live is not None:
            return live.session.attachment != place
        leased_to = self._state.leases.holder(address, self._state.clock())
        return self._binding.is_fixed(address) or leased_to not in (None, place)

    def _refusal(self, question: Question, place: Attachment, asker: Live | None) -> DenyReason | None:
        """Why somebody may not ask from the address that it asks from; None if it may."""
        sender = question.sender
        if self._is_foreign(sender, place):
            return DenyReason.NEIGHBOUR_SPOOF
        if asker is None or sender in asker.session.addresses or self._leasing.has_lease(place, sender):
            return None
        return (
            self._binding.take(asker, sender) if self._binding.may_take(asker, sender) else DenyReason.NEIGHBOUR_SPOOF
        )

    def _refuse(
        self, point: Point, event: PacketIn, question: Question, asker: Live | None, refusal: DenyReason
    ) -> None:
        """Log a question from an address that is not the asker's; the way to the portal is told all the same.

        A host that has moved still has the address that is bound to its old place, and one with another address has
        to come from there to claim it: both need the portal for that. The answer goes to nobody but the asker, and
        what it says of itself is believed no more than before. A session has no need of somebody else's address.
        """
        place = Attachment(point.switch.dpid, event.port, event.vlan, int.from_bytes(question.mac, "big"))
        foreign = self._is_foreign(question.sender, place)
        portal = self._state.fabric.portal
        to_portal = portal is not None and question.target in portal.addresses
        if foreign or not to_portal:
            self._deny(point, event, question, asker, refusal)
        if portal is not None and to_portal and not (foreign and asker is not None):
            self._answer(point, event, question, portal.attachment.mac)

    def _answer(self, point: Point, event: PacketIn, question: Question, mac: int | None) -> None:
        if mac is None or point.channel is None:
            self._state.counters["neighbour_unanswered"] += 1
            return
        point.channel.packet_out(event.port, build_answer(question, mac.to_bytes(6, "big")), event.vlan)
        self._state.counters["neighbour_answered"] += 1

    def _known_mac(self, question: Question, place: Attachment, asker: Live | None) -> int | None:
        """The MAC of the target, if the asker may know it."""
        portal = self._state.fabric.portal
        if portal is not None and question.target in portal.addresses:
            return portal.attachment.mac
        if self._leasing.has_lease(place, question.sender):
            for known in self._state.fabric.serving(DHCP):
                if question.target in known.addresses:  # it renews its lease there, logged in or not
                    return known.attachment.mac
        if asker is None:
            return None
        for serving in self._state.serving.values():
            if question.target in serving.server.addresses:
                return serving.server.attachment.mac
        for router in self._state.outside.values():
            gateway = router.gateway
            if question.target in gateway.addresses or question.target == self._routers.link_local(gateway.name):
                may_use = self._may_use(asker.class_at(question.sender), asker, router)
                return gateway.attachment.mac if may_use else None
        target = self._state.sessions.by_address.get(question.target)
        if target is None or target is asker or not self._may_know(asker, target, question):
            return None
        return target.session.attachment.mac

    def _for_router(self, point: Point, event: PacketIn, question: Question) -> int | None:
        """The router of an uplink learns of the sessions that may have to do with what is behind it."""
        place = Attachment(point.switch.dpid, event.port, event.vlan, int.from_bytes(question.mac, "big"))
        target = self._state.sessions.by_address.get(question.target)
        for router in self._state.outside.values():
            gateway = router.gateway
            if gateway.attachment == place and (question.sender in gateway.addresses or is_link_local(question.sender)):
                if target is None or not self._may_use(target.class_at(question.target), target, router):
                    return None
                return target.session.attachment.mac
        self._deny(point, event, question, None, DenyReason.NEIGHBOUR_SPOOF)
        return None

    def _may_use(self, session_class: int, live: Live, router: Outside) -> bool:
        """Whether a session may have some flow with what is behind a router, in either direction."""
        policy = self._state.policy
        return (
            policy.classes.peers(session_class) & policy.classes.bits(router.classes) != 0
            or any(policy.offers(session_class, one) for one in router.classes)
            or self._state.flows.between(live.session.number, router.session.number)
        )

    def _for_server(self, server: Server, question: Question) -> int | None:
        """A server learns of live sessions; one that serves DHCP also of who has a lease of it or asks for one."""
        own = question.sender in server.addresses or is_link_local(question.sender)
        if int.from_bytes(question.mac, "big") != server.attachment.mac or not own:
            return None
        live = self._state.sessions.by_address.get(question.target)
        if live is not None:
            return live.session.attachment.mac
        if DHCP not in server.serves:
            return None
        holder = self._state.leases.holder(question.target, self._state.clock())
        holder = holder or self._leasing.transactions.asker(question.target)
        return None if holder is None else holder.mac

    def _may_know(self, asker: Live, target: Live, question: Question) -> bool:
        """Whether a rule lets the asker reach the target, or would if it proved more; or it may have to answer it.

        Without an answer it would never send the packet whose denial tells the person what to prove. Whether there is
        something to answer nobody knows but the switch where it may let the target's connections in by itself.
        """
        policy = self._state.policy
        asking, asked = asker.class_at(question.sender), target.class_at(question.target)
        return (
            policy.offers(asking, asked)
            or policy.may_be_granted(asked, asking)
            or self._state.flows.between(asker.session.number, target.session.number)
        )

    def _deny(
        self, point: Point, event: PacketIn, question: Question | None, asker: Live | None, reason: DenyReason
    ) -> None:
        key = None
        if question is not None:
            proto = ETH_ARP if len(question.target) == IPV4_LENGTH else ICMPV6
            key = FlowKey(question.sender, question.target, proto, 0, 0)
        session = asker.session if asker else None
        self._state.deny(Denied(reason, point.switch.name, event.port, key, event.frame[6:12], session, None))
