"""What is sent to a switch while its tables are being read: the answer to the request need not show it yet.

Messages reach a switch in order. So what was sent before the request is in the answer, and what an answer says about
an entry that was not sent anything about since is what the switch holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from zethane.net.flowkey import FlowKey
from zethane.pipeline.change import Add, Change, Remove, RemoveMatching
from zethane.pipeline.flow import EntryKey
from zethane.pipeline.verified import key_of

MAX_WRITTEN = 200_000
"""Changes that are remembered; a switch that is sent more while it is read is looked at another time."""


class Written:
    """The entries that changes or reports were about since some moment."""

    def __init__(self) -> None:
        self._keys: set[EntryKey] = set()
        self._flows: set[FlowKey] = set()
        self._removals: list[RemoveMatching] = []
        self._missed = False

    @property
    def is_too_much(self) -> bool:
        """Whether too much has happened for it to be told apart."""
        return self._missed or len(self._keys) + len(self._flows) + len(self._removals) > MAX_WRITTEN

    def changes(self, changes: Sequence[Change]) -> None:
        """These were sent."""
        if self.is_too_much:
            return
        for change in changes:
            if isinstance(change, Add):
                self._keys.add(change.flow.key)
            elif isinstance(change, Remove):
                self._keys.add((change.table, change.priority, change.match))
            elif isinstance(change, RemoveMatching):
                self._removals.append(change)

    def missed(self) -> None:
        """Changes take effect now that were sent before."""
        self._missed = True

    def flow(self, key: FlowKey) -> None:
        """The per-flow rule of a direction was sent, or reported as gone."""
        if not self.is_too_much:
            self._flows.add(key)

    def touches(self, key: EntryKey, cookie: int) -> bool:
        """Whether something was about this entry."""
        if key in self._keys or any(removal.takes(key, cookie) for removal in self._removals):
            return True
        if not self._flows:
            return False
        flow = key_of(key[2])
        return flow is not None and flow in self._flows


class Watches:
    """Those who want to know at the moment; there is one for each connection."""

    def __init__(self) -> None:
        self.active: list[Written] = []

    @contextmanager
    def watch(self) -> Iterator[Written]:
        """Everything that is sent in the block."""
        written = Written()
        self.active.append(written)
        try:
            yield written
        finally:
            self.active.remove(written)

    def changes(self, changes: Sequence[Change]) -> None:
        """Changes are sent."""
        for written in self.active:
            written.changes(changes)

    def committed(self, told: Collection[Written]) -> None:
        """A bundle takes effect: who is not among these has not been told of all that is in it."""
        for written in self.active:
            if written not in told:
                written.missed()

    def flow(self, key: FlowKey) -> None:
        """The per-flow rule of a direction is sent, or reported as gone."""
        for written in self.active:
            written.flow(key)
