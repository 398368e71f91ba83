"""What follows from an event: for whom, for which of their proofs, and when it has come too late."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zethane.identity.proof import Proof, acting
from zethane.identity.session import Attachment, Session
from zethane.identity.signals.effect import Compliance, changes, compliance, concerns_proofs, is_known, told
from zethane.identity.signals.keys import keys_of_session, keys_of_subject
from zethane.identity.signals.scope import Scope, concerned
from zethane.identity.signals.subject import parse_subject
from zethane.identity.signals.token import CAEP, RISC, SecurityEvent
from zethane.identity.sources.oidc import OpenIdProvider

AT = 1000.0
IDP = "https://idp.example"
PROVIDER = OpenIdProvider(issuer=IDP, client_id="zethane", groups={"eng": "staff", "adm": "admins"})
OIDC = Scope("idp", IDP, "corp", PROVIDER, frozenset(), lambda name: name in ("laptop", "desk"), 60)
EMBEDDED = Scope("hr", "https://hr.example", is_device=lambda name: name in ("laptop", "desk"), skew=60)

ALICE = Proof(
    "user",
    "alice@corp",
    "oidc",
    AT,
    ("pwd", "otp", "mfa"),
    2,
    AT,
    frozenset({"staff"}),
    issuer=IDP,
    subject="248289761001",
    reference="sid-1",
    attributes=(("email", "alice@example.org"),),
)
BOB = Proof("user", "bob", "portal", AT, ("pwd",), 1, None, frozenset({"staff"}))
LAPTOP = Proof("device", "laptop", "certificate", AT, ("x509",), 2, issuer="ca", subject="laptop", reference="0A:FF")
OTHER = replace(ALICE, issuer="https://other.example")


def session(*proofs: Proof, number: int = 1) -> Session:
    return Session(number, acting(proofs), Attachment(1, number, 0, number), (), "staff", AT, proofs)


def event(kind: str, subject: dict[str, Any], happened: float = AT + 100, **content: Any) -> SecurityEvent:
    uri = kind if "://" in kind else CAEP + kind
    return SecurityEvent(IDP, "j-1", uri, content, parse_subject(subject), happened, happened, happened + 1000)


def iss_sub(sub: str, iss: str = IDP) -> dict[str, Any]:
    return {"format": "iss_sub", "iss": iss, "sub": sub}


def opaque(value: str) -> dict[str, Any]:
    return {"format": "opaque", "id": value}


def complex_subject(**members: dict[str, Any]) -> dict[str, Any]:
    return {"format": "complex", **members}


WHO: list[tuple[dict[str, Any], Scope, tuple[Proof, ...], tuple[Proof, ...]]] = [
    # subject, scope, proofs of the session, those that are concerned
    (iss_sub("248289761001"), OIDC, (ALICE,), (ALICE,)),
    (iss_sub("248289761001", "https://evil.example"), OIDC, (ALICE,), ()),
    (iss_sub("248289761001"), OIDC, (OTHER,), ()),
    (iss_sub("alice@corp"), OIDC, (ALICE,), ()),
    (opaque("248289761001"), OIDC, (ALICE,), (ALICE,)),
    (opaque("sid-1"), OIDC, (ALICE,), (ALICE,)),
    (opaque("sid-2"), OIDC, (ALICE,), ()),
    (opaque("sid-1"), OIDC, (OTHER,), ()),
    ({"format": "email", "email": "Alice@Example.org"}, OIDC, (ALICE,), (ALICE,)),
    ({"format": "email", "email": "eve@example.org"}, OIDC, (ALICE,), ()),
    ({"format": "email", "email": "al@x.org"}, OIDC, (replace(ALICE, name="al@x.org@corp"),), "same"),  # type: ignore[list-item]
    ({"format": "account", "uri": "acct:alice@idp.example"}, OIDC, (ALICE,), (ALICE,)),
    ({"format": "account", "uri": "acct:alice@example.org"}, OIDC, (ALICE,), (ALICE,)),
    ({"format": "account", "uri": "acct:alice@evil.example"}, OIDC, (ALICE,), ()),
    ({"format": "phone_number", "phone_number": "+1"}, OIDC, (ALICE,), ()),
    # the embedded provider's: by name, and never the principals of others
    (iss_sub("bob", "https://hr.example"), EMBEDDED, (BOB,), (BOB,)),
    (iss_sub("bob"), EMBEDDED, (BOB,), ()),
    (opaque("user:bob"), EMBEDDED, (BOB,), (BOB,)),
    ({"format": "account", "uri": "acct:bob@hr.example"}, EMBEDDED, (BOB,), (BOB,)),
    ({"format": "email", "email": "b@x.org"}, EMBEDDED, (replace(BOB, name="b@x.org"),), "same"),  # type: ignore[list-item]
    (opaque("248289761001"), EMBEDDED, (ALICE,), ()),
    (opaque("alice@corp"), EMBEDDED, (ALICE,), ()),
    (opaque("bob"), OIDC, (BOB,), ()),
    # complex subjects: all that is known to be otherwise is left out, and nothing else
    (complex_subject(user=iss_sub("248289761001"), session=opaque("sid-1")), OIDC, (ALICE,), (ALICE,)),
    (complex_subject(user=iss_sub("248289761001"), session=opaque("sid-2")), OIDC, (ALICE,), ()),
    (complex_subject(user=iss_sub("248289761001"), session=opaque("s")), OIDC, (replace(ALICE, reference=""),), "same"),  # type: ignore[list-item]
    (complex_subject(user=iss_sub("248289761001"), device=opaque("laptop")), OIDC, (ALICE, LAPTOP), (ALICE,)),
    (complex_subject(user=iss_sub("248289761001"), device=opaque("desk")), OIDC, (ALICE, LAPTOP), ()),
    (complex_subject(user=iss_sub("248289761001"), device=opaque("desk")), OIDC, (ALICE,), (ALICE,)),
    (complex_subject(user=iss_sub("248289761001"), device=opaque("9f-unknown")), OIDC, (ALICE, LAPTOP), (ALICE,)),
    (complex_subject(user=iss_sub("248289761001"), tenant=opaque("t")), OIDC, (ALICE,), (ALICE,)),
    (complex_subject(session=opaque("sid-1")), OIDC, (ALICE, LAPTOP), (ALICE,)),
    (complex_subject(session=opaque("sid-2")), OIDC, (ALICE, LAPTOP), ()),
    (complex_subject(device=opaque("laptop")), OIDC, (ALICE, LAPTOP), (ALICE,)),
    (complex_subject(device=opaque("laptop")), EMBEDDED, (BOB, LAPTOP), (BOB, LAPTOP)),
    (complex_subject(device=opaque("desk")), EMBEDDED, (BOB, LAPTOP), ()),
    (complex_subject(tenant=opaque("t")), OIDC, (ALICE,), ()),
]


@pytest.mark.parametrize(("subject", "scope", "proofs", "expected"), WHO)
def test_an_event_concerns_the_proofs_of_its_subject(
    subject: dict[str, Any], scope: Scope, proofs: tuple[Proof, ...], expected: tuple[Proof, ...] | str
) -> None:
    here = session(*proofs)
    wanted = proofs if expected == "same" else expected
    assert concerned(parse_subject(subject), here, scope) == wanted
    if wanted:  # and it is found without looking through all sessions
        assert keys_of_subject(parse_subject(subject)) & keys_of_session(here)


def ended(happening: SecurityEvent, *proofs: Proof, scope: Scope = OIDC) -> list[Proof]:
    found = changes(happening, [session(*proofs)], scope)
    assert all(change.changed is None for change in found)
    return [change.proof for change in found]


@pytest.mark.parametrize("kind", ["session-revoked", RISC + "account-disabled", RISC + "account-purged"])
def test_a_revoked_session_ends_with_the_proof_that_it_rests_on(kind: str) -> None:
    assert ended(event(kind, iss_sub("248289761001")), ALICE, LAPTOP) == [ALICE]


@pytest.mark.parametrize(
    ("happened", "ends"),
    [(AT + 100, True), (AT, True), (AT - 1, True), (AT - 60.5, True), (AT - 61, False), (AT - 3600, False)],
)
def test_only_what_was_proved_before_ends(happened: float, ends: bool) -> None:
    """The transmitter's clock may be behind by its skew, and it tells whole seconds: in doubt the event counts."""
    assert bool(ended(event("session-revoked", iss_sub("248289761001"), happened), ALICE)) is ends


