"""The compiled policy as entries of the table `rule`.

Denies are above allows, and each rule has a priority of its own, so that the entry which takes a packet is the
rule that `decide` names. What rests on a relation between both ends only the controller can tell, so that such a deny
goes up as well. Above both are the answers: a reply is not a new flow, and whether it belongs to one
only the controller knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6
from zethane.pipeline.fields import NETWORK_CLASS, OBJECT_CLASS, SUBJECT_CLASS, Reason, cookie
from zethane.pipeline.flow import SAMPLED, EntryKey, Flow, ToController, match
from zethane.pipeline.services import Fields, opening, returning
from zethane.pipeline.tables import Priority, Table
from zethane.policy.compile import Class, Entry

ClassNumber = Callable[[Class], int]
RuleNumber = Callable[[str], int]

_ICMP_ERRORS = ((ETH_IPV4, ICMP, "icmpv4_type", (3, 11, 12)), (ETH_IPV6, ICMPV6, "icmpv6_type", (1, 2, 3, 4)))


def policy_entries(
    entries: Iterable[Entry], class_number: ClassNumber, rule_number: RuleNumber
) -> dict[EntryKey, Flow]:
    """The entries of `rule` that come from those of a compiled policy, by their key."""
    flows: dict[EntryKey, Flow] = {}
    for entry in entries:
        for flow in _entry(entry, class_number, rule_number):
            flows.setdefault(flow.key, flow)
    return flows


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


def _entry(entry: Entry, class_number: ClassNumber, rule_number: RuleNumber) -> Iterator[Flow]:
    subject = None if entry.subject is None else class_number(entry.subject)
    obj = None if entry.object is None else class_number(entry.object)
    why = cookie(0, 0, rule_number(entry.rule))
    top = Priority.RULE_ALLOW_TOP if entry.allow else Priority.RULE_DENY_TOP
    for fields in opening(entry.service):
        yield Flow(
            Table.RULE,
            top - entry.rank,
            match(**_classes(subject, obj), **fields),
            why,
            actions=(ToController(),) if entry.allow or entry.relation is not None else SAMPLED,
            source=entry.rule,
        )
    if entry.allow:
        for fields in returning(entry.service):
            yield Flow(
                Table.RULE,
                Priority.RULE_RETURN,
                match(**_classes(obj, subject), **fields),
                cookie(0, 0, Reason.RETURN),
                actions=(ToController(),),
                source=entry.rule,
            )


def _classes(sender: int | None, receiver: int | None) -> Fields:
    """The classes of both ends; None is any session, and no network."""
    session = (0, NETWORK_CLASS)
    return {
        SUBJECT_CLASS: session if sender is None else sender,
        OBJECT_CLASS: session if receiver is None else receiver,
    }
