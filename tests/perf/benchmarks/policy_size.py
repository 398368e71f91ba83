"""`compile` and `change`: what a policy costs as it grows, as a whole and when one rule or one session is another."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median
from typing import ClassVar
from unittest.mock import patch

from perf.benchmark import Axis, Benchmark, Measure, Run, Turn, registered
from perf.benchmarks.policy import generated
from perf.goals import at_most, median_of
from perf.policy_site import LargeSite, collected_as_in_the_controller, edited, read
from zethane.service import policy_in_force
from zethane.service.policy_in_force import PolicyInForce

POINTS = (100, 1_000, 10_000)
PER_SEGMENT = 10
"""Rules, and sessions, for each segment."""

TIMES = 5
"""How often a turn makes each kind of change, to other rules and sessions."""


@registered
class Compile(Benchmark):
    """From a policy that has been read to all that switches need, beside reading it."""

    name = "compile"
    title = "A policy as a whole: a tenth as many segments as rules, as many sessions"
    sides: ClassVar = {"zethane": "Zethane"}
    measures = (
        Measure("compile", "to classes, numbered entries, and the places of all sessions", "ms", is_log=True),
        Measure("read", "the file, to a policy", "ms", is_log=True),
        Measure("entries", "entries of the table rule", "", is_log=True),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        points = POINTS[:1] if run.is_quick else POINTS
        self.axis = Axis("rules", "rules, ten for each segment, and sessions", points)
        text = f"{points[-1]:,} rules, {points[-1] // PER_SEGMENT:,} segments and {points[-1]:,} sessions compiled"
        self.goals = (at_most(text, median_of("compile", "zethane", points[-1]), 2000, "ms"),)
        self.parameters = {"rules per segment": PER_SEGMENT}

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # one side
        """Read and compile one policy."""
        file = generated((point, point // PER_SEGMENT), number)
        site = LargeSite(file, point)
        people = [live.session.principal for live in site.state.sessions]
        with collected_as_in_the_controller():
            began = time.perf_counter()
            policy = read(file)
            read_in = time.perf_counter() - began
            began = time.perf_counter()
            new = PolicyInForce(policy, site.store, site.now)
            places = [new.place(principal, site.now) for principal in people]
            compiled_in = time.perf_counter() - began
        site.wire.close()
        if None in places:
            raise ValueError("somebody has no place")
        return {"compile": compiled_in * 1000, "read": read_in * 1000, "entries": sum(1 for _ in new.flows)}


@registered
class Change(Benchmark):
    """From a change that is known to its flow-mods written, with every session of the site at one switch."""

    name = "change"
    title = "One rule or one session is another: from the change known to its flow-mods written, over loopback"
    sides: ClassVar = {"zethane": "Zethane", "whole": "compiled as a whole"}
    pairs = (("whole", "zethane"),)
    measures = (
        Measure("changed", "a rule changed", "ms", 1, is_log=True),
        Measure("added", "a rule more", "ms", 1, is_log=True),
        Measure("removed", "a rule less", "ms", 1, is_log=True),
        Measure("asking", "a rule asks for what none about its segments has asked", "ms", 1, is_log=True),
        Measure("asked", "it asks for it no more", "ms", 1, is_log=True),
        Measure("slowest", "the slowest of these of a turn", "ms", 1, is_log=True),
        Measure("flow_mods", "flow-mods of these, on average, of the first rule", ""),
        Measure("octets", "octets of these, on average, of the first rule", ""),
        Measure("started", "a session started", "ms", 2),
        Measure("moved", "its class changed", "ms", 2),
        Measure("ended", "it ended", "ms", 2),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        points = POINTS[:1] if run.is_quick else POINTS
        self.axis = Axis("rules", "rules, ten for each segment, and sessions", points)
        self.goals = tuple(
            at_most(f"{text}, with {points[-1]:,} rules and sessions", median_of(key, "zethane", points[-1]), 10, "ms")
            for key, text in (("changed", "a rule changed"), ("added", "a rule more"), ("removed", "a rule less"),
                              ("asking", "a rule asks for what none about its segments has asked"),
                              ("asked", "it asks for it no more"),
                              ("started", "a session started"), ("moved", "its class changed"), ("ended", "it ended"))
        )  # fmt: skip
        self.parameters = {"rules per segment": PER_SEGMENT, "switches": 1, "changes of a kind per turn": TIMES}

    def turn(self, side: str, number: int, point: int) -> Turn:
        """Change one policy and one session, several times over."""
        # An event loop goes on when a signal's exception is raised within it, and what has met it never ends.
        with self.run.interrupts.shielded():
            if side == "zethane":
                return asyncio.run(_changes(point, number, TIMES))
            # What takes seconds is done once.
            with patch.object(policy_in_force, "recompile", lambda *_: None):
                return asyncio.run(_changes(point, number, 1))


async def _changes(rules: int, seed: int, times: int) -> Turn:
    """Each kind of change to so many rules, one after the other: the medians, and the slowest of all."""
    file = generated((rules, rules // PER_SEGMENT), seed)
    site = LargeSite(file, rules)
    edits = list(edited(file, times))
    gc.disable()  # what is read stays: looking at all of it again and again is half of the reading
    policies = {id(changed): read(changed) for _, changed in edits}
    gc.enable()
    taken: dict[str, list[float]] = defaultdict(list)
    with collected_as_in_the_controller():
        written: list[tuple[int, int]] = []
        for key, changed in edits:
            taken[key].append(await _timed(partial(site.administrator.use_policy, policies[id(changed)])))
            written.append((site.wire.flow_mods, site.wire.octets))
        # Of the first rule, which both sides change.
        first = len(taken)
        counts = {"flow_mods": written[first - 1][0] / first, "octets": written[first - 1][1] / first}
        slowest = max(map(max, taken.values()))
        started: list[int] = []
        for number in range(rules + 1, rules + 1 + TIMES):
            taken["started"].append(await _timed(partial(_start, site, number, started)))
            taken["moved"].append(await _timed(lambda: site.prove_more(started[-1])))
            taken["ended"].append(await _timed(lambda: site.end(started[-1])))
    site.wire.close()
    return {**{key: median(found) for key, found in taken.items()}, "slowest": slowest, **counts}


def _start(site: LargeSite, number: int, started: list[int]) -> None:
    started.append(site.start(number))


async def _timed(work: Callable[[], Awaitable[object] | None]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    waited = work()
    if waited is not None:
        await waited
    return (time.perf_counter() - began) * 1000
