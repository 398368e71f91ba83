"""Live sessions by whatever others call their principals, so that nobody has to look through all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from zethane.audit.reason import SessionEvent
from zethane.identity.session import Session

Keys = Callable[[Session], Iterable[str]]


class SessionIndex:
    """The sessions of each key. `find` gives a live session by its number; `note` watches the journal."""

    def __init__(self, keys: Keys, find: Callable[[int], Session | None]) -> None:
        self._keys = keys
        self.find = find
        self._numbers: defaultdict[str, dict[int, None]] = defaultdict(dict)
        self._entered: dict[int, frozenset[str]] = {}

    def add(self, sessions: Iterable[Session]) -> None:
        """Enter what is live already."""
        for session in sessions:
            self._enter(session.number, frozenset(self._keys(session)))

    def note(self, _: SessionEvent, session: Session, __: str, ___: float) -> None:
        """Something has happened to a session: it has started, changed or ended."""
        live = self.find(session.number)
        self._enter(session.number, frozenset(self._keys(live)) if live is not None else frozenset())

    def numbers(self, key: str) -> tuple[int, ...]:
        """The live sessions of a key."""
        return tuple(self._numbers.get(key, ()))

    @property
    def keys(self) -> Iterable[str]:
        """Every key that a live session has."""
        return self._numbers.keys()

    def sessions(self, keys: Iterable[str]) -> Iterator[Session]:
        """The live sessions of any of these keys, each once, in no order."""
        for number in {number for key in keys for number in self.numbers(key)}:
            session = self.find(number)
            if session is not None:
                yield session

    def _enter(self, number: int, keys: frozenset[str]) -> None:
        before = self._entered.pop(number, frozenset())
        for key in before - keys:
            del self._numbers[key][number]
            if not self._numbers[key]:
                del self._numbers[key]
        for key in keys - before:
            self._numbers[key][number] = None
        if keys:
            self._entered[number] = keys
