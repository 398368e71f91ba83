"""The embedded identity provider: what a credential is held against, and whether it holds.

Checking takes two steps. `matches` is slow on purpose (argon2id, RFC 9106) and runs in a worker thread;
`totp.accepted_step` is fast and runs where the steps already used are recorded, so that no code works twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type, verify_secret

from zethane.identity.credential import Credential
from zethane.identity.directory import Directory, User, Workload, secret_bytes

_DEFAULT_PARAMETERS = "$argon2id$v=19$m=65536,t=3,p=4"
_NOBODYS_DIGEST = "$" + "A" * 22 + "$" + "A" * 43
"""Salt and digest of zeros: no secret is known to have them, and one that had would still be refused."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a credential has to match. `reason` says why it cannot, whatever the secret; empty if it can."""

    hash: str = field(repr=False)
    totp: bytes | None = field(default=None, repr=False)
    reason: str = ""


class Provider:
    """Looks credentials up in one version of identities.yaml."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._decoys = {"user": _decoy(_user_hashes(directory)), "workload": _decoy(_workload_hashes(directory))}

    def expected(self, credential: Credential) -> Expected:
        """What to check the credential against.

        A principal that is unknown or disabled gets a decoy with the parameters that most hashes of its kind
        have: finding that it cannot log in takes as long as finding that the secret is wrong.
        """
        if credential.kind == "user":
            return self._user(self.directory.users.get(credential.name))
        return self._workload(self.directory.workloads.get(credential.name))

    def _user(self, user: User | None) -> Expected:
        if user is None or user.disabled:
            return Expected(self._decoys["user"], reason="unknown" if user is None else "disabled")
        if user.password is None:
            return Expected(self._decoys["user"], reason="method-not-allowed")
        totp = secret_bytes(user.totp) if user.totp is not None else None
        return Expected(user.password.get_secret_value(), totp)

    def _workload(self, workload: Workload | None) -> Expected:
        if workload is None or workload.disabled:
            return Expected(self._decoys["workload"], reason="unknown" if workload is None else "disabled")
        if workload.secret is None:
            return Expected(self._decoys["workload"], reason="method-not-allowed")
        return Expected(workload.secret.get_secret_value())


def matches(expected: str, secret: str) -> bool:
    """Whether a secret has this argon2id hash (PHC string format). Slow: tens of milliseconds, and memory."""
    try:
        return verify_secret(expected.encode("ascii"), secret.encode("utf-8"), Type.ID)
    except (VerificationError, InvalidHashError):
        return False


def _user_hashes(directory: Directory) -> Iterable[str]:
    return (user.password.get_secret_value() for user in directory.users.values() if user.password is not None)


def _workload_hashes(directory: Directory) -> Iterable[str]:
    return (one.secret.get_secret_value() for one in directory.workloads.values() if one.secret is not None)


def _decoy(hashes: Iterable[str]) -> str:
    """A hash that nobody has, as costly to check as most of the others."""
    parameters: Mapping[str, int] = Counter(known.rsplit("$", 2)[0] for known in hashes)
    commonest = max(parameters, key=lambda text: (parameters[text], text), default=_DEFAULT_PARAMETERS)
    return commonest + _NOBODYS_DIGEST
