"""The services of the matrix, on every address of the host; and a look at what arrives there."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Iterable

from lab.agent.packets import NONCE, SCTP, UDP_ANSWER, UDP_REQUEST, Arrival, arrival, sctp_answer, without_ip_header

PATIENCE = 5.0
"""Seconds that a TCP client gets to send its nonce."""
MAX_ARRIVALS = 65536
_ETH_P_ALL = 3
_OUTGOING = 4
"""PACKET_OUTGOING of packet(7)."""


def family(address: str) -> socket.AddressFamily:
    """The address family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class _UdpEcho(asyncio.DatagramProtocol):
    """Answers requests with their nonce."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[object, ...]) -> None:
        if data[:4] == UDP_REQUEST and len(data) == 4 + NONCE:
            self.transport.sendto(UDP_ANSWER + data[4:], addr)  # type: ignore[attr-defined] # a datagram transport


async def _serve_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the nonce of the client back, reversed: so that an echo by something else is not an answer."""
    try:
        nonce = await asyncio.wait_for(reader.readexactly(NONCE), PATIENCE)
        writer.write(nonce[::-1])
        await writer.drain()
    except (asyncio.TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        return  # the client is gone or says nothing; it finds out by itself
    finally:
        writer.close()


class Services:
    """What the host serves. Keeps every socket open until the process ends."""

    def __init__(self) -> None:
        self._held: list[object] = []
        self._sctp_ports: set[int] = set()
        self._raw: set[str] = set()

    async def serve(self, addresses: Iterable[str], services: Iterable[tuple[str, int]]) -> list[str]:
        """Start what is not served yet. Returns what could not be, in words."""
        failed = []
        listed = list(services)
        for address in addresses:
            for proto, port in listed:
                try:
                    await self._start(address, proto, port)
                except OSError as error:  # noqa: PERF203 - one address that is gone must not take the others with it
                    failed.append(f"{proto}/{port} on {address}: {error.strerror or error}")
        return failed

    async def _start(self, address: str, proto: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        if proto == "tcp":
            self._held.append(await asyncio.start_server(_serve_tcp, address, port, limit=4096))
        elif proto == "udp":
            self._held.append(await loop.create_datagram_endpoint(_UdpEcho, (address, port)))
        elif proto == "sctp":
            self._sctp_ports.add(port)
            self._listen_sctp(address)

    def _listen_sctp(self, address: str) -> None:
        if address in self._raw:
            return
        self._raw.add(address)
        raw = socket.socket(family(address), socket.SOCK_RAW, SCTP)
        raw.setblocking(False)
        raw.bind((address, 0))
        self._held.append(raw)
        asyncio.get_running_loop().add_reader(raw, self._answer_sctp, raw)

    def _answer_sctp(self, raw: socket.socket) -> None:
        packet, peer = raw.recvfrom(2048)
        packet = without_ip_header(packet) if raw.family == socket.AF_INET else packet
        answer = sctp_answer(packet, secrets.randbits(32) | 1)
        if answer is not None and int.from_bytes(packet[2:4], "big") in self._sctp_ports:
            raw.sendto(answer, (peer[0], 0))


class Arrivals:
    """Which openings reached the host's interface, answered or not: what a switch let through, it shows."""

    def __init__(self) -> None:
        self.seen: set[Arrival] = set()
        # The link-layer header is left off: the data begins with IP.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self.drain)

    def forget(self) -> None:
        """Begin anew with what arrives from now on."""
        self.drain()
        self.seen.clear()

    def drain(self) -> None:
        """Read everything that is there."""
        while True:
            try:
                packet, (_, _, kind, _, _) = self._socket.recvfrom(256)
            except BlockingIOError:
                return
            if kind == _OUTGOING or len(self.seen) >= MAX_ARRIVALS:
                continue
            found = arrival(packet)
            if found is not None:
                self.seen.add(found)
