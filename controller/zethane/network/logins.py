"""What the hosts of a lab authenticate with: which keys go together, for each way to do it."""

from __future__ import annotations

from collections.abc import Callable

from zethane.network.model import Login
from zethane.network.schema import LoginEntry, Via

_EXPECTED: dict[Via, str] = {
    "portal": "expected user and password (and totp), or workload and secret, and no more",
    "dot1x": "expected user and password for IEEE 802.1X, or with eap: tls a user or a device without one",
    "mab": "expected a device, and no more: its MAC address is all there is",
    "oidc": "expected user, password and provider",
    "certificate": "expected a workload or a device: the lab makes its certificate",
    "attestation": "expected a workload: the platform vouches for it",
}


def login_of(entry: LoginEntry, problem: Callable[[str], None]) -> Login | None:
    """The login that an entry describes; None, and a problem, if its keys do not go together."""
    names = {kind: name for kind in ("user", "workload", "device") if (name := getattr(entry, kind)) is not None}
    if len(names) != 1 or not _fits(entry):
        problem(_EXPECTED[entry.via])
        return None
    totp = entry.totp.get_secret_value() if entry.totp else None
    given = entry.password or entry.secret
    secret = given.get_secret_value() if given else ""
    if entry.user is not None:
        return Login("user", entry.user, secret, totp, entry.via, entry.eap, entry.provider)
    if entry.workload is not None:
        return Login("workload", entry.workload, secret, via=entry.via)
    return Login("device", entry.device or "", via=entry.via, eap=entry.eap)


def _fits(entry: LoginEntry) -> bool:
    """Whether what is there besides the name is what the method takes. One name is there."""
    optional = {"totp": entry.totp, "password": entry.password, "secret": entry.secret, "provider": entry.provider}
    given = {key for key, value in optional.items() if value is not None}
    if entry.via == "portal":
        if entry.user is not None:
            return given in ({"password"}, {"password", "totp"})
        return entry.workload is not None and given == {"secret"}
    if entry.via == "dot1x":
        if entry.eap == "tls":
            return entry.workload is None and not given
        return entry.user is not None and given == {"password"}
    if entry.via == "oidc":
        return entry.user is not None and given == {"password", "provider"}
    if entry.via == "certificate":
        return entry.user is None and not given
    kind = entry.device if entry.via == "mab" else entry.workload
    return kind is not None and not given
