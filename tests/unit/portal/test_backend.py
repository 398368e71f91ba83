"""The portal's back end, over its unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes.portal_servers import backend_on
from fakes.portal_site import TOTP_KEY, PortalSite, address
from zethane.errors import AddressInUse, CapacityError, SessionError
from zethane.identity.attempts import AttemptLimits, Rate
from zethane.identity.totp import code_at
from zethane.service.claims import LIFETIME, MAX_TOKENS, ClaimTokens

V4 = {"remote": "10.0.0.21", "remote_port": 40000, "local": "10.0.0.254", "local_port": 8080}
V6 = {"remote": "2001:db8::21", "remote_port": 40001, "local": "2001:db8::fe", "local_port": 8080}
BOB = {"user": "bob", "secret": "lab-bob"}


@pytest.fixture
def site() -> PortalSite:
    return PortalSite()


@pytest.fixture
async def client(site: PortalSite, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    path = tmp_path / "portal.sock"
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with backend_on(path, site), httpx.AsyncClient(transport=transport, base_url="http://controller") as client:
        yield client


async def login(
    client: httpx.AsyncClient, proof: dict[str, Any] = BOB, connection: dict[str, Any] = V4
) -> httpx.Response:
    return await client.post("/login", json={"connection": connection, "proof": proof})


async def test_a_login_is_bound_to_where_the_connection_comes_from(client: httpx.AsyncClient, site: PortalSite) -> None:
    code = code_at(TOTP_KEY, int(site.now) // 30)
    answer = (await login(client, {"user": "alice", "secret": "lab-alice", "totp": code})).json()
    assert site.located == [(address("10.0.0.21"), 40000, address("10.0.0.254"), 8080)]
    assert site.live[1].attachment == site.place
    assert answer["principal"] == "user:alice"
    assert (answer["methods"], answer["mfa"], answer["segment"]) == (["pwd", "otp"], True, "staff")
    assert (answer["started"], answer["ends"]) == ("2001-09-09T01:46:40.000Z", "2001-09-09T02:46:40.000Z")


async def test_a_connection_that_no_switch_carries_is_refused(client: httpx.AsyncClient, site: PortalSite) -> None:
    site.known = False
    for path, more in [
        ("/login", {"proof": BOB}),
        ("/logout", {}),
        ("/session", {}),
        ("/addresses", {"claim": {"token": "x"}}),
    ]:
        answer = await client.post(path, json={"connection": V4, **more})
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
        assert answer.json()["detail"] == "no switch carries this connection"
    assert site.live == {}


async def test_wrong_credentials_of_any_kind_get_the_same_answer(client: httpx.AsyncClient) -> None:
    wrong = [
        {"user": "bob", "secret": "x"},
        {"user": "nobody", "secret": "x"},
        {"workload": "bob", "secret": "lab-bob"},
    ]
    answers = [await login(client, proof) for proof in wrong]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.content for answer in answers}) == 1


async def test_too_many_attempts_are_told_when_to_come_back(site: PortalSite, tmp_path: Path) -> None:
    path = tmp_path / "portal.sock"
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with (
        backend_on(path, site, AttemptLimits(attachment=Rate(1, 15))),
        httpx.AsyncClient(transport=transport, base_url="http://controller") as client,
    ):
        await login(client, {"user": "bob", "secret": "x"})
        answer = await login(client)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "15")


@pytest.mark.parametrize(
    ("failure", "status"),
    [(AddressInUse("taken"), 409), (SessionError("no segment"), 409), (CapacityError("full"), 503)],
)
async def test_what_the_controller_refuses_is_told_in_its_words(
    client: httpx.AsyncClient, site: PortalSite, failure: Exception, status: int
) -> None:
    site.failure = failure
    answer = await login(client)
    assert (answer.status_code, answer.json()["detail"]) == (status, str(failure))


async def test_a_further_address_is_claimed_with_the_token_once(client: httpx.AsyncClient, site: PortalSite) -> None:
    token = (await login(client)).json()["token"]
    claim = {"connection": V6, "claim": {"token": token}}
    answer = await client.post("/addresses", json=claim)
    assert answer.json()["addresses"] == ["10.0.0.21", "2001:db8::21"]
    assert answer.json()["token"] != token
    assert (await client.post("/addresses", json=claim)).status_code == 403
    assert site.live[1].addresses == (address("10.0.0.21"), address("2001:db8::21"))


async def test_a_token_is_no_good_after_its_time(client: httpx.AsyncClient, site: PortalSite) -> None:
    token = (await login(client)).json()["token"]
    site.now += LIFETIME
    answer = await client.post("/addresses", json={"connection": V6, "claim": {"token": token}})
    assert answer.status_code == 403


async def test_logout_ends_the_session_at_the_connections_end_and_no_other(client: httpx.AsyncClient) -> None:
    await login(client)
    assert (await client.post("/logout", json={"connection": V6})).status_code == 409
    assert (await client.post("/session", json={"connection": V4})).json()["session"]["name"] == "bob"
    assert (await client.post("/logout", json={"connection": V4})).json() == {"session": 1}
    assert (await client.post("/session", json={"connection": V4})).json() == {"session": None, "providers": []}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[" * 6000,
        b"\xff\xfe",
        b'{"connection": {}, "proof": {}}',
        b'{"proof": ' + b"9" * 6000 + b"}",
        b'{"connection": {"remote": "10.0.0.300", "remote_port": 1, "local": "10.0.0.1", "local_port": 1}}',
    ],
)
async def test_odd_bodies_are_errors_of_the_client(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/login", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("proof", "field"),
    [
        ({"user": "bob"}, "proof.secret"),
        ({"user": "bob", "secret": ["hunter2"]}, "proof.secret"),
        ({"user": "bob", "secret": "hunter2" * 200}, "proof.secret"),
        ({"user": "bob", "secret": "hunter2", "totp": "hunter2" * 9}, "proof.totp"),
        ({"user": "bob", "secret": "hunter2", "more": "hunter2"}, "proof.more"),
        ({"user": "bob", "workload": "web1", "secret": "hunter2"}, "user"),
        ({"user": "b b", "secret": "hunter2"}, "user"),
    ],
)
async def test_errors_name_the_field_and_not_what_is_in_it(
    client: httpx.AsyncClient, proof: dict[str, Any], field: str
) -> None:
    answer = await login(client, proof)
    assert answer.status_code == 422
    assert field in answer.json()["detail"]
    assert "hunter2" not in answer.text


async def test_the_portal_has_no_way_to_the_operators_api(client: httpx.AsyncClient) -> None:
    for path in ("/v1/sessions", "/v1/revoke", "/openapi.json", "/docs"):
        assert (await client.get(path)).status_code == 404


async def test_a_body_that_never_ends_is_cut_off(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b" " * 1024

    answer = await client.post("/login", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_tokens_that_wait_are_bounded_and_the_oldest_goes_first() -> None:
    tokens = ClaimTokens(lambda: 0.0)
    first = tokens.issue(1)
    second = tokens.issue(2)
    for number in range(3, MAX_TOKENS + 2):
        tokens.issue(number)
    assert len(tokens) == MAX_TOKENS
    assert tokens.redeem(first) is None
    assert tokens.redeem(second) == 2
