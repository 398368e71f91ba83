"""A live replay's result for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from replay.compare import FlowResult, LiveResult
from zethane.audit.record import connection
from zethane.document import count

SHOWN = 20
"""Flows, parts and reasons that are listed one by one."""


def print_live(console: Console, result: LiveResult) -> None:
    """Parts, what was left out, the flows, the last line."""
    sent = len(result.script.lines)
    console.print(
        Text(f"{result.capture} on {result.topology}: {sent:,} of {result.script.packets:,} packets sent", style="bold")
    )
    for part in result.parts[:SHOWN]:
        console.print(f"  {part.captured} → {part.host} {part.address} ({part.source})", markup=False, highlight=False)
    _more(console, len(result.parts), "parts")
    for address, why in list(result.without.items())[:SHOWN]:
        console.print(f"  {address} has no part: {why}", markup=False, highlight=False)
    _more(console, len(result.without), "addresses without a part")
    for why, number in result.script.left_out.most_common(SHOWN):
        console.print(f"  left out: {count(number, 'packet')}: {why}", markup=False, highlight=False)
    if result.broken:
        console.print(f"  the capture cannot be read further: {result.broken}", markup=False, highlight=False)
    _flows(console, result)
    for fault in result.faults:
        console.print(Text(fault, style="bold red"))
    console.print(_summary(result))


def _more(console: Console, number: int, what: str) -> None:
    if number > SHOWN:
        console.print(f"  and {number - SHOWN} more {what}", markup=False, highlight=False)


def _flows(console: Console, result: LiveResult) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("flow", "service", "decided", "sent", "arrived", "counted", ""):
        table.add_column(heading, overflow="fold")
    for flow in result.flows[:SHOWN]:
        table.add_row(*_row(flow))
    console.print(table)
    _more(console, len(result.flows), "flows")


def _row(flow: FlowResult) -> tuple[Text, ...]:
    outlook, counted = flow.outlook, flow.counted
    service = str(connection(outlook.key)["service"])
    sent = f"{outlook.there.sent} + {outlook.back.sent}"
    arrived = f"{flow.arrived[0]} + {flow.arrived[1]}"
    numbers = "nothing" if counted is None else f"{counted.packets} + {counted.answers}"
    agrees = Text("✓", style="green")
    if flow.differs:
        told = f"\nthe log: {', '.join(flow.told) or 'nothing of it'}"
        agrees = Text("\n".join(flow.differs) + told, style="bold red")
    ends = Text(f"{outlook.source} → {outlook.target}")
    return ends, Text(service), Text(outlook.text), Text(sent), Text(arrived), Text(numbers), agrees


def _summary(result: LiveResult) -> Text:
    took = f"{count(len(result.flows), 'flow')} in {result.seconds:.0f} s"
    if not result.flows:
        return Text("Nothing could be sent: name who plays whom with --map or --assume", style="bold red")
    numbers = f"{result.count(passing=True)} let through, {result.count(passing=False)} denied"
    if result.differing:
        return Text(f"{took}: {numbers}; {len(result.differing)} differ", style="bold red")
    if result.faults:
        return Text(f"{took}: {numbers}; it proves nothing", style="bold red")
    return Text(f"{took}: {numbers}; decisions, counters and captures agree", style="bold green")
