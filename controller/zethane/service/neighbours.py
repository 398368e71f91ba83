"""ARP and Neighbor Discovery, answered by the controller: nobody learns of a host that it may not reach.

An answer goes to the port that the question came from and nowhere else. Hosts that are not logged in learn only
the portal's MAC; a session also that of those it may open a flow to, or that have one open with it.
"""

from __future__ import annotations

from zethane.audit.reason import DenyReason
from zethane.identity.session import Attachment
from zethane.net.neighbour import Question, build_answer, parse_question
from zethane.pipeline.portal import NEIGHBOUR_MAC
from zethane.service.journal import Denied
from zethane.service.points import Point
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.switch import PacketIn

_LINK_LOCAL = bytes((0xFE, 0x80))


class Neighbours:
    """Answers who-has questions."""

    def __init__(self, state: State) -> None:
        self._state = state

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
        if portal is not None and question.target in portal.addresses:
            return portal.attachment.mac
        asker = self._state.sessions.at(
            Attachment(point.switch.dpid, event.port, event.vlan, int.from_bytes(question.mac, "big"))
        )
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
        target = self._state.sessions.by_address.get(question.target)
        if target is None or target is asker or not self._may_know(asker, target):
            return None
        return target.session.attachment.mac

    def _may_know(self, asker: Live, target: Live) -> bool:
        return self._state.policy.may_reach(asker.session_class, target.session_class) or self._state.flows.between(
            asker.session.number, target.session.number
        )


def _may_ask_from(asker: Live, sender: bytes) -> bool:
    """Its own address, or a link-local one: Linux confirms IPv6 neighbours from there (RFC 4861 §7.2.2)."""
    return sender in asker.session.addresses or (len(sender) == 16 and sender.startswith(_LINK_LOCAL))
