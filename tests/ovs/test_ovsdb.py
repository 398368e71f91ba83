"""A real OVSDB server: what it says about interfaces, over each kind of connection, and what it means when it stops."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab.certificates import Authority
from zethane.adapters.ovsdb import client as client_module
from zethane.adapters.ovsdb.client import Followers, OvsdbClient
from zethane.identity.platform import VirtualInterface
from zethane.identity.sources.certificates import Ovsdb

pytestmark = pytest.mark.ovs

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
WITHIN = 20.0


class Server:
    """An ovsdb-server of its own: no daemon of this machine is touched."""

    def __init__(self, folder: Path, *remotes: str) -> None:
        self.folder = folder
        self.socket = folder / "db.sock"
        self._options = [f"--remote=punix:{self.socket}", *(f"--remote={remote}" for remote in remotes)]
        self.database = folder / "conf.db"
        subprocess.run(["ovsdb-tool", "create", self.database, SCHEMA], check=True, capture_output=True, timeout=20)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        command = ["ovsdb-server", *self._options, *options, f"--unixctl={self.folder / 'ctl'}", str(self.database)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self.vsctl("show")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def vsctl(self, *arguments: str) -> str:
        command = ["ovs-vsctl", "--no-wait", "--retry", "--timeout=20", f"--db=unix:{self.socket}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add(self, interface: str, port: int, **ids: str) -> None:
        """An interface as the daemon and the platform together describe it."""
        settings = [f'external_ids:{key.replace("_", "-")}="{value}"' for key, value in ids.items()]
        self.vsctl("add-port", "br0", interface, "--", "set", "Interface", interface, f"ofport={port}", *settings)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    assert shutil.which("ovsdb-server"), "tests of OVSDB need Open vSwitch"
    made = Server(tmp_path)
    try:
        made.start()
        made.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", 'datapath_id="00000000000000a1"')
        yield made
    finally:
        made.stop()


class Following:
    """What a client tells, and a way to wait for it."""

    def __init__(self) -> None:
        self.interfaces: list[VirtualInterface] = []
        self.losses: list[str] = []
        self.signs = 0
        self._told = asyncio.Event()

    def changed(self, interfaces: Callable[[], object]) -> None:
        self.interfaces = sorted(interfaces(), key=lambda one: one.name)  # type: ignore[call-overload]
        self._told.set()

    def alive(self) -> None:
        self.signs += 1
        self._told.set()

    def lost(self, why: str) -> None:
        self.losses.append(why)
        self._told.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not condition():
                self._told.clear()
                await self._told.wait()

        await asyncio.wait_for(wait(), WITHIN)


@asynccontextmanager
async def following(settings: Ovsdb, folder: Path) -> AsyncIterator[Following]:
    told = Following()
    client = OvsdbClient("test", settings, folder, Followers(told.changed, told.alive, told.lost))
    task = asyncio.create_task(client.follow())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


WEB1 = VirtualInterface("tap1", 0xA1, 5, 0x020000000011, "port-1", "vm-1")
IDS = {"iface_id": "port-1", "attached_mac": "02:00:00:00:00:11", "vm_uuid": "vm-1"}


async def test_interfaces_are_told_as_they_come_change_and_go(server: Server, tmp_path: Path) -> None:
    server.add("tap0", 4)
    async with following(Ovsdb(connect=f"unix:{server.socket}"), tmp_path) as told:
        await told.until(lambda: told.signs > 0)
        assert told.interfaces == []
        server.add("tap1", 5, **IDS)
        await told.until(lambda: told.interfaces == [WEB1])
        server.vsctl("set", "Interface", "tap1", "ofport=6")
        await told.until(lambda: [one.port for one in told.interfaces] == [6])
        server.vsctl("remove", "Interface", "tap1", "external_ids", "vm-uuid")
        await told.until(lambda: [one.vm_uuid for one in told.interfaces] == [None])
        server.vsctl("del-port", "br0", "tap1")
        await told.until(lambda: told.interfaces == [])
        server.vsctl("del-br", "br0")
    assert told.losses == []


async def test_a_server_that_comes_back_is_followed_again(server: Server, tmp_path: Path) -> None:
    server.add("tap1", 5, **IDS)
    async with following(Ovsdb(connect=f"unix:{server.socket}"), tmp_path) as told:
        await told.until(lambda: told.interfaces == [WEB1])
        server.stop()
        await told.until(lambda: bool(told.losses))
        signs = told.signs
        server.start()
        await told.until(lambda: told.signs > signs)
        # The server does not keep datapath ids: the daemon writes them again.
        assert told.interfaces == [replace(WEB1, dpid=None)]
        server.vsctl("set", "Bridge", "br0", 'datapath_id="00000000000000a1"')
        await told.until(lambda: told.interfaces == [WEB1])


async def test_a_quiet_server_is_asked_and_answers(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ECHO_INTERVAL", 0.1)
    async with following(Ovsdb(connect=f"unix:{server.socket}"), tmp_path) as told:
        await told.until(lambda: told.signs >= 4)
    assert told.losses == []


async def test_certificates_say_whose_word_it_is(tmp_path: Path) -> None:
    """TLS with certificates from both sides; a server that the name does not fit is not listened to."""
    authority = Authority(tmp_path / "pki")
    own, client = authority.server("ovsdb", ["localhost"]), authority.client("controller")
    made = Server(tmp_path, "pssl:0:127.0.0.1")
    files = [f"--private-key={own.key}", f"--certificate={own.certificate}", f"--ca-cert={authority.certificate}"]
    try:
        made.start(*files, f"--log-file={tmp_path / 'log'}")
        made.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", 'datapath_id="00000000000000a1"')
        made.add("tap1", 5, **IDS)
        port = _port(tmp_path / "log")
        settings = Ovsdb(
            connect=f"ssl:127.0.0.1:{port}",
            ca=str(authority.certificate),
            certificate=str(client.certificate),
            key=str(client.key),
            server_name="localhost",
        )
        async with following(settings, tmp_path) as told:
            await told.until(lambda: told.interfaces == [WEB1])
        async with following(settings.model_copy(update={"server_name": "other"}), tmp_path) as told:
            await told.until(lambda: bool(told.losses))
            assert "ostname mismatch" in told.losses[0]
            assert told.signs == 0
    finally:
        made.stop()


def _port(log: Path) -> int:
    """The port that the kernel gave."""
    line = next(line for line in log.read_text(encoding="utf-8").splitlines() if "listening on port" in line)
    return int(line.rsplit(" ", 1)[1])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b'{"id":"monitor","result":{},"error":"no"}',
        b'{"id":"monitor","result":[],"error":null}',
        b'{"id":"monitor","result":{"Bridge":{"b":7}},"error":null}',
        b'{"id":"monitor","result":{},"error":null}{"id":null,"method":"update","params":7}',
        b'{"id":"monitor","result":{},"error":null}{"id":"monitor","result":{},"error":null}',
        b'{"a":' * 40,
        b"",
    ],
)
async def test_what_answers_and_is_no_ovsdb_is_given_up(tmp_path: Path, answer: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await writer.drain()
        if not answer:
            writer.close()
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(other, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        async with following(Ovsdb(connect=f"tcp:127.0.0.1:{port}"), tmp_path) as told:
            await told.until(lambda: bool(told.losses))
    assert told.interfaces == []


async def test_a_failure_of_who_is_told_ends_the_connection_and_not_the_following(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [ZeroDivisionError("first")]
    changed = Following.changed

    def failing(told: Following, interfaces: Callable[[], object]) -> None:
        if failures:
            raise failures.pop()
        changed(told, interfaces)

    monkeypatch.setattr(Following, "changed", failing)
    server.add("tap1", 5, **IDS)
    async with following(Ovsdb(connect=f"unix:{server.socket}"), tmp_path) as told:
        await told.until(lambda: told.interfaces == [WEB1])
    assert told.losses == ["ZeroDivisionError"]


async def test_a_server_that_never_answers_vouches_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ECHO_INTERVAL", 0.05)
    monkeypatch.setattr(client_module, "SILENCE", 0.2)

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_unix_server(mute, tmp_path / "mute.sock")
    async with listener, following(Ovsdb(connect=f"unix:{tmp_path / 'mute.sock'}"), tmp_path) as told:
        await told.until(lambda: bool(told.losses))
    assert told.losses[0] == "it does not answer"
    assert told.signs == 0
