"""What a decision log says was tried and done, flow by flow, between principals: record for record, in the log's order.

Who somebody was is what the session's records in the same log say, as of the time of the flow; without one, what the
identities say of the name. The memory that this takes does not grow with the number of records.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from zethane.audit.reason import DenyReason
from zethane.audit.recorded import (
    Recorded,
    RecordedDecision,
    RecordedEnd,
    RecordedFlow,
    RecordedParty,
    RecordedSession,
    RecordError,
    read_line,
)
from zethane.net.prefix import Address
from zethane.policy.principal import External, Principal
from zethane.policy.seen import Seen

MAX_SESSIONS = 200_000
"""Sessions whose facts are remembered; the ones heard of longest ago go first."""

MAX_CHANGES = 64
"""Facts of one session, one after the other, that are remembered."""

MAX_NAMES = 65_536
"""Names that are remembered, whether the identities have them or not."""

MAX_COUNTED = 1000
"""Different reasons, kinds of damage or unknown names that are counted apart."""

OTHERS = "(others)"
"""What is counted together beyond that."""

OF_POLICY = frozenset(
    reason.value for reason in (DenyReason.NO_RULE, DenyReason.DENY_RULE, DenyReason.CONDITION_NOT_MET)
)
"""The reasons of denials that another policy would have decided otherwise."""

INFRASTRUCTURE = "infrastructure"
"""Flows to servers of the network itself, which no policy decides."""

Known = Callable[[str], Principal | None]
"""Who the identities know by `user:alice`, with all that they can prove; None: nobody."""


@dataclass(slots=True)
class Account:
    """What was read, and what could not be used. The counters have a bounded number of keys.

    `damaged` counts lines by what is wrong with them; `missing` is what the log itself says was left out of it, by
    reason: denied packets that a rate limit kept out, and records that were lost. `aside` are decisions, and ends of
    flows, that no policy made, by reason. `ends` counts the ends of flows by where their facts come from: `session`
    (the log's own records), `identities` (by name), `outside` (an address), `unknown`; `unknown` has their names.
    """

    lines: int = 0
    records: int = 0
    first: float = math.inf
    last: float = -math.inf
    decisions: int = 0
    flow_ends: int = 0
    damaged: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    aside: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


class _Facts:
    """Who one session, or one name, was: the facts in the order in which they became so."""

    __slots__ = ("_at", "facts")

    def __init__(self) -> None:
        self.facts: list[tuple[float, Principal]] = []
        self._at: dict[tuple[int, Address], Principal] = {}

    def add(self, since: float, principal: Principal) -> None:
        if self.facts and self.facts[-1][1] == principal:
            return
        if len(self.facts) >= MAX_CHANGES:
            self.facts.pop(0)
            self._at.clear()
        self.facts.append((since, principal))

    def at(self, time: float, address: Address) -> Principal:
        """Who it was at a time, acting from an address."""
        place = len(self.facts) - 1
        while place > 0 and self.facts[place][0] > time:
            place -= 1
        found = self._at.get((place, address))
        if found is None:
            if len(self._at) >= MAX_CHANGES:
                self._at.clear()
            found = self._at[place, address] = replace(self.facts[place][1], address=address)
        return found


class Observer:
    """Takes a log line by line, and tells what each says of a flow.

    `known` is asked about names of which the log has no session. Nothing is told of before `since` and from `until` on,
    in seconds since the epoch; a flow that lasted into that time is.
    """

    def __init__(self, known: Known, since: float = -math.inf, until: float = math.inf) -> None:
        self.account = Account()
        self._known = known
        self._since = since
        self._until = until
        self._sessions: OrderedDict[int, _Facts] = OrderedDict()
        self._names: dict[str, _Facts | None] = {}
        self._outside: dict[Address, External] = {}

    def line(self, line: bytes) -> Seen | None:
        """Take one line; what it says of a flow that policy decided, None where it says nothing of one."""
        account = self.account
        account.lines += 1
        try:
            recorded = read_line(line)
        except RecordError as error:
            self.damage(error.kind)
            return None
        account.records += 1
        if recorded is None:
            return None
        if recorded.time < account.first:
            account.first = recorded.time
        if recorded.time > account.last:
            account.last = recorded.time
        return self._take(recorded)

    def damage(self, kind: str) -> None:
        """Count something that could not be read."""
        _count(self.account.damaged, kind)

    def _take(self, recorded: Recorded) -> Seen | None:
        if isinstance(recorded, RecordedSession):
            self._session(recorded)
            return None
        if not self._since <= recorded.time < self._until:
            is_in = isinstance(recorded, RecordedEnd) and recorded.began < self._until <= recorded.time
            if not is_in:
                return None
        if isinstance(recorded, RecordedDecision):
            self.account.decisions += 1
            return self._decision(recorded)
        if isinstance(recorded, RecordedEnd):
            self.account.flow_ends += 1
            return self._end(recorded)
        _count(self.account.missing, recorded.reason, recorded.records)
        return None

    def _session(self, session: RecordedSession) -> None:
        principal = session.principal
        if principal is None:
            known = self._known(session.account)
            if known is None:
                return
            moment = session.time if session.mfa else None
            principal = replace(known, mfa=session.mfa, mfa_at=moment, aal=session.aal)
        facts = self._sessions.get(session.number)
        if facts is None:
            if len(self._sessions) >= MAX_SESSIONS:
                self._sessions.popitem(last=False)
            facts = self._sessions[session.number] = _Facts()
        else:
            self._sessions.move_to_end(session.number)
        facts.add(session.time, principal)

    def _decision(self, decision: RecordedDecision) -> Seen | None:
        if not decision.allowed and decision.reason not in OF_POLICY:
            _count(self.account.aside, decision.reason)
            return None
        if decision.flow is None:
            _count(self.account.aside, "not-ip")
            return None
        rule = None if decision.reason == DenyReason.CONDITION_NOT_MET.value else decision.rule
        return self._seen(decision.flow, decision.time, decision.time, decision.allowed, rule, 1, 0, 0)

    def _end(self, end: RecordedEnd) -> Seen | None:
        # A flow that is older than the log has no other record in it.
        flows = int(end.began < max(self._since, self.account.first))
        return self._seen(end.flow, end.began, end.time, True, end.rule, flows, end.packets, end.octets)

    def _seen(
        self,
        flow: RecordedFlow,
        first: float,
        last: float,
        allowed: bool,
        rule: str | None,
        flows: int,
        packets: int,
        octets: int,
    ) -> Seen | None:
        if flow.subject is None or flow.object is None:
            _count(self.account.aside, "nobody-there")
            return None
        if "server" in (flow.subject.kind, flow.object.kind):
            _count(self.account.aside, INFRASTRUCTURE)
            return None
        subject = self._who(flow.subject, flow.source, first)
        target = self._who(flow.object, flow.target, first)
        if subject is None or target is None:
            return None
        return Seen(
            subject,
            target,
            flow.ip_proto,
            flow.port,
            _words(flow.subject, flow.source),
            _words(flow.object, flow.target),
            flows,
            packets,
            octets,
            first,
            last,
            allowed,
            rule,
        )

    def _who(self, party: RecordedParty, address: Address, time: float) -> Principal | External | None:
        """Who was meant, as of a time; None where that cannot be said."""
        if party.kind == "network":
            self.account.ends["outside"] += 1
            return self._external(address)
        facts = self._sessions.get(party.session) if party.session is not None else None
        if facts is not None:
            self.account.ends["session"] += 1
            return facts.at(time, address)
        named = self._named(party.account)
        if named is not None:
            self.account.ends["identities"] += 1
            return named.at(time, address)
        self.account.ends["unknown"] += 1
        _count(self.account.unknown, party.account)
        return None

    def _external(self, address: Address) -> External:
        found = self._outside.get(address)
        if found is None:
            if len(self._outside) >= MAX_NAMES:
                self._outside.clear()
            found = self._outside[address] = External(address)
        return found

    def _named(self, account: str) -> _Facts | None:
        if account not in self._names:
            if len(self._names) >= MAX_NAMES:
                self._names.clear()
            principal = self._known(account)
            facts = None
            if principal is not None:
                facts = _Facts()
                facts.add(-math.inf, principal)
            self._names[account] = facts
        return self._names[account]


def _words(party: RecordedParty, address: Address) -> str:
    return str(address) if party.kind == "network" else party.account


def _count(counter: Counter[str], key: str, number: int = 1) -> None:
    counter[key if key in counter or len(counter) < MAX_COUNTED else OTHERS] += number
