"""A RADIUS server that can lie: each request is answered by a function that gets it and returns datagrams."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

Answer = Callable[[bytes], Iterable[bytes]]

SECRET = b"radius-secret"


def answer(
    request: bytes,
    code: int = 2,
    attributes: bytes = b"",
    *,
    secret: bytes = SECRET,
    identifier: int | None = None,
    signed: bool = True,
    signature: bytes | None = None,
) -> bytes:
    """An answer as RFC 2865 §3 and RFC 3579 §3.2 want it, written here anew: `signature` takes the place of the right
    Message-Authenticator, and not `signed` leaves it out."""
    number = request[1] if identifier is None else identifier
    body = (b"\x50\x12" + bytes(16) if signed else b"") + attributes
    head = bytes([code, number]) + (20 + len(body)).to_bytes(2, "big")
    if signed:
        right = hmac.new(secret, head + request[4:20] + body, "md5").digest()
        body = b"\x50\x12" + (right if signature is None else signature) + attributes
    return head + hashlib.md5(head + request[4:20] + body + secret).digest() + body  # noqa: S324  # RFC 2865's own


class _Server(asyncio.DatagramProtocol):
    def __init__(self, behave: Answer) -> None:
        self.behave = behave
        self.requests: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.requests.append(data)
        for datagram in self.behave(data):
            self.transport.sendto(datagram, addr)


class LyingServer:
    """`behave` may be changed at any time; `requests` are all that came."""

    def __init__(self, protocol: _Server, port: int) -> None:
        self._protocol = protocol
        self.port = port

    @property
    def requests(self) -> list[bytes]:
        return self._protocol.requests

    def behave(self, how: Answer) -> None:
        self._protocol.behave = how


def silent(_: bytes) -> Iterable[bytes]:
    """No answer."""
    return ()


@asynccontextmanager
async def radius_server(behave: Answer = silent, address: str = "127.0.0.1") -> AsyncIterator[LyingServer]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Server(behave), local_addr=(address, 0))
    try:
        yield LyingServer(protocol, transport.get_extra_info("sockname")[1])
    finally:
        transport.close()
