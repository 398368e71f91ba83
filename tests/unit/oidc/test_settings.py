"""The section `oidc` of sources.yaml: what is wrong is named with its place, and no secret is in any message."""

from __future__ import annotations

import pytest

from zethane.errors import InputError
from zethane.identity.sources.file import parse_sources

GOOD = "oidc:\n  corp:\n    issuer: https://id.example\n    client_id: zethane\n"


def test_an_issuer_and_a_client_are_all_it_takes() -> None:
    (provider,) = parse_sources(GOOD, "sources.yaml").settings.oidc.values()
    assert (provider.client_secret, provider.clock_skew, provider.refresh) == (None, "60s", "5m")


WRONG = {
    "an issuer in the clear": ("    issuer: http://id.example", "https://"),
    "an issuer with a query": ("    issuer: https://id.example/?a=b", "query"),
    "an issuer with a user": ("    issuer: https://user@id.example", "without a user"),
    "no issuer": ("", "issuer"),
    "two secrets": (
        "    issuer: https://id.example\n    client_secret: hunter2\n    client_secret_file: f",
        "not both",
    ),
    "scopes without openid": ("    issuer: https://id.example\n    scopes: [profile]", "openid"),
    "a scope with a space": ("    issuer: https://id.example\n    scopes: [openid, 'a b']", "scopes"),
    "an origin with a path": ("    issuer: https://id.example\n    origins: [https://a.example/x]", "origins"),
    "an origin in the clear": ("    issuer: https://id.example\n    origins: [http://a.example]", "origins"),
    "a level that is none": ("    issuer: https://id.example\n    acr: {gold: 4}", "acr"),
    "an unknown key": ("    issuer: https://id.example\n    verify: false", "verify"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    text, said = WRONG[name]
    with pytest.raises(InputError) as caught:
        parse_sources(f"oidc:\n  corp:\n    client_id: zethane\n{text}\n", "sources.yaml")
    shown = str(caught.value)
    assert shown.startswith("sources.yaml:")
    assert said in shown
    assert "hunter2" not in shown
