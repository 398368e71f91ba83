"""Logins, from credential to session or refusal."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fakes.portal_site import IDENTITIES, TOTP_KEY, PortalSite, at, directory
from fakes.records import MemoryStore
from zethane.errors import AddressInUse, AuthenticationError, CapacityError, PortRefusal, SessionError
from zethane.identity.attempts import AttemptLimits, Attempts, Rate
from zethane.identity.credential import Credential
from zethane.identity.totp import code_at
from zethane.service.authentication import MAX_PENDING, MAX_PENDING_PER_PORT, Authenticator, LoginLimitError

LENIENT = AttemptLimits(port=Rate(1000, 1), attachment=Rate(1000, 1), account=Rate(1000, 1))


@pytest.fixture
def site() -> PortalSite:
    return PortalSite()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def authenticator(site: PortalSite, pool: ThreadPoolExecutor) -> Authenticator:
    return Authenticator(site, directory(), MemoryStore(), site.clock, pool, site.refused, attempts=Attempts(LENIENT))


def code(site: PortalSite, shift: int = 0) -> str:
    return code_at(TOTP_KEY, int(site.now) // 30 + shift)


def alice(totp: str | None = None) -> Credential:
    return Credential("user", "alice", "lab-alice", totp)


async def test_password_and_code_make_a_session_with_two_factors(
    site: PortalSite, authenticator: Authenticator
) -> None:
    session = await authenticator.login(at(), alice(code(site)))
    assert (session.methods, session.principal.mfa) == (("pwd", "otp"), True)
    assert session.principal.groups == {"staff"}
    assert site.refusals == []


async def test_the_password_alone_makes_a_session_with_one_factor(authenticator: Authenticator) -> None:
    session = await authenticator.login(at(), alice())
    assert (session.methods, session.principal.mfa) == (("pwd",), False)


async def test_a_workload_logs_in_by_its_secret(authenticator: Authenticator) -> None:
    session = await authenticator.login(at(), Credential("workload", "web1", "lab-web1"))
    assert (session.principal.kind, session.principal.labels) == ("workload", (("tier", "web"),))


@pytest.mark.parametrize(
    ("credential", "account", "reason"),
    [
        (Credential("user", "alice", "wrong"), "user:alice", "wrong-secret"),
        (Credential("user", "nobody", "lab-bob"), "user:(unknown)", "unknown"),
        (Credential("user", "gone", "lab-bob"), "user:gone", "disabled"),
        (Credential("workload", "bob", "lab-bob"), "workload:(unknown)", "unknown"),
        (Credential("user", "alice", "lab-alice", "000000"), "user:alice", "wrong-code"),
        (Credential("user", "bob", "lab-bob", "000000"), "user:bob", "wrong-code"),
        (Credential("workload", "web1", "lab-web1", "000000"), "workload:web1", "wrong-code"),
    ],
)
async def test_every_refusal_is_recorded_and_none_says_why(
    site: PortalSite, authenticator: Authenticator, credential: Credential, account: str, reason: str
) -> None:
    with pytest.raises(AuthenticationError) as caught:
        await authenticator.login(at(), credential)
    assert str(caught.value) == "the name, the secret or the code is wrong"
    assert site.refusals == [(at(), account, reason)]
    assert site.live == {}


async def test_a_code_works_once_and_no_earlier_one_after_it(site: PortalSite, authenticator: Authenticator) -> None:
    await authenticator.login(at(), alice(code(site)))
    for used in (code(site), code(site, -1)):
        with pytest.raises(AuthenticationError):
            await authenticator.login(at(), alice(used))
    assert site.reasons == ["code-used", "code-used"]
    site.now += 30
    assert (await authenticator.login(at(), alice(code(site)))).principal.mfa


async def test_of_two_logins_at_once_with_one_code_one_gets_in(site: PortalSite, authenticator: Authenticator) -> None:
    logins = [authenticator.login(at(text=f"10.0.0.{last}"), alice(code(site))) for last in (21, 22)]
    results = await asyncio.gather(*logins, return_exceptions=True)
    assert sorted(isinstance(result, AuthenticationError) for result in results) == [False, True]


async def test_a_wrong_password_does_not_use_up_the_code(site: PortalSite, authenticator: Authenticator) -> None:
    with pytest.raises(AuthenticationError):
        await authenticator.login(at(), Credential("user", "alice", "wrong", code(site)))
    assert (await authenticator.login(at(), alice(code(site)))).principal.mfa


@pytest.mark.parametrize("name", ["alice", "nobody", "gone"])
async def test_known_and_unknown_names_take_the_same_checks(
    site: PortalSite, pool: ThreadPoolExecutor, name: str
) -> None:
    checked: list[str] = []

    def matches(expected: str, secret: str) -> bool:
        checked.append(expected.rsplit("$", 2)[0])
        return secret == "right"

    authenticator = Authenticator(site, directory(), MemoryStore(), site.clock, pool, site.refused, matches=matches)
    with pytest.raises(AuthenticationError):
        await authenticator.login(at(), Credential("user", name, "wrong"))
    assert checked == ["$argon2id$v=19$m=8,t=1,p=1"]


async def test_a_decoy_that_matched_would_still_be_refused(site: PortalSite, pool: ThreadPoolExecutor) -> None:
    authenticator = Authenticator(
        site, directory(), MemoryStore(), site.clock, pool, site.refused, matches=lambda *_: True
    )
    with pytest.raises(AuthenticationError):
        await authenticator.login(at(), Credential("user", "nobody", "x"))


async def test_too_many_attempts_are_told_when_to_come_back(site: PortalSite, pool: ThreadPoolExecutor) -> None:
    attempts = Attempts(AttemptLimits(attachment=Rate(2, 15)))
    authenticator = Authenticator(site, directory(), MemoryStore(), site.clock, pool, site.refused, attempts=attempts)
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            await authenticator.login(at(), Credential("user", "bob", "wrong"))
    with pytest.raises(LoginLimitError) as caught:
        await authenticator.login(at(), Credential("user", "bob", "lab-bob"))
    assert caught.value.retry_after == 15
    assert site.reasons[-1] == "too-many-attempts-attachment"
    site.now += 15
    assert await authenticator.login(at(), Credential("user", "bob", "lab-bob"))


class Held:
    """A password check that waits until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)

    def matches(self, _: str, __: str) -> bool:
        self.begun.release()
        return self.go.wait(30)


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.go.set()


