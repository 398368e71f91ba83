"""`zethane run`: the controller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zethane.adapters.openflow.reception import receive
from zethane.errors import InputError, Problem
from zethane.pipeline.fabric import MAX_SWITCH
from zethane.pipeline.grants import MAX_ZONE

if TYPE_CHECKING:
    from zethane.app.settings import ApiTls

HOURS = 3600.0


def run(
    topology: Annotated[Path, typer.Argument(help="Folder with policy.yaml, identities.yaml and network.yaml.")],
    state_dir: Annotated[
        Path, typer.Option(help="Sockets, store and decision log.", envvar="ZETHANE_STATE_DIR")
    ] = Path("/run/zethane"),
    openflow: Annotated[str, typer.Option(help="HOST:PORT for switches; port 0 takes a free one.")] = "127.0.0.1:6653",
    openflow_tls: Annotated[
        tuple[Path, Path, Path] | None,
        typer.Option(metavar="CERTIFICATE KEY CA", help="PEM files; every switch needs a certificate of this CA."),
    ] = None,
    api: Annotated[str | None, typer.Option(help="HOST:PORT for the API over TLS, beside its unix socket.")] = None,
    api_tls: Annotated[
        tuple[Path, Path, Path] | None,
        typer.Option(metavar="CERTIFICATE KEY CA", help="PEM files; every client needs a certificate of this CA."),
    ] = None,
    session_lifetime: Annotated[float, typer.Option(min=1, help="Seconds after which a session ends.")] = 8 * HOURS,
    reauthenticate_after: Annotated[
        float, typer.Option(min=1, help="Seconds after which a session ends unless its principal logs in again.")
    ] = 8 * HOURS,
    flows_per_session: Annotated[int, typer.Option(min=1, help="Live flows that one session may open.")] = 4096,
    flows_per_uplink: Annotated[
        int, typer.Option(min=1, help="Live flows that may be opened from outside through one uplink.")
    ] = 16384,
    flows_per_external_address: Annotated[
        int, typer.Option(min=1, help="Live flows that may be opened from one address outside.")
    ] = 512,
    flows_per_switch: Annotated[int, typer.Option(min=1, help="Live flows that one switch may hold.")] = 250_000,
    timed_flows_per_switch: Annotated[
        int, typer.Option(min=0, help="Those of them whose entries expire in the switch by themselves.")
    ] = 256,
    rules_wait_from: Annotated[
        int,
        typer.Option(
            min=0,
            help="New UDP flows per second and switch from which on rules wait until a flow goes on.",
        ),
    ] = 1000,
    verify_rate: Annotated[int, typer.Option(min=1, help="New flows per second and port.")] = 5000,
    neighbour_rate: Annotated[int, typer.Option(min=1, help="ARP and ND questions per second and port.")] = 100,
    protocol_rate: Annotated[int, typer.Option(min=1, help="DHCP, LLDP, router messages per second and port.")] = 100,
    deny_log_rate: Annotated[int, typer.Option(min=1, help="Denied packets per second and port to log.")] = 50,
    attest_interval: Annotated[
        float, typer.Option(min=1, help="Seconds after which a switch's tables are read back and put right.")
    ] = 30.0,
    grant_rate: Annotated[
        int, typer.Option(min=1, help="Connections per second and port that switches let in themselves.")
    ] = 20_000,
    grant_log_rate: Annotated[
        int, typer.Option(min=1, help="Connections that switches let in themselves, per second and switch, to log.")
    ] = 1000,
    conntrack_zones: Annotated[
        int,
        typer.Option(
            min=0,
            max=MAX_ZONE - MAX_SWITCH,
            help="Zones of connection tracking: this and a switch's number. Each controller of one daemon has its own.",
        ),
    ] = 0,
    sources: Annotated[Path | None, typer.Option(help="A sources.yaml in the place of the topology's.")] = None,
    log_json: Annotated[bool, typer.Option(help="Log to standard error as JSON.")] = False,
) -> None:
    """Run the controller until SIGTERM or Ctrl-C."""
    host, port = _address("--openflow", openflow)
    reception = receive(host, port) if openflow_tls is None else None
    # Switches that try meanwhile are greeted: all of this takes a second to be imported.
    from zethane.adapters.openflow.listener import TlsFiles
    from zethane.api.listeners import serve_all
    from zethane.app.run import run as run_controller
    from zethane.app.settings import Settings
    from zethane.cli.logs import log_to_stderr
    from zethane.service.points import MeterRates
    from zethane.service.state import Limits

    log_to_stderr(as_json=log_json)
    limits = Limits(
        flows_per_session=flows_per_session,
        flows_per_switch=flows_per_switch,
        timed_flows_per_switch=timed_flows_per_switch,
        rules_wait_from=rules_wait_from,
        flows_per_uplink=flows_per_uplink,
        flows_per_external_address=flows_per_external_address,
        session_lifetime=session_lifetime,
        reauthenticate_after=reauthenticate_after,
        meters=MeterRates(
            verify=verify_rate,
            neighbour=neighbour_rate,
            protocol=protocol_rate,
            denied=deny_log_rate,
            record=grant_log_rate,
            opening=grant_rate,
        ),
    )
    settings = Settings(
        topology,
        state_dir,
        host,
        port,
        TlsFiles(*openflow_tls) if openflow_tls else None,
        _api_tls(api, api_tls),
        limits,
        attest_interval,
        conntrack_zones,
        sources,
    )
    run_controller(settings, serve_all, reception)


def _api_tls(address: str | None, files: tuple[Path, Path, Path] | None) -> ApiTls | None:
    if address is None and files is None:
        return None
    if address is None or files is None:
        raise InputError([Problem("--api", "--api and --api-tls go together")])
    from zethane.app.settings import ApiTls

    host, port = _address("--api", address)
    return ApiTls(host, port, *files)


def _address(option: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 0xFFFF:
        raise InputError([Problem(option, f"expected HOST:PORT, not {text!r}")])
    return host.strip("[]"), int(port)
