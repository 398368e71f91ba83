"""The part of the controller that logs people in at OpenID providers: `oidc` in sources.yaml."""

from __future__ import annotations

import ssl
from pathlib import Path

from zethane.adapters.http.client import trust
from zethane.adapters.oidc.provider import Provider
from zethane.app.files import read_text
from zethane.app.running import Running
from zethane.errors import InputError, Problem
from zethane.identity.directory import Directory
from zethane.identity.sources.oidc import OpenIdProvider
from zethane.service.renewal import Renewals
from zethane.service.sign_on import SignOn
from zethane.service.sign_on_desk import Desk


async def start_sign_on(running: Running) -> SignOn | None:
    """Start it in the running loop; the stack ends it. None without a provider. Raises InputError."""
    described = running.topology.sources.settings.oidc
    if not described:
        return None
    folder = running.topology.folder
    providers = {
        name: Provider(name, settings, _secret(settings, folder), _tls(settings, folder), running.clock)
        for name, settings in described.items()
    }
    for provider in providers.values():
        running.stack.push_async_callback(provider.close)
    running.sources.register(lambda: [provider.view() for provider in providers.values()])

    def directory() -> Directory:
        return running.authenticator.directory

    renewals = Renewals(running.controller, directory, running.clock, running.spawn)
    running.journal.watch(renewals.session_event)
    running.spawn(renewals.run())
    refused = running.journal.login_refused
    desk = Desk(running.controller, providers, directory, running.clock, refused, renewals)
    network = running.topology.network
    portal = network.portal if network is not None else None
    return SignOn(desk, running.store.take_once, portal.tls_port if portal is not None else None)


def _secret(settings: OpenIdProvider, folder: Path) -> str | None:
    """The client's secret. Raises InputError for a file that holds none."""
    if settings.client_secret_file is None:
        return settings.client_secret.get_secret_value() if settings.client_secret is not None else None
    file = folder / settings.client_secret_file
    secret = read_text(file).strip()
    if not 0 < len(secret) <= 1024 or not secret.isprintable():
        raise InputError([Problem(str(file), "expected a client's secret and nothing else")])
    return secret


def _tls(settings: OpenIdProvider, folder: Path) -> ssl.SSLContext:
    """How its certificate is verified: by its `ca`, or by those that the system trusts. Raises InputError."""
    file = folder / settings.ca if settings.ca is not None else None
    context = trust(file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
