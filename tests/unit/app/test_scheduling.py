"""What the scheduler is asked for: in a process of its own, for it cannot be taken back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zethane.app import scheduling
from zethane.app.scheduling import precedence, precedence_of_switch

PROGRAM = """
import os
from threading import Thread
from zethane.app.scheduling import TURN, ask_for_short_turns, turn

before = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), turn()
taken_up = ask_for_short_turns()
assert (os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.getpriority(os.PRIO_PROCESS, 0)) == before[:2]
assert (turn() == TURN) == taken_up
others = []
thread = Thread(target=lambda: others.append(turn()))
thread.start()
thread.join()
assert others == [before[2]]
assert ask_for_short_turns() == taken_up
print(taken_up)
"""


def test_one_thread_has_short_turns_with_its_policy_and_priority_as_they_were() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if release < (6, 12):
        assert done.stdout == "False\n"


def test_a_thread_with_another_policy_is_left_alone() -> None:
    batch = f"import os\nos.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))\n{PROGRAM}"
    done = subprocess.run([sys.executable, "-c", batch], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


WAITS = """
from threading import Thread
from zethane.app.scheduling import EXACT, PATIENT, give_way, slack, wait_exactly

def beside(begin):
    told = []
    thread = Thread(target=lambda: told.extend((begin(), slack())))
    thread.start()
    thread.join()
    return told

assert (wait_exactly(), slack()) == (True, EXACT)
assert beside(give_way) == [True, PATIENT]
assert beside(lambda: None) == [None, EXACT]
assert slack() == EXACT
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other kernel lets a thread say by how much it may be late")
def test_the_loop_waits_exactly_and_threads_beside_it_give_way() -> None:
    done = subprocess.run([sys.executable, "-c", WAITS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


PRECEDENCE = """
import os, sys
from pathlib import Path
from threading import Thread
from zethane.app.scheduling import precedence, take_precedence

started, user, asked = map(int, sys.argv[1:])
os.setpriority(os.PRIO_PROCESS, 0, started)
if user:
    os.setuid(user)
before = precedence()
got = take_precedence(asked)
assert got == precedence()
beside = []
thread = Thread(target=lambda: beside.append(precedence()))
thread.start()
thread.join()
assert beside == [got]
print(*before, *got)
"""


def test_what_open_vswitchs_daemon_has_is_told_if_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ovs-vswitchd.pid"
    monkeypatch.setattr(scheduling, "_SWITCH", file)
    assert precedence_of_switch() is None
    file.write_text("no number\n", encoding="ascii")
    assert precedence_of_switch() is None
    file.write_text(f"{os.getpid()}\n", encoding="ascii")
    assert precedence_of_switch() == precedence()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(60)
    file.write_text(f"{ended.pid}\n", encoding="ascii")
    assert precedence_of_switch() is None


def weighed(
    asked: int, *, started: int = 0, user: int = 0, is_leader: bool = True
) -> tuple[tuple[int, int | None], tuple[int, int | None]]:
    """What held before and afterwards, in a process that has a session of its own, or has not."""
    done = subprocess.run(
        [sys.executable, "-c", PRECEDENCE, str(started), str(user), str(asked)],
        capture_output=True, text=True, timeout=60, start_new_session=is_leader,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [None if word == "None" else int(word) for word in done.stdout.split()]
    process, session, process_then, session_then = told
    assert process is not None
    assert process_then is not None
    return (process, session), (process_then, session_then)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may ask for more than others have")
def test_the_controller_comes_before_ordinary_processes_and_its_session_with_it() -> None:
    before, then = weighed(-10)
    assert before[0] == 0
    assert then == (-10, None if before[1] is None else -10)
    before, then = weighed(0)
    assert then == before


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may ask for more than others have")
def test_the_session_of_somebody_else_keeps_its_weight() -> None:
    before, then = weighed(-10, is_leader=False)
    assert then == (-10, before[1])


def test_who_was_started_with_a_nice_value_keeps_it() -> None:
    before, then = weighed(-10, started=7)
    assert then == before
    assert then[0] == 7


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_ask_goes_on_as_before() -> None:
    before, then = weighed(-10, user=65534)
    assert then == before
    assert then[0] == 0
