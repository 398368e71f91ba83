"""Attestation: reads a switch's tables back, holds them against what is intended, and puts right what is not.

The network goes on meanwhile. What was sent about an entry, or reported of it, since the tables were asked for is left
for the next time; everything else must be as intended. Nothing here takes longer than a slice at a time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import chain
from typing import NamedTuple

from zethane.errors import ChannelError
from zethane.net.flowkey import FlowKey
from zethane.pipeline.change import Installed
from zethane.pipeline.fields import SUBJECT_SHIFT, split_meter
from zethane.pipeline.flow import EntryKey, Flow
from zethane.pipeline.held import HeldBinding, HeldRule, Reported
from zethane.pipeline.tables import Priority, Table
from zethane.service.clearing import Clearing
from zethane.service.comparison import Comparison, Finding, Leases, altered, ends_soon, is_same_rule
from zethane.service.expected_rules import ExpectedRules
from zethane.service.grant_usage import GrantUsage, is_counted
from zethane.service.intent import bound_sessions, common_entries, session_bindings
from zethane.service.points import Point
from zethane.service.portal_access import PortalAccess
from zethane.service.recognition import Recognition, Recognized
from zethane.service.reconciliation import Reconciliation
from zethane.service.sheaf import NOTHING, Sheaf
from zethane.service.slices import READ_SLICE, SLICE, in_slices
from zethane.service.state import State
from zethane.service.switch import SwitchChannel
from zethane.service.written import Written

MAX_LOGGED = 50
"""Findings of one pass that are logged one by one; the others are counted in one record."""

LARGE = 10_000
"""Flows of a switch from which on its per-flow rules are looked at in pieces: a switch does nothing else meanwhile."""

PIECES = 64
"""Of a large table, told apart by the last bits of the subject's number in the cookie, whoever has written it."""

MAX_CORRECTED = 1_000
"""Inexact leases that are written again in one pass: few enough for the switch to come to all of them within a second.
Of very many at once it would count from too late again, pass after pass."""

PER_SECOND = 5_000
"""Entries of all switches that are looked at in a second, at the most, on the average: a tenth of a processor."""


class Part(NamedTuple):
    """What is read in one go: whole tables, or of the per-flow rules those with these bits in their cookies."""

    tables: tuple[Table, ...] = tuple(Table)
    piece: int | None = None

    @property
    def bits(self) -> tuple[int, int]:
        """Cookie and mask."""
        return (0, 0) if self.piece is None else (self.piece << SUBJECT_SHIFT, (PIECES - 1) << SUBJECT_SHIFT)

    def has(self, flow: Flow) -> bool:
        """Whether an entry is of this part."""
        cookie, mask = self.bits
        return flow.table in self.tables and flow.cookie & mask == cookie

    def has_flows_of(self, number: int) -> bool:
        """Whether the rules of flows are that a session has opened."""
        return Table.FLOW in self.tables and (self.piece is None or number % PIECES == self.piece)


ALL_BUT_FLOWS = Part(tuple(table for table in Table if table != Table.FLOW))


