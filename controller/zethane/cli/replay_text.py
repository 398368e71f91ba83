"""How a replay is told to people: the sums first, then what is denied, what nobody knows, and what never passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zethane.audit.record import rfc3339
from zethane.cli.console import wide_console
from zethane.document import count, some
from zethane.policy.decide import describe
from zethane.replay.flow import Count, Flow
from zethane.replay.packet import Fate
from zethane.replay.replay import Replay
from zethane.replay.totals import Tally, Totals
from zethane.replay.verdict import Outcome
from zethane.replay.view import by_size

WIDTH = 160
"""Columns where the output is no terminal: nothing is cut in a file or a pipe."""

_WORDS: dict[Outcome, tuple[str, str]] = {
    "allow": ("allowed", "green"),
    "deny": ("denied", "red"),
    "unattributed": ("unattributed", "yellow"),
}
_NAMED = 3
"""Services that are named in a row."""
_HANDLED = {
    "arp": "ARP, answered by the controller",
    "nd": "Neighbor Discovery, answered by the controller",
    "dhcp": "DHCP, passed on by the controller",
    "lldp": "LLDP, read by the controller",
    "eapol": "IEEE 802.1X, read by the controller",
}


def print_replay(replay: Replay, name: str, limit: int) -> None:
    """Print everything, with at most `limit` rows in each table."""
    console = wide_console(WIDTH)
    _summary(console, replay, name)
    totals = replay.totals
    if totals.pairs:
        console.print(_pairs(totals, limit))
    _services(console, totals, limit)
    _unknown(console, totals, limit)
    _never(console, totals, limit)
    if replay.largest:
        console.print(_flows(replay.largest))


def _summary(console: Console, replay: Replay, name: str) -> None:
    totals = replay.totals
    both = totals.all
    links = [f"{number} of {link}" if number > 1 else link for link, number in replay.links.items()]
    times = f"; {rfc3339(both.first)} to {rfc3339(both.last)}" if both.packets else ""
    console.print(Text(f"{name}: {replay.format}, {', '.join(links) or 'no link'}{times}"))
    if replay.broken is not None:
        how = "cut off" if replay.broken.cut else "damaged"
        console.print(Text(f"The capture is {how} at {replay.broken}. What is in front of that was read.", style="red"))
    line = Text(f"{count(both.packets, 'packet')}, {count(both.octets, 'byte')}, {count(both.flows, 'flow')}: ")
    parts = []
    for outcome, (word, style) in _WORDS.items():
        parts.append(Text(f"{totals.outcomes[outcome].flows:,} {word}", style=style))
    console.print(line + Text(", ").join(parts))
    for text in _remarks(replay):
        console.print(Text(text, style="yellow"))


def _remarks(replay: Replay) -> Iterable[str]:
    """What one has to know to read the figures."""
    uncertain = replay.totals.uncertain.flows
    if uncertain:
        yield f"{count(uncertain, 'flow')} without an opening packet: who opened it is a guess (ports, first packet)"
    if replay.evicted:
        yield f"{count(replay.evicted, 'flow')} ended early for want of room (--table): what came after counts again"
    if replay.untimed:
        yield f"{count(replay.untimed, 'packet')} without a time: counted as at that of the packet before"
    if replay.tagged_twice:
        yield f"{count(replay.tagged_twice, 'packet')} with two VLAN tags: no port of a switch would take them"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        numeric = column in ("flows", "answered", "packets", "bytes", *(word for word, _ in _WORDS.values()))
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    return table


def _pairs(totals: Totals, limit: int) -> Table:
    table = _table("Flows from place to place", "from", "to", "allowed", "denied", "unattributed", "packets", "bytes")
    rows = by_size(totals.pairs.items())
    for (source, target), found in rows[:limit]:
        tallies = [found.get(outcome, Tally()) for outcome in _WORDS]
        counts = [
            Text(f"{tally.flows:,}", style=style if tally.flows else "dim")
            for tally, (_, style) in zip(tallies, _WORDS.values(), strict=True)
        ]
        packets, octets = sum(tally.packets for tally in tallies), sum(tally.octets for tally in tallies)
        table.add_row(source, target, *counts, f"{packets:,}", f"{octets:,}")
    _rest(table, len(rows), limit)
    return table


def _rest(table: Table, rows: int, limit: int) -> None:
    if rows > limit:
        table.caption = f"and {rows - limit:,} more (--limit, --json)"


_DECIDED: tuple[tuple[Outcome, str], ...] = (("deny", "Denied"), ("allow", "Allowed"))


def _services(console: Console, totals: Totals, limit: int) -> None:
    for outcome, title in _DECIDED:
        rows = _grouped(totals, outcome)
        if not rows:
            continue
        why = "rule" if outcome == "allow" else "why"
        table = _table(title, "from", "to", "services", why, "flows", "answered", "packets", "bytes")
        for row in rows[:limit]:
            flows, packets, octets = _numbers(row.tally)
            table.add_row(
                row.source, row.target, row.services, row.why, flows, f"{row.tally.answered:,}", packets, octets
            )
        _rest(table, len(rows), limit)
        console.print(table)


@dataclass(slots=True)
class _Group:
    """Services of one protocol between two places that are decided alike: a scan is one row."""

    source: str
    target: str
    why: str
    names: list[str]
    tally: Tally

    @property
    def services(self) -> str:
        """The most used of them, and how many more."""
        return some(self.names, _NAMED)


def _by_port(service: str) -> tuple[str, int]:
    name, _, port = service.partition("/")
    return name, int(port or 0)


def _grouped(totals: Totals, outcome: Outcome) -> list[_Group]:
    groups: dict[tuple[str, ...], _Group] = {}
    rows = [(row, tally) for row, tally in totals.services.items() if row.outcome == outcome]
    for row, tally in sorted(rows, key=lambda item: (-item[1].flows, _by_port(item[0].service))):
        reason = row.reason or "the network itself"
        why = f"{row.reason} {row.rule}".strip() if row.rule else reason
        key = (row.source, row.target, row.service.partition("/")[0], why)
        group = groups.setdefault(key, _Group(row.source, row.target, why, [], Tally()))
        group.names.append(row.service)
        group.tally.add(Count(tally.packets, tally.octets), tally.first, tally.last, tally.flows, tally.answered)
    return sorted(groups.values(), key=lambda group: (-group.tally.flows, group.source, group.target, group.services))


def _numbers(tally: Tally) -> tuple[str, str, str]:
    return f"{tally.flows:,}", f"{tally.packets:,}", f"{tally.octets:,}"


def _unknown(console: Console, totals: Totals, limit: int) -> None:
    if not totals.unknown:
        return
    table = _table("Unattributed", "address", "why", "flows", "packets", "bytes")
    rows = sorted(totals.unknown.items(), key=lambda item: (-item[1].flows, item[0]))
    for row, tally in rows[:limit]:
        table.add_row(row.address, row.why, *_numbers(tally))
    _rest(table, len(rows), limit)
    console.print(table)
    console.print(
        "  Say who they are with --map FILE, or assume it: --assume 10.0.0.0/8=segment:NAME, --assume outside."
    )


def _never(console: Console, totals: Totals, limit: int) -> None:
    """Packets that no policy is asked about."""
    titles = {
        Fate.DROPPED: "Dropped, whatever the policy",
        Fate.HANDLED: "Handled by the controller, whatever the policy",
        Fate.UNREAD: "Not read",
    }
    for fate, title in titles.items():
        rows = [(aside, tally) for aside, tally in totals.asides.items() if aside.fate is fate]
        rows.sort(key=lambda item: -item[1].packets)
        hurdles = list(totals.hurdles.items()) if fate is Fate.DROPPED else []
        if not rows and not hurdles:
            continue
        table = _table(title, "reason", "what", "packets", "bytes")
        for (reason, outcome), tally in hurdles:
            what = f"in flows that are {_WORDS[outcome][0]}"
            table.add_row(reason, what, f"{tally.packets:,}", f"{tally.octets:,}")
        for aside, tally in rows[:limit]:
            what = _HANDLED.get(aside.reason, aside.what)
            table.add_row(aside.reason, what, f"{tally.packets:,}", f"{tally.octets:,}")
        _rest(table, len(rows), limit)
        console.print(table)


def _flows(flows: Iterable[Flow]) -> Table:
    table = _table(
        "Largest flows, those that do not pass first", "from", "to", "service", "decision", "packets", "bytes"
    )
    for flow in flows:
        word, style = _WORDS[flow.verdict.outcome]
        why = f"{flow.verdict.reason} {flow.verdict.rule or ''}".strip()
        direction = "" if flow.is_opening_seen else " (no opening packet seen)"
        table.add_row(
            _end(flow.subject.text, flow.subject.address, flow.key.sport, flow.key.proto),
            _end(flow.object.text, flow.object.address, flow.key.dport, flow.key.proto),
            describe(flow.key.proto, flow.port),
            Text(f"{word}{f': {why}' if why else ''}{direction}", style=style),
            f"{flow.whole.packets:,}",
            f"{flow.whole.octets:,}",
        )
    return table


def _end(text: str, address: str, port: int, proto: int) -> str:
    place = f"{f'[{address}]' if ':' in address else address}:{port}" if proto in (6, 17, 132) else address
    return place if text == address else f"{text} {place}"
