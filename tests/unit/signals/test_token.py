"""Security Event Tokens: every one that is wrong is refused, with the code that RFC 8935 has for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zethane.identity.signals.subject import Identifier, Subject, SubjectError, parse_subject
from zethane.identity.signals.token import CAEP, MAX_AGE, Expected, SecurityEvent, SetError, check_set

NOW = 1_700_000_000.0
EXPECTED = Expected("https://idp.example", "https://zethane.example", 60)
HEADER = {"alg": "ES256", "typ": "secevent+jwt"}
REVOKED = CAEP + "session-revoked"
ALICE = {"format": "iss_sub", "iss": "https://idp.example", "sub": "alice"}


def claims(**changes: Any) -> dict[str, Any]:
    """A good token's claims with some changed; None takes one away."""
    good: dict[str, Any] = {
        "iss": "https://idp.example",
        "aud": "https://zethane.example",
        "iat": int(NOW),
        "jti": "a-1",
        "sub_id": ALICE,
        "events": {REVOKED: {"event_timestamp": int(NOW) - 5}},
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def checked(**changes: Any) -> SecurityEvent:
    return check_set(HEADER, claims(**changes), EXPECTED, NOW)


def test_a_good_token_says_what_happened_when_to_whom() -> None:
    event = checked()
    assert (event.type, event.name, event.jti) == (REVOKED, "session-revoked", "a-1")
    assert (event.happened, event.issued) == (NOW - 5, NOW)
    assert event.subject == Subject(simple=(Identifier("iss_sub", ("https://idp.example", "alice")),))


def test_the_time_of_the_event_is_the_events_then_the_tokens_then_when_it_was_issued() -> None:
    assert checked(toe=NOW - 9).happened == NOW - 5
    assert checked(toe=NOW - 9, events={REVOKED: {}}).happened == NOW - 9
    assert checked(events={REVOKED: {}}).happened == NOW


@pytest.mark.parametrize("typ", ["secevent+jwt", "SecEvent+JWT", "application/secevent+jwt"])
def test_the_type_may_be_written_in_full(typ: str) -> None:
    assert check_set({"typ": typ}, claims(), EXPECTED, NOW).jti == "a-1"


@pytest.mark.parametrize("audience", ["https://zethane.example", ["other", "https://zethane.example"]])
def test_one_of_several_audiences_is_enough(audience: object) -> None:
    assert checked(aud=audience).jti == "a-1"


WRONG: list[tuple[str, str, dict[str, Any]]] = [
    ("another issuer", "invalid_issuer", {"iss": "https://evil.example"}),
    ("an issuer with a slash more", "invalid_issuer", {"iss": "https://idp.example/"}),
    ("no issuer", "invalid_issuer", {"iss": None}),
    ("another audience", "invalid_audience", {"aud": "https://other.example"}),
    ("no audience", "invalid_audience", {"aud": None}),
    ("an empty list of audiences", "invalid_audience", {"aud": []}),
    ("an audience that is an object", "invalid_audience", {"aud": {"https://zethane.example": 1}}),
    ("an expiry, as ID tokens have", "invalid_request", {"exp": int(NOW) + 60}),
    ("a sub, as access tokens have", "invalid_request", {"sub": "alice"}),
    ("no iat", "invalid_request", {"iat": None}),
    ("iat as a text", "invalid_request", {"iat": "1700000000"}),
    ("iat that is true", "invalid_request", {"iat": True}),
    ("iat in milliseconds", "invalid_request", {"iat": int(NOW * 1000)}),
    ("iat in the future", "invalid_request", {"iat": int(NOW) + 61}),
    ("iat long ago", "invalid_request", {"iat": int(NOW - MAX_AGE - 61)}),
    ("iat that is no number", "invalid_request", {"iat": float("nan")}),
    ("no jti", "invalid_request", {"jti": None}),
    ("an empty jti", "invalid_request", {"jti": ""}),
    ("a long jti", "invalid_request", {"jti": "x" * 256}),
    ("a jti with a line end", "invalid_request", {"jti": "a\nforged log line"}),
    ("a jti that is a number", "invalid_request", {"jti": 7}),
    ("no events", "invalid_request", {"events": None}),
    ("no event", "invalid_request", {"events": {}}),
    ("two events", "invalid_request", {"events": {REVOKED: {}, CAEP + "credential-change": {}}}),
    ("events that are a list", "invalid_request", {"events": [REVOKED]}),
    ("an event that is a text", "invalid_request", {"events": {REVOKED: "now"}}),
    ("a type that is no URI", "invalid_request", {"events": {"session revoked": {}}}),
    ("a type without a name", "invalid_request", {"events": {"": {}}}),
    ("an event in the future", "invalid_request", {"events": {REVOKED: {"event_timestamp": int(NOW) + 61}}}),
    ("an event in milliseconds", "invalid_request", {"events": {REVOKED: {"event_timestamp": int(NOW) * 1000}}}),
    ("an event before 1970", "invalid_request", {"events": {REVOKED: {"event_timestamp": -1}}}),
    ("no subject", "invalid_request", {"sub_id": None}),
    ("a subject that is a text", "invalid_request", {"sub_id": "alice"}),
]


@pytest.mark.parametrize(("code", "changes"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_token_is_refused(code: str, changes: dict[str, Any]) -> None:
    with pytest.raises(SetError) as caught:
        checked(**changes)
    assert caught.value.code == code


@pytest.mark.parametrize("typ", [None, "JWT", "at+jwt", "logout+jwt", 7])
def test_a_token_of_another_type_is_none(typ: object) -> None:
    with pytest.raises(SetError) as caught:
        check_set({"typ": typ}, claims(), EXPECTED, NOW)
    assert caught.value.code == "invalid_request"


def test_clocks_may_differ_by_the_skew() -> None:
    assert checked(iat=int(NOW) + 60).issued == NOW + 60
    assert checked(iat=int(NOW - MAX_AGE)).issued == NOW - MAX_AGE
    assert checked(events={REVOKED: {"event_timestamp": int(NOW) + 60}}).happened == NOW + 60


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["iss", "aud", "iat", "jti", "sub_id", "events", "toe", "exp"]), ANYTHING)
def test_whatever_a_claim_is_there_is_an_event_or_a_refusal(name: str, value: object) -> None:
    try:
        event = check_set(HEADER, claims() | {name: value}, EXPECTED, NOW)
    except SetError:
        return
    assert event.until >= NOW


SUBJECTS: list[tuple[dict[str, Any], Subject]] = [
    ({"format": "email", "email": "a@example.org"}, Subject(simple=(Identifier("email", ("a@example.org",)),))),
    ({"format": "opaque", "id": "x"}, Subject(simple=(Identifier("opaque", ("x",)),))),
    ({"format": "account", "uri": "acct:a@b"}, Subject(simple=(Identifier("account", ("acct:a@b",)),))),
    (
        {"format": "aliases", "identifiers": [{"format": "opaque", "id": "x"}, {"format": "opaque", "id": "y"}]},
        Subject(simple=(Identifier("opaque", ("x",)), Identifier("opaque", ("y",)))),
    ),
    (
        {
            "format": "complex",
            "user": {"format": "opaque", "id": "u"},
            "session": {"format": "opaque", "id": "s"},
            "device": {"format": "opaque", "id": "d"},
            "tenant": {"format": "opaque", "id": "t"},
        },
        Subject((), (Identifier("opaque", ("u",)),), (Identifier("opaque", ("s",)),), (Identifier("opaque", ("d",)),)),
    ),
    ({"user": {"format": "opaque", "id": "u"}}, Subject(user=(Identifier("opaque", ("u",)),))),
    ({"format": "complex", "tenant": {"format": "opaque", "id": "t"}}, Subject()),
]


@pytest.mark.parametrize(("value", "subject"), SUBJECTS)
def test_subjects_are_read_as_the_standards_have_them(value: dict[str, Any], subject: Subject) -> None:
    assert parse_subject(value) == subject


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        [],
        {"format": "opaque"},
        {"format": "opaque", "id": 7},
        {"format": "opaque", "id": ""},
        {"format": "opaque", "id": "a\nb"},
        {"format": "opaque", "id": "x" * 2000},
        {"format": "iss_sub", "sub": "alice"},
        {"format": "made-up", "id": "x"},
        {"format": ["opaque"], "id": "x"},
        {"format": "aliases", "identifiers": []},
        {"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": []}]},
        {"format": "aliases", "identifiers": [{"format": "opaque", "id": "x"}] * 17},
        {"format": "complex"},
        {"format": "complex", "user": "alice"},
        {"format": "complex", "planet": {"format": "opaque", "id": "x"}},
    ],
)
def test_what_identifies_nobody_is_refused(value: object) -> None:
    with pytest.raises(SubjectError):
        parse_subject(value)
