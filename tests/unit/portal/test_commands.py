"""`zethane login`, `logout`, `portal` and `identity`, as processes."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import argon2
import pytest

from fakes.portal_servers import backend_on, has_ipv6, whole_portal
from fakes.portal_site import TOTP_KEY, TOTP_SECRET, PortalSite
from zethane.identity.totp import code_at

# Not pydantic: typer loads that by itself where it is installed.
RUN = """
import sys, typer
from zethane.cli.login import login, logout
app = typer.Typer()
app.command()(login)
app.command()(logout)
try:
    app(standalone_mode=True)
finally:
    heavy = {"fastapi", "structlog", "httpx", "argon2", "zethane.identity"} & set(sys.modules)
    if heavy:
        sys.exit(f"loaded {heavy}")
"""
IDENTITY = "from zethane.cli.identity import app; app()"
PORTAL = "import typer; from zethane.cli.portal import portal; typer.run(portal)"


@dataclass
class Result:
    status: int
    out: str
    err: str


async def run(program: str, *arguments: str, text: str = "") -> Result:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parents[3] / "controller"), "LC_ALL": "C.UTF-8"},
    )
    out, err = await asyncio.wait_for(process.communicate(text.encode()), 60)
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


@pytest.fixture
def site() -> PortalSite:
    return PortalSite()


async def test_a_host_logs_in_with_a_code_and_out(site: PortalSite, tmp_path: Path) -> None:
    async with whole_portal(tmp_path / "portal.sock", site) as (port,):
        url = f"http://127.0.0.1:{port}"
        secrets = f"lab-alice\n{code_at(TOTP_KEY, int(site.now) // 30)}\n"
        done = await run(RUN, "login", "--portal", url, "--user", "alice", "--totp", "--json", text=secrets)
        assert (done.status, done.err) == (0, "")
        answer = json.loads(done.out)
        assert (answer["session"], answer["segment"], answer["principal"]) == (1, "staff", "user:alice")
        assert (answer["mfa"], answer["expires"]) == (True, "2001-09-09T02:46:40.000Z")
        assert "token" not in answer
        done = await run(RUN, "logout", "--portal", url)
    assert (done.status, done.out) == (0, "Session 1 has ended.\n")
    assert site.live == {}


async def test_a_second_line_is_the_code_without_the_flag(site: PortalSite, tmp_path: Path) -> None:
    async with whole_portal(tmp_path / "portal.sock", site) as (port,):
        secrets = f"lab-alice\n{code_at(TOTP_KEY, int(site.now) // 30)}\n"
        done = await run(RUN, "login", "--portal", f"http://127.0.0.1:{port}", "--user", "alice", text=secrets)
    assert done.out == "Logged in as user:alice, session 1, segment staff, until 2001-09-09T02:46:40.000Z.\n"
    assert site.live[1].principal.mfa


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on loopback")
async def test_a_second_portal_adds_the_address_of_the_other_family(site: PortalSite, tmp_path: Path) -> None:
    async with whole_portal(tmp_path / "portal.sock", site, ("127.0.0.1", "::1")) as (four, six):
        portals = ["--portal", f"http://127.0.0.1:{four}", "--portal", f"http://[::1]:{six}"]
        done = await run(RUN, "login", *portals, "--workload", "web1", "--json", text="lab-web1\n")
    assert json.loads(done.out)["addresses"] == ["127.0.0.1", "::1"]


async def test_a_refusal_has_status_one_and_says_no_secret(site: PortalSite, tmp_path: Path) -> None:
    async with whole_portal(tmp_path / "portal.sock", site) as (port,):
        done = await run(RUN, "login", "--portal", f"http://127.0.0.1:{port}", "--user", "bob", text="hunter2\n")
    assert (done.status, done.out) == (1, "")
    assert done.err == "the name, the secret or the code is wrong\n"


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        (["--portal", "http://127.0.0.1:1"], "x\n", "login: expected one of --user, --workload, --device and --cert"),
        (["--portal", "ftp://a", "--user", "a"], "x\n", "--portal: expected http://ADDRESS:PORT, found 'ftp://a'"),
        (["--portal", "http://a:99999", "--user", "a"], "x\n", "--portal: expected http://ADDRESS:PORT"),
        (["--portal", "http://127.0.0.1:1", "--user", "a"], "", "standard input: expected a line with the password"),
        (["--portal", "http://127.0.0.1:1", "--user", "a"], "x" * 3000, "standard input: expected at most 2048"),
    ],
)
async def test_wrong_input_has_status_two_and_says_what_was_expected(
    arguments: list[str], text: str, said: str
) -> None:
    done = await run(RUN, "login", *arguments, text=text)
    assert done.status == 2
    assert said in done.err


async def test_a_portal_that_is_not_there_is_a_clear_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        done = await run(RUN, "logout", "--portal", url)
    assert (done.status, done.err) == (1, f"{url}: Connection refused\n")


async def test_what_answers_and_is_no_portal_is_a_clear_error() -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x1b[31mhello\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        done = await run(RUN, "logout", "--portal", url)
    assert (done.status, done.err) == (1, f"{url}: the answer is not a portal's\n")


async def test_the_portal_serves_and_ends_on_sigterm(site: PortalSite, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = tmp_path / "portal.sock"
    async with backend_on(path, site):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PORTAL,
            *["--listen", f"127.0.0.1:{port}", "--controller", str(path)],
            stderr=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": str(Path(__file__).parents[3] / "controller")},
        )
        assert process.stderr is not None
        assert b"listening" in await asyncio.wait_for(process.stderr.readline(), 60)
        done = await run(RUN, "login", "--portal", f"http://127.0.0.1:{port}", "--user", "bob", text="lab-bob\n")
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    assert (done.status, len(site.live)) == (0, 1)


async def test_a_hash_fits_what_was_hashed_and_shows_nothing_of_it() -> None:
    done = await run(IDENTITY, "hash", text="lab-new\n")
    assert done.status == 0
    assert argon2.PasswordHasher().verify(done.out.strip(), "lab-new")
    assert "lab-new" not in done.out


@pytest.mark.parametrize("text", ["", "\n", "x" * 1025])
async def test_what_is_no_password_is_not_hashed(text: str) -> None:
    done = await run(IDENTITY, "hash", text=text)
    assert (done.status, done.out) == (2, "")


async def test_a_new_second_factor_has_a_secret_and_a_link() -> None:
    done = await run(IDENTITY, "totp", "--account", "alice", "--json")
    answer = json.loads(done.out)
    assert len(answer["secret"]) == 32
    assert answer["uri"].startswith("otpauth://totp/Zethane:alice?")
    assert answer["secret"] in answer["uri"]


@pytest.mark.parametrize(("text", "status"), [(f"{TOTP_SECRET}\n000000000\n", 1), ("A\n123456\n", 2), ("", 2)])
async def test_checking_a_code_says_whether_it_fits(text: str, status: int) -> None:
    assert (await run(IDENTITY, "totp", "--check", text=text)).status == status
