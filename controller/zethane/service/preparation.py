"""What two policies differ in by themselves, written to the switches while the first of them is in force.

It goes into a bundle per switch that stays open, piece by piece; what depends on sessions and flows follows when the
second takes its place, in one step, and then all of it takes effect at once. Nothing of it may take effect if
another policy, or hour, has come in between.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any
from weakref import finalize

from zethane.pipeline.change import Add, Change, Remove
from zethane.policy.model import Rule
from zethane.service.points import Point
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.slices import in_slices
from zethane.service.state import State
from zethane.service.switch import Bundle, SwitchChannel

SMALL = 64
"""Changes that are written with everything else, in one step: some 0.3 ms for each switch."""

PIECE = 8
"""Changes that are written to one switch before other work has its turn."""

PATIENCE = 2000
"""How often it is looked whether a switch is busy still before one piece; then it is written to in one step."""

MOST_PATIENCE = 60_000
"""The same for a policy as a whole."""

LOOK_AGAIN = 0.001
"""Seconds between two such looks."""

LOOKED_AT = 4
"""Rules, or pairs of ends, whose entries are compared before other work has its turn: each has a dozen or more."""

PARTS = 128
"""Parts of a policy that are gathered before other work has its turn."""

FORGOTTEN = 4
"""Objects that are let go of before other work has its turn."""

RULES = 128
"""The same of rules as they were read, which are small: some 0.05 ms."""


class Preparation:
    """Open bundles that lead from the policy in force to another one."""

    def __init__(
        self, state: State, new: PolicyInForce, difference: tuple[list[Change], list[Change]] | None = None
    ) -> None:
        """`difference` is what goes and what comes, if that is known."""
        self._state = state
        self._before = state.policy
        self._new = new
        self._is_known = difference is not None
        self.removed, self.added = difference or ([], [])
        self._bundles: dict[Point, tuple[SwitchChannel, Bundle]] = {}
        self._looks: Counter[Point] = Counter()

    def fits(self, new: PolicyInForce) -> bool:
        """Whether it leads from the policy that is in force now to this one."""
        return self._state.policy is self._before and self._new is new

    async def write(self) -> None:
        """Write what can be, giving way again and again, for as long as what it leads from is in force."""
        try:
            if not self._is_known:
                await self._compare()
            if len(self.removed) + len(self.added) > SMALL:
                await self._meet()
                await self._write()
        except BaseException:
            self.discard()
            raise

    async def _compare(self) -> None:
        async for removed, added in in_slices(self._before.differences(self._new), LOOKED_AT):
            self.removed += [Remove(*key) for key in removed]
            self.added += map(Add, added)

    async def _write(self) -> None:
        for point in self._state.fabric.points.values():
            if point.ready and point.missed is None and point.channel is not None:
                self._bundles[point] = point.channel, point.channel.bundle()
        # Removals first: what goes may have the key of what comes.
        for changes in (self.removed, self.added):
            for piece in _pieces(changes):
                for point in tuple(self._bundles):
                    await self._add(point, piece)
                if not self.fits(self._new):
                    return

    async def _meet(self) -> None:
        """Have it worked out who has to do with whom: the new policy keeps it for when everybody is counted again."""
        classes, points = self._new.classes, self._state.fabric.points.values()
        touched = classes.touched_after(self._before.classes)
        if touched is None:
            touched = set[int]().union(*(point.classes for point in points))
        for number in touched:
            if classes.is_unknown(number) and any(number in point.classes for point in points):
                classes.peers(number)
                await asyncio.sleep(0)

    async def _add(self, point: Point, piece: tuple[Change, ...]) -> None:
        """Write a piece to a switch; one that goes, refuses, or stays busy for too long is left out."""
        channel, bundle = self._bundles[point]
        looks = 0
        while channel.is_busy and looks < PATIENCE and self._looks[point] < MOST_PATIENCE and point.channel is channel:
            looks += 1
            self._looks[point] += 1
            await asyncio.sleep(LOOK_AGAIN)
        if channel.is_busy or not _is_good(point, channel, bundle):
            del self._bundles[point]
            bundle.discard()
            return
        bundle.add(piece)
        await asyncio.sleep(0)

    def take(self, point: Point) -> Bundle | None:
        """The bundle of a switch, to be added to and committed now; None if everything has to be written to it."""
        channel, bundle = self._bundles.pop(point, (None, None))
        if channel is None or bundle is None:
            return None
        if not _is_good(point, channel, bundle):
            bundle.discard()
            return None
        return bundle

    async def forget(self) -> None:
        """Let go of what it was made of, and of what the policy before has for itself, little by little: of a policy
        that was compiled as a whole that is a great many objects, and of any the rules as they were read."""
        for changes in (self.removed, self.added):
            await _let_go(changes)
        # It would all go at once, in the midst of whatever is the last to let go of the policy.
        rules = [*self._before.policy.rules]
        parts = [part async for part in in_slices(self._before.parts(self._new), PARTS)]
        if len(rules) > RULES or len(parts) > FORGOTTEN:
            finalize(self._before, _begin_to_let_go, rules, parts).atexit = False

    def discard(self) -> None:
        """Let nothing of what is left take effect."""
        while self._bundles:
            _, (_, bundle) = self._bundles.popitem()
            bundle.discard()


_going: set[asyncio.Task[None]] = set()


def _begin_to_let_go(rules: list[Rule], parts: list[object]) -> None:
    """What was made of these is gone; they go after it. In a thread without a loop they go at once."""
    try:
        task = asyncio.get_running_loop().create_task(_let_go_of_both(rules, parts))
    except RuntimeError:
        return
    _going.add(task)
    task.add_done_callback(_going.discard)


async def _let_go_of_both(rules: list[Rule], parts: list[object]) -> None:
    await _let_go(rules, RULES)
    await _let_go(parts)


async def _let_go(held: list[Any], size: int = FORGOTTEN) -> None:
    """Let go of everything in a list, little by little."""
    while held:
        del held[-size:]
        await asyncio.sleep(0)


def _is_good(point: Point, channel: SwitchChannel, bundle: Bundle) -> bool:
    """Whether it may be committed: the switch is there still, has taken all of it, and is not being made right."""
    return point.channel is channel and point.ready and point.missed is None and not bundle.is_refused


def _pieces(changes: Sequence[Change]) -> Iterator[tuple[Change, ...]]:
    left = iter(changes)
    while piece := tuple(islice(left, PIECE)):
        yield piece
