"""What sessions and rules have carried through connections that switches let in by themselves.

There is no per-flow rule that would report at its end what it has let through. But a session's entries of `connection`
count what it has sent in such connections, and those of `owner` what it has received; `committed` counts the
connections that a rule has begun, and `rule` the packets that went along with it. Attestation reads them every half
minute anyway, so that this asks switches for nothing; and what an entry had counted when it went, the switch reports.

Of a session only its own switch is believed, and its totals never go back. What rules have carried is told switch by
switch: both ends of a connection see its packets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from zethane.identity.session import Session
from zethane.pipeline.fields import FABRIC, GRANT, RULE_MASK, split_cookie
from zethane.pipeline.flow import SetField
from zethane.pipeline.held import Reported
from zethane.pipeline.tables import Table
from zethane.service.counts import NOTHING, Counts, RuleCounts
from zethane.service.points import Point
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.switch import EntryRemoved

EVERY = 60.0
"""Seconds between two records of one session, or of one rule at one switch, at the least."""

LAST_COUNTS_DUE = 5.0
"""Seconds to wait for what the entries of a session that has ended had counted."""

ENTRIES = 4
"""Entries of one session whose counters are its account: two of `connection`, two of `owner`."""

MAX_CLOSING = 65_536
"""Ended sessions whose last counts may be outstanding."""

_COUNTED = frozenset((Table.CONNECTION, Table.OWNER, Table.COMMITTED, Table.RULE))


def is_counted(table: int) -> bool:
    """Whether the counters of a table's entries are somebody's account."""
    return table in _COUNTED


@dataclass(slots=True)
class _Account:
    """Of one session: what entries that are gone had counted, what those that are there had when last read, and what
    was told, and when."""

    gone: Counts = NOTHING
    read: Counts = NOTHING
    told: Counts = NOTHING
    told_at: float = float("-inf")

    @property
    def total(self) -> Counts:
        return self.gone + self.read


@dataclass(slots=True)
class _Closing:
    """An ended session: what was known at its end, what is still to come of its entries, and until when it is waited
    for."""

    session: Session
    account: _Account
    known: Counts
    due: float
    outstanding: int = ENTRIES


@dataclass(slots=True)
class _RuleAccount:
    """Of one rule at one switch: the counters when last read, and what has come since the last record."""

    read: RuleCounts
    untold: RuleCounts = field(default_factory=RuleCounts)
    told_at: float = float("-inf")


class GrantUsage:
    """Keeps the accounts, and writes their records."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._began = state.clock()
        self._accounts: dict[int, _Account] = {}
        self._closing: dict[int, _Closing] = {}
        self._rules: dict[int, dict[int, _RuleAccount]] = {}
        self._gone: dict[int, set[int]] = {}
        """Of switches that are being read: the sessions of which entries have gone since that began."""

    def of(self, number: int) -> Counts:
        """What a session has sent and received, as far as it is known; one that has ended for some seconds."""
        closing = self._closing.get(number)
        account = self._accounts.get(number)
        if closing is not None:
            return closing.account.total.at_least(closing.known)
        return NOTHING if account is None else account.total

    def is_closing(self, number: int) -> bool:
        """Whether an ended session's last counts are outstanding."""
        return number in self._closing

    # what switches say

    @contextmanager
    def reading(self, point: Point) -> Iterator[None]:
        """A switch's entries are read within the block.

        What the switch lists may have an entry still that it reports as gone meanwhile. To count it once, the session
        that this has happened to is left out this time: the next reading says what is there then.
        """
        self._gone[point.switch.dpid] = set()
        try:
            yield
        finally:
            del self._gone[point.switch.dpid]

    def read(self, point: Point, entries: Iterable[Reported]) -> None:
        """The counters of a switch's entries, as they are now. Records are written of what is due."""
        gone = self._gone[point.switch.dpid]
        sessions: dict[int, Counts] = {}
        rules: dict[int, RuleCounts] = {}
        older: set[int] = set()
        now = self._state.clock()
        for entry in entries:
            subject, obj, rule = split_cookie(entry.cookie)
            if entry.table == Table.CONNECTION and subject in point.local:
                sessions[subject] = sessions.get(subject, NOTHING) + Counts(entry.packets, entry.octets)
            elif entry.table == Table.OWNER and obj in point.local:
                sessions[obj] = sessions.get(obj, NOTHING) + Counts(0, 0, entry.packets, entry.octets)
            elif (counted := _of_rule(entry)) is not None:
                rules[rule] = rules.get(rule, RuleCounts()) + counted
                if entry.age > now - self._began:
                    older.add(rule)
        for number, counts in sessions.items():
            if number not in gone:
                self._session(number, counts, now)
        accounts = self._rules.setdefault(point.number, {})
        for rule in accounts.keys() - rules.keys():
            del accounts[rule]  # it is no grant any more
        for rule, found in rules.items():
            account = accounts.get(rule)
            if account is None:
                # Entries from before this controller: what they had counted until then was another one's to tell.
                account = accounts[rule] = _RuleAccount(found if rule in older else RuleCounts())
            self._rule(point, rule, account, found, now)

    def removed(self, dpid: int, event: EntryRemoved) -> None:
        """An entry is gone: what it had counted is kept."""
        subject, obj, _ = split_cookie(event.cookie)
        if event.table == Table.CONNECTION:
            number, counts = subject, Counts(event.packets, event.octets)
        else:
            number, counts = obj, Counts(0, 0, event.packets, event.octets)
        if dpid in self._gone:
            self._gone[dpid].add(number)
        closing = self._closing.get(number)
        if closing is not None:
            if closing.session.attachment.dpid == dpid:
                closing.account.gone += counts
                closing.outstanding -= 1
                if not closing.outstanding:
                    self._close(number)
            return
        live = self._state.sessions.by_number.get(number)
        if live is not None and live.session.attachment.dpid == dpid and counts != NOTHING:
            account = self._accounts.setdefault(number, _Account())
            account.gone += counts
            account.read = account.read.less(counts)

    # time

    def ended(self, live: Live) -> None:
        """A session has ended: its last record comes when its switch has said what its entries had counted."""
        number = live.session.number
        account = self._accounts.pop(number, None)
        if not self._state.policy.has_grants or len(self._closing) >= MAX_CLOSING:
            if account is not None:
                self._tell(live.session, account, "session-ended", self._state.clock())
            return
        account = account or _Account()
        known, account.read = account.total, NOTHING  # the entries say all of it when they go
        self._closing[number] = _Closing(live.session, account, known, self._state.clock() + LAST_COUNTS_DUE)

    def tick(self, now: float) -> None:
        """Wait no longer for what does not come: of a switch that is away."""
        for number in [number for number, closing in self._closing.items() if closing.due <= now]:
            self._close(number)

    def _close(self, number: int) -> None:
        closing = self._closing.pop(number)
        closing.account.gone = closing.account.gone.at_least(closing.known)
        self._tell(closing.session, closing.account, "session-ended", self._state.clock())

    def _session(self, number: int, counts: Counts, now: float) -> None:
        live = self._state.sessions.by_number.get(number)
        if live is None or (counts == NOTHING and number not in self._accounts):
            return
        account = self._accounts.setdefault(number, _Account())
        if counts.is_before(account.read):  # the switch has begun anew
            account.gone += account.read
        account.read = counts
        if now - account.told_at >= EVERY:
            self._tell(live.session, account, "interval", now)

    def _tell(self, session: Session, account: _Account, reason: str, now: float) -> None:
        total = account.total.at_least(account.told)
        if total != account.told:
            self._state.counters["granted_packets"] += total.sent_packets - account.told.sent_packets
            self._state.counters["granted_bytes"] += total.sent_octets - account.told.sent_octets
            self._state.journal.session_usage(session, total, reason, now)
            account.told, account.told_at = total, now

    def _rule(self, point: Point, rule: int, account: _RuleAccount, counts: RuleCounts, now: float) -> None:
        account.untold += counts.since(account.read)
        account.read = counts
        name = self._state.policy.rule_ids.get(rule)
        if name is not None and account.untold != RuleCounts() and now - account.told_at >= EVERY:
            self._state.journal.rule_usage(name, point.switch.name, account.untold, now)
            account.untold, account.told_at = RuleCounts(), now


def _of_rule(entry: Reported) -> RuleCounts | None:
    """What an entry has counted for the grant whose number is in its cookie; None if it is of none."""
    if entry.flow is None:
        return None
    if entry.table == Table.COMMITTED:
        begins_here = any(name == "metadata" and value & FABRIC == 0 for name, value, _ in entry.flow.match)
        return RuleCounts(entry.packets) if begins_here else None
    rule = entry.cookie & RULE_MASK
    return RuleCounts(0, entry.packets, entry.octets) if SetField(GRANT, rule) in entry.flow.actions else None
