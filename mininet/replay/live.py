"""A capture through the lab: rewritten for its hosts, sent, and every flow held against what was decided."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.network import PORTAL
from replay.assign import Assignment
from replay.compare import FlowResult, LiveResult, compared, ordered
from replay.counted import counted, end_sessions, opened
from replay.evidence import body
from replay.ground import Ground, ground_on
from replay.inject import Arrivals, inject, sockets
from replay.outlook import Outlook, Outlooks
from replay.script import Script, Writer
from zethane.app.topology import Topology
from zethane.audit.record import connection
from zethane.errors import InputError, Problem
from zethane.net.flowkey import ICMP, ICMPV6, FlowKey
from zethane.replay.attribution import Attribution
from zethane.replay.capture import Capture
from zethane.replay.given import attribution_of
from zethane.replay.source import STDIN, open_source
from zethane.replay.verdict import Judge, Verdict

MAX_PACKETS = 100_000
DEFAULT_PACKETS, DEFAULT_SECONDS, DEFAULT_SILENCE = 5_000, 60.0, 1.0
Progress = Callable[[str, int, int], None]
"""Told what is going on, and how many packets of how many are sent."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to replay, and how: `speed` times as fast as captured, None for as fast as may be.

    At most `packets` packets, and `seconds` seconds; silences are cut to `silence` seconds.
    """

    capture: str
    map_file: Path | None = None
    assume: tuple[str, ...] = ()
    speed: float | None = 1.0
    packets: int = DEFAULT_PACKETS
    seconds: float = DEFAULT_SECONDS
    silence: float = DEFAULT_SILENCE


def live(order: Order, topology: Topology, *, progress: Progress = lambda *_: None, **options: Any) -> LiveResult:
    """Replay a capture in a lab of its own. Raises InputError, before anything is built, and LabError."""
    if topology.network is None or not topology.hosts:
        raise InputError([Problem(str(topology.folder), "expected a network.yaml with hosts: a capture needs players")])
    attribution = attribution_of(topology, None, order.map_file, order.assume)
    if order.capture != STDIN:
        with open_source(order.capture) as source:
            Capture(source)  # whether it is one at all
    progress("building the network", 0, 0)
    with ground_on(topology, **options) as ground:
        result = live_on(ground, order, attribution, progress)
        progress("taking the network down", 0, 0)
    return result


def live_on(ground: Ground, order: Order, attribution: Attribution, progress: Progress = lambda *_: None) -> LiveResult:
    """The same on a network that is there, with everybody logged in. Every session there has ended afterwards."""
    started = time.monotonic()
    assignment = Assignment(ground.topology, attribution, homes(ground))
    script, broken = _script(ground, order, assignment)
    since = ground.log_size()
    outlooks = Outlooks(_judged(ground.topology))
    arrivals = Arrivals(ground)
    ground.forget()
    players = sorted({name for line in script.lines for name in (line.source, line.target)})

    def done(sent: int) -> None:
        progress("sending", sent, len(script.lines))

    with ground.still(players), sockets(ground, players) as sending:
        sent = inject(script.lines, sending, outlooks, arrivals, order.seconds, done)
        if left := len(script.lines) - sent:
            script.left_out[f"later than {order.seconds:g} s"] += left
            script.lines = script.lines[:sent]
        arrivals.update()
        progress("reading the counters", 0, 0)
        end_sessions(ground)
    flows = _flows(ground, script, outlooks, arrivals, since)
    return LiveResult(
        order.capture,
        ground.topology.folder.resolve().name,
        script,
        tuple(assignment.parts.values()),
        {str(address): why for address, why in assignment.without.items()},
        ordered(flows),
        tuple(_faults(ground, arrivals)),
        time.monotonic() - started,
        broken,
    )


def homes(ground: Ground) -> dict[str, Sequence[IPv4Address | IPv6Address]]:
    """The addresses of everybody who may have a part."""
    network = ground.network
    everybody = network.hosts | network.servers | network.outside
    return {name: host.addresses for name, host in everybody.items() if name != PORTAL}


def _script(ground: Ground, order: Order, assignment: Assignment) -> tuple[Script, str]:
    """The capture as a script; and where reading it ended early, if it did."""

    def card(host: str) -> bytes:
        return ground.card_bytes(ground.cable(host))

    writer = Writer(assignment, card, limit=order.packets, speed=order.speed, longest=order.silence)
    with open_source(order.capture) as source:
        capture = Capture(source)
        script = writer.write(capture.records())
        return script, str(capture.broken) if capture.broken else ""


def _judged(topology: Topology) -> Callable[[FlowKey], Verdict]:
    """The policy's verdict for a flow between the lab's own addresses, now: as a replay without a lab decides."""
    attribution = attribution_of(topology)
    judge = Judge(topology.policy)

    def judged(key: FlowKey) -> Verdict:
        port = 0 if key.proto in (ICMP, ICMPV6) else key.dport
        subject, target = attribution.who(key.src, b""), attribution.who(key.dst, b"")
        return judge.verdict(subject, target, key.proto, port, time.time())

    return judged


def _flows(ground: Ground, script: Script, outlooks: Outlooks, arrivals: Arrivals, since: int) -> list[FlowResult]:
    flows = outlooks.all()
    counts = counted(ground, since, [flow.key for flow in flows if flow.opened])
    records = ground.records(since)
    known = opened(records)
    told = _told(records)
    bodies: dict[FlowKey, set[bytes]] = defaultdict(set)
    for line in script.lines:
        bodies[line.key].add(body(line.frame))

    def arrived(key: FlowKey, host: str) -> int:
        return sum(arrivals.at(host, one) for one in bodies[key])

    return [
        compared(
            flow,
            (
                arrived(flow.key, flow.target),
                arrived(flow.key.reverse(), flow.source),
            ),
            _strayed(arrivals, flow, bodies),
            counts.get(flow.key),
            tuple(f"{text} x{number}" for text, number in told.get(_ends(connection(flow.key)), Counter()).items()),
            is_known=flow.key in known or flow.key.reverse() in known,
        )
        for flow in flows
    ]


def _strayed(arrivals: Arrivals, flow: Outlook, bodies: Mapping[FlowKey, set[bytes]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for key, receiver in ((flow.key, flow.target), (flow.key.reverse(), flow.source)):
        for one in bodies[key]:
            found.update(arrivals.elsewhere([receiver], one))
    return dict(found)


def _told(records: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], Counter[str]]:
    """What the log says of the packets of each flow, in either direction."""
    found: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for record in records:
        if record["event"] == "decision" and record["source"] is not None:
            what = record["rule"] if record["decision"] == "allow" else record["reason"]
            found[_ends(record)][f"{record['decision']} {what}"] += 1
    return found


def _ends(made: Mapping[str, Any]) -> tuple[Any, ...]:
    """A connection's protocol and ends, as a record has them, whichever way its packet went."""
    ends = ((made["source"], made["source_port"]), (made["destination"], made["destination_port"]))
    return (made["protocol"], *sorted(ends, key=str))


def _faults(ground: Ground, arrivals: Arrivals) -> list[str]:
    """What keeps the result from proving anything."""
    found = [f"captures missed {arrivals.missed} frames"] if arrivals.missed else []
    controller = ground.network.controller
    if controller is None or not controller.running:
        return [*found, "the controller has ended"]
    try:
        errors = int(ground.api("GET", "/health")["switch_errors"])
    except LabError as error:
        return [*found, str(error)]
    return [*found, f"switches refused {errors} messages"] if errors else found
