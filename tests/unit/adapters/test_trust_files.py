"""The files of authorities and revocations: what they say is in force, and bad files never replace good ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fakes.pki import NOW, Ca, new_key
from zethane.adapters.trust_files import TrustFiles
from zethane.errors import InputError
from zethane.identity.certificates import key_id
from zethane.identity.sources.certificates import Certificates

ROOT = Ca("root")
BELOW = Ca("issuing", ROOT)
CLIENT = ROOT.issue("web1.example.org")


def files(folder: Path, ca: bytes, crl: bytes | None = None, trust_domain: str | None = None) -> TrustFiles:
    (folder / "ca.pem").write_bytes(ca)
    if crl is not None:
        (folder / "ca.crl").write_bytes(crl)
    lists = ("ca.crl",) if crl is not None else ()
    return TrustFiles(Certificates(ca=("ca.pem",), crl=lists, trust_domain=trust_domain), folder)


def refused(made: TrustFiles, why: str) -> None:
    with pytest.raises(InputError, match=why):
        made.load()


def test_authorities_and_lists_are_read(tmp_path: Path) -> None:
    lists = ROOT.revoke(5, 6) + b"\n" + BELOW.revoke(7)
    trust = files(tmp_path, ROOT.made.pem + BELOW.made.pem, lists, "example.org").load()
    assert [anchor.subject.rfc4514_string() for anchor in trust.anchors] == ["CN=root", "CN=issuing"]
    found = {issuer: revocations.serials for issuer, revocations in trust.revocations.items()}
    assert found == {key_id(ROOT.made.certificate): {5, 6}, key_id(BELOW.made.certificate): {7}}
    assert (trust.lists, trust.trust_domain) == (True, "example.org")
    assert trust.revocations[key_id(ROOT.made.certificate)].ends == NOW + 3600


def test_a_list_may_be_in_der(tmp_path: Path) -> None:
    der = x509.load_pem_x509_crl(ROOT.revoke(5)).public_bytes(Encoding.DER)
    assert files(tmp_path, ROOT.made.pem, der).load().revocations[key_id(ROOT.made.certificate)].serials == {5}


@pytest.mark.parametrize(
    ("ca", "crl", "why"),
    [
        (b"", None, "expected certificates"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None, "expected certificates"),
        (CLIENT.pem, None, "one that is none"),
        (ROOT.made.pem, b"", "expected revocation lists"),
        (ROOT.made.pem, b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "expected revocation lists"),
        (ROOT.made.pem, BELOW.revoke(5), "none of them has signed"),
        (ROOT.made.pem, ROOT.revoke(5, signer=new_key()), "none of them has signed"),
        (ROOT.made.pem, ROOT.revoke(5, critical=x509.DeltaCRLIndicator(1)), "complete list"),
    ],
)
def test_what_cannot_be_relied_on_is_an_error_that_names_the_file(
    tmp_path: Path, ca: bytes, crl: bytes | None, why: str
) -> None:
    refused(files(tmp_path, ca, crl), why)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    made = files(tmp_path, ROOT.made.pem, ROOT.revoke())
    (tmp_path / "ca.crl").unlink()
    refused(made, r"ca\.crl: cannot be read")
    (tmp_path / "ca.crl").mkdir()
    refused(made, r"ca\.crl")


def test_a_list_from_before_is_not_taken_again(tmp_path: Path) -> None:
    made = files(tmp_path, ROOT.made.pem, ROOT.revoke(5, issued=-10))
    trust = made.load()
    (tmp_path / "ca.crl").write_bytes(ROOT.revoke(issued=-20))
    with pytest.raises(InputError, match="older than the one in force"):
        made.load(trust)
    (tmp_path / "ca.crl").write_bytes(ROOT.revoke(5, 6, issued=-5))
    assert made.load(trust).revocations[key_id(ROOT.made.certificate)].serials == {5, 6}


def test_any_change_of_a_file_is_seen(tmp_path: Path) -> None:
    made = files(tmp_path, ROOT.made.pem, ROOT.revoke())
    seen = {made.signature()}
    (tmp_path / "new").write_bytes(ROOT.revoke(1))
    (tmp_path / "new").rename(tmp_path / "ca.crl")
    seen.add(made.signature())
    (tmp_path / "ca.crl").unlink()
    seen.add(made.signature())
    assert len(seen) == 3
