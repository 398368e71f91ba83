"""Certificates of every kind, also those that no authority should make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.certificates import alternative_names

NOW = 1_800_000_000.0
"""The moment around which everything is valid."""

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, timezone.utc)


def usage(*, sign: bool, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(sign, False, False, False, False, certificates, certificates, False, False)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def serial(self) -> int:
        return self.certificate.serial_number


@dataclass
class Ca:
    """An authority; `above` has signed it, or it has itself."""

    name: str = "root"
    above: Ca | None = None
    made: Made = field(init=False)

    def __post_init__(self) -> None:
        key = new_key()
        signer = self.above.made.key if self.above else key
        issuer = self.above.name if self.above else self.name
        built = (
            _builder(self.name, issuer, key, -3600, 86400 * 365)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage(sign=False, certificates=True), critical=True)
            .add_extension(_authority_key(signer), critical=False)
        )
        self.made = Made(built.sign(signer, hashes.SHA256()), key)

    def issue(
        self,
        *names: str,
        key: Key | None = None,
        begins: float = -60,
        ends: float = 3600,
        uses: Sequence[x509.ObjectIdentifier] = (CLIENT,),
        key_usage: x509.KeyUsage | None = None,
        extra: x509.ExtensionType | None = None,
        without_usage: bool = False,
    ) -> Made:
        """A client's certificate; times in seconds from NOW."""
        key = key or new_key()
        built = _builder("", self.name, key, begins, ends)
        built = built.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        built = built.add_extension(_authority_key(self.made.key), critical=False)
        if uses:
            built = built.add_extension(x509.ExtendedKeyUsage(list(uses)), critical=False)
        if not without_usage:
            built = built.add_extension(key_usage or usage(sign=True, certificates=False), critical=True)
        if names:
            built = built.add_extension(alternative_names(names), critical=True)
        if extra is not None:
            built = built.add_extension(extra, critical=False)
        return Made(built.sign(_signing(self.made.key), hashes.SHA256()), key)

    def revoke(
        self,
        *serials: int,
        issued: float = -60,
        ends: float | None = 3600,
        signer: Key | None = None,
        critical: x509.ExtensionType | None = None,
    ) -> bytes:
        """A revocation list, PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(_name(self.name)).last_update(moment(issued))
        builder = builder.next_update(moment(ends if ends is not None else 3600))
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment(issued)).build()
            builder = builder.add_revoked_certificate(entry)
        if critical is not None:
            builder = builder.add_extension(critical, critical=True)
        return builder.sign(_signing(signer or self.made.key), hashes.SHA256()).public_bytes(Encoding.PEM)


def _signing(key: Key) -> ec.EllipticCurvePrivateKey:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _builder(subject: str, issuer: str, key: Key, begins: float, ends: float) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(begins))
        .not_valid_after(moment(ends))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def _authority_key(key: Key) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
