"""`zethane identity factors` and `reset-factors`: the second factors of users at the running controller."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import quote

import typer

from zethane.cli.operate import DEFAULT_SOCKET, Api, JsonOption, SocketOption, show

UserArgument = Annotated[str, typer.Argument(help="The user's name.")]


def factors(user: UserArgument, socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """The second factors that a user has. Secrets are not shown."""
    answer = Api(socket).ask("GET", _path(user))
    rows = list(answer["factors"])
    if answer["in_file"]:
        rows.insert(0, {"factor": "totp:file", "kind": "totp", "name": "in identities.yaml"})
    if answer["recovery_codes"]:
        rows.append({"factor": "recovery", "kind": "recovery", "name": f"{answer['recovery_codes']} codes left"})
    show(answer, rows, ("factor", "kind", "name", "created", "used", "synced", "alone"), as_json=as_json)


def reset_factors(user: UserArgument, socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Delete the second factors that a user has enrolled, and end what rests on them: when all of them are lost."""
    answer = Api(socket).ask("DELETE", _path(user))
    typer.echo(json.dumps(answer) if as_json else f"Removed: {answer['removed']} second factors of {user}.")


def _path(user: str) -> str:
    return f"/identity/users/{quote(user, safe='')}/factors"
