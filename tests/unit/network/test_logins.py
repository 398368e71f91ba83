"""The ways in which hosts of a lab log in, as network.yaml describes them."""

from __future__ import annotations

from typing import Any

import pytest

from zethane.errors import InputError
from zethane.network.load import parse_network
from zethane.network.model import Host, Login


def host(login: str) -> Host:
    text = f"switches: {{s1: {{}}}}\nhosts:\n  h: {{switch: s1, port: 3, ip: 10.0.0.1/24, login: {login}}}\n"
    return parse_network(text, "n.yaml").hosts["h"]


@pytest.mark.parametrize(
    ("text", "login"),
    [
        ("{user: u, password: p}", Login("user", "u", "p")),
        ("{user: u, password: p, via: dot1x, eap: ttls}", Login("user", "u", "p", via="dot1x", eap="ttls")),
        ("{user: u, via: dot1x, eap: tls}", Login("user", "u", via="dot1x", eap="tls")),
        ("{device: d, via: dot1x, eap: tls}", Login("device", "d", via="dot1x", eap="tls")),
        ("{device: d, via: mab}", Login("device", "d", via="mab")),
        ("{user: u, password: p, via: oidc, provider: g}", Login("user", "u", "p", via="oidc", provider="g")),
        ("{workload: w, via: certificate}", Login("workload", "w", via="certificate")),
        ("{workload: w, via: attestation}", Login("workload", "w", via="attestation")),
    ],
)
def test_each_way_takes_what_it_needs(text: str, login: Login) -> None:
    assert host(text).logins == (login,)


def test_a_device_comes_before_its_user() -> None:
    found = host("[{device: d, via: dot1x, eap: tls}, {user: u, password: p, totp: JBSWY3DPEHPK3PXP}]")
    assert (found.machine, found.login) == (
        Login("device", "d", via="dot1x", eap="tls"),
        Login("user", "u", "p", "JBSWY3DPEHPK3PXP"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{user: u, via: dot1x}", "hosts.h.login: expected user and password for IEEE 802.1X"),
        ("{workload: w, secret: s, via: dot1x}", "hosts.h.login: expected user and password for IEEE 802.1X"),
        ("{device: d}", "hosts.h.login: expected user and password (and totp), or workload and secret"),
        ("{user: u, device: d, password: p}", "hosts.h.login: expected user and password (and totp)"),
        ("{device: d, password: p, via: mab}", "hosts.h.login: expected a device, and no more"),
        ("{user: u, password: p, via: oidc}", "hosts.h.login: expected user, password and provider"),
        ("{user: u, via: certificate}", "hosts.h.login: expected a workload or a device"),
        ("{device: d, via: attestation}", "hosts.h.login: expected a workload"),
        ("[{user: u, password: p}, {device: d, via: mab}]", "hosts.h.login: expected the login of a device, and"),
        ("[{device: d, via: mab}, {user: u}]", "hosts.h.login[1]: expected user and password"),
        ("{user: u, password: p, via: smoke}", "hosts.h.login.via: expected"),
        ("[]", "hosts.h.login: "),
    ],
)
def test_what_does_not_go_together_is_told_with_its_place(text: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        host(text)
    assert all(str(problem).startswith("n.yaml:3:") for problem in caught.value.problems)
    assert any(expected in str(problem) for problem in caught.value.problems), str(caught.value)


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("{user: u, via: dot1x, eap: tls}", (True, False)),
        ("{device: d, via: mab}", (False, True)),
        ("{user: u, password: p}", (False, False)),
    ],
)
def test_the_port_of_a_host_takes_the_way_that_it_logs_in_by(text: str, ways: tuple[Any, ...]) -> None:
    network = parse_network(
        f"switches: {{s1: {{}}}}\nhosts:\n  h: {{switch: s1, port: 3, ip: 10.0.0.1/24, login: {text}}}\n", "n.yaml"
    )
    port = network.switches["s1"].port(3)
    assert (port.dot1x, port.mab) == ways
