"""Client certificates: which are accepted now (RFC 5280 §6), and whom they name (X.509-SVID; SAN dNSName).

The path is built and checked by `cryptography`; what it leaves to its callers is here: revocation lists, the use that
the certificate is for, the strength of keys, bounds, and the name. Time is a parameter: seconds since the epoch.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from itertools import pairwise
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from zethane.errors import ZethaneError

E = TypeVar("E", bound=x509.ExtensionType)

MAX_CERTIFICATE = 4096
"""Bytes of one certificate (DER)."""

MAX_CHAIN = 4
"""Certificates that a client may present: its own and intermediate ones."""

MAX_TOTAL = 10 * 1024
"""Bytes of all of them together: with base64 they fit a request to the portal's back end."""

MAX_NAMES = 32
"""Entries of the subjectAltName extension."""

SKEW = 60.0
"""Seconds by which a certificate may begin in the future: its CA's clock is not this one. None after its end."""

MIN_RSA, MAX_RSA = 2048, 8192
"""Bits of an RSA key: no less is safe (SP 800-57 part 1 §5.6.1), more is work for whoever has to check it."""

_CURVES = frozenset(("secp256r1", "secp384r1", "secp521r1"))
_SPIFFE_ID = re.compile(r"spiffe://([a-z0-9._-]{1,255})((?:/[A-Za-z0-9._-]+)+)")
_SAID = 160
"""Characters of a reason, or of a name, that go to the log."""


class CertificateError(ZethaneError):
    """A certificate is not accepted. The message is for the log, never for who presented it."""


