"""The matrix by segment and by host, as a page shows it: for each pair what may be opened, by which rules, under what.

Pairs of which all that is the same share one cell, and places or hosts that open the same a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zethane.document import count
from zethane.policy.access import Access, Piece, access, asks
from zethane.policy.bits import bits
from zethane.policy.decide import each, place_of
from zethane.policy.matrix import Hosts
from zethane.policy.model import Place, Policy, Rule
from zethane.policy.principal import External, Party

State = Literal["allow", "condition", "deny", "none"]
"""Something is open; something is, or would be, under a condition; a rule denies and nothing is open; no rule does."""

MAX_HOSTS = 2000
"""Hosts, or addresses of hosts outside, that a table of hosts may have: of more the first are in it."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A service that is open (`allow`), or under a condition, with the rules for it and those that may take it back."""

    service: str
    state: State
    rules: tuple[str, ...]
    denies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What a cell holds. `denies` are the rules that deny something of the pair."""

    state: State
    offers: tuple[Offer, ...] = ()
    denies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Name:
    """A row and column: what it is called, and what is known of it in a few words."""

    name: str
    note: str


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are numbers of `Tables.contents`; `row_of` has for each name the number of its row in `rows`."""

    names: tuple[Name, ...]
    row_of: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]

    def cell(self, source: int, target: int) -> int:
        """The number of the content of a cell."""
        return self.rows[self.row_of[source]][target]

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        names = [[one.name, one.note] for one in self.names]
        return {"names": names, "rowOf": list(self.row_of), "rows": [list(row) for row in self.rows]}


@dataclass(frozen=True, slots=True)
class Tables:
    """Both matrices. Content 0 is that of a pair about which no rule says anything.

    `left_out` is how many hosts were too many for the table of hosts.
    """

    contents: tuple[Content, ...]
    segments: Table
    hosts: Table
    left_out: int = 0

    def view(self) -> Mapping[str, Any]:
        """JSON-ready, in short: contents are [state, [[service, state, rules, denies], …], denies]."""
        contents = [
            [one.state, [[o.service, o.state, list(o.rules), list(o.denies)] for o in one.offers], list(one.denies)]
            for one in self.contents
        ]
        return {"contents": contents, "segments": self.segments.view(), "hosts": self.hosts.view()}


def rule_view(rule: Rule) -> Mapping[str, Any]:
    """JSON-ready: a rule as the page explains it."""
    return {
        "action": rule.action,
        "line": rule.line,
        "from": rule.source_text,
        "to": rule.target_text,
        "services": [str(service) for service in rule.services],
        "asks": list(asks(rule)),
        "stage": rule.stage,
        "enforce": rule.enforce,
    }


def tables(policy: Policy, hosts: Hosts, now: float = 0.0) -> Tables:
    """Both matrices at a moment, in seconds since the epoch. Hosts count as what their logins prove."""
    return _Builder(policy, hosts, now).build()


