"""The limits of attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fakes.portal_site import PLACE
from zethane.identity.attempts import AttemptLimits, Attempts, Buckets, Limited, Rate
from zethane.identity.session import Attachment

OTHER_PLACE = Attachment(1, 6, 0, 0x020000000016)

times = st.lists(st.floats(min_value=0, max_value=1000), min_size=1, max_size=60).map(sorted)
rates = st.builds(Rate, st.integers(min_value=1, max_value=8), st.floats(min_value=0.1, max_value=60))


def admit(buckets: Buckets, key: object, now: float) -> bool:
    if buckets.wait(key, now) > 0:
        return False
    buckets.take(key, now)
    return True


def test_after_a_clock_was_set_back_tokens_come_back_as_ever() -> None:
    buckets = Buckets(Rate(2, 10.0), 10)
    assert admit(buckets, "k", 1000)
    assert not admit(buckets, "k", 0)
    assert admit(buckets, "k", 10), "not only when the clock is back at where it was"


@given(times, rates)
def test_no_stretch_of_time_has_more_than_the_burst_and_what_has_come_back(moments: list[float], rate: Rate) -> None:
    buckets = Buckets(rate, 10)
    passed = [now for now in moments if admit(buckets, "k", now)]
    for first, start in enumerate(passed):
        for count, end in enumerate(passed[first:], 1):
            assert count <= rate.burst + (end - start) / rate.interval + 1e-6


@given(times, rates)
def test_who_waits_as_long_as_told_is_admitted(moments: list[float], rate: Rate) -> None:
    buckets = Buckets(rate, 10)
    for now in moments:
        wait = buckets.wait("k", now)
        assert wait <= rate.interval + 1e-6
        assert buckets.wait("k", now + wait + 1e-6) == 0
        admit(buckets, "k", now)


@given(st.lists(st.tuples(st.integers(0, 200), st.floats(0, 100)), max_size=300))
def test_memory_is_bounded_whatever_the_keys(attempts: list[tuple[int, float]]) -> None:
    buckets = Buckets(Rate(3, 10), 16)
    for key, now in attempts:
        admit(buckets, key, now)
        assert len(buckets) <= 16


@given(st.integers(min_value=1, max_value=10), st.floats(min_value=1, max_value=1e9))
def test_a_clock_that_is_set_back_blocks_for_one_bucket_at_the_most(burst: int, jump: float) -> None:
    buckets = Buckets(Rate(burst, 5.0), 10)
    for _ in range(burst):
        buckets.take("k", 2e9)
    assert buckets.wait("k", 2e9 - jump) <= burst * 5.0


@given(times)
def test_a_token_given_back_is_as_if_never_taken(moments: list[float]) -> None:
    buckets = Buckets(Rate(2, 30), 10)
    for now in moments:
        assert admit(buckets, "k", now)
        buckets.give_back("k", now)


def attempts_at(attempts: Attempts, place: Attachment, account: str, count: int) -> Limited | None:
    results = [attempts.admit(place, account, 0.0) for _ in range(count)]
    return next((limited for limited in results if limited), None)


def test_one_place_is_blocked_after_a_few_failures_and_another_is_not() -> None:
    attempts = Attempts(AttemptLimits(attachment=Rate(3, 10)))
    assert attempts_at(attempts, PLACE, "user:a", 3) is None
    assert attempts.admit(PLACE, "user:b", 0.0) == Limited("attachment", 10.0)
    assert attempts.admit(OTHER_PLACE, "user:b", 0.0) is None


def test_a_port_pays_also_for_macs_that_it_makes_up() -> None:
    attempts = Attempts(AttemptLimits(port=Rate(5, 1)))
    forged = [Attachment(1, 5, 0, mac) for mac in range(2, 12)]
    admitted = [place for place in forged if attempts.admit(place, f"user:{place.mac}", 0.0) is None]
    assert len(admitted) == 5


def test_an_account_under_attack_from_everywhere_is_slowed_down() -> None:
    attempts = Attempts(AttemptLimits(account=Rate(4, 60)))
    places = [Attachment(1, port, 0, port + 2) for port in range(6)]
    limits = [attempts.admit(place, "user:alice", 0.0) for place in places]
    assert limits == [None] * 4 + [Limited("account", 60.0)] * 2


def test_an_attack_does_not_keep_out_an_owner_where_they_were_before() -> None:
    attempts = Attempts(AttemptLimits(account=Rate(4, 60)))
    assert attempts.admit(PLACE, "user:alice", 0.0) is None
    attempts.succeeded(PLACE, "user:alice", 0.0)
    for port in range(10, 20):
        attempts.admit(Attachment(1, port, 0, port), "user:alice", 0.0)
    assert attempts.admit(OTHER_PLACE, "user:alice", 0.0) is not None
    assert attempts.admit(PLACE, "user:alice", 0.0) is None


def test_logins_that_succeed_cost_only_their_port() -> None:
    attempts = Attempts(AttemptLimits(port=Rate(50, 1), attachment=Rate(2, 60), account=Rate(2, 60)))
    for _ in range(50):
        assert attempts.admit(PLACE, "user:alice", 0.0) is None
        attempts.succeeded(PLACE, "user:alice", 0.0)
    assert attempts.admit(PLACE, "user:alice", 0.0) == Limited("port", 1.0)


def test_what_is_refused_counts_against_nothing() -> None:
    attempts = Attempts(AttemptLimits(port=Rate(100, 1), attachment=Rate(1, 60), account=Rate(2, 60)))
    assert attempts_at(attempts, PLACE, "user:alice", 30) == Limited("attachment", 60.0)
    assert attempts.admit(OTHER_PLACE, "user:alice", 0.0) is None
