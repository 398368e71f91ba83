"""A WebAuthn authenticator and its browser in software, for answers that are right, and wrong in one way each."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40


@dataclass
class Authenticator:
    """One key, for one user of one relying party."""

    origin: str = "https://portal.example"
    rp_id: str | None = None
    flags: int = UP | UV
    count: int = 1
    credential_id: bytes = b"\x01" * 32
    handle: bytes = b""
    client: dict[str, Any] = field(default_factory=dict)
    """What the browser says other than it should."""

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: dict[str, Any], attestation: dict[str, Any] | None = None) -> dict[str, Any]:
        """A new passkey's answer to creation options."""
        self.rp_id = self.rp_id or options["rp"]["id"]
        self.handle = base64url_to_bytes(options["user"]["id"])
        numbers = self._key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = b"\0" * 16 + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cbor2.dumps(cose)
        statement = attestation or {"fmt": "none", "attStmt": {}}
        made = cbor2.dumps({**statement, "authData": self._data(AT) + attested})
        client = self._client("webauthn.create", options["challenge"])
        return self._answer(clientDataJSON=client, attestationObject=made)

    def get(self, options: dict[str, Any], *, handle: bool = True) -> dict[str, Any]:
        """Its answer to request options."""
        data = self._data(0)
        client = self._client("webauthn.get", options["challenge"])
        signature = self._key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        more = {"userHandle": self.handle} if handle else {}
        return self._answer(clientDataJSON=client, authenticatorData=data, signature=signature, **more)

    def _data(self, flags: int) -> bytes:
        digest = hashlib.sha256((self.rp_id or "").encode()).digest()
        return digest + bytes([self.flags | flags]) + self.count.to_bytes(4, "big")

    def _client(self, kind: str, challenge: str) -> bytes:
        data = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(data | self.client).encode()

    def _answer(self, **parts: bytes) -> dict[str, Any]:
        name = bytes_to_base64url(self.credential_id)
        response = {key: bytes_to_base64url(part) for key, part in parts.items()}
        return {"id": name, "rawId": name, "type": "public-key", "response": response}
