"""Single sign-on as browsers and programs see it at the portal, with the controller's back end behind it."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import uvicorn

from fakes.openid_server import OpenIdServer, openid_server
from fakes.portal_servers import QuietServer, portal_before, running
from fakes.portal_site import PortalSite, directory
from fakes.records import MemoryStore
from zethane.adapters.oidc.provider import Provider
from zethane.api.oidc_logout import backchannel_logout_router
from zethane.api.portal_backend import create_app
from zethane.api.signals_app import create_app as create_signals_app
from zethane.identity.openid import LOGOUT_EVENT
from zethane.portal.backend import ControllerBackend
from zethane.service.authentication import Authenticator
from zethane.service.renewal import Renewals
from zethane.service.sign_on import SignOn
from zethane.service.sign_on_desk import Desk


@pytest.fixture
def site() -> PortalSite:
    return PortalSite()


@pytest.fixture
async def server(site: PortalSite) -> AsyncIterator[OpenIdServer]:
    async with openid_server() as made:
        made.clock = site.clock
        yield made


@pytest.fixture
async def sign_on(site: PortalSite, server: OpenIdServer) -> AsyncIterator[SignOn]:
    tls = ssl.create_default_context()
    provider = Provider("corp", server.settings(label="Corp & <Sons>"), None, tls, site.clock, site.clock)
    renewals = Renewals(site, directory, site.clock, lambda work: work.close())
    taken: set[str] = set()

    def take_once(issuer: str, token: str, until: float, now: float) -> bool:  # noqa: ARG001
        fresh = token not in taken
        taken.add(token)
        return fresh

    yield SignOn(Desk(site, {"corp": provider}, directory, site.clock, site.refused, renewals), take_once)
    await provider.close()


@pytest.fixture
async def client(site: PortalSite, sign_on: SignOn, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    path = tmp_path / "portal.sock"
    with ThreadPoolExecutor(1) as pool:
        authenticator = Authenticator(site, directory(), MemoryStore(), site.clock, pool, site.refused)
        app = create_app(site, authenticator, site.clock, sign_on=sign_on)
        config = uvicorn.Config(app, uds=str(path), http="h11", ws="none", log_config=None, lifespan="off")
        async with (
            running(QuietServer(config)),
            ControllerBackend(path) as backend,
            portal_before(backend) as (port,),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        ):
            yield client


async def start(client: httpx.AsyncClient) -> httpx.Response:
    """Follow the link on the login page."""
    page = (await client.get("/")).text
    link = re.search(r'href="(/oidc/corp/start\?token=[0-9a-f]{64})"', page)
    assert link, page
    return await client.get(link[1])


async def come_back(
    client: httpx.AsyncClient, server: OpenIdServer, sent: httpx.Response, **more: Any
) -> httpx.Response:
    query = parse_qs(urlsplit(sent.headers["location"]).query)
    server.nonce = query["nonce"][0]
    return await client.get("/oidc/callback", params={"state": query["state"][0], "iss": server.issuer, **more})


async def test_a_browser_goes_to_the_provider_and_comes_back_with_a_session(
    client: httpx.AsyncClient, server: OpenIdServer
) -> None:
    sent = await start(client)
    assert sent.status_code == 303
    assert sent.headers["location"].startswith(f"{server.issuer}/auth?")
    assert "verifier" not in sent.headers["location"]
    (cookie,) = sent.headers.get_list("set-cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    redirect_uri = parse_qs(urlsplit(sent.headers["location"]).query)["redirect_uri"]
    assert redirect_uri == [f"{str(client.base_url).rstrip('/')}/oidc/callback"]
    back = await come_back(client, server, sent, code="c1")
    assert (back.status_code, back.headers["location"]) == (303, "/")
    assert "alice@corp" in (await client.get("/")).text


async def test_who_is_logged_in_can_prove_herself_anew_where_she_did_before(
    client: httpx.AsyncClient, server: OpenIdServer, site: PortalSite
) -> None:
    """For a rule that asks for a fresh proof: the provider is asked for one, and the session goes on with it."""
    await come_back(client, server, await start(client), code="c1")
    page = (await client.get("/")).text
    link = re.search(r'href="(/oidc/corp/start\?token=[0-9a-f]{64}&amp;fresh=1)"', page)
    assert link, page
    assert "Prove yourself again with Corp &amp; &lt;Sons&gt;" in page
    sent = await client.get(link[1].replace("&amp;", "&"))
    assert "login" in parse_qs(urlsplit(sent.headers["location"]).query)["prompt"][0].split()
    back = await come_back(client, server, sent, code="c2")
    assert back.status_code == 303
    assert len(site.live) > 0


async def test_the_link_names_the_provider_and_is_escaped(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    assert "Log in with Corp &amp; &lt;Sons&gt;" in page
    assert "<Sons>" not in page


async def test_another_site_cannot_make_a_browser_begin(client: httpx.AsyncClient, server: OpenIdServer) -> None:
    """Without the page's token, or with that of another browser."""
    await client.get("/")
    for query in ("", "?token=", f"?token={'0' * 64}"):
        assert (await client.get(f"/oidc/corp/start{query}")).status_code == 403
    assert server.tokens == []


