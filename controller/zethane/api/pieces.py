"""Long answers, made in short pieces: a packet that comes meanwhile waits for one piece at the most.

Whoever asks at the same time takes turns: however many do, one piece is made between two looks at the switches.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from fastapi.responses import StreamingResponse
from msgspec import json as fast_json

PIECE = 0.00005
"""Seconds that a piece takes; it may take as long as one item more."""

CHUNK = 16 * 2**10
"""Octets that are handed on together, between two pieces: that takes longer than a piece, however few they are."""

_encode = fast_json.Encoder().encode


class Pieces:
    """Makes the long answers of one API."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    def listed(self, name: str, items: Iterable[Any]) -> StreamingResponse:
        """A JSON object with one list, whose items are made on the way; they may be many, and are JSON-ready."""
        return self.text(_listed(name, items), "application/json")

    def text(self, parts: Iterable[bytes], media_type: str) -> StreamingResponse:
        """Text of parts that are made on the way."""
        return StreamingResponse(self._pieces(iter(parts)), media_type=media_type)

    async def _pieces(self, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
        is_over = False
        while not is_over:
            made: list[bytes] = []
            size = 0
            while size < CHUNK and not is_over:
                async with self._turn:
                    until = time.perf_counter() + PIECE
                    for part in parts:
                        made.append(part)
                        size += len(part)
                        if time.perf_counter() >= until:
                            break
                    else:
                        is_over = True
                    await asyncio.sleep(0)
            if size:
                yield b"".join(made)
                await asyncio.sleep(0)


def _listed(name: str, items: Iterable[Any]) -> Iterator[bytes]:
    yield b'{"' + name.encode() + b'":['
    separator = b""
    for item in items:
        yield separator + _json(item)
        separator = b","
    yield b"]}"


def _json(item: Any) -> bytes:
    try:
        return _encode(item)
    except UnicodeEncodeError:  # half of a surrogate pair: JSON has an escape for it
        return json.dumps(item).encode()
