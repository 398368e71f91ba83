"""Logins by certificate on a whole site: who gets in, as whom, and what ends when a certificate no longer holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fakes.frames import Host
from fakes.pki import NOW, Ca, Made
from fakes.site import BOB, Site
from zethane.adapters.trust_files import TrustFiles
from zethane.app.certificates import TrustWatcher
from zethane.audit.reason import LoginRefusal, SessionEvent
from zethane.errors import AddressInUse, AuthenticationError, SessionError
from zethane.identity.directory import Directory, parse_identities
from zethane.identity.proof import Proof
from zethane.identity.session import Endpoint, Session
from zethane.identity.sources.certificates import Certificates
from zethane.service.authentication import LoginLimitError
from zethane.service.certificate_login import AAL, AMR, CertificateLogin

ROOT = Ca("root")
IDENTITIES = """
users:
  bob: {groups: [staff]}
devices:
  laptop1: {spiffe: "spiffe://example.org/laptop1", labels: {managed: "yes"}, groups: [staff]}
workloads:
  web1: {labels: {tier: web}, spiffe: "spiffe://example.org/web1"}
  db1: {labels: {tier: db}, spiffe: "spiffe://example.org/db1", disabled: true}
"""
WEB = "spiffe://example.org/web1"
PLACE = Host(2, "02:00:00:00:00:02", "10.0.0.2")


class Facade:
    """What the login asks of the controller, answered by the administrator."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.start_session = lambda attachment, proof, address=None: site.admin.start_session(
            attachment, proof, address, None
        )

    def sessions(self) -> list[Session]:
        return [live.session for live in self.site.state.sessions]

    def session(self, number: int) -> Session | None:
        live = self.site.state.sessions.by_number.get(number)
        return live.session if live is not None else None

    def change_proof(
        self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent, detail: str = ""
    ) -> bool:
        return self.site.admin.change_proof(number, proof, changed, reason, detail)


class Logins:
    """A site with its login by certificate, files and all."""

    def __init__(self, folder: Path, *, lists: bool = True) -> None:
        self.folder = folder
        self.site = Site()
        self.site.now = NOW
        self.refusals: list[tuple[str, str, str]] = []
        self.directory: Directory = parse_identities(IDENTITIES, "identities.yaml")
        (folder / "ca.pem").write_bytes(ROOT.made.pem)
        (folder / "ca.crl").write_bytes(ROOT.revoke(issued=-30))
        crl = ("ca.crl",) if lists else ()
        settings = Certificates(ca=("ca.pem",), crl=crl, trust_domain="example.org")
        self.files = TrustFiles(settings, folder)
        self.login = CertificateLogin(
            Facade(self.site),  # type: ignore[arg-type]
            lambda: self.directory,
            lambda: self.site.now,
            self._refused,
            self.files.load(),
        )
        self.watcher = TrustWatcher(self.login, self.files, self.files.signature(), lambda: self.site.now)

    def _refused(self, _: Endpoint, account: str, why: LoginRefusal, explanation: str = "") -> None:
        self.refusals.append((account, why.value, explanation))

    def by(self, made: Made, host: Host = PLACE) -> Session:
        return self.login.login(self.site.endpoint(host), [made.der])

    def events(self) -> list[str]:
        return [arguments[0].value for arguments in self.site.records.of("session")]

    def last(self) -> tuple[str, str]:
        event, _, detail, _ = self.site.records.of("session")[-1]
        return event.value, detail

    def put(self, name: str, content: bytes) -> None:
        """Replace a file as those do who renew them."""
        (self.folder / "new").write_bytes(content)
        (self.folder / "new").rename(self.folder / name)


@pytest.fixture
async def logins(tmp_path: Path) -> Logins:
    made = Logins(tmp_path)
    await made.site.start()
    return made


