"""Shared signals in the running controller: the transmitters of sources.yaml, and what takes their events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from zethane.adapters.jwks import KeySource
from zethane.adapters.ssf import keys_of
from zethane.app.running import Running
from zethane.audit.reason import SessionEvent
from zethane.document.duration import seconds
from zethane.identity.openid import completed
from zethane.identity.signals.effect import Change
from zethane.identity.signals.scope import Scope
from zethane.identity.sources.file import EMBEDDED
from zethane.identity.sources.signals import Transmitter
from zethane.service.signals import Signals
from zethane.service.sources import SourceView


def make_signals(running: Running) -> Signals:
    """What takes the events of all transmitters."""
    controller, state = running.controller, running.administrator.state

    def carry_out(change: Change, reason: SessionEvent, detail: str) -> bool:
        return controller.change_proof(change.session, change.proof, change.changed, reason, detail)

    signals = Signals(
        running.devices.index,
        carry_out,
        running.devices.report,
        running.store,
        state.counters,
        running.clock,
        asyncio.get_running_loop().call_soon,
    )
    running.journal.watch(signals.note)
    return signals


def scope_of(name: str, transmitter: Transmitter, running: Running) -> Scope:
    """About whom a transmitter may speak."""
    embedded = transmitter.subjects == EMBEDDED
    provider = None if embedded else running.topology.sources.settings.oidc[transmitter.subjects]
    devices = None if embedded else frozenset[str]()
    if transmitter.devices is not None:
        devices = frozenset(transmitter.devices)
    return Scope(
        name,
        transmitter.issuer,
        transmitter.subjects,
        provider,
        devices,
        running.devices.postures.is_known,
        seconds(transmitter.clock_skew),
        lambda proof: completed(proof, running.authenticator.directory),
    )


def make_keys(name: str, transmitter: Transmitter, running: Running, stack: AsyncExitStack) -> KeySource:
    """Its keys; the stack closes what fetches them. Raises InputError."""
    keys, client = keys_of(name, transmitter, running.topology.folder)
    stack.push_async_callback(client.close)

    def tell() -> Sequence[SourceView]:
        state, since, detail = keys.state()
        return [SourceView(name, "signals", state, since, detail)]

    running.sources.register(tell)
    return keys