CREDENTIALS: list[tuple[dict[str, Any], Proof, bool]] = [
    ({"credential_type": "password", "change_type": "update"}, ALICE, True),
    ({"credential_type": "password", "change_type": "revoke"}, ALICE, True),
    ({"credential_type": "password", "change_type": "delete"}, ALICE, True),
    ({"credential_type": "password", "change_type": "create"}, ALICE, False),
    ({"credential_type": "app", "change_type": "revoke"}, ALICE, True),
    ({"credential_type": "phone-sms", "change_type": "revoke"}, ALICE, False),
    ({"credential_type": "fido2-roaming", "change_type": "delete"}, replace(ALICE, amr=("hwk",)), True),
    ({"credential_type": "password", "change_type": "revoke"}, replace(ALICE, amr=()), True),
    ({"credential_type": "password", "change_type": "revoke"}, replace(ALICE, amr=("mfa",)), True),
    ({"credential_type": "password", "change_type": "revoke"}, replace(ALICE, amr=("hwk", "mfa")), False),
    ({"credential_type": "something-new", "change_type": "revoke"}, ALICE, True),
    ({"credential_type": 7, "change_type": "revoke"}, ALICE, True),
    ({}, ALICE, True),
]


@pytest.mark.parametrize(("content", "proof", "ends"), CREDENTIALS)
def test_a_changed_credential_ends_what_rests_on_it(content: dict[str, Any], proof: Proof, ends: bool) -> None:
    happening = event("credential-change", iss_sub("248289761001"), **content)
    assert ended(happening, proof) == ([proof] if ends else [])


