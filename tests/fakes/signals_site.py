"""A site that others tell about sessions and devices: the real routes over a controller in memory."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from fakes.issuer import Issuer
from fakes.site import Site
from zethane.api import signals_app
from zethane.app.devices import Devices
from zethane.identity.directory import parse_identities
from zethane.identity.sources.file import parse_sources
from zethane.service.sources import SourceRegistry

TOKEN = "stream-token-0123456789abcdef"
AGENT = "agent-token-0123456789abcdef"
MDM = "mdm-token-0123456789abcdef"
AUDIENCE = "https://zethane.example"

NOW = 1_700_000_000.0
POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  staff: {groups: [staff]}
  guests: {groups: [guests]}
  machines: {labels: {kind: laptop}}
rules:
  - {id: healthy, from: [staff], to: [web], services: [tcp/443], when: {posture: {disk_encrypted: true, max_age: 1h}}}
  - {id: managed, from: [staff], to: [web], services: [tcp/8443], when: {posture: {compliant: true}}}
  - {id: inner, from: [staff], to: [web], services: [tcp/8080]}
  - {id: plain, from: [staff, guests], to: [web], services: [tcp/80]}
"""

IDENTITIES = """
users: {bob: {groups: [staff]}, "dora@corp": {groups: [staff]}}
devices: {laptop: {owner: bob}, desk: {}}
"""


def token_hash(token: str) -> str:
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


def sources_of(issuer: Issuer, more: str = "") -> str:
    return f"""
listen: {{address: "127.0.0.1:0"}}
oidc:
  corp: {{issuer: "https://idp.example", client_id: zethane, client_secret: s, groups: {{eng: staff, visit: guests}}}}
signals:
  idp:
    {{issuer: "{issuer.url}", audience: "{AUDIENCE}", jwks_uri: "{issuer.jwks_uri}", token: "{token_hash(TOKEN)}",
     subjects: corp}}
  hr: {{issuer: "{issuer.url}", audience: "{AUDIENCE}", token: "{token_hash(TOKEN + "-hr")}"}}
posture:
  agent: {{token: "{token_hash(AGENT)}", devices: [laptop], attributes: [disk_encrypted, os_version]}}
  mdm: {{token: "{token_hash(MDM)}"}}
{more}
"""


class SignalsSite:
    """A controller in memory, with a client for its listener."""

    def __init__(self, site: Site, client: httpx.AsyncClient, devices: Devices, sources: SourceRegistry) -> None:
        self.site = site
        self.client = client
        self.devices = devices
        self.sources = sources

    async def push(self, token: str | bytes, name: str = "idp", bearer: str = TOKEN, **headers: str) -> httpx.Response:
        sent = {"content-type": "application/secevent+jwt", "authorization": f"Bearer {bearer}"} | headers
        return await self.client.post(f"/signals/{name}", content=token, headers=sent)

    async def report(self, body: Any, bearer: str = AGENT) -> httpx.Response:
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return await self.client.post("/v1/posture", headers={"authorization": f"Bearer {bearer}"}, **content)


@asynccontextmanager
async def signals_site(issuer: Issuer, now: float, folder: Path, policy: str = POLICY) -> AsyncIterator[SignalsSite]:
    """The site at a moment, with switches that are connected."""
    site = Site(policy=policy)
    site.now = now
    site.state.accounts.directory = parse_identities(IDENTITIES, "identities.yaml")
    devices = Devices(site.admin, site.store, site.records)  # type: ignore[arg-type]
    await site.start()
    async with AsyncExitStack() as stack:
        running: Any = SimpleNamespace(
            topology=SimpleNamespace(sources=parse_sources(sources_of(issuer), "sources.yaml"), folder=folder),
            controller=site.admin,
            administrator=site.admin,
            store=site.store,
            journal=site.records,
            clock=lambda: site.now,
            devices=devices,
            sources=SourceRegistry(),
            authenticator=SimpleNamespace(directory=site.state.accounts.directory),
            routers=[],
            stack=stack,
        )
        app = signals_app.create_app(signals_app.own_routers(running))
        transport = httpx.ASGITransport(app)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://signals"))
        yield SignalsSite(site, client, devices, running.sources)
