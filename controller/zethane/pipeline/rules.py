"""The compiled policy as entries of the table `rule`.

Denies are above allows, and each rule has a priority of its own, so that the entry which takes a packet is the
rule that `decide` names. What rests on a relation between both ends only the controller can tell, so that such a deny
goes up as well. Above both are the answers: a reply is not a new flow, and whether it belongs to one
only the controller knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6
from zethane.pipeline.fields import OBJECT_CLASS, SUBJECT_CLASS, Reason, cookie
from zethane.pipeline.flow import SAMPLED, FieldMatch, FieldValue, Flow, Match, ToController, match
from zethane.pipeline.services import opening, returning
from zethane.pipeline.tables import Priority, Table
from zethane.policy.entry import Compiled, End, Entry, Pair
from zethane.policy.service import Service

ClassNumber = Callable[[End], FieldValue]
"""What the register of one end is to be for an entry about it: a class, or what classes have in common."""

_ICMP_ERRORS = ((ETH_IPV4, ICMP, "icmpv4_type", (3, 11, 12)), (ETH_IPV6, ICMPV6, "icmpv6_type", (1, 2, 3, 4)))


def policy_entries(rule: Compiled, class_number: ClassNumber, number: int, priority: int) -> tuple[Flow, ...]:
    """The entries for what opens a flow, of a rule with this number. All are at its priority, and of no other rule."""
    why = cookie(0, 0, number)
    actions = _VERIFY if rule.rule.allow or rule.rule.expression is not None else SAMPLED
    name = rule.rule.id
    templates = [template for service in rule.services for template in _templates(service, answers=False)]
    subjects = [_register(end, SUBJECT_CLASS, class_number) for end in rule.subjects]
    objects = [_register(end, OBJECT_CLASS, class_number) for end in rule.objects]
    return tuple(
        Flow(Table.RULE, priority, head + subject + obj + tail, why, actions, source=name)
        for subject in subjects
        for obj in objects
        for head, tail in templates
    )


def answer_entries(pair: Pair, allowed: Iterable[Entry], class_number: ClassNumber) -> tuple[Flow, ...]:
    """The entries for answers to what these entries about two ends allow to be opened."""
    subject, obj = pair
    ends = _register(obj, SUBJECT_CLASS, class_number) + _register(subject, OBJECT_CLASS, class_number)
    found: dict[Match, Flow] = {}
    for entry in allowed:
        for head, tail in _templates(entry.service, answers=True):
            wanted = head + ends + tail
            if wanted not in found:
                found[wanted] = Flow(Table.RULE, Priority.RULE_RETURN, wanted, _ANSWER, _VERIFY, source=entry.rule)
    return tuple(found.values())


def related_errors() -> Iterator[Flow]:
    """ICMP errors go up: the controller knows the flow that they are about."""
    for eth_type, proto, name, kinds in _ICMP_ERRORS:
        for kind in kinds:
            yield Flow(
                Table.RULE,
                Priority.RULE_RELATED,
                match(eth_type=eth_type, ip_proto=proto, **{name: kind}),
                cookie(0, 0, Reason.RELATED),
                actions=(ToController(),),
            )


_VERIFY = (ToController(),)
_ANSWER = cookie(0, 0, Reason.RETURN)

_WHOLE = 0xFFFFFFFF
"""All bits of a register."""

_Template = tuple[Match, Match]
"""The fields of a match that come before the registers, and those that come after them."""


@lru_cache(maxsize=4096)
def _templates(service: Service, *, answers: bool) -> tuple[_Template, ...]:
    """The matches of a service, where both ends are left open."""
    found = []
    for fields in returning(service) if answers else opening(service):
        whole = match(**fields)
        head = tuple(one for one in whole if one.name < SUBJECT_CLASS)
        found.append((head, whole[len(head) :]))
    return tuple(found)


def _register(end: End, register: str, class_number: ClassNumber) -> Match:
    """The match on one end."""
    wanted = class_number(end)
    value, mask = wanted if isinstance(wanted, tuple) else (wanted, _WHOLE)
    return (FieldMatch(register, value & mask, mask),)
