"""Grants: what the switch lets in by itself, with connection tracking in the place of per-flow rules.

The connection's label says which session opened it to which, by which rule, and in which epoch of the store. OpenFlow
cannot compare two fields; that the label's subject and object are those of the packet is shown by entries of the
sessions, two in `connection` and two in `owner`, so that they grow with the sessions and never with pairs of them. The
table `rule` then knows of each packet whether it goes the way in which its connection was opened, or answers, or
neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, UDP
from zethane.pipeline.fields import (
    ANSWERS,
    CONNECTION_MASK,
    CT_INVALID,
    CT_REPLY,
    CT_TRACKED,
    FABRIC,
    GRANT,
    LET_IN,
    LET_IN_AT_ONCE,
    LET_IN_UNTOLD,
    OBJECT_MASK,
    OBJECT_SHIFT,
    OPENED,
    RECORD_METER,
    RULE_MASK,
    SUBJECT_MASK,
    SUBJECT_SHIFT,
    Reason,
    cookie,
    label,
)
from zethane.pipeline.flow import (
    ASKED,
    SAMPLE_LENGTH,
    Commit,
    FieldValue,
    Flow,
    Resubmit,
    SetField,
    ToController,
    Track,
)
from zethane.pipeline.flow import match as matching
from zethane.pipeline.tables import Priority, Table

MAX_ZONE = 0xFFFF

_CT_BITS = CT_TRACKED | CT_REPLY | CT_INVALID
_CT_INVALID = CT_TRACKED | CT_INVALID
_FAMILIES = (ETH_IPV4, ETH_IPV6)
_OPENING = ((TCP_SYN, TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST),)
_ECHO = {ETH_IPV4: (ICMP, "icmpv4", 8), ETH_IPV6: (ICMPV6, "icmpv6", 128)}

COPIED = (Resubmit(Table.FORWARD), Resubmit(Table.RECORD), ToController(SAMPLE_LENGTH))
"""Forwarded, and then a copy goes up if the meter lets it."""


class Opening(Enum):
    """How a switch lets the new connections of grants in."""

    AT_ONCE = LET_IN_AT_ONCE
    """The first packet goes on as the connection is taken up, and a copy goes up."""
    UNTOLD = LET_IN_AT_ONCE | LET_IN_UNTOLD
    """The same without a copy: of so many connections the log has no line each."""
    CHECKED = 0
    """The first packet goes on once it is known that there was room for the connection; it is verified otherwise."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """Where connections are tracked: `zones` is in front of the number of each switch, `epoch` in every label."""

    zones: int = 0
    epoch: int = 1

    def zone(self, switch: int) -> int:
        """The zone of one switch: those of one Open vSwitch daemon share their connections."""
        return self.zones + switch


def tracking_entries(tracking: Tracking, switch: int) -> Iterator[Flow]:
    """What every switch holds, whether there are grants or not: tracking, and what becomes of granted packets."""
    zone = tracking.zone(switch)
    why = cookie(0, 0, Reason.FORWARD)
    for eth_type in _FAMILIES:
        family = matching(eth_type=eth_type)
        yield Flow(Table.TRACK, Priority.TRACK, family, why, actions=(Track(zone, Table.CONNECTION),))
    yield Flow(Table.CONNECTION, Priority.CONNECTION_OTHER, (), why, goto=Table.RULE)
    none = (0, CONNECTION_MASK)
    yield Flow(Table.OWNER, Priority.CONNECTION_OTHER, (), why, metadata=none, goto=Table.RULE)
    open_already = matching(metadata=(OPENED, CONNECTION_MASK))
    yield Flow(Table.GRANT, Priority.GRANT_OPEN, open_already, why, goto=Table.FORWARD)
    commit = Commit(zone, Table.COMMITTED, tracking.epoch)
    for fields in _openings():
        yield Flow(Table.GRANT, Priority.GRANT_NEW, matching(**fields), why, actions=(Resubmit(Table.OPENING), commit))
    yield Flow(Table.GRANT, Priority.MISS, (), cookie(0, 0, Reason.UNTRACKED), actions=ASKED)
    # Labelled it may be, as the connection that is there was: what follows it would be as invalid.
    invalid = matching(ct_state=(_CT_INVALID, _CT_INVALID))
    yield Flow(Table.COMMITTED, Priority.COMMITTED_INVALID, invalid, cookie(0, 0, Reason.INVALID), actions=ASKED)
    yield Flow(Table.COMMITTED, Priority.MISS, (), cookie(0, 0, Reason.NOT_COMMITTED), actions=ASKED)
    yield Flow(Table.RECORD, Priority.MISS, (), why, meter=RECORD_METER)


def opening_entries(tracking: Tracking, switch: int, how: Opening) -> Iterator[Flow]:
    """What makes the difference between the ways to let new connections in: nothing for those that are checked.

    What tracking finds invalid has to be checked, whose answers would not pass. Of TCP that is not known before the
    connection is taken up, for a SYN has not been looked up.
    """
    if how is Opening.CHECKED:
        return
    commit = Commit(tracking.zone(switch), None, tracking.epoch)
    actions = (Resubmit(Table.OPENING), commit, SetField(LET_IN, how.value))
    for fields in _openings():
        valid: dict[str, FieldValue] = {} if fields["ip_proto"] == TCP else {"ct_state": (0, CT_INVALID)}
        yield Flow(
            Table.GRANT,
            Priority.GRANT_NEW_AT_ONCE,
            matching(**fields, **valid),
            cookie(0, 0, Reason.FORWARD),
            actions=actions,
            goto=Table.COMMITTED,
        )


def _openings() -> Iterator[dict[str, FieldValue]]:
    """The packets that may open a connection: those whose connections the switch can tell apart."""
    for eth_type in _FAMILIES:
        family: dict[str, FieldValue] = {"eth_type": eth_type}
        for flags in _OPENING:
            yield family | {"ip_proto": TCP, "tcp_flags": flags}
        yield family | {"ip_proto": UDP}
        proto, version, request = _ECHO[eth_type]
        yield family | {"ip_proto": proto, f"{version}_type": request, f"{version}_code": 0}


def connection_ends(number: int, epoch: int, source: str, *, notify: bool) -> Iterator[Flow]:
    """The entries of one session, uplink included: what it sends and receives in connections that it has opened, or
    that were opened to it. Their counters are the session's account, which its own switch reports when they go."""
    as_sender, as_receiver = cookie(number, 0, Reason.BINDING), cookie(0, number, Reason.BINDING)
    for role, reply in ((OPENED, 0), (ANSWERS, CT_REPLY)):
        first, second = ("subject", "obj") if role == OPENED else ("obj", "subject")
        yield Flow(
            Table.CONNECTION,
            Priority.CONNECTION,
            matching(
                ct_state=(CT_TRACKED | reply, _CT_BITS),
                ct_label=label(**{first: number}, epoch=epoch),
                metadata=(number << SUBJECT_SHIFT, SUBJECT_MASK),
            ),
            as_sender,
            metadata=(role, CONNECTION_MASK),
            goto=Table.OWNER,
            notify_removed=notify,
            source=source,
        )
        yield Flow(
            Table.OWNER,
            Priority.CONNECTION,
            matching(
                ct_label=label(**{second: number}, epoch=epoch),
                metadata=(number << OBJECT_SHIFT | role, OBJECT_MASK | CONNECTION_MASK),
            ),
            as_receiver,
            goto=Table.RULE,
            notify_removed=notify,
            source=source,
        )


