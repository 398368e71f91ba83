"""`zethane run`: the controller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zethane.adapters.openflow.reception import receive
from zethane.cli.run_options import (
    ApiAddress,
    ApiTlsFiles,
    AttestInterval,
    ConntrackZones,
    DenyLogRate,
    FlowsPerExternalAddress,
    FlowsPerSession,
    FlowsPerSwitch,
    FlowsPerUplink,
    GrantLogRate,
    GrantRate,
    LogJson,
    NeighbourRate,
    Nice,
    OpenflowAddress,
    OpenflowTls,
    ProtocolRate,
    ReauthenticateAfter,
    RulesWaitFrom,
    SessionLifetime,
    SourcesFile,
    StateDir,
    TimedFlowsPerSwitch,
    TopologyFolder,
    VerifyRate,
)
from zethane.errors import InputError, Problem

if TYPE_CHECKING:
    from zethane.app.settings import ApiTls

HOURS = 3600.0


def run(
    topology: TopologyFolder,
    state_dir: StateDir = Path("/run/zethane"),
    openflow: OpenflowAddress = "127.0.0.1:6653",
    openflow_tls: OpenflowTls = None,
    api: ApiAddress = None,
    api_tls: ApiTlsFiles = None,
    session_lifetime: SessionLifetime = 8 * HOURS,
    reauthenticate_after: ReauthenticateAfter = 8 * HOURS,
    flows_per_session: FlowsPerSession = 4096,
    flows_per_uplink: FlowsPerUplink = 16384,
    flows_per_external_address: FlowsPerExternalAddress = 512,
    flows_per_switch: FlowsPerSwitch = 250_000,
    timed_flows_per_switch: TimedFlowsPerSwitch = 256,
    rules_wait_from: RulesWaitFrom = 1000,
    verify_rate: VerifyRate = 5000,
    neighbour_rate: NeighbourRate = 100,
    protocol_rate: ProtocolRate = 100,
    deny_log_rate: DenyLogRate = 50,
    attest_interval: AttestInterval = 30.0,
    grant_rate: GrantRate = 20_000,
    grant_log_rate: GrantLogRate = 200,
    conntrack_zones: ConntrackZones = 0,
    nice: Nice = -10,
    sources: SourcesFile = None,
    log_json: LogJson = False,
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
        nice,
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
