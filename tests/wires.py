"""Frames into and out of a real bridge's internal ports, as they are on the wire."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType

from attack.capture import SOL_PACKET, with_tag
from openvswitch import Bridge

_ALL_PROTOCOLS = 0x0003
_PACKET_AUXDATA = 8
_OUTGOING = 4


class Wires:
    """A raw socket on every port of a bridge; a context manager. `heard` fills while the event loop runs."""

    def __init__(self, bridge: Bridge, ports: range) -> None:
        self._names = {port: f"{bridge.name}p{port}" for port in ports}
        self._sockets: dict[int, socket.socket] = {}
        self.heard: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    def __enter__(self) -> Wires:
        loop = asyncio.get_running_loop()
        for port, name in self._names.items():
            wire = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW
            )  # of no protocol: it hears nothing until it is bound
            self._sockets[port] = wire
            # The kernel takes an outer tag off before it shows a frame, and tells it beside.
            wire.setsockopt(SOL_PACKET, _PACKET_AUXDATA, 1)
            wire.bind((name, _ALL_PROTOCOLS))
            wire.setblocking(False)
            loop.add_reader(wire, self._read, port, wire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for wire in self._sockets.values():
            asyncio.get_running_loop().remove_reader(wire)
            wire.close()

    def send(self, port: int, frame: bytes) -> None:
        """A frame comes in at a port."""
        self._sockets[port].send(frame)

    async def next(self, within: float = 5.0) -> tuple[int, bytes]:
        """The next frame that the bridge sends out, and the port. Raises TimeoutError."""
        return await asyncio.wait_for(self.heard.get(), within)

    def _read(self, port: int, wire: socket.socket) -> None:
        data, beside, _, place = wire.recvmsg(65535, 64)
        if place[2] == _OUTGOING:
            return
        self.heard.put_nowait((port, with_tag(data, beside)))
