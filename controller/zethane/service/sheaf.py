"""The entries of one session that a switch has reported, held against what it should hold of the session.

Nearly all that switches hold in standing entries are those of sessions, and nearly all are right. They are told by what
they say, without making an entry of what is there or of what is intended. Where that is not the same, or a lease does
not fit, every entry has to be looked at in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from zethane.pipeline.bindings import lease_seconds
from zethane.pipeline.held import HeldBinding, Says, bindings_say, connections_say, remote_bindings_say
from zethane.service.comparison import Leases
from zethane.service.points import Point
from zethane.service.sessions import Live
from zethane.service.state import State


@dataclass(slots=True)
class Sheaf:
    """Entries with the cookie of one session."""

    entries: list[HeldBinding] = field(default_factory=list)
    least: float = float("inf")
    most: float = float("-inf")

    def add(self, entry: HeldBinding) -> None:
        """One more; the leases that are there run for `least` to `most` seconds."""
        self.entries.append(entry)
        if entry.hard_timeout:
            left = entry.hard_timeout - entry.age
            self.least, self.most = min(self.least, left), max(self.most, left)

    def is_right(self, state: State, point: Point, live: Live, leases: Leases, now: float) -> bool:
        """Whether it has the entries that a switch should hold of a session, no others, and their leases fit those
        intended at `now`. False says only that they have to be looked at."""
        intended = set(_leases(state, live, now))
        if len(intended) != 1:
            return False
        lease = intended.pop()
        if lease <= 0 or not leases.fits(self.least, lease) or not leases.fits(self.most, lease):
            return False
        wanted = list(_says(state, point, live))
        return len(wanted) == len(self.entries) and {entry.says for entry in self.entries} == set(wanted)


NOTHING = Sheaf()
"""Of a session that the switch has not named."""


def _leases(state: State, live: Live, now: float) -> Iterator[int]:
    session, table = live.session, state.leases
    for address in session.addresses:
        until = table.until(address, session.attachment)
        yield lease_seconds(live.ends if until is None else min(live.ends, until), now)


def _says(state: State, point: Point, live: Live) -> Iterator[Says]:
    """What the entries say that `intent.session_bindings` makes."""
    session, own = live.session, live.switch == point.number
    say = bindings_say if own else remote_bindings_say
    place = live.switch, session.attachment.port, session.attachment.vlan
    for address in session.addresses:
        yield from say(session.number, live.mac, address, live.class_at(address), place)
    if state.policy.has_grants:
        yield from connections_say(session.number, state.fabric.tracking.epoch, notify=own)
