"""Events as a transmitter pushes them: who may, what is refused, and what follows for live sessions."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fakes.frames import Host
from fakes.issuer import Issuer
from fakes.signals_site import AGENT, NOW, TOKEN, SignalsSite
from fakes.site import BOB, WEB, proof_of
from zethane.audit.reason import SessionEvent
from zethane.errors import CapacityError
from zethane.identity.proof import Proof
from zethane.identity.session import Session
from zethane.identity.signals.token import CAEP, RISC, SSF
from zethane.service.signals import RECENT, REFUSALS

ALICE = Proof(
    "user", "alice@corp", "oidc", NOW - 100, ("pwd",), 1, None, frozenset({"staff"}),
    issuer="https://idp.example", subject="2482", reference="sid-1",
)  # fmt: skip
LAPTOP = Proof("device", "laptop", "certificate", NOW - 100, ("x509",), 2, labels=(("kind", "laptop"),), issuer="ca")
HOST = Host(3, "02:00:00:00:00:03", "10.0.0.3")
WEB_HOST = Host(4, "02:00:00:00:00:04", "10.0.0.4")
SUBJECT = {"format": "iss_sub", "iss": "https://idp.example", "sub": "2482"}


def login(here: SignalsSite, *proofs: Proof, host: Host = HOST) -> Session:
    place = here.site.endpoint(host)
    for proof in proofs:
        session = here.site.admin.start_session(place.attachment, proof, place.address, None)
    return session


def signed(signer: Issuer, kind: str = "session-revoked", happened: float = NOW, **changes: Any) -> str:
    uri = kind if "://" in kind else CAEP + kind
    content = {"event_timestamp": int(happened), **changes.pop("content", {})}
    return signer.set(uri, content, **({"iat": int(NOW), "sub_id": SUBJECT} | changes))


def live(here: SignalsSite) -> list[Session]:
    return [one.session for one in here.site.state.sessions]


def told(here: SignalsSite) -> list[tuple[SessionEvent, str]]:
    return [(event, detail) for event, _, detail, _ in here.site.records.of("session")]


async def test_a_revoked_session_ends_and_the_record_says_who_told(here: SignalsSite, signer: Issuer) -> None:
    login(here, ALICE)
    answer = await here.push(signed(signer, jti="j-7"))
    assert (answer.status_code, answer.content) == (202, b"")
    assert live(here) == []
    assert told(here)[-1] == (SessionEvent.SIGNALLED, "idp: session-revoked j-7")


async def test_the_device_stays_when_its_user_goes(here: SignalsSite, signer: Issuer) -> None:
    session = login(here, LAPTOP, ALICE)
    assert session.segment == "staff"
    assert (await here.push(signed(signer))).status_code == 202
    assert [(one.number, one.segment, one.proofs[0].account) for one in live(here)] == [
        (session.number, "machines", "device:laptop")
    ]


async def test_a_token_is_taken_once(here: SignalsSite, signer: Issuer) -> None:
    """Pushed again it is acknowledged, as RFC 8935 wants it, and changes nothing."""
    token = signed(signer)
    login(here, ALICE)
    assert (await here.push(token)).status_code == 202
    again = login(here, replace(ALICE, at=NOW + 120))
    assert (await here.push(token)).status_code == 202
    assert live(here) == [again]
    assert here.site.state.counters["signals_repeated"] == 1


async def test_an_event_about_somebody_who_is_just_logging_in_is_not_lost(here: SignalsSite, signer: Issuer) -> None:
    """She has proved herself to the provider before; the controller hears of that after the event."""
    assert (await here.push(signed(signer))).status_code == 202
    login(here, replace(ALICE, at=NOW - 5))
    await asyncio.sleep(0)
    assert live(here) == []
    later = login(here, replace(ALICE, at=NOW + 120))
    await asyncio.sleep(0)
    assert live(here) == [later]


async def test_what_is_remembered_for_logins_is_forgotten(here: SignalsSite, signer: Issuer) -> None:
    assert (await here.push(signed(signer))).status_code == 202
    here.site.now += RECENT + 1
    login(here, replace(ALICE, at=NOW - 5))
    await asyncio.sleep(0)
    assert len(live(here)) == 1


async def test_claims_that_change_move_the_session_and_end_only_what_is_not_allowed_there(
    here: SignalsSite, signer: Issuer
) -> None:
    here.site.login(WEB_HOST, WEB)
    session = login(here, ALICE)
    for port in (80, 8080, 443):
        here.site.s1.send(HOST.port, HOST.tcp(WEB_HOST, 40000, port))
    assert sorted(flow.key.dport for flow in here.site.state.flows.of_session(session.number)) == [80, 8080]
    answer = await here.push(signed(signer, "token-claims-change", content={"claims": {"groups": ["visit"]}}))
    assert answer.status_code == 202
    assert [one.segment for one in live(here) if one.number == session.number] == ["guests"]
    assert [flow.key.dport for flow in here.site.state.flows.of_session(session.number)] == [80]
    await here.push(signed(signer, "token-claims-change", content={"claims": {"groups": []}}))
    assert session.number not in [one.number for one in live(here)]


async def test_claims_that_change_take_nothing_that_the_identities_give(here: SignalsSite, signer: Issuer) -> None:
    session = login(here, replace(ALICE, name="dora@corp"))
    await here.push(signed(signer, "token-claims-change", content={"claims": {"groups": []}}))
    assert [(one.number, one.segment, one.proofs[0].groups) for one in live(here)] == [
        (session.number, "staff", {"staff"})
    ]


async def test_the_embedded_providers_transmitter_ends_its_sessions_and_judges_devices(
    here: SignalsSite, signer: Issuer
) -> None:
    signer.documents["/.well-known/ssf-configuration"] = {"issuer": signer.url, "jwks_uri": signer.jwks_uri}
    login(here, proof_of(BOB, NOW - 10))
    bob = {"format": "opaque", "id": "bob"}
    elsewhere = await here.push(signed(signer, sub_id=bob))
    assert (elsewhere.status_code, len(live(here))) == (202, 1)  # he is not of the source that idp speaks about
    laptop = {"format": "complex", "device": {"format": "opaque", "id": "laptop"}}
    verdict = signed(signer, "device-compliance-change", sub_id=laptop, content={"current_status": "not-compliant"})
    assert (await here.push(verdict, "hr", TOKEN + "-hr")).status_code == 202
    facts = here.devices.postures.facts("laptop")
    assert facts is not None
    assert (facts.posture, facts.measured) == ((("compliant", False),), NOW)
    own = signed(signer, RISC + "account-disabled", sub_id=bob)
    assert (await here.push(own, "hr", TOKEN + "-hr")).status_code == 202
    assert live(here) == []


async def test_events_without_effect_are_acknowledged_and_counted(here: SignalsSite, signer: Issuer) -> None:
    session = login(here, ALICE)
    stream = {"format": "opaque", "id": "stream-1"}
    for kind in (SSF + "verification", SSF + "stream-updated", "https://example.org/unknown", RISC + "account-enabled"):
        answer = await here.push(signed(signer, kind, sub_id=stream, content={"state": "x\ny", "status": "paused"}))
        assert answer.status_code == 202
    assert (await here.push(signed(signer, sub_id={"format": "opaque", "id": "nobody"}))).status_code == 202
    assert live(here) == [session]
    counters = here.site.state.counters
    assert (counters["signals"], counters["signals_verified"], counters["signals_unknown"]) == (5, 1, 2)
    assert counters["signals_without_effect"] == 1


def refusal(answer: httpx.Response) -> str:
    assert answer.status_code == 400
    assert answer.headers["content-language"] == "en"
    body = answer.json()
    assert set(body) == {"err", "description"}
    return str(body["err"])


async def test_who_is_not_the_transmitter_is_refused_before_anything_is_read(here: SignalsSite, signer: Issuer) -> None:
    token = signed(signer)
    assert refusal(await here.push(token, bearer="wrong")) == "authentication_failed"
    assert refusal(await here.push(token, "made-up", bearer="wrong")) == "authentication_failed"
    assert refusal(await here.push(token, bearer=AGENT)) == "authentication_failed"
    assert refusal(await here.push(token, authorization="Basic eDp5")) == "authentication_failed"
    assert refusal(await here.push(token, authorization="")) == "authentication_failed"
    assert refusal(await here.push(token, "hr")) == "access_denied"
    assert refusal(await here.push(token, "made-up")) == "access_denied"
    assert signer.asked == 0


async def test_every_wrong_token_is_refused_with_its_code(here: SignalsSite, signer: Issuer) -> None:
    session = login(here, ALICE)
    good = signed(signer)
    header, _, signature = good.split(".")
    other = signed(signer, jti="other").split(".")
    expected: list[tuple[str | bytes, str]] = [
        (b"", "invalid_request"),
        (b"\xff\xfe", "invalid_request"),
        (b"{}", "invalid_request"),
        (good[:-5], "invalid_key"),
        (f"{header}.{other[1]}.{signature}", "invalid_key"),
        (signer.sign(b"[]", "secevent+jwt"), "invalid_request"),
        (signer.sign(json.dumps({"a": 1}).encode()), "invalid_request"),
        (signed(signer, typ="JWT"), "invalid_request"),
        (signed(signer, iss="https://evil.example"), "invalid_issuer"),
        (signed(signer, aud="https://other.example"), "invalid_audience"),
        (signed(signer, iat=int(NOW) + 3600), "invalid_request"),
        (signed(signer, happened=NOW + 3600), "invalid_request"),
        (signed(signer, sub_id=None), "invalid_request"),
    ]
    for token, code in expected:
        assert refusal(await here.push(token)) == code, token
    signer.rotate("unpublished", publish=False)
    assert refusal(await here.push(signed(signer))) == "invalid_key"
    assert refusal(await here.push(good, **{"content-type": "application/jwt"})) == "invalid_request"
    assert live(here) == [session]
    assert here.site.state.counters["signals_refused"] == len(expected) + 2


async def test_a_rotated_key_is_found(here: SignalsSite, signer: Issuer) -> None:
    login(here, ALICE)
    assert (await here.push(signed(signer, "credential-change", sub_id={"format": "opaque", "id": "x"}))).is_success
    signer.rotate("key-2")
    assert (await here.push(signed(signer))).status_code == 202
    assert live(here) == []


async def test_without_the_transmitters_keys_it_is_asked_to_come_again(here: SignalsSite, signer: Issuer) -> None:
    login(here, ALICE)
    signer.status = 500
    token = signed(signer)
    answer = await here.push(token)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    views = {view.name: view.state for view in here.sources.all()}
    assert views == {"idp": "down", "hr": "idle"}
    signer.status = 200
    assert (await here.push(token)).status_code == 202
    assert live(here) == []
    assert {view.name: view.state for view in here.sources.all()}["idp"] == "up"


async def test_a_disk_that_takes_nothing_keeps_no_session_alive(
    here: SignalsSite, signer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(here, ALICE)

    def full(*_: object) -> None:
        raise CapacityError("the disk is full")

    monkeypatch.setattr(here.site.store, "see", full)
    assert (await here.push(signed(signer))).status_code == 202
    assert live(here) == []


async def test_strangers_do_not_fill_the_log(here: SignalsSite, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(REFUSALS.burst + 20):
        await here.push("x", bearer="guessed")
    assert "".join(capsys.readouterr()).count("signal-refused") == REFUSALS.burst
    assert here.site.state.counters["signals_refused"] == REFUSALS.burst + 20


async def test_a_token_in_the_log_is_never_the_bearers(
    here: SignalsSite, signer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    await here.push(signed(signer, aud="https://other.example"))
    await here.push(signed(signer))
    await here.push("x", bearer="guessed-secret")
    said = "".join(capsys.readouterr())
    assert "signal-refused" in said
    assert TOKEN not in said
    assert "guessed-secret" not in said
