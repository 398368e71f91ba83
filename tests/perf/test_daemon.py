"""What a run gives Open vSwitch's daemon, and takes back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import openvswitch
from perf.daemon import preferred
from zethane.app.scheduling import NICE, precedence


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a session of its own in the place of Open vSwitch's daemon."""
    monkeypatch.setattr(openvswitch, "RUN_DIRECTORY", tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    (tmp_path / "ovs-vswitchd.pid").write_text(f"{process.pid}\n", encoding="ascii")
    yield process
    process.kill()
    process.communicate()


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give more than others have")


def test_its_session_has_the_weight_of_the_controllers_for_as_long_as_it_is_measured(
    daemon: subprocess.Popen[bytes],
) -> None:
    before = precedence(daemon.pid).session
    if before is None:
        pytest.skip("the kernel does not weigh sessions")
    with preferred():
        assert precedence(daemon.pid).session == NICE
        with preferred():
            pass
        assert precedence(daemon.pid).session == NICE
    assert precedence(daemon.pid).session == before


def test_a_daemon_that_has_ended_meanwhile_has_nothing_to_be_taken_back(daemon: subprocess.Popen[bytes]) -> None:
    with preferred():
        daemon.kill()
        daemon.wait()
