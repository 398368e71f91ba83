"""What an OpenID provider's claims are taken for, and every way in which they are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.identity.openid import (
    LOGOUT_EVENT,
    Expected,
    InvalidTokenError,
    check_id_token,
    check_logout_token,
    check_refreshed,
    proof_of,
)
from zethane.identity.proof import Proof
from zethane.identity.sources.oidc import OpenIdProvider

NOW = 1_000_000_000.0
ISSUER = "https://id.example"
EXPECTED = Expected(ISSUER, "zethane", "n1", None, 60.0)
GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "a1",
    "aud": "zethane",
    "exp": NOW + 300,
    "iat": NOW - 2,
    "nonce": "n1",
    "preferred_username": "alice",
    "groups": ["staff"],
}
GONE = object()


def settings(**more: Any) -> OpenIdProvider:
    return OpenIdProvider.model_validate({"issuer": ISSUER, "client_id": "zethane", **more})


def changed(claims: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (claims | changes).items() if value is not GONE}


RIGHT: dict[str, dict[str, Any]] = {
    "as it should be": {},
    "audience in a list": {"aud": ["zethane"]},
    "several audiences, authorized for us": {"aud": ["other", "zethane"], "azp": "zethane"},
    "expired within the skew": {"exp": NOW - 59},
    "from a clock that is ahead": {"iat": NOW + 59},
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": ISSUER + "/"}, "iss"),
    "no issuer": ({"iss": GONE}, "iss"),
    "another client": ({"aud": "other"}, "aud"),
    "no audience": ({"aud": GONE}, "aud"),
    "an audience that is no text": ({"aud": [1]}, "aud"),
    "several audiences": ({"aud": ["other", "zethane"]}, "azp"),
    "authorized for another": ({"azp": "other"}, "azp"),
    "expired": ({"exp": NOW - 60}, "expired"),
    "without an end": ({"exp": GONE}, "exp"),
    "an end that is no number": ({"exp": "tomorrow"}, "exp"),
    "an endless end": ({"exp": math.inf}, "exp"),
    "an end that is not even that": ({"exp": math.nan}, "exp"),
    "an end that is true": ({"exp": True}, "exp"),
    "from the future": ({"iat": NOW + 61}, "iat"),
    "from long ago": ({"iat": NOW - 661}, "iat"),
    "from no time": ({"iat": GONE}, "iat"),
    "not yet good": ({"nbf": NOW + 61}, "nbf"),
    "another nonce": ({"nonce": "n2"}, "nonce"),
    "no nonce": ({"nonce": GONE}, "nonce"),
    "a nonce that is no text": ({"nonce": ["n1"]}, "nonce"),
    "nobody": ({"sub": GONE}, "sub"),
    "a nobody of no length": ({"sub": ""}, "sub"),
    "somebody too long": ({"sub": "a" * 256}, "sub"),
    "a subject with a line's end": ({"sub": "a\nb"}, "sub"),
    "authenticated in the future": ({"auth_time": NOW + 61}, "auth_time"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_token_is_taken(name: str) -> None:
    check_id_token(changed(GOOD, RIGHT[name]), EXPECTED, NOW)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_token_is_refused_with_the_reason(name: str) -> None:
    changes, reason = WRONG[name]
    with pytest.raises(InvalidTokenError, match=reason):
        check_id_token(changed(GOOD, changes), EXPECTED, NOW)


def test_a_nonce_that_nobody_asked_for_is_refused() -> None:
    with pytest.raises(InvalidTokenError, match="nonce"):
        check_id_token(GOOD, Expected(ISSUER, "zethane"), NOW)


@pytest.mark.parametrize(("age", "good"), [(0, True), (359, True), (361, False), (None, False)])
def test_max_age_asks_for_a_recent_login(age: int | None, good: bool) -> None:
    claims = GOOD | ({"auth_time": NOW - age} if age is not None else {})
    expected = Expected(ISSUER, "zethane", "n1", 300.0, 60.0)
    if good:
        check_id_token(claims, expected, NOW)
        return
    with pytest.raises(InvalidTokenError, match="max_age"):
        check_id_token(claims, expected, NOW)


def test_a_refreshed_token_is_about_the_same_person_and_login() -> None:
    fresh = {name: value for name, value in GOOD.items() if name != "nonce"}
    check_refreshed(fresh, GOOD, Expected(ISSUER, "zethane"), NOW)
    check_refreshed(GOOD, GOOD, Expected(ISSUER, "zethane"), NOW)
    before = GOOD | {"auth_time": NOW - 10}
    for wrong, reason in (({"sub": "b2"}, "sub"), ({"nonce": "n2"}, "nonce"), ({"auth_time": NOW - 11}, "auth_time")):
        with pytest.raises(InvalidTokenError, match=reason):
            check_refreshed(fresh | wrong, before, Expected(ISSUER, "zethane"), NOW)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
CLAIMS = st.dictionaries(
    st.sampled_from([*GOOD, "azp", "nbf", "auth_time", "acr", "amr", "sid", "jti", "events"]), VALUE, max_size=8
)


@given(CLAIMS)
def test_claims_of_any_kind_are_taken_or_refused_and_nothing_else_happens(claims: dict[str, Any]) -> None:
    every = GOOD | claims
    try:
        check_id_token(every, EXPECTED, NOW)
        proof = proof_of("corp", settings(), every, NOW)
    except InvalidTokenError:
        return
    assert every["iss"] == ISSUER
    assert proof.name.endswith("@corp")
    assert proof.at <= NOW
    assert proof.name.isascii()


@given(CLAIMS)
def test_logout_tokens_of_any_kind_are_taken_or_refused(claims: dict[str, Any]) -> None:
    try:
        logout = check_logout_token(LOGOUT | claims, Expected(ISSUER, "zethane"), NOW)
    except InvalidTokenError:
        return
    assert logout.subject or logout.sid


# what is made of them


def test_an_address_counts_where_the_provider_has_made_sure_of_it() -> None:
    def told(**claims: object) -> dict[str, str]:
        return dict(proof_of("corp", settings(), GOOD | claims, NOW).attributes)

    assert told(email="a@example.org", email_verified=True) == {"email": "a@example.org"}
    for claims in ({}, {"email_verified": "true"}, {"email_verified": False}, {"email_verified": True, "email": 7}):
        assert told(**{"email": "a@example.org"} | claims) == {}


def test_a_name_ends_in_that_of_the_provider() -> None:
    proof = proof_of("corp", settings(), GOOD | {"sid": "s1"}, NOW)
    assert (proof.kind, proof.name, proof.method) == ("user", "alice@corp", "oidc")
    assert (proof.issuer, proof.subject, proof.reference) == (ISSUER, "a1", "s1")
    assert proof.groups == {"staff"}
    assert (proof.aal, proof.mfa_at, proof.at) == (1, None, NOW)


@pytest.mark.parametrize("name", ["", "@x", "a b", "a" * 60, "älice", "a\n", None, 7, ["alice"], "a/b", "-a"])
def test_a_name_that_cannot_be_one_is_refused(name: object) -> None:
    with pytest.raises(InvalidTokenError, match="preferred_username"):
        proof_of("corp", settings(), GOOD | {"preferred_username": name}, NOW)


def test_nobody_of_one_provider_has_the_name_of_anybody_of_another() -> None:
    """Whatever the claim says, the last `@` is in front of the provider's name."""
    names = {proof_of(name, settings(), GOOD | {"preferred_username": "x@a"}, NOW).name for name in ("a", "b", "x")}
    assert names == {"x@a@a", "x@a@b", "x@a@x"}
    assert all(name.rpartition("@")[2] in ("a", "b", "x") for name in names)


