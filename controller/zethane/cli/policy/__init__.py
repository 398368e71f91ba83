"""`zethane policy`: what people ask of a policy before, while and after it is in force. One module per command."""

from __future__ import annotations

import typer

from zethane.cli.policy.blast_radius import blast_radius_command
from zethane.cli.policy.check import check_command
from zethane.cli.policy.diff import diff_command
from zethane.cli.policy.explain import explain_command
from zethane.cli.policy.export import app as export_app
from zethane.cli.policy.graph import graph_command
from zethane.cli.policy.import_ import app as import_app
from zethane.cli.policy.matrix import matrix_command
from zethane.cli.policy.recommend import recommend_command
from zethane.cli.policy.schema import schema_command
from zethane.cli.policy.trial import run_tests_command
from zethane.cli.policy.whatif import whatif_command

app = typer.Typer(no_args_is_help=True, help="Check, explain, compare, try and draw policies.")
app.command("blast-radius")(blast_radius_command)
app.command("check")(check_command)
app.command("diff")(diff_command)
app.command("explain")(explain_command)
app.command("graph")(graph_command)
app.command("matrix")(matrix_command)
app.command("recommend")(recommend_command)
app.command("schema")(schema_command)
app.command("test")(run_tests_command)
app.command("whatif")(whatif_command)
app.add_typer(export_app, name="export")
app.add_typer(import_app, name="import")
