"""What is to be written to one switch, in order, and the numbers of the messages. The twin of the compiled `Output`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zethane.native import HOT_PATH, native


class Output:
    """Messages that are collected until they are written with one call."""

    __slots__ = ("_messages", "_xid")

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._xid = 1

    def __bool__(self) -> bool:
        return bool(self._messages)

    def next_xid(self) -> int:
        """The number of the next message: 1 to 2^32 - 1, and from the beginning again."""
        xid = self._xid
        self._xid = xid % 0xFFFFFFFF + 1
        return xid

    def append(self, message: bytes) -> None:
        """One message more."""
        self._messages.append(message)

    def extend(self, messages: Iterable[bytes]) -> None:
        """Several messages more."""
        self._messages.extend(messages)

    def take(self) -> bytes:
        """All of them; nothing is collected then."""
        taken = b"".join(self._messages)
        self._messages.clear()
        return taken

    def take_sent(self) -> int:
        """How many bytes were sent past `take` since this was asked last: only the compiled path does that."""
        return 0


PureOutput = Output
if not TYPE_CHECKING and (compiled := native(HOT_PATH)) is not None:
    Output = compiled.Output
