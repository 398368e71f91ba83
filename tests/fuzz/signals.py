"""Targets: what transmitters of signals and reporters of posture send, and the keys that issuers publish."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey
from structlog.testing import capture_logs

from fuzz.target import Target
from zethane.adapters.http.strict_json import loads
from zethane.adapters.jwks import KeySource, SignatureError
from zethane.api.posture_routes import parse_report
from zethane.errors import InputError, SourceError
from zethane.identity.posture import Posture
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Attachment, Session
from zethane.identity.signals.effect import changes, compliance
from zethane.identity.signals.keys import keys_of_subject
from zethane.identity.signals.scope import Scope
from zethane.identity.signals.token import CAEP, MAX_JTI, Expected, SetError, check_set
from zethane.identity.sources.oidc import OpenIdProvider

NOW = 1_700_000_000.0
_EXPECTED = Expected("https://idp.example", "https://zethane.example")
_PROVIDER = OpenIdProvider(issuer="https://idp.example", client_id="zethane")
_SCOPES = (Scope("idp", "https://idp.example", "corp", _PROVIDER), Scope("hr", "https://idp.example"))
_ALICE = Proof("user", "alice", "oidc", NOW - 9, ("pwd",), issuer="https://idp.example", subject="1", reference="s")
_PROOFS = (_ALICE, Proof("user", "bob", "portal", NOW - 9), Proof("device", "laptop", "certificate", NOW - 9))
_SESSIONS = [
    Session(number, acting((proof,)), Attachment(1, number, 0, number), (), "staff", NOW, (proof,))
    for number, proof in enumerate(_PROOFS, 1)
]


def _short(*messages: str) -> None:
    """They end up in a log."""
    assert all(message.isprintable() and len(message) < 300 for message in messages)


def _check_set(data: bytes) -> None:
    """Claims that somebody has signed are an event or a refusal, and change nothing of others."""
    try:
        claims = loads(data)
        event = check_set({"typ": "secevent+jwt"}, claims if isinstance(claims, dict) else {}, _EXPECTED, NOW)
    except (SetError, ValueError) as error:
        _short(str(error))
        return
    assert 0 < len(event.jti) <= MAX_JTI
    assert event.jti.isprintable()
    assert all(keys_of_subject(event.subject))
    for scope in _SCOPES:
        verdict = compliance(event, scope)
        assert verdict is None or verdict.device.isprintable()
        for change in changes(event, _SESSIONS, scope):
            assert scope.vouches(change.proof)


def _claims(kind: str, content: dict[str, Any], **more: Any) -> bytes:
    claims: dict[str, Any] = {
        "iss": "https://idp.example",
        "aud": "https://zethane.example",
        "iat": int(NOW),
        "jti": "a",
        "sub_id": {"format": "iss_sub", "iss": "https://idp.example", "sub": "1"},
        "events": {CAEP + kind: content},
    }
    return json.dumps(claims | more).encode()


def _sets() -> dict[str, bytes]:
    device = {"format": "complex", "device": {"format": "opaque", "id": "laptop"}}
    aliases = {"format": "aliases", "identifiers": [{"format": "email", "email": "a@b"}]}
    account = {"format": "account", "uri": "acct:bob@idp.example"}
    return {
        "revoked": _claims("session-revoked", {"event_timestamp": int(NOW)}),
        "claims": _claims("token-claims-change", {"claims": {"groups": ["staff"]}}),
        "level": _claims("assurance-level-change", {"namespace": "NIST-AAL", "current_level": "nist-aal1"}),
        "credential": _claims("credential-change", {"credential_type": "x509", "x509_serial": "0a"}, sub_id=account),
        "device": _claims("device-compliance-change", {"current_status": "compliant"}, sub_id=device),
        "aliases": _claims("session-revoked", {}, sub_id=aliases, toe=NOW),
    }


_KEY = ECKey.generate_key("P-256", {"kid": "k"})


def _check_token(data: bytes) -> None:
    """Whatever is sent for a token is refused: nobody here has signed it."""
    keys = KeySource("fuzz", _published, lambda: 0.0)
    try:
        with capture_logs():
            asyncio.run(keys.verified(data.decode("utf-8", "surrogateescape")))
    except SignatureError as error:
        _short(str(error))
        return
    raise AssertionError("a signature that nobody has made")


async def _published() -> Any:
    return {"keys": [_KEY.as_dict(private=False)]}


def _tokens() -> dict[str, bytes]:
    other = ECKey.generate_key("P-256")
    signed = jws.serialize_compact({"alg": "ES256", "kid": "k", "typ": "secevent+jwt"}, b"{}", other)
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=")
    return {"forged": signed.encode(), "none": none + b".e30.", "empty": b"..", "crit": b"eyJjcml0IjpbXX0.e30.AA"}


def _check_keys(data: bytes) -> None:
    """A document is a set of keys, or there are none: whatever is in it, nothing else fails."""

    async def fetch() -> Any:
        try:
            return loads(data)
        except ValueError as error:
            raise SourceError(str(error)) from None

    keys = KeySource("fuzz", fetch, lambda: 0.0)
    try:
        with capture_logs():
            asyncio.run(keys.verified(_tokens()["forged"].decode()))
    except (SignatureError, SourceError):
        return
    raise AssertionError("a key that fits a signature that nobody has made")


def _key_sets() -> dict[str, bytes]:
    key = _KEY.as_dict(private=False)
    rsa = {"kty": "RSA", "n": "AQAB" * 86, "e": "AQAB", "kid": "k", "alg": "ES256"}
    okp = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    return {
        "good": json.dumps({"keys": [key]}).encode(),
        "several": json.dumps({"keys": [rsa, okp, {"kty": "oct", "k": "AAAA"}, key]}).encode(),
    }


def _check_report(data: bytes) -> None:
    """A report on a device is read whole, or refused in bounded words."""
    try:
        report = parse_report(data, "agent", NOW)
    except InputError as error:
        _short(*(problem.message for problem in error.problems))
        return
    facts = Posture(report.device, (report,)).facts()
    assert (facts.posture, facts.measured) == (report.attributes, report.measured)


def _reports() -> dict[str, bytes]:
    attributes = {"disk_encrypted": True, "os_version": "12.7", "patches": 3}
    return {
        "report": json.dumps(
            {"device": "laptop", "measured": "2023-11-14T22:13:20Z", "attributes": attributes}
        ).encode(),
        "zone": b'{"device":"a","measured":"2023-11-14t22:13:20.5+05:30","attributes":{"a":-1}}',
    }


TARGETS = (
    Target("security-event", _check_set, _sets, 4096),
    Target("signed-token", _check_token, _tokens, 2048),
    Target("key-set", _check_keys, _key_sets, 2048),
    Target("posture-report", _check_report, _reports, 2048),
)
