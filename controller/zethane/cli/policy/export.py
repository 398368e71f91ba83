"""`zethane policy export`: what a policy says, in the words of another system."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from zethane.app.files import read_text
from zethane.app.topology import Topology
from zethane.cli.ending import EXIT_DONE, EXIT_NO
from zethane.cli.policy.given import JsonOption, TopologyArgument, find_topology, problems_exit
from zethane.cli.policy.output import write_new
from zethane.cli.policy.text import print_json
from zethane.convert import Known, export_nftables
from zethane.document import closest, quote
from zethane.errors import InputError, Problem
from zethane.net.prefix import Prefix
from zethane.network.outside import own_prefixes
from zethane.policy.principal import External, Party, Principal
from zethane.replay.attribution import Entity, told_by
from zethane.replay.mapping import parse_map
from zethane.replay.naming import Names

app = typer.Typer(no_args_is_help=True, help="Say what a policy says to another system.")


@app.command("nftables")
def nftables_command(
    topology: TopologyArgument,
    whose: Annotated[str, typer.Argument(metavar="HOST|PRINCIPAL", help="web1, workload:web1, user:alice, …")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file for the ruleset.")] = None,
    mapping: Annotated[
        Path | None, typer.Option("--map", help="A file that says who has which address, as for replay.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    accept_losses: Annotated[
        bool, typer.Option("--accept-losses", help="What cannot be expressed is known: end with status 0.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print a ruleset for a host outside the fabric: its own packet filter does what the policy says of it."""
    with problems_exit(as_json):
        found = find_topology(topology)
        names = Names(found, found.policy)
        principal = _principal(found, names, whose)
        exported = export_nftables(found.policy, principal, _known(found, names, whose, mapping))
        written = [] if output is None else write_new({output: exported.text}, force=force)
    if as_json:
        print_json({**exported.view(), "written": written})
    else:
        if output is None:
            typer.echo(exported.text, nl=False)
        for loss in exported.losses:
            typer.echo(f"lost    {loss}", err=True)
        for note in exported.notes:
            typer.echo(f"note    {note}", err=True)
    raise typer.Exit(EXIT_NO if exported.losses and not accept_losses else EXIT_DONE)


def _principal(topology: Topology, names: Names, whose: str) -> Principal:
    """Who is meant. Raises InputError."""
    if ":" not in whose and whose not in topology.hosts:
        near = closest(whose, topology.hosts) or ";"
        message = f"no host of network.yaml has this name{near} principals are written workload:NAME, user:NAME, …"
        raise InputError([Problem(quote(whose), message)])
    text = whose if ":" in whose else f"host:{whose}"
    try:
        entity = names.entity(text, "")
    except ValueError as error:
        raise InputError([Problem(quote(whose), str(error))]) from None
    if entity.party is None:
        raise InputError([Problem(quote(whose), "expected somebody who logs in")])
    return entity.party


def _known(topology: Topology, names: Names, whose: str, mapping: Path | None) -> Known:
    """Who has which address: by the mapping file, then by network.yaml. Raises InputError."""
    parties: dict[Prefix, Party] = {
        prefix: _party(entity, prefix) for prefix, entity in told_by(topology).prefixes.items()
    }
    if mapping is not None:
        told = parse_map(read_text(mapping), str(mapping), names)
        if told.macs:
            raise InputError(
                [Problem(str(mapping), "expected addresses and prefixes: this filter knows no MAC addresses")]
            )
        parties |= {prefix: _party(entity, prefix) for prefix, entity in told.prefixes.items()}
    network = topology.network
    if network is None:
        return Known(parties, missing=_missing(topology, parties))
    if whose in network.hosts:
        # From outside, none of its own addresses is anybody.
        own = {ip for interface in network.hosts[whose].interfaces for ip in [interface.ip]}
        parties = {prefix: None if prefix.network_address in own else party for prefix, party in parties.items()}
    outside = [prefix for uplink in network.uplinks.values() for prefix in uplink.networks]
    return Known(parties, outside, own_prefixes(network), _missing(topology, parties))


def _party(entity: Entity, prefix: Prefix) -> Party:
    return External(prefix.network_address) if entity.is_outside else entity.party


def _missing(topology: Topology, parties: Mapping[Prefix, Party]) -> list[Principal]:
    """Everybody who may have a session, and whose addresses nothing says."""
    known = {(party.kind, party.name) for party in parties.values() if isinstance(party, Principal)}
    return [one for one, _ in topology.directory.population() if (one.kind, one.name) not in known]