@pytest.mark.parametrize(("serial", "ends"), [("0aff", True), ("0x0AFF", True), ("0b", False), (None, True)])
def test_a_revoked_certificate_ends_what_it_has_proved(serial: str | None, ends: bool) -> None:
    said = {"x509_serial": serial} if serial else {}
    subject = complex_subject(device=opaque("laptop"))
    happening = event("credential-change", subject, credential_type="x509", change_type="revoke", **said)
    assert ended(happening, BOB, LAPTOP, scope=EMBEDDED) == ([LAPTOP] if ends else [])


def changed(happening: SecurityEvent, proof: Proof = ALICE, scope: Scope = OIDC) -> Proof | None:
    """What becomes of the proof."""
    found = changes(happening, [session(proof)], scope)
    return found[0].changed if found else proof


def claims_event(groups: object, happened: float = AT + 100) -> SecurityEvent:
    return event("token-claims-change", iss_sub("248289761001"), happened, claims={"groups": groups})


@pytest.mark.parametrize(
    ("said", "groups"),
    [
        (["eng", "adm"], {"staff", "admins"}),
        ("adm", {"admins"}),
        (["strangers"], set()),
        ([], set()),
        (None, set()),
        ({"eng": True}, set()),
        (["eng", 7], set()),
    ],
)
def test_changed_claims_give_the_groups_of_the_mapping(said: object, groups: set[str]) -> None:
    after = changed(claims_event(said))
    assert after is not None
    assert after.groups == groups


def test_without_a_mapping_the_values_are_the_groups() -> None:
    plain = replace(OIDC, provider=PROVIDER.model_copy(update={"groups": None}))
    after = changed(claims_event(["adm", "no group!"]), scope=plain)
    assert after is not None
    assert after.groups == {"adm"}
    many = changed(claims_event([f"g{number}" for number in range(100)]), scope=plain)
    assert many is not None
    assert many.groups == frozenset()


def test_other_claims_and_other_sources_change_nothing() -> None:
    assert changed(event("token-claims-change", iss_sub("248289761001"), claims={"name": "A"})) == ALICE
    assert changed(event("token-claims-change", iss_sub("248289761001"), claims=["groups"])) == ALICE
    said = event("token-claims-change", opaque("bob"), claims={"groups": ["admins"]})
    assert changed(said, BOB, EMBEDDED) == BOB


def test_what_was_told_late_does_not_undo_what_came_after_it() -> None:
    newer = changed(claims_event([], AT + 200))
    assert newer is not None
    assert changed(claims_event(["adm"], AT + 100), newer) == newer
    same = changed(claims_event(["eng"], AT + 200))
    assert same is not None
    assert same.groups == ALICE.groups
    assert changed(claims_event(["adm"], AT + 100), same) == same
    latest = changed(claims_event(["adm"], AT + 300), newer)
    assert latest is not None
    assert latest.groups == {"admins"}


def test_a_proof_made_after_a_change_has_its_news_already() -> None:
    assert changed(claims_event(["adm"], AT - 2)) == ALICE


def assurance(level: object, namespace: str = "NIST-AAL", happened: float = AT + 100) -> SecurityEvent:
    return event("assurance-level-change", iss_sub("248289761001"), happened, namespace=namespace, current_level=level)