def committed(rule: int, source: str) -> Iterator[Flow]:
    """A grant's new connections: told by the switch where they begin, and only let on by the one at the other end."""
    looked_at: dict[str, FieldValue] = {"ct_label": (rule, RULE_MASK)}
    yield _let_on(rule, source, 0, looked_at, is_told=True)
    yield _let_on(rule, source, FABRIC, looked_at, is_told=False)
    yield _let_on(rule, source, 0, {LET_IN: LET_IN_AT_ONCE}, is_told=True)
    yield _let_on(rule, source, 0, {LET_IN: LET_IN_AT_ONCE | LET_IN_UNTOLD}, is_told=False)
    yield _let_on(rule, source, FABRIC, {LET_IN: (LET_IN_AT_ONCE, LET_IN_AT_ONCE)}, is_told=False)


def _let_on(rule: int, source: str, fabric: int, how: dict[str, FieldValue], *, is_told: bool) -> Flow:
    return Flow(
        Table.COMMITTED,
        Priority.COMMITTED_AT_ONCE if LET_IN in how else Priority.COMMITTED,
        matching(**{GRANT: rule}, **how, metadata=(fabric, FABRIC)),
        cookie(0, 0, rule),
        actions=COPIED if is_told else (),
        goto=None if is_told else Table.FORWARD,
        source=source,
    )
