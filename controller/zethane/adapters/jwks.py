"""JSON Web Signatures (RFC 7515) against the keys that an issuer publishes (JWK Set, RFC 7517 §5).

Only signatures with public keys are taken, by algorithms of the list; a key says by its own type which of them it may
be used for. Keys are fetched when they are first needed, when they are old, and when a token names one that is not
there, as after a rotation; that happens at a bounded rate, since anybody can name a key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact, validate_compact

from zethane.adapters.http.client import JsonClient
from zethane.adapters.http.strict_json import loads
from zethane.errors import SourceError, ZethaneError
from zethane.identity.attempts import Buckets, Rate

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2: what rests on public keys."""

MAX_KEYS = 64
"""Keys of a set that are looked at."""

MAX_TRIED = 8
"""Keys that one token is held against, where it names none."""

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
_MIN_MODULUS, _MAX_MODULUS = 342, 1366
"""The same in characters of base64url."""

LIFETIME = 3600.0
"""Seconds after which keys are fetched again."""

STALE = 24 * 3600.0
"""Seconds for which keys are used while the issuer does not answer."""

FETCHES = Rate(4, 30.0)
"""Fetches of one issuer's keys."""

Clock = Callable[[], float]
PublicKey = RSAKey | ECKey | OKPKey

_log = structlog.get_logger("zethane.keys")


class SignatureError(ZethaneError):
    """A token is malformed, its key is unknown, or its signature is wrong. `key` says that it was about the key."""

    def __init__(self, message: str, *, key: bool = False) -> None:
        self.key = key
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Token:
    """The header and the claims of a token whose signature is right. What the claims say is still to be checked."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


class _Registry(JWSRegistry):
    """Room for certificates in the header; parameters that nobody knows are ignored (RFC 7515 §4)."""

    max_header_length = 8 * 1024

    def __init__(self) -> None:
        super().__init__(algorithms=ALGORITHMS, strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        """The algorithm, without the library's warning that one day it will have another name (RFC 9864)."""
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(f"algorithm {name} is not taken")
        return self.algorithms[name]


_REGISTRY = _Registry()


class KeySource:
    """One issuer's keys. `fetch` gives its JWK Set; `clock` is monotonic, in seconds."""

    def __init__(self, name: str, fetch: Callable[[], Awaitable[Any]], clock: Clock) -> None:
        self._name = name
        self._fetch = fetch
        self._clock = clock
        self._keys: tuple[PublicKey, ...] = ()
        self._fetched: float | None = None
        self._rate = Buckets(FETCHES, 1)
        self._fetching: asyncio.Task[None] | None = None
        self._fetches = 0
        self._failure = ""
        self._since: float | None = None

    async def verified(self, token: str) -> Token:
        """The token, once its signature has been checked.

        Raises SignatureError, and SourceError where the issuer's keys cannot be had just now.
        """
        signed = _extract(token)
        kid = signed.protected.get("kid")
        await self._refresh(lambda: self._age() >= LIFETIME)
        found = self._candidates(signed, kid)
        is_fresh = bool(found) or await self._refresh(lambda: True)
        found = found or self._candidates(signed, kid)
        if self._age() >= STALE or (not found and not is_fresh):
            # Not the token's fault, as far as can be told now: it may come again.
            raise SourceError(f"the keys of {self._name} cannot be had now")
        if not found:
            raise SignatureError("no key of the issuer fits", key=True)
        if not any(_fits(signed, key) for key in found):
            raise SignatureError("the signature is wrong", key=True)
        return Token(signed.protected, _claims(signed))

    def state(self) -> tuple[Literal["up", "degraded", "down", "idle"], float | None, str]:
        """How the issuer does, since when (seconds since the epoch), and why."""
        if self._fetched is None:
            return ("down" if self._failure else "idle"), self._since, self._failure
        if self._failure:
            return ("degraded" if self._age() < STALE else "down"), self._since, self._failure
        return "up", self._since, f"{len(self._keys)} keys"

    def _age(self) -> float:
        return float("inf") if self._fetched is None else self._clock() - self._fetched

    def _candidates(self, signed: CompactSignature, kid: str | None) -> Sequence[PublicKey]:
        """The keys that the token may be signed with: the one that it names, or all of the algorithm's type."""
        alg = str(signed.protected["alg"])
        fitting = [key for key in self._keys if _usable(key, alg)]
        return [key for key in fitting if kid is None or key.kid == kid][:MAX_TRIED]

    async def _refresh(self, wanted: Callable[[], bool]) -> bool:
        """Fetch the keys if that is wanted and not too often; whoever comes meanwhile waits for the same answer.

        Returns whether they have just been fetched.
        """
        before = self._fetches
        if self._fetching is None and wanted():
            now = self._clock()
            if self._rate.wait("", now) > 0:
                return False
            self._rate.take("", now)
            self._fetching = asyncio.get_running_loop().create_task(self._renew())
        if self._fetching is not None:
            await asyncio.shield(self._fetching)
        return self._fetches != before

    async def _renew(self) -> None:
        try:
            keys = _read(await self._fetch())
            if not keys:
                raise SourceError("there is no key in it that can be used")  # noqa: TRY301  # one log line for all
            self._keys, self._fetched = keys, self._clock()
            self._fetches += 1
            self._note("")
            _log.info("keys-fetched", issuer=self._name, keys=len(keys))
        except SourceError as error:
            self._note(str(error))
            _log.warning("keys-unavailable", issuer=self._name, reason=str(error))
        finally:
            self._fetching = None

    def _note(self, failure: str) -> None:
        if self._since is None or bool(failure) != bool(self._failure):
            self._since = time.time()
        self._failure = failure


