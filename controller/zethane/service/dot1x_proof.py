"""What IEEE 802.1X and MAC authentication bypass prove: from a server's yes to a proof, or to a refusal.

The assurance level is that of NIST SP 800-63B. All that the authenticator sees of a method is its EAP type: a password
is AAL 1, a key AAL 2, which holds as far as whoever issues its certificates sees to it that something unlocks the key
(§5.1.8). It never counts as a second factor that has just been proved: nobody tells.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from zethane.audit.reason import LoginRefusal
from zethane.errors import SessionError
from zethane.identity.directory import Directory
from zethane.identity.proof import Method as ProofMethod
from zethane.identity.proof import Proof, acting
from zethane.identity.sources.radius import Radius
from zethane.net.eapol import Method
from zethane.net.mac import format_mac
from zethane.policy.principal import PrincipalKind
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.radius import AccessReply, AccessRequest, proof_of

AAL_OF_A_MAC = 0

_STRENGTH: dict[int, tuple[tuple[str, ...], int]] = {
    Method.TLS: (("pop", "swk"), 2),
    Method.TTLS: (("pwd",), 1),
    Method.PEAP: (("pwd",), 1),
    Method.MD5: (("pwd",), 1),
}
"""Names of RFC 8176 §2 and the assurance level by EAP type."""

_UNKNOWN: tuple[tuple[str, ...], int] = ((), 1)
"""Another method is taken at its server's word, and has no name."""

_HOST = "host/"
"""What machines put in front of their name in an identity ([MS-PEAP], as Windows and wpa_supplicant have it)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}")
"""The same as in identities.yaml."""


class ProofRefusal(Exception):  # noqa: N818  # says what happened
    """A server has said yes, and there is no session all the same."""

    def __init__(self, why: LoginRefusal, explanation: str) -> None:
        self.why = why
        super().__init__(explanation)


def mac_name(mac: int) -> str:
    """A MAC address as User-Name: as in Calling-Station-Id, `02-00-00-00-00-22` (RFC 3580 §3.20)."""
    return format_mac(mac).replace(":", "-").upper()


@dataclass(frozen=True, slots=True)
class Prover:
    """Makes proofs. `directory` is who identities.yaml knows now, `settings` the section `radius`.

    `reauthenticate` is after how many seconds a proof has to be renewed, whatever the server says.
    """

    directory: Callable[[], Directory]
    policy: Callable[[], PolicyInForce]
    settings: Radius | None
    reauthenticate: float = math.inf

    def by_eap(self, request: AccessRequest, reply: AccessReply, method: int | None, now: float) -> Proof:
        """The proof of who has authenticated by EAP. Raises ProofRefusal.

        Who that is the server says: the identity of an exchange is what anybody can claim. Only EAP-MD5 is about that
        identity itself.
        """
        told = reply.user_name if reply.user_name is not None or method != Method.MD5 else request.user_name
        if told is None:
            raise ProofRefusal(LoginRefusal.INVALID_ANSWER, "the server accepts, and does not say whom (User-Name)")
        kind, name = self._principal(told)
        amr, aal = _STRENGTH.get(method or 0, _UNKNOWN)
        return self._proof(request, reply, kind, name, amr, aal, now)

    def by_mac(self, request: AccessRequest, reply: AccessReply | None, now: float) -> Proof:
        """What a MAC address stands for, by a server's answer or by identities.yaml alone. Raises ProofRefusal."""
        known = self.directory().device_at(request.attachment.mac)
        if reply is not None:
            name = known or mac_name(request.attachment.mac)
            return self._proof(request, reply, "device", name, (), AAL_OF_A_MAC, now)
        if known is None:
            raise ProofRefusal(LoginRefusal.UNKNOWN, "no device has this MAC")
        return self._as_known(Proof("device", known, "mab", now, aal=AAL_OF_A_MAC, reference=request.session_id))

    def _principal(self, told: str) -> tuple[PrincipalKind, str]:
        directory = self.directory()
        name = told.removeprefix(_HOST)
        if not _NAME.fullmatch(name):
            raise ProofRefusal(LoginRefusal.INVALID_ANSWER, "the server names somebody in a way that no name can have")
        if name != told:  # a machine, by its name or by the DNS name that identities.yaml gives to it
            return directory.certified(name.lower()) or ("device", name)
        is_device = name in directory.devices and name not in directory.users
        return ("device", name) if is_device else ("user", name)

    def _proof(
        self,
        request: AccessRequest,
        reply: AccessReply,
        kind: PrincipalKind,
        name: str,
        amr: tuple[str, ...],
        aal: int,
        now: float,
    ) -> Proof:
        if self.settings is None:
            raise ProofRefusal(LoginRefusal.METHOD_NOT_ALLOWED, "no RADIUS server is known")
        method: ProofMethod = "mab" if request.eap is None else "dot1x"
        proof = proof_of(request, reply, kind, name, method, amr, aal, self.settings, now)
        proof = self._as_known(replace(proof, reauthenticate=min(proof.reauthenticate, now + self.reauthenticate)))
        self._check_vlan(request, reply, proof, self.settings)
        return proof

    def _as_known(self, proof: Proof) -> Proof:
        """With what identities.yaml says of the same principal. Raises ProofRefusal if it is disabled.

        Who is not listed there is known to the server alone.
        """
        directory, kind, name = self.directory(), proof.kind, proof.name
        if name not in {"user": directory.users, "device": directory.devices}.get(kind, directory.workloads):
            return proof
        try:
            known = directory.principal(kind, name, False)
        except SessionError:
            raise ProofRefusal(LoginRefusal.DISABLED, "") from None
        labels = dict(known.labels) | dict(proof.labels)
        return replace(proof, groups=proof.groups | known.groups, labels=tuple(sorted(labels.items())))

    def _check_vlan(self, request: AccessRequest, reply: AccessReply, proof: Proof, settings: Radius) -> None:
        """Refuse a VLAN that the host is not in: a tag is part of its place, and no server moves it (RFC 3580 §3.31).

        A value that `radius.labels` knows is no VLAN but a word for labels.
        """
        wanted = reply.tunnel_private_group
        if wanted is None or wanted in (settings.labels or {}):
            return
        policy = self.policy()
        place = policy.place(acting((proof,)), proof.at)
        own = None if place is None else policy.policy.segments[place[0]].vlan
        if wanted not in (str(request.attachment.vlan), str(own)):
            raise ProofRefusal(LoginRefusal.VLAN_NOT_ALLOWED, "the server wants another VLAN than the host is in")