class _Builder:
    """Contents are numbered as they are met."""

    def __init__(self, policy: Policy, hosts: Hosts, now: float) -> None:
        self._policy, self._hosts, self._now = policy, hosts, now
        self._access: Access = access(policy)
        self._contents: dict[Content, int] = {Content("none"): 0}
        self._denying = [rule for rule in policy.enforced if not rule.allow]
        self._number = {place: number for number, place in enumerate(self._access.places)}

    def build(self) -> Tables:
        hosts = self._host_table()
        segments = self._segment_table()
        every = sum(len(each(parties)) for parties in self._hosts.values())
        return Tables(tuple(self._contents), segments, hosts, every - len(hosts.names))

    def _content(self, offers: Sequence[Offer], denies: Sequence[str]) -> int:
        states = {offer.state for offer in offers}
        state: State = "allow" if "allow" in states else "condition" if states else "deny" if denies else "none"
        return self._contents.setdefault(Content(state, tuple(offers), tuple(denies)), len(self._contents))

    def _segment_table(self) -> Table:
        counts: dict[Place, int] = {}
        for parties in self._hosts.values():
            for place in {place_of(self._policy, party, "host")[0] for party in each(parties)}:
                if place is not None:
                    counts[place] = counts.get(place, 0) + 1
        names = []
        for place in self._access.places:
            hosts = count(counts.get(place, 0), "host")
            about = f"{self._policy.segments[place]}; {hosts}" if isinstance(place, str) else f"outside; {hosts}"
            names.append(Name(str(place), about))
        return _table(names, [self._segment_row(number) for number in range(len(names))])

    def _segment_row(self, source: int) -> tuple[int, ...]:
        place = self._access.places[source]
        denies = self._denies_from(place)
        row = self._access.rows[source]
        cells = [0] * len(self._access.places)
        for targets, pieces in row.groups:
            offers = [_offer(piece, "allow" if piece.always else "condition") for piece in pieces]
            for target in bits(targets):
                cells[target] = self._content(offers, denies[target])
        for target, found in enumerate(denies):
            if found and not row.reach >> target & 1:
                cells[target] = self._content((), found)
        return tuple(cells)

    def _denies_from(self, place: Place) -> list[tuple[str, ...]]:
        """For each place the rules that deny something from this one."""
        about = [rule for rule in self._denying if rule.opens_from(place)]
        if not about:
            return [()] * len(self._access.places)
        return [
            tuple(rule.id for rule in about if rule.opens_to(target))
            if isinstance(place, str) or isinstance(target, str)
            else ()
            for target in self._access.places
        ]

    def _host_table(self) -> Table:
        parties = [(name, party) for name, many in self._hosts.items() for party in each(many)][:MAX_HOSTS]
        several = {name for name, many in self._hosts.items() if len(each(many)) > 1}
        found = [(name, party, place_of(self._policy, party, "host")) for name, party in parties]
        names = [
            Name(f"{name} {party}" if name in several else name, _about(place, why))
            for name, party, (place, why) in found
        ]
        ends = [(party, place) for _, party, (place, _) in found]
        denies = {place: self._denies_from(place) for _, place in ends if place is not None}
        return _table(names, [self._host_row(index, ends, denies) for index in range(len(ends))])

    def _host_row(
        self,
        index: int,
        ends: Sequence[tuple[Party, Place | None]],
        denies: Mapping[Place, Sequence[tuple[str, ...]]],
    ) -> tuple[int, ...]:
        subject, place = ends[index]
        if place is None:
            return (0,) * len(ends)
        row = self._access.rows[self._number[place]]
        pieces = {target: found for targets, found in row.groups for target in bits(targets)}
        known: dict[int, int] = {}
        cells = []
        for other, (target, there) in enumerate(ends):
            if there is None or other == index or (isinstance(subject, External) and isinstance(target, External)):
                cells.append(0)
                continue
            number = self._number[there]
            if number not in known:
                offers = [self._offer_now(piece, subject, target) for piece in pieces.get(number, ())]
                content = self._content(offers, denies[place][number])
                if all(piece.always for piece in pieces.get(number, ())):
                    known[number] = content
                cells.append(content)
            else:
                cells.append(known[number])
        return tuple(cells)

    def _offer_now(self, piece: Piece, subject: Party, target: Party) -> Offer:
        if piece.always:
            return _offer(piece, "allow")
        denied = any(rule.holds_for(subject, target, self._now) for rule in piece.denies)
        allowed = any(rule.holds_for(subject, target, self._now) for rule in piece.rules)
        return _offer(piece, "allow" if allowed and not denied else "condition")


def _offer(piece: Piece, state: State) -> Offer:
    return Offer(str(piece), state, tuple(rule.id for rule in piece.rules), tuple(rule.id for rule in piece.denies))


def _about(place: Place | None, why: str) -> str:
    if place is None:
        return why.removeprefix("the ")
    return f"in {place}" if isinstance(place, str) else f"outside, in {place}"


def _table(names: Sequence[Name], rows: Sequence[tuple[int, ...]]) -> Table:
    distinct: dict[tuple[int, ...], int] = {}
    row_of = tuple(distinct.setdefault(row, len(distinct)) for row in rows)
    return Table(tuple(names), row_of, tuple(distinct))
