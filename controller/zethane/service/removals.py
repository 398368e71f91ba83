"""Removals: what takes back everything that names a session, in the tables that know sessions.

One message for all tables would reach those of other owners, whose cookies may mean anything.
"""

from __future__ import annotations

from zethane.pipeline.addresses import destination_fields, source_fields
from zethane.pipeline.change import Change, RemoveMatching
from zethane.pipeline.fields import ALL_BITS, OBJECT_MASK, SUBJECT_MASK, Reason, cookie
from zethane.pipeline.flow import match
from zethane.pipeline.tables import Table


def all_of(number: int, *, tracked: bool) -> list[Change]:
    """Everything that names a session as subject or as object; `tracked`: in connections of grants as well."""
    return [*bindings_of(number), *flows_of(number), *(connections_of(number) if tracked else ())]


def connections_of(number: int) -> list[Change]:
    """What shows that connections of grants are a session's."""
    return [
        RemoveMatching(Table.CONNECTION, (), cookie(number, 0, Reason.BINDING), ALL_BITS),
        RemoveMatching(Table.OWNER, (), cookie(0, number, Reason.BINDING), ALL_BITS),
    ]


def bindings_of(number: int) -> list[RemoveMatching]:
    """A session's bindings: without them none of its packets passes, whatever per-flow rules there are.

    Their cookies are named whole: Open vSwitch finds those without looking at the bindings of others.
    """
    return [
        RemoveMatching(Table.SOURCE, (), cookie(number, 0, Reason.BINDING), ALL_BITS),
        RemoveMatching(Table.DESTINATION, (), cookie(0, number, Reason.BINDING), ALL_BITS),
    ]


def flows_of(number: int) -> list[Change]:
    """Every per-flow rule that names a session as subject or as object."""
    return [
        RemoveMatching(Table.FLOW, (), cookie(number, 0, 0), SUBJECT_MASK),
        RemoveMatching(Table.FLOW, (), cookie(0, number, 0), OBJECT_MASK),
    ]


def all_with(number: int, address: bytes) -> list[Change]:
    """Everything that names a session and one of its addresses."""
    as_subject, as_object = cookie(number, 0, 0), cookie(0, number, 0)
    sent, received = match(**source_fields(address)), match(**destination_fields(address))
    found: list[Change] = [
        RemoveMatching(Table.SOURCE, sent, as_subject, SUBJECT_MASK),
        RemoveMatching(Table.DESTINATION, received, as_object, OBJECT_MASK),
    ]
    for wanted in (sent, received):
        found.append(RemoveMatching(Table.FLOW, wanted, as_subject, SUBJECT_MASK))
        found.append(RemoveMatching(Table.FLOW, wanted, as_object, OBJECT_MASK))
    return found
