"""Second factors at the portal, as browsers see them: real servers, an authenticator in software."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes.authenticator import UP, Authenticator
from fakes.portal_servers import whole_portal
from fakes.portal_site import TOTP_KEY, PortalSite
from zethane.adapters.http.server import Listen, Tls
from zethane.identity.totp import code_at
from zethane.portal.factor_pages import Place, factors_page, session_extra
from zethane.portal.server import relying_party

CODE = re.compile(r"<code>([A-Z2-7]{4}(?:-[A-Z2-7]{4}){3})</code>")


class Person:
    """A browser and its user; an answer with status 303 is followed."""

    def __init__(self, client: httpx.AsyncClient, site: PortalSite, port: int) -> None:
        self.client = client
        self.site = site
        self.device = Authenticator(origin=f"http://localhost:{port}")

    async def get(self, path: str = "/") -> httpx.Response:
        return await self.client.get(path, follow_redirects=True)

    async def send(self, path: str, **fields: str) -> httpx.Response:
        page = await self.get("/")
        token = re.search(r'name="token" value="([0-9a-f]{64})"', page.text)
        assert token
        return await self.client.post(path, data={"token": token[1], **fields}, follow_redirects=True)

    async def log_in(self, user: str = "bob", **fields: str) -> httpx.Response:
        return await self.send("/login", user=user, secret=f"lab-{user}", **fields)

    async def options(self, name: str) -> httpx.Response:
        return await self.client.post(f"/passkeys/{name}", json={})

    async def add_passkey(self, name: str = "laptop") -> httpx.Response:
        made = self.device.create((await self.options("enrol-options")).json())
        self.device.count += 1
        return await self.send("/factors/passkey", answer=json.dumps(made), name=name)

    async def passkey(self, path: str, options: str, **fields: str) -> httpx.Response:
        found = self.device.get((await self.options(options)).json())
        self.device.count += 1
        return await self.send(path, answer=json.dumps(found), **fields)

    async def by_passkey(self) -> httpx.Response:
        return await self.passkey("/passkeys/login", "login-options")


@pytest.fixture
async def person(tmp_path: Path) -> AsyncIterator[Person]:
    site = PortalSite()
    async with (
        whole_portal(tmp_path / "portal.sock", site) as (port,),
        httpx.AsyncClient(base_url=f"http://localhost:{port}") as client,
    ):
        yield Person(client, site, port)


def code(site: PortalSite, key: bytes = TOTP_KEY) -> str:
    return code_at(key, int(site.now) // 30)


async def test_a_passkey_is_added_and_logs_in_alone(person: Person) -> None:
    await person.log_in()
    page = await person.add_passkey('<b>"key"')
    assert page.status_code == 200
    assert "&lt;b&gt;&quot;key&quot;" in page.text
    assert "<b>" not in page.text
    await person.send("/logout")
    assert person.site.live == {}
    page = await person.by_passkey()
    assert "You are logged in" in page.text
    (session,) = person.site.live.values()
    assert (session.principal.name, session.methods, session.aal) == ("bob", ("hwk", "user", "mfa"), 3)
    assert person.site.factor_events[0][:2] == ("added", "user:bob")


async def test_an_unknown_passkey_gets_the_form_again_and_no_reason(person: Person) -> None:
    person.device.rp_id, person.device.handle = "localhost", b"x" * 32
    page = await person.by_passkey()
    assert page.status_code == 403
    assert "The passkey is not known here." in page.text
    assert 'action="/login"' in page.text
    assert person.site.reasons == ["wrong-passkey"]


async def test_a_second_factor_is_proved_on_the_page_of_the_session(person: Person) -> None:
    await person.log_in("alice")
    person.site.wanted = [
        {"destination": "10.0.0.31", "service": "tcp/445", "needs": ["a second factor not older than 15m"]}
    ]
    page = await person.get()
    assert "To reach 10.0.0.31 (tcp/445) you need a second factor not older than 15 minutes." in page.text
    assert 'action="/prove"' in page.text
    page = await person.send("/prove", code="000000", back="/")
    assert page.status_code == 403
    assert "The code or passkey is wrong." in page.text
    before = next(iter(person.site.live.values()))
    page = await person.send("/prove", code=code(person.site), back="/")
    (after,) = person.site.live.values()
    assert (page.status_code, after.number, after.principal.mfa) == (200, before.number, True)


async def test_after_a_proof_the_browser_goes_nowhere_else(person: Person) -> None:
    await person.log_in("alice")
    page = await person.send("/prove", code=code(person.site), back="//evil.example/")
    assert str(page.url.path) == "/"
    assert page.url.host == "localhost"


async def test_an_app_is_added_with_its_first_code(person: Person) -> None:
    await person.log_in()
    page = await person.send("/factors/totp")
    assert "<svg" in page.text
    assert "otpauth://totp/Zethane:bob?secret=" in page.text
    shown = re.search(r'class="secret"><code>([A-Z2-7 ]+)</code>', page.text)
    assert shown
    key = base64.b32decode(shown[1].replace(" ", ""))
    page = await person.send("/factors/totp/confirm", code="000000")
    assert "not one of this secret" in page.text
    assert shown[1] in page.text
    await person.send("/factors/totp/confirm", code=code(person.site, key))
    person.site.now += 30
    await person.log_in(totp=code(person.site, key))
    (session,) = person.site.live.values()
    assert session.methods == ("pwd", "otp")


async def test_recovery_codes_are_shown_once_and_log_in(person: Person) -> None:
    await person.log_in()
    shown = CODE.findall((await person.send("/factors/recovery")).text)
    assert len(set(shown)) == 10
    page = await person.get("/factors")
    assert CODE.findall(page.text) == []
    await person.log_in(totp=shown[0])
    (session,) = person.site.live.values()
    assert session.principal.mfa
    assert "9 left" in (await person.get("/factors")).text


async def test_changes_wait_for_a_fresh_proof(person: Person) -> None:
    await person.log_in()
    person.site.now += 301
    page = await person.get("/factors")
    assert "give your password again" in page.text
    assert (await person.send("/factors/recovery")).status_code == 403
    await person.send("/factors/password", user="bob", secret="lab-bob")
    await person.add_passkey()
    page = await person.get("/factors")
    assert "prove a second factor that you have" in page.text
    assert "/factors/remove" not in page.text
    page = await person.passkey("/prove", "prove-options", back="/factors")
    assert page.url.path == "/factors"
    factor = re.search(r'name="factor" value="(passkey:[0-9a-f]{16})"', page.text)
    assert factor
    assert "old phone" in (await person.send("/factors/rename", factor=factor[1], name="old  phone")).text
    await person.send("/factors/remove", factor=factor[1])
    assert [event for event, *_ in person.site.factor_events] == ["added", "renamed", "removed"]


async def test_a_passkey_that_verifies_nobody_says_so(person: Person) -> None:
    person.device.flags = UP
    await person.log_in()
    assert "with a password only" in (await person.add_passkey()).text


async def test_nobody_sees_factors_where_nobody_is_logged_in(person: Person) -> None:
    page = await person.get("/factors")
    assert page.url.path == "/"
    for path in ("/factors/totp", "/factors/recovery", "/factors/remove", "/factors/rename", "/factors/totp/confirm"):
        assert 'action="/login"' in (await person.send(path)).text
    for name in ("prove-options", "enrol-options"):
        assert (await person.options(name)).status_code == 409


async def test_forms_of_another_browser_change_nothing(person: Person) -> None:
    await person.log_in()
    for path in ("/factors/recovery", "/factors/totp", "/prove", "/factors/passkey", "/passkeys/login"):
        page = await person.client.post(path, data={"token": "0" * 64}, follow_redirects=True)
        assert page.status_code == 403
    assert person.site.factor_events == []


async def test_options_are_for_the_portals_own_script(person: Person) -> None:
    for headers in ({"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        refused = await person.client.post("/passkeys/login-options", content="{}", headers=headers)
        assert refused.status_code == 415
    foreign = {"origin": "https://evil.example"}
    assert (await person.client.post("/passkeys/login-options", json={}, headers=foreign)).status_code == 403


async def test_the_relying_party_is_never_the_requests(person: Person) -> None:
    port = person.client.base_url.port
    answer = await person.client.post(f"http://127.0.0.1:{port}/passkeys/login-options", json={})
    assert answer.status_code == 409
    page = await person.client.get(f"http://127.0.0.1:{port}/")
    assert f'<a href="http://localhost:{port}/">' in page.text
    assert "data-passkey" not in page.text
    body = {"party": {"id": "evil.example", "origin": "https://evil.example"}}
    options = (await person.client.post("/passkeys/login-options", json=body)).json()
    assert options["rpId"] == "localhost"


@pytest.mark.parametrize(
    "answer",
    ["", "{}", "[]", "[" * 2000, '{"id": "AQ", "rawId": "AQ", "type": "public-key", "response": {}}', "\u00e9", "null"],
)
async def test_what_no_script_of_ours_sends_is_no_passkey(person: Person, answer: str) -> None:
    await person.log_in()
    for path in ("/passkeys/login", "/factors/passkey"):
        assert (await person.send(path, answer=answer)).status_code == 403
    assert person.site.reasons == []


async def test_the_script_is_a_file_of_the_portal(person: Person) -> None:
    page = await person.get()
    assert '<script src="/passkeys.js" defer></script>' in page.text
    assert re.findall(r"<script(?! src=)", page.text) == []
    script = await person.get("/passkeys.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "script-src 'self'" in script.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("names", "tls", "expected"),
    [
        (["portal.example"], True, ("portal.example", "https://portal.example:8443")),
        (["Portal.Example.", "other"], True, ("portal.example", "https://portal.example:8443")),
        (["localhost"], False, ("localhost", "http://localhost:8443")),
        (["portal.example"], False, None),
        (["10.0.0.1"], True, None),
        ([], True, None),
    ],
)
def test_passkeys_are_for_the_first_name_where_browsers_allow_them(
    names: list[str], tls: bool, expected: tuple[str, str] | None
) -> None:
    files = Tls(Path("c"), Path("k")) if tls else None
    party = relying_party([Listen("10.0.0.1", 8443)], names, files)
    assert (party and (party.id, party.origin)) == expected


def test_https_on_its_usual_port_is_an_origin_without_one() -> None:
    party = relying_party([Listen("10.0.0.1", 443)], ["portal.example"], Tls(Path("c"), Path("k")))
    assert party is not None
    assert party.origin == "https://portal.example"


def none(**more: Any) -> dict[str, Any]:
    return {"user": "bob", "in_file": False, "factors": [], "recovery_codes": 0, "needs": None, **more}


def test_where_passkeys_cannot_work_the_page_says_so() -> None:
    assert "the portal has no name, or no HTTPS" in factors_page("t", none(), Place(here=False))
    elsewhere = Place(here=False, url="https://portal.example/")
    assert "Passkeys work at <a" in factors_page("t", none(), elsewhere)


def test_what_a_session_lacks_is_told_in_words_that_people_know() -> None:
    lacks = [
        {"destination": "10.0.0.9", "service": "tcp/22", "needs": ["a proof of assurance level 3"]},
        {"destination": "10.0.0.9", "service": "tcp/80", "needs": ["a device with managed=yes", "a second factor"]},
        {"destination": "10.0.0.9", "service": "tcp/445", "needs": ["a second factor"], "within": 60.0},
        {"destination": "<x>", "service": "icmp", "needs": ["a second factor not older than 1h"]},
    ]
    page = session_extra("t", none(), lacks, Place(here=False))
    assert "(tcp/22) you need a passkey that stays on one device." in page
    assert "(tcp/80) you need a device with managed=yes and a second factor." in page
    assert "(tcp/445) you need a second factor not older than 1 minute." in page
    assert "&lt;x&gt; (icmp) you need a second factor not older than 1 hour." in page
    assert "You have no second factor yet." in page