class Attestation:
    """Goes through one switch at a time."""

    def __init__(
        self,
        state: State,
        reconciliation: Reconciliation,
        portal_access: PortalAccess,
        grant_usage: GrantUsage,
        clearing: Clearing,
    ) -> None:
        self._state = state
        self._reconciliation = reconciliation
        self._expected = ExpectedRules(state, portal_access, clearing)
        self._grant_usage = grant_usage
        self._pieces: Counter[int] = Counter()
        self._entries: dict[int, int] = {}
        self._recognition = Recognition()

    async def attest(self, point: Point) -> int:
        """One pass over a switch that has its tables; how much was put right. Raises ChannelError.

        Of a switch with many flows it leaves out the per-flow rules.
        """
        async with point.lock:
            channel = point.channel
            if channel is None or not point.ready:
                return 0
            found = await self._meters(point, channel)
            found += await self._part(point, channel, ALL_BUT_FLOWS if self.in_pieces(point) else Part())
        point.attested = self._state.clock()
        self._state.counters["attestations"] += 1
        return found

    def interval(self, least: float) -> float:
        """Seconds between two passes over a switch: `least`, or as many as the entries of all switches take."""
        return max(least, sum(self._entries.values()) / PER_SECOND)

    def in_pieces(self, point: Point) -> bool:
        """Whether a switch has so many flows that its per-flow rules are looked at a piece at a time."""
        return self._state.flows.at(point.switch.dpid) > LARGE

    async def attest_piece(self, point: Point) -> int:
        """The next piece of a switch's per-flow rules; after `PIECES` of them all have been looked at.

        Returns how much was put right. Raises ChannelError.
        """
        async with point.lock:
            channel = point.channel
            if channel is None or not point.ready:
                return 0
            piece = self._pieces[point.number]
            self._pieces[point.number] = (piece + 1) % PIECES
            found = await self._part(point, channel, Part((Table.FLOW,), piece))
        self._state.counters["attested_pieces"] += 1
        return found

    async def _part(self, point: Point, channel: SwitchChannel, part: Part) -> int:
        with channel.watch() as written, self._grant_usage.reading(point):
            found = await self._tables(point, channel, written, part)
        point.repaired += found
        return found

    async def _meters(self, point: Point, channel: SwitchChannel) -> int:
        wrong = await self._reconciliation.set_meters(point, channel, point.standing)
        for meter, state in wrong.items():
            if state != "stale":
                kind, port = split_meter(meter)
                where = kind if port is None else f"{kind}, port {port}"
                self._state.journal.switch(f"{state}-meter", point.switch.name, where, self._state.clock())
        repaired = sum(state != "stale" for state in wrong.values())
        self._state.counters["repaired_meters"] += repaired
        return repaired

    async def _tables(self, point: Point, channel: SwitchChannel, written: Written, part: Part) -> int:
        asked = self._state.clock()
        self._expected.note_policy(asked)
        comparison = Comparison()
        recognized = self._recognition.begin(point.number) if part.piece is None else Recognized({})
        rules: list[Reported] = []
        counted: list[Reported] = []
        sheaves: dict[int, Sheaf] = {}
        found = await channel.read_tables(part.tables, *part.bits, brief=True)
        if part.piece is None:
            self._entries[point.number] = len(found)
        async for entry in in_slices(found, READ_SLICE):
            if isinstance(entry, HeldBinding):
                sheaves.setdefault(entry.session, Sheaf()).add(entry)
                if is_counted(entry.table) and entry.session in point.local:
                    counted.append(entry)
            elif entry.table == Table.FLOW and entry.priority == Priority.FLOW_VERIFIED and not entry.raw:
                rules.append(entry)
            elif isinstance(entry, Installed):
                if not recognized.has(entry):
                    comparison.add(entry)
                if is_counted(entry.table):
                    counted.append(entry)
            else:
                comparison.add(entry)
        del found
        if part.piece is None:
            self._grant_usage.read(point, counted)
        findings: list[Finding] = []
        # No entry but per-flow rules of `flow` is about a session.
        if not part.piece:
            await self._common(point, part, recognized, comparison, findings, asked)
        if Table.SOURCE in part.tables:
            await self._sessions(point, part, sheaves, comparison, findings, asked)
        await self._rules(point, part, rules, comparison, findings, asked)
        async for finding in in_slices(comparison.foreign()):
            entry_found = comparison.found(finding.key) if finding.key is not None else None
            if entry_found is None or not ends_soon(entry_found):
                findings.append(finding)
        return await self._repair(point, channel, written, findings, asked)

    async def _common(
        self,
        point: Point,
        part: Part,
        recognized: Recognized,
        comparison: Comparison,
        findings: list[Finding],
        asked: float,
    ) -> None:
        """What is intended and no session's: in full where the switch does not say what was right before."""
        intended = in_slices(common_entries(self._state, point), READ_SLICE)
        doubtful = [flow async for flow in intended if not recognized.claim(flow)]
        async for entry in in_slices(recognized.unclaimed()):
            comparison.add(entry)
        async for flow in in_slices(doubtful):
            if not part.has(flow):
                continue
            found, before = comparison.found(flow.key), len(findings)
            self._hold(part, flow, comparison, findings, asked)
            if isinstance(found, Installed) and len(findings) == before:
                recognized.learn(found, flow)
        if part.piece is None:
            self._recognition.keep(point.number, recognized)

    def _hold(self, part: Part, flow: Flow, comparison: Comparison, findings: list[Finding], asked: float) -> None:
        """Look for an entry that is intended."""
        if not part.has(flow):
            return
        elapsed = self._state.clock() - asked
        finding = comparison.hold(flow, Leases(elapsed, renewed=True))
        # A lease that is as good as over may be so in the switch already.
        over = 0 < flow.hard_timeout <= 2 + elapsed
        if finding is not None and not (over and finding.what == "missing-rule"):
            findings.append(finding)

    async def _sessions(
        self,
        point: Point,
        part: Part,
        sheaves: dict[int, Sheaf],
        comparison: Comparison,
        findings: list[Finding],
        asked: float,
    ) -> None:
        """The entries of sessions: in full where they do not say what they should."""
        doubtful: list[int] = []
        async for live in in_slices(bound_sessions(self._state, point), READ_SLICE):
            sheaf = sheaves.get(live.session.number, NOTHING)
            leases = Leases(self._state.clock() - asked, renewed=True)
            if sheaf.is_right(self._state, point, live, leases, asked):
                del sheaves[live.session.number]
            else:
                doubtful.append(live.session.number)
        # All of them first: one may have the cookie of another session.
        async for entry in in_slices(chain.from_iterable(sheaf.entries for sheaf in sheaves.values())):
            comparison.add(entry.whole)
        async for number in in_slices(doubtful, SLICE // 4):
            found = self._state.sessions.by_number.get(number)
            if found is not None and (number in point.local or number in point.remote):
                for flow in session_bindings(self._state, point, found, asked):
                    self._hold(part, flow, comparison, findings, asked)

    # per-flow rules

    async def _rules(
        self,
        point: Point,
        part: Part,
        rules: list[Reported],
        comparison: Comparison,
        findings: list[Finding],
        asked: float,
    ) -> None:
        """The per-flow rules that a switch holds, and those of its own sessions that it does not."""
        expected, is_right = self._expected, self._expected.is_right
        seen: set[EntryKey] = set()
        right: set[FlowKey] = set()
        async for entry in in_slices(rules, READ_SLICE):
            if isinstance(entry, HeldRule) and is_right(point, entry, asked):
                right.add(entry.key)
                continue
            key = (Table.FLOW, entry.priority, entry.match)
            seen.add(key)
            intended = expected.rule_for(point, entry)
            if intended is None:
                if not expected.may_linger(point, entry):
                    comparison.add(entry)
            elif not is_same_rule(entry, intended, expected.left(entry, asked)):
                findings.append(altered(entry, intended))
        own = [number for number in self._own_numbers(point) if part.has_flows_of(number)]
        async for number in in_slices(own):
            async for flow in in_slices(self._state.flows.of_session(number), READ_SLICE):
                if flow.subject == number:
                    findings += expected.missing(flow, seen, right)

    def _own_numbers(self, point: Point) -> list[int]:
        outside = [number for number, live in self._state.outside.items() if live.switch == point.number]
        return [*point.local, *outside]

    # repair

    async def _repair(
        self, point: Point, channel: SwitchChannel, written: Written, findings: list[Finding], asked: float
    ) -> int:
        """Put right what nothing was sent about meanwhile: removals first. Returns how much was wrong.

        The leases intended are those of when the tables were asked for.
        """
        inexact = [finding for finding in findings if finding.what == "inexact-lease"]
        findings = [finding for finding in findings if finding.what != "inexact-lease"] + inexact[:MAX_CORRECTED]
        findings.sort(key=lambda finding: finding.what != "foreign-rule")
        repaired: list[Finding] = []
        for start in range(0, len(findings), SLICE):
            if point.channel is not channel or not point.ready:
                raise ChannelError("the connection is gone")
            if written.is_too_much:
                self._state.counters["attestations_abandoned"] += 1
                break
            part = [
                finding
                for finding in findings[start : start + SLICE]
                if finding.key is None or not written.touches(finding.key, finding.cookie)
            ]
            elapsed = self._state.clock() - asked
            channel.apply([finding.change_after(elapsed) for finding in part])
            repaired += part
            await asyncio.sleep(0)
        wrong = [finding for finding in repaired if finding.what != "inexact-lease"]
        self._state.counters["leases_corrected"] += len(repaired) - len(wrong)
        self._tell(point, wrong)
        return len(wrong)

    def _tell(self, point: Point, repaired: list[Finding]) -> None:
        state, name, now = self._state, point.switch.name, self._state.clock()
        count = Counter(finding.what for finding in repaired)
        state.counters["foreign_rules"] += count["foreign-rule"]
        state.counters["missing_rules"] += count["missing-rule"]
        state.counters["altered_rules"] += count["altered-rule"]
        for finding in repaired[:MAX_LOGGED]:
            state.journal.switch(finding.what, name, finding.text, now)
        if len(repaired) > MAX_LOGGED:
            state.journal.switch("repaired", name, f"{len(repaired) - MAX_LOGGED} entries more", now)
