"""`zethane login --device`: a host without a browser is let in by a person with one (RFC 8628)."""

from __future__ import annotations

import sys
import time
from typing import Any

import typer

from zethane.cli.portal_client import PortalClient, PortalError

MAX_WAIT = 1800.0
"""Seconds that a person has at the most, whatever the portal says."""


def device_login(portal: PortalClient, provider: str | None) -> dict[str, Any]:
    """Ask to be let in, say where and with which code, and wait. Raises AuthenticationError, PortalError."""
    begun = portal.post("/v1/device", {"provider": provider} if provider is not None else {})
    deadline = time.monotonic() + min(MAX_WAIT, _number(begun, "expires_in"))
    _tell(begun)
    interval = _number(begun, "interval")
    while True:
        time.sleep(min(60.0, max(1.0, interval)))
        answer = portal.post("/v1/device/poll", {"handle": begun.get("handle", "")})
        if "session" in answer:
            return answer
        if time.monotonic() > deadline:
            raise PortalError("nobody has let this host in; the code is too old now")
        interval = _number(answer, "interval")


def _tell(begun: dict[str, Any]) -> None:
    """On standard error, for people: standard output is for the result."""
    uri, code = _shown(begun.get("verification_uri")), _shown(begun.get("user_code"))
    typer.echo(f"To let this host in, open {uri} and enter the code {code}", err=True)
    if begun.get("verification_uri_complete"):
        complete = _shown(begun["verification_uri_complete"])
        typer.echo(f"or open {complete}", err=True)
        if sys.stderr.isatty():  # for the camera of a phone
            import segno  # not loaded by every login

            segno.make(complete, micro=False).terminal(sys.stderr, compact=True)


def _shown(value: object) -> str:
    """What the portal says goes to a terminal: nothing in it may steer that."""
    return "".join(char for char in str(value) if char.isprintable())


def _number(answer: dict[str, Any], key: str) -> float:
    value = answer.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PortalError(f"the portal's answer has no {key}")
    return float(value)
