"""The controller as a process: wiring, the event loop, and an orderly end."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvloop

from zethane.adapters.audit_log import AuditLog
from zethane.adapters.openflow.channel import FastPath
from zethane.adapters.openflow.compiled import compiled_path
from zethane.adapters.openflow.listener import Listener
from zethane.adapters.openflow.reception import Reception
from zethane.adapters.store.sqlite import SqliteStore
from zethane.app import dot1x
from zethane.app.controller import Controller
from zethane.app.devices import Devices
from zethane.app.journal import LogJournal
from zethane.app.platforms import start_platforms
from zethane.app.reload import DirectoryFile, PolicyFile
from zethane.app.running import Running
from zethane.app.runtime import Runtime
from zethane.app.scheduling import (
    ask_for_short_turns,
    give_way,
    precedence,
    precedence_of_switch,
    take_precedence,
    wait_exactly,
)
from zethane.app.settings import Settings
from zethane.app.stages import Stages, tell
from zethane.app.topology import Topology, load_topology
from zethane.errors import ChannelError, InputError, Problem
from zethane.identity.directory import Directory
from zethane.network.model import Network
from zethane.pipeline.grants import Tracking
from zethane.policy.model import Policy
from zethane.service.administrator import Administrator
from zethane.service.authentication import Authenticator
from zethane.service.points import Fabric
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.sources import SourceRegistry
from zethane.service.state import State

PREPARED_AT_ONCE = 64
"""Sessions that the compiled path gets to know before other work has its turn: a fifth of a millisecond."""

TICK = 0.1
"""Seconds between looks at what has come to its end. Switches end leases by themselves, to the second."""

PIECE_INTERVAL = 3.0
"""Seconds between two pieces of a large number of per-flow rules: a switch goes through all of them for each."""

AGING_INTERVAL = 0.05
"""Seconds between looks for flows that may have gone silent."""

AGING_PAUSE = 0.005
"""Seconds between two slices of them: time for the switch to take in what was written, with all else in between."""

CLEARING_INTERVAL = 0.1
"""Seconds between looks for rules of ended sessions that may be removed now."""

CLEARING_PAUSE = 0.003
"""Seconds between two pieces of them, with all else in between."""

ACCOUNT_INTERVAL = 5.0
"""Seconds between readings of what the meters have left out."""

PASSKEYS_AFTER = 20.0
"""Seconds after a start in which the switches come first."""

PASSWORD_THREADS = min(2, max(1, (os.cpu_count() or 1) - 1))
"""Passwords that are worked out at once: where many log in together, a core is left for packets."""

_log = structlog.get_logger("zethane")


Start = Callable[[Running], Awaitable[None]]
"""Starts a part of the controller, and leaves its end with the stack."""


async def _start_radius(running: Running) -> None:
    """What sources.yaml has under `radius`: only then it is imported. Raises InputError."""
    if running.topology.sources.settings.radius is not None:
        from zethane.app import radius

        await radius.start(running)


PARTS: tuple[Start, ...] = (_start_radius, dot1x.start, start_platforms)
"""What is started between the store and the switches, in this order; then what listens for operators and the portal."""


def run(settings: Settings, serve: Start, reception: Reception | None = None) -> None:
    """Run the controller until SIGTERM or SIGINT. Raises InputError before anything is started.

    `reception` is at the address for switches already, and is taken over.
    """
    gc.disable()  # what is read now stays: it is looked at once, when everything is there
    topology = load_topology(settings.topology, settings.sources)
    report = topology.check()
    if report.errors:
        raise InputError(report.errors)
    if topology.network is None:
        missing = Problem(str(settings.topology / "network.yaml"), "missing: it names the switches to control")
        raise InputError([missing])
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    take_precedence(settings.nice)
    uvloop.run(_Process(settings, topology, topology.network, serve, reception).run())


class _Process:
    """Everything that lives as long as the process."""

    def __init__(
        self, settings: Settings, topology: Topology, network: Network, serve: Start, reception: Reception | None
    ) -> None:
        self._settings = settings
        self._reception = reception
        self._serve = serve
        self._topology = topology
        self._network = network
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Start everything, wait for the signal, stop everything in the opposite order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="beside", initializer=give_way))
        async with AsyncExitStack() as stack:
            await self._start(stack)
            await self._stop.wait()
            _log.info("stopping")

    async def _start(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        store = SqliteStore(settings.store_file)
        stack.callback(store.close)
        log = AuditLog(settings.decision_log, begin=give_way)
        log.start()
        stack.callback(log.close)
        fabric = Fabric(self._network, Tracking(settings.conntrack_zones, store.epoch()))
        journal = LogJournal(log, fabric, time.time)
        stages = Stages(settings.enforced_policy, was_enforced=store.knows_rules())
        administrator = self._administrator(store, journal, fabric, stages)
        stack.push_async_callback(self._cancel)
        stack.callback(administrator.accounting.finish)
        devices = Devices(administrator, store, journal)
        administrator.restore(store.sessions())
        devices.enter()
        await administrator.use_directory(self._topology.directory)

        use_policy = partial(_use_policy, administrator, stages)
        policy_file = PolicyFile(self._topology, use_policy, _refusals(journal), time.time)
        identities = DirectoryFile(self._topology, time.time)
        sources = SourceRegistry()
        runtime = Runtime(partial(administrator.state.counters.__getitem__, "packet_ins"))
        controller = Controller(administrator, log, policy_file, identities, sources, devices, runtime)
        authenticator = self._authenticator(controller, store, journal, stack)
        identities.use = partial(_use_directory, administrator, authenticator)
        running = Running(
            settings,
            self._topology,
            store,
            journal,
            administrator,
            controller,
            authenticator,
            time.time,
            self._spawn,
            stack,
            sources,
            devices,
        )
        for start in (*PARTS, self._serve):
            await start(running)
        host, port = await self._listen(administrator, journal, stack)
        self._keep(administrator)
        self._spawn(policy_file.watch())
        self._spawn(identities.watch())
        self._spawn(_import_passkeys())
        runtime.start(self._spawn)
        stack.callback(runtime.stop)
        _announce(settings.run_file, host, port)
        stack.callback(settings.run_file.unlink, missing_ok=True)

    def _authenticator(
        self, controller: Controller, store: SqliteStore, journal: LogJournal, stack: AsyncExitStack
    ) -> Authenticator:
        """With threads of its own for what passwords cost."""
        passwords = ThreadPoolExecutor(PASSWORD_THREADS, "password", give_way)
        stack.callback(passwords.shutdown, wait=False, cancel_futures=True)
        return Authenticator(
            controller,
            self._topology.directory,
            store,
            time.time,
            passwords,
            journal.login_refused,
            told=journal.factor,
        )

    async def _listen(
        self, administrator: Administrator, journal: LogJournal, stack: AsyncExitStack
    ) -> tuple[str, int]:
        """Let switches in, by the compiled path where there is one; at which address."""
        settings = self._settings
        fast = compiled_path(administrator.state, journal)
        waits, nice, switch = wait_exactly(), precedence(), precedence_of_switch()
        _log.info(
            "hot-path",
            compiled=fast is not None,
            short_turns=ask_for_short_turns(),
            exact_waits=waits,
            nice=nice.process,
            session_nice=nice.session,
            switch_session_nice=switch.session if switch else None,
        )
        listener = Listener(administrator, fast=fast)
        address = settings.openflow_host, settings.openflow_port
        where = await listener.start(*address, settings.openflow_tls, self._reception)
        stack.push_async_callback(listener.stop)
        if fast is not None:
            administrator.aging.plain = fast.end_silent
            self._spawn(_prepare(fast, administrator))
        return where

    def _administrator(self, store: SqliteStore, journal: LogJournal, fabric: Fabric, stages: Stages) -> Administrator:
        """With what of the policy is in force, and what is staged, as of now."""
        topology = self._topology
        staging = stages.compose(topology.policy)
        policy = PolicyInForce(staging.enforced, store, time.time())
        times = topology.sources.settings.sessions
        state = State(time.time, journal, fabric, policy, self._settings.limits, times=times)
        state.stage(staging.staged)
        administrator = Administrator(state, store, store, self._spawn, asyncio.to_thread)
        stages.took_effect(topology.policy)
        tell(staging)
        detail = f"at start; {staging.detail}" if staging.detail else "at start"
        journal.policy("loaded", topology.policy.digest, detail, time.time())
        state.accounts.directory = topology.directory
        return administrator

    def _keep(self, administrator: Administrator) -> None:
        """Do what has to be done again and again; the switches have their turns one after the other."""
        self._spawn(_keep_time(administrator))
        self._spawn(_keep_accounts(administrator))
        self._spawn(_keep_aging(administrator))
        self._spawn(_keep_clearing(administrator))
        interval, points = self._settings.attest_interval, administrator.state.fabric.points
        for place, dpid in enumerate(points, 1):
            self._spawn(_keep_attesting(administrator, dpid, interval * place / len(points), interval))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("task-failed", exc_info=error)

    async def _cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _import_passkeys() -> None:
    """Import what a start does not need and the first passkey would have to wait for, beside the event loop."""
    await asyncio.sleep(PASSKEYS_AFTER)
    await asyncio.to_thread(importlib.import_module, "zethane.service.passkeys")


async def _prepare(fast: FastPath, administrator: Administrator) -> None:
    """Let the compiled path get to know the sessions that were taken up, with pauses for other work."""
    numbers = list(administrator.state.sessions.by_number)
    for at in range(0, len(numbers), PREPARED_AT_ONCE):
        fast.prepare(numbers[at : at + PREPARED_AT_ONCE])
        await asyncio.sleep(0.001)


async def _keep_time(administrator: Administrator) -> None:
    while True:
        await asyncio.sleep(TICK)
        try:
            administrator.tick(time.time())
        except Exception:  # noqa: BLE001  # the clock must go on: it ends everybody else's sessions too
            _log.exception("tick-failed")


async def _keep_aging(administrator: Administrator) -> None:
    more = False
    while True:
        await asyncio.sleep(AGING_PAUSE if more else AGING_INTERVAL)
        try:
            more = administrator.aging.tick(time.time())
        except Exception:  # noqa: BLE001  # flows would pile up
            more = False
            _log.exception("aging-failed")


async def _keep_clearing(administrator: Administrator) -> None:
    more = False
    while True:
        await asyncio.sleep(CLEARING_PAUSE if more else CLEARING_INTERVAL)
        try:
            more = administrator.clearing.tick(time.time())
        except Exception:  # noqa: BLE001  # rules of ended sessions would pile up
            more = False
            _log.exception("clearing-failed")


async def _keep_accounts(administrator: Administrator) -> None:
    while True:
        await asyncio.sleep(ACCOUNT_INTERVAL)
        administrator.accounting.suppressed_denials()
        for dpid in administrator.state.fabric.points:
            await _account(administrator, dpid)


async def _keep_attesting(administrator: Administrator, dpid: int, first: float, interval: float) -> None:
    """Read a switch's tables back again and again; `first` spreads the switches over the interval."""
    point, attestation = administrator.state.fabric.points[dpid], administrator.attestation
    await asyncio.sleep(first)
    due = 0.0
    while True:
        try:
            if time.monotonic() >= due:
                due = time.monotonic() + attestation.interval(interval)
                await attestation.attest(point)
            elif attestation.in_pieces(point):
                await attestation.attest_piece(point)
        except ChannelError as error:
            _log.warning("not-attested", switch=point.switch.name, reason=str(error))
        except Exception:  # noqa: BLE001  # whatever a switch has answered, it is asked again
            administrator.state.counters["attestations_failed"] += 1
            _log.exception("attestation-failed", switch=point.switch.name)
        await asyncio.sleep(min(PIECE_INTERVAL, max(due - time.monotonic(), 0.1)))


async def _use_policy(administrator: Administrator, stages: Stages, policy: Policy) -> None:
    staging = await asyncio.to_thread(stages.compose, policy)  # it looks at every rule
    await administrator.use_policy(staging.enforced, staging.staged)
    await asyncio.to_thread(stages.took_effect, policy)
    tell(staging)


async def _use_directory(administrator: Administrator, authenticator: Authenticator, directory: Directory) -> None:
    authenticator.directory = directory
    await administrator.use_directory(directory)


def _refusals(journal: LogJournal) -> Callable[[str, str], None]:
    def refused(version: str, detail: str) -> None:
        journal.policy("refused", version, detail, time.time())

    return refused


async def _account(administrator: Administrator, dpid: int) -> None:
    point = administrator.state.fabric.points[dpid]
    try:
        await administrator.accounting.read_drops(point)
    except ChannelError as error:
        _log.warning("meters-unread", switch=point.switch.name, reason=str(error))


def _announce(file: Path, host: str, port: int) -> None:
    """Say that everything listens. Written whole or not at all: whoever waits for it may read it at once."""
    text = json.dumps({"pid": os.getpid(), "openflow": f"{host}:{port}"})
    fresh = file.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)
    _log.info("ready", openflow=f"{host}:{port}")
