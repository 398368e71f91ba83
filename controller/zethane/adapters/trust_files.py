"""The files of certificate authorities and of what they have revoked: read whole, checked, and read again."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from zethane.adapters.file_signature import FileSignature, file_signature
from zethane.errors import InputError, Problem
from zethane.identity.certificates import Revocations, Trust, key_id
from zethane.identity.sources.certificates import Certificates

MAX_BYTES = 8 * 1024 * 1024
"""Size of a file: a list of a hundred thousand certificates has about half of it."""

MAX_AUTHORITIES = 64

_CRL = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)

Signature = tuple[FileSignature | None, ...]
"""Of each file; None where it is missing."""


class TrustFiles:
    """What the section `certificates` names. Paths are from `folder` on. May be used from a worker thread."""

    def __init__(self, settings: Certificates, folder: Path) -> None:
        self._settings = settings
        self.ca = [folder / name for name in settings.ca]
        self.crl = [folder / name for name in settings.crl]

    def signature(self) -> Signature:
        """Something that is another after any of the files has changed or been replaced."""
        return tuple(file_signature(file) for file in (*self.ca, *self.crl))

    def load(self, before: Trust | None = None) -> Trust:
        """What all files say together. Raises InputError.

        A list that is older than the one of the same authority in `before` is an error: it might be one from before
        a revocation, put there again.
        """
        anchors = [anchor for file in self.ca for anchor in _authorities(file)]
        if len(anchors) > MAX_AUTHORITIES:
            raise InputError([Problem(str(self.ca[0]), f"expected at most {MAX_AUTHORITIES} authorities")])
        revocations: dict[str, Revocations] = {}
        for file in self.crl:
            for crl in _lists(file):
                try:
                    issuer, found = _checked(file, crl, anchors)
                except (ValueError, UnsupportedAlgorithm):
                    raise InputError([Problem(str(file), "a revocation list that is malformed inside")]) from None
                known = revocations.get(issuer)
                if known is None or known.issued < found.issued:
                    revocations[issuer] = found
        if before is not None:
            self._check_not_older(revocations, before)
        return Trust(tuple(anchors), revocations, bool(self.crl), self._settings.trust_domain)

    def _check_not_older(self, revocations: dict[str, Revocations], before: Trust) -> None:
        for issuer, found in revocations.items():
            known = before.revocations.get(issuer)
            if known is not None and found.issued < known.issued:
                raise InputError([Problem(str(self.crl[0]), "a revocation list is older than the one in force")])


def _read(file: Path) -> bytes:
    """The file. Raises InputError if it is missing, no regular file, or too long."""
    try:
        # O_NONBLOCK: opening a named pipe that nobody writes to would wait for ever.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = stream.read(MAX_BYTES + 1) if regular else b""
    except OSError as error:
        raise InputError([Problem(str(file), f"cannot be read: {error.strerror or error}")]) from error
    if not regular or len(content) > MAX_BYTES:
        raise InputError([Problem(str(file), f"expected a regular file of at most {MAX_BYTES} bytes")])
    return content


def _parsed(file: Path, what: str, parse: Callable[[], list[x509.Certificate]]) -> list[x509.Certificate]:
    try:
        return parse()
    except (ValueError, UnsupportedAlgorithm):
        raise InputError([Problem(str(file), f"expected {what} in PEM")]) from None


def _authorities(file: Path) -> list[x509.Certificate]:
    content = _read(file)
    found = _parsed(file, "certificates of authorities", lambda: x509.load_pem_x509_certificates(content))
    for certificate in found:
        if not _is_authority(certificate):
            message = f"expected authorities, found one that is none: {certificate.subject.rfc4514_string()[:160]}"
            raise InputError([Problem(str(file), message)])
    return found


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def _lists(file: Path) -> list[x509.CertificateRevocationList]:
    content = _read(file)
    try:
        blocks = _CRL.findall(content)
        if not blocks:
            return [x509.load_der_x509_crl(content)]
        return [x509.load_pem_x509_crl(block) for block in blocks]
    except (ValueError, UnsupportedAlgorithm):
        raise InputError([Problem(str(file), "expected revocation lists (RFC 5280 §5) in PEM or DER")]) from None


def _checked(
    file: Path, crl: x509.CertificateRevocationList, anchors: Iterable[x509.Certificate]
) -> tuple[str, Revocations]:
    """The key of the list's authority, and what it says. Raises InputError if it cannot be relied on."""
    signer = next((anchor for anchor in anchors if anchor.subject == crl.issuer and _is_signed(crl, anchor)), None)
    if signer is None:
        issuer = crl.issuer.rfc4514_string()[:160]
        message = f"expected a list of one of the authorities in ca, found one of {issuer} that none of them has signed"
        raise InputError([Problem(str(file), message)])
    if crl.next_update_utc is None:
        raise InputError([Problem(str(file), "expected a list that says when the next one comes")])
    if any(extension.critical for extension in crl.extensions):
        # RFC 5280 §5.2: such an extension may say that only some certificates are in the list, or only changes.
        raise InputError([Problem(str(file), "expected a complete list, found a critical extension")])
    serials = frozenset(entry.serial_number for entry in crl)
    return key_id(signer), Revocations(crl.last_update_utc.timestamp(), crl.next_update_utc.timestamp(), serials)


def _is_signed(crl: x509.CertificateRevocationList, anchor: x509.Certificate) -> bool:
    key = anchor.public_key()
    if not isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
        return False
    try:
        return crl.is_signature_valid(key)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