def test_strength_comes_from_acr_and_amr() -> None:
    strong = settings(acr={"urn:gold": 3})
    told = {"acr": "urn:gold", "amr": ["pwd", "mfa", 7, "No Method"], "auth_time": NOW - 100}
    proof = proof_of("corp", strong, GOOD | told, NOW)
    assert (proof.aal, proof.amr, proof.mfa_at, proof.at) == (3, ("pwd", "mfa"), NOW - 100, NOW)
    assert proof.attributes == (("acr", "urn:gold"),)
    assert proof_of("corp", settings(), GOOD | told, NOW).aal == 2
    assert proof_of("corp", settings(), GOOD | {"acr": "urn:gold"}, NOW).aal == 1


def test_groups_are_those_of_the_mapping_where_there_is_one() -> None:
    claims = GOOD | {"groups": ["Domain Users", "cn=admins", "staff", "no group"]}
    mapped = proof_of("corp", settings(groups={"cn=admins": "admins", "Domain Users": "staff"}), claims, NOW)
    assert mapped.groups == {"admins", "staff"}
    assert proof_of("corp", settings(), claims, NOW).groups == {"staff"}
    assert proof_of("corp", settings(), GOOD | {"groups": "staff"}, NOW).groups == {"staff"}
    assert proof_of("corp", settings(groups_claim="roles"), GOOD, NOW).groups == frozenset()
    for wrong in (7, {"staff": True}, [["staff"]], ["x"] * 1025, [f"g{n}" for n in range(65)]):
        with pytest.raises(InvalidTokenError, match="groups"):
            proof_of("corp", settings(), GOOD | {"groups": wrong}, NOW)


# back-channel logout

LOGOUT: dict[str, Any] = {
    "iss": ISSUER,
    "aud": "zethane",
    "iat": NOW,
    "exp": NOW + 120,
    "jti": "j1",
    "sub": "a1",
    "sid": "s1",
    "events": {LOGOUT_EVENT: {}},
}


def test_a_logout_ends_what_rests_on_the_login() -> None:
    logout = check_logout_token(LOGOUT, Expected(ISSUER, "zethane"), NOW)
    proof = Proof("user", "alice@corp", "oidc", NOW, issuer=ISSUER, subject="a1", reference="s1")
    assert logout.fits(proof)
    others = [
        Proof("user", "alice@corp", "oidc", NOW, issuer="https://other.example", subject="a1", reference="s1"),
        Proof("user", "alice@corp", "oidc", NOW, issuer=ISSUER, subject="a2", reference="s1"),
        Proof("user", "alice@corp", "oidc", NOW, issuer=ISSUER, subject="a1", reference="s2"),
        Proof("user", "alice", "dot1x", NOW, issuer=ISSUER, subject="a1", reference="s1"),
    ]
    assert not any(map(logout.fits, others))
    of_person = check_logout_token(changed(LOGOUT, {"sid": GONE}), Expected(ISSUER, "zethane"), NOW)
    assert [of_person.fits(one) for one in others] == [False, False, True, False]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"events": GONE}, "events"),
        ({"events": {LOGOUT_EVENT: True}}, "events"),
        ({"events": {"http://schemas.openid.net/event/other": {}}}, "events"),
        ({"nonce": "n1"}, "nonce"),
        ({"jti": GONE}, "jti"),
        ({"sub": GONE, "sid": GONE}, "neither"),
        ({"iat": NOW - 661}, "iat"),
        ({"iat": NOW + 61}, "iat"),
        ({"exp": NOW - 60}, "expired"),
        ({"aud": "other"}, "aud"),
        ({"iss": "https://other.example"}, "iss"),
    ],
)
def test_a_wrong_logout_token_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidTokenError, match=reason):
        check_logout_token(changed(LOGOUT, changes), Expected(ISSUER, "zethane"), NOW)
