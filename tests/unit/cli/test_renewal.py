"""When a host that stays logged in logs in again: in time, with a new certificate, and after failures."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from zethane.cli.renewal import FIRST_RETRY, LAST_RETRY, LONGEST, LOOK, SHORTEST, Renewal
from zethane.errors import AuthenticationError, ZethaneError

START = 1_700_000_000.0


class Host:
    """A host with its clock, what it is told by the portal, and its certificate in a file."""

    def __init__(self, folder: Path) -> None:
        self.now = START
        self.lifetime = 120.0
        self.ends: str | None = None
        self.failure: ZethaneError | None = None
        self.logins: list[float] = []
        self.told: list[ZethaneError] = []
        self.file = folder / "cert.pem"
        self.file.write_text("first", encoding="ascii")
        self.renewal = Renewal(self._attempt, [self.file], self.told.append, lambda: self.now, lambda low, _: low)

    def _attempt(self) -> dict[str, Any]:
        self.logins.append(self.now - START)
        if self.failure is not None:
            raise self.failure
        ends = datetime.fromtimestamp(self.now + self.lifetime, timezone.utc).isoformat().replace("+00:00", "Z")
        return {"ends": ends if self.ends is None else self.ends}

    def run(self, seconds: float) -> None:
        """Let time pass, step by step."""
        until = self.now + seconds
        while self.now < until:
            wait = self.renewal.step()
            assert 0 <= wait <= LOOK
            self.now += max(wait, 0.01)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_it_logs_in_again_while_much_of_the_session_is_left(host: Host) -> None:
    host.run(200)
    assert len(host.logins) == 4
    gaps = [after - before for before, after in zip(host.logins, host.logins[1:], strict=False)]
    assert all(0.5 * host.lifetime < gap < 0.7 * host.lifetime for gap in gaps)


def test_a_new_certificate_is_used_at_once(host: Host) -> None:
    host.run(10)
    fresh = host.file.with_name("new")
    fresh.write_text("second", encoding="ascii")
    fresh.rename(host.file)
    host.run(2)
    assert len(host.logins) == 2


def test_failures_are_told_and_tried_again_ever_less_often(host: Host) -> None:
    host.failure = AuthenticationError("no")
    host.run(600)
    assert len(host.told) == len(host.logins)
    gaps = [after - before for before, after in zip(host.logins, host.logins[1:], strict=False)]
    assert gaps[0] == pytest.approx(FIRST_RETRY * 0.8, abs=0.1)
    assert gaps[1] == pytest.approx(FIRST_RETRY * 1.6, abs=0.1)
    assert gaps[-1] == pytest.approx(LAST_RETRY * 0.8, abs=0.1)
    host.failure = None
    host.run(LAST_RETRY)
    assert len(host.told) < len(host.logins)


def test_a_certificate_that_comes_late_is_tried_at_once(host: Host) -> None:
    host.file.unlink()
    host.failure = AuthenticationError("no certificate")
    host.run(300)
    before = len(host.logins)
    host.failure = None
    host.file.write_text("there", encoding="ascii")
    host.run(2)
    assert len(host.logins) == before + 1


def test_a_long_session_is_looked_after_all_the_same(host: Host) -> None:
    host.lifetime = 86400
    host.run(3 * LONGEST + 10)
    assert len(host.logins) == 4


@pytest.mark.parametrize("ends", ["", "never", "1999-12-31T23:59:59Z"])
def test_nonsense_from_the_portal_makes_no_flood(host: Host, ends: str) -> None:
    host.ends = ends
    host.run(60)
    assert len(host.logins) <= 60 / SHORTEST + 1
