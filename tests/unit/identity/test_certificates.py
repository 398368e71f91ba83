"""Which client certificates are accepted, and whom they name. Everything else is refused, with a reason for the log."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import example, given
from hypothesis import strategies as st

from fakes.pki import CLIENT, NOW, SERVER, Ca, Made, usage
from zethane.identity.certificates import (
    MAX_CHAIN,
    SKEW,
    Accepted,
    CertificateError,
    Link,
    Revocations,
    Trust,
    accept,
    check_links,
    key_id,
)

ROOT = Ca("root")
BELOW = Ca("issuing", ROOT)
OTHER = Ca("other")
WEB = "spiffe://example.org/web1"
GOOD = ROOT.issue(WEB)


def trust(*anchors: Ca, spiffe: bool = True, lists: dict[str, Revocations] | None = None) -> Trust:
    return Trust(
        tuple(ca.made.certificate for ca in anchors or (ROOT,)),
        lists or {},
        lists is not None,
        "example.org" if spiffe else None,
    )


def refused(made: Made, *more: Made, by: Trust | None = None, now: float = NOW) -> str:
    with pytest.raises(CertificateError) as error:
        accept([made.der, *(one.der for one in more)], by or trust(), now)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300
    return str(error.value)


def revoked(*serials: int, issued: float = NOW - 60, ends: float = NOW + 3600) -> Revocations:
    return Revocations(issued, ends, frozenset(serials))


def test_a_certificate_of_the_authority_names_its_workload_until_it_ends() -> None:
    accepted = accept([GOOD.der], trust(), NOW)
    path = (Link(key_id(ROOT.made.certificate), GOOD.serial),)
    assert accepted == Accepted("spiffe", (WEB,), NOW + 3600, path, "CN=root")


def test_intermediate_authorities_come_with_the_certificate() -> None:
    made = BELOW.issue(WEB)
    accepted = accept([made.der, BELOW.made.der], trust(), NOW)
    assert [link.serial for link in accepted.path] == [made.serial, BELOW.made.serial]
    assert refused(made)
    # The authority that issues may itself be the one that is trusted.
    assert len(accept([made.der, BELOW.made.der], trust(BELOW), NOW).path) == 1


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_other_strong_keys_are_accepted(curve: ec.EllipticCurve) -> None:
    assert accept([ROOT.issue(WEB, key=ec.generate_private_key(curve)).der], trust(), NOW).names == (WEB,)
    assert accept([ROOT.issue(WEB, key=rsa.generate_private_key(65537, 2048)).der], trust(), NOW).names == (WEB,)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (ROOT.issue(WEB, begins=-7200, ends=-1), "valid"),
        (ROOT.issue(WEB, begins=SKEW + 5), "valid"),
        (OTHER.issue(WEB), ""),
        (ROOT.issue(WEB, uses=(SERVER,)), ""),
        (ROOT.issue(WEB, uses=()), "clientAuth"),
        (ROOT.issue(WEB, uses=(x509.ObjectIdentifier("2.5.29.37.0"),)), ""),
        (ROOT.issue(WEB, without_usage=True), "keyUsage"),
        (ROOT.issue(WEB, key_usage=usage(sign=False, certificates=False)), "keyUsage"),
        (ROOT.issue(WEB, key_usage=usage(sign=True, certificates=True)), ""),
        (ROOT.issue(WEB, "spiffe://example.org/web2"), "exactly one URI"),
        (ROOT.issue(WEB, "https://example.org/"), "exactly one URI"),
        (ROOT.issue("web1.example.org"), "exactly one URI"),
        (ROOT.issue(), ""),
        (ROOT.issue("spiffe://example.com/web1"), "another trust domain"),
        (ROOT.issue("spiffe://example.org.evil/web1"), "another trust domain"),
        (ROOT.issue("spiffe://example.org"), "no SPIFFE ID"),
        (ROOT.issue("spiffe://example.org/"), "no SPIFFE ID"),
        (ROOT.issue("spiffe://example.org/a/../web1"), "no SPIFFE ID"),
        (ROOT.issue("spiffe://example.org/web1?x=1"), "no SPIFFE ID"),
        (ROOT.issue("spiffe://user@example.org/web1"), "no SPIFFE ID"),
        (ROOT.issue("spiffe://example.org:80/web1"), "no SPIFFE ID"),
        (ROOT.issue("https://example.org/web1"), "no SPIFFE ID"),
        (ROOT.issue(WEB, key=rsa.generate_private_key(65537, 1024)), "key"),  # noqa: S505 - too weak is the point
        (ROOT.issue(WEB, key=ec.generate_private_key(ec.SECP224R1())), "key"),
        (ROOT.issue(WEB, key=ed25519.Ed25519PrivateKey.generate()), "key"),
        (ROOT.issue(WEB, *(f"h{number}.example.org" for number in range(40))), "names"),
        (ROOT.issue(WEB, extra=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x" * 5000)), "bytes"),
        (ROOT.made, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_certificate_refuses_it(made: Made, why: str) -> None:
    assert why in refused(made)


def test_a_chain_is_bounded() -> None:
    with pytest.raises(CertificateError, match="found 0"):
        accept([], trust(), NOW)
    assert "certificates, found" in refused(GOOD, *[BELOW.made] * MAX_CHAIN)


def test_a_clock_may_be_late_by_a_minute_and_a_certificate_not_at_all() -> None:
    soon = ROOT.issue(WEB, begins=SKEW - 5)
    assert accept([soon.der], trust(), NOW).names == (WEB,)
    brief = ROOT.issue(WEB, ends=10)
    assert accept([brief.der], trust(), NOW + 9).ends == NOW + 10
    refused(brief, now=NOW + 11)


def test_the_end_is_the_first_on_the_path() -> None:
    long = BELOW.issue(WEB, ends=86400 * 1000)
    assert accept([long.der, BELOW.made.der], trust(), NOW).ends == NOW + 86400 * 365


def test_without_a_trust_domain_dns_names_count_and_wildcards_name_nobody() -> None:
    by = trust(spiffe=False)
    made = ROOT.issue("Web1.Example.ORG", "*.example.org", "10.0.0.1")
    accepted = accept([made.der], by, NOW)
    assert (accepted.kind, accepted.names) == ("dns", ("web1.example.org",))
    assert "no DNS name" in refused(ROOT.issue("10.0.0.1"), by=by)
    assert "trust_domain" in refused(ROOT.issue(WEB, "web1.example.org"), by=by)


def test_what_an_authority_has_revoked_is_refused() -> None:
    root = key_id(ROOT.made.certificate)
    accept([GOOD.der], trust(lists={root: revoked(GOOD.serial + 1)}), NOW)
    assert "revoked" in refused(GOOD, by=trust(lists={root: revoked(GOOD.serial)}))


@pytest.mark.parametrize(
    ("lists", "why"),
    [
        ({}, "no revocation list"),
        ({key_id(OTHER.made.certificate): revoked()}, "no revocation list"),
        ({key_id(ROOT.made.certificate): revoked(ends=NOW)}, "not current"),
        ({key_id(ROOT.made.certificate): revoked(issued=NOW + 3600)}, "not current"),
    ],
)
def test_without_a_current_list_nobody_gets_in(lists: dict[str, Revocations], why: str) -> None:
    assert why in refused(GOOD, by=trust(lists=lists))


def test_a_revoked_intermediate_authority_takes_all_below_it_along() -> None:
    made = BELOW.issue(WEB)
    both = {key_id(ROOT.made.certificate): revoked(), key_id(BELOW.made.certificate): revoked()}
    accept([made.der, BELOW.made.der], trust(lists=both), NOW)
    both[key_id(ROOT.made.certificate)] = revoked(BELOW.made.serial)
    assert "revoked" in refused(made, BELOW.made, by=trust(lists=both))


def test_a_path_that_was_accepted_is_held_against_what_is_trusted_now() -> None:
    path = accept([GOOD.der], trust(), NOW).path
    assert tuple(map(Link.parse, map(str, path))) == path
    check_links(path, trust(), NOW)
    with pytest.raises(CertificateError, match="not trusted any more"):
        check_links(path, trust(OTHER), NOW)
    with pytest.raises(CertificateError, match="revoked"):
        check_links(path, trust(lists={path[0].issuer: revoked(GOOD.serial)}), NOW)


@given(st.lists(st.binary(max_size=200), max_size=MAX_CHAIN + 1))
def test_no_bytes_do_anything_but_get_refused(chain: list[bytes]) -> None:
    with pytest.raises(CertificateError):
        accept(chain, trust(), NOW)


@example(15, 128)
@given(st.integers(0, len(GOOD.der) - 1), st.integers(1, 255))
def test_no_changed_byte_of_what_is_signed_gets_in(place: int, by: int) -> None:
    """Around it there are bits that say nothing, such as how many of the signature's last ones are unused."""
    changed = bytearray(GOOD.der)
    changed[place] ^= by
    try:
        accept([bytes(changed)], trust(), NOW)
    except CertificateError:
        return
    accepted = x509.load_der_x509_certificate(bytes(changed))
    assert accepted.tbs_certificate_bytes == GOOD.certificate.tbs_certificate_bytes


def test_who_uses_both_uses_is_a_client() -> None:
    assert accept([ROOT.issue(WEB, uses=(SERVER, CLIENT)).der], trust(), NOW).names == (WEB,)
