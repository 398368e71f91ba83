"""About whom a transmitter may speak: the principals of one source, and the devices that it is trusted with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from zethane.identity.proof import Proof, proven_device
from zethane.identity.session import Session
from zethane.identity.signals.subject import Identifier, Identifiers, Subject
from zethane.identity.sources.oidc import OpenIdProvider

EMBEDDED_METHODS = frozenset(("portal", "certificate", "attestation"))
"""How principals of identities.yaml prove themselves to the controller itself."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One transmitter's scope. Without a `provider` its subjects are those of identities.yaml.

    `devices` are those whose compliance it may judge; None: all. `is_device` tells whether a device of this name is
    known. `skew` is by how many seconds its clock may be off. `complete` adds to a proof what the identities say of the
    person as well, and gives None if they disable her.
    """

    transmitter: str
    issuer: str
    source: str = "embedded"
    provider: OpenIdProvider | None = None
    devices: frozenset[str] | None = None
    is_device: Callable[[str], bool] = lambda _: True
    skew: float = 60.0
    complete: Callable[[Proof], Proof | None] = lambda proof: proof

    def vouches(self, proof: Proof) -> bool:
        """Whether the proof is one of its source."""
        if self.provider is None:
            return proof.method in EMBEDDED_METHODS
        return proof.method == "oidc" and proof.issuer == self.provider.issuer

    def judges(self, device: str) -> bool:
        """Whether it may say of this device that it is compliant, or is not."""
        return self.devices is None or device in self.devices


def concerned(subject: Subject, session: Session, scope: Scope) -> tuple[Proof, ...]:
    """The proofs of a session that an event about this subject concerns.

    Session and device narrow a user down. They leave out only what is known to be another session or device: where
    the provider has named no session, or nobody has proved on which device it is, the event counts.
    """
    own = tuple(proof for proof in session.proofs if scope.vouches(proof))
    device = proven_device(session.proofs)
    if subject.simple:
        return tuple(proof for proof in own if _any(_is_simple, subject.simple, proof, scope))
    if not subject.user:
        return _without_user(subject, own, device, scope)
    if _is_on_another(subject.device, device, scope):
        return ()
    users = (proof for proof in own if _any(_is_user, subject.user, proof, scope))
    return tuple(
        proof
        for proof in users
        if not subject.session or not proof.reference or _any(_is_session, subject.session, proof, scope)
    )


def _without_user(subject: Subject, own: tuple[Proof, ...], device: Proof | None, scope: Scope) -> tuple[Proof, ...]:
    if subject.session:
        if _is_on_another(subject.device, device, scope):
            return ()
        return tuple(proof for proof in own if _any(_is_session, subject.session, proof, scope))
    if device is not None and device_in(subject.device, scope) == device.name:
        return own if device in own or not scope.judges(device.name) else (*own, device)
    return ()


def _is_on_another(named: Identifiers, device: Proof | None, scope: Scope) -> bool:
    """Whether the session is known to be on another device than the one that is named."""
    name = device_in(named, scope)
    return name is not None and device is not None and device.name != name


def device_in(identifiers: Identifiers, scope: Scope) -> str | None:
    """The known device that is named; None if none is."""
    for one in identifiers:
        if one.format == "opaque" or (one.format == "iss_sub" and one.values[0] == scope.issuer):
            name = one.values[-1].removeprefix("device:")
            if scope.is_device(name):
                return name
    return None


Fits = Callable[[Identifier, Proof, Scope], bool]


def _any(fits: Fits, identifiers: Identifiers, proof: Proof, scope: Scope) -> bool:
    return any(fits(one, proof, scope) for one in identifiers)


def _is_simple(one: Identifier, proof: Proof, scope: Scope) -> bool:
    return _is_user(one, proof, scope) or _is_session(one, proof, scope)


def _is_session(one: Identifier, proof: Proof, scope: Scope) -> bool:
    if not proof.reference:
        return False
    return (one.format == "opaque" and one.values[0] == proof.reference) or _is_of(one, scope, (proof.reference,))


def _is_user(one: Identifier, proof: Proof, scope: Scope) -> bool:
    own = (proof.subject,) if scope.provider is not None else (proof.name, proof.account)
    if one.format == "opaque":
        return one.values[0] in own
    if one.format == "iss_sub":
        return _is_of(one, scope, own)
    if one.format == "email":
        return one.values[0].casefold() in _addresses(proof, scope)
    if one.format == "account":
        return _account(one.values[0], scope) in (proof.name, *_addresses(proof, scope))
    return False


def _is_of(one: Identifier, scope: Scope, names: tuple[str, ...]) -> bool:
    issuer = scope.issuer if scope.provider is None else scope.provider.issuer
    return one.format == "iss_sub" and one.values[0] == issuer and one.values[1] in names


def _addresses(proof: Proof, scope: Scope) -> frozenset[str]:
    """The addresses of who has proved itself, as far as they are known, in lower case."""
    said = [value for name, value in (*proof.attributes, *proof.labels) if name == "email"]
    name = proof.name if scope.provider is None else proof.name.removesuffix(f"@{scope.source}")
    return frozenset(one.casefold() for one in (*said, name) if "@" in one)


def _account(uri: str, scope: Scope) -> str:
    """Whom an `acct` URI (RFC 7565) means: a plain name if the host is the transmitter's, or else all of it."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "acct":
        return ""
    user, _, host = rest.rpartition("@")
    if host.casefold() == (urlsplit(scope.issuer).hostname or ""):
        return user if scope.provider is None else f"{user}@{scope.source}"
    return rest.casefold()
