"""RADIUS as a part of the running controller: the client, accounting, and dynamic authorization."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator, Mapping, Sequence

import structlog

from zethane.adapters.radius.accounting import AccountingClient
from zethane.adapters.radius.authorization import AuthorizationServer, Client
from zethane.adapters.radius.client import Server, UdpRadiusClient
from zethane.adapters.radius.peer import Patience, Peer
from zethane.app.running import Running
from zethane.app.secret_file import secret_of
from zethane.app.sources_problem import sources_error
from zethane.app.usage_file import UsageFile
from zethane.document.duration import seconds
from zethane.errors import InputError
from zethane.identity.sources.radius import DynamicAuthorization, Radius
from zethane.service.dynamic_authorization import DynamicAuthorization as Service
from zethane.service.radius_accounting import RadiusAccounting
from zethane.service.sources import SourceState, SourceView
from zethane.service.usage import Carried, Usage

TICK = 0.5
"""Seconds between looks for accounting records that are due."""

SAVE = 10.0
"""Seconds between looks for counters to be saved."""

DRAIN = 2.0
"""Seconds that the records which wait have when the controller stops."""

_log = structlog.get_logger("zethane.radius")


async def start(running: Running) -> None:
    """Start what sources.yaml has under `radius`. Raises InputError if a secret cannot be read."""
    settings = running.topology.sources.settings.radius
    if settings is None:
        return
    servers = list(_servers(running, settings))
    patience = Patience(seconds(settings.timeout), settings.attempts, seconds(settings.dead_time))
    counters = running.administrator.state.counters
    client = UdpRadiusClient(servers, settings.nas_identifier, patience, counters)
    running.stack.callback(client.close)
    running.sources.register(lambda: _views(client.peers, "authentication"))
    running.radius = client
    if settings.accounting:
        _account(running, settings, servers, patience)
    if settings.dynamic_authorization is not None:
        await _take_requests(running, settings, settings.dynamic_authorization)


def _account(running: Running, settings: Radius, servers: Sequence[Server], patience: Patience) -> None:
    """Follow the sessions that RADIUS vouches for, those of the last run too, and report on them."""
    state = running.administrator.state
    client = AccountingClient(servers, settings.nas_identifier, running.clock, patience, state.counters)
    usage, file = Usage(state, running.administrator.grant_usage), UsageFile(running.settings.state_dir / "usage.json")
    accounting = RadiusAccounting(state, usage, client.send, seconds(settings.interim))
    carried = file.load()
    for session in running.controller.sessions():
        if session.number in carried:
            usage.follow(session.number, carried[session.number])
        accounting.resume(session)
    running.journal.watch(accounting.session_event)
    running.journal.watch_flows(usage.flow_ended)
    running.stack.callback(client.close)
    running.stack.push_async_callback(client.drain, DRAIN)
    running.stack.push_async_callback(accounting.finish)
    for sender in client.run():
        running.spawn(sender)
    running.spawn(_keep_accounting(accounting))
    running.spawn(_keep_usage(usage, file))
    running.stack.callback(_save, usage, file)
    running.sources.register(lambda: _views(client.peers, "accounting"))


async def _keep_accounting(accounting: RadiusAccounting) -> None:
    while True:
        await asyncio.sleep(TICK)
        try:
            await accounting.tick()
        except Exception:  # noqa: BLE001  # one session's record must not end everybody else's
            _log.exception("radius-accounting-failed")


async def _keep_usage(usage: Usage, file: UsageFile) -> None:
    while True:
        await asyncio.sleep(SAVE)
        await asyncio.to_thread(_save_all, usage.carried(), file)


def _save(usage: Usage, file: UsageFile) -> None:
    _save_all(usage.carried(), file)


def _save_all(carried: Mapping[int, Carried], file: UsageFile) -> None:
    try:
        file.save(carried)
    except OSError as error:
        _log.warning("usage-not-saved", reason=error.strerror)


async def _take_requests(running: Running, settings: Radius, authorization: DynamicAuthorization) -> None:
    """Listen for Disconnect and CoA requests. Raises InputError if nobody can listen there."""
    names = {point.switch.dpid: point.switch.name for point in running.administrator.state.fabric.points.values()}
    service = Service(running.controller, lambda dpid: names.get(dpid, ""), settings, running.clock)
    host, _, port = authorization.listen.rpartition(":")
    clients = await _clients(running, authorization)
    counters = running.administrator.state.counters
    own = _own_address(host.strip("[]"))
    try:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: AuthorizationServer(service, clients, settings.nas_identifier, own, running.clock, counters),
            local_addr=(host.strip("[]"), int(port)),
        )
    except (OSError, OverflowError) as error:
        raise _error(running, f"cannot listen: {error}", "listen") from None
    running.stack.callback(transport.close)
    _log.info("radius-requests-taken", listen=authorization.listen, clients=len(clients))


async def _clients(running: Running, authorization: DynamicAuthorization) -> dict[str, Client]:
    """The clients by all of their addresses. Raises InputError."""
    topology = running.topology
    found: dict[str, Client] = {}
    for name, one in authorization.clients.items():
        path = ("radius", "dynamic_authorization", "clients", name)
        client = Client(name, secret_of(one, topology.folder, topology.sources.file, *path))
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(one.host.strip("[]"), None, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise _error(running, f"cannot be looked up: {error.strerror}", "clients", name, "host") from None
        for answer in answers:
            address = str(answer[4][0])
            if found.get(address, client).name != name:
                raise _error(running, f"{address} is that of {found[address].name} already", "clients", name, "host")
            found[address] = client
    return found


def _own_address(host: str) -> bytes | None:
    """The packed address that requests have to come to; None: any, or a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return None if address.is_unspecified else address.packed


def _error(running: Running, message: str, *path: str) -> InputError:
    return sources_error(running.topology.sources.file, message, "radius", "dynamic_authorization", *path)


def _servers(running: Running, settings: Radius) -> Iterator[Server]:
    topology = running.topology
    for name, one in settings.servers.items():
        secret = secret_of(one, topology.folder, topology.sources.file, "radius", "servers", name)
        yield Server(name, one.host, one.auth_port, one.acct_port, secret)


def _views(peers: Sequence[Peer], purpose: str) -> list[SourceView]:
    now = asyncio.get_running_loop().time()
    return [_view(peer, purpose, now) for peer in peers]


def _view(peer: Peer, purpose: str, now: float) -> SourceView:
    """One server, with what went wrong at it."""
    counts = peer.counters
    said = [f"{counts['requests']} requests"]
    if counts["timeouts"]:
        said.append(f"{counts['timeouts']} not answered")
    invalid = {name.removeprefix("invalid-"): n for name, n in counts.items() if name.startswith("invalid-")}
    if invalid:
        said.append("invalid answers: " + ", ".join(f"{n} {name}" for name, n in sorted(invalid.items())))
    if peer.dead_until is not None:
        said.append(f"not asked for {max(0.0, peer.dead_until - now):.0f} s")
        return SourceView(peer.name, "radius", "down", peer.since, f"{purpose}: {'; '.join(said)}")
    state: SourceState = "up" if peer.answered else "idle"
    return SourceView(peer.name, "radius", state, peer.since, f"{purpose}: {'; '.join(said)}")
