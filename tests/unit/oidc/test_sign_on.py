"""Logins at a provider: what is begun at one place is finished there, once, and in the same browser."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fakes.openid_server import OpenIdServer, openid_server
from fakes.portal_site import PortalSite, at, directory
from zethane.adapters.oidc.provider import Provider
from zethane.audit.reason import SessionEvent
from zethane.errors import AccountRefusal, AuthenticationError, CapacityError, InputError, SessionError
from zethane.identity.openid import LOGOUT_EVENT, InvalidTokenError
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Endpoint, Session
from zethane.service.authentication import LoginLimitError
from zethane.service.renewal import Renewals
from zethane.service.sign_on import Callback, SignOn
from zethane.service.sign_on_desk import ANSWER_RATE, MAX_PENDING_PER_PORT, Desk

BROWSER, OTHER_BROWSER = "b" * 32, "c" * 32
BACK = "http://10.0.0.254:8080/oidc/callback"


class ChangingSite(PortalSite):
    """A portal site whose proofs can change, with the real time of day."""

    def __init__(self) -> None:
        super().__init__()
        self.now = time.time()
        self.changes: list[tuple[int, Proof | None, SessionEvent | None, str]] = []

    def change_proof(
        self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent | None, detail: str = ""
    ) -> bool:
        session = self.live[number]
        assert proof in session.proofs
        self.changes.append((number, changed, reason, detail))
        if changed is None:
            del self.live[number]
        else:
            self.live[number] = replace(session, proofs=(changed,), principal=acting((changed,)))
        return True


@pytest.fixture
async def server() -> AsyncIterator[OpenIdServer]:
    async with openid_server() as made:
        yield made


@pytest.fixture
def site() -> ChangingSite:
    return ChangingSite()


class Started:
    """Sign-on before one provider."""

    def __init__(self, site: ChangingSite, server: OpenIdServer, identities: str | None = None) -> None:
        self.site, self.server = site, server
        server.clock = site.clock
        self.provider = Provider("corp", server.settings(), None, ssl.create_default_context(), site.clock, site.clock)
        self.tasks: list[Any] = []
        known = directory(identities) if identities is not None else directory()
        self.renewals = Renewals(site, lambda: known, site.clock, self.tasks.append)
        self.taken: set[tuple[str, str]] = set()
        desk = Desk(site, {"corp": self.provider}, lambda: known, site.clock, site.refused, self.renewals)
        self.sign_on = SignOn(desk, self.take_once)

    def take_once(self, issuer: str, token: str, until: float, now: float) -> bool:
        assert until > now
        before = len(self.taken)
        self.taken.add((issuer, token))
        return len(self.taken) > before

    async def begin(self, endpoint: Endpoint | None = None, browser: str = BROWSER) -> str:
        """The state of a login that has begun; the provider is told the nonce."""
        url = await self.sign_on.begin(endpoint or at(), "corp", browser, BACK)
        query = parse_qs(urlsplit(url).query)
        self.server.nonce = query["nonce"][0]
        return query["state"][0]

    async def finish(
        self, state: str, endpoint: Endpoint | None = None, browser: str = BROWSER, **more: Any
    ) -> Session:
        answer = Callback(**{"state": state, "code": "c1", "issuer": self.server.issuer, **more})
        return await self.sign_on.finish(endpoint or at(), browser, answer)

    async def refresh(self, seconds: float = 301.0) -> None:
        """Let time pass, and what is due happen."""
        self.site.now += seconds
        self.renewals.tick()
        while self.tasks:
            await self.tasks.pop()


@pytest.fixture
async def started(site: ChangingSite, server: OpenIdServer) -> AsyncIterator[Started]:
    made = Started(site, server)
    yield made
    await made.provider.close()


async def test_a_login_at_the_provider_is_a_session(started: Started) -> None:
    session = await started.finish(await started.begin())
    assert (session.principal.name, session.attachment) == ("alice@corp", at().attachment)
    assert started.site.refusals == []


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another browser": ({"browser": OTHER_BROWSER}, "invalid-answer"),
    "another address": ({"endpoint": at(text="10.0.0.22")}, "invalid-answer"),
    "another port": ({"endpoint": at(port=6)}, "invalid-answer"),
    "another card": ({"endpoint": at(mac=0x020000000016)}, "invalid-answer"),
    "another issuer": ({"issuer": "https://other.example"}, "invalid-answer"),
    "no issuer": ({"issuer": None}, "invalid-answer"),
    "an error": ({"error": "access_denied", "code": None}, "rejected"),
    "no code": ({"code": None}, "rejected"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_does_not_come_back_as_it_went_is_refused_and_over(started: Started, name: str) -> None:
    """The client learns nothing, the log the reason, and the state is used up."""
    changes, reason = REFUSED[name]
    state = await started.begin()
    with pytest.raises(AuthenticationError, match="the login was refused"):
        await started.finish(state, **changes)
    assert started.site.reasons == [reason]
    with pytest.raises(AuthenticationError):
        await started.finish(state)
    assert started.site.live == {}
    assert started.server.tokens == []


def test_browsers_come_back_to_where_they_reached_the_portal(site: ChangingSite) -> None:
    desk = Desk(site, {}, directory, site.clock, site.refused, Renewals(site, directory, site.clock, print))
    sign_on = SignOn(desk, lambda *_: True, 8443)
    assert sign_on.callback_uri("10.0.0.254", 8080) == BACK
    assert sign_on.callback_uri("2001:db8::fe", 8443) == "https://[2001:db8::fe]:8443/oidc/callback"


async def test_a_state_is_good_for_one_login_and_not_for_long(started: Started) -> None:
    state = await started.begin()
    await started.finish(state)
    with pytest.raises(AuthenticationError):
        await started.finish(state)
    late = await started.begin()
    started.site.now += 601
    with pytest.raises(AuthenticationError):
        await started.finish(late)
    with pytest.raises(AuthenticationError):
        await started.finish("made-up")


async def test_a_provider_that_lies_or_is_away_starts_no_session(started: Started) -> None:
    state = await started.begin()
    started.server.claims = started.server.claims | {"aud": "other"}
    with pytest.raises(AuthenticationError, match="the login was refused"):
        await started.finish(state)
    started.server.refusal = "server_error"
    with pytest.raises(AuthenticationError):
        await started.finish(await started.begin())
    started.server.metadata = {"issuer": "https://other.example"}
    started.site.now += 3601
    with pytest.raises(AuthenticationError, match="does not answer"):
        await started.begin()
    assert started.site.reasons == ["invalid-token", "rejected", "not-answered"]
    assert started.site.explanations[0] == "aud is another client"
    assert started.site.live == {}


async def test_who_is_disabled_here_has_no_session(site: ChangingSite, server: OpenIdServer) -> None:
    started = Started(site, server, "users: {alice@corp: {disabled: true}}\n")
    with pytest.raises(AuthenticationError):
        await started.finish(await started.begin())
    assert site.reasons == ["disabled"]
    await started.provider.close()


async def test_who_is_known_here_has_the_groups_and_labels_of_both(site: ChangingSite, server: OpenIdServer) -> None:
    """Also after a refresh."""
    started = Started(site, server, "users: {alice@corp: {groups: [night-shift], labels: {floor: '2'}}}\n")
    server.claims = server.claims | {"auth_time": int(site.now)}
    (proof,) = (await started.finish(await started.begin())).proofs
    assert (proof.groups, proof.labels) == ({"staff", "night-shift"}, (("floor", "2"),))
    server.nonce = None
    await started.refresh()
    assert site.changes == []
    await started.provider.close()


async def test_operators_see_how_the_provider_does(started: Started) -> None:
    assert started.provider.view().state == "idle"
    await started.begin()
    assert started.provider.view().state == "up"
    started.server.metadata = {"issuer": "https://other.example"}
    started.site.now += 3601
    with pytest.raises(AuthenticationError):
        await started.begin()
    view = started.provider.view()
    assert (view.state, view.since, view.detail) == (
        "down",
        started.site.now,
        "the provider says that it is another issuer",
    )


async def test_a_person_who_is_to_prove_herself_anew_does_so_at_the_provider(started: Started) -> None:
    """A login there that is older than that is not taken."""
    url = await started.sign_on.begin(at(), "corp", BROWSER, BACK, fresh=True)
    query = parse_qs(urlsplit(url).query)
    assert "login" in query["prompt"][0].split()
    started.server.nonce = query["nonce"][0]
    started.server.claims = started.server.claims | {"auth_time": int(started.site.now) - 3600}
    with pytest.raises(AuthenticationError):
        await started.finish(query["state"][0])
    assert started.site.explanations == ["the login at the provider is older than max_age"]


async def test_an_account_that_is_blocked_is_refused_by_that_name(started: Started) -> None:
    started.site.failure = AccountRefusal("user:alice@corp is blocked", "blocked")
    with pytest.raises(SessionError):
        await started.finish(await started.begin())
    (refusal,) = started.site.refusals
    assert refusal[1:] == ("user:alice@corp", "blocked")


async def test_a_name_without_a_place_in_the_policy_is_refused_with_the_reason(started: Started) -> None:
    started.site.failure = SessionError("the policy has no single segment for this principal")
    with pytest.raises(SessionError):
        await started.finish(await started.begin())
    (refusal,) = started.site.refusals
    assert refusal[1:] == ("user:alice@corp", "no-session")


async def test_an_unknown_provider_is_the_clients_mistake(started: Started) -> None:
    with pytest.raises(InputError):
        await started.sign_on.begin(at(), "other", BROWSER, BACK)


async def test_a_port_that_begins_and_never_ends_keeps_nobody_else_out(started: Started) -> None:
    """Its own oldest go; then it has to wait; another port has its turn."""
    other = await started.begin(at(port=6, text="10.0.0.9"))
    states = [await started.begin() for _ in range(MAX_PENDING_PER_PORT + 1)]
    await started.begin()
    with pytest.raises(LoginLimitError):
        await started.begin()
    with pytest.raises(AuthenticationError):
        await started.finish(states[0])
    started.server.nonce = None
    await started.begin(at(port=7, text="10.0.0.7"))
    assert len(started.sign_on._logins) == MAX_PENDING_PER_PORT + 2
    assert other in started.sign_on._logins


async def test_made_up_answers_fill_no_log(started: Started) -> None:
    for _ in range(100):
        with pytest.raises((AuthenticationError, LoginLimitError)):
            await started.finish("made-up")
    assert len(started.site.reasons) == ANSWER_RATE.burst
    await started.finish(await started.begin(at(port=6)), at(port=6))


async def test_requests_to_a_provider_are_bounded_by_port(started: Started) -> None:
    state = await started.begin()
    started.sign_on._desk._requests[1, 5] = 4
    with pytest.raises(CapacityError):
        await started.finish(state)
    assert started.site.reasons == ["busy"]


# a host without a browser


async def test_a_device_is_let_in_where_it_asked(started: Started) -> None:
    begun = await started.sign_on.devices.begin(at(), None)
    started.server.refusal, started.server.nonce = "authorization_pending", None
    assert await started.sign_on.devices.poll(at(), begun.handle) == 5.0
    assert started.server.tokens == []  # the device was too early: the provider was not asked
    started.site.now += 5
    assert await started.sign_on.devices.poll(at(), begun.handle) == 5.0
    started.server.refusal = None
    started.site.now += 5
    with pytest.raises(AuthenticationError):
        await started.sign_on.devices.poll(at(port=6), begun.handle)
    session = await started.sign_on.devices.poll(at(), begun.handle)
    assert isinstance(session, Session)
    assert session.principal.name == "alice@corp"
    with pytest.raises(AuthenticationError):
        await started.sign_on.devices.poll(at(), begun.handle)
    assert "secret-device-code" not in repr(begun)


async def test_a_device_slows_down_when_it_is_told_to(started: Started) -> None:
    begun = await started.sign_on.devices.begin(at(), "corp")
    started.server.refusal = "slow_down"
    started.site.now += 5
    assert await started.sign_on.devices.poll(at(), begun.handle) == 10.0
    started.site.now += 9
    await started.sign_on.devices.poll(at(), begun.handle)
    assert len(started.server.tokens) == 1


async def test_a_device_that_is_refused_or_too_late_is_not_let_in(started: Started) -> None:
    for refusal, wait in (("access_denied", 5), ("expired_token", 5), (None, 601)):
        begun = await started.sign_on.devices.begin(at(), "corp")
        started.server.refusal, started.server.nonce = refusal, None
        started.site.now += wait
        with pytest.raises(AuthenticationError):
            await started.sign_on.devices.poll(at(), begun.handle)
    assert started.site.reasons == ["rejected", "rejected", "invalid-answer"]
    assert started.site.live == {}


# afterwards


async def test_a_refused_refresh_ends_the_proof(started: Started) -> None:
    await started.finish(await started.begin())
    started.server.refusal = "invalid_grant"
    await started.refresh()
    assert [(n, changed, why) for n, changed, why, _ in started.site.changes] == [(1, None, SessionEvent.NOT_RENEWED)]
    assert len(started.renewals) == 0
    assert started.server.tokens[-1]["refresh_token"] == ["r1"]


async def test_a_provider_that_is_away_is_asked_again_and_the_proof_holds_meanwhile(started: Started) -> None:
    await started.finish(await started.begin())
    started.server.refusal = "temporarily_unavailable"
    await started.refresh()
    assert started.site.changes == []
    await started.refresh(1)
    assert len(started.server.tokens) == 2  # not at once
    started.server.refusal, started.server.nonce = None, None
    await started.refresh(15)
    assert len(started.server.tokens) == 3
    assert len(started.renewals) == 1


async def test_other_groups_change_the_proof(started: Started) -> None:
    await started.finish(await started.begin())
    started.server.nonce = None
    started.server.claims = started.server.claims | {"groups": ["guests"]}
    await started.refresh()
    ((_, changed, why, _),) = started.site.changes
    assert changed is not None
    assert (changed.groups, why) == ({"guests"}, SessionEvent.CHANGED)


async def test_a_refresh_makes_a_proof_last_and_is_not_told_each_time(started: Started) -> None:
    started.server.claims = started.server.claims | {"auth_time": int(started.site.now)}
    before = await started.finish(await started.begin())
    started.server.nonce = None
    await started.refresh()
    assert started.site.changes == []
    await started.refresh(1800)
    ((_, changed, why, _),) = started.site.changes
    assert changed is not None
    assert why is None  # only times have moved
    assert changed.at == started.site.now
    assert changed.reauthenticate > before.reauthenticate
    assert changed.expires == before.expires


@pytest.mark.parametrize("claims", [{"sub": "b2"}, {"preferred_username": "mallory"}, {"aud": "other"}])
async def test_a_refresh_that_is_about_somebody_else_ends_the_proof(started: Started, claims: dict[str, Any]) -> None:
    await started.finish(await started.begin())
    started.server.nonce = None
    started.server.claims = started.server.claims | claims
    await started.refresh()
    assert [why for *_, why, _ in started.site.changes] == [SessionEvent.NOT_RENEWED]


async def test_a_session_that_has_ended_leaves_no_token_behind(started: Started) -> None:
    session = await started.finish(await started.begin())
    started.site.end_session(session.number, "logout")
    started.renewals.session_event(SessionEvent.LOGOUT, session, "", started.site.now)
    assert len(started.renewals) == 0


async def test_after_a_restart_a_login_is_not_refreshed_and_a_logout_ends_it_all_the_same(
    started: Started, site: ChangingSite, server: OpenIdServer
) -> None:
    await started.finish(await started.begin())
    server.nonce, asked = None, len(server.tokens)
    again = Started(site, server)
    await again.refresh()
    assert len(server.tokens) == asked
    assert await again.sign_on.logout("corp", server.token({"jti": "j1", "events": {LOGOUT_EVENT: {}}})) == 1
    assert site.live == {}
    await again.provider.close()


async def test_a_logout_at_the_provider_ends_the_sessions_that_rest_on_it(started: Started) -> None:
    """Once: a token that comes again is refused, whoever sends it."""
    await started.finish(await started.begin())
    started.server.nonce = None
    event = {"events": {LOGOUT_EVENT: {}}}
    assert await started.sign_on.logout("corp", started.server.token({"sub": "b2", "jti": "j0", **event})) == 0
    token = started.server.token({"jti": "j1", **event})
    assert await started.sign_on.logout("corp", token) == 1
    assert [(changed, why) for _, changed, why, _ in started.site.changes] == [(None, SessionEvent.SIGNALLED)]
    with pytest.raises(InvalidTokenError, match="before"):
        await started.sign_on.logout("corp", token)
    with pytest.raises(InvalidTokenError, match="events"):
        await started.sign_on.logout("corp", started.server.token({"jti": "j2"}))
