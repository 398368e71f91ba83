"""identities.yaml: what it takes to be somebody."""

from __future__ import annotations

import pytest

from zethane.errors import InputError, SessionError
from zethane.identity.directory import parse_identities
from zethane.policy.principal import Principal

HASH = "$argon2id$v=19$m=8192,t=1,p=1$fX3nWXhWv4a+PzES/JH1WA$h0rwshMAUXqbqf3zBQBxpAXChf35tjdpOaHfCubEHTg"
TOTP = "JBSWY3DPEHPK3PXP"
GOOD = f"""\
users:
  alice: {{groups: [staff], password: "{HASH}", totp: {TOTP}}}
  eve: {{password: "{HASH}", disabled: true}}
devices:
  laptop: {{mac: "02:00:00:00:00:15", owner: alice, labels: {{managed: yes}}}}
workloads:
  web1: {{labels: {{tier: web, a: b}}, secret: "{HASH}"}}
"""


def problems(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_identities(text, "ids")
    return str(caught.value)


def test_principals_carry_what_the_file_says() -> None:
    """Groups, sorted labels, and the second factor of this login."""
    directory = parse_identities(GOOD, "ids")
    assert directory.principal("user", "alice", True) == Principal(
        "user", "alice", frozenset({"staff"}), (), mfa=True, mfa_at=0.0, aal=2
    )
    assert directory.principal("workload", "web1", False).labels == (("a", "b"), ("tier", "web"))
    assert directory.device_at(0x020000000015) == "laptop"
    assert directory.device_at(0x020000000016) is None


def test_only_those_who_can_log_in_are_the_population() -> None:
    """No disabled user; a device is somebody until its user logs in."""
    people = list(parse_identities(GOOD, "ids").population())
    assert [(one.kind, one.name, one.mfa, place.line) for one, place in people] == [
        ("user", "alice", True, 2),
        ("workload", "web1", False, 7),
        ("device", "laptop", False, 5),
    ]


@pytest.mark.parametrize(("kind", "name"), [("user", "eve"), ("user", "web1"), ("workload", "nobody")])
def test_who_may_not_log_in_is_no_principal(kind: str, name: str) -> None:
    """Disabled, of another kind, or unknown."""
    with pytest.raises(SessionError, match=f"no {kind} that may log in is named '{name}'"):
        parse_identities(GOOD, "ids").principal(kind, name, False)  # type: ignore[arg-type]  # parametrized text


def test_secrets_are_in_no_repr() -> None:
    """Neither hashes nor TOTP secrets."""
    directory = parse_identities(GOOD, "ids")
    assert HASH[-20:] not in repr(directory)
    assert TOTP not in repr(directory)
    assert directory.users["alice"].password.get_secret_value() == HASH


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("users: {a: {password: hunter2}}", "ids:1:23: users.a.password: expected an argon2id hash in quotes"),
        (
            f'users: {{a: {{password: "{HASH.replace("m=8192", "m=9999999")}"}}}}',
            "ids:1:23: users.a.password: expected argon2id with m from 8p to 1048576",
        ),
        (
            f'users: {{a: {{password: "{HASH.replace("argon2id", "argon2i")}"}}}}',
            "ids:1:23: users.a.password: expected an argon2id hash",
        ),
        (
            f'users:\n  a:\n    password: "{HASH}"\n    totp: JBSWY3DPEHPK3PX',
            "ids:4:11: users.a.totp: expected a base32 secret (A-Z, 2-7) of at least 80 bits",
        ),
        (
            f'users:\n  a:\n    password: "{HASH}"\n    totp: hunter2hunter2hunter2',
            "ids:4:11: users.a.totp: expected a base32 secret",
        ),
        ("devices: {d: {mac: '02:00'}}", "ids:1:20: devices.d.mac: expected a MAC address in quotes"),
        ("devices: {d: {mac: '03:00:00:00:00:01'}}", "ids:1:20: devices.d.mac: expected the MAC address of one card"),
        (
            "devices:\n  d: {mac: '02:00:00:00:00:01', owner: bob}\n  e: {mac: '02:00:00:00:00:01'}",
            "ids:2:40: devices.d.owner: no user is named 'bob'\nids:3:12: devices.e.mac: device d has this MAC already",
        ),
        ("'a b': {}", "ids:1:1: a b: unknown key 'a b'"),
        ("workloads: {'a b': {}}", "ids:1:13: workloads.a b: expected text that matches"),
    ],
)
def test_a_wrong_identity_is_pointed_at_without_its_secret(text: str, message: str) -> None:
    """Line, column, key, and what was expected; never what was found."""
    found = problems(text)
    assert found.startswith(message)
    assert "hunter2" not in found
    assert HASH[-20:] not in found


def test_a_certificate_names_one_device_or_workload() -> None:
    text = 'devices: {pc1: {dns: "PC1.example.org"}}\nworkloads: {web1: {spiffe: "spiffe://example.org/web1"}}'
    directory = parse_identities(text, "identities.yaml")
    assert directory.certified("pc1.example.org") == ("device", "pc1")
    assert directory.certified("spiffe://example.org/web1") == ("workload", "web1")
    assert directory.certified("spiffe://example.org/WEB1") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('devices: {a: {dns: X.org}}\nworkloads: {b: {dns: "x.ORG"}}', "device a has this name already"),
        ('workloads: {a: {spiffe: "spiffe://d/a"}, b: {spiffe: "spiffe://d/a"}}', "workload a has this name already"),
        ("workloads: {a: {attested: {}}}", "nothing would fit every port"),
        ('workloads: {a: {spiffe: "spiffe://d"}}', "spiffe"),
    ],
)
def test_what_would_let_one_pass_for_another_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_identities(text, "identities.yaml")
