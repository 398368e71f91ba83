"""`zethane`: the root command. Each command imports only what it needs, so that `zethane login` starts fast."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Annotated

import typer

from zethane import __version__
from zethane.errors import InputError, ZethaneError

EXIT_NO, EXIT_INPUT = 1, 2

_COMMANDS = {
    "run": ("zethane.cli.run", "run", "The controller."),
    "portal": ("zethane.cli.portal", "portal", "The login page's process."),
    "login": ("zethane.cli.login", "login", "Log this host in."),
    "logout": ("zethane.cli.login", "logout", "Log this host out."),
    "policy": ("zethane.cli.policy", "app", "Check, explain, compare, try and draw policies."),
    "replay": ("zethane.cli.replay", "replay_command", "Recorded traffic held against a policy."),
    "identity": ("zethane.cli.identity", "app", "Hashes and second factors; sources of identities; blocked accounts."),
    "device": ("zethane.cli.device", "app", "Devices, and what is known of them."),
    "posture": ("zethane.cli.posture", "app", "Measure and report a device's posture."),
    "sessions": ("zethane.cli.operate", "sessions", "Who is logged in where."),
    "flows": ("zethane.cli.operate", "flows", "Live flows."),
    "revoke": ("zethane.cli.operate", "revoke", "End sessions, and with them their flows."),
    "explain": ("zethane.cli.operate", "explain", "The decision between two live sessions."),
    "decisions": ("zethane.cli.operate", "decisions", "The decision log's newest records."),
    "switches": ("zethane.cli.operate", "switches", "The switches and their state."),
    "counters": ("zethane.cli.operate", "counters", "What the controller and the meters have counted."),
    "links": ("zethane.cli.operate", "links", "The links between switches, and what was seen of them."),
    "reload": ("zethane.cli.operate", "reload", "Read the policy file again now."),
    "health": ("zethane.cli.operate", "health", "Whether everything works."),
}
"""Command: the module and name of its function or group, and its line in the help."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zethane {__version__}")
        raise typer.Exit


def _placeholder() -> None:
    """Stands in the help for a command that this run does not need."""


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Zero-trust microsegmentation for Open vSwitch."""
    del version


def _build(wanted: str | None) -> typer.Typer:
    """The command line, with the wanted command's module imported and no other."""
    root = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    root.callback()(_root)
    for name, (module, attribute, help_text) in _COMMANDS.items():
        found = getattr(importlib.import_module(module), attribute) if name == wanted else _placeholder
        if isinstance(found, typer.Typer):
            root.add_typer(found, name=name)
        else:
            root.command(name, help=help_text if found is _placeholder else None)(found)
    return root


def main() -> int:
    """Run the command line; the exit status: 0 done, 1 the answer is no, 2 the input is wrong."""
    wanted = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    if wanted == "run":
        gc.disable()  # until everything is there: what is imported stays
    try:
        _build(wanted)(prog_name="zethane")
    except InputError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return EXIT_INPUT
    except OSError as error:
        print(f"zethane: {error}", file=sys.stderr)
        return EXIT_NO
    except ZethaneError as error:
        print(f"zethane: {error}", file=sys.stderr)
        return EXIT_NO
    return 0
