"""What `zethane run` may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zethane.pipeline.fabric import MAX_SWITCH
from zethane.pipeline.grants import MAX_ZONE

TopologyFolder = Annotated[Path, typer.Argument(help="Folder with policy.yaml, identities.yaml and network.yaml.")]

StateDir = Annotated[Path, typer.Option(help="Sockets, store and decision log.", envvar="ZETHANE_STATE_DIR")]

OpenflowAddress = Annotated[str, typer.Option(help="HOST:PORT for switches; port 0 takes a free one.")]

OpenflowTls = Annotated[
    tuple[Path, Path, Path] | None,
    typer.Option(metavar="CERTIFICATE KEY CA", help="PEM files; every switch needs a certificate of this CA."),
]

ApiAddress = Annotated[str | None, typer.Option(help="HOST:PORT for the API over TLS, beside its unix socket.")]

ApiTlsFiles = Annotated[
    tuple[Path, Path, Path] | None,
    typer.Option(metavar="CERTIFICATE KEY CA", help="PEM files; every client needs a certificate of this CA."),
]

SessionLifetime = Annotated[float, typer.Option(min=1, help="Seconds after which a session ends.")]

ReauthenticateAfter = Annotated[
    float, typer.Option(min=1, help="Seconds after which a session ends unless its principal logs in again.")
]

FlowsPerSession = Annotated[int, typer.Option(min=1, help="Live flows that one session may open.")]

FlowsPerUplink = Annotated[
    int, typer.Option(min=1, help="Live flows that may be opened from outside through one uplink.")
]

FlowsPerExternalAddress = Annotated[
    int, typer.Option(min=1, help="Live flows that may be opened from one address outside.")
]

FlowsPerSwitch = Annotated[int, typer.Option(min=1, help="Live flows that one switch may hold.")]

TimedFlowsPerSwitch = Annotated[
    int, typer.Option(min=0, help="Those of them whose entries expire in the switch by themselves.")
]

RulesWaitFrom = Annotated[
    int,
    typer.Option(
        min=0,
        help="New UDP flows per second and switch from which on rules wait until a flow goes on.",
    ),
]

VerifyRate = Annotated[int, typer.Option(min=1, help="New flows per second and port.")]

NeighbourRate = Annotated[int, typer.Option(min=1, help="ARP and ND questions per second and port.")]

ProtocolRate = Annotated[int, typer.Option(min=1, help="DHCP, LLDP, router messages per second and port.")]

DenyLogRate = Annotated[int, typer.Option(min=1, help="Denied packets per second and port to log.")]

AttestInterval = Annotated[
    float, typer.Option(min=1, help="Seconds after which a switch's tables are read back and put right.")
]

GrantRate = Annotated[int, typer.Option(min=1, help="Connections per second and port that switches let in themselves.")]

GrantLogRate = Annotated[
    int, typer.Option(min=1, help="Connections that switches let in themselves, per second and switch, to log.")
]

ConntrackZones = Annotated[
    int,
    typer.Option(
        min=0,
        max=MAX_ZONE - MAX_SWITCH,
        help="Zones of connection tracking: this and a switch's number. Each controller of one daemon has its own.",
    ),
]

Nice = Annotated[
    int,
    typer.Option(
        min=-20,
        max=19,
        help="The controller's nice value, if it may choose and was not started with one. 0: as other processes.",
    ),
]

SourcesFile = Annotated[Path | None, typer.Option(help="A sources.yaml in the place of the topology's.")]

LogJson = Annotated[bool, typer.Option(help="Log to standard error as JSON.")]
