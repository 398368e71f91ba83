"""How a replay is told to people: the sums first, then what is denied, what nobody knows, and what never passes."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zethane.policy.decide import describe
from zethane.replay.flow import Flow
from zethane.replay.packet import Fate
from zethane.replay.replay import Replay
from zethane.replay.totals import Tally, Totals
from zethane.replay.verdict import Outcome
from zethane.replay.view import by_size, moment

WIDTH = 160
"""Columns where the output is no terminal: nothing is cut in a file or a pipe."""

_WORDS: dict[Outcome, tuple[str, str]] = {
    "allow": ("allowed", "green"),
    "deny": ("denied", "red"),
    "unattributed": ("unattributed", "yellow"),
}
_HANDLED = {
    "arp": "ARP, answered by the controller",
    "nd": "Neighbor Discovery, answered by the controller",
    "dhcp": "DHCP, passed on by the controller",
    "lldp": "LLDP, read by the controller",
    "eapol": "IEEE 802.1X, read by the controller",
}


def print_replay(replay: Replay, name: str, limit: int) -> None:
    """Print everything, with at most `limit` rows in each table."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
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
    links = ", ".join(f"{count} of {link}" if count > 1 else link for link, count in replay.links.items()) or "no link"
    times = f"; {moment(both.first)} to {moment(both.last)}" if both.packets else ""
    console.print(Text(f"{name}: {replay.format}, {links}{times}"))
    if replay.broken is not None:
        how = "cut off" if replay.broken.cut else "damaged"
        console.print(Text(f"The capture is {how} at {replay.broken}. What is in front of that was read.", style="red"))
    line = Text(f"{both.packets:,} packets, {both.octets:,} bytes, {both.flows:,} flows: ")
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
        yield f"{uncertain:,} flows without an opening packet: who opened them is a guess by ports or the first packet."
    if replay.evicted:
        yield f"{replay.evicted:,} flows were ended early for want of room (--table): they may count more than once."
    if replay.untimed:
        yield f"{replay.untimed:,} packets have no time: they count as at that of the packet before."
    if replay.tagged_twice:
        yield f"{replay.tagged_twice:,} packets have two VLAN tags: no port of a switch would take them."


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        numeric = column in ("flows", "packets", "bytes", "allowed", "denied", "unattributed")
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


def _services(console: Console, totals: Totals, limit: int) -> None:
    for outcome, title in (("deny", "Denied"), ("allow", "Allowed")):
        rows = sorted(
            ((row, tally) for row, tally in totals.services.items() if row.outcome == outcome),
            key=lambda item: (-item[1].flows, item[0][:3]),
        )
        if not rows:
            continue
        table = _table(
            title, "from", "to", "service", "rule" if outcome == "allow" else "why", "flows", "packets", "bytes"
        )
        for row, tally in rows[:limit]:
            why = row.rule or row.reason or "the network itself"
            if outcome == "deny" and row.rule:
                why = f"{row.reason} {row.rule}"
            table.add_row(row.source, row.target, row.service, why, *_numbers(tally))
        _rest(table, len(rows), limit)
        console.print(table)


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
        why = flow.verdict.rule or flow.verdict.reason
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
