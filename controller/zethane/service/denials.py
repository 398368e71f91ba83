"""Denied packets that a switch sampled, as records: who, what, where, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from zethane.audit.reason import DenyReason
from zethane.audit.refused import why_refused
from zethane.net.flowkey import parse_frame
from zethane.net.vlan import untagged
from zethane.pipeline.fields import Reason, split_cookie
from zethane.service.journal import Denied
from zethane.service.points import Point
from zethane.service.port_security import takes_vlan
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.switch import PacketIn
from zethane.service.wanting import lack, provable, remember

SAMPLED: Mapping[int, DenyReason] = {
    Reason.UNAUTHENTICATED: DenyReason.UNAUTHENTICATED,
    Reason.UNKNOWN_DESTINATION: DenyReason.UNKNOWN_DESTINATION,
    Reason.NO_RULE: DenyReason.NO_RULE,
    Reason.MULTICAST: DenyReason.MULTICAST,
    Reason.MALFORMED: DenyReason.MALFORMED,
    Reason.REFUSED: DenyReason.MALFORMED,
    Reason.EXTERNAL_SPOOF: DenyReason.EXTERNAL_SPOOF,
    Reason.ANSWER_DENIED: DenyReason.NO_LONGER_ALLOWED,
}
"""What the cookie of a sampled packet says, in the words of the log."""


def denied(state: State, point: Point, event: PacketIn, rule: int) -> Denied:
    """What the log should say about a sampled packet; `rule` is the rule part of its cookie."""
    packet = parse_frame(event.frame)
    subject_number, object_number, _ = split_cookie(event.metadata)
    subject, obj = state.party(subject_number), state.party(object_number)
    if obj is None and packet is not None:
        obj = state.sessions.by_address.get(packet.key.dst)
    rule_id = state.policy.rule_ids.get(rule)
    what = Denied(
        reason=DenyReason.DENY_RULE if rule_id is not None else _reason(rule, point, event),
        switch=point.switch.name,
        port=event.port,
        key=packet.key if packet else None,
        mac=event.frame[6:12],
        subject=subject.party_at(packet.key.src if packet else b"") if subject else None,
        object=obj.party_at(packet.key.dst if packet else b"") if obj else None,
        rule=rule_id,
    )
    if subject is None or what.reason not in (DenyReason.NO_RULE, DenyReason.UNKNOWN_DESTINATION):
        return what
    return for_want_of_proof(state, what, subject, obj)


def for_want_of_proof(state: State, what: Denied, subject: Live, obj: Live | None) -> Denied:
    """The same denial, or what is lacking where that is all that keeps a rule from letting it pass."""
    lacks = lack(state, subject, obj, what.key) if what.key is not None else None
    if lacks is None or what.key is None:
        return what
    to_prove = provable(state, subject, obj, what.key)
    if to_prove is not None:
        remember(subject, to_prove.rule, what.key, state.clock())
    return replace(what, reason=DenyReason.CONDITION_NOT_MET, rule=lacks.rule, needs=lacks.needs)


def _reason(rule: int, point: Point, event: PacketIn) -> DenyReason:
    """The word for the log; the table `port` leaves it to the sample to say what it refused."""
    if rule != Reason.REFUSED:
        return SAMPLED[rule]
    vlan, frame = untagged(event.frame)
    if not takes_vlan(point.switch.port(event.port), vlan):
        return DenyReason.VLAN_NOT_ALLOWED
    return why_refused(frame)
