"""ARP and Neighbor Discovery, answered by the controller: nobody learns of a host that it may not reach.

An answer goes to the port that the question came from and nowhere else. Hosts that are not logged in learn only
the portal's MAC, and the DHCP server's if they have a lease; a session also that of those it may open a flow to, or
that have one open with it.
"""

from __future__ import annotations

from zethane.audit.reason import DenyReason
from zethane.identity.session import Attachment
from zethane.net.neighbour import Question, build_answer, parse_question
from zethane.pipeline.infrastructure import DHCP, Server
from zethane.pipeline.portal import NEIGHBOUR_MAC
from zethane.service.journal import Denied
from zethane.service.leasing import Leasing
from zethane.service.outside import Outside
from zethane.service.points import Point
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.switch import PacketIn

_LINK_LOCAL = bytes((0xFE, 0x80))


class Neighbours:
    """Answers who-has questions."""

    def __init__(self, state: State, leasing: Leasing) -> None:
        self._state = state
        self._leasing = leasing

    def packet_in(self, point: Point, event: PacketIn) -> None:
        """Answer a question, or leave it unanswered."""
        question = parse_question(event.frame)
        if question is None or question.is_probe:
            # Gratuitous announcements, replies and probes tell the controller nothing that it would believe.
            self._state.counters["neighbour_ignored"] += 1
            return
        mac = self._known_mac(point, event, question)
        if mac is None or point.channel is None:
            self._state.counters["neighbour_unanswered"] += 1
            return
        point.channel.packet_out(event.port, build_answer(question, mac.to_bytes(6, "big")), event.vlan)
        self._state.counters["neighbour_answered"] += 1

    def _known_mac(self, point: Point, event: PacketIn, question: Question) -> int | None:
        portal = self._state.fabric.portal
        if point.switch.role(event.port) == "portal":
            return NEIGHBOUR_MAC
        if point.switch.role(event.port) == "uplink":
            return self._for_router(point, event, question)
        if portal is not None and question.target in portal.addresses:
            return portal.attachment.mac
        place = Attachment(point.switch.dpid, event.port, event.vlan, int.from_bytes(question.mac, "big"))
        server = self._state.fabric.server_at(point.switch.dpid, event.port)
        if server is not None:
            return self._for_server(server, place, question)
        if self._leasing.has_lease(place, question.sender):
            for known in self._state.fabric.serving(DHCP):
                if question.target in known.addresses:  # it renews its lease there, logged in or not
                    return known.attachment.mac
        asker = self._state.sessions.at(place)
        if asker is None:
            return None
        if not _may_ask_from(asker, question.sender):
            self._state.deny(
                Denied(
                    DenyReason.NEIGHBOUR_SPOOF,
                    point.switch.name,
                    event.port,
                    None,
                    question.mac,
                    asker.session,
                    None,
                )
            )
            return None
        for serving in self._state.serving.values():
            if question.target in serving.server.addresses:
                return serving.server.attachment.mac
        for router in self._state.outside.values():
            if question.target in router.gateway.addresses:
                return router.gateway.attachment.mac if self._may_use(asker, router) else None
        target = self._state.sessions.by_address.get(question.target)
        if target is None or target is asker or not self._may_know(asker, target):
            return None
        return target.session.attachment.mac

    def _for_router(self, point: Point, event: PacketIn, question: Question) -> int | None:
        """The router of an uplink learns of the sessions that may have to do with what is behind it."""
        place = Attachment(point.switch.dpid, event.port, event.vlan, int.from_bytes(question.mac, "big"))
        target = self._state.sessions.by_address.get(question.target)
        for router in self._state.outside.values():
            gateway = router.gateway
            if gateway.attachment == place and (
                question.sender in gateway.addresses or question.sender.startswith(_LINK_LOCAL)
            ):
                may_know = target is not None and self._may_use(target, router)
                return target.session.attachment.mac if target is not None and may_know else None
        self._state.deny(
            Denied(DenyReason.NEIGHBOUR_SPOOF, point.switch.name, event.port, None, question.mac, None, None)
        )
        return None

    def _may_use(self, live: Live, router: Outside) -> bool:
        """Whether a session may have some flow with what is behind a router, in either direction."""
        peers = self._state.policy.peers.get(live.session_class, frozenset())
        return not peers.isdisjoint(router.classes) or self._state.flows.between(
            live.session.number, router.session.number
        )

    def _for_server(self, server: Server, place: Attachment, question: Question) -> int | None:
        """A server learns of live sessions; one that serves DHCP also of who has a lease of it or asks for one."""
        if place.mac != server.attachment.mac or not (
            question.sender in server.addresses or question.sender.startswith(_LINK_LOCAL)
        ):
            return None
        live = self._state.sessions.by_address.get(question.target)
        if live is not None:
            return live.session.attachment.mac
        if DHCP not in server.serves:
            return None
        holder = self._state.leases.holder(question.target, self._state.clock())
        holder = holder or self._leasing.transactions.asker(question.target)
        return None if holder is None else holder.mac

    def _may_know(self, asker: Live, target: Live) -> bool:
        return self._state.policy.may_reach(asker.session_class, target.session_class) or self._state.flows.between(
            asker.session.number, target.session.number
        )


def _may_ask_from(asker: Live, sender: bytes) -> bool:
    """Its own address, or a link-local one: Linux confirms IPv6 neighbours from there (RFC 4861 §7.2.2)."""
    return sender in asker.session.addresses or (len(sender) == 16 and sender.startswith(_LINK_LOCAL))
