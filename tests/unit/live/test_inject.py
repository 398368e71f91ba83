"""What a host that answers waits for."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest

from replay import inject
from replay.inject import ANSWER, PACE, PATIENCE, Waiting


class Slow:
    """Packets that arrive at moments of their own, on a clock that only waiting moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.due: dict[tuple[str, bytes], list[float]] = {}
        self.read: Counter[tuple[str, bytes]] = Counter()
        monkeypatch.setattr(inject, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def peek(self, host: str, octets: bytes) -> int:
        self.read[host, octets] = sum(moment <= self.now for moment in self.due.get((host, octets), []))
        return self.read[host, octets]

    def at(self, host: str, octets: bytes) -> int:
        return self.read[host, octets]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(monkeypatch)


def waiting(slow: Slow) -> Waiting:
    return Waiting(slow)  # type: ignore[arg-type]


def test_it_waits_until_the_packet_is_there_for_the_nth_time(slow: Slow) -> None:
    slow.due["web1", b"again"] = [101.0, 103.5]
    waiting(slow).wait("web1", b"again", 2)
    assert 103.5 <= slow.now < 103.5 + 2 * PACE


def test_packets_that_never_come_use_the_patience_up_together(slow: Slow) -> None:
    patient = waiting(slow)
    for number in range(5):
        patient.wait("web1", b"lost", number + 1)
    assert slow.now == pytest.approx(100 + PATIENCE + 5 * ANSWER, abs=10 * PACE)


def test_packets_that_come_in_time_use_no_patience_up(slow: Slow) -> None:
    patient = waiting(slow)
    for number in range(1000):
        slow.due["web1", b"%d" % number] = [slow.now + 0.1]
        patient.wait("web1", b"%d" % number, 1)
    begun = slow.now
    slow.due["web1", b"late"] = [begun + PATIENCE]
    patient.wait("web1", b"late", 1)
    assert begun + PATIENCE <= slow.now < begun + PATIENCE + 2 * PACE


def test_in_the_end_it_waits_for_all_that_has_to_arrive_and_not_for_what_has(slow: Slow) -> None:
    slow.due = {("web1", b"a"): [100.0], ("app1", b"b"): [104.0], ("db1", b"c"): [102.0]}
    patient = waiting(slow)
    for host, octets in slow.due:
        patient.expect(host, octets, 1)
    patient.finish()
    assert 104.0 <= slow.now < 104.0 + 4 * PACE


def test_in_the_end_it_does_not_wait_for_what_has_used_the_patience_up(slow: Slow) -> None:
    patient = waiting(slow)
    for octets in (b"a", b"b", b"c"):
        patient.expect("web1", octets, 1)
    patient.finish()
    assert slow.now == pytest.approx(100 + PATIENCE + ANSWER, abs=2 * PACE)
