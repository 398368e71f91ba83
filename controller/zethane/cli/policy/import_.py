"""`zethane policy import`: policy of other systems, as files of this one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zethane.app.files import read_text
from zethane.app.topology import IDENTITIES_FILE, POLICY_FILE
from zethane.cli.ending import EXIT_DONE, EXIT_NO
from zethane.cli.policy.given import JsonOption, problems_exit
from zethane.cli.policy.output import write_new, writing
from zethane.cli.policy.text import print_json
from zethane.convert import Imported, import_kubernetes, import_openstack
from zethane.convert.objects import MAX_BYTES
from zethane.document import count
from zethane.errors import InputError, Problem

app = typer.Typer(no_args_is_help=True, help="Make a policy of what another system says.")

FilesArgument = Annotated[list[str], typer.Argument(help="Files; - is standard input.", metavar="FILE...")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="The folder for policy.yaml and identities.yaml.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Write over files that are there.")]
LossesOption = Annotated[
    bool, typer.Option("--accept-losses", help="What cannot be expressed is known: write it, and end with status 0.")
]
AuditOption = Annotated[bool, typer.Option("--audit", help="A policy that is decided and logged, not enforced.")]


@app.command("kubernetes")
def kubernetes_command(
    files: FilesArgument,
    output: OutputOption = None,
    force: ForceOption = False,
    accept_losses: LossesOption = False,
    audit: AuditOption = False,
    blocks_hold_pods: Annotated[
        bool, typer.Option("--blocks-hold-pods", help="An ipBlock means pods, too, by the addresses they have now.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take over NetworkPolicies, with the pods and namespaces that they select: what kubectl get -o yaml prints."""
    with problems_exit(as_json):
        imported = import_kubernetes(_texts(files), blocks_hold_pods, audit)
        written = _write(imported, output, force, accept_losses)
    _finish(imported, written, output, accept_losses, as_json)


@app.command("openstack")
def openstack_command(
    files: FilesArgument,
    output: OutputOption = None,
    force: ForceOption = False,
    accept_losses: LossesOption = False,
    audit: AuditOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take over security groups, with the servers in them: what openstack security group rule list -f json prints."""
    with problems_exit(as_json):
        imported = import_openstack(_texts(files), audit)
        written = _write(imported, output, force, accept_losses)
    _finish(imported, written, output, accept_losses, as_json)


def _texts(files: list[str]) -> dict[str, str]:
    """What is in the files, by their names. Raises InputError."""
    found: dict[str, str] = {}
    for file in files:
        if file in found:
            raise InputError([Problem(file, "is named twice")])
        found[file] = _standard_input() if file == "-" else read_text(Path(file), MAX_BYTES)
    return found


def _standard_input() -> str:
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError([Problem("-", f"expected at most {MAX_BYTES} bytes")])
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InputError([Problem("-", "expected UTF-8")]) from None


def _write(imported: Imported, output: Path | None, force: bool, accept_losses: bool) -> list[str]:
    """The files that were written. Nothing is where that could open what was closed, until somebody has said yes."""
    if output is None or (imported.opens and not accept_losses):
        return []
    texts = {output / POLICY_FILE: imported.policy_text, output / IDENTITIES_FILE: imported.identities_text}
    with writing(str(output)):
        output.mkdir(parents=True, exist_ok=True)
    return write_new(texts, force=force)


def _finish(imported: Imported, written: list[str], output: Path | None, accept_losses: bool, as_json: bool) -> None:
    """Say what was done and what was lost. Losses are an answer of no unless somebody has accepted them."""
    refused = imported.opens and not accept_losses
    if as_json:
        print_json({**imported.view(), "written": written})
    elif output is None and not refused:
        typer.echo(imported.policy_text, nl=False)
    if not as_json:
        for loss in imported.losses:
            typer.echo(f"lost    {loss}" + (" (opens)" if loss.opens else ""), err=True)
        for note in imported.notes:
            typer.echo(f"note    {note}", err=True)
        policy = imported.policy
        counts = (
            count(len(policy.segments), "segment"),
            count(len(policy.rules), "rule"),
            count(len(imported.workloads), "workload"),
        )
        lost = count(len(imported.losses), "thing is not expressed", "things are not expressed")
        typer.echo(f"{', '.join(counts)}; {lost}", err=True)
        if refused:
            message = "nothing is written: it may allow more than the original; --accept-losses writes it all the same"
            typer.echo(message, err=True)
    raise typer.Exit(EXIT_NO if imported.losses and not accept_losses else EXIT_DONE)
