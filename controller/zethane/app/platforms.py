"""Attestation by the platform in a running controller: every OVSDB of sources.yaml is followed."""

from __future__ import annotations

import asyncio

import structlog

from zethane.adapters.ovsdb.client import Followers, OvsdbClient
from zethane.app.running import Running
from zethane.document.duration import seconds
from zethane.service.vouching import Vouching

TICK = 0.5
"""Seconds between looks at leases, and at ports that could not have a session yet."""


_log = structlog.get_logger("zethane.ovsdb")


async def start_platforms(running: Running) -> None:
    """Follow every OVSDB that may vouch for a switch."""
    network = running.topology.network
    switches = network.switches.values() if network is not None else ()
    for name, settings in running.topology.sources.settings.ovsdb.items():
        vouching = Vouching(
            name,
            seconds(settings.lease),
            running.controller,
            lambda: running.authenticator.directory,
            running.clock,
            frozenset(switch.dpid for switch in switches if switch.ovsdb == name),
            frozenset(switch.dpid for switch in switches if switch.ovsdb != name),
        )
        running.journal.watch(vouching.ended)
        running.sources.register(vouching.view)
        followers = Followers(vouching.changed, vouching.alive, vouching.lost)
        running.spawn(OvsdbClient(name, settings, running.topology.folder, followers).follow())
        running.spawn(_keep(vouching))


async def _keep(vouching: Vouching) -> None:
    while True:
        await asyncio.sleep(TICK)
        try:
            vouching.tick()
        except Exception:  # noqa: BLE001  # leases run out by themselves; the next look may find something better
            _log.exception("vouching-failed")