@pytest.fixture
def slow(site: PortalSite, pool: ThreadPoolExecutor, held: Held) -> Authenticator:
    return Authenticator(
        site,
        directory(),
        MemoryStore(),
        site.clock,
        pool,
        site.refused,
        attempts=Attempts(LENIENT),
        matches=held.matches,
    )


def begin(authenticator: Authenticator, count: int, ports: int) -> list[asyncio.Task[object]]:
    loop = asyncio.get_running_loop()
    credential = Credential("user", "bob", "lab-bob")
    return [
        loop.create_task(authenticator.login(at(port=10 + n % ports, text=f"10.0.1.{n}"), credential))
        for n in range(count)
    ]


async def test_the_event_loop_goes_on_while_passwords_are_checked(slow: Authenticator, held: Held) -> None:
    tasks = begin(slow, 4, ports=4)
    await asyncio.sleep(0)  # lets the logins begin; that this returns while the checks stand still is the test
    assert slow.pending == 4
    held.go.set()
    assert len(await asyncio.gather(*tasks)) == 4
    assert slow.pending == 0


async def test_one_port_gets_only_its_share_of_the_checks(site: PortalSite, slow: Authenticator, held: Held) -> None:
    tasks = begin(slow, MAX_PENDING_PER_PORT + 1, ports=1)
    with pytest.raises(LoginLimitError):
        await tasks[-1]
    assert site.reasons == ["busy"]
    held.go.set()
    await asyncio.gather(*tasks[:-1])


async def test_the_checks_that_wait_are_bounded(slow: Authenticator, held: Held) -> None:
    tasks = begin(slow, MAX_PENDING + 1, ports=MAX_PENDING)
    with pytest.raises(CapacityError):
        await tasks[-1]
    held.go.set()
    await asyncio.gather(*tasks[:-1])


async def test_hanging_up_does_not_make_room_before_the_check_is_over(slow: Authenticator, held: Held) -> None:
    (task,) = begin(slow, 1, ports=1)
    await asyncio.to_thread(held.begun.acquire)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slow.pending == 1
    held.go.set()
    await asyncio.gather(*begin(slow, 2, ports=1))
    end = asyncio.get_running_loop().time() + 5
    # The first is in a thread of its own, and may be over after these.
    while slow.pending and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110  # a thread sets no event
        await asyncio.sleep(0.01)
    assert slow.pending == 0


async def test_who_is_struck_off_while_the_password_is_checked_stays_out(
    site: PortalSite, slow: Authenticator, held: Held
) -> None:
    (task,) = begin(slow, 1, ports=1)
    await asyncio.to_thread(held.begun.acquire)
    slow.directory = directory(IDENTITIES.replace("  bob:", "  robert:"))
    held.go.set()
    with pytest.raises(AuthenticationError):
        await task
    assert site.reasons == ["changed"]


async def test_a_new_file_that_changes_nothing_for_them_lets_them_in(slow: Authenticator, held: Held) -> None:
    (task,) = begin(slow, 1, ports=1)
    await asyncio.to_thread(held.begun.acquire)
    slow.directory = directory()
    held.go.set()
    assert await task


@pytest.mark.parametrize(
    ("failure", "reason", "explanation"),
    [
        (AddressInUse("taken"), "address-in-use", ""),
        (SessionError("the port is down"), "no-session", "the port is down"),
        (PortRefusal("the port allows one card", "mac-limit"), "mac-limit", "the port allows one card"),
        (CapacityError("full"), "capacity", ""),
    ],
)
async def test_what_the_controller_refuses_is_recorded_and_passed_on(
    site: PortalSite, authenticator: Authenticator, failure: Exception, reason: str, explanation: str
) -> None:
    site.failure = failure
    with pytest.raises(type(failure)):
        await authenticator.login(at(), Credential("user", "bob", "lab-bob"))
    assert site.refusals == [(at(), "user:bob", reason)]
    assert site.explanations == [explanation]
