"""What the parts of a running controller share: each is started with it, in the order of `app.run`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter

from zethane.adapters.store.sqlite import SqliteStore
from zethane.app.controller import Controller
from zethane.app.devices import Devices
from zethane.app.journal import LogJournal
from zethane.app.settings import Settings
from zethane.app.topology import Topology
from zethane.service.administrator import Administrator
from zethane.service.authentication import Authenticator
from zethane.service.radius import RadiusClient
from zethane.service.sources import SourceRegistry
from zethane.service.state import Clock

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task that lives no longer than the controller, and whose failure is logged."""


@dataclass(slots=True)
class Running:
    """The controller's parts. `stack` ends what they start, in the opposite order.

    What a part appends to `routers` is served to other systems where sources.yaml says (`listen`), and nowhere else.
    """

    settings: Settings
    topology: Topology
    store: SqliteStore
    journal: LogJournal
    administrator: Administrator
    controller: Controller
    authenticator: Authenticator
    clock: Clock
    spawn: Spawn
    stack: AsyncExitStack
    sources: SourceRegistry
    devices: Devices
    routers: list[APIRouter] = field(default_factory=list)
    radius: RadiusClient | None = None
    """There once `app.radius` has started, if sources.yaml has servers."""