def published_at(client: JsonClient, url: str) -> Callable[[], Awaitable[Any]]:
    """Fetches the JWK Set at a URL."""
    return lambda: client.get(url)


def _extract(token: str) -> CompactSignature:
    try:
        signed = extract_compact(token.encode("ascii"), registry=_REGISTRY)
    except (JoseError, ValueError, TypeError, RecursionError):
        raise SignatureError("expected a signed token in compact form") from None
    header = signed.protected
    if not isinstance(header, dict) or "b64" in header or "crit" in header:
        raise SignatureError("the token's header asks for what is not supported")
    if header.get("alg") not in ALGORITHMS:
        raise SignatureError("the token's algorithm is not taken", key=True)
    if not isinstance(header.get("kid", ""), str):
        raise SignatureError("expected a key's name in the token's header")
    return signed


def _claims(signed: CompactSignature) -> Mapping[str, Any]:
    try:
        claims = loads(signed.payload)
    except ValueError as error:
        raise SignatureError(str(error)) from None
    if not isinstance(claims, dict):
        raise SignatureError("expected claims in the token")
    return claims


def _fits(signed: CompactSignature, key: PublicKey) -> bool:
    try:
        return validate_compact(signed, key, registry=_REGISTRY)
    except (JoseError, ValueError, TypeError):
        return False  # the key is of another type or curve than the algorithm


_KINDS: Mapping[str, type[RSAKey] | type[ECKey] | type[OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_TYPES: Mapping[str, type[PublicKey]] = {"RS": RSAKey, "PS": RSAKey, "ES": ECKey, "Ed": OKPKey}


def _usable(key: PublicKey, alg: str) -> bool:
    named = key.get("alg")
    return isinstance(key, _TYPES[alg[:2]]) and (named is None or named == alg)


def _read(document: object) -> tuple[PublicKey, ...]:
    """The public keys for signatures in a JWK Set; what cannot be used is left out, as RFC 7517 §5 has it."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise SourceError("expected a JWK Set")
    found = (_key(entry) for entry in entries[:MAX_KEYS] if isinstance(entry, dict))
    return tuple(key for key in found if key is not None)


def _key(entry: dict[str, Any]) -> PublicKey | None:
    kind = _KINDS.get(str(entry.get("kty")))
    if kind is None or entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        return None
    if kind is RSAKey and not _MIN_MODULUS <= len(str(entry.get("n"))) <= _MAX_MODULUS:
        return None
    try:
        key: PublicKey = kind.import_key({name: value for name, value in entry.items() if name not in _PRIVATE})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    if isinstance(key, RSAKey) and not MIN_RSA_BITS <= key.public_key.key_size <= MAX_RSA_BITS:
        return None
    return key


_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth"))
"""Parts of private keys, which have no place in what is published."""
