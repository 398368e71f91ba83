"""A certificate authority for labs and tests: servers, clients, and what it has revoked. Nothing here is for keeps."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
_EARLIER = timedelta(minutes=5)
"""Certificates are valid from a little before now on: clocks of one machine may differ by a hair."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key, as PEM files; only their owner may read the key."""

    certificate: Path
    key: Path
    serial: int


def alternative_names(names: Iterable[str]) -> x509.SubjectAlternativeName:
    """The names of a certificate: `spiffe://…` and other URIs, IP addresses, e-mail addresses, DNS names."""
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(slots=True)
class Authority:
    """A CA whose files are in a directory: `NAME.pem`, and what it issues beside it."""

    directory: Path
    name: str = "ca"
    _key: ec.EllipticCurvePrivateKey = field(init=False, repr=False)
    _certificate: x509.Certificate = field(init=False, repr=False)
    _revoked: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Make the key and the certificate of the authority itself."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(f"lab {self.name}")
        self._certificate = (
            self._builder(subject, self._key.public_key(), datetime.now(timezone.utc) + 365 * DAY)
            .issuer_name(subject)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def certificate(self) -> Path:
        """The file of the authority's own certificate."""
        return self.directory / f"{self.name}.pem"

    @property
    def revocations(self) -> Path:
        """The file of the list that `revoke` writes."""
        return self.directory / f"{self.name}.crl.pem"

    def server(self, name: str, names: Iterable[str], *, ends: datetime | None = None) -> Issued:
        """A certificate for a server; `ends` is a day from now unless said."""
        return self._issue(name, name, tuple(names), ExtendedKeyUsageOID.SERVER_AUTH, ends)

    def client(
        self, name: str, names: Iterable[str] = (), *, common_name: str | None = None, ends: datetime | None = None
    ) -> Issued:
        """A certificate for a client: a user, a device or a workload. `name` is that of its files."""
        return self._issue(name, common_name or name, tuple(names), ExtendedKeyUsageOID.CLIENT_AUTH, ends)

    def _issue(
        self, name: str, common_name: str, names: tuple[str, ...], use: x509.ObjectIdentifier, ends: datetime | None
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(_subject(common_name), key.public_key(), ends or datetime.now(timezone.utc) + DAY)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(alternative_names(names), critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        issued = Issued(self.directory / f"{name}.pem", self.directory / f"{name}.key", made.serial_number)
        issued.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        _write_key(issued.key, key)
        return issued

    def revoke(self, *serials: int) -> Path:
        """Revoke certificates by their serial numbers, and write the new list; without any, just the list."""
        self._revoked += serials
        now = datetime.now(timezone.utc)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - _EARLIER)
            .next_update(now + DAY)
        )
        for serial in self._revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - _EARLIER).build()
            builder = builder.add_revoked_certificate(entry)
        signed = builder.sign(self._key, hashes.SHA256())
        self.revocations.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return self.revocations

    @staticmethod
    def _builder(subject: x509.Name, key: ec.EllipticCurvePublicKey, ends: datetime) -> x509.CertificateBuilder:
        start = min(datetime.now(timezone.utc), ends) - _EARLIER
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(ends)
        )


def _usage(*, authority: bool) -> x509.KeyUsage:
    """What the key may be used for: to sign, and an authority's to sign certificates and lists."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
