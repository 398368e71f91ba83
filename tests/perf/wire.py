"""What a switch says in OpenFlow 1.3.5, as bytes: the fake switch's answers and its packet-ins.

A packet-in is what Open vSwitch sends for the same packet: from the table `rule`, with the cookie of the policy's
rule and a match that holds in_port, metadata and the registers (§7.4.1). For a controller that has no pipeline it
is what a table-miss entry sends: in_port alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from zethane.net.flowkey import ETH_IPV4, TCP
from zethane.pipeline.fields import cookie, parties
from zethane.pipeline.tables import Table

HEADER = struct.Struct("!BBHI")
VERSION = 4
HELLO, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER = 0, 2, 3, 4
FEATURES_REQUEST, FEATURES_REPLY, PACKET_IN, PACKET_OUT, FLOW_MOD = 5, 6, 10, 13, 14
MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY, ERROR = 18, 19, 20, 21, 1
AGGREGATE, PORT_DESCRIPTION = 2, 13

CLIENTS, SERVERS = 64, 16
SERVICE_PORT = 443
FIRST_SOURCE_PORT = 20_000
MAX_FLOWS = CLIENTS * 4096
"""A session may have 4,096 flows by default, and every client is one session."""

DPID = 0x5A_0000_0001

_PORT = struct.Struct("!I4x6s2x16sIIIIIIII")
_PACKET_IN = struct.Struct("!BBHIIHBBQHH")
_IN_PORT = struct.Struct("!II")
_PIPELINE = struct.Struct("!IIIQIIIIIIII")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_TCP = struct.Struct("!HHIIBBHHH20s")
_NO_BUFFER = 0xFFFFFFFF
_ACTION, _NO_MATCH = 1, 0
_SYN_OPTIONS = b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + bytes(8) + b"\x01\x03\x03\x07"

SEQUENCE_AT = 14 + 20 + 4
"""Where in a frame the TCP sequence number is: the generator numbers its flows there."""


@dataclass(frozen=True, slots=True)
class Station:
    """One host of the load: its session number, OpenFlow port, MAC and address."""

    number: int
    port: int
    mac: bytes
    ip: bytes


def station(index: int) -> Station:
    """The host at a position: clients come first, then servers."""
    return Station(index + 1, index + 1, bytes((2, 0, 10, 64, 0, index + 1)), bytes((10, 64, 0, index + 1)))


def stations() -> list[Station]:
    """All hosts."""
    return [station(index) for index in range(CLIENTS + SERVERS)]


@dataclass(frozen=True, slots=True)
class NewFlow:
    """The flow number `sequence`: no two have the same client, server and source port."""

    sequence: int

    @property
    def client(self) -> Station:
        """Who opens it."""
        return station(self.sequence % CLIENTS)

    @property
    def server(self) -> Station:
        """Whom it is opened to."""
        return station(CLIENTS + self.sequence // CLIENTS % SERVERS)

    @property
    def source_port(self) -> int:
        """The client's TCP port."""
        return FIRST_SOURCE_PORT + self.sequence // (CLIENTS * SERVERS)

    @property
    def frame(self) -> bytes:
        """A SYN of Linux's size: 74 bytes, options included."""
        client, server = self.client, self.server
        segment = _TCP.pack(
            self.source_port, SERVICE_PORT, self.sequence, 0, 0xA0, 0x02, 64240, 0, 0, _SYN_OPTIONS
        )  # fmt: skip  # in the order of the wire
        header = _IPV4.pack(0x45, 0, 20 + len(segment), 0, 0x4000, 64, TCP, 0, client.ip, server.ip)
        return server.mac + client.mac + struct.pack("!H", ETH_IPV4) + header + segment

    def from_pipeline(self, rule: int) -> bytes:
        """The packet-in that the pipeline's table `rule` sends under the policy rule with this number."""
        client, server = self.client, self.server
        fields = _PIPELINE.pack(
            0x80000004, client.port,
            0x80000408, parties(client.number, server.number),
            0x00010004, 1, 0x00010204, 2, 0x00010404, 1, 0x00010604, server.port,
        )  # fmt: skip  # a line per structure
        return _packet_in(fields, Table.RULE, cookie(0, 0, rule), _ACTION, self.frame)

    def from_table_miss(self) -> bytes:
        """The packet-in that a table-miss entry sends."""
        return _packet_in(_IN_PORT.pack(0x80000004, self.client.port), 0, 0, _NO_MATCH, self.frame)


def _packet_in(fields: bytes, table: int, why: int, reason: int, frame: bytes) -> bytes:
    match_length = 4 + len(fields)
    rest = fields + bytes(-match_length % 8 + 2) + frame
    length = _PACKET_IN.size + len(rest)
    head = _PACKET_IN.pack(
        VERSION, PACKET_IN, length, 0, _NO_BUFFER, len(frame), reason, table, why, 1, match_length
    )  # fmt: skip  # in the order of the wire
    return head + rest


def message(kind: int, xid: int, body: bytes = b"") -> bytes:
    """A whole message."""
    return HEADER.pack(VERSION, kind, HEADER.size + len(body), xid) + body


def features(xid: int) -> bytes:
    """The features reply (§7.3.1)."""
    return message(FEATURES_REPLY, xid, struct.pack("!QIBB2xII", DPID, 0, 254, 0, 0x4F, 0))


def port_descriptions(xid: int) -> bytes:
    """The ports of all hosts, up (§7.3.5.7)."""
    ports = b"".join(
        _PORT.pack(host.port, host.mac, f"port{host.port}".encode(), 0, 4, 0, 0, 0, 0, 0, 0) for host in stations()
    )
    return multipart(PORT_DESCRIPTION, xid, ports)


def multipart(kind: int, xid: int, body: bytes = b"") -> bytes:
    """The only part of a multipart reply; an empty one says that there is nothing."""
    return message(MULTIPART_REPLY, xid, struct.pack("!HH4x", kind, 0) + body)
