"""The API's listeners, for real: the unix socket, who may be there already, TLS with client certificates."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from fakes.operated import Operated
from zethane.api.app import create_app
from zethane.api.server import ApiServer, serve_tls, serve_unix
from zethane.errors import InputError

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test's coroutine on the loop of the standard library, and on the controller's."""
    if request.param == "uvloop":
        return lambda work: uvloop.run(work)
    return lambda work: asyncio.run(work)


@asynccontextmanager
async def served(path: Path, controller: Operated | None = None) -> AsyncIterator[ApiServer]:
    server = await serve_unix(create_app(controller or Operated()), path)
    try:
        yield server
    finally:
        await asyncio.wait_for(server.stop(), 20)


def over(path: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://controller/v1")


def test_the_socket_answers_only_its_owner_and_is_gone_afterwards(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"

    async def work() -> None:
        before = os.umask(0)
        try:
            server = await serve_unix(create_app(Operated()), path)
        finally:
            os.umask(before)
        try:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            async with over(path) as client:
                assert len((await client.get("/sessions")).json()["sessions"]) == 2
        finally:
            await server.stop()
        assert not path.exists()

    run(work())


def test_stopping_does_not_wait_for_those_who_follow_the_stream(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "api.sock"

    async def work() -> None:
        controller = Operated()
        async with over(path) as client:
            async with served(path, controller):
                controller.arriving.put_nowait({"event": "first"})
                response = await client.send(client.build_request("GET", "/decisions/stream"), stream=True)
                lines = response.aiter_lines()
                assert await anext(lines) == 'data: {"event": "first"}'
            with pytest.raises(httpx.RemoteProtocolError):
                await read_all(lines)

    with caplog.at_level("ERROR"):
        run(work())
    assert caplog.records == []


async def read_all(lines: AsyncIterator[str]) -> None:
    async for line in lines:
        assert line == ""


def test_the_socket_of_a_killed_process_is_replaced(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def work() -> None:
        async with served(path), over(path) as client:
            assert (await client.get("/health")).status_code == 200

    run(work())


def test_the_socket_of_a_live_process_is_left_alone(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"

    async def work() -> None:
        async with served(path), over(path) as client:
            with pytest.raises(InputError, match="another controller listens here"):
                await serve_unix(create_app(Operated()), path)
            assert (await client.get("/health")).status_code == 200

    run(work())


def test_a_live_process_that_does_not_accept_is_left_alone_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zethane.api.server._PROBE_TIMEOUT", 0.05)
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))

        async def work() -> None:
            with pytest.raises(InputError, match="another controller listens here"):
                await serve_unix(create_app(Operated()), path)

        run(work())
    assert path.is_socket()


@pytest.mark.parametrize("make", [lambda path: path.write_text("mine"), lambda path: path.symlink_to("nowhere")])
def test_what_is_no_socket_is_never_removed(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "api.sock"
    make(path)
    with pytest.raises(InputError, match="something else"):
        asyncio.run(_serve_once(path))
    assert path.is_symlink() or path.read_text() == "mine"


async def _serve_once(path: Path) -> None:
    async with served(path):
        await asyncio.sleep(0)


@pytest.mark.parametrize("place", ["missing/api.sock", "x" * 200])
def test_a_place_that_cannot_be_listened_at_is_an_input_error(tmp_path: Path, place: str) -> None:
    with pytest.raises(InputError, match="cannot listen"):
        asyncio.run(_serve_once(tmp_path / place))


@pytest.mark.parametrize("size", [20_000, 2_000_000])
def test_long_request_lines_and_headers_are_refused(run: Run, tmp_path: Path, size: int) -> None:
    path = tmp_path / "api.sock"

    async def work() -> None:
        async with served(path):
            for request in (
                f"GET /v1/flows?session={'1' * size} HTTP/1.1\r\n",
                f"GET /v1/x HTTP/1.1\r\nx: {'y' * size}",
            ):
                assert (await said(path, request))[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 422", b"")
            async with over(path) as client:
                assert (await client.get("/health")).status_code == 200

    run(work())


async def said(path: Path, request: str) -> bytes:
    """The answer to the beginning of a request, up to where the server hangs up."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request.encode())
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two CAs, each with a certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for ca, name in (("ca", "good"), ("other-ca", "foreign")):
        openssl(folder, "req", "-x509", *curve, "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
        openssl(folder, "req", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        sign = ("-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-extfile", "names")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", *sign, "-out", f"{name}.pem")
    openssl(folder, "ec", "-in", "good.key", "-aes128", "-passout", "pass:secret", "-out", "locked.key")
    return folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def trusting(keys: Path, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=keys / "ca.pem")
    if name is not None:
        context.load_cert_chain(keys / f"{name}.pem", keys / f"{name}.key")
    return context


def test_over_tcp_only_clients_with_a_certificate_of_the_ca_are_answered(run: Run, keys: Path) -> None:
    port = free_port()

    async def ask(scheme: str, context: ssl.SSLContext) -> int:
        async with httpx.AsyncClient(verify=context) as client:
            return (await client.get(f"{scheme}://127.0.0.1:{port}/v1/health")).status_code

    async def work() -> None:
        app = create_app(Operated())
        server = await serve_tls(app, "127.0.0.1", port, keys / "good.pem", keys / "good.key", keys / "ca.pem")
        try:
            assert await ask("https", trusting(keys, "good")) == 200
            for stranger in (None, "foreign"):
                with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
                    await ask("https", trusting(keys, stranger))
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                await ask("http", trusting(keys, "good"))
            assert await ask("https", trusting(keys, "good")) == 200
        finally:
            await server.stop()

    run(work())


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (("missing.pem", "good.key", "ca.pem"), "missing.pem"),
        (("good.pem", "foreign.key", "ca.pem"), "good.pem"),
        (("good.pem", "locked.key", "ca.pem"), "good.pem"),
        (("good.pem", "good.key", "missing.pem"), "missing.pem"),
        (("good.pem", "good.key", "good.key"), "good.key"),
    ],
)
def test_files_that_cannot_be_used_are_named_and_no_port_is_opened(
    keys: Path, files: tuple[str, str, str], named: str
) -> None:
    port = free_port()

    async def work() -> None:
        with pytest.raises(InputError) as caught:
            await serve_tls(create_app(Operated()), "127.0.0.1", port, *(keys / name for name in files))
        assert caught.value.problems[0].file == str(keys / named)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0

    asyncio.run(work())


def test_a_port_that_is_taken_is_an_input_error(keys: Path) -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(InputError, match=f"127.0.0.1:{port}: cannot listen"):
                await serve_tls(
                    create_app(Operated()), "127.0.0.1", port, keys / "good.pem", keys / "good.key", keys / "ca.pem"
                )

    asyncio.run(work())
