"""A controller with a real bridge: the site of the unit tests behind a real listener."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from fakes.frames import Host
from fakes.records import MemoryStore
from fakes.site import POLICY, Site
from openvswitch import Bridge
from zethane.adapters.openflow.listener import Listener
from zethane.identity.session import Session
from zethane.policy.principal import Principal
from zethane.service.administrator import Administrator
from zethane.service.points import Point
from zethane.service.switch import PacketIn, SwitchChannel

CONNECT_WITHIN = 15.0
"""Seconds for a bridge to connect and be reconciled: it takes milliseconds, and up to 8 s after a failed try."""


def network_of(bridge: Bridge, ports: str = "", more: str = "", portal: str = "") -> str:
    """One switch with the portal at port 1. `ports` and `portal` say more of them, `more` what else there is."""
    return (
        f'switches: {{s1: {{dpid: "{bridge.dpid:016x}", {ports}}}}}\n'
        'portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], '
        f'mac: "02:00:00:00:00:fe", {portal}}}\n'
        f"{more}"
    )


class _Told:
    """The administrator, with an event for the end of a connection."""

    def __init__(self, admin: Administrator, gone: asyncio.Event) -> None:
        self._admin = admin
        self._gone = gone

    def disconnected(self, channel: SwitchChannel, reason: str) -> None:
        self._admin.disconnected(channel, reason)
        self._gone.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._admin, name)


class LiveSite(Site):
    """One controller and one bridge. Leases run down in the bridge, so the clock is the real one."""

    def __init__(
        self,
        bridge: Bridge,
        policy: str = POLICY,
        store: MemoryStore | None = None,
        *,
        ports: str = "",
        more: str = "",
        portal: str = "",
        **limits: Any,
    ) -> None:
        self._spawned = asyncio.Event()
        super().__init__(network_of(bridge, ports, more, portal), policy, store, **limits)
        self.state.clock = time.time
        self.bridge = bridge
        self._gone = asyncio.Event()
        self._listener = Listener(_Told(self.admin, self._gone))

    def login(self, host: Host, principal: Principal, switch: str = "s1") -> Session:
        self.now = self.state.clock()  # what was proved long ago proves nothing
        return super().login(host, principal, switch)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> object:
        self._spawned.set()
        return super()._spawn(work)

    async def start(self) -> LiveSite:
        """Listen, have the bridge connect, and reconcile it."""
        self.admin.restore(self.store.sessions())
        _, port = await self._listener.start("127.0.0.1", 0, None)
        self.bridge.set_controller(port)
        await asyncio.wait_for(self._spawned.wait(), CONNECT_WITHIN)
        await asyncio.wait_for(self.settle(), CONNECT_WITHIN)
        assert self.point.ready, self.records.of("switch")
        return self

    async def stop(self) -> None:
        """The controller goes away, and says goodbye to nobody: the entries stay in the bridge."""
        connected = self.point.channel is not None
        await self._listener.stop()
        if connected:
            await asyncio.wait_for(self._gone.wait(), CONNECT_WITHIN)
        await self.settle()

    @property
    def point(self) -> Point:
        return self.state.fabric.points[self.bridge.dpid]

    @property
    def channel(self) -> SwitchChannel:
        assert self.point.channel is not None
        return self.point.channel

    async def reconcile(self) -> int:
        """Reconcile once more; the number of changes."""
        return await self.admin.reconciliation.reconcile(self.point)

    def comes_up(self, host: Host, frame: bytes, subject: int, obj: int, rule: int) -> None:
        """A packet as the bridge would send it up, with its parties and rule."""
        self.admin.packet_in(self.channel, PacketIn(host.port, 4, rule, subject << 40 | obj << 16, frame))
