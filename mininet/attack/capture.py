"""Captures with AF_PACKET sockets (packet(7)): what reached an interface, byte by byte, and what was missed.

The kernel takes VLAN tags out of frames before a socket sees them; they are put back here.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence

SOL_PACKET = 263
_PACKET_STATISTICS, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 6, 8, 23
_ETH_P_ALL = 0x0003
_AUXDATA = struct.Struct("=IIIHHHH")
_VLAN_VALID, _TPID_VALID = 0x10, 0x40
_SO_RCVBUFFORCE = 33
_BUFFER = 64 << 20
_LONGEST = 1 << 16


class Tap:
    """Everything that arrives at one interface, from the other end of its cable. Make it where the interface is."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.setsockopt(SOL_PACKET, _PACKET_AUXDATA, 1)
        self._socket.setsockopt(SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._socket.bind((interface, _ETH_P_ALL))
        self._socket.setblocking(False)
        self._frames: list[bytes] = []

    def send(self, frames: Sequence[bytes]) -> None:
        """Send frames as they are. Raises OSError for what the interface does not take."""
        for frame in frames:
            self._send(frame)

    def _send(self, frame: bytes) -> None:
        self._socket.setblocking(True)
        try:
            self._socket.send(frame)
        finally:
            self._socket.setblocking(False)

    def drain(self) -> list[bytes]:
        """The frames that have arrived since the last time, and no longer than until now."""
        frames, self._frames = self.peek(), []
        return frames

    def peek(self) -> list[bytes]:
        """The same, but they stay for `drain`."""
        while True:
            try:
                frame, ancillary, _, _ = self._socket.recvmsg(_LONGEST, 64)
            except BlockingIOError:
                return self._frames
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                continue  # told once, when the interface goes down; it comes up again by itself
            self._frames.append(with_tag(frame, ancillary))

    def missed(self) -> int:
        """How many frames did not fit into the buffer since the last time."""
        counted = self._socket.getsockopt(SOL_PACKET, _PACKET_STATISTICS, 8)
        _, dropped = struct.unpack("=II", counted)
        return int(dropped)

    def close(self) -> None:
        """Stop capturing."""
        self._socket.close()


def with_tag(frame: bytes, ancillary: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The frame with the VLAN tag that the kernel keeps beside it, if there was one."""
    for level, kind, data in ancillary:
        if level == SOL_PACKET and kind == _PACKET_AUXDATA and len(data) >= _AUXDATA.size:
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack_from(data)
            if status & _VLAN_VALID:
                return frame[:12] + struct.pack("!HH", tpid if status & _TPID_VALID else 0x8100, tci) + frame[12:]
    return frame
