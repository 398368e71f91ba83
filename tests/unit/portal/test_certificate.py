"""Logging in by client certificate: `zethane login --cert` against a portal with TLS, and its back end."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest

from fakes.portal_servers import backend_on, portal_before
from fakes.portal_site import PortalSite
from lab.certificates import Authority, Issued
from zethane.adapters.http.server import Tls, tls_context
from zethane.adapters.trust_files import TrustFiles
from zethane.errors import InputError
from zethane.identity.directory import parse_identities
from zethane.identity.sources.certificates import Certificates
from zethane.portal.backend import ControllerBackend
from zethane.service.certificate_login import CertificateLogin

WEB = "spiffe://example.org/web1"
DIRECTORY = parse_identities(f'workloads: {{web1: {{spiffe: "{WEB}"}}}}', "identities.yaml")
LOGIN = """
import sys, typer
from zethane.cli.login import login
app = typer.Typer()
app.command()(login)
try:
    app(standalone_mode=True)
finally:
    heavy = {"fastapi", "structlog", "httpx", "argon2", "cryptography", "zethane.identity"} & set(sys.modules)
    if heavy:
        sys.exit(f"loaded {heavy}")
"""


@dataclass
class Place:
    """A portal with TLS, before a controller that takes certificates."""

    site: PortalSite
    authority: Authority
    url: str

    def command(self, issued: Issued, *more: str) -> list[str]:
        files = ["--cert", str(issued.certificate), "--key", str(issued.key), "--ca", str(self.authority.certificate)]
        return [sys.executable, "-c", LOGIN, "--portal", self.url, *files, *more]

    def client(self, issued: Issued | None) -> httpx.AsyncClient:
        trust = ssl.create_default_context(cafile=self.authority.certificate)
        if issued is not None:
            trust.load_cert_chain(issued.certificate, issued.key)
        return httpx.AsyncClient(base_url=self.url, verify=trust)


ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[3] / "controller"), "LC_ALL": "C.UTF-8"}


@asynccontextmanager
async def placed(folder: Path, *, taken: bool = True) -> AsyncIterator[Place]:
    """`taken`: the controller takes certificates; the portal asks for them in any case."""
    authority, site, path = Authority(folder / "pki"), PortalSite(), folder / "portal.sock"
    server = authority.server("portal", ["127.0.0.1"])
    settings = Certificates(ca=(str(authority.certificate),), trust_domain="example.org")
    trust = TrustFiles(settings, folder).load()
    login = CertificateLogin(site, lambda: DIRECTORY, time.time, site.refused, trust)
    tls = tls_context(Tls(server.certificate, server.key, authority.certificate))
    async with (
        backend_on(path, site, certificates=login if taken else None),
        ControllerBackend(path) as backend,
        portal_before(backend, tls=tls) as (port,),
    ):
        yield Place(site, authority, f"https://127.0.0.1:{port}")


async def run(command: list[str]) -> tuple[int, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=ENVIRONMENT
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_workload_logs_in_with_its_certificate(tmp_path: Path) -> None:
    async with placed(tmp_path) as place:
        status, out, err = await run(place.command(place.authority.client("web1", [WEB]), "--json"))
    assert (status, err) == (0, "")
    answer = json.loads(out)
    assert (answer["principal"], answer["methods"]) == ("workload:web1", ["pop", "swk"])
    assert "token" not in answer


async def test_a_certificate_that_is_not_accepted_has_status_one_and_says_no_more(tmp_path: Path) -> None:
    async with placed(tmp_path) as place:
        done = await run(place.command(place.authority.client("other", ["spiffe://example.org/other"])))
    assert done == (1, "", "the certificate is not accepted\n")
    assert place.site.reasons == ["invalid-certificate"]


async def test_a_certificate_that_the_portal_refuses_never_reaches_the_controller(tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger").client("web1", [WEB])
    over = datetime.now(timezone.utc) - timedelta(seconds=5)
    async with placed(tmp_path) as place:
        for issued in (stranger, place.authority.client("expired", [WEB], ends=over)):
            status, out, err = await run(place.command(issued))
            assert (status, out) == (1, "")
            assert err.startswith(place.url)
    assert place.site.located == []


async def test_a_controller_that_takes_no_certificates_refuses_them_all(tmp_path: Path) -> None:
    async with placed(tmp_path, taken=False) as place:
        done = await run(place.command(place.authority.client("web1", [WEB])))
    assert done == (1, "", "the certificate is not accepted\n")


async def test_without_a_certificate_people_log_in_as_ever_and_nobody_by_certificate(tmp_path: Path) -> None:
    async with placed(tmp_path) as place, place.client(None) as client:
        assert (await client.get("/")).status_code == 200
        answer = await client.post("/v1/certificate-login", json={})
    assert (answer.status_code, answer.json()["detail"]) == (403, "no client certificate came with this connection")


async def test_another_sites_page_cannot_make_a_browser_use_its_certificate(tmp_path: Path) -> None:
    async with placed(tmp_path) as place, place.client(place.authority.client("web1", [WEB])) as client:
        form = await client.post("/v1/certificate-login", data={"a": "b"})
        foreign = await client.post("/v1/certificate-login", json={}, headers={"origin": "https://evil.example"})
        good = await client.post("/v1/certificate-login", json={})
    assert (form.status_code, foreign.status_code, good.status_code) == (415, 403, 200)


async def test_nothing_that_a_client_writes_is_taken_for_its_certificate(tmp_path: Path) -> None:
    async with placed(tmp_path) as place, place.client(None) as client:
        for name in ("x-client-cert", "x-ssl-client-cert", "x-forwarded-client-cert", "client-cert"):
            body = {"certificates": ["AAAA"]}
            assert (await client.post("/v1/certificate-login", json=body, headers={name: "web1"})).status_code == 403


async def test_the_back_end_takes_certificates_within_bounds(tmp_path: Path) -> None:
    connection = {"remote": "127.0.0.1", "remote_port": 1, "local": "127.0.0.1", "local_port": 2}
    async with (
        placed(tmp_path),
        httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(tmp_path / "portal.sock")), base_url="http://controller"
        ) as client,
    ):
        for certificates, status in (
            ([], 422),
            (["AAAA"] * 9, 422),
            (["A" * 6000], 422),
            (["A" * 20000], 413),
            (["A"], 422),
            ([7], 422),
            (["AAAA"], 403),
        ):
            body = {"connection": connection, "certificates": certificates}
            assert (await client.post("/certificate-login", json=body)).status_code == status


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--portal", "http://127.0.0.1:1", "--cert", "{cert}"], "expected https for a certificate"),
        (["--portal", "https://127.0.0.1:1", "--cert", "/nowhere"], "/nowhere: cannot be used"),
        (["--portal", "https://127.0.0.1:1", "--cert", "{cert}", "--user", "a"], "login: --key, --renew"),
        (["--portal", "https://127.0.0.1:1", "--workload", "a", "--renew"], "login: --key, --renew"),
        (["--portal", "https://127.0.0.1:1", "--cert", "{cert}", "--logout-at-end"], "--logout-at-end goes with"),
    ],
)
async def test_wrong_options_have_status_two(tmp_path: Path, arguments: list[str], said: str) -> None:
    issued = Authority(tmp_path).client("web1", [WEB])
    both = tmp_path / "both.pem"
    both.write_bytes(issued.certificate.read_bytes() + issued.key.read_bytes())
    status, _, err = await run([sys.executable, "-c", LOGIN, *(one.format(cert=both) for one in arguments)])
    assert status == 2
    assert said in err


async def test_who_stays_logs_in_again_with_a_new_certificate_and_out_at_the_end(tmp_path: Path) -> None:
    async with placed(tmp_path) as place:
        issued = place.authority.client("web1", [WEB])
        command = place.command(issued, "--renew", "--logout-at-end", "--json")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=ENVIRONMENT)
        assert process.stdout is not None
        logins = [await asyncio.wait_for(process.stdout.readline(), 60)]
        assert json.loads(logins[0])["principal"] == "workload:web1"
        renewed = place.authority.client("renewed", [WEB])
        renewed.key.rename(issued.key)
        renewed.certificate.rename(issued.certificate)
        wanted = f"{renewed.serial:x}"
        while not any(proof.reference.endswith(wanted) for one in place.site.live.values() for proof in one.proofs):
            logins.append(await asyncio.wait_for(process.stdout.readline(), 60))
        process.terminate()
        logins += (await asyncio.wait_for(process.stdout.read(), 60)).splitlines()
        assert await process.wait() == 0
    assert {json.loads(line)["session"] for line in logins} == {1}  # renewed, not begun anew
    assert place.site.live == {}


@pytest.mark.parametrize("text", ["", "no certificates"])
def test_authorities_that_cannot_be_read_are_an_error(tmp_path: Path, text: str) -> None:
    server = Authority(tmp_path).server("portal", ["127.0.0.1"])
    (tmp_path / "clients.pem").write_text(text, encoding="ascii")
    with pytest.raises(InputError, match="expected certificates in PEM"):
        tls_context(Tls(server.certificate, server.key, tmp_path / "clients.pem"))
