"""Packet-ins between a switch's connection and the administrator: queued per port, handled in turns.

A turn is bounded, so that timers, the API, revocations and other switches never wait for one switch's packets. The
first turn is the read that brought the packets: a packet is handled at once where none of its port waits. What a port
sends beyond its share of a read waits, so that others' packets behind it need not. Everything else that a switch
reports is not queued, and overtakes packets that wait.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from zethane.pipeline.fields import RULE_MASK, Reason
from zethane.service.fair_queue import FairQueue, QueueBounds
from zethane.service.switch import PacketIn

CLOCK_EVERY = 4
"""Packets between looks at the clock."""

FRAME_OVERHEAD = 64
"""Bytes that a packet-in takes beside its frame."""

STALE_AT_ONCE = 128
"""Packets that are given up in one turn: each has to be counted."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """What one turn may handle and how long it may take, in packets and seconds; and what may wait.

    `share` are the packets of one port that are handled in a read, and `later` the seconds of a turn of those that
    wait: nothing is read meanwhile. `patience` is how many seconds a packet may wait. Where more comes than a switch
    can take, all would come out late otherwise, behind what their senders have given up or sent again (TCP after 1 s,
    RFC 6298 section 2.1).
    """

    packets: int = 64
    seconds: float = 0.002
    share: int = 16
    later: float = 0.0001
    patience: float = 0.3
    queue: QueueBounds = field(default_factory=QueueBounds)


class Intake:
    """The queue of one connection. `handle` must not raise; `turn_done` is called after each later turn, `give_up` for
    a packet that has waited too long.

    `quick` is the compiled path: it takes packets that wait and are plain, and gives back the first that is not. Of
    those that are just being read it has taken its own before. A packet there counts as a part of one, for it takes so
    much less time, and what it leaves of a turn is for the others.
    """

    def __init__(
        self,
        handle: Callable[[PacketIn], None],
        turn_done: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        limits: TurnLimits | None = None,
        clock: Callable[[], float] = perf_counter,
        quick: Callable[[FairQueue[PacketIn], Intake], PacketIn | None] | None = None,
        give_up: Callable[[PacketIn], None] | None = None,
    ) -> None:
        self._handle = handle
        self._quick = quick
        self._give_up = give_up
        self._turn_done = turn_done
        self._loop = loop
        self._limits = limits or TurnLimits()
        self._clock = clock
        self._queue: FairQueue[PacketIn] = FairQueue(self._limits.queue)
        self._next: asyncio.Handle | None = None
        self._held = False
        self._resting = False
        self._left = 0
        self._until = 0.0
        self._taken: Counter[int] = Counter()
        self._over: set[int] = set()
        """Ports that have had their share of what is being read."""

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_due(self) -> bool:
        """Whether packets that wait have their turn next."""
        return self._next is not None

    def begin(self) -> None:
        """Something is being read: this is a turn, for ports of which nothing waits."""
        if not self._held:
            self._left = self._limits.packets
            self._until = self._clock() + self._limits.seconds

    def put(self, event: PacketIn) -> bool:
        """Handle a packet now, or queue it; False if its port has as many waiting as it may have.

        Probes of links overtake what waits: they are judged by the time that they take, and cost no more than a look.
        """
        if event.cookie & RULE_MASK == Reason.LLDP:
            self._handle(event)
            return True
        if self._left and event.port not in self._over and event.port not in self._queue:
            self._taken[event.port] += 1
            if self._taken[event.port] >= self._limits.share:
                self._over.add(event.port)
            self._take_turn(event)
            return True
        return self.wait(event)

    def wait(self, event: PacketIn) -> bool:
        """Queue a packet; False if its port has as many waiting as it may have."""
        return self._queue.put(event.port, event, len(event.frame) + FRAME_OVERHEAD, self._clock())

    def wait_all(self, events: list[PacketIn]) -> list[PacketIn]:
        """Queue packets of one port; those for which there is no room."""
        size = max(len(event.frame) for event in events) + FRAME_OVERHEAD
        return events[self._queue.put_all(events[0].port, events, size, self._clock()) :]

    def end(self) -> None:
        """The turn is over; there is another one if something waits."""
        self._left = 0
        if self._taken:
            self._taken.clear()
        if self._over:
            self._over.clear()
        self._go_on()

    def _go_on(self) -> None:
        if self._queue and self._next is None and not self._held and not self._resting:
            self._next = self._loop.call_soon(self._another_turn)

    def hold(self) -> None:
        """Handle nothing until `release`: the answers have nowhere to go."""
        self._held = True
        self._left = 0
        self._cancel()

    def release(self) -> None:
        """Go on."""
        self._held = False
        self._go_on()

    def rest(self, resting: bool) -> None:
        """Whether what waits goes on waiting, while ports of which nothing waits have their turns."""
        self._resting = resting
        if resting:
            self._cancel()
        else:
            self._go_on()

    def stop(self) -> None:
        """Forget what waits: the connection is gone."""
        self._queue.clear()
        self._cancel()

    def _another_turn(self) -> None:
        self._next = None
        self._left = self._limits.packets
        now = self._clock()
        self._until = now + min(self._limits.later, self._limits.seconds)
        if self._give_up is not None:
            for stale in self._queue.take_before(now - self._limits.patience, STALE_AT_ONCE):
                self._give_up(stale)
        while self._left and (waiting := len(self._queue)):
            event = self._quick(self._queue, self) if self._quick is not None else None
            if event is None and len(self._queue) == waiting:
                event = self._queue.take()  # whatever the compiled path makes of them, each round takes one at least
            if event is not None:
                self._take_turn(event)
        self.end()
        self._turn_done()

    def _take_turn(self, event: PacketIn) -> None:
        # What the compiled path gives back is handled, even if the turn was over with the packet before it.
        left = self._left = max(self._left - 1, 0)
        self._handle(event)
        if not left % CLOCK_EVERY and self._clock() >= self._until:
            self._left = 0

    def _cancel(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
