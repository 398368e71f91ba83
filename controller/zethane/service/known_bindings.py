"""Entries of sessions that were right once, and are as long as neither they nor what is intended have changed.

Nearly all that switches hold in standing entries are those of sessions, and nearly none changes between two looks. Of
each session the sum of the digests of its entries is kept, with what they were made from, once for its own switch and
once for all others. Entries with that sum need no second look but for their leases; all others are looked at in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from zethane.pipeline.bindings import lease_seconds
from zethane.pipeline.held import HeldBinding
from zethane.service.comparison import Leases
from zethane.service.points import Point
from zethane.service.sessions import Live
from zethane.service.state import State

VARIANTS = 4
"""Sums that are kept of one session: switches may order the parts of an entry in their own way."""

_SPARE = 1024

Origin = tuple[object, ...]
"""All that a session's entries are made from, but for the switch and the moment."""


@dataclass(slots=True)
class Sheaf:
    """The entries of one session that a switch has reported."""

    entries: list[HeldBinding] = field(default_factory=list)
    digest: int = 0
    least: float = float("inf")
    most: float = float("-inf")

    def add(self, entry: HeldBinding) -> None:
        """One more; the leases that are there run for `least` to `most` seconds."""
        self.entries.append(entry)
        self.digest += entry.digest
        if entry.hard_timeout:
            left = entry.hard_timeout - entry.age
            self.least, self.most = min(self.least, left), max(self.most, left)


class KnownBindings:
    """What was right, by session and whether the switch is its own."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._right: dict[tuple[int, bool], tuple[Origin, tuple[int, ...]]] = {}

    def are_right(self, point: Point, live: Live, sheaf: Sheaf, leases: Leases, now: float) -> bool:
        """Whether a sheaf is as one that was right, made from the same, and its leases fit those intended at `now`.

        `leases` are as for the entries one by one. False says only that they have to be looked at.
        """
        kept = self._right.get((live.session.number, live.switch == point.number))
        if kept is None or sheaf.digest not in kept[1] or kept[0] != self._origin(live):
            return False
        intended = set(self._intended(live, now))
        if len(intended) != 1:
            return False
        lease = intended.pop()
        return lease > 0 and leases.fits(sheaf.least, lease) and leases.fits(sheaf.most, lease)

    def learn(self, point: Point, live: Live, sheaf: Sheaf) -> None:
        """Every entry of a sheaf, and no other, is intended."""
        key, origin = (live.session.number, live.switch == point.number), self._origin(live)
        before, sums = self._right.get(key, (origin, ()))
        if before != origin:
            sums = ()
        if sheaf.digest not in sums:
            sums = (sheaf.digest, *sums)[:VARIANTS]
        self._right[key] = origin, sums
        if len(self._right) > 2 * len(self._state.sessions.by_number) + _SPARE:
            self._forget()

    def _forget(self) -> None:
        """Sessions that have ended: their numbers do not come again."""
        live = self._state.sessions.by_number
        self._right = {key: kept for key, kept in self._right.items() if key[0] in live}

    def _origin(self, live: Live) -> Origin:
        session, state = live.session, self._state
        classes = tuple([live.class_at(address) for address in session.addresses])
        epoch = state.fabric.tracking.epoch if state.policy.has_grants else None
        return session.addresses, session.attachment, classes, live.switch, epoch

    def _intended(self, live: Live, now: float) -> Iterator[int]:
        session, table = live.session, self._state.leases
        for address in session.addresses:
            until = table.until(address, session.attachment)
            yield lease_seconds(live.ends if until is None else min(live.ends, until), now)
