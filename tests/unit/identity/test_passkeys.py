"""Passkeys: what a relying party has to refuse (WebAuthn level 3 §7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

from fakes.authenticator import BE, UP, UV, Authenticator
from fakes.portal_site import at
from fakes.records import MemoryStore
from zethane.identity.factor import Passkey
from zethane.service.passkey import PasskeyRefusedError, RelyingParty
from zethane.service.passkeys import CHALLENGE_LIFETIME, MAX_CHALLENGES_PER_PORT, Passkeys

PARTY = RelyingParty("portal.example", "https://portal.example")


class Clock:
    now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """Passkeys, a clock, and one authenticator."""

    def __init__(self, **how: Any) -> None:
        self.clock = Clock()
        self.store = MemoryStore()
        self.passkeys = Passkeys(self.store, self.clock)
        self.device = Authenticator(**how)

    def enrol(self, user: str = "alice") -> Passkey:
        options = self.passkeys.enrol_options(at(), PARTY, user)
        made = self.passkeys.enrolled(at(), user, self.device.create(options), "laptop")
        self.store.save_factor(made)
        return made

    def options(self) -> dict[str, Any]:
        return self.passkeys.login_options(at(), PARTY)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.enrol()
    bench.device.count += 1
    return bench


def test_a_passkey_alone_says_who_its_user_is(bench: Bench) -> None:
    found = bench.passkeys.asserted(at(), bench.device.get(bench.options()), None)
    assert (found.passkey.user, found.verified) == ("alice", True)
    kept = bench.store.factor(found.passkey.id)
    assert isinstance(kept, Passkey)
    assert (kept.sign_count, kept.used) == (2, bench.clock.now)


def test_login_options_name_nobodys_passkeys(bench: Bench) -> None:
    options = bench.options()
    assert options["allowCredentials"] == []
    assert options["userVerification"] == "required"


def test_passkeys_of_one_user_share_a_handle_and_are_not_made_twice(bench: Bench) -> None:
    options = bench.passkeys.enrol_options(at(), PARTY, "alice")
    assert base64url_to_bytes(options["user"]["id"]) == bench.device.handle
    assert [base64url_to_bytes(one["id"]) for one in options["excludeCredentials"]] == [bench.device.credential_id]
    with pytest.raises(PasskeyRefusedError, match="already"):
        bench.passkeys.enrolled(at(), "alice", bench.device.create(options), "again")


def test_an_answer_works_once(bench: Bench) -> None:
    answer = bench.device.get(bench.options())
    bench.passkeys.asserted(at(), answer, None)
    with pytest.raises(PasskeyRefusedError, match="unknown, used or too old"):
        bench.passkeys.asserted(at(), answer, None)


def test_a_challenge_is_used_up_by_a_wrong_answer(bench: Bench) -> None:
    options = bench.options()
    wrong = bench.device.get(options)
    wrong["response"]["signature"] = bytes_to_base64url(b"no")
    with pytest.raises(PasskeyRefusedError):
        bench.passkeys.asserted(at(), wrong, None)
    with pytest.raises(PasskeyRefusedError, match="unknown, used or too old"):
        bench.passkeys.asserted(at(), bench.device.get(options), None)


def test_an_answer_that_comes_too_late_is_refused(bench: Bench) -> None:
    answer = bench.device.get(bench.options())
    bench.clock.now += CHALLENGE_LIFETIME
    with pytest.raises(PasskeyRefusedError, match="too old"):
        bench.passkeys.asserted(at(), answer, None)


@pytest.mark.parametrize("elsewhere", [at(port=6), at(text="10.0.0.22"), at(mac=0x020000000016)])
def test_an_answer_counts_only_where_the_challenge_was_asked_for(bench: Bench, elsewhere: Any) -> None:
    with pytest.raises(PasskeyRefusedError, match="another place"):
        bench.passkeys.asserted(elsewhere, bench.device.get(bench.options()), None)


Wrong = Callable[[Authenticator], None]


def changed(**values: Any) -> Wrong:
    return lambda device: [setattr(device, name, value) for name, value in values.items()] and None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (changed(origin="https://portal.example.evil"), "origin"),
        (changed(origin="http://portal.example"), "origin"),
        (changed(origin="https://portal.example:8443"), "origin"),
        (changed(rp_id="evil.example"), "RP ID"),
        (changed(flags=UP), "verif"),
        (changed(flags=UV), "present"),
        (changed(flags=UP | UV | BE), "backups"),
        (changed(count=1), "counter"),
        (changed(count=0), "counter"),
        (changed(client={"crossOrigin": True}), "page"),
        (changed(client={"topOrigin": "https://evil.example"}), "page"),
        (changed(client={"type": "webauthn.create"}), "type"),
        (changed(handle=b"somebody else"), "handle"),
        (changed(credential_id=b"\x02" * 32), "nobody"),
    ],
)
def test_an_answer_that_is_wrong_in_one_thing_is_refused(bench: Bench, wrong: Wrong, words: str) -> None:
    wrong(bench.device)
    with pytest.raises(PasskeyRefusedError) as caught:
        bench.passkeys.asserted(at(), bench.device.get(bench.options()), None)
    assert words.lower() in caught.value.explanation.lower()
    (kept,) = bench.store.factors_of("alice")
    assert isinstance(kept, Passkey)
    assert (kept.sign_count, kept.used) == (1, None)


def test_alone_a_passkey_has_to_name_its_user(bench: Bench) -> None:
    with pytest.raises(PasskeyRefusedError, match="handle"):
        bench.passkeys.asserted(at(), bench.device.get(bench.options(), handle=False), None)


def test_the_signature_of_another_key_is_refused(bench: Bench) -> None:
    other = Authenticator(handle=bench.device.handle, rp_id=PARTY.id, count=9)
    with pytest.raises(PasskeyRefusedError, match="signature"):
        bench.passkeys.asserted(at(), other.get(bench.options()), None)


def test_authenticators_without_a_counter_are_taken_again_and_again() -> None:
    bench = Bench(count=0)
    bench.enrol()
    for _ in range(2):
        bench.passkeys.asserted(at(), bench.device.get(bench.options()), None)


def test_beside_a_password_presence_is_enough_and_only_the_own_passkey_counts(bench: Bench) -> None:
    bench.device.flags = UP
    options = bench.passkeys.prove_options(at(), PARTY, "alice")
    assert [base64url_to_bytes(one["id"]) for one in options["allowCredentials"]] == [bench.device.credential_id]
    assert not bench.passkeys.asserted(at(), bench.device.get(options, handle=False), "alice").verified
    bench.device.count += 1
    with pytest.raises(PasskeyRefusedError, match="nobody who may"):
        bench.passkeys.asserted(at(), bench.device.get(bench.passkeys.prove_options(at(), PARTY, "bob")), "bob")


def test_a_challenge_for_one_purpose_answers_no_other(bench: Bench) -> None:
    with pytest.raises(PasskeyRefusedError, match="purpose"):
        bench.passkeys.asserted(at(), bench.device.get(bench.options()), "alice")
    with pytest.raises(PasskeyRefusedError, match="purpose"):
        bench.passkeys.asserted(at(), bench.device.get(bench.passkeys.prove_options(at(), PARTY, "alice")), None)


def test_a_passkey_made_for_another_name_of_the_portal_is_refused(bench: Bench) -> None:
    other = RelyingParty("login.example", "https://login.example")
    with pytest.raises(PasskeyRefusedError, match="another name"):
        bench.passkeys.asserted(at(), bench.device.get(bench.passkeys.login_options(at(), other)), None)


def test_enrolment_takes_no_attestation_of_others() -> None:
    bench = Bench()
    options = bench.passkeys.enrol_options(at(), PARTY, "alice")
    statement = {"fmt": "packed", "attStmt": {"alg": -7, "sig": b"x", "x5c": [b"certificate"]}}
    with pytest.raises(PasskeyRefusedError, match="attestation"):
        bench.passkeys.enrolled(at(), "alice", bench.device.create(options, statement), "x")


def test_enrolment_is_for_who_asked() -> None:
    bench = Bench()
    made = bench.device.create(bench.passkeys.enrol_options(at(), PARTY, "alice"))
    with pytest.raises(PasskeyRefusedError, match="somebody else"):
        bench.passkeys.enrolled(at(), "bob", made, "x")


def test_a_port_holds_a_few_challenges_and_no_other_ports_go(bench: Bench) -> None:
    elsewhere = bench.passkeys.login_options(at(port=9), PARTY)
    first = bench.options()
    for _ in range(MAX_CHALLENGES_PER_PORT):
        bench.options()
    with pytest.raises(PasskeyRefusedError, match="unknown"):
        bench.passkeys.asserted(at(), bench.device.get(first), None)
    assert bench.passkeys.asserted(at(port=9), bench.device.get(elsewhere), None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["id", "rawId", "type", "response"]), json_values))
def test_no_answer_raises_anything_but_a_refusal(answer: dict[str, Any]) -> None:
    bench = Bench()
    with pytest.raises(PasskeyRefusedError):
        bench.passkeys.asserted(at(), answer, None)


@given(st.sampled_from(["clientDataJSON", "authenticatorData", "signature", "userHandle"]), st.binary(max_size=300))
def test_no_bytes_in_an_answer_raise_anything_but_a_refusal(part: str, value: bytes) -> None:
    bench = Bench()
    bench.enrol()
    bench.device.count += 1
    answer = bench.device.get(bench.options())
    answer["response"][part] = bytes_to_base64url(value)
    with pytest.raises(PasskeyRefusedError):
        bench.passkeys.asserted(at(), answer, None)


@given(st.binary(max_size=400))
def test_no_attestation_object_raises_anything_but_a_refusal(value: bytes) -> None:
    bench = Bench()
    made = bench.device.create(bench.passkeys.enrol_options(at(), PARTY, "alice"))
    made["response"]["attestationObject"] = bytes_to_base64url(value)
    with pytest.raises(PasskeyRefusedError):
        bench.passkeys.enrolled(at(), "alice", made, "x")


def test_client_data_that_nest_too_deep_are_a_refusal(bench: Bench) -> None:
    answer = bench.device.get(bench.options())
    answer["response"]["clientDataJSON"] = bytes_to_base64url(b"[" * 6000)
    with pytest.raises(PasskeyRefusedError):
        bench.passkeys.asserted(at(), answer, None)
    data = json.loads(base64url_to_bytes(bench.device.get(bench.options())["response"]["clientDataJSON"]))
    assert set(data) == {"type", "challenge", "origin", "crossOrigin"}
