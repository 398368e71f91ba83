"""sources.yaml: the sections `signals` and `posture`, and what is wrong with them."""

from __future__ import annotations

import pytest

from zethane.adapters.ssf import configuration_url
from zethane.errors import InputError
from zethane.identity.sources.file import parse_sources

HASH, OTHER = "sha256:" + "0" * 64, "sha256:" + "1" * 64
LISTEN = 'listen: {address: "127.0.0.1:8443"}\n'
IDP = 'issuer: "https://idp.example", audience: "https://me.example"'


def test_a_transmitter_speaks_about_the_embedded_providers_principals_unless_it_says_otherwise() -> None:
    sources = parse_sources(f'{LISTEN}signals: {{idp: {{{IDP}, token: "{HASH}"}}}}\n', "sources.yaml")
    assert sources.settings.signals["idp"].subjects == "embedded"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'signals: {{idp: {{{IDP}, token: "{HASH}"}}}}', "expected a section `listen`"),
        (f'{LISTEN}signals: {{idp: {{{IDP}, token: "{HASH}", subjects: corp}}}}', "expected embedded, or an entry of"),
        (f"{LISTEN}signals: {{idp: {{{IDP}, token: secret-token}}}}", "zethane identity token"),
        (f'{LISTEN}signals: {{idp: {{{IDP}, token: "{HASH}", jwks_uri: "http://a.example"}}}}', "expected https://"),
        (
            f'{LISTEN}signals: {{idp: {{issuer: "http://a.example", audience: a, token: "{HASH}"}}}}',
            "expected https://",
        ),
        (f'{LISTEN}signals: {{idp: {{{IDP}, token: "{HASH}", devices: ["a b"]}}}}', "devices"),
        (f'{LISTEN}posture: {{a: {{token: "{HASH}"}}, b: {{token: "{HASH}"}}}}', "a token of its own: posture.a has"),
        (f'{LISTEN}signals: {{i: {{{IDP}, token: "{HASH}"}}}}\nposture: {{a: {{token: "{HASH}"}}}}', "signals.i has"),
        (f'{LISTEN}posture: {{a: {{token: "{HASH}", attributes: [Disk]}}}}', "attributes"),
    ],
)
def test_what_is_wrong_is_named(text: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_sources(text + "\n", "sources.yaml")
    assert expected in str(caught.value)
    assert "secret-token" not in str(caught.value)
    assert all(problem.line is not None for problem in caught.value.problems)


def test_tokens_differ() -> None:
    text = f'{LISTEN}posture: {{a: {{token: "{HASH}"}}, b: {{token: "{OTHER}", devices: [laptop]}}}}\n'
    assert set(parse_sources(text, "sources.yaml").settings.posture) == {"a", "b"}


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://idp.example", "https://idp.example/.well-known/ssf-configuration"),
        ("https://idp.example/", "https://idp.example/.well-known/ssf-configuration"),
        ("https://idp.example:8443/t/1", "https://idp.example:8443/.well-known/ssf-configuration/t/1"),
    ],
)
def test_the_configuration_is_before_the_issuers_path(issuer: str, url: str) -> None:
    assert configuration_url(issuer) == url
