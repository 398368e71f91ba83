"""A TCP connection between two hosts that may have one, held open while somebody attacks it."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from attack.cast import Permit
from attack.trial import Trial
from lab.agent.packets import NONCE
from lab.errors import LabError

_TIMEOUT = 3.0


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection to a host's service, which answers a nonce with its reverse, once, within five seconds."""

    source: str
    target: str
    version: int
    sport: int
    dport: int
    _socket: socket.socket

    def fault(self) -> str:
        """Use it: an empty text if it works, else what happened to it. It is used up then."""
        nonce = os.urandom(NONCE)
        try:
            self._socket.sendall(nonce)
            answer = self._socket.recv(NONCE, socket.MSG_WAITALL)
        except OSError as error:
            return f"the connection ended: {error}"
        return "" if answer == nonce[::-1] else f"the connection answered with {len(answer)} bytes that are wrong"


@contextmanager
def connected(trial: Trial, permit: Permit, version: int = 4) -> Iterator[Connection]:
    """A new connection of a permitted pair. Raises LabError if there is none to be had."""
    source, target = trial.ip(permit.source, version), trial.ip(permit.target, version)

    def connect() -> socket.socket:
        return socket.create_connection((target, permit.port), _TIMEOUT, (source, 0))

    try:
        made = trial.arena.inside(permit.source, connect)
    except OSError as error:
        raise LabError(f"{permit.source} cannot connect to {permit.target}: {error}") from None
    with made:
        yield Connection(permit.source, permit.target, version, made.getsockname()[1], permit.port, made)


def sequence_numbers(frames: Sequence[bytes], sport: int, dport: int) -> tuple[int, int]:
    """Sequence and acknowledgement number of the last TCP segment with these ports among untagged frames.

    An attacker would have to guess them; these are the true ones.
    """
    ports = struct.pack("!HH", sport, dport)
    for frame in reversed(frames):
        offset = 14 + (40 if frame[12:14] == b"\x86\xdd" else 20)
        if frame[offset : offset + 4] == ports and len(frame) >= offset + 12:
            sequence, acknowledged = struct.unpack_from("!II", frame, offset + 4)
            return int(sequence), int(acknowledged)
    raise LabError("the connection has left no trace in the captures")
