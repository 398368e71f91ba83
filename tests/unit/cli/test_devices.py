"""Devices and their posture at the command line: what an agent reports, and what an operator sees."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes.issuer import issuer
from fakes.operated import Operated
from fakes.signals_site import AGENT, MDM, signals_site
from zethane.adapters.http.server import GuardedServer, Listen, open_sockets
from zethane.api.app import create_app
from zethane.api.server import serve_unix
from zethane.cli.measure import disk_encrypted, measured
from zethane.identity.posture import check_attributes

PROGRAM = "import sys; from zethane.cli.main import main; sys.exit(main())"
REPORT = {"device": "laptop", "measured": "2023-11-14T22:13:00Z", "attributes": {"disk_encrypted": True}}
NOW = 1_700_000_000.0


async def zethane(*arguments: str, text: str = "", **environment: str) -> tuple[int, str]:
    """The command's exit status and all that it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    said, _ = await asyncio.wait_for(process.communicate(text.encode()), 60)
    assert process.returncode is not None
    assert b"Traceback" not in said, said
    return process.returncode, said.decode()


async def test_an_operator_sees_devices_and_reports(tmp_path: Path) -> None:
    controller = Operated()
    server = await serve_unix(create_app(controller), tmp_path / "api.sock")
    at = ("--socket", str(tmp_path / "api.sock"))
    try:
        status, said = await zethane("device", "list", *at)
        assert (status, "disk_encrypted=yes" in said, "alice" in said) == (0, True, True)
        assert json.loads((await zethane("device", "list", "--json", *at))[1])["devices"][0]["device"] == "laptop"
        status, said = await zethane("device", "show", "laptop", *at)
        assert (status, "disk_encrypted" in said) == (0, True)
        assert await zethane("device", "show", "desk", *at) == (1, "No device named desk is known.\n")
        assert (await zethane("posture", "show", "laptop", *at))[0] == 0
        status, said = await zethane("posture", "report", "-", *at, text=json.dumps(REPORT))
        assert (status, said) == (0, "Taken: laptop, measured 2023-11-14T22:13:00.000Z.\n")
        assert [report.reporter for report in controller.reports] == ["operator"]
        wrong = json.dumps(REPORT | {"measured": "yesterday"})
        assert (await zethane("posture", "report", "-", *at, text=wrong))[0] == 2
    finally:
        await server.stop()


async def test_an_agent_reports_with_its_token(tmp_path: Path) -> None:
    with issuer() as signer:
        async with signals_site(signer, NOW, tmp_path) as here:
            (listening,) = open_sockets([Listen("127.0.0.1", 0)])
            transport = here.client._transport
            assert isinstance(transport, httpx.ASGITransport)
            application: Any = transport.app
            server = GuardedServer(application, [listening])
            to = ("--to", f"http://127.0.0.1:{listening.getsockname()[1]}")
            await server.start()
            try:
                await _reports(tmp_path, to)
            finally:
                await server.stop()
            facts = here.devices.postures.facts("laptop")
            assert facts is not None
            assert facts.posture == (("disk_encrypted", True),)


async def _reports(folder: Path, to: tuple[str, str]) -> None:
    file, token = folder / "report.json", folder / "token"
    file.write_text(json.dumps(REPORT), encoding="utf-8")
    token.write_text(AGENT + "\n", encoding="utf-8")
    token.chmod(0o600)
    status, said = await zethane("posture", "report", str(file), *to, "--token-file", str(token))
    assert (status, said) == (0, "Taken: laptop, measured 2023-11-14T22:13:00.000Z.\n")
    status, said = await zethane("posture", "report", str(file), *to, ZETHANE_POSTURE_TOKEN=AGENT)
    assert (status, "is known already" in said) == (1, True)
    other = json.dumps(REPORT | {"device": "stranger"})
    assert (await zethane("posture", "report", "-", *to, text=other, ZETHANE_POSTURE_TOKEN=MDM))[0] == 1
    status, said = await zethane("posture", "report", str(file), *to, ZETHANE_POSTURE_TOKEN="guessed-secret")
    assert (status, "guessed-secret" in said) == (1, False)
    token.chmod(0o644)
    assert (await zethane("posture", "report", str(file), *to, "--token-file", str(token)))[0] == 2


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        (["report", "/nowhere.json"], "", "/nowhere.json"),
        (["report", "-"], "{", "standard input"),
        (["report", "-"], "[]", "standard input"),
        (["report", "-", "--to", "http://192.0.2.1:1"], "{}", "loopback"),
        (["report", "-", "--to", "ftp://localhost"], "{}", "https"),
        (["report", "-", "--to", "https://localhost:1"], "{}", "ZETHANE_POSTURE_TOKEN"),
        (["report", "-", "--to", "https://localhost:1", "--ca", "/nowhere.pem"], "{}", "/nowhere.pem"),
    ],
)
async def test_wrong_input_ends_with_status_2(arguments: list[str], text: str, said: str) -> None:
    status, output = await zethane("posture", *arguments, text=text)
    assert (status, said in output) == (2, True), output


async def test_a_token_comes_with_the_hash_of_sources_yaml() -> None:
    status, said = await zethane("identity", "token", "--json")
    made = json.loads(said)
    assert status == 0
    assert made["hash"] == "sha256:" + hashlib.sha256(made["token"].encode()).hexdigest()
    assert len(made["token"]) >= 43


def test_what_is_measured_here_can_be_reported() -> None:
    report = measured("laptop")
    assert report["device"] == "laptop"
    assert check_attributes(report["attributes"])


def tree(*devices: dict[str, Any]) -> dict[str, Any]:
    return {"blockdevices": list(devices)}


def disk(kind: str, *mounted: str | None, children: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"name": "x", "type": kind, "mountpoints": list(mounted), "children": children or []}


@pytest.mark.parametrize(
    ("blocks", "encrypted"),
    [
        (None, None),
        (tree(), None),
        (tree(disk("disk", None)), None),
        (tree(disk("disk", "/")), False),
        (tree(disk("disk", children=[disk("part", "/boot"), disk("part", children=[disk("crypt", "/")])])), True),
        (tree(disk("disk", children=[disk("crypt", children=[disk("lvm", "/"), disk("lvm", "/home")])])), True),
        (tree(disk("disk", children=[disk("crypt", "/"), disk("part", "/home")])), False),
    ],
)
def test_a_disk_is_encrypted_if_everything_mounted_lies_on_dm_crypt(blocks: Any, encrypted: bool | None) -> None:
    assert disk_encrypted(blocks) is encrypted
