"""Captures with AF_PACKET sockets (packet(7)): what reached an interface, byte by byte, and what was missed.

The kernel takes VLAN tags out of frames before a socket sees them; they are put back here.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence

SOL_PACKET = 263
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("=qq")
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
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((interface, _ETH_P_ALL))
        self._socket.setblocking(False)
        self._frames: list[bytes] = []
        self._moments: list[float] = []

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
        return [frame for _, frame in self.drain_timed()]

    def drain_timed(self) -> list[tuple[float, bytes]]:
        """The same, each with when the kernel got it, in seconds since the epoch."""
        self.peek()
        frames, self._frames = self._frames, []
        moments, self._moments = self._moments, []
        return list(zip(moments, frames, strict=True))

    def peek(self) -> list[bytes]:
        """The same without the moments, but they stay for `drain`."""
        while True:
            try:
                frame, ancillary, _, _ = self._socket.recvmsg(_LONGEST, 128)
            except BlockingIOError:
                return self._frames
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                continue  # told once, when the interface goes down; it comes up again by itself
            self._frames.append(with_tag(frame, ancillary))
            self._moments.append(moment(ancillary))

    def missed(self) -> int:
        """How many frames did not fit into the buffer since the last time."""
        counted = self._socket.getsockopt(SOL_PACKET, _PACKET_STATISTICS, 8)
        _, dropped = struct.unpack("=II", counted)
        return int(dropped)

    def close(self) -> None:
        """Stop capturing."""
        self._socket.close()


def moment(ancillary: Sequence[tuple[int, int, bytes]]) -> float:
    """When the kernel got a frame, in seconds since the epoch; 0 if it did not say so."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return float(seconds + nanoseconds / 1e9)
    return 0.0


def with_tag(frame: bytes, ancillary: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The frame with the VLAN tag that the kernel keeps beside it, if there was one."""
    for level, kind, data in ancillary:
        if level == SOL_PACKET and kind == _PACKET_AUXDATA and len(data) >= _AUXDATA.size:
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack_from(data)
            if status & _VLAN_VALID:
                return frame[:12] + struct.pack("!HH", tpid if status & _TPID_VALID else 0x8100, tci) + frame[12:]
    return frame
