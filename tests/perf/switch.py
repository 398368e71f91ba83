"""The fake switch's end of an OpenFlow connection: it answers what a controller asks, and counts what it is told.

Everything has a time limit. What a switch would refuse, or an answer that does not fit its question, ends the run.
"""

from __future__ import annotations

import socket
import struct
from typing import Literal

from perf import wire
from zethane.pipeline.fields import MAX_RULE
from zethane.pipeline.tables import Table

Side = Literal["zethane", "os-ken", "limit"]
"""Who is at the other end: a controller with a pipeline, one without, or the reflector."""

TIMEOUT = 20.0
"""Seconds that the other end may be silent."""

_CHUNK = 1 << 18
_ONF, _BUNDLE_CONTROL, _BUNDLE_ADD = 0x4F4E4600, 2300, 2301
_OPEN, _COMMIT = 0, 4
_PACKET_OUT_FRAME = 40


class LoadError(Exception):
    """The other end did not do what a set-up needs."""


class SwitchEnd:
    """A connected fake switch. `rule` is the number of the policy's one rule, once it was installed."""

    def __init__(self, connection: socket.socket, side: Side) -> None:
        self.rule = 0
        self.flow_mods = 0
        self.delivered = 0
        self._side = side
        self._socket = connection
        self._socket.settimeout(TIMEOUT)
        self._rest = b""
        self._described = False
        self._committed = False
        self.send = self._socket.sendall
        self.send(wire.message(wire.HELLO, 1))

    @property
    def completed(self) -> int:
        """Flows that have been set up: both directions and the packet, or what this controller does of that."""
        if self._side == "os-ken":
            return self.flow_mods
        return min(self.delivered, self.flow_mods // 2)

    def handshake(self) -> None:
        """Answer until new flows may be sent. Raises LoadError."""
        while self._side != "limit" and not (self._committed or (self._side == "os-ken" and self._described)):
            self.receive()
        if self._side == "zethane" and not self.rule:
            raise LoadError("the controller installed no policy rule")
        self.flow_mods = self.delivered = 0

    def receive(self) -> None:
        """Take what has come, waiting for something. Raises LoadError."""
        try:
            chunk = self._socket.recv(_CHUNK)
        except TimeoutError:
            raise LoadError(f"{self._side} was silent for {TIMEOUT:g} s; {self.completed} flows are set up") from None
        if not chunk:
            raise LoadError(f"{self._side} closed the connection; {self.completed} flows are set up")
        data = self._rest + chunk if self._rest else chunk
        self._rest = data[self._read(data) :]

    def _read(self, data: bytes) -> int:
        """Read the whole messages; where the first that is not whole begins. This loop is the generator's limit."""
        at, end = 0, len(data)
        unpack, header = wire.HEADER.unpack_from, wire.HEADER.size
        while end - at >= header:
            _, kind, length, xid = unpack(data, at)
            if length < header:
                raise LoadError(f"a message of {length} bytes")
            if end - at < length:
                break
            if kind == wire.FLOW_MOD:
                self.flow_mods += bool(data[at + 30] | data[at + 31])  # priority 0 is a table miss, not a flow
            elif kind == wire.PACKET_OUT:
                self._deliver(data, at + _PACKET_OUT_FRAME)
            else:
                self._answer(kind, xid, data[at : at + length])
            at += length
        return at

    def _deliver(self, data: bytes, frame: int) -> None:
        at = frame + wire.SEQUENCE_AT
        sequence = int.from_bytes(data[at : at + 4], "big")
        if sequence != self.delivered:
            raise LoadError(f"the packet of flow {sequence} came out, that of flow {self.delivered} was due")
        self.delivered += 1

    def _answer(self, kind: int, xid: int, message: bytes) -> None:
        if kind == wire.ECHO_REQUEST:
            self.send(wire.message(wire.ECHO_REPLY, xid, message[8:]))
        elif kind == wire.FEATURES_REQUEST:
            self.send(wire.features(xid))
        elif kind == wire.BARRIER_REQUEST:
            self.send(wire.message(wire.BARRIER_REPLY, xid))
        elif kind == wire.MULTIPART_REQUEST:
            self._multipart(xid, message)
        elif kind == wire.EXPERIMENTER:
            self._experimenter(xid, message)
        elif kind == wire.ERROR:
            raise LoadError(f"{self._side} answered with an error: {message[8:12].hex()}")

    def _multipart(self, xid: int, message: bytes) -> None:
        kind = int.from_bytes(message[8:10], "big")
        if kind == wire.PORT_DESCRIPTION:
            self.send(wire.port_descriptions(xid))
            self._described = True
        else:  # no entries, no meters, and sums of nothing
            self.send(wire.multipart(kind, xid, bytes(24) if kind == wire.AGGREGATE else b""))

    def _experimenter(self, xid: int, message: bytes) -> None:
        vendor, kind = struct.unpack_from("!II", message, 8)
        if (vendor, kind) == (_ONF, _BUNDLE_ADD):
            cookie, table = struct.unpack_from("!Q8xB", message, 32)
            if table == Table.RULE and 0 < cookie & 0xFFFF <= MAX_RULE:
                self.rule = cookie & 0xFFFF
        elif (vendor, kind) == (_ONF, _BUNDLE_CONTROL):
            bundle, step = struct.unpack_from("!IH", message, 16)
            body = struct.pack("!IIIHH", _ONF, _BUNDLE_CONTROL, bundle, step + 1, 0)
            self.send(wire.message(wire.EXPERIMENTER, xid, body))
            self._committed = self._committed or step == _COMMIT
