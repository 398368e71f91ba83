"""Reading a switch's tables, piece by piece, so that neither the switch nor the loop is held up."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from functools import partial
from typing import NamedTuple

from zethane.adapters.openflow import decode, encode
from zethane.adapters.openflow.pieces import SPLIT, pieces
from zethane.adapters.openflow.requests import Request, Requests
from zethane.adapters.openflow.writer import Writer
from zethane.pipeline.held import Reported
from zethane.pipeline.tables import Table

READ_SLICE = 256
"""Entries that are read at a time before other work has its turn: about a millisecond."""


class _Asked(NamedTuple):
    """A piece of a table that was asked for, and when by the loop's clock."""

    table: Table
    asked: float
    xid: int
    request: Request


class TableReader:
    """Of one connection. The entries of one table may take `most` bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: Writer, requests: Requests, most: int) -> None:
        self._loop = loop
        self._writer = writer
        self._requests = requests
        self._most = most

    async def read(self, tables: Collection[Table], cookie: int, mask: int, *, brief: bool) -> list[Reported]:
        """The entries of these tables whose cookies agree under the mask; no others are asked for.

        With `brief` those of sessions are not looked into. All ages are those at the moment of the call. What is sent
        or reported gone meanwhile may be among them or not: that is to be watched. Raises ChannelError.
        """
        begun = self._loop.time()
        asked = [(table, cookie, mask) for table in tables]
        if not mask:
            asked = [(table, *bits) for table in tables for bits in pieces(table, await self._entries(table))]
        found: list[Reported] = []
        left = dict.fromkeys(tables, self._most)
        waiting = iter([*asked, None])
        answer = self._ask_for(next(waiting), left)
        try:
            while answer is not None:
                table, since = answer.table, answer.asked - begun
                body = await self._requests.wait(answer.xid, answer.request)
                left[table] -= len(body)
                # The switch has the next one to do while this one is read.
                answer = self._ask_for(next(waiting), left)
                for entry in decode.read_flow_stats(body, brief=brief, younger=since):
                    found.append(entry)
                    if len(found) % READ_SLICE == 0:
                        await asyncio.sleep(0)
        finally:
            if answer is not None:
                self._requests.forget(answer.xid, answer.request)
        return found

    def _ask_for(self, piece: tuple[Table, int, int] | None, left: Mapping[Table, int]) -> _Asked | None:
        """Ask for a piece of a table, of which so many bytes may come."""
        if piece is None:
            return None
        table, cookie, mask = piece
        xid = self._writer.next_xid()
        self._writer.send(encode.flow_stats_request(table, xid, cookie, mask))
        return _Asked(table, self._loop.time(), xid, self._requests.expect(xid, max(left[table], 1)))

    async def _entries(self, table: Table) -> int:
        """How many entries a table has, if it may have many. Raises ChannelError."""
        if table not in SPLIT:
            return 0
        return decode.read_entry_count(await self._requests.ask(partial(encode.cookies_request, table, 0, 0)))