@pytest.mark.parametrize(
    ("level", "aal", "mfa_at"), [("nist-aal1", 1, None), ("NIST-AAL3", 3, AT), ("aal2", 2, AT), ("1", 1, None)]
)
def test_another_assurance_level_is_that_of_the_proof(level: str, aal: int, mfa_at: float | None) -> None:
    after = changed(assurance(level))
    assert after is not None
    assert (after.aal, after.mfa_at) == (aal, mfa_at)


@pytest.mark.parametrize("level", ["nist-aal0", "none", "", 2, None, "nist-aal22"])
def test_no_level_at_all_ends_the_proof(level: object) -> None:
    assert changed(assurance(level)) is None


def test_levels_of_other_namespaces_say_nothing_about_authentication() -> None:
    assert changed(assurance("nist-ial1", "NIST-IAL")) == ALICE


@pytest.mark.parametrize(
    ("subject", "scope", "status", "verdict"),
    [
        (complex_subject(device=opaque("laptop")), EMBEDDED, "compliant", True),
        (complex_subject(device=opaque("laptop")), EMBEDDED, "not-compliant", False),
        (opaque("laptop"), EMBEDDED, "anything else", False),
        (complex_subject(device=iss_sub("laptop", "https://hr.example")), EMBEDDED, "compliant", True),
        (complex_subject(device=opaque("laptop")), replace(OIDC, devices=frozenset({"laptop"})), "compliant", True),
        (complex_subject(device=opaque("laptop")), OIDC, "compliant", None),
        (complex_subject(device=opaque("stranger")), EMBEDDED, "compliant", None),
        (complex_subject(device=iss_sub("laptop", "https://evil.example")), EMBEDDED, "compliant", None),
        (complex_subject(user=opaque("bob")), EMBEDDED, "compliant", None),
    ],
)
def test_a_verdict_is_about_a_device_that_the_transmitter_may_judge(
    subject: dict[str, Any], scope: Scope, status: str, verdict: bool | None
) -> None:
    happening = event("device-compliance-change", subject, current_status=status)
    expected = Compliance("laptop", verdict, AT + 100) if verdict is not None else None
    assert compliance(happening, scope) == expected
    assert changes(happening, [session(BOB, LAPTOP)], scope) == []


def test_unknown_events_have_no_effect() -> None:
    unknown = event("https://example.org/made-up", iss_sub("248289761001"))
    assert changes(unknown, [session(ALICE)], OIDC) == []
    assert (is_known(unknown), concerns_proofs(unknown)) == (False, False)
    assert told(unknown, "idp") == "idp: made-up j-1"


def test_the_words_for_a_subject_are_never_empty() -> None:
    assert keys_of_subject(parse_subject({"format": "account", "uri": "acct:"})) == {"acct:"}
    assert keys_of_subject(parse_subject({"format": "account", "uri": "acct:a"})) == {"acct:a", "a"}


TEXT = st.sampled_from(["alice@corp", "248289761001", "sid-1", "laptop", "bob", IDP, "x"])
IDENTIFIER = st.builds(opaque, TEXT) | st.builds(iss_sub, TEXT, TEXT)
KINDS = st.sampled_from(
    ["session-revoked", "credential-change", "assurance-level-change", "token-claims-change", RISC + "account-disabled"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    KINDS,
    IDENTIFIER | st.fixed_dictionaries({"user": IDENTIFIER}, optional={"session": IDENTIFIER, "device": IDENTIFIER}),
    st.dictionaries(
        st.sampled_from(["claims", "namespace", "current_level", "credential_type", "change_type", "x509_serial"]),
        st.none() | st.integers() | st.text(max_size=8) | st.dictionaries(st.just("groups"), st.lists(TEXT)),
    ),
    st.sampled_from([OIDC, EMBEDDED]),
    st.floats(AT - 200, AT + 200),
)
def test_a_transmitter_never_touches_the_principals_of_others(
    kind: str, subject: dict[str, Any], content: dict[str, Any], scope: Scope, happened: float
) -> None:
    proofs = (ALICE, BOB, LAPTOP, OTHER)
    happening = event(kind, subject, happened, **content)
    for change in changes(happening, [session(proof, number=n) for n, proof in enumerate(proofs, 1)], scope):
        assert scope.vouches(change.proof)
        if change.changed is not None:
            assert change.changed.account == change.proof.account
            assert change.changed.ends == change.proof.ends
