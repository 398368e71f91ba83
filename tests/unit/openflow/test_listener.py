"""The listening socket: who may connect, over what, and that switches cannot hurt one another. Real loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from fakes.openflow_peer import FEATURES_REQUEST, HEADER, Events, Peer, messages
from fakes.site import Site
from zethane.adapters.openflow import listener as listener_module
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.adapters.openflow.listener import Listener, TlsFiles
from zethane.adapters.openflow.reception import HELLO, Reception
from zethane.errors import InputError

GARBAGE = (b"\0" * 64, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", HEADER.pack(4, 2, 0, 0), HEADER.pack(1, 0, 8, 0))


@asynccontextmanager
async def listening(
    events: Any, limits: ChannelLimits | None = None, tls: TlsFiles | None = None
) -> AsyncIterator[tuple[str, int]]:
    listener = Listener(events, limits)
    address = await listener.start("127.0.0.1", 0, tls)
    try:
        yield address
    finally:
        await listener.stop()


class Client:
    """A switch on a socket that answers like `Peer`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
        self.reader, self.writer, self._peer = reader, writer, peer
        self.kinds: list[int] = []
        self._task = asyncio.ensure_future(self._run())

    @classmethod
    async def open(cls, address: tuple[str, int], dpid: int = 1, **tls: Any) -> Client:
        reader, writer = await asyncio.open_connection(*address, **tls)
        return cls(reader, writer, Peer(dpid))

    async def _run(self) -> None:
        while True:
            header = await self.reader.readexactly(HEADER.size)
            body = await self.reader.readexactly(HEADER.unpack(header)[2] - HEADER.size)
            for asked in messages(header + body):
                self.kinds.append(asked.kind)
                for answer in self._peer.answers(asked):
                    self.writer.write(answer)

    async def ended(self) -> None:
        """Until the controller has closed the connection."""
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await self._task
        self.writer.close()

    async def close(self) -> None:
        self._task.cancel()
        self.writer.close()


async def test_plain_tcp_is_for_loopback_only() -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.org"):  # noqa: S104  # refused is what it must be
        with pytest.raises(InputError, match="plain TCP is for loopback only"):
            await Listener(Events()).start(host, 0, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_loopback_needs_no_certificates(host: str) -> None:
    listener = Listener(Events())
    _, port = await listener.start(host, 0, None)
    assert port > 0
    await listener.stop()


async def test_a_switch_connects_over_a_socket() -> None:
    events = Events()
    async with listening(events) as address:
        client = await Client.open(address, 0x1234)
        await events.ready.wait()
        assert events.of("connected") == [0x1234]
        await client.close()


async def test_a_switch_that_came_before_is_taken_over_without_a_second_hello_and_so_is_the_address() -> None:
    events, reception = Events(), Reception("127.0.0.1", 0)
    early = socket.create_connection(("127.0.0.1", reception.port), timeout=10)
    assert early.recv(100) == HELLO
    gone = socket.create_connection(("127.0.0.1", reception.port), timeout=10)
    assert gone.recv(100) == HELLO
    gone.close()
    listener = Listener(events)
    address = await listener.start("127.0.0.1", reception.port, None, reception)
    reader, writer = await asyncio.open_connection(sock=early)
    client = Client(reader, writer, Peer(0x1234))
    writer.write(HELLO)
    await events.ready.wait()
    assert events.of("connected") == [0x1234]
    assert client.kinds[0] == FEATURES_REQUEST
    events.ready.clear()
    late = await Client.open(address, 0x5678)
    await events.ready.wait()
    assert events.of("connected") == [0x1234, 0x5678]
    assert reception.hand_over() is None
    await client.close()
    await late.close()
    await listener.stop()


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_the_garbage_of_one_never_hurts_another(garbage: bytes) -> None:
    events = Events()
    async with listening(events) as address:
        good = await Client.open(address, 1)
        await events.ready.wait()
        bad = await Client.open(address, 2)
        bad._peer.silent = set(range(256))
        bad.writer.write(garbage)
        await bad.ended()
        events.ready.clear()
        other = await Client.open(address, 3)
        await events.ready.wait()
        assert events.of("connected") == [1, 3]
        assert events.of("disconnected") == []
        await good.close()
        await other.close()


async def test_a_connection_that_says_nothing_is_given_up() -> None:
    async with listening(Events(), ChannelLimits(handshake=0.02)) as address:
        reader, writer = await asyncio.open_connection(*address)
        said = await reader.read()
        assert [one.kind for one in messages(said)] == [0]
        writer.close()


async def test_connections_beyond_the_limit_are_closed_and_a_place_is_free_again_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_module, "MAX_CONNECTIONS", 1)
    events = Events()
    async with listening(events) as address:
        first = await Client.open(address, 1)
        await events.ready.wait()
        second = await Client.open(address, 2)
        await second.ended()
        first.writer.write(HEADER.pack(4, 2, 0, 0))
        await first.ended()
        events.ready.clear()
        third = await Client.open(address, 3)
        await events.ready.wait()
        assert events.of("connected") == [1, 3]
        await third.close()


async def test_stopping_ends_every_connection() -> None:
    events = Events()
    async with listening(events) as address:
        client = await Client.open(address)
        await events.ready.wait()
    await client.ended()
    assert events.of("disconnected") == ["the controller stops"]


# with the administrator behind it


