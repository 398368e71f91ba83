"""Authentication below IP as a part of the running controller: at the ports of network.yaml with `dot1x` or `mab`."""

from __future__ import annotations

import math

from zethane.app.running import Running
from zethane.document.duration import seconds
from zethane.identity.sources.radius import Dot1x
from zethane.service.dot1x import PortAccess
from zethane.service.dot1x_proof import Prover
from zethane.service.dot1x_sessions import AccessSessions
from zethane.service.eap_exchange import Timers


async def start(running: Running) -> None:
    """Let the administrator have an authenticator, if any port asks for one. After `app.radius`."""
    network = running.topology.network
    switches = network.switches.values() if network is not None else ()
    if not any(port.dot1x or port.mab for switch in switches for port in switch.ports.values()):
        return
    administrator, settings = running.administrator, running.topology.sources.settings
    prover = Prover(
        lambda: running.authenticator.directory,
        lambda: administrator.state.policy,
        settings.radius,
        math.inf if settings.dot1x.reauthenticate is None else seconds(settings.dot1x.reauthenticate),
    )
    sessions = AccessSessions(
        administrator.state, running.controller, prover, running.journal.login_refused, administrator.use_address
    )
    access = PortAccess(administrator.state, sessions, prover, running.radius, _timers(settings.dot1x), running.spawn)
    access.restore()
    running.journal.watch(access.session_event)
    administrator.port_access = access


def _timers(settings: Dot1x) -> Timers:
    return Timers(seconds(settings.tx_period), seconds(settings.quiet_period), settings.max_requests)
