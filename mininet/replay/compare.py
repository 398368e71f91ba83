"""Per flow of a live replay: what was decided, what the switches counted, what arrived, where these differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replay.assign import Part
from replay.counted import Counted
from replay.outlook import Outlook, Way
from replay.script import Script
from zethane.audit.record import connection


@dataclass(frozen=True, slots=True)
class FlowResult:
    """One flow. `arrived` are its packets that reached their receivers, there and back; `strayed` what reached others.

    `differs` says in words what does not fit; empty if all agrees. `told` is what the decision log has.
    """

    outlook: Outlook
    arrived: tuple[int, int]
    strayed: Mapping[str, int]
    counted: Counted | None
    told: tuple[str, ...]
    differs: tuple[str, ...]


def compared(
    outlook: Outlook,
    arrived: tuple[int, int],
    strayed: Mapping[str, int],
    counted: Counted | None,
    told: tuple[str, ...],
    *,
    is_known: bool = False,
) -> FlowResult:
    """Hold the three against each other. `is_known`: the controller has let a flow with this key through."""
    found: list[str] = []
    for name, way, number in (("there", outlook.there, arrived[0]), ("back", outlook.back, arrived[1])):
        found += _arrivals(name, way, number)
    for host, number in strayed.items():
        found.append(f"{number} packets reached {host}, which has no part in it")
    found += _counters(outlook, arrived, counted, is_known=is_known)
    return FlowResult(outlook, arrived, strayed, counted, told, tuple(found))


def _arrivals(name: str, way: Way, number: int) -> list[str]:
    if way.least <= number <= way.most:
        return []
    expected = str(way.least) if way.least == way.most else f"{way.least} to {way.most}"
    return [f"{name}: of {way.sent} packets {expected} had to arrive, {number} did"]


def _counters(outlook: Outlook, arrived: tuple[int, int], counted: Counted | None, *, is_known: bool) -> list[str]:
    if not outlook.opened:
        return ["the controller has let it through"] if counted is not None or is_known else []
    if counted is None:
        return ["the switches have counted nothing: no record of the flow's end"]
    found = []
    rule = outlook.verdict.rule
    if rule is not None and set(counted.rules) != {rule}:
        found.append(f"decided by rule {rule}, let through by {', '.join(counted.rules)}")
    for name, number, count in (("there", arrived[0], counted.packets), ("back", arrived[1], counted.answers)):
        if number != count:
            found.append(f"{name}: the switches counted {count} packets, {number} arrived")
    return found


@dataclass(frozen=True, slots=True)
class LiveResult:
    """A live replay. `faults` keep it from proving anything: captures without room, a controller that is not well."""

    capture: str
    topology: str
    script: Script
    parts: tuple[Part, ...]
    without: Mapping[str, str]
    flows: tuple[FlowResult, ...]
    faults: tuple[str, ...]
    seconds: float
    broken: str = ""

    @property
    def differing(self) -> Sequence[FlowResult]:
        """The flows in which something does not fit."""
        return [flow for flow in self.flows if flow.differs]

    @property
    def ok(self) -> bool:
        """Whether everything agrees, and something was sent at all."""
        return not self.differing and not self.faults and bool(self.flows)

    def count(self, *, passing: bool) -> int:
        """How many flows were let through, or not."""
        return sum(flow.outlook.opened == passing for flow in self.flows)


def live_view(result: LiveResult) -> Mapping[str, Any]:
    """JSON-ready."""
    return {
        "capture": result.capture,
        "topology": result.topology,
        "packets": {
            "captured": result.script.packets,
            "sent": len(result.script.lines),
            "left_out": dict(result.script.left_out),
            "broken": result.broken or None,
        },
        "parts": [
            {"captured": str(part.captured), "host": part.host, "address": str(part.address), "source": part.source}
            for part in result.parts
        ],
        "without_part": dict(result.without),
        "flows": [flow_view(flow) for flow in result.flows],
        "faults": list(result.faults),
        "summary": {
            "flows": len(result.flows),
            "let_through": result.count(passing=True),
            "denied": result.count(passing=False),
            "differing": len(result.differing),
        },
        "ok": result.ok,
        "seconds": round(result.seconds, 2),
    }


def flow_view(flow: FlowResult) -> Mapping[str, Any]:
    """JSON-ready."""
    outlook, counted = flow.outlook, flow.counted
    return {
        "from": outlook.source,
        "to": outlook.target,
        **connection(outlook.key),
        "decided": outlook.verdict.outcome,
        "rule": outlook.verdict.rule,
        "reason": outlook.verdict.reason or None,
        "opened": outlook.opened,
        "sent": [outlook.there.sent, outlook.back.sent],
        "expected": [[way.least, way.most] for way in (outlook.there, outlook.back)],
        "arrived": list(flow.arrived),
        "counted": None if counted is None else [counted.packets, counted.answers],
        "strayed": dict(flow.strayed),
        "log": list(flow.told),
        "differs": list(flow.differs),
    }


def ordered(flows: Iterable[FlowResult]) -> tuple[FlowResult, ...]:
    """Those that differ first, otherwise as they came up."""
    return tuple(sorted(flows, key=lambda flow: not flow.differs))