async def test_a_datapath_id_that_nobody_described_is_refused() -> None:
    site = Site()
    async with listening(site.admin) as address:
        client = await Client.open(address, 0xBAD)
        await client.ended()
    assert ("refused", "0000000000000bad", "unknown datapath id") in [what[:3] for what in site.records.of("switch")]


async def test_a_second_switch_with_a_datapath_id_in_use_is_refused_and_the_first_stays() -> None:
    site = Site()
    async with listening(site.admin) as address:
        first = await Client.open(address, site.s1.dpid)
        second = await Client.open(address, site.s1.dpid)
        # Which of the two is quicker is open; the one that is not is closed.
        done, _ = await asyncio.wait((first._task, second._task), return_when=asyncio.FIRST_COMPLETED)
        loser, winner = (first, second) if first._task in done else (second, first)
        await loser.ended()
        assert site.state.fabric.points[site.s1.dpid].channel is not None
        assert not winner._task.done()
        await site.settle()
        await winner.close()
    assert [what[2] for what in site.records.of("switch") if what[0] == "refused"] == ["already connected"]


# TLS


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two CAs, and a certificate each for the controller, a switch, and a stranger of the other CA."""
    folder = tmp_path_factory.mktemp("tls")
    for ca, names in (("ca", ("controller", "switch")), ("other", ("stranger",))):
        _openssl(folder, "req", "-x509", "-days", "1", "-subj", f"/CN={ca}", *_key(ca), "-out", f"{ca}.pem")
        for name in names:
            _openssl(folder, "req", "-subj", f"/CN={name}", *_key(name), "-out", f"{name}.csr")
            signed = ("-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-out", f"{name}.pem")
            _openssl(folder, "x509", "-req", "-days", "1", "-in", f"{name}.csr", *signed)
    return folder


def _key(name: str) -> tuple[str, ...]:
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=20)


def controller_files(folder: Path) -> TlsFiles:
    return TlsFiles(folder / "controller.pem", folder / "controller.key", folder / "ca.pem")


def switch_context(folder: Path, name: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(folder / "ca.pem")
    if name is not None:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


async def test_over_tls_a_switch_with_a_certificate_of_the_ca_connects(certificates: Path) -> None:
    events = Events()
    async with listening(events, tls=controller_files(certificates)) as address:
        client = await Client.open(address, 5, ssl=switch_context(certificates, "switch"))
        await events.ready.wait()
        assert events.of("connected") == [5]
        await client.close()


@pytest.mark.parametrize("name", [None, "stranger"])
async def test_over_tls_nobody_without_a_certificate_of_the_ca_gets_anywhere(
    certificates: Path, name: str | None
) -> None:
    events = Events()
    async with listening(events, tls=controller_files(certificates)) as address:
        reader, writer = await asyncio.open_connection(*address, ssl=switch_context(certificates, name))
        try:
            said = await reader.read()
        except (ssl.SSLError, ConnectionError):  # an alert, or the end: with TLS 1.3 either may be first
            said = b""
        assert said == b"", "the controller spoke to a stranger"
        writer.close()
    assert events.calls == []


async def test_plain_tcp_does_not_pass_for_tls(certificates: Path) -> None:
    events = Events()
    async with listening(events, tls=controller_files(certificates)) as address:
        client = await Client.open(address)
        client.writer.write(HEADER.pack(4, 0, 8, 0))
        await client.ended()
    assert events.calls == []


@pytest.mark.parametrize("missing", ["controller.pem", "controller.key", "ca.pem"])
def test_files_that_cannot_be_used_for_tls_are_an_input_error(certificates: Path, missing: str) -> None:
    names = ("controller.pem", "controller.key", "ca.pem")
    paths = [certificates / ("switch.csr" if name == missing else name) for name in names]
    with pytest.raises(InputError, match="cannot be used for TLS"):
        TlsFiles(*paths).context()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_is_written_to_a_switch_does_not_wait_for_more(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """TCP_NODELAY (RFC 9293 section 3.7.4) is what both loops set by themselves."""

    class Kept(Events):
        def connected(self, channel: Any, ports: Any) -> bool:
            self.channel = channel
            return super().connected(channel, ports)

    async def option() -> int:
        events = Kept()
        async with listening(events) as address:
            client = await Client.open(address)
            await events.ready.wait()
            accepted = events.channel._transport.get_extra_info("socket")
            found: int = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await client.close()
            return found

    running = loop()
    try:
        assert running.run_until_complete(option()) != 0
    finally:
        running.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_only_what_is_not_encrypted_is_sent_past_the_transport(
    loop: Callable[[], asyncio.AbstractEventLoop], certificates: Path
) -> None:
    class Kept(Events):
        def connected(self, channel: Any, ports: Any) -> bool:
            self.channel = channel
            return super().connected(channel, ports)

    async def descriptor(tls: bool) -> int:
        events = Kept()
        async with listening(events, tls=controller_files(certificates) if tls else None) as address:
            client = await Client.open(address, **({"ssl": switch_context(certificates, "switch")} if tls else {}))
            await events.ready.wait()
            found: int = events.channel._plain
        await client.ended()
        await client.writer.wait_closed()
        return found

    running = loop()
    try:
        assert running.run_until_complete(descriptor(tls=False)) >= 0
        assert running.run_until_complete(descriptor(tls=True)) == -1
    finally:
        running.close()
