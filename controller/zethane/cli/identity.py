"""`zethane identity`: what goes into identities.yaml, how those do who vouch for others, and who is blocked."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from typing import Annotated

import argon2
import pyotp
import typer
from pydantic import SecretStr

from zethane.cli.blocks import block, blocks, unblock
from zethane.cli.ending import EXIT_DONE, EXIT_NO, told_problems
from zethane.cli.factors import factors, reset_factors
from zethane.cli.operate import sources
from zethane.cli.secrets_input import read_secret
from zethane.errors import InputError, Problem
from zethane.identity.credential import MAX_SECRET, Credential
from zethane.identity.directory import MIN_TOTP_BITS, secret_bytes
from zethane.identity.totp import accepted_step

app = typer.Typer(
    no_args_is_help=True,
    help="Make hashes, second factors and tokens, and show the sources of other identities.",
    pretty_exceptions_show_locals=False,  # there are secrets among them
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


app.command("sources")(sources)
app.command("block")(block)
app.command("unblock")(unblock)
app.command("list")(blocks)
app.command("factors")(factors)
app.command("reset-factors")(reset_factors)


@app.command("hash")
def hash_command(as_json: JsonOption = False) -> None:
    """Hash a password or secret, from a prompt or from standard input (argon2id, RFC 9106)."""
    with told_problems():
        secret = read_secret("Password or secret", again=True)
        if len(secret.encode("utf-8", "surrogateescape")) > MAX_SECRET:
            raise InputError([Problem("standard input", f"expected at most {MAX_SECRET} bytes")])
        hashed = argon2.PasswordHasher().hash(Credential("user", "x", secret).secret)
    typer.echo(json.dumps({"hash": hashed}) if as_json else hashed)


@app.command("token")
def token_command(as_json: JsonOption = False) -> None:
    """Make a bearer token for a transmitter or a reporter, and its SHA-256 for sources.yaml."""
    token = secrets.token_urlsafe(32)
    digest = f"sha256:{hashlib.sha256(token.encode('ascii')).hexdigest()}"
    if as_json:
        typer.echo(json.dumps({"token": token, "hash": digest}))
    else:
        typer.echo(f'{token}\ntoken: "{digest}"')


@app.command("totp")
def totp_command(
    account: Annotated[str, typer.Option(help="Name shown in the authenticator app.")] = "user",
    issuer: Annotated[str, typer.Option(help="Network shown in the authenticator app.")] = "Zethane",
    check: Annotated[bool, typer.Option("--check", help="Read a secret and a code, and say whether they fit.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a second factor (TOTP, RFC 6238), with the link that authenticator apps take."""
    if check:
        _check_code(as_json)
        return
    secret = pyotp.random_base32()
    link = pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)
    if as_json:
        typer.echo(json.dumps({"secret": secret, "uri": link}))
    else:
        typer.echo(f"totp: {secret}\n{link}")


def _check_code(as_json: bool) -> None:
    with told_problems():
        secret = read_secret("TOTP secret").replace(" ", "").upper()
        key = secret_bytes(SecretStr(secret))
        if len(key) * 8 < MIN_TOTP_BITS:
            raise InputError([Problem("standard input", f"expected a base32 secret of at least {MIN_TOTP_BITS} bits")])
        code = read_secret("Code").replace(" ", "")
    fits = accepted_step(key, code, time.time()) is not None
    typer.echo(json.dumps({"fits": fits}) if as_json else "The code fits." if fits else "The code does not fit.")
    raise typer.Exit(EXIT_DONE if fits else EXIT_NO)
