"""What is written to one switch: in order, behind bundles that are not committed yet, and with barriers that tell how
far the switch has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from zethane.adapters.openflow import encode
from zethane.adapters.openflow.output import Output
from zethane.adapters.openflow.pace import Pace


@dataclass(slots=True, eq=False)
class Gate:
    """A bundle that is not committed yet, and the messages that wait behind it."""

    held: list[bytes] = field(default_factory=list)
    size: int = 0


class Writer:
    """The writing half of a connection. Nothing here blocks; messages go out when the current event is done.

    `held_bytes` may wait behind one bundle. `wrote` is called after each write, and `give_up` with a reason when the
    connection has to end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        held_bytes: int,
        wrote: Callable[[], None],
        give_up: Callable[[str], None],
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self.out = Output()
        self.gates: list[Gate] = []
        self.pace = Pace()
        self.marked = loop.time()
        """When the last barrier of the pace was written, by the loop's clock."""
        self.next_xid: Callable[[], int] = self.out.next_xid
        """The number of the next message."""
        self._loop = loop
        self._held_bytes = held_bytes
        self._wrote = wrote
        self._give_up = give_up

    def send(self, message: bytes) -> None:
        """Write in order: behind every bundle that is not committed yet."""
        if not self.gates:
            self.send_now(message)
            return
        gate = self.gates[-1]
        gate.held.append(message)
        gate.size += len(message)
        if gate.size > self._held_bytes:
            self._give_up("too much has to wait for a bundle")

    def send_now(self, message: bytes) -> None:
        """Write past bundles that are not committed yet."""
        self.flush_soon()
        self.out.append(message)

    def flush_soon(self) -> None:
        """See to it that what is about to be sent is written."""
        if not self.out:
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what has been sent until now."""
        sent = self.out.take_sent()
        if sent or self.out:
            self._write(self.out.take(), sent)

    def write_on(self) -> None:
        """Write what has been sent until now, and a barrier if one is due even if that is nothing."""
        self._write(self.out.take(), self.out.take_sent())

    def _write(self, taken: bytes, sent: int) -> None:
        """Write, with a barrier behind it now and then that tells how far the switch has come; `sent` bytes are
        written already."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.pace.wrote(sent + len(taken)):
            xid = self.next_xid()
            self.pace.mark(xid)
            self.marked = self._loop.time()
            taken += encode.barrier_request(xid)
        if taken:
            self.transport.write(taken)
        self._wrote()

    def wait_behind(self) -> Gate:
        """What is sent from here on waits until this gate is opened."""
        gate = Gate()
        self.gates.append(gate)
        return gate

    def open(self, gate: Gate, message: bytes) -> None:
        """Send a bundle's last message, and then what has waited behind it."""
        place = self.gates.index(gate)
        del self.gates[place]
        if place:
            self.gates[place - 1].held += [message, *gate.held]
            self.gates[place - 1].size += len(message) + gate.size
        else:
            self.flush_soon()
            self.out.extend([message, *gate.held])
