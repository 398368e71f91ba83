"""`zethane portal`: the login page's process."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from zethane.adapters.http.server import Listen, Tls
from zethane.cli.logs import log_to_stderr
from zethane.errors import InputError, Problem
from zethane.portal.server import serve


def portal(
    listen: Annotated[
        list[str], typer.Option(metavar="IP:PORT", help="Where to listen; [IP]:PORT for IPv6. May be repeated.")
    ],
    controller: Annotated[Path, typer.Option(metavar="SOCKET", help="The controller's socket for the portal.")],
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="A host name that clients may use for the portal. May be repeated; passkeys are for the first."
        ),
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file; with it, the portal speaks HTTPS.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with the certificate's key.")] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(help="PEM file with the CAs of clients; with it, they are asked for a certificate."),
    ] = None,
) -> None:
    """Serve the login page until SIGTERM or Ctrl-C."""
    log_to_stderr()
    listens = [_listen(text) for text in listen]
    asyncio.run(serve(listens, controller, name or (), _tls(certificate, key, client_ca)))


def _listen(text: str) -> Listen:
    """An address, not a name: the switches know the portal by its address."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
        good = (address.version == 6) == bracketed and port.isdecimal() and 0 < int(port) <= 0xFFFF
    except ValueError:
        good = False
    if not good:
        raise InputError([Problem("--listen", f"expected IP:PORT or [IP]:PORT, found {text!r}")])
    return Listen(str(address), int(port))


def _tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    if certificate is None and key is None:
        if client_ca is not None:
            raise InputError([Problem("--client-ca", "--client-ca needs --certificate and --key")])
        return None
    if certificate is None or key is None:
        raise InputError([Problem("--certificate", "--certificate and --key go together")])
    return Tls(certificate, key, client_ca)
