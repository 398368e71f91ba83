"""Traffic that was seen, in a decision log or in a capture: what a policy is held against and made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from zethane.policy.principal import DeviceFacts, Party, Principal

MAX_KINDS = 1_000_000
"""Different combinations of ends, service and verdict that are told apart in one `Summary`."""

_REMEMBERED = 100_000
"""Parties whose place in a summary is known without another look."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Flows of one service from one party to another, as principals, or addresses outside; None: nobody is known there.

    `ip_proto` and `port` are those of `decide`. `flows` is how many there were, `packets` and `octets` both ways
    together (0 where that was not recorded). `first` and `last` are seconds since the epoch. `allowed` is what was
    decided when they were seen, and `rule` by which rule; None where nobody decided, as in a capture.
    `source` and `target` say in words who that was: `user:alice`, or the address.
    """

    subject: Party
    object: Party
    ip_proto: int
    port: int
    source: str
    target: str
    flows: int = 1
    packets: int = 0
    octets: int = 0
    first: float = 0.0
    last: float = 0.0
    allowed: bool | None = None
    rule: str | None = None


_Key = tuple[int, int, int, int, bool | None, str | None]


class Summary:
    """Adds up what was seen, by ends, service and verdict: in memory that does not grow with the number of flows.

    Ends count as the same where all that is known of them is, but for when something was last proved or measured;
    the newest of them stands for all. `left_out` counts the flows of more than MAX_KINDS combinations.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._rows: dict[_Key, _Row] = {}
        self._ends: dict[Party, int] = {}
        self._known: dict[int, tuple[Party, int]] = {}

    def add(self, seen: Seen) -> None:
        """Add what was seen, once."""
        ends = self._end(seen.subject), self._end(seen.object)
        key = (*ends, seen.ip_proto, seen.port, seen.allowed, seen.rule)
        row = self._rows.get(key)
        if row is not None:
            row.add(seen)
        elif len(self._rows) < MAX_KINDS:
            self._rows[key] = _Row(seen)
        else:
            self.left_out += seen.flows

    def __iter__(self) -> Iterator[Seen]:
        """Each combination once, in the order in which they were first seen."""
        return (row.seen() for row in self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def _end(self, party: Party) -> int:
        """The number of an end. Whoever makes these values uses the same again: an object is looked at once."""
        known = self._known.get(id(party))
        if known is not None:
            return known[1]
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        number = self._ends.setdefault(_timeless(party), len(self._ends))
        self._known[id(party)] = party, number  # as long as it is here, nothing else has its id
        return number


class _Row:
    """One combination, while it is added up."""

    __slots__ = ("_first", "_flows", "_last", "_newest", "_octets", "_packets")

    def __init__(self, seen: Seen) -> None:
        self._newest = seen
        self._flows, self._packets, self._octets = seen.flows, seen.packets, seen.octets
        self._first, self._last = seen.first, seen.last

    def add(self, seen: Seen) -> None:
        self._flows += seen.flows
        self._packets += seen.packets
        self._octets += seen.octets
        if seen.first < self._first:
            self._first = seen.first
        if seen.last > self._last:
            self._last = seen.last
            self._newest = seen

    def seen(self) -> Seen:
        return replace(
            self._newest,
            flows=self._flows,
            packets=self._packets,
            octets=self._octets,
            first=self._first,
            last=self._last,
        )


def summarise(seen: Iterable[Seen]) -> Summary:
    """Everything added up."""
    summary = Summary()
    for one in seen:
        summary.add(one)
    return summary


def _timeless(party: Party) -> Party:
    """The same without the moments of proofs and measurements."""
    if not isinstance(party, Principal):
        return party
    device = party.device
    if device is not None:
        device = DeviceFacts(device.name, device.groups, device.labels, device.posture)
    return replace(party, mfa_at=None, device=device)
