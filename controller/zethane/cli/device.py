"""`zethane device`: the devices that the running controller knows, and what is known of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from zethane.cli.ending import EXIT_NO
from zethane.cli.operate import DEFAULT_SOCKET, Api, JsonOption, SocketOption, _printable, show

app = typer.Typer(no_args_is_help=True, help="The devices that are known, where they are live, and their posture.")

NameArgument = Annotated[str, typer.Argument(help="The device's name.")]


@app.command("list")
def list_devices(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Every device that identities.yaml names, or that has proved itself."""
    answer = Api(socket).ask("GET", "/devices")
    rows = [
        {**device, "labels": pairs(device["labels"]), "posture": [*_posture_lines(device)]}
        for device in answer["devices"]
    ]
    columns = ("device", "owner", "groups", "labels", "mac", "disabled", "sessions", "measured", "posture")
    show(answer, rows, columns, as_json=as_json)


@app.command("show")
def show_device(name: NameArgument, socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """One device, with each reporter's last report. Exit status 1 if nobody knows it."""
    answer = find(name, socket, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(answer))
        return
    for key in ("device", "registered", "disabled", "owner", "mac", "groups", "labels", "sessions"):
        typer.echo(_printable(f"{key + ':':<12}{_text(answer[key])}"))
    show_posture(answer)


def find(name: str, socket: Any, *, as_json: bool) -> dict[str, Any]:
    """The device of this name at the controller; ends with status 1 if nobody knows it."""
    answer = Api(socket).ask("GET", f"/devices/{quote(name, safe='')}", accept=(200, 404))
    if "device" not in answer:
        typer.echo(json.dumps(answer) if as_json else _printable(f"No device named {name} is known."))
        raise typer.Exit(EXIT_NO)
    return answer


def show_posture(device: Mapping[str, Any]) -> None:
    """What counts of a device, and what each reporter has said."""
    counts = [
        {"attribute": name, "value": _text(one["value"]), "measured": one["measured"]}
        for name, one in device["posture"].items()
    ]
    show(device, counts, ("attribute", "value", "measured"), as_json=False)
    reports = [{**one, "attributes": pairs(one["attributes"])} for one in device["reports"]]
    show(device, reports, ("reporter", "measured", "received", "attributes"), as_json=False)


def _posture_lines(device: Mapping[str, Any]) -> list[str]:
    return [f"{name}={_text(one['value'])}" for name, one in device["posture"].items()]


def pairs(values: Mapping[str, Any]) -> list[str]:
    """A mapping as lines."""
    return [f"{name}={_text(value)}" for name, value in values.items()]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, dict):
        return ", ".join(pairs(value)) or "-"
    return "-" if value is None else str(value)