@dataclass(frozen=True, slots=True)
class Revocations:
    """What a CA has revoked (RFC 5280 §5): serial numbers, and from when until when the list is current."""

    issued: float
    ends: float
    serials: frozenset[int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trust:
    """What certificates are held against. `revocations` are by the key of their issuer (`key_id`).

    With `lists`, every issuer on a path has to have a current one; an issuer whose list is missing, or has not been
    renewed in time, might have revoked anything. `trust_domain` is the SPIFFE trust domain whose IDs are taken;
    without one, DNS names are.
    """

    anchors: tuple[x509.Certificate, ...]
    revocations: Mapping[str, Revocations] = field(default_factory=dict)
    lists: bool = False
    trust_domain: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """One certificate on a path: the key of its issuer, and its serial number there. It has no other name."""

    issuer: str
    serial: int

    def __str__(self) -> str:
        return f"{self.issuer}:{self.serial:x}"

    @classmethod
    def parse(cls, text: str) -> Link:
        """What `str` has made. Raises ValueError."""
        issuer, _, serial = text.partition(":")
        return cls(issuer, int(serial, 16))


@dataclass(frozen=True, slots=True)
class Accepted:
    """A certificate that is accepted: whom it names, until when, and the path to the authority that vouches."""

    kind: Literal["spiffe", "dns"]
    names: tuple[str, ...]
    ends: float
    path: tuple[Link, ...]
    authority: str


def accept(chain: Sequence[bytes], trust: Trust, now: float) -> Accepted:
    """What a chain of certificates (DER, the client's own first) proves at `now`. Raises CertificateError."""
    leaf, *others = _parsed(chain)
    path = _path(leaf, others, trust, now)
    _check_use(leaf, strict=trust.trust_domain is not None)
    links = tuple(Link(key_id(issuer), certificate.serial_number) for certificate, issuer in pairwise(path))
    if not links:
        raise CertificateError("an authority's own certificate is no client's")
    check_links(links, trust, now)
    names = _names(leaf)
    kind: Literal["spiffe", "dns"] = "dns" if trust.trust_domain is None else "spiffe"
    named = _dns_names(names) if trust.trust_domain is None else (_spiffe_id(names, trust.trust_domain),)
    ends = min(certificate.not_valid_after_utc.timestamp() for certificate in path)
    return Accepted(kind, named, ends, links, path[-1].subject.rfc4514_string()[:_SAID])


def check_links(links: Sequence[Link], trust: Trust, now: float) -> None:
    """Hold a path that was accepted before against what is trusted now. Raises CertificateError."""
    if links[-1].issuer not in {key_id(anchor) for anchor in trust.anchors}:
        raise CertificateError("its authority is not trusted any more")
    if not trust.lists:
        return
    for link in links:
        revocations = trust.revocations.get(link.issuer)
        if revocations is None:
            raise CertificateError("there is no revocation list of its issuer")
        if not revocations.issued <= now + SKEW or revocations.ends <= now:
            raise CertificateError("the revocation list of its issuer is not current")
        if link.serial in revocations.serials:
            raise CertificateError(f"revoked: serial number {link.serial:x}")


def key_id(certificate: x509.Certificate) -> str:
    """A name for a CA by its key: SHA-256 of the SubjectPublicKeyInfo, cut to 160 bits (RFC 7093 §2)."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(spki).hexdigest()[:40]


def _parsed(chain: Sequence[bytes]) -> list[x509.Certificate]:
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise CertificateError(f"expected one to {MAX_CHAIN} certificates, found {len(chain)}")
    if any(len(one) > MAX_CERTIFICATE for one in chain):
        raise CertificateError(f"a certificate of more than {MAX_CERTIFICATE} bytes")
    try:
        with warnings.catch_warnings():
            # A serial number that is not positive (RFC 5280 §4.1.2.2) is refused here, not warned of.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            parsed = [x509.load_der_x509_certificate(one) for one in chain]
            serials = [certificate.serial_number for certificate in parsed]
        if min(serials) <= 0:
            raise CertificateError("a serial number that is not positive")
        for certificate in parsed:
            _check_key(certificate)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise CertificateError(f"malformed: {_said(error)}") from None
    return parsed


def _check_key(certificate: x509.Certificate) -> None:
    key = certificate.public_key()
    strong = isinstance(key, rsa.RSAPublicKey) and MIN_RSA <= key.key_size <= MAX_RSA
    strong = strong or (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES)
    if not strong:
        raise CertificateError("a key that is too weak, too long, or of another kind than RSA and P-256, 384, 521")


def _path(
    leaf: x509.Certificate, others: list[x509.Certificate], trust: Trust, now: float
) -> Sequence[x509.Certificate]:
    """The path from the client's certificate to an authority, both included (RFC 5280 §6.1)."""
    begins = max(certificate.not_valid_before_utc.timestamp() for certificate in (leaf, *others))
    moment = begins if now < begins <= now + SKEW else now
    policy = PolicyBuilder().store(Store(list(trust.anchors))).max_chain_depth(MAX_CHAIN - 1)
    verifier = policy.time(datetime.fromtimestamp(moment, timezone.utc).replace(tzinfo=None)).build_client_verifier()
    try:
        return verifier.verify(leaf, others).chain
    except (VerificationError, ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise CertificateError(_said(error)) from None


def _check_use(leaf: x509.Certificate, *, strict: bool) -> None:
    """It has to be for clients (RFC 5280 §4.2.1.12), and to sign with (§4.2.1.3; X.509-SVID §4.3, §5.2 as `strict`)."""
    uses = _extension(leaf, x509.ExtendedKeyUsage)
    if uses is None or ExtendedKeyUsageOID.CLIENT_AUTH not in uses:
        raise CertificateError("not for clients: extendedKeyUsage without clientAuth")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None:
        if strict:
            raise CertificateError("no X.509-SVID: it has no keyUsage")
    elif not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        raise CertificateError("expected keyUsage digitalSignature, and neither keyCertSign nor cRLSign")


def _names(leaf: x509.Certificate) -> x509.SubjectAlternativeName:
    names = _extension(leaf, x509.SubjectAlternativeName)
    if names is None:
        raise CertificateError("it has no subjectAltName")
    if len(names) > MAX_NAMES:
        raise CertificateError(f"more than {MAX_NAMES} names")
    return names


def _extension(leaf: x509.Certificate, kind: type[E]) -> E | None:
    try:
        value = leaf.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CertificateError(f"malformed: {_said(error)}") from None
    return value if isinstance(value, kind) else None


def _spiffe_id(names: x509.SubjectAlternativeName, trust_domain: str) -> str:
    """The one URI (X.509-SVID §2), a SPIFFE ID with a path (SPIFFE-ID §2) in the trust domain."""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise CertificateError(f"expected exactly one URI among its names, found {len(uris)}")
    found = _SPIFFE_ID.fullmatch(uris[0])
    if found is None or {".", ".."}.intersection(found[2].split("/")):
        raise CertificateError(f"no SPIFFE ID: {quoted(uris[0])}")
    if found[1] != trust_domain:
        raise CertificateError(f"another trust domain: {quoted(uris[0])}")
    return uris[0]


def _dns_names(names: x509.SubjectAlternativeName) -> tuple[str, ...]:
    """Its DNS names in lower case; a name with a wildcard names nobody."""
    if any(uri.startswith("spiffe:") for uri in names.get_values_for_type(x509.UniformResourceIdentifier)):
        raise CertificateError("a SPIFFE ID, and no trust_domain to hold it against")
    found = names.get_values_for_type(x509.DNSName)
    if not found:
        raise CertificateError("it has no DNS name")
    return tuple(dict.fromkeys(name.lower().rstrip(".") for name in found if "*" not in name))


def quoted(text: str) -> str:
    """What a stranger has written, for the log: short, and of characters that can be shown."""
    return ascii(text[:_SAID])


def _said(error: Exception) -> str:
    return "".join(char for char in str(error)[:_SAID] if char.isprintable()) or type(error).__name__
