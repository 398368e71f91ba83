"""Second factors as operators see and reset them: the API, and the commands over it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fakes.operated import Operated
from fakes.portal_site import PortalSite, directory
from fakes.records import MemoryStore
from zethane.api.app import create_app
from zethane.api.factors import add_factors
from zethane.api.server import serve_unix
from zethane.cli.factors import factors, reset_factors
from zethane.errors import ZethaneError
from zethane.identity.factor import Passkey, RecoveryCode, TotpFactor
from zethane.service.authentication import Authenticator
from zethane.service.enrolment import Enrolment

commands = typer.Typer()
commands.command("factors")(factors)
commands.command("reset-factors")(reset_factors)


class Served:
    """An API on a socket, with alice's factors in the file and in the store."""

    def __init__(self, path: Path, site: PortalSite) -> None:
        self.path = path
        self.site = site

    async def run(self, *arguments: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, commands, [*arguments, "--socket", str(self.path)])
        if done.exception is not None:
            raise done.exception
        return done.output


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    site, store = PortalSite(), MemoryStore()
    store.save_factor(
        Passkey("passkey:AQ", "alice", 1.0, "lap\x1btop", "portal.example", b"h", b"key", 1, False, True, 2.0)
    )
    store.save_factor(TotpFactor("totp:x", "alice", 1.0, b"not to be shown"))
    store.replace_factors("alice", "recovery", [RecoveryCode("recovery:1", "alice", 1.0)])
    with ThreadPoolExecutor(1) as pool:
        logins = Authenticator(site, directory(), store, site.clock, pool, site.refused)
        app = create_app(Operated())
        add_factors(app, Enrolment(site, logins, store, site.clock, site.factor_changed))
        server = await serve_unix(app, tmp_path / "api.sock")
        try:
            yield Served(tmp_path / "api.sock", site)
        finally:
            await server.stop()


async def test_operators_see_what_a_user_has_and_no_secret(served: Served) -> None:
    shown = json.loads(await served.run("factors", "alice", "--json"))
    assert shown["in_file"]
    assert shown["recovery_codes"] == 1
    assert [one["kind"] for one in shown["factors"]] == ["passkey", "totp"]
    assert {"key", "public_key", "id", "handle"}.isdisjoint({key for one in shown["factors"] for key in one})
    table = await served.run("factors", "alice")
    assert "\x1b" not in table
    for word in ("totp:file", "1 codes left", "passkey:"):
        assert word in table


async def test_operators_delete_all_that_a_user_has_enrolled(served: Served) -> None:
    assert "3 second factors of alice" in await served.run("reset-factors", "alice")
    assert served.site.factor_events == [("reset", "user:alice", "3 factors")]
    assert json.loads(await served.run("factors", "alice", "--json"))["factors"] == []
    assert "0 second factors" in await served.run("reset-factors", "alice")


async def test_a_name_that_nobody_has_is_an_error(served: Served) -> None:
    for command in ("factors", "reset-factors"):
        with pytest.raises(ZethaneError, match="nobody has this name"):
            await served.run(command, "no/body")
