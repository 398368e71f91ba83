"""The portal as browsers and programs see it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.portal_servers import has_ipv6, portal_before, whole_portal
from fakes.portal_site import TOTP_KEY, PortalSite, address
from zethane.identity.totp import code_at
from zethane.portal.backend import ControllerBackend
from zethane.portal.pages import error_page, login_page, session_page

BOB = {"user": "bob", "secret": "lab-bob"}


@pytest.fixture
def site() -> PortalSite:
    return PortalSite()


@pytest.fixture
async def client(site: PortalSite, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        whole_portal(tmp_path / "portal.sock", site) as (port,),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client


def token_of(page: httpx.Response) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


async def log_in(client: httpx.AsyncClient, **fields: str) -> httpx.Response:
    token = token_of(await client.get("/"))
    return await client.post("/login", data={"token": token, **BOB, **fields})


class Elements(HTMLParser):
    """Collects the elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_page_is_a_form_that_works_without_scripts(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    elements = Elements(page.text).found
    names = [attributes.get("name") for tag, attributes in elements if tag == "input"]
    assert names == ["token", "user", "secret", "totp"]
    assert ("form", {"method": "post", "action": "/login"}) in elements
    assert not [tag for tag, _ in elements if tag in ("script", "iframe", "img", "style")]
    assert not [key for _, attributes in elements for key in attributes if key.startswith("on") or key == "style"]
    assert (await client.get("/style.css")).headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("path", ["/", "/style.css", "/v1/session", "/nothing-here"])
async def test_every_answer_carries_the_headers_that_bind_the_browser(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


async def test_logging_in_shows_who_one_is_and_out_brings_the_form_back(
    client: httpx.AsyncClient, site: PortalSite
) -> None:
    answer = await log_in(client)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = await client.get("/")
    for shown in ("bob", "staff", "password", "127.0.0.1", "2001-09-09 02:46 UTC"):
        assert shown in page.text
    answer = await client.post("/logout", data={"token": token_of(page)})
    assert (answer.status_code, site.live) == (303, {})
    assert 'action="/login"' in (await client.get("/")).text


async def test_the_code_may_be_typed_with_a_space(client: httpx.AsyncClient, site: PortalSite) -> None:
    code = code_at(TOTP_KEY, int(site.now) // 30)
    answer = await log_in(client, user="alice", secret="lab-alice", totp=f"{code[:3]} {code[3:]}")
    assert answer.status_code == 303
    assert site.live[1].principal.mfa


async def test_a_refusal_shows_the_form_again_without_the_password(client: httpx.AsyncClient) -> None:
    page = await log_in(client, secret="hunter2")
    assert page.status_code == 403
    assert "The name, the secret or the code is wrong." in page.text
    assert 'value="bob"' in page.text
    assert "hunter2" not in page.text


async def test_a_name_that_is_markup_stays_text(client: httpx.AsyncClient) -> None:
    page = await log_in(client, user='"><script>alert(1)</script>')
    assert page.status_code == 422
    assert "script" not in page.text


@given(st.text(max_size=60))
def test_whatever_is_filled_in_makes_no_elements(text: str) -> None:
    session = dict.fromkeys(("name", "segment", "ends"), text) | {"methods": [text], "addresses": [text]}
    plain = dict.fromkeys(("name", "segment", "ends"), "x") | {"methods": ["x"], "addresses": ["x"]}
    for page, reference in [
        (login_page(text, "e" + text, text), login_page("x", "e", "x")),
        (session_page(text, session, "e" + text), session_page("x", plain, "e")),
        (error_page("e" + text), error_page("e")),
    ]:
        assert [tag for tag, _ in Elements(page).found] == [tag for tag, _ in Elements(reference).found]


@pytest.mark.parametrize("path", ["/login", "/logout"])
async def test_a_form_without_its_token_or_cookie_does_nothing(
    client: httpx.AsyncClient, site: PortalSite, path: str
) -> None:
    await log_in(client)
    token = token_of(await client.get("/"))
    foreign = httpx.AsyncClient(base_url=client.base_url)
    async with foreign:
        refused = [
            await client.post(path, data=BOB),
            await client.post(path, data={**BOB, "token": "0" * 64}),
            await client.post(path, data={**BOB, "token": "é"}),
            await foreign.post(path, data={**BOB, "token": token}),
            await foreign.post(path, data={**BOB, "token": token}, headers={"cookie": "zethane-form=x"}),
            await client.post(path, content=f"token={token}&token={token}&user=bob&secret=lab-bob"),
            await client.post(path, json={**BOB, "token": token}),
        ]
    assert {answer.status_code for answer in refused} == {403}
    assert list(site.live) == [1]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_another_site_can_log_nobody_in_or_out(
    client: httpx.AsyncClient, site: PortalSite, headers: dict[str, str]
) -> None:
    token = token_of(await client.get("/"))
    answers = [
        await client.post("/login", data={**BOB, "token": token}, headers=headers),
        await client.post("/v1/login", json=BOB, headers=headers),
        await client.post("/v1/logout", json={}, headers=headers),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert site.live == {}
    assert site.located == [site.located[0]]  # only the page itself was looked up


async def test_the_portals_own_page_may(client: httpx.AsyncClient) -> None:
    token = token_of(await client.get("/"))
    own = {"origin": str(client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    assert (await client.post("/login", data={**BOB, "token": token}, headers=own)).status_code == 303


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.2", "127.0.0.1:1", "", "u@127.0.0.1", "[::1", "portal.example"]
)
async def test_a_foreign_name_for_the_portal_gets_nothing(client: httpx.AsyncClient, host: str) -> None:
    # Without its port, the portal's own name means another port, too.
    assert (await client.get("/", headers={"host": host})).status_code == 421


async def test_a_name_that_was_configured_is_the_portals(client: httpx.AsyncClient) -> None:
    host = f"Portal.Example:{client.base_url.port}"
    assert (await client.get("/", headers={"host": host})).status_code == 200


async def test_programs_log_in_ask_and_log_out(client: httpx.AsyncClient, site: PortalSite) -> None:
    answer = await client.post("/v1/login", json={"workload": "web1", "secret": "lab-web1"})
    assert (answer.status_code, answer.json()["principal"]) == (200, "workload:web1")
    assert (await client.get("/v1/session")).json()["session"]["segment"] == "staff"
    assert (await client.post("/v1/logout", json={})).json() == {"session": 1}
    assert (await client.post("/v1/logout", json={})).status_code == 409
    assert site.live == {}


async def test_no_header_says_where_a_client_is(client: httpx.AsyncClient, site: PortalSite) -> None:
    forged = {"x-forwarded-for": "10.9.9.9", "forwarded": "for=10.9.9.9", "x-real-ip": "10.9.9.9"}
    await client.post("/v1/login", json=BOB, headers=forged)
    assert {located[0] for located in site.located} == {address("127.0.0.1")}
    assert {located[3] for located in site.located} == {client.base_url.port}


async def test_a_logout_needs_a_type_that_foreign_forms_cannot_send(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/logout", content="{}", headers={"content-type": "text/plain"})).status_code == 415
    assert (
        await client.post(
            "/v1/login", content='{"user":"bob","secret":"lab-bob"}', headers={"content-type": "text/plain"}
        )
    ).status_code == 422


async def test_a_flood_from_one_address_is_slowed_down(client: httpx.AsyncClient) -> None:
    statuses = [(await client.get("/style.css")).status_code for _ in range(120)]
    assert statuses[:30] == [200] * 30
    assert 429 in statuses


async def test_without_the_controller_the_portal_says_so(tmp_path: Path) -> None:
    async with (
        ControllerBackend(tmp_path / "absent.sock") as backend,
        portal_before(backend) as (port,),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        page, answer = await client.get("/"), await client.post("/v1/login", json=BOB)
    assert (page.status_code, answer.status_code) == (503, 503)
    assert "The controller does not answer; try again in a minute." in page.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "retry-after" in answer.headers


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on loopback")
async def test_the_other_address_family_joins_the_session_by_token(site: PortalSite, tmp_path: Path) -> None:
    async with (
        whole_portal(tmp_path / "portal.sock", site, ("127.0.0.1", "::1")) as (four, six),
        httpx.AsyncClient() as client,
    ):
        answer = await client.post(f"http://127.0.0.1:{four}/v1/login", json=BOB)
        token = {"token": answer.json()["token"]}
        answer = await client.post(f"http://[::1]:{six}/v1/addresses", json=token)
    assert answer.json()["addresses"] == ["127.0.0.1", "::1"]
