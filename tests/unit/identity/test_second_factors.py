"""Second factors: logins with them, proofs that are renewed by them, and how users change them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fakes.authenticator import BE, UP, UV, Authenticator
from fakes.portal_site import IDENTITIES, TOTP_KEY, PortalSite, at, directory
from fakes.records import MemoryStore
from zethane.audit.reason import FactorEvent
from zethane.errors import AuthenticationError, CapacityError, InputError, SessionError
from zethane.identity.attempts import AttemptLimits, Attempts, Rate
from zethane.identity.credential import Credential
from zethane.identity.factor import MAX_PASSKEYS, RECOVERY_CODES, plain_code, recovery_code, recovery_id, reference
from zethane.identity.session import Endpoint, Session
from zethane.identity.totp import code_at
from zethane.service.authentication import REFUSED, LoginLimitError
from zethane.service.authentication import Authenticator as Logins
from zethane.service.enrolment import FRESH, Enrolment, NotFreshError
from zethane.service.passkey import RelyingParty

LENIENT = AttemptLimits(port=Rate(1000, 1), attachment=Rate(1000, 1), account=Rate(1000, 1))
PARTY = RelyingParty("portal.example", "https://portal.example")


class Desk:
    """A user's place: she logs in, proves and enrols there."""

    def __init__(self, pool: ThreadPoolExecutor, limits: AttemptLimits = LENIENT) -> None:
        self.site = site = PortalSite()
        self.store = store = MemoryStore()
        self.told: list[tuple[FactorEvent, str, str, Endpoint | None]] = []

        def told(*what: Any) -> None:
            self.told.append(what)

        self.logins = Logins(
            site, directory(), store, site.clock, pool, site.refused, told=told, attempts=Attempts(limits)
        )
        self.enrolment = Enrolment(site, self.logins, store, site.clock, told)
        self.device = Authenticator()

    async def log_in(self, code: str | None = None, user: str = "bob") -> Session:
        self.site.live.clear()
        return await self.logins.login(at(), Credential("user", user, f"lab-{user}", code and plain_code(code)))

    async def by_passkey(self, device: Authenticator) -> Session:
        self.site.live.clear()
        return await self.logins.login_by_passkey(at(), device.get(self.login_options()))

    def code(self, key: bytes = TOTP_KEY) -> str:
        return code_at(key, int(self.site.now) // 30)

    def add_totp(self) -> bytes:
        key = self.enrolment.offer_totp(at())
        self.enrolment.confirm_totp(at(), self.code(key))
        self.site.now += 30
        return key

    def add_passkey(self, **how: Any) -> Authenticator:
        device = Authenticator(**how)
        made = device.create(self.enrolment.passkey_options(at(), PARTY))
        self.enrolment.add_passkey(at(), made, "laptop")
        device.count += 1
        return device

    def prove_options(self, user: str = "bob") -> dict[str, Any]:
        return self.logins.factors.passkeys.prove_options(at(), PARTY, user)

    def login_options(self) -> dict[str, Any]:
        return self.logins.factors.passkeys.login_options(at(), PARTY)

    @property
    def session(self) -> Session:
        (session,) = self.site.live.values()
        return session


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def desk(pool: ThreadPoolExecutor) -> Desk:
    return Desk(pool)


# codes


async def test_a_code_of_the_enrolled_app_is_a_second_factor(desk: Desk) -> None:
    await desk.log_in()
    key = desk.add_totp()
    session = await desk.log_in(desk.code(key))
    assert (session.methods, session.aal, session.principal.mfa) == (("pwd", "otp"), 2, True)
    with pytest.raises(AuthenticationError):
        await desk.log_in(desk.code(key))
    assert desk.site.reasons == ["code-used"]


async def test_the_files_secret_goes_on_to_work_beside_an_enrolled_one(desk: Desk) -> None:
    await desk.log_in(desk.code(), "alice")
    desk.site.now += 30
    key = desk.add_totp()
    for secret in (TOTP_KEY, key):
        assert (await desk.log_in(desk.code(secret), "alice")).principal.mfa
        desk.site.now += 30


async def test_each_recovery_code_works_once_and_for_its_user_alone(desk: Desk) -> None:
    await desk.log_in()
    codes = desk.enrolment.new_recovery_codes(at())
    assert len(set(codes)) == RECOVERY_CODES
    assert (await desk.log_in(codes[0].lower().replace("-", " "))).principal.mfa
    for code, user in ((codes[0], "bob"), (codes[1], "alice")):
        with pytest.raises(AuthenticationError, match=REFUSED):
            await desk.log_in(code, user)
    assert desk.site.reasons == ["wrong-code", "wrong-code"]
    assert (await desk.log_in(codes[1])).principal.mfa
    used = (FactorEvent.USED, "user:bob", "recovery", at())
    assert [what for what in desk.told if what[0] is FactorEvent.USED] == [used, used]


async def test_recovery_codes_are_kept_as_hashes_and_new_ones_void_the_old(desk: Desk) -> None:
    await desk.log_in()
    old = desk.enrolment.new_recovery_codes(at())
    assert all(plain_code(code) not in repr(desk.store.factors) for code in old)
    await desk.log_in(old[0])
    desk.enrolment.new_recovery_codes(at())
    with pytest.raises(AuthenticationError):
        await desk.log_in(old[1])


def test_a_recovery_code_has_eighty_bits_however_it_is_typed() -> None:
    code = recovery_code(bytes(range(10)))
    assert code == "AAAQ-EAYE-AUDA-OCAJ"
    assert recovery_id("bob", " aaaq eaye-auda ocaj") == recovery_id("bob", code)
    assert recovery_id("bob", code) != recovery_id("alice", code)


async def test_a_recovery_code_that_cannot_be_used_up_is_not_taken(desk: Desk, monkeypatch: Any) -> None:
    await desk.log_in()
    code = desk.enrolment.new_recovery_codes(at())[0]

    def full(factor_id: str) -> bool:
        raise CapacityError(f"the store cannot be written: {factor_id}")

    monkeypatch.setattr(desk.store, "end_factor", full)
    with pytest.raises(CapacityError):
        await desk.log_in(code)
    assert desk.site.live == {}


# passkeys


async def test_a_passkey_alone_logs_its_user_in(desk: Desk) -> None:
    await desk.log_in()
    device = desk.add_passkey()
    session = await desk.by_passkey(device)
    assert (session.principal.name, session.methods, session.aal) == ("bob", ("hwk", "user", "mfa"), 3)
    assert session.principal.mfa


async def test_a_passkey_that_is_synced_is_software_and_of_level_two(desk: Desk) -> None:
    await desk.log_in()
    device = desk.add_passkey(flags=UP | UV | BE)
    session = await desk.logins.login_by_passkey(at(), device.get(desk.login_options()))
    assert (session.methods, session.aal) == (("swk", "user", "mfa"), 2)


async def test_a_passkey_without_its_users_verification_does_not_stand_alone(desk: Desk) -> None:
    await desk.log_in()
    device = desk.add_passkey(flags=UP)
    with pytest.raises(AuthenticationError, match=REFUSED):
        await desk.logins.login_by_passkey(at(), device.get(desk.login_options()))
    assert desk.site.refusals[-1][1:] == ("user:bob", "wrong-passkey")
    session = await desk.logins.prove(at(), device.get(desk.prove_options()))
    assert (session.methods, session.aal) == (("pwd", "hwk", "user"), 2)


async def test_an_unknown_passkey_is_refused_in_the_same_words(desk: Desk) -> None:
    other = Authenticator(rp_id=PARTY.id, handle=b"x" * 32)
    with pytest.raises(AuthenticationError, match=REFUSED):
        await desk.logins.login_by_passkey(at(), other.get(desk.login_options()))
    assert desk.site.refusals == [(at(), "user:(unknown)", "wrong-passkey")]


@pytest.mark.parametrize(
    ("identities", "reason"),
    [
        ("users: {}", "unknown"),
        (IDENTITIES.replace("bob: {", "bob: {disabled: true, "), "disabled"),
        ("users: {bob: {groups: [staff]}}", "method-not-allowed"),
    ],
)
async def test_who_may_no_longer_log_in_has_no_use_of_a_passkey(desk: Desk, identities: str, reason: str) -> None:
    await desk.log_in()
    device = desk.add_passkey()
    desk.logins.directory = directory(identities)
    with pytest.raises(AuthenticationError, match=REFUSED):
        await desk.logins.login_by_passkey(at(), device.get(desk.login_options()))
    device.count += 1
    with pytest.raises(AuthenticationError, match=REFUSED):
        await desk.logins.prove(at(), device.get(desk.prove_options()))
    assert desk.site.reasons == [reason, reason]


async def test_a_copied_passkey_is_logged_with_its_reason(desk: Desk) -> None:
    await desk.log_in()
    device = desk.add_passkey()
    await desk.logins.prove(at(), device.get(desk.prove_options()))
    with pytest.raises(AuthenticationError, match=REFUSED):
        await desk.logins.prove(at(), device.get(desk.prove_options()))
    assert desk.site.reasons == ["wrong-passkey"]
    assert "counter" in desk.site.explanations[-1]


# stepping up


async def test_a_second_factor_renews_itself_and_leaves_the_password_as_old_as_it_is(desk: Desk) -> None:
    before = await desk.log_in(user="alice")
    desk.site.now += 1800
    after = await desk.logins.prove(at(), desk.code())
    (old,), (new,) = before.proofs, after.proofs
    assert (new.at, new.expires, new.reauthenticate) == (old.at, old.expires, old.reauthenticate)
    assert (new.mfa_at, new.aal, new.amr, after.number) == (desk.site.now, 2, ("pwd", "otp"), before.number)
    assert desk.site.changes == [(before.number, "reauthenticated", "totp:file")]


async def test_a_weaker_factor_takes_no_level_away(desk: Desk) -> None:
    await desk.log_in(desk.code(), "alice")
    device = desk.add_passkey()
    await desk.by_passkey(device)
    desk.site.now += 30
    (proof,) = (await desk.logins.prove(at(), desk.code())).proofs
    assert (proof.aal, proof.amr) == (3, ("hwk", "user", "mfa", "otp"))


async def test_nobody_steps_up_where_nobody_is_logged_in(desk: Desk) -> None:
    await desk.log_in(user="alice")
    for elsewhere in (at(port=6), at(text="10.0.0.22")):
        with pytest.raises(SessionError):
            await desk.logins.prove(elsewhere, desk.code())


async def test_the_code_of_another_user_is_no_second_factor(desk: Desk) -> None:
    await desk.log_in()
    with pytest.raises(AuthenticationError, match=REFUSED):
        await desk.logins.prove(at(), desk.code())
    assert desk.site.refusals == [(at(), "user:bob", "wrong-code")]


async def test_guesses_are_limited_whatever_is_guessed(pool: ThreadPoolExecutor) -> None:
    desk = Desk(pool, AttemptLimits(attachment=Rate(3, 15)))
    await desk.log_in()
    device = desk.add_passkey()
    device.count = 0
    guesses: list[Any] = ["000000", "AAAQEAYEAUDAOCAJ", device.get(desk.prove_options())]
    for guess in guesses:
        with pytest.raises(AuthenticationError, match=REFUSED):
            await desk.logins.prove(at(), guess)
    with pytest.raises(LoginLimitError):
        await desk.logins.prove(at(), device.get(desk.prove_options()))
    with pytest.raises(LoginLimitError):
        await desk.logins.login_by_passkey(at(), device.get(desk.login_options()))
    assert desk.site.reasons[:3] == ["wrong-code", "wrong-code", "wrong-passkey"]
    assert set(desk.site.reasons[3:]) == {"too-many-attempts-attachment"}


# enrolment


async def test_the_first_factor_needs_a_password_of_a_moment_ago(desk: Desk) -> None:
    await desk.log_in()
    desk.site.now += FRESH
    for change in (desk.enrolment.offer_totp, desk.enrolment.new_recovery_codes):
        with pytest.raises(NotFreshError) as caught:
            change(at())
        assert caught.value.needs == "password"


async def test_who_has_a_factor_proves_it_before_any_change(desk: Desk) -> None:
    await desk.log_in()
    desk.add_passkey()
    (factor,) = desk.store.factors_of("bob")
    changes: list[Any] = [
        lambda: desk.enrolment.offer_totp(at()),
        lambda: desk.enrolment.passkey_options(at(), PARTY),
        lambda: desk.enrolment.new_recovery_codes(at()),
        lambda: desk.enrolment.rename(at(), reference(factor), "x"),
        lambda: desk.enrolment.remove(at(), reference(factor)),
    ]
    for change in changes:
        with pytest.raises(NotFreshError) as caught:
            change()
        assert caught.value.needs == "factor"
    assert desk.store.factors_of("bob") == [factor]


async def test_the_files_secret_counts_as_a_factor_that_is_there(desk: Desk) -> None:
    await desk.log_in(user="alice")
    with pytest.raises(NotFreshError):
        desk.enrolment.offer_totp(at())
    await desk.logins.prove(at(), desk.code())
    assert desk.enrolment.offer_totp(at())
    desk.site.now += FRESH
    with pytest.raises(NotFreshError):
        desk.enrolment.offer_totp(at())


async def test_a_secret_counts_only_when_a_code_of_it_came_back_in_time(desk: Desk) -> None:
    await desk.log_in()
    key = desk.enrolment.offer_totp(at())
    with pytest.raises(AuthenticationError, match="not one of this secret"):
        desk.enrolment.confirm_totp(at(), "000000")
    desk.site.now += FRESH
    with pytest.raises(AuthenticationError, match="too long ago"):
        desk.enrolment.confirm_totp(at(), desk.code(key))
    assert desk.store.factors == {}


async def test_the_code_that_confirmed_a_secret_is_used(desk: Desk) -> None:
    await desk.log_in()
    key = desk.enrolment.offer_totp(at())
    code = desk.code(key)
    desk.enrolment.confirm_totp(at(), code)
    with pytest.raises(AuthenticationError):
        await desk.log_in(code)


async def test_passkeys_are_bounded(desk: Desk) -> None:
    await desk.log_in()
    first = desk.add_passkey(credential_id=b"\0" * 32)
    await desk.logins.prove(at(), first.get(desk.prove_options()))
    for number in range(1, MAX_PASSKEYS):
        desk.add_passkey(credential_id=bytes([number]) * 32)
    with pytest.raises(CapacityError):
        desk.enrolment.passkey_options(at(), PARTY)


@pytest.mark.parametrize("name", ["", " ", "x" * 41, "bell\a", "line\u2028break"])
async def test_names_of_passkeys_are_short_and_printable(desk: Desk, name: str) -> None:
    await desk.log_in()
    made = Authenticator().create(desk.enrolment.passkey_options(at(), PARTY))
    if name.split() != ["line", "break"]:
        with pytest.raises(InputError):
            desk.enrolment.add_passkey(at(), made, name)
    else:
        assert desk.enrolment.add_passkey(at(), made, name).name == "line break"


async def test_a_removed_factor_takes_back_what_rests_on_it_and_nothing_else(desk: Desk) -> None:
    await desk.log_in()
    device = desk.add_passkey()
    await desk.logins.prove(at(), device.get(desk.prove_options()))
    desk.device.count += 1
    (factor,) = desk.store.factors_of("bob")
    desk.enrolment.remove(at(), reference(factor))
    (proof,) = desk.session.proofs
    assert (proof.aal, proof.mfa_at, proof.amr) == (1, None, ("pwd",))
    assert desk.store.factors == {}
    assert [event for event, *_ in desk.told] == [FactorEvent.ADDED, FactorEvent.REMOVED]


async def test_a_session_that_began_with_a_passkey_ends_with_it(desk: Desk) -> None:
    await desk.log_in()
    device = desk.add_passkey()
    await desk.by_passkey(device)
    assert desk.enrolment.reset("bob") == 1
    assert desk.site.live == {}
    assert desk.site.changes[-1][1] == "credential-revoked"
    assert desk.told[-1][0] is FactorEvent.RESET


async def test_a_reset_takes_back_proofs_by_recovery_codes(desk: Desk) -> None:
    await desk.log_in()
    codes = desk.enrolment.new_recovery_codes(at())
    await desk.log_in(codes[0])
    desk.enrolment.reset("bob")
    assert not desk.session.principal.mfa
    with pytest.raises(AuthenticationError):
        await desk.log_in(codes[1])


async def test_the_secret_of_an_app_that_was_replaced_is_void(desk: Desk) -> None:
    await desk.log_in()
    old = desk.add_totp()
    await desk.logins.prove(at(), desk.code(old))
    desk.site.now += 30
    new = desk.add_totp()
    assert not desk.session.principal.mfa
    with pytest.raises(AuthenticationError):
        await desk.logins.prove(at(), desk.code(old))
    assert (await desk.logins.prove(at(), desk.code(new))).principal.mfa


async def test_another_secret_in_the_file_takes_back_what_rests_on_the_old_one(desk: Desk) -> None:
    await desk.log_in(desk.code(), "alice")
    desk.logins.directory = directory(IDENTITIES.replace("groups: [staff]", "groups: [admins]"))
    assert desk.session.principal.mfa
    desk.logins.directory = directory(IDENTITIES.replace("JBSWY3DPEHPK3PXP", "JBSWY3DPEHPK3PXQ"))
    (proof,) = desk.session.proofs
    assert (proof.amr, proof.aal, proof.mfa_at) == (("pwd",), 1, None)
    assert desk.site.changes[-1][1:] == ("credential-revoked", "totp:file")


async def test_operators_see_who_has_what(desk: Desk) -> None:
    await desk.log_in()
    desk.add_totp()
    seen = desk.enrolment.factors_of("bob")
    assert ([one.kind for one in seen.factors], seen.in_file) == (["totp"], False)
    assert desk.enrolment.factors_of("alice").in_file
    with pytest.raises(SessionError):
        desk.enrolment.factors_of("nobody")
