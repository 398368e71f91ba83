"""The listener for other systems: what it serves, what it does not, and whom it makes wait for ever."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Request

from zethane.api import signals_app
from zethane.errors import CapacityError, InputError
from zethane.identity.sources.file import Sources, parse_sources

LOOPBACK = 'address: "127.0.0.1:0"'


def echo() -> APIRouter:
    router = APIRouter()

    @router.post("/echo")
    async def answer(request: Request) -> dict[str, int]:
        body = await request.body()
        if body == b"full":
            raise CapacityError("the table is full")
        if body == b"bug":
            raise RuntimeError("secret details")
        return {"bytes": len(body)}

    return router


def make_certificate(folder: Path) -> None:
    ask = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"]
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "s.key", "-out", "s.pem"]
    subprocess.run(["openssl", *ask, *files], cwd=folder, check=True, capture_output=True, timeout=60)


@asynccontextmanager
async def serving(folder: Path, listen: str) -> AsyncIterator[str]:
    """The listener as sources.yaml describes it; where it is."""
    sources = parse_sources(f"listen: {{{listen}}}\n", "sources.yaml")
    async with AsyncExitStack() as stack:
        running: Any = SimpleNamespace(
            topology=SimpleNamespace(sources=sources, folder=folder), stack=stack, routers=[echo()]
        )
        port = await signals_app.serve_signals(running)
        yield f"localhost:{port}"


async def test_it_serves_its_routers_and_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path, LOOPBACK) as place, httpx.AsyncClient() as client:
        base = f"http://{place}"
        assert (await client.post(f"{base}/echo", content=b"abc")).json() == {"bytes": 3}
        for path in ("/", "/docs", "/redoc", "/openapi.json", "/v1/openapi.json", "/v1/sessions", "/login"):
            assert (await client.get(base + path)).status_code == 404
        assert (await client.get(f"{base}/echo")).status_code == 405
        assert (await client.post(f"{base}/echo", content=b"full")).status_code == 503
        bug = await client.post(f"{base}/echo", content=b"bug")
        assert (bug.status_code, "secret" in bug.text) == (500, False)
        large = await client.post(f"{base}/echo", content=b"x" * (signals_app.MAX_BODY + 1))
        assert large.status_code == 413


async def test_it_speaks_tls_with_the_files_of_the_topology(tmp_path: Path) -> None:
    await asyncio.to_thread(make_certificate, tmp_path)
    context = ssl.create_default_context(cafile=tmp_path / "s.pem")
    listen = f"{LOOPBACK}, certificate: s.pem, key: s.key"
    async with serving(tmp_path, listen) as place, httpx.AsyncClient(verify=context) as client:
        assert (await client.post(f"https://{place}/echo", content=b"ab")).json() == {"bytes": 2}
        with pytest.raises(httpx.HTTPError):
            await client.post(f"http://{place}/echo", content=b"ab")


async def test_a_client_that_never_ends_its_headers_loses_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals_app, "DEADLINES", signals_app.Deadlines(request=0.2))
    async with serving(tmp_path, LOOPBACK) as place:
        reader, writer = await asyncio.open_connection(*place.split(":"))
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\n")
        await writer.drain()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_without_a_section_nothing_listens(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running: Any = SimpleNamespace(topology=SimpleNamespace(sources=Sources(), folder=tmp_path), stack=stack)
        assert await signals_app.serve_signals(running) is None


@pytest.mark.parametrize(
    "listen",
    ['address: "127.0.0.1:0", certificate: none.pem, key: none.key', 'address: "192.0.2.1:1", certificate: a, key: a'],
)
async def test_files_and_addresses_that_cannot_be_used_are_errors_at_start(tmp_path: Path, listen: str) -> None:
    with pytest.raises(InputError):
        async with serving(tmp_path, listen):
            pass


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ('address: "0.0.0.0:8443"', "only a loopback address"),
        ('address: "signals.example:8443"', "only a loopback address"),
        ('address: "127.0.0.1:8443", key: a.key', "both certificate and key"),
    ],
)
def test_plain_http_is_for_loopback_only(listen: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        parse_sources(f"listen: {{{listen}}}\n", "sources.yaml")


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_loopback_may_go_without_a_certificate(address: str) -> None:
    sources = parse_sources(f'listen: {{address: "{address}"}}\n', "sources.yaml")
    assert sources.settings.listen is not None
    assert sources.settings.listen.port == 0
