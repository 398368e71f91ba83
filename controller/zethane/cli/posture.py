"""`zethane posture`: an agent's way to report what it has measured, and what the controller makes of it."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from zethane.adapters.http.client import trust
from zethane.adapters.http.strict_json import loads
from zethane.cli.device import NameArgument, find, show_posture
from zethane.cli.ending import EXIT_NO
from zethane.cli.measure import measured
from zethane.cli.operate import DEFAULT_SOCKET, Api, JsonOption, SocketOption, _printable
from zethane.errors import InputError, Problem, ZethaneError
from zethane.identity.sources.common import is_loopback

MAX_REPORT = 32 * 1024
MAX_ANSWER = 64 * 1024
TIMEOUT = 30.0
TOKEN_VARIABLE = "ZETHANE_POSTURE_TOKEN"  # noqa: S105  # the name of the variable that may hold it

app = typer.Typer(
    no_args_is_help=True,
    help="Measure and report a device's posture, and show what is known of it.",
    pretty_exceptions_show_locals=False,  # there is a token among them
)


@app.command("report")
def report(
    file: Annotated[str, typer.Argument(help="The report in JSON, or - for standard input.")],
    to: Annotated[
        str | None, typer.Option("--to", help="The listener's URL, https://HOST:PORT; without it the API socket.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help=f"Holds the bearer token; without it {TOKEN_VARIABLE} does.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="Authorities of the listener's certificate, in PEM.")] = None,
    socket: SocketOption = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """Report `{"device": …, "measured": …, "attributes": {…}}`. Exit status 1 if a newer report is known."""
    body = _read(file)
    answer = _post(to, body, token_file, ca) if to is not None else Api(socket).ask("POST", "/posture", json=body)
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        text = f"Taken: {answer['device']}, measured {answer['measured']}."
        typer.echo(
            _printable(text if answer["taken"] else f"Not taken: {answer.get('detail')} ({answer['measured']}).")
        )
    if not answer["taken"]:
        raise typer.Exit(EXIT_NO)


@app.command("show")
def show(name: NameArgument, socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """What counts of a device, and each reporter's last report. Exit status 1 if nobody knows the device."""
    answer = find(name, socket, as_json=as_json)
    if as_json:
        typer.echo(json.dumps({key: answer[key] for key in ("device", "measured", "posture", "reports")}))
    else:
        show_posture(answer)


@app.command("measure")
def measure(device: Annotated[str, typer.Option(help="The device's name.")]) -> None:
    """Print a report on this machine: what can be measured here without asking anybody."""
    typer.echo(json.dumps(measured(device), indent=2))


def _read(file: str) -> dict[str, Any]:
    try:
        if file == "-":
            text = sys.stdin.buffer.read(MAX_REPORT + 1)
        else:
            with Path(file).open("rb") as opened:
                text = opened.read(MAX_REPORT + 1)
    except OSError as error:
        raise InputError([Problem(file, f"cannot be read: {error.strerror}")]) from None
    name = "standard input" if file == "-" else file
    if len(text) > MAX_REPORT:
        raise InputError([Problem(name, f"expected at most {MAX_REPORT} bytes")])
    try:
        value = loads(text)
    except ValueError as error:
        raise InputError([Problem(name, str(error))]) from None
    if not isinstance(value, dict):
        raise InputError([Problem(name, "expected an object with device, measured and attributes")])
    return value


def _token(file: Path | None) -> str:
    """The token, from a file that only its owner may read, or from the environment; never from the command line."""
    if file is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
        source = TOKEN_VARIABLE
    else:
        source = str(file)
        try:
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                raise InputError([Problem(source, "others may read it; expected mode 0600")])
            token = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError([Problem(source, f"cannot be read: {type(error).__name__}")]) from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError([Problem(source, "expected a bearer token in one line")])
    return token


def _post(to: str, body: dict[str, Any], token_file: Path | None, ca: Path | None) -> dict[str, Any]:
    url = _listener(to) + "/v1/posture"
    try:
        with httpx.Client(verify=trust(ca), timeout=TIMEOUT, trust_env=False) as client:
            response = client.post(url, json=body, headers={"authorization": f"Bearer {_token(token_file)}"})
    except httpx.HTTPError as error:
        raise ZethaneError(f"{url} did not answer: {type(error).__name__}: {error}") from None
    try:
        answer = loads(response.content[:MAX_ANSWER])
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ZethaneError(f"what answers at {url} is no controller")
    if response.status_code == httpx.codes.OK:
        return answer
    detail = str(answer.get("detail", response.status_code))
    if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
        raise InputError([Problem("report", detail)])
    raise ZethaneError(_printable(detail))


def _listener(to: str) -> str:
    """The URL, if a token may be sent there. Raises InputError."""
    try:
        url = httpx.URL(to)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if not url.host or (url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host))):
        raise InputError([Problem("--to", "expected https://HOST:PORT, or http:// to a loopback address")])
    return to.rstrip("/")
