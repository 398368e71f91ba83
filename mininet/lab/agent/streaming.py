"""One end of a stream of numbered packets. Standard library only; runs inside a host.

`send` writes what it sent, `receive` what it received, as JSON lines `[NUMBER, SENT, RECEIVED]` with times of
CLOCK_MONOTONIC in nanoseconds: hosts are namespaces of one machine and share that clock. The receiver's line
has all three, the sender's the first two. A sender ends when its standard input does. A datagram's time of arrival is
the kernel's: when the host read it says how busy the machine was, not when the network let it pass.

TCP is one connection, which is kept open and retransmits: after a cut nothing arrives any more. ICMP echo needs
no receiver: the sender reads the replies itself and writes them.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable

from lab.agent.packets import ICMP, ICMPV6, echo_request, without_ip_header
from lab.agent.serving import family

_RECORD = struct.Struct(">IQ")
"""Number and time sent."""

_TIMESTAMPNS = 35
"""SO_TIMESTAMPNS and SCM_TIMESTAMPNS of Linux (include/uapi/asm-generic/socket.h), which Python has no names for."""

_TIMESPEC = struct.Struct("@ll")


def _tell(*values: int) -> None:
    os.write(sys.stdout.fileno(), json.dumps(values).encode() + b"\n")


def receive(proto: str, address: str, port: int) -> None:
    """Write a line for every record that arrives on one TCP connection or UDP socket, until the input ends."""
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family(address), kind) as listener, selectors.DefaultSelector() as selector:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        if proto == "tcp":
            listener.listen(1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
        selector.register(listener, selectors.EVENT_READ, _accept if proto == "tcp" else _datagram)
        selector.register(sys.stdin, selectors.EVENT_READ)
        _tell(0)  # it listens
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                key.data(key.fileobj, selector)


def _datagram(udp: socket.socket, _: selectors.BaseSelector) -> None:
    data, ancillary, *_flags_and_peer = udp.recvmsg(_RECORD.size, socket.CMSG_SPACE(_TIMESPEC.size))
    number, sent = _RECORD.unpack(data)
    _tell(number, sent, _arrival(ancillary))


def _arrival(ancillary: list[tuple[int, int, bytes]]) -> int:
    """When the kernel took a datagram in, by CLOCK_MONOTONIC; it says so by CLOCK_REALTIME."""
    now = time.monotonic_ns()
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            ago: int = time.time_ns() - seconds * 1_000_000_000 - nanoseconds
            return now - max(0, ago)
    return now


def _accept(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    connection, _ = listener.accept()
    buffer = bytearray()

    def read(from_peer: socket.socket, _: selectors.BaseSelector) -> None:
        data = from_peer.recv(65536)
        if not data:
            selector.unregister(from_peer)
            from_peer.close()
        buffer.extend(data)
        while len(buffer) >= _RECORD.size:
            number, sent = _RECORD.unpack_from(buffer)
            del buffer[: _RECORD.size]
            _tell(number, sent, time.monotonic_ns())

    selector.register(connection, selectors.EVENT_READ, read)


def send(proto: str, source: str, target: str, port: int, interval: float) -> None:
    """Send a record every `interval` seconds until the input ends."""
    openers = {"tcp": _tcp_socket, "udp": _udp_socket, "icmp": _icmp_socket}
    connection, one = openers[proto](source, target, port)
    with connection, selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        if proto == "icmp":
            selector.register(connection, selectors.EVENT_READ)
        _run(selector, one, interval, connection)


def _run(
    selector: selectors.BaseSelector, one: Callable[[int], None], interval: float, connection: socket.socket
) -> None:
    """Send on time: the next moment counts from the start, so that delays do not add up."""
    start = time.monotonic()
    number = 0
    while True:
        wait = start + number * interval - time.monotonic()
        for key, _ in selector.select(max(wait, 0)):
            if key.fileobj is sys.stdin:
                return
            _read_reply(connection)
        if time.monotonic() >= start + number * interval:
            number += 1
            one(number)


def _tcp_socket(source: str, target: str, port: int) -> tuple[socket.socket, Callable[[int], None]]:
    connection = socket.create_connection((target, port), timeout=5, source_address=(source, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setblocking(False)

    def one(number: int) -> None:
        sent = time.monotonic_ns()
        try:
            written = connection.send(_RECORD.pack(number, sent))
        except BlockingIOError:
            return  # the connection stalls: what was not sent is not told
        except ConnectionError:
            raise SystemExit(0) from None  # it was reset: the stream is over
        if written == _RECORD.size:
            _tell(number, sent)

    return connection, one


def _udp_socket(source: str, target: str, port: int) -> tuple[socket.socket, Callable[[int], None]]:
    udp = socket.socket(family(target), socket.SOCK_DGRAM)
    udp.bind((source, 0))

    def one(number: int) -> None:
        sent = time.monotonic_ns()
        udp.sendto(_RECORD.pack(number, sent), (target, port))
        _tell(number, sent)

    return udp, one


_IDENTIFIER = os.getpid() & 0xFFFF


def _icmp_socket(source: str, target: str, port: int) -> tuple[socket.socket, Callable[[int], None]]:  # noqa: ARG001 - one signature for all
    version = 6 if ":" in target else 4
    raw = socket.socket(family(target), socket.SOCK_RAW, ICMP if version == 4 else ICMPV6)
    raw.bind((source, 0))

    def one(number: int) -> None:
        sent = time.monotonic_ns()
        raw.sendto(echo_request(version, _IDENTIFIER, number & 0xFFFF, _RECORD.pack(number, sent)), (target, 0))
        _tell(number, sent)

    return raw, one


def _read_reply(raw: socket.socket) -> None:
    data = raw.recv(2048)
    message = without_ip_header(data) if raw.family == socket.AF_INET else data
    if len(message) < 8 + _RECORD.size or message[0] not in (0, 129):
        return
    if int.from_bytes(message[4:6], "big") == _IDENTIFIER:
        number, sent = _RECORD.unpack_from(message, 8)
        _tell(number, sent, time.monotonic_ns())


def main(arguments: list[str]) -> None:
    """`receive PROTO ADDRESS PORT` or `send PROTO SOURCE TARGET PORT INTERVAL`."""
    if arguments[0] == "receive":
        receive(arguments[1], arguments[2], int(arguments[3]))
    else:
        send(arguments[1], arguments[2], arguments[3], int(arguments[4]), float(arguments[5]))
