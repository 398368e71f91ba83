"""What the lab writes for wpa_supplicant."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.supplicant import configuration
from zethane.network.model import Login

SOCKETS = Path("/run/lab/h.sockets")
CA = Path("/run/lab/ca.pem")


def test_a_password_goes_through_the_tunnel_of_a_server_that_is_known() -> None:
    text = configuration(Login("user", "alice", "lab-alice", via="dot1x"), SOCKETS, CA, None)
    for line in ("eap=PEAP", 'identity="alice"', 'password="lab-alice"', 'ca_cert="/run/lab/ca.pem"'):
        assert f"  {line}\n" in text


def test_a_device_shows_its_certificate_and_has_no_password() -> None:
    pair = (Path("/run/lab/box.pem"), Path("/run/lab/box.key"))
    text = configuration(Login("device", "box", via="dot1x", eap="tls"), SOCKETS, CA, pair)
    for line in ("eap=TLS", 'identity="host/box"', 'private_key="/run/lab/box.key"'):
        assert f"  {line}\n" in text
    assert "password" not in text


@pytest.mark.parametrize("secret", ['a"b', "a\nnetwork={", "a\\"])
def test_a_value_that_would_end_its_quotes_is_refused(secret: str) -> None:
    with pytest.raises(LabError, match="none for wpa_supplicant"):
        configuration(Login("user", "alice", secret, via="dot1x"), SOCKETS, CA, None)
