"""JSON-RPC over a stream (RFC 7047 §4): values one after the other, without anything between them.

A message's end is found without parsing it, so that its size and depth are bounded before anything is made of it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from zethane.errors import ZethaneError

MAX_MESSAGE = 8 * 1024 * 1024
"""Bytes of a message: the interfaces of a host with some ten thousand of them."""

MAX_DEPTH = 32
"""Objects and arrays inside each other; the columns that are asked for need ten."""

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_SPACE = re.compile(rb"[ \t\r\n]*")


class OvsdbError(ZethaneError):
    """What answers is no OVSDB, or says more than is taken of it."""


class Splitter:
    """Cuts a stream into messages."""

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        self._max_message = max_message
        self._buffer = bytearray()
        self._scanned = 0
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now. Raises OvsdbError, after which the stream cannot be used."""
        self._buffer += data
        messages = []
        while (end := self._end()) is not None:
            messages.append(bytes(self._buffer[:end]))
            del self._buffer[:end]
            self._scanned = 0
        if len(self._buffer) > self._max_message:
            raise OvsdbError(f"a message of more than {self._max_message} bytes")
        return messages

    def _end(self) -> int | None:
        """Where the first message ends, if all of it is there."""
        if self._depth == 0:
            self._start()
        while True:
            found = (_INSIDE if self._in_string else _OUTSIDE).search(self._buffer, self._scanned)
            if found is None:
                self._scanned = len(self._buffer)
                return None
            mark = found[0]
            if mark == b"\\":
                if found.end() == len(self._buffer):
                    self._scanned = found.start()  # what it escapes has not come yet
                    return None
                self._scanned = found.end() + 1
                continue
            self._scanned = found.end()
            if mark == b'"':
                self._in_string = not self._in_string
            elif self._nest(1 if mark in b"{[" else -1) == 0:
                return self._scanned

    def _start(self) -> None:
        """A message is an object: anything else between two of them is an error, and not read any further."""
        space = _SPACE.match(self._buffer)
        if space is not None and space.end():
            del self._buffer[: space.end()]
            self._scanned = 0
        if self._buffer and self._buffer[0] != ord("{"):
            raise OvsdbError("something else than JSON objects")

    def _nest(self, by: int) -> int:
        self._depth += by
        if not 0 <= self._depth <= MAX_DEPTH:
            raise OvsdbError("nested too deep" if by > 0 else "a bracket that opens nowhere")
        return self._depth


def parse(message: bytes) -> dict[str, Any]:
    """The object in a message that a Splitter gave. Raises OvsdbError."""
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        raise OvsdbError("a message that is no JSON") from None
    if not isinstance(value, dict):
        raise OvsdbError("a message that is no object")
    return value
