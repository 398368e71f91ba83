"""The running controller: sessions, flows, revocation, decisions, switches, health."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table
from rich.text import Text

from zethane.cli.console import wide_console
from zethane.cli.ending import EXIT_NO
from zethane.errors import InputError, Problem, ZethaneError

TIMEOUT = 30.0

SocketOption = Annotated[
    Path, typer.Option(envvar="ZETHANE_SOCKET", help="The controller's API socket.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DEFAULT_SOCKET = Path("/run/zethane/api.sock")


class Api:
    """The controller's API over its unix socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    @contextmanager
    def _client(self, timeout: float | None = TIMEOUT) -> Iterator[httpx.Client]:
        transport = httpx.HTTPTransport(uds=str(self._socket))
        try:
            with httpx.Client(transport=transport, base_url="http://controller", timeout=timeout) as client:
                yield client
        except httpx.ConnectError as error:
            raise ZethaneError(f"no controller answers at {self._socket}: {error}") from None
        except httpx.HTTPError as error:
            raise ZethaneError(f"the controller at {self._socket} did not answer: {error}") from None

    def ask(self, method: str, path: str, *, accept: Sequence[int] = (200,), **request: Any) -> dict[str, Any]:
        """One request. Raises InputError for what the controller says is wrong with it, ZethaneError otherwise."""
        with self._client() as client:
            response = client.request(method, f"/v1{path}", **request)
        answer = self._parse(response.text)
        if response.status_code in accept:
            return answer
        detail = str(answer.get("detail", response.status_code))
        if response.status_code == 422:
            raise InputError([Problem(path.strip("/"), detail)])
        raise ZethaneError(detail)

    def follow(self) -> Iterator[dict[str, Any]]:
        """The decision log's records as they come. Raises ZethaneError when the controller ends."""
        with self._client(None) as client, client.stream("GET", "/v1/decisions/stream") as response:
            if response.status_code != httpx.codes.OK:
                raise ZethaneError(f"the controller at {self._socket} answered with status {response.status_code}")
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield self._parse(line.removeprefix("data: "))

    def _parse(self, text: str) -> dict[str, Any]:
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ZethaneError(f"what answers at {self._socket} is no controller, or a busy one: {text[:80]!r}")
        return answer


SESSION_COLUMNS = ("session", "principal", "via", "aal", "proved", "ends", "segment", "at")


