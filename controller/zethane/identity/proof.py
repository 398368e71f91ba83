"""Proofs: who has authenticated, how, when and how strongly. A session holds one for each of its principals."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from zethane.errors import SessionError
from zethane.policy.principal import DeviceFacts, Principal, PrincipalKind

Method = Literal["portal", "dot1x", "mab", "oidc", "certificate", "attestation"]
"""How a principal proved itself: at the portal against the embedded provider; IEEE 802.1X; MAC authentication
bypass, which proves nothing; OpenID Connect; a client certificate; the platform's word for a port."""


BELOW_IP: frozenset[Method] = frozenset(("dot1x", "mab", "attestation"))
"""Methods of hosts that need no address for it."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One principal's authentication. Times are seconds since the epoch; `math.inf` where there is no limit.

    `amr` are the names of RFC 8176 §2, `aal` is the authenticator assurance level of NIST SP 800-63B (0: nothing was
    proved), `mfa_at` when more than one factor was last proved. The proof holds until the earlier of `expires` and
    `reauthenticate`; renewing it sets both anew. `idle` is how long its session may be silent.

    `issuer` is who vouches (empty: the embedded provider; a RADIUS server, an OpenID provider, a certificate
    authority, an OVSDB), `subject` the issuer's name for the principal, `reference` its name for this authentication:
    an Acct-Session-Id, a `sid`, a certificate's serial number, an `iface-id`. `attributes` is what else it said.
    """

    kind: PrincipalKind
    name: str
    method: Method
    at: float
    amr: tuple[str, ...] = ()
    aal: int = 1
    mfa_at: float | None = None
    groups: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    expires: float = math.inf
    reauthenticate: float = math.inf
    idle: float = math.inf
    issuer: str = ""
    subject: str = ""
    reference: str = ""
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def ends(self) -> float:
        """The moment after which it does not hold."""
        return min(self.expires, self.reauthenticate)

    @property
    def account(self) -> str:
        """Kind and name: `user:alice`."""
        return f"{self.kind}:{self.name}"

    def proves(self, kind: PrincipalKind) -> bool:
        """Whether it is a proof of such a principal. A MAC address is none: nothing proves it."""
        return self.kind == kind and self.aal > 0


def acting(proofs: tuple[Proof, ...], posture: DeviceFacts | None = None) -> Principal:
    """The principal that policy decides on: the user or workload, on the device that has proved itself too.

    `posture` is what is known of the proven device; None: nothing is. Raises ValueError without a proof.
    """
    if not proofs:
        raise ValueError("a session needs a proof")
    first = next((proof for proof in proofs if proof.kind != "device"), proofs[0])
    device = proven_device(proofs)
    facts = None
    if device is not None:
        facts = DeviceFacts(device.name, device.groups, device.labels)
        if posture is not None and posture.name == device.name:
            facts = replace(posture, groups=device.groups, labels=device.labels)
    mfa = first.mfa_at is not None
    return Principal(first.kind, first.name, first.groups, first.labels, mfa, first.mfa_at, first.aal, facts)


def proven_device(proofs: tuple[Proof, ...]) -> Proof | None:
    """The proof of the device, if it has proved itself."""
    return next((proof for proof in proofs if proof.proves("device")), None)


def proofs_with(present: tuple[Proof, ...], proof: Proof) -> tuple[Proof, ...]:
    """The proofs of a session at whose place a principal has just proved itself: who acts first, then the device.

    A proof of the same principal is renewed. A user and a device that have both proved themselves are together;
    anything else takes the place of what was there. One IEEE 802.1X supplicant speaks for one principal at a time:
    when it has become the device's again, the user whom it spoke for is gone.
    Raises SessionError for what proves less than what is there: nothing where something is proved, or the same
    principal by another method and less strongly.
    """
    if proof.aal == 0 and any(known.aal > 0 for known in present):
        raise SessionError("a session with a proof is there")
    same = next((known for known in present if known.account == proof.account), None)
    if same is not None and same.method != proof.method and same.aal > proof.aal:
        raise SessionError(f"{proof.account} has proved itself more strongly there")
    if proof.kind == "user":
        return (proof, *(known for known in present if known.proves("device")))
    if not proof.proves("device") or any(known.proves("device") and known is not same for known in present):
        return (proof,)  # a workload, a mere MAC, or another machine
    users = (known for known in present if known.proves("user"))
    return (*(known for known in users if (known.method, proof.method) != ("dot1x", "dot1x")), proof)


def goes_on(before: tuple[Proof, ...], after: tuple[Proof, ...]) -> bool:
    """Whether a session with one set of proofs may become one with the other; if not, a new one takes its place.

    Something that was proved has to be left, or to come, of the same principals: what somebody has opened is never
    another's, and what was only a MAC address is never somebody.
    """
    users = [{proof.account for proof in proofs if proof.kind != "device"} for proofs in (before, after)]
    if users[0] and users[1] and users[0] != users[1]:
        return False
    strengths = [{(proof.account, proof.aal > 0) for proof in proofs} for proofs in (before, after)]
    return bool(strengths[0] & strengths[1])
