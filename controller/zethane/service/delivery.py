"""Delivery: how changes go to the switches, one by one or as a bundle that has to be settled.

A switch that is away is sent nothing: reconciliation sees to it. For one that is just being made right, changes are
kept: they come behind what is intended, which may have been worked out before them or after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence

from zethane.errors import ChannelError
from zethane.pipeline.change import Add, Change, RemoveMatching
from zethane.service.points import Fabric, Point
from zethane.service.state import State
from zethane.service.switch import SwitchChannel

Changes = dict[int, list[Change]]
"""What is to change, by the switches' numbers."""

Pending = tuple[Point, SwitchChannel, Awaitable[None]]
"""A bundle that is written, on its way to a switch."""


def send(point: Point, changes: Sequence[Change]) -> None:
    """Send changes one by one."""
    if point.missed is not None:
        point.missed += changes
        return
    if changes and point.ready and point.channel is not None:
        point.channel.apply(changes)


def take_back(point: Point, removals: Sequence[RemoveMatching]) -> None:
    """Have entries removed now, before anything else is done, and not with what else there is to send.

    A switch that is only just being made right, or has to wait for that, still does what it did before: it is told as
    well, and once more behind what is intended for it.
    """
    if point.missed is not None:
        point.missed += removals
    if removals and point.channel is not None:
        point.channel.apply(removals)
        point.channel.flush()


def send_each(fabric: Fabric, changes: Mapping[int, Sequence[Change]]) -> None:
    """The same to several switches."""
    for number, found in changes.items():
        send(fabric.by_number[number], found)


def commit(point: Point, changes: Sequence[Change]) -> list[Pending]:
    """Send changes as one bundle in the order that they have; none if there is nothing to send."""
    if point.missed is not None:
        point.missed += changes
        return []
    if changes and point.ready and point.channel is not None:
        return [(point, point.channel, point.channel.commit(changes))]
    return []


def commit_each(fabric: Fabric, changes: Changes) -> list[Pending]:
    """Send changes as one bundle per switch, removals first."""
    waiting: list[Pending] = []
    for point in fabric.points.values():
        waiting += commit(point, removals_first(changes.get(point.number, [])))
    return waiting


def removals_first(changes: list[Change]) -> list[Change]:
    """The same list in the order in which it is to be sent: what goes may have the key of what comes."""
    changes.sort(key=lambda change: isinstance(change, Add))
    return changes


async def settle(state: State, waiting: Iterable[Pending]) -> None:
    """Wait for bundles that are written. A switch that refuses one is started over with."""
    for point, channel, written in waiting:
        await _settle(state, point, channel, written)


async def _settle(state: State, point: Point, channel: SwitchChannel, written: Awaitable[None]) -> None:
    try:
        await written
    except ChannelError as error:
        state.journal.switch("refused", point.switch.name, str(error), state.clock())
        channel.close(f"a change could not be applied: {error}")
