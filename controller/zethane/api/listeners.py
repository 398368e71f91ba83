"""What the controller listens on besides OpenFlow: the operators' API, the portal's back end, and signals."""

from __future__ import annotations

from zethane.api.app import create_app
from zethane.api.factors import add_factors
from zethane.api.oidc_logout import backchannel_logout_router
from zethane.api.portal_backend import create_app as create_portal_backend
from zethane.api.server import serve_tls, serve_unix
from zethane.api.signals_app import serve_signals
from zethane.app.certificates import start_certificates
from zethane.app.running import Running
from zethane.app.sign_on import start_sign_on
from zethane.service.enrolment import Enrolment


async def serve_all(running: Running) -> None:
    """Start them in the running loop; the stack stops them. Raises InputError."""
    settings, controller, stack = running.settings, running.controller, running.stack
    enrolment = Enrolment(controller, running.authenticator, running.store, running.clock, running.journal.factor)
    app = create_app(controller)
    add_factors(app, enrolment)
    operators = await serve_unix(app, settings.api_socket)
    stack.push_async_callback(operators.stop)
    certificates = await start_certificates(running)
    sign_on = await start_sign_on(running)
    if sign_on is not None:
        running.routers.append(backchannel_logout_router(sign_on))
    back_end = create_portal_backend(
        controller, running.authenticator, certificates=certificates, sign_on=sign_on, enrolment=enrolment
    )
    portal = await serve_unix(back_end, settings.portal_socket)
    stack.push_async_callback(portal.stop)
    if (tls := settings.api_tls) is not None:
        remote = await serve_tls(app, tls.host, tls.port, tls.certificate, tls.key, tls.client_ca)
        stack.push_async_callback(remote.stop)
    await serve_signals(running)
