"""Clients that are slow, oversized, malformed or many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.portal_servers import portal_before
from zethane.adapters.http.places import Places
from zethane.adapters.http.protocol import Deadlines
from zethane.api.portal_schema import Claim, Connection, Proof
from zethane.portal.backend import Answer

SHORT = Deadlines(request=0.2, connection=0.6)
PATIENCE = 20.0
"""Seconds after which a test gives up on what should take a fraction of one."""


class NoSessions:
    """A back end with nobody logged in; logins wait until they are let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def login(self, connection: Connection, proof: Proof) -> Answer:  # noqa: ARG002 - the protocol's signature
        await self.go.wait()
        return Answer(403, {"detail": "no"})

    async def logout(self, connection: Connection) -> Answer:  # noqa: ARG002 - the protocol's signature
        return Answer(409, {"detail": "no"})

    async def claim(self, connection: Connection, claim: Claim) -> Answer:  # noqa: ARG002 - the protocol's signature
        return Answer(409, {"detail": "no"})

    async def session(self, connection: Connection) -> Answer:  # noqa: ARG002 - the protocol's signature
        return Answer(200, {"session": None})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with portal_before(NoSessions(), deadlines=SHORT) as (port,):
        yield port


@asynccontextmanager
async def opened(port: int, **where: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **where)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def said(port: int, *parts: bytes) -> bytes:
    """All that the portal says until it closes the connection."""
    async with opened(port) as (reader, writer):
        try:
            for part in parts:
                writer.write(part)
            return await asyncio.wait_for(reader.read(), PATIENCE)
        except ConnectionResetError:
            return b""


def get(port: int, more: bytes = b"") -> bytes:
    return b"GET /style.css HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n" % (port, more)


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nuser=",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nuser=\r\n",
    ],
)
async def test_what_is_begun_and_not_finished_is_ended(port: int, begun: bytes) -> None:
    assert b"200 OK" not in await said(port, begun)


async def test_bytes_that_drip_in_do_not_put_off_the_end(port: int) -> None:
    async with opened(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
        ended = asyncio.create_task(reader.read())
        for _ in range(int(PATIENCE / 0.02)):
            writer.write(b"x")
            await asyncio.wait({ended}, timeout=0.02)
            if ended.done():
                break
        await asyncio.gather(ended, return_exceptions=True)  # a reset is as good an end
        assert ended.done()


async def test_requests_without_end_do_not_keep_a_connection(port: int) -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        count = 0
        while not reader.at_eof():
            writer.write(get(port))
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            count += 1
        return count

    async with opened(port) as (reader, writer):
        assert await asyncio.wait_for(answers(reader, writer), PATIENCE) > 1


async def test_a_login_under_way_is_not_cut_off_by_the_requests_deadline() -> None:
    backend = NoSessions()
    async with portal_before(backend, deadlines=Deadlines(request=0.1)) as (port,):
        body = b'{"user":"bob","secret":"x"}'
        head = b"POST /v1/login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n" % port
        head += b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        asking = asyncio.create_task(said(port, head + body))
        await asyncio.wait({asking}, timeout=0.3)
        backend.go.set()
        assert (await asking).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01", b""),
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5_000 + b"\r\n", b"400"),
        (b"GET /" + b"x" * 20_000, b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", b"421"),
    ],
)
async def test_malformed_requests_end_their_own_connection_only(port: int, request_: bytes, status: bytes) -> None:
    answer = await said(port, request_)
    if status:
        assert answer.split(b" ")[1] == status
    assert b"200 OK" in await said(port, get(port, b"Connection: close\r\n"))


async def test_garbage_behind_a_request_that_waits_ends_the_connection() -> None:
    backend = NoSessions()
    async with portal_before(backend, deadlines=SHORT) as (port,):
        body = b'{"user":"bob","secret":"x"}'
        head = b"POST /v1/login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n" % port
        head += b"Content-Length: %d\r\n\r\n" % len(body)
        assert b"200" not in await said(port, head + body, b"\0\0\0\r\n\r\n")
        backend.go.set()


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 8193\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n"
        + b"1000\r\n"
        + b"x" * 4096
        + b"\r\n1000\r\n"
        + b"x" * 4096
        + b"\r\n1\r\nx\r\n",
    ],
)
async def test_bodies_over_the_limit_are_refused_before_they_are_read(port: int, body: bytes) -> None:
    head = b"POST /v1/login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n" % port
    answer = await said(port, head + body)
    assert answer.split(b" ")[1] in (b"413", b"400")


async def test_one_address_cannot_take_every_place() -> None:
    places = Places(total=10, per_remote=2)
    async with portal_before(NoSessions(), places=places) as (port,), AsyncExitStack() as stack:
        held = [await stack.enter_async_context(opened(port)) for _ in range(3)]
        assert await asyncio.wait_for(held[2][0].read(), PATIENCE) == b""
        assert len(places) == 2
        reader, writer = await stack.enter_async_context(opened(port, local_addr=("127.0.0.2", 0)))
        writer.write(get(port, b"Connection: close\r\n"))
        assert b"200 OK" in await asyncio.wait_for(reader.read(), PATIENCE)
    assert len(places) == 0


async def test_places_are_free_again_after_every_kind_of_end(port: int) -> None:
    places = Places(total=2, per_remote=2)
    async with portal_before(NoSessions(), places=places, deadlines=SHORT) as (other,):
        for request in (get(other, b"Connection: close\r\n"), b"GARBAGE\r\n\r\n", b"GET", get(other) * 3):
            await said(other, request)
        assert b"200 OK" in await said(other, get(other, b"Connection: close\r\n"))
    assert len(places) == 0
    assert port != other


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcd")), max_size=100))
def test_places_never_count_wrong(steps: list[tuple[bool, str]]) -> None:
    places = Places(total=6, per_remote=3)
    taken: list[str] = []
    for takes, remote in steps:
        if takes:
            room = len(taken) < 6 and taken.count(remote) < 3
            assert places.take(remote) == room
            taken += [remote] * room
        elif remote in taken:
            places.free(remote)
            taken.remove(remote)
        assert len(places) == len(taken)
