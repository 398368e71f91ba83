"""What the controller listens on besides OpenFlow: the operators' API, the portal's back end, and signals.

What sources.yaml does not ask for is not even imported: that would take as long as a fifth of the start.
"""

from __future__ import annotations

from zethane.api.app import create_app
from zethane.api.factors import add_factors
from zethane.api.portal_backend import create_app as create_portal_backend
from zethane.api.server import serve_tls, serve_unix
from zethane.app.certificates import start_certificates
from zethane.app.running import Running
from zethane.service.enrolment import Enrolment
from zethane.service.sign_on import SignOn


async def serve_all(running: Running) -> None:
    """Start them in the running loop; the stack stops them. Raises InputError."""
    settings, controller, stack = running.settings, running.controller, running.stack
    enrolment = Enrolment(controller, running.authenticator, running.store, running.clock, running.journal.factor)
    app = create_app(controller)
    add_factors(app, enrolment)
    operators = await serve_unix(app, settings.api_socket)
    stack.push_async_callback(operators.stop)
    certificates = await start_certificates(running)
    sign_on = await _start_sign_on(running)
    back_end = create_portal_backend(
        controller, running.authenticator, certificates=certificates, sign_on=sign_on, enrolment=enrolment
    )
    portal = await serve_unix(back_end, settings.portal_socket)
    stack.push_async_callback(portal.stop)
    if (tls := settings.api_tls) is not None:
        remote = await serve_tls(app, tls.host, tls.port, tls.certificate, tls.key, tls.client_ca)
        stack.push_async_callback(remote.stop)
    if running.topology.sources.settings.listen is not None:
        from zethane.api.signals_app import serve_signals

        await serve_signals(running)


async def _start_sign_on(running: Running) -> SignOn | None:
    """Single sign-on, if there is a provider. Raises InputError."""
    if not running.topology.sources.settings.oidc:
        return None
    from zethane.api.oidc_logout import backchannel_logout_router
    from zethane.app.sign_on import start_sign_on

    sign_on = await start_sign_on(running)
    if sign_on is not None:
        running.routers.append(backchannel_logout_router(sign_on))
    return sign_on