async def test_who_a_certificate_names_has_a_session_until_it_ends(logins: Logins) -> None:
    session = logins.by(ROOT.issue(WEB, ends=600))
    assert (session.principal.kind, session.principal.name, session.segment) == ("workload", "web1", "web")
    (proof,) = session.proofs
    assert (proof.method, proof.amr, proof.aal, proof.mfa_at) == ("certificate", AMR, AAL, None)
    assert (proof.issuer, proof.subject) == ("ca:CN=root", WEB)
    assert session.expires == NOW + 600
    logins.site.now = NOW + 599
    logins.site.admin.tick(logins.site.now)
    assert logins.site.state.sessions.by_number
    logins.site.now = NOW + 600
    logins.site.admin.tick(logins.site.now)
    assert logins.last() == ("expired", "")


async def test_a_new_certificate_renews_the_session_and_its_flows_stay(logins: Logins) -> None:
    first = logins.by(ROOT.issue(WEB, ends=600))
    logins.site.now = NOW + 300
    second = logins.by(ROOT.issue(WEB, ends=1200))
    assert second.number == first.number
    assert second.expires == NOW + 1200
    assert logins.events() == ["started", "reauthenticated"]


async def test_a_device_joins_the_session_of_its_user(logins: Logins) -> None:
    user = logins.site.login(PLACE, BOB)
    both = logins.by(ROOT.issue("spiffe://example.org/laptop1"))
    assert both.number == user.number
    assert [proof.account for proof in both.proofs] == ["user:bob", "device:laptop1"]
    assert both.principal.device is not None
    assert both.principal.device.name == "laptop1"


async def test_every_refusal_is_in_the_log_and_tells_the_client_nothing(logins: Logins) -> None:
    bad = [
        ROOT.issue(WEB, ends=-1),
        ROOT.issue("spiffe://example.com/web1"),
        ROOT.issue("spiffe://example.org/nobody"),
        Ca("other").issue(WEB),
        ROOT.issue("spiffe://example.org/db1"),
    ]
    for made in bad:
        with pytest.raises(AuthenticationError, match=r"^the certificate is not accepted$"):
            logins.by(made)
    accounts = [account for account, _, _ in logins.refusals]
    assert accounts == ["certificate:(unknown)"] * 4 + ["workload:db1"]
    assert [why for _, why, _ in logins.refusals] == ["invalid-certificate"] * 4 + ["disabled"]
    assert all(explanation for _, _, explanation in logins.refusals)
    assert "nobody is named by 'spiffe://example.org/nobody'" in logins.refusals[2][2]
    assert not logins.events()


async def test_names_of_two_accounts_are_nobodys(tmp_path: Path) -> None:
    logins = Logins(tmp_path)
    await logins.site.start()
    text = "workloads: {web1: {labels: {tier: web}, dns: web1.example.org}, web2: {dns: web2.example.org}}"
    logins.directory = parse_identities(text, "identities.yaml")
    await logins.login.use_trust(replace(logins.login.trust, trust_domain=None))
    assert logins.by(ROOT.issue("web1.example.org", "other.example.org")).principal.name == "web1"
    with pytest.raises(AuthenticationError):
        logins.by(ROOT.issue("web1.example.org", "web2.example.org"))
    assert "several accounts" in logins.refusals[-1][2]


async def test_attempts_are_limited_at_their_place(logins: Logins) -> None:
    for _ in range(6):
        with pytest.raises(AuthenticationError):
            logins.by(ROOT.issue("spiffe://example.org/nobody"))
    with pytest.raises(LoginLimitError):
        logins.by(ROOT.issue(WEB))
    assert logins.refusals[-1][1] == "too-many-attempts-attachment"
    other = Host(3, "02:00:00:00:00:03", "10.0.0.3")
    assert logins.by(ROOT.issue(WEB), other).principal.name == "web1"


async def test_a_session_that_cannot_be_is_refused_with_its_reason(logins: Logins) -> None:
    logins.site.login(PLACE, BOB)
    other = Host(3, "02:00:00:00:00:03", PLACE.ip)
    with pytest.raises(AddressInUse):
        logins.by(ROOT.issue(WEB), other)
    assert logins.refusals[-1][:2] == ("workload:web1", "address-in-use")
    logins.directory = parse_identities(f'workloads: {{lost: {{spiffe: "{WEB}"}}}}', "identities.yaml")
    with pytest.raises(SessionError):
        logins.by(ROOT.issue(WEB), other)
    assert logins.refusals[-1][:2] == ("workload:lost", "no-session")


