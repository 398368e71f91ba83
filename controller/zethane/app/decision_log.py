"""Decision logs from files: plain or gzip, several in the order of their times, or standard input; line by line."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from glob import glob, has_magic
from itertools import islice
from typing import BinaryIO, cast

from zethane.audit.observed import Account, Known, Observer
from zethane.audit.recorded import MAX_LINE, RecordError, as_mapping, read_time, split_account
from zethane.errors import InputError, Problem
from zethane.identity.directory import Directory, User
from zethane.policy.principal import Principal
from zethane.policy.seen import Seen

STANDARD_INPUT = "-"

MAX_FILES = 1000

_LOOKED_AT = 100
"""Lines at the beginning of a file in which a time is looked for, to put files in order."""

_GZIP = b"\x1f\x8b"
"""How gzip begins (RFC 1952 §2.3.1)."""

_BUFFER = 1 << 20


class DecisionLog:
    """What decision logs say of flows, read once, in order. `account` says how far, and what could not be used."""

    def __init__(self, files: Sequence[str], known: Known, since: float = -math.inf, until: float = math.inf) -> None:
        """Nothing is read yet. A name may have `*` in it. Raises InputError for a file that cannot be opened."""
        found = [file for pattern in files for file in _matching(pattern)]
        if not 1 <= len(found) <= MAX_FILES:
            raise InputError([Problem("--log", f"expected 1 to {MAX_FILES} files")])
        self._files = in_order(found)
        self._observer = Observer(known, since, until)

    @property
    def account(self) -> Account:
        """What was read so far."""
        return self._observer.account

    def __iter__(self) -> Iterator[Seen]:
        """What each record says of a flow. Raises InputError where no line at all is a record."""
        observer = self._observer
        for file in self._files:
            for line in lines(file):
                if isinstance(line, str):
                    observer.damage(line)
                    continue
                seen = observer.line(line)
                if seen is not None:
                    yield seen
        account = observer.account
        if account.lines and not account.records:
            message = "expected a decision log, one JSON object a line (or that with gzip): no line is a record"
            raise InputError([Problem(self._files[0], message)])


def _matching(pattern: str) -> list[str]:
    return sorted(glob(pattern)) or [pattern] if has_magic(pattern) else [pattern]


def lines(file: str) -> Generator[bytes | str, None, None]:
    """The lines of a file without the end of the line; for what cannot be read, the word for the damage."""
    with _opened(file) as stream:
        while True:
            try:
                line = stream.readline(MAX_LINE + 1)
                if len(line) > MAX_LINE:
                    _skip_line(stream, line)
                    yield "too-long"
                    continue
            except (EOFError, OSError, zlib.error):  # a file that was cut off, or is damaged further on
                yield "unreadable"
                return
            if not line:
                return
            if line != b"\n":
                yield line


def _skip_line(stream: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = stream.readline(MAX_LINE)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """The file, unpacked if it begins as gzip does. Raises InputError."""
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(io.FileIO(0, closefd=False) if file == STANDARD_INPUT else io.FileIO(file))
            buffered = stack.enter_context(io.BufferedReader(raw, _BUFFER))
            is_packed = buffered.peek(len(_GZIP))[: len(_GZIP)] == _GZIP
        except OSError as error:
            raise InputError([Problem(file, f"cannot be read: {error.strerror or error}")]) from error
        # Not buffered once more: what can be unpacked in front of some damage would be lost with it.
        yield stack.enter_context(cast(BinaryIO, gzip.GzipFile(fileobj=buffered))) if is_packed else buffered


def in_order(files: Iterable[str]) -> list[str]:
    """The files by the time of their first record; those without one, and standard input, stay where they are given.

    Rotated logs sort otherwise by name, and sessions are told of before their flows. Raises InputError.
    """
    given = list(files)
    timed = [(file, None if file == STANDARD_INPUT else _first_time(file)) for file in given]
    ordered = iter(sorted((item for item in timed if item[1] is not None), key=lambda item: item[1] or 0.0))
    return [file if moment is None else next(ordered)[0] for file, moment in timed]


def _first_time(file: str) -> float | None:
    with closing(lines(file)) as found:
        return next((time for line in islice(found, _LOOKED_AT) if (time := _time_of(line)) is not None), None)


def _time_of(line: bytes | str) -> float | None:
    try:
        return read_time(as_mapping(line).get("time")) if isinstance(line, bytes) else None
    except RecordError:
        return None


def known_by(directory: Directory | None) -> Known:
    """Who identities.yaml knows by `user:alice`: as having proved, whenever it was, all that they can prove."""

    def known(account: str) -> Principal | None:
        kind, name = split_account(account)
        entry = directory.entry(kind, name) if directory is not None else None
        if entry is None:
            return None
        has_factor = isinstance(entry, User) and entry.totp is not None
        return Principal(
            kind,
            name,
            frozenset(entry.groups),
            tuple(sorted(entry.labels.items())),
            has_factor,
            math.inf if has_factor else None,
            2 if has_factor else 1,
        )

    return known
