"""An in-memory controller for the portal: connections it knows, sessions it holds, logins it records."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from fakes.known import known_as
from zethane.audit.reason import FactorEvent
from zethane.errors import AddressInUse, SessionError
from zethane.identity.directory import Directory, parse_identities
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Attachment, Endpoint, Session

# argon2id with the least that is allowed: the tests are about what is done, not about what it costs.
# They are the hashes of "lab-alice", "lab-bob" and "lab-web1".
ALICE = "$argon2id$v=19$m=8,t=1,p=1$eIqzQBkpVdp94oiI3SsA3g$j9/D0Bzq0VXIFvJ/dn5HQT2ByHR0nvwV8Joh2HZzfuk"
BOB = "$argon2id$v=19$m=8,t=1,p=1$aDMS1Bx/JA6+KdeW/xmcJg$FC2g2F5p+oMKU2IpBGEPBpiy/y/nyYJfygnSY8BCvdY"
WEB1 = "$argon2id$v=19$m=8,t=1,p=1$AcCUW8IyNV4IB4IAt5I4/g$M20uQXZLs6HjNPRUqhTv8k8uTKVo6PSdCEiAgrfoaxc"

IDENTITIES = f"""
users:
  alice: {{groups: [staff], password: "{ALICE}", totp: JBSWY3DPEHPK3PXP}}
  bob: {{groups: [staff], password: "{BOB}"}}
  gone: {{password: "{BOB}", disabled: true}}
workloads:
  web1: {{labels: {{tier: web}}, secret: "{WEB1}"}}
"""
TOTP_SECRET = "JBSWY3DPEHPK3PXP"
TOTP_KEY = b"Hello!\xde\xad\xbe\xef"

PLACE = Attachment(1, 5, 0, 0x020000000015)


def address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def at(port: int = 5, text: str = "10.0.0.21", mac: int = 0x020000000015) -> Endpoint:
    return Endpoint(Attachment(1, port, 0, mac), address(text))


def directory(text: str = IDENTITIES) -> Directory:
    return parse_identities(text, "identities.yaml")


class PortalSite:
    """What the facade does for the portal, with every connection coming from `place` unless `known` is false."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0
        self.known = True
        self.place = PLACE
        self.located: list[tuple[bytes, int, bytes, int]] = []
        self.live: dict[int, Session] = {}
        self.refusals: list[tuple[Endpoint, str, str]] = []
        self.explanations: list[str] = []
        self.failure: Exception | None = None
        self.wanted: list[dict[str, Any]] = []
        self.factor_events: list[tuple[str, str, str]] = []
        self.changes: list[tuple[int, str, str]] = []

    def clock(self) -> float:
        return self.now

    def refused(self, endpoint: Endpoint, account: str, reason: str, explanation: str = "") -> None:
        self.explanations.append(explanation)
        self.refusals.append((endpoint, account, reason))

    def factor_changed(self, event: FactorEvent, account: str, factor: str, _: Endpoint | None) -> None:
        self.factor_events.append((event.value, account, factor))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, _, reason in self.refusals]

    def locate(self, address: bytes, port: int, server: bytes, server_port: int) -> Endpoint | None:
        self.located.append((address, port, server, server_port))
        return Endpoint(self.place, address) if self.known else None

    def session(self, number: int) -> Session | None:
        return self.live.get(number)

    def sessions(self) -> list[Session]:
        return list(self.live.values())

    def sessions_known_as(self, *words: str) -> list[Session]:
        return known_as(self.live.values(), words)

    def sessions_vouched_by(self, issuer: str) -> list[Session]:
        return [one for one in self.live.values() if any(proof.issuer == issuer for proof in one.proofs)]

    def session_at(self, endpoint: Endpoint) -> Session | None:
        held = (s for s in self.live.values() if s.attachment == endpoint.attachment)
        return next((s for s in held if endpoint.address in s.addresses), None)

    def start_session(self, attachment: Attachment, proof: Proof, address: bytes | None = None) -> Session:
        if self.failure is not None:
            raise self.failure
        here = self.session_of(attachment)
        renewed = here is not None and any(known.account == proof.account for known in here.proofs)
        number = here.number if here is not None and renewed else max(self.live, default=0) + 1
        ends = self.now + 3600
        proof = replace(proof, expires=ends, reauthenticate=ends)
        addresses = (address,) if address is not None else ()
        if here is not None and not renewed:
            del self.live[here.number]
        session = Session(number, acting((proof,)), attachment, addresses, "staff", self.now, (proof,))
        self.live[number] = session
        return session

    def session_of(self, attachment: Attachment) -> Session | None:
        return next((one for one in self.live.values() if one.attachment == attachment), None)

    def wanting(self, number: int) -> list[dict[str, Any]]:
        return self.wanted if number in self.live else []

    def claim_address(self, endpoint: Endpoint, number: int) -> Session:
        session = self.live.get(number)
        if session is None or session.attachment != endpoint.attachment:
            raise SessionError("the session is not at this place")
        if any(endpoint.address in other.addresses for other in self.live.values() if other is not session):
            raise AddressInUse("another session holds this address")
        addresses = (*session.addresses, endpoint.address)
        self.live[number] = replace(session, addresses=addresses)
        return self.live[number]

    def end_session(self, number: int, reason: str) -> bool:  # noqa: ARG002 - the signature of the facade
        return self.live.pop(number, None) is not None

    def logout(self, number: int) -> bool:
        return self.live.pop(number, None) is not None

    def change_proof(self, number: int, proof: Proof, changed: Proof | None, reason: str, detail: str = "") -> bool:
        session = self.live.get(number)
        if session is None or proof not in session.proofs:
            return False
        self.changes.append((number, reason, detail))
        proofs = tuple(changed if known == proof else known for known in session.proofs)
        left = tuple(known for known in proofs if known is not None)
        if left:
            self.live[number] = replace(session, proofs=left, principal=acting(left))
        else:
            del self.live[number]
        return True

    # What the portal must never ask for.

    def _never(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the portal has no business with this")

    block = unblock = blocks = proofs = look_again = _never
    revoke = flows = decisions = policy = switches = links = _never
    sources = health = explain = metrics = _never

    async def reload(self) -> Any:
        return self._never()

    def decision_stream(self) -> AsyncIterator[Any]:
        raise AssertionError("the portal has no business with this")