async def test_revocation_ends_the_sessions_that_rest_on_the_certificate(logins: Logins) -> None:
    revoked, kept = ROOT.issue(WEB), ROOT.issue("spiffe://example.org/laptop1")
    logins.by(revoked)
    other = logins.by(kept, Host(3, "02:00:00:00:00:03", "10.0.0.3"))
    logins.put("ca.crl", ROOT.revoke(revoked.serial, issued=-20))
    await logins.watcher.look()
    assert list(logins.site.state.sessions.by_number) == [other.number]
    assert logins.last() == ("credential-revoked", f"revoked: serial number {revoked.serial:x}")
    with pytest.raises(AuthenticationError):
        logins.by(revoked)


async def test_of_two_proofs_the_revoked_one_ends(logins: Logins) -> None:
    user = logins.site.login(PLACE, BOB)
    made = ROOT.issue("spiffe://example.org/laptop1")
    logins.by(made)
    logins.put("ca.crl", ROOT.revoke(made.serial, issued=-20))
    await logins.watcher.look()
    (live,) = logins.site.state.sessions
    assert (live.session.number, [proof.account for proof in live.session.proofs]) == (user.number, ["user:bob"])


async def test_a_name_that_means_nobody_any_more_ends_its_sessions(logins: Logins) -> None:
    logins.by(ROOT.issue(WEB))
    await logins.watcher.look()
    assert logins.events() == ["started"]
    text = f'workloads: {{web1: {{labels: {{tier: web}}}}, other: {{labels: {{tier: web}}, spiffe: "{WEB}"}}}}'
    logins.directory = parse_identities(text, "identities.yaml")
    await logins.watcher.look()
    assert logins.last() == ("credential-revoked", "its name means somebody else, or nobody")


async def test_an_authority_that_is_not_trusted_any_more_vouches_for_nobody(logins: Logins) -> None:
    logins.by(ROOT.issue(WEB))
    other = Ca("other")
    logins.put("ca.pem", other.made.pem)
    logins.put("ca.crl", other.revoke())
    await logins.watcher.look()
    assert logins.last()[0] == "credential-revoked"


async def test_a_list_that_is_not_renewed_in_time_ends_what_rests_on_it(logins: Logins) -> None:
    logins.put("ca.crl", ROOT.revoke(issued=-20, ends=100))
    await logins.watcher.look()
    logins.by(ROOT.issue(WEB))
    logins.site.now = NOW + 99
    await logins.watcher.look()
    assert logins.events() == ["started"]
    logins.site.now = NOW + 100
    await logins.watcher.look()
    assert logins.last() == ("credential-revoked", "the revocation list of its issuer is not current")
    (_, crl) = logins.watcher.view()
    assert (crl.name, crl.state) == ("crl", "down")
    logins.put("ca.crl", ROOT.revoke(issued=90, ends=1000))
    await logins.watcher.look()
    assert logins.by(ROOT.issue(WEB)).principal.name == "web1"
    assert [view.state for view in logins.watcher.view()] == ["up", "up"]


async def test_a_bad_file_keeps_what_was_in_force_and_is_shown(logins: Logins) -> None:
    revoked = ROOT.issue(WEB)
    logins.put("ca.crl", ROOT.revoke(revoked.serial, issued=-20))
    await logins.watcher.look()
    logins.put("ca.crl", b"nothing")
    await logins.watcher.look()
    with pytest.raises(AuthenticationError):
        logins.by(revoked)
    (ca, _) = logins.watcher.view()
    assert ca.state == "degraded"
    assert "expected revocation lists" in ca.detail


async def test_a_session_of_the_last_run_is_held_against_the_lists_of_now(logins: Logins) -> None:
    made = ROOT.issue(WEB)
    session = logins.by(made)
    (proof,) = session.proofs
    unknown = replace(proof, attributes=())
    assert logins.site.admin.change_proof(session.number, proof, unknown, SessionEvent.CHANGED, "")
    await logins.login.recheck()
    assert logins.last() == ("credential-revoked", "its path is not known")
