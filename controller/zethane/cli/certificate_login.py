"""Logging in by client certificate, once or for as long as the command runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from zethane.cli.portal_client import Certificate, PortalClient
from zethane.cli.renewal import renew as renew_until_ended
from zethane.errors import InputError, Problem, ZethaneError


@dataclass(frozen=True)
class CertificateLogin:
    """A login by certificate: everything is read from the files again each time."""

    portals: Sequence[str]
    certificate: Certificate
    ca: Path | None

    def run(self, show: Callable[[dict[str, Any]], None], *, renew: bool, logout_at_end: bool) -> None:
        """Log in once, or stay logged in until SIGTERM or Ctrl-C. Raises ZethaneError."""
        if logout_at_end and not renew:
            raise InputError([Problem("login", "--logout-at-end goes with --renew")])
        if not renew:
            show(self._attempt())
            return

        def attempt() -> dict[str, Any]:
            session = self._attempt()
            show(session)
            return session

        renew_until_ended(attempt, (self.certificate.file, self.certificate.key), _complain)
        if logout_at_end:
            PortalClient(self.portals[0], self.ca).post("/v1/logout", {})

    def _attempt(self) -> dict[str, Any]:
        clients = [PortalClient(url, self.ca, self.certificate) for url in self.portals]
        session = clients[0].post("/v1/certificate-login", {})
        for further in clients[1:]:
            session = further.post("/v1/addresses", {"token": session.get("token", "")})
        return session


def _complain(error: ZethaneError) -> None:
    """Say what went wrong; nothing in it may steer a terminal."""
    typer.echo("".join(char for char in str(error) if char.isprintable()), err=True)
