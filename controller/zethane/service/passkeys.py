"""Passkeys: the ceremonies of WebAuthn level 3, §7, on the relying party's side.

A challenge belongs to the endpoint and the purpose that it was made for, works once, and not for long. What a browser
sends is hostile until all of it has been checked; py_webauthn checks most of it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import webauthn
from webauthn.helpers import (
    base64url_to_bytes,
    bytes_to_base64url,
    options_to_json_dict,
    parse_attestation_object,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AttestationFormat,
    AuthenticatorSelectionCriteria,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from zethane.identity.factor import MAX_CREDENTIAL_ID, Passkey, passkey_id
from zethane.identity.session import Endpoint
from zethane.service.passkey import Asserted, PasskeyRefusedError, RelyingParty, Response
from zethane.service.store import FactorStore

CHALLENGE_LIFETIME = 120.0
"""Seconds that a browser and its user have to answer a challenge."""

MAX_CHALLENGES = 8192
MAX_CHALLENGES_PER_PORT = 8
"""Challenges that wait for an answer; one more takes the place of the oldest, of its own port first."""

CHALLENGE_BYTES = 32
HANDLE_BYTES = 32
MAX_PUBLIC_KEY = 1024
"""Bytes of a COSE key: RSA with 4096 bits has about 530."""

ALGORITHMS = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]

Purpose = Literal["enrol", "login", "prove"]


@dataclass(frozen=True, slots=True)
class _Challenge:
    endpoint: Endpoint
    purpose: Purpose
    party: RelyingParty
    user: str | None
    handle: bytes
    until: float


class Passkeys:
    """Makes challenges and checks the answers."""

    def __init__(self, store: FactorStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._challenges: dict[bytes, _Challenge] = {}

    def __len__(self) -> int:
        return len(self._challenges)

    def login_options(self, endpoint: Endpoint, party: RelyingParty) -> dict[str, Any]:
        """What a browser needs to log somebody in. It names no passkeys: who asks is not known yet."""
        return self._request(endpoint, "login", party, None, (), UserVerificationRequirement.REQUIRED)

    def prove_options(self, endpoint: Endpoint, party: RelyingParty, user: str) -> dict[str, Any]:
        """What a browser needs to prove a passkey of the user who is logged in there already."""
        own = [one for one in self._of(user) if one.relying_party == party.id]
        return self._request(endpoint, "prove", party, user, own, UserVerificationRequirement.PREFERRED)

    def _request(
        self,
        endpoint: Endpoint,
        purpose: Purpose,
        party: RelyingParty,
        user: str | None,
        own: Sequence[Passkey],
        verification: UserVerificationRequirement,
    ) -> dict[str, Any]:
        options = webauthn.generate_authentication_options(
            rp_id=party.id,
            challenge=self._challenge(_Challenge(endpoint, purpose, party, user, b"", self._until())),
            timeout=int(CHALLENGE_LIFETIME * 1000),
            allow_credentials=[_descriptor(one) for one in own],
            user_verification=verification,
        )
        return options_to_json_dict(options)

    def enrol_options(self, endpoint: Endpoint, party: RelyingParty, user: str) -> dict[str, Any]:
        """What a browser needs to make a passkey for a user."""
        own = self._of(user)
        handle = own[0].handle if own else secrets.token_bytes(HANDLE_BYTES)
        options = webauthn.generate_registration_options(
            rp_id=party.id,
            rp_name=party.id,
            user_id=handle,
            user_name=user,
            user_display_name=user,
            challenge=self._challenge(_Challenge(endpoint, "enrol", party, user, handle, self._until())),
            timeout=int(CHALLENGE_LIFETIME * 1000),
            attestation=AttestationConveyancePreference.NONE,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED,
                user_verification=UserVerificationRequirement.PREFERRED,
            ),
            exclude_credentials=[_descriptor(one) for one in own],
            supported_pub_key_algs=ALGORITHMS,
        )
        return options_to_json_dict(options)

    def enrolled(self, endpoint: Endpoint, user: str, response: Response, name: str) -> Passkey:
        """The passkey that a browser has made for a user. It is not in the store yet. Raises PasskeyRefusedError."""
        challenge, spoken = self._answered(endpoint, "enrol", response)
        if challenge.user != user:
            raise PasskeyRefusedError("the challenge was made for somebody else")
        try:
            _check_attestation(response)
            made = webauthn.verify_registration_response(
                credential=response,
                expected_challenge=spoken,
                expected_rp_id=challenge.party.id,
                expected_origin=challenge.party.origin,
                supported_pub_key_algs=ALGORITHMS,
            )
        except Exception as error:  # noqa: BLE001  # what a parser makes of hostile bytes is a refusal, whatever it is
            raise PasskeyRefusedError(_why(error), user) from None
        if len(made.credential_id) > MAX_CREDENTIAL_ID or len(made.credential_public_key) > MAX_PUBLIC_KEY:
            raise PasskeyRefusedError("the credential ID or the key is too long", user)
        found = passkey_id(bytes_to_base64url(made.credential_id))
        if self._store.factor(found) is not None:
            raise PasskeyRefusedError("the passkey is enrolled already", user)
        return Passkey(
            id=found,
            user=user,
            created=self._clock(),
            name=name,
            relying_party=challenge.party.id,
            handle=challenge.handle,
            public_key=made.credential_public_key,
            sign_count=made.sign_count,
            synced=made.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
            verifies=made.user_verified,
        )

    def owner(self, response: Response) -> str | None:
        """Whose passkey a response says that it is from, unchecked; None if nobody has it."""
        found = self._store.factor(passkey_id(str(response.get("id"))))
        return found.user if isinstance(found, Passkey) else None

    def asserted(self, endpoint: Endpoint, response: Response, user: str | None) -> Asserted:
        """The passkey that a response proves, with its use recorded: of `user`, or of whoever it is if that is None.

        Alone, a passkey has to have verified its user. Raises PasskeyRefusedError, CapacityError.
        """
        challenge, spoken = self._answered(endpoint, "prove" if user is not None else "login", response)
        if challenge.user != user:
            raise PasskeyRefusedError("the challenge was made for somebody else", user)
        known = self._store.factor(passkey_id(str(response.get("id"))))
        if not isinstance(known, Passkey) or (user is not None and known.user != user):
            raise PasskeyRefusedError("nobody who may use it here has this passkey", user)
        if known.relying_party != challenge.party.id:
            raise PasskeyRefusedError("the passkey was made for another name of the portal", known.user)
        self._check_handle(known, response, needed=user is None)
        try:
            proved = webauthn.verify_authentication_response(
                credential=response,
                expected_challenge=spoken,
                expected_rp_id=challenge.party.id,
                expected_origin=challenge.party.origin,
                credential_public_key=known.public_key,
                credential_current_sign_count=0,  # held against the last one below, with words of its own
                require_user_verification=user is None,
            )
        except Exception as error:  # noqa: BLE001  # what a parser makes of hostile bytes is a refusal, whatever it is
            raise PasskeyRefusedError(_why(error), known.user) from None
        if (proved.credential_device_type is CredentialDeviceType.MULTI_DEVICE) != known.synced:
            raise PasskeyRefusedError("the passkey says something else of its backups than before", known.user)
        if proved.new_sign_count <= known.sign_count and (proved.new_sign_count or known.sign_count):
            raise PasskeyRefusedError("the signature counter went back: there may be a copy of the passkey", known.user)
        used = replace(known, sign_count=proved.new_sign_count, used=self._clock())
        self._store.save_factor(used)
        return Asserted(used, proved.user_verified)

    @staticmethod
    def _check_handle(known: Passkey, response: Response, *, needed: bool) -> None:
        """WebAuthn §7.2 step 6: who is not known yet has to be named by the authenticator itself."""
        inner = response.get("response")
        given = inner.get("userHandle") if isinstance(inner, dict) else None
        if given is None and not needed:
            return
        if given != bytes_to_base64url(known.handle):
            raise PasskeyRefusedError("the user handle is not its owner's", known.user)

    def _of(self, user: str) -> list[Passkey]:
        return [one for one in self._store.factors_of(user) if isinstance(one, Passkey)]

    def _until(self) -> float:
        return self._clock() + CHALLENGE_LIFETIME

    def _challenge(self, challenge: _Challenge) -> bytes:
        """A new challenge."""
        place = challenge.endpoint.attachment
        same = [
            spoken
            for spoken, one in self._challenges.items()
            if (one.endpoint.attachment.dpid, one.endpoint.attachment.port) == (place.dpid, place.port)
        ]
        for spoken in same[: len(same) + 1 - MAX_CHALLENGES_PER_PORT]:
            del self._challenges[spoken]
        if len(self._challenges) >= MAX_CHALLENGES:
            del self._challenges[next(iter(self._challenges))]
        spoken = secrets.token_bytes(CHALLENGE_BYTES)
        self._challenges[spoken] = challenge
        return spoken

    def _answered(self, endpoint: Endpoint, purpose: Purpose, response: Response) -> tuple[_Challenge, bytes]:
        """The challenge that a response answers; it is used up, whatever the answer is worth."""
        spoken, cross_origin = _client_data(response)
        challenge = self._challenges.pop(spoken, None)
        if challenge is None or challenge.until <= self._clock():
            raise PasskeyRefusedError("the challenge is unknown, used or too old")
        if challenge.endpoint != endpoint or challenge.purpose != purpose:
            raise PasskeyRefusedError("the challenge was made for another place or purpose")
        if cross_origin:
            raise PasskeyRefusedError("the answer comes from a page within a page of somebody else's")
        return challenge, spoken


def _client_data(response: Response) -> tuple[bytes, bool]:
    """The challenge that the client data name, and whether they name another origin around the portal's."""
    try:
        data = json.loads(base64url_to_bytes(response["response"]["clientDataJSON"]))
        framed = data.get("crossOrigin") is True or "topOrigin" in data
        return base64url_to_bytes(data["challenge"]), framed
    except Exception:  # noqa: BLE001  # hostile bytes: base64, UTF-8, JSON, types, recursion
        raise PasskeyRefusedError("the client data cannot be read") from None


def _check_attestation(response: Response) -> None:
    """None was asked for. What comes nevertheless is not looked into, but for a signature by the passkey itself."""
    read = parse_attestation_object(base64url_to_bytes(response["response"]["attestationObject"]))
    own = read.fmt == AttestationFormat.PACKED and not read.att_stmt.x5c
    if read.fmt != AttestationFormat.NONE and not own:
        raise PasskeyRefusedError("an attestation that nobody asked for")


def _descriptor(passkey: Passkey) -> PublicKeyCredentialDescriptor:
    return PublicKeyCredentialDescriptor(id=base64url_to_bytes(passkey.id.removeprefix("passkey:")))


MAX_EXPLANATION = 200


def _why(error: Exception) -> str:
    """The library's words for the log: they quote what the client sent, so they are cut and made printable."""
    text = "".join(char if char.isprintable() else "?" for char in str(error)[:MAX_EXPLANATION])
    return text or type(error).__name__
