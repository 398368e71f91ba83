"""The handshake: a switch says which version it speaks, who it is and which ports it has (OpenFlow 1.3.5 §6.3.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from zethane.adapters.openflow import decode, encode
from zethane.adapters.openflow.reception import HELLO
from zethane.adapters.openflow.requests import Requests
from zethane.adapters.openflow.writer import Writer
from zethane.errors import ChannelError
from zethane.service.switch import PortState


class Handshake:
    """Of one connection, within `seconds` from its beginning.

    `named` is told the switch's datapath id, `done` its ports, and `give_up` why the connection has to end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: Writer,
        requests: Requests,
        seconds: float,
        named: Callable[[int], None],
        done: Callable[[Sequence[PortState]], None],
        give_up: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._writer = writer
        self._requests = requests
        self._seconds = seconds
        self._named = named
        self._done = done
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, *, is_greeted: bool) -> None:
        """Greet, unless the switch has got our hello already."""
        if not is_greeted:
            self._writer.send(HELLO)
        self._timer = self._loop.call_later(self._seconds, self._give_up, "the handshake took too long")

    def hello(self, version: int) -> None:
        """The switch greets. Raises ChannelError."""
        if self._task is not None:
            raise ChannelError("a second hello")
        if version < encode.VERSION:
            raise ChannelError(f"the switch speaks OpenFlow version {version:#x}, 0x04 (1.3) is needed")
        self._task = self._loop.create_task(self._introduce())

    async def _introduce(self) -> None:
        try:
            self._named(decode.read_datapath_id(await self._requests.ask(encode.features_request)))
            self._writer.send(encode.drop_fragments(self._writer.next_xid()))
            ports = decode.read_ports(await self._requests.ask(encode.port_description_request))
        except ChannelError as error:
            self._give_up(str(error))
            return
        if self._timer is not None:
            self._timer.cancel()
        self._done(ports)

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
