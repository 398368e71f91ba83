"""What a connection's bytes come to, and what the hot path needs of the connection. The twin of the compiled `Reading`.

That one has the compiled path take what is plain before anything else is done, and does nothing after it where there is
nothing to do. With one flow at a time, and caches that others have used meanwhile, each function in Python is memory
that has to be waited for: before the answer by its packet, and behind it by a switch that waits for the same core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zethane.native import HOT_PATH, native

if TYPE_CHECKING:
    import asyncio

    from zethane.adapters.openflow.channel import FastPath
    from zethane.adapters.openflow.intake import Intake
    from zethane.adapters.openflow.keepalive import KeepAlive
    from zethane.adapters.openflow.output import Output
    from zethane.adapters.openflow.pace import Pace
    from zethane.adapters.openflow.writer import Gate
    from zethane.service.written import Watches


class Reading:
    """The part of `Channel` that bytes come to first."""

    dpid: int
    _accepted: bool
    _alive: KeepAlive
    _closed_for: str | None
    _fast: FastPath | None
    _gates: list[Gate]
    _intake: Intake
    _is_behind: bool
    _loop: asyncio.AbstractEventLoop
    _out: Output
    _pace: Pace
    _plain: int
    _received: bytes
    _transport: asyncio.Transport | None
    _watches: Watches
    _writable: bool

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        self._intake.begin()
        self._take(data, 0, looked=False)

    def _take(self, data: bytes, at: int, *, looked: bool) -> None:
        """Take what begins there; `looked` says that the compiled path has been asked about it already."""
        raise NotImplementedError


PureReading = Reading
if not TYPE_CHECKING and (compiled := native(HOT_PATH)) is not None:
    Reading = compiled.Reading
