"""Puts the packets of a script on the cables of their senders, with scapy's sockets, and watches them arrive."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from scapy.arch.linux import L2Socket

from replay.evidence import Evidence, body
from replay.ground import Ground
from replay.outlook import Outlooks
from replay.script import Line

ANSWER = 0.4
"""Seconds that a host waits for the packet which it answers."""
PATIENCE = 10.0
"""Seconds beyond that for which all packets of a script together are waited.

Open vSwitch's main thread, which forwards in user space, may stand still for some seconds while the kernel takes down
the interfaces of another network. Nothing is lost then: it only comes later.
"""
PACE = 0.0005
"""Seconds between packets at the least: 2,000 a second are below what a port's meter lets up."""


class Arrivals:
    """What has arrived where, as far as the captures were read."""

    def __init__(self, ground: Ground) -> None:
        self.missed = 0
        self._ground = ground
        self._counts: dict[str, Counter[bytes]] = defaultdict(Counter)

    def update(self) -> None:
        """Read on, once what is on its way has arrived."""
        self._take(self._ground.collect())

    def peek(self, host: str, wanted: bytes) -> int:
        """How often these octets, as `body` has them, have reached a host by now."""
        tap = self._ground.tap(self._ground.cable(host))
        counts = self._counts[self._ground.cable(host)]
        counts.update(body(frame) for frame in tap.drain())
        return counts[wanted]

    def at(self, host: str, wanted: bytes) -> int:
        """The same without reading on."""
        return self._counts[self._ground.cable(host)][wanted]

    def elsewhere(self, hosts: Iterable[str], wanted: bytes) -> dict[str, int]:
        """Whom else they have reached, and how often."""
        known = {self._ground.cable(host) for host in hosts}
        found = {host: counts[wanted] for host, counts in self._counts.items() if host not in known}
        return {host: count for host, count in found.items() if count}

    def _take(self, evidence: Evidence) -> None:
        self.missed += evidence.missed
        for host, frames in evidence.received.items():
            self._counts[host].update(body(frame) for _, frame in frames)


class Waiting:
    """Waits for packets to arrive, with a patience that all of them share."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._left = PATIENCE
        self._due: dict[tuple[str, bytes], int] = {}

    def expect(self, host: str, octets: bytes, times: int) -> None:
        """These octets have to reach a host for the n-th time in the end."""
        self._due[host, octets] = times

    def wait(self, host: str, octets: bytes, times: int) -> None:
        """Until they have. If they do not, that shows in what is counted at the end."""
        started = time.monotonic()
        deadline = started + ANSWER + max(0.0, self._left)
        while self._arrivals.peek(host, octets) < times and time.monotonic() < deadline:
            time.sleep(PACE)
        self._left -= max(0.0, time.monotonic() - started - ANSWER)

    def finish(self) -> None:
        """Wait for all that has to arrive."""
        for (host, octets), times in self._due.items():
            if self._arrivals.at(host, octets) < times and self._left > 0:
                self.wait(host, octets, times)


@contextmanager
def sockets(ground: Ground, hosts: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """A socket of scapy's on the interface of each of these hosts, by their names."""
    opened: dict[str, Any] = {}
    try:
        for host in dict.fromkeys(hosts):
            cable = ground.cable(host)
            made = ground.inside(cable, lambda: L2Socket(iface="eth0", promisc=False))
            opened[host] = made
        yield opened
    finally:
        for made in opened.values():
            made.close()


SETTLING = 0.05
"""Seconds that the next packet from one host to another waits behind the arrival of one that opens a flow.

Until its revalidators have run, Open vSwitch sends up what looks like the packet that opened the flow, and credits it
to the flow's new entry all the same: the controller and the switch would both count it.
"""


def inject(
    lines: Sequence[Line],
    sending: Mapping[str, Any],
    outlooks: Outlooks,
    arrivals: Arrivals,
    seconds: float,
    done: Callable[[int], None],
) -> int:
    """Send all, each at its time and not before what it answers has arrived, as its host would; how many were sent.

    After so many seconds nothing more is sent.
    """
    started = time.monotonic()
    before: dict[frozenset[Any], tuple[Line, int]] = {}
    repeated: Counter[bytes] = Counter()
    settled: dict[tuple[str, str], float] = {}
    waiting = Waiting(arrivals)
    sent = len(lines)
    for number, line in enumerate(lines):
        _wait(max(started + line.at, settled.get((line.source, line.target), 0.0)))
        conversation = frozenset((line.key, line.key.reverse()))
        if time.monotonic() > started + seconds:
            sent = number
            break
        previous = before.get(conversation)
        if previous is not None and previous[0].key != line.key:
            waiting.wait(previous[0].target, body(previous[0].frame), previous[1])
        was_open = outlooks.is_open(line.key)
        arrives = outlooks.send(line, time.monotonic())
        sending[line.source].send(line.frame)
        done(number + 1)
        octets = body(line.frame)
        repeated[octets] += 1
        if arrives:
            before[conversation] = line, repeated[octets]
            waiting.expect(line.target, octets, repeated[octets])
        else:
            before.pop(conversation, None)
        if arrives and not was_open:
            waiting.wait(line.target, octets, repeated[octets])
            settled[line.source, line.target] = time.monotonic() + SETTLING
        time.sleep(PACE)
    waiting.finish()
    return sent


def _wait(moment: float) -> None:
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)
