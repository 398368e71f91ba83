"""The portal over HTTPS."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from fakes.portal_servers import backend_on, portal_before
from fakes.portal_site import PortalSite
from zethane.adapters.http.places import Places
from zethane.adapters.http.protocol import Deadlines
from zethane.adapters.http.server import Tls, tls_context
from zethane.errors import InputError
from zethane.portal.backend import ControllerBackend


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    folder = tmp_path_factory.mktemp("tls")
    tls = Tls(folder / "certificate.pem", folder / "key.pem")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=portal", "-addext", "subjectAltName=IP:127.0.0.1"]
    output = ["-keyout", str(tls.key), "-out", str(tls.certificate)]
    subprocess.run([*command, *names, *output], check=True, capture_output=True)
    return tls


async def test_logging_in_works_over_https_and_the_cookie_stays_there(files: Tls, tmp_path: Path) -> None:
    path, site = tmp_path / "portal.sock", PortalSite()
    trust = ssl.create_default_context(cafile=files.certificate)
    async with (
        backend_on(path, site),
        ControllerBackend(path) as backend,
        portal_before(backend, tls=tls_context(files)) as (port,),
        httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=trust) as client,
    ):
        page = await client.get("/")
        answer = await client.post("/v1/login", json={"user": "bob", "secret": "lab-bob"})
    assert "secure" in page.headers["set-cookie"].lower()
    assert answer.status_code == 200


async def test_who_never_ends_the_handshake_loses_the_place(files: Tls, tmp_path: Path) -> None:
    places = Places(total=2, per_remote=2)
    async with (
        ControllerBackend(tmp_path / "absent.sock") as backend,
        portal_before(backend, tls=tls_context(files), places=places, deadlines=Deadlines(tls_handshake=0.2)) as (
            port,
        ),
    ):
        for said in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), 20)
            writer.transport.abort()
    assert len(places) == 0


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"])
def test_a_key_that_cannot_be_used_is_an_error_that_names_the_file(files: Tls, tmp_path: Path, text: str) -> None:
    key = tmp_path / "key.pem"
    key.write_text(text, encoding="ascii")
    with pytest.raises(InputError, match="cannot be used for TLS"):
        tls_context(Tls(files.certificate, key))
