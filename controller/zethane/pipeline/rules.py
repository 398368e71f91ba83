"""The compiled policy as entries of the table `rule`, and of those that grants need besides.

Denies are above allows, and each rule has a priority of its own, so that the entry which takes a packet is the
rule that `decide` names. What rests on a relation between both ends only the controller can tell, so that such a deny
goes up as well. Above both are the answers: a reply is not a new flow, and whether it belongs to one
only the controller knows; or the switch, which has let the connection in by a grant. What a deny is about, it denies
the answers of too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6
from zethane.pipeline.fields import (
    ANSWERS,
    CONNECTION_MASK,
    GRANT,
    OBJECT_CLASS,
    OPENED,
    SUBJECT_CLASS,
    Reason,
    cookie,
)
from zethane.pipeline.flow import ASKED, SAMPLED, Action, FieldMatch, FieldValue, Flow, Match, SetField, match
from zethane.pipeline.grants import committed
from zethane.pipeline.services import opening, returning
from zethane.pipeline.tables import Priority, Table
from zethane.policy.entry import Compiled, End, Entry, Pair
from zethane.policy.service import Service

ClassNumber = Callable[[End], FieldValue]
"""What the register of one end is to be for an entry about it: a class, or what classes have in common."""

_ICMP_ERRORS = ((ETH_IPV4, ICMP, "icmpv4_type", (3, 11, 12)), (ETH_IPV6, ICMPV6, "icmpv6_type", (1, 2, 3, 4)))


def policy_entries(
    rule: Compiled, class_number: ClassNumber, number: int, priority: int, held: Sequence[Flow] = ()
) -> tuple[Flow, ...]:
    """The entries for what opens a flow, of a rule with this number. All are at its priority, and of no other rule.

    `held` are those that it has had: the ones that are the same are taken over.
    """
    why, name, grant = cookie(0, 0, number), rule.rule.id, rule.rule.is_grant
    actions: tuple[Action, ...] = ASKED if rule.rule.allow or rule.rule.expression is not None else SAMPLED
    if grant:
        actions = (SetField(GRANT, number),)
    goto = Table.GRANT if grant else None
    wanted = Table.RULE, priority, why, actions, goto
    known = {
        flow.match: flow
        for flow in held
        if (flow.table, flow.priority, flow.cookie, flow.actions, flow.goto) == wanted and flow.source == name
    }
    templates = [template for service in rule.services for template in _templates(service, answers=False)]
    subjects = [_register(end, SUBJECT_CLASS, class_number) for end in rule.subjects]
    objects = [_register(end, OBJECT_CLASS, class_number) for end in rule.objects]
    matches = (head + subject + obj + tail for subject in subjects for obj in objects for head, tail in templates)
    opening = tuple(
        known.get(one) or Flow(Table.RULE, priority, one, why, actions, goto=goto, source=name) for one in matches
    )
    return (*opening, *committed(number, name)) if grant else opening


def answer_entries(
    pair: Pair, entries: Iterable[Entry], class_number: ClassNumber, *, granting: bool, tracked: bool
) -> tuple[Flow, ...]:
    """The entries for answers to what these entries about two ends, of open rules, allow to be opened.

    `granting`: the policy has grants, so that what is denied has answers as well. `tracked`: connections between the
    two ends may be those of a grant, of this policy or an earlier one.
    """
    subject, obj = pair
    ends = _register(obj, SUBJECT_CLASS, class_number) + _register(subject, OBJECT_CLASS, class_number)
    found: dict[tuple[int, Match], Flow] = {}
    for entry in entries:
        for kind in _kinds(entry, granting=granting):
            for head, tail in _templates(entry.service, answers=True, tracked=kind.direction is _ANSWER_MATCH):
                wanted = head + kind.direction + ends + tail
                if (kind.priority, wanted) not in found:
                    found[kind.priority, wanted] = Flow(
                        Table.RULE, kind.priority, wanted, kind.why, kind.actions, goto=kind.goto, source=entry.rule
                    )
    if not tracked:
        return tuple(found.values())
    there = _register(subject, SUBJECT_CLASS, class_number) + _register(obj, OBJECT_CLASS, class_number)
    return (*found.values(), _tracked(there, Priority.FLOW_TRACKED), _tracked(ends, Priority.FLOW_TRACKED_BACK))


class _Kind(NamedTuple):
    """What becomes of answers. `direction` is what they match of the metadata."""

    priority: int
    direction: Match
    why: int
    actions: tuple[Action, ...] = ()
    goto: Table | None = None


# What a connection's own subject sends is no answer, whatever its port.
_NO_OPENER = match(metadata=(0, OPENED))
_ANSWER_MATCH = match(metadata=(ANSWERS, CONNECTION_MASK))
_VERIFIED = _Kind(Priority.RULE_RETURN, _NO_OPENER, cookie(0, 0, Reason.RETURN), ASKED)
_GRANTED = (
    _Kind(Priority.RULE_ANSWER, _ANSWER_MATCH, cookie(0, 0, Reason.FORWARD), goto=Table.FORWARD),
    # Below all that opens flows: the controller knows such a flow if the switch cannot track it, or its rule was no
    # grant before.
    _VERIFIED._replace(priority=Priority.RULE_GRANT_RETURN, why=cookie(0, 0, Reason.NO_CONNECTION)),
)
_DENIED = _Kind(Priority.RULE_ANSWER_DENIED, _ANSWER_MATCH, cookie(0, 0, Reason.ANSWER_DENIED), SAMPLED)
_UNSURE = _Kind(Priority.RULE_ANSWER_ASKED, _ANSWER_MATCH, cookie(0, 0, Reason.RETURN), ASKED)


def _kinds(entry: Entry, *, granting: bool) -> tuple[_Kind, ...]:
    if entry.allow:
        return _GRANTED if entry.grant else (_VERIFIED,)
    if not granting:
        return ()
    return (_DENIED,) if entry.relation is None else (_UNSURE,)


def _tracked(ends: Match, priority: int) -> Flow:
    """What is sent between two ends is looked up in connection tracking before it comes to `rule`."""
    return Flow(Table.FLOW, priority, ends, cookie(0, 0, Reason.UNVERIFIED), goto=Table.TRACK)


def related_errors() -> Iterator[Flow]:
    """ICMP errors go up: the controller knows the flow that they are about."""
    for eth_type, proto, name, kinds in _ICMP_ERRORS:
        for kind in kinds:
            yield Flow(
                Table.RULE,
                Priority.RULE_RELATED,
                match(eth_type=eth_type, ip_proto=proto, **{name: kind}),
                cookie(0, 0, Reason.RELATED),
                actions=ASKED,
            )


_WHOLE = 0xFFFFFFFF
"""All bits of a register."""

_Template = tuple[Match, Match]
"""The fields of a match that come before the registers, and those that come after them."""


@lru_cache(maxsize=4096)
def _templates(service: Service, *, answers: bool, tracked: bool = False) -> tuple[_Template, ...]:
    """The matches of a service, where both ends are left open.

    Of answers that are `tracked` the connection is known, whatever their flags: a reset may have no ACK (RFC 9293
    section 3.10.7), and one without the other flags is the same for TCP as for UDP to a switch's cache.
    """
    found = []
    for fields in returning(service) if answers else opening(service):
        if tracked:
            fields.pop("tcp_flags", None)
        whole = match(**fields)
        head = tuple(one for one in whole if one.name < SUBJECT_CLASS)
        found.append((head, whole[len(head) :]))
    return tuple(found)


def _register(end: End, register: str, class_number: ClassNumber) -> Match:
    """The match on one end."""
    wanted = class_number(end)
    value, mask = wanted if isinstance(wanted, tuple) else (wanted, _WHOLE)
    return (FieldMatch(register, value & mask, mask),)