def sessions(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Who is logged in where: by which methods, how strongly, since when and until when. Times are UTC."""
    answer = Api(socket).ask("GET", "/sessions")
    show(answer, [_session_row(one) for one in answer["sessions"]], SESSION_COLUMNS, as_json=as_json)


def _session_row(session: Mapping[str, Any]) -> dict[str, Any]:
    """A session with a line for each of its proofs, and what it is attached to line by line."""
    proofs = session["proofs"]
    place = f"{session['dpid'].lstrip('0') or '0'}:{session['port']}"
    vlan = f" VLAN {session['vlan']}" if session["vlan"] else ""
    return {
        **session,
        "principal": [proof["account"] for proof in proofs],
        "via": [proof["method"] for proof in proofs],
        "aal": [proof["aal"] for proof in proofs],
        "proved": [_short(proof["at"]) for proof in proofs],
        "ends": [_short(proof["ends"]) for proof in proofs],
        "at": [place + vlan, session["mac"], *session["addresses"]],
    }


def _short(moment: str | None) -> str:
    """A moment in RFC 3339 as people read it: of another day with its date."""
    if moment is None:
        return "never"
    day, time = moment[:10], moment[11:19]
    return time if day == datetime.now(timezone.utc).date().isoformat() else f"{day[5:]} {time[:5]}"


def flows(
    socket: SocketOption = DEFAULT_SOCKET,
    session: Annotated[int | None, typer.Option(help="Only those of this session.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest of them.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Live flows, with the rule that allows each."""
    params = {"limit": limit, **({"session": session} if session is not None else {})}
    answer = Api(socket).ask("GET", "/flows", params=params)
    columns = ("subject_principal", "source", "object_principal", "destination", "service", "rule", "since")
    show(answer, answer["flows"], columns, as_json=as_json)


def revoke(
    who: Annotated[str, typer.Argument(help="A principal (alice, user:alice), a session's number, or an address.")],
    socket: SocketOption = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """End sessions at once; their established flows stop. Exit status 1 if there are none."""
    answer = Api(socket).ask("POST", "/revoke", json=_revocation(who))
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        ended = ", ".join(map(str, answer["sessions"]))
        typer.echo(f"Ended: session {ended}." if ended else f"No session is of, at or numbered {who}.")
    if not answer["sessions"]:
        raise typer.Exit(EXIT_NO)


def _revocation(who: str) -> dict[str, Any]:
    if who.isascii() and who.isdecimal():
        return {"session": int(who)}
    try:
        return {"address": str(ipaddress.ip_address(who))}
    except ValueError:
        return {"principal": who}


def explain(
    source: Annotated[str, typer.Argument(help="Address, principal or number of the subject.")],
    target: Annotated[str, typer.Argument(help="Address, principal or number of the object.")],
    service: Annotated[str, typer.Argument(help="Such as tcp/443.")],
    socket: SocketOption = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """The decision between two live sessions and its reason. Exit status 1 for a deny."""
    answer = Api(socket).ask("GET", "/explain", params={"from": source, "to": target, "service": service})
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        place = f" ({answer['place']})" if answer.get("place") else ""
        typer.echo(_printable(f"{answer['decision']}: {answer['reason']}{place}"))
        if lacking := answer.get("lacking"):
            typer.echo(_printable(f"rule {lacking['rule']} would allow it with {' and '.join(lacking['needs'])}"))
        if staged := answer.get("staged"):
            typer.echo(_printable(f"with what is staged: {staged['decision']}: {staged['reason']}"))
    if answer["decision"] != "allow":
        raise typer.Exit(EXIT_NO)


def decisions(
    socket: SocketOption = DEFAULT_SOCKET,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest of them.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The newest records of the decision log."""
    api = Api(socket)
    for record in api.ask("GET", "/decisions", params={"limit": limit})["decisions"]:
        _print_record(record, as_json=as_json)
    if not follow:
        return
    try:
        for record in api.follow():
            _print_record(record, as_json=as_json)
    except KeyboardInterrupt:
        return  # the way to end it


def _print_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(record))
        return
    what = record.get("decision") or record.get("reason") or ""
    parties = [(record.get(role) or {}).get("principal") for role in ("subject", "object")]
    ends = [
        name or record.get(address) or "?" for name, address in zip(parties, ("source", "destination"), strict=True)
    ]
    flow = f"{ends[0]} -> {ends[1]} {record.get('service') or ''}" if record.get("source") else (parties[0] or "")
    why = record.get("rule") or record.get("detail") or (record.get("reason") if record.get("decision") else "") or ""
    if staged := record.get("staged"):
        by = f" by {staged['rule']}" if staged.get("rule") else ""
        why = f"{why} (staged: {staged.get('decision')}{by})".strip()
    place = f"{record['switch']}:{record['port']}" if "port" in record else record.get("switch", "")
    time, event = record.get("time", ""), record.get("event", "")
    if event == "lost":
        why = f"{record.get('records')} records"
    typer.echo(_printable(f"{time}  {event:<10} {what:<12} {flow}  {why}  {place}".rstrip()))


def switches(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """The switches, and whether each has its tables."""
    answer = Api(socket).ask("GET", "/switches")
    columns: tuple[str, ...] = ("name", "dpid", "connected", "ready", "since", "ports", "sessions", "remote_sessions")
    columns += ("suppressed", "attested", "repaired")
    show(answer, answer["switches"], columns, as_json=as_json)


def links(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """The links between switches. Exit status 1 if one leads elsewhere or could not be confirmed."""
    answer = Api(socket).ask("GET", "/links")
    columns = ("a", "b", "origin", "state", "used", "confirmed", "detail")
    show(answer, answer["links"], columns, as_json=as_json)
    if any(link["state"] in ("contradicted", "unconfirmed") for link in answer["links"]):
        raise typer.Exit(EXIT_NO)


def sources(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """The systems outside that say who somebody is, and how each does. Exit status 1 if one is down."""
    answer = Api(socket).ask("GET", "/sources")
    show(answer, answer["sources"], ("kind", "name", "state", "since", "detail"), as_json=as_json)
    if any(source["state"] == "down" for source in answer["sources"]):
        raise typer.Exit(EXIT_NO)


def counters(
    socket: SocketOption = DEFAULT_SOCKET,
    everything: Annotated[bool, typer.Option("--all", help="Those that are 0 as well.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Everything that is counted: denials, drops of meters and queues, sessions, flows."""
    answer = Api(socket).ask("GET", "/counters")
    rows = [
        {
            **one,
            "labels": " ".join(f"{name}={value}" for name, value in one["labels"].items()),
            "value": f"{one['value']:g}",
        }
        for one in answer["counters"]
        if everything or one["value"]
    ]
    show(answer, rows, ("name", "labels", "value", "help"), as_json=as_json)


def reload(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Read the policy file and identities.yaml again now; a bad one is refused and the old one stays."""
    answer = Api(socket).ask("POST", "/policy/reload")
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        typer.echo(f"In force: {answer['version'][:12]}, {answer['rules']} rules, loaded {answer['loaded']}.")
        if answer.get("staged_rules"):
            typer.echo(f"Staged: {answer['staged_rules']} rules. {_STAGED.get(answer['stage'], '')}".rstrip())


def health(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Whether everything that is described is there and works. Exit status 1 if not."""
    answer = Api(socket).ask("GET", "/health", accept=(200, 503))
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        for name, value in answer.items():
            text = ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else value
            typer.echo(f"{name.replace('_', ' ')}: {text}")
        if (stage := answer.get("policy_stage")) in _STAGED:
            typer.secho(_STAGED[stage], fg=typer.colors.YELLOW, err=True)
    if answer["status"] != "ok":
        raise typer.Exit(EXIT_NO)


_STAGED = {
    "open": "The policy is staged, and none was in force before: every session may open everything to every other.",
    "audit": "The policy is staged: the one that was in force before still is.",
}


_WHOLE = frozenset(("session", "principal", "via", "aal", "proved", "ends"))
"""Columns whose lines belong together."""


def show(answer: object, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), no_wrap=column in _WHOLE, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    wide_console(250).print(table)


def _cell(value: object) -> Text:
    """A value as plain text: a name is no markup, and steers no terminal."""
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list):
        return Text("\n".join(_printable(str(one)) for one in value))
    return Text("" if value is None else _printable(str(value)))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
