"""`zethane identity block`, `unblock`, `list`: accounts that may not log in, at the running controller."""

from __future__ import annotations

import getpass
import json
from datetime import datetime, timedelta, timezone
from typing import Annotated

import typer

from zethane.cli.operate import DEFAULT_SOCKET, Api, JsonOption, SocketOption, show
from zethane.document.duration import seconds
from zethane.errors import InputError, Problem

AccountArgument = Annotated[str, typer.Argument(help="user:NAME, device:NAME or workload:NAME.")]


def block(
    account: AccountArgument,
    reason: Annotated[str, typer.Option(help="Why, for whoever sees it later.")] = "",
    length: Annotated[str | None, typer.Option("--for", help="For how long: 90s, 15m, 8h, 7d.")] = None,
    socket: SocketOption = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """End an account's sessions at once, and let it have none, by whatever method it logs in."""
    body = {"account": account, "reason": reason, "by": _operator(), "until": _until(length)}
    answer = Api(socket).ask("POST", "/blocks", json=body)
    if as_json:
        typer.echo(json.dumps(answer))
        return
    ended = ", ".join(map(str, answer["sessions"]))
    typer.echo(f"Blocked: {account}." + (f" Sessions concerned: {ended}." if ended else ""))


def unblock(account: AccountArgument, socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Let an account log in again. Exit status 1 if it was not blocked."""
    answer = Api(socket).ask("DELETE", f"/blocks/{account}", accept=(200, 404))
    is_done = "account" in answer
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        typer.echo(f"Unblocked: {account}." if is_done else f"{account} is not blocked.")
    if not is_done:
        raise typer.Exit(1)


def blocks(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """The accounts that are blocked, why, since when and until when."""
    answer = Api(socket).ask("GET", "/blocks")
    show(answer, answer["blocks"], ("account", "reason", "since", "until", "by"), as_json=as_json)


def _until(length: str | None) -> str | None:
    if length is None:
        return None
    try:
        moment = datetime.now(timezone.utc) + timedelta(seconds=seconds(length))
    except ValueError as error:
        raise InputError([Problem("--for", str(error))]) from None
    return moment.isoformat()


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # nobody has this user's number
        return ""