async def test_a_callback_in_another_browser_logs_nobody_in(
    client: httpx.AsyncClient, server: OpenIdServer, site: PortalSite
) -> None:
    """Somebody's own login, sent to somebody else as a link (login CSRF, RFC 9700 §4.7)."""
    sent = await start(client)
    client.cookies.clear()
    refused = await come_back(client, server, sent, code="c1")
    assert refused.status_code == 403
    client.cookies.set("zethane-sign-on", "x" * 32)
    assert (await come_back(client, server, sent, code="c1")).status_code == 403
    assert site.live == {}


@pytest.mark.parametrize("query", ["", "?state=", "?state=a&state=b&code=c", "?code=c", "?state=" + "x" * 5000])
async def test_a_callback_that_makes_no_sense_is_refused(client: httpx.AsyncClient, query: str) -> None:
    await start(client)
    assert (await client.get(f"/oidc/callback{query}")).status_code in (403, 422)


async def test_what_a_provider_says_of_an_error_is_on_no_page(client: httpx.AsyncClient, server: OpenIdServer) -> None:
    said = await come_back(client, server, await start(client), error="<b>evil</b>", error_description="<i>x</i>")
    assert said.status_code == 403
    assert "evil" not in said.text
    assert "<i>" not in said.text


async def test_an_unknown_provider_is_nowhere(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    token = re.search(r"token=([0-9a-f]{64})", page)
    assert token
    for name in ("other", "..", "a%0ab", "x" * 100):
        assert (await client.get(f"/oidc/{name}/start?token={token[1]}")).status_code in (404, 422)


async def test_a_host_without_a_browser_is_told_where_to_go_and_waits(
    client: httpx.AsyncClient, server: OpenIdServer, site: PortalSite
) -> None:
    begun = (await client.post("/v1/device", json={"provider": "corp"})).json()
    assert begun["user_code"] == "WDJB-MJHT"
    assert "secret-device-code" not in str(begun)
    server.refusal = "authorization_pending"
    assert (await client.post("/v1/device/poll", json={"handle": begun["handle"]})).json() == {"interval": 5.0}
    server.refusal = None
    site.now += 5
    session = (await client.post("/v1/device/poll", json={"handle": begun["handle"]})).json()
    assert session["principal"] == "user:alice@corp"
    assert (await client.post("/v1/device/poll", json={"handle": "made-up"})).status_code == 403
    assert (await client.post("/v1/device", json={"provider": "other"})).status_code == 422


async def test_a_logout_token_in_a_form_is_taken_once_and_nothing_else_is(
    sign_on: SignOn, server: OpenIdServer
) -> None:
    app = create_signals_app([backchannel_logout_router(sign_on)])
    token = server.token({"jti": "j1", "events": {LOGOUT_EVENT: {}}})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://signals") as client:
        wrong = [
            await client.post("/oidc/corp/logout", json={"logout_token": token}),
            await client.post("/oidc/corp/logout", data={"logout_token": [token, token]}),
            await client.post("/oidc/corp/logout", data={"token": token}),
            await client.post("/oidc/other/logout", data={"logout_token": token}),
            await client.post("/oidc/corp/logout", data={"logout_token": server.token()}),
            await client.post("/oidc/corp/logout", data={"logout_token": token[:-4] + "AAAA"}),
        ]
        assert [one.status_code for one in wrong] == [400] * 6
        taken = await client.post("/oidc/corp/logout", data={"logout_token": token})
        assert (taken.status_code, taken.headers["cache-control"]) == (200, "no-store")
        assert (await client.post("/oidc/corp/logout", data={"logout_token": token})).status_code == 400
        assert token not in "".join(one.text for one in wrong)
