"""What the switches have counted of each flow: the counters of their entries, as the controller's records have them.

An entry that goes reports its counters, and the record of a flow that has ended has them, with the packets that the
controller delivered itself. So the sessions are ended, and every flow with them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from replay.ground import Ground
from zethane.audit.record import connection
from zethane.net.flowkey import FlowKey

STATISTICS = 1.2
"""Seconds after the last packet until Open vSwitch has counted it: it looks twice a second."""
RECORDS = 8.0
"""Seconds within which the records of the flows are there."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Packets of a flow and of its answers; in how many records, and under which rules."""

    packets: int = 0
    answers: int = 0
    records: int = 0
    rules: tuple[str, ...] = ()


def end_sessions(ground: Ground) -> None:
    """End every session, once the switches have counted everything. Raises LabError."""
    time.sleep(STATISTICS)
    for session in ground.api("GET", "/sessions")["sessions"]:
        ground.api("DELETE", f"/sessions/{session['session']}")


def counted(ground: Ground, since: int, keys: Iterable[FlowKey]) -> dict[FlowKey, Counted]:
    """The counters of flows by their openers' keys, from the records behind an offset of the log; waits for them."""
    wanted = {_text(key): key for key in keys}
    deadline = time.monotonic() + RECORDS
    while True:
        found = _read(ground.records(since), wanted)
        if len(found) == len(wanted) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def _read(records: Iterable[Mapping[str, Any]], wanted: Mapping[tuple[Any, ...], FlowKey]) -> dict[FlowKey, Counted]:
    found: dict[FlowKey, Counted] = {}
    for record in records:
        key = wanted.get(_of_record(record)) if record["event"] == "flow_end" else None
        if key is not None:
            known = found.get(key, Counted())
            found[key] = Counted(
                known.packets + int(record["packets"]),
                known.answers + int(record["return_packets"]),
                known.records + 1,
                tuple(dict.fromkeys((*known.rules, str(record["rule"])))),
            )
    return found


def opened(records: Iterable[Mapping[str, Any]]) -> set[FlowKey]:
    """The flows that the controller has let through, by these records, as keys without the numbers of echo requests."""
    numbers = {"tcp": 6, "udp": 17, "sctp": 132}
    found = set()
    for record in records:
        if record["event"] == "decision" and record["decision"] == "allow":
            src, dst = ip_address(record["source"]).packed, ip_address(record["destination"]).packed
            proto = numbers.get(record["protocol"])
            if proto is not None:
                found.add(FlowKey(src, dst, proto, int(record["source_port"]), int(record["destination_port"])))
            elif record["protocol"] == "icmp":
                found.add(FlowKey(src, dst, 1 if len(src) == 4 else 58, 8, 0))
    return found


_FIELDS = ("source", "destination", "protocol", "source_port", "destination_port")


def _text(key: FlowKey) -> tuple[Any, ...]:
    made = connection(key)
    return tuple(made[name] for name in _FIELDS)


def _of_record(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(record[name] for name in _FIELDS)
