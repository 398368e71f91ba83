"""`zethane login` and `zethane logout`: from a host, at the portal.

Kept light, as hosts run it at every start: no framework but the command line's own is loaded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from zethane.cli.certificate_login import CertificateLogin
from zethane.cli.device_login import device_login
from zethane.cli.ending import EXIT_NO, told_problems
from zethane.cli.portal_client import Certificate, PortalClient
from zethane.cli.secrets_input import read_optional, read_secret
from zethane.errors import InputError, Problem, ZethaneError

PortalOption = Annotated[
    list[str],
    typer.Option(
        "--portal",
        metavar="URL",
        envvar="ZETHANE_PORTAL",
        help="The portal. A second one, of the other address family, adds this host's address there to the session.",
    ),
]
CaOption = Annotated[Path | None, typer.Option(help="PEM file with the CA of an https portal.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def login(
    portal: PortalOption,
    user: Annotated[str | None, typer.Option(help="Who logs in. The password is asked for, or read.")] = None,
    workload: Annotated[str | None, typer.Option(help="What logs in. The secret is asked for, or read.")] = None,
    totp: Annotated[bool, typer.Option("--totp", help="A one-time code follows the password.")] = False,
    cert: Annotated[
        Path | None, typer.Option(help="PEM file with the certificate that names this workload or device.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="PEM file with its key; without, it is with the certificate.")
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Stay, and log in again before the session ends or with a new certificate.")
    ] = False,
    logout_at_end: Annotated[
        bool, typer.Option("--logout-at-end", help="With --renew: log out when this command is ended.")
    ] = False,
    device: Annotated[
        bool, typer.Option("--device", help="Be let in by a person with a browser, at an OpenID provider.")
    ] = False,
    provider: Annotated[str | None, typer.Option(help="Which provider; with --device.")] = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Log this host in. Secrets come from the terminal or from standard input, one a line."""
    with _exit_status():
        if cert is not None and user is None and workload is None and not (totp or device):
            by_certificate = CertificateLogin(portal, Certificate(cert, key or cert), ca)
            by_certificate.run(lambda session: show(session, as_json), renew=renew, logout_at_end=logout_at_end)
            return
        if cert is not None or key is not None or renew or logout_at_end:
            raise InputError(
                [Problem("login", "--key, --renew and --logout-at-end go with --cert, and it with no other")]
            )
        if [user is not None, workload is not None, device].count(True) != 1:
            raise InputError([Problem("login", "expected one of --user, --workload, --device and --cert")])
        portals = [PortalClient(url, ca) for url in portal]
        if device:
            session = device_login(portals[0], provider)
        else:
            session = portals[0].post("/v1/login", _proof(user, workload, totp))
        for further in portals[1:]:
            session = further.post("/v1/addresses", {"token": session.get("token", "")})
    show(session, as_json)


def logout(portal: PortalOption, ca: CaOption = None, as_json: JsonOption = False) -> None:
    """Log this host out. One portal is enough: all addresses of the session go with it."""
    with _exit_status():
        ended = PortalClient(portal[0], ca).post("/v1/logout", {})
    typer.echo(json.dumps(ended) if as_json else f"Session {ended.get('session')} has ended.")


def _proof(user: str | None, workload: str | None, totp: bool) -> dict[str, str]:
    if workload is not None:
        return {"workload": workload, "secret": read_secret("Secret")}
    proof = {"user": user or "", "secret": read_secret("Password")}
    # A program says with a second line that there is a code; a person is only asked with --totp.
    code = ""
    if totp:
        code = read_secret("Code")
    elif not sys.stdin.isatty():
        code = read_optional("Code")
    if code:
        proof["totp"] = code.replace(" ", "")
    return proof


def show(session: dict[str, Any], as_json: bool) -> None:
    shown = {key: value for key, value in session.items() if key != "token"}
    if as_json:
        typer.echo(json.dumps(shown))
        return
    # What the portal says goes to a terminal: nothing in it may steer that.
    told = {key: "".join(char for char in str(value) if char.isprintable()) for key, value in shown.items()}
    typer.echo(
        f"Logged in as {told.get('principal')}, session {told.get('session')}, segment {told.get('segment')}, "
        f"until {told.get('ends')}."
    )


@contextmanager
def _exit_status() -> Iterator[None]:
    """Errors as a line on standard error each, with the status that tells them apart; never a traceback."""
    with told_problems():
        try:
            yield
        except InputError:
            raise
        except ZethaneError as error:
            typer.echo("".join(char for char in str(error) if char.isprintable()), err=True)
            raise typer.Exit(EXIT_NO) from None
