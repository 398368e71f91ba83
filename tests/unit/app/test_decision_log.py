"""Decision logs from files: rotated, packed, cut off, from standard input."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.decision_log import WrittenLog
from fakes.site import ALICE, BOB, WEB
from zethane.app.decision_log import DecisionLog, known_by, lines
from zethane.app.topology import load_directory
from zethane.errors import InputError

FLOWS = 300


@pytest.fixture
def written() -> list[bytes]:
    log = WrittenLog()
    log.login(ALICE, "10.0.0.21")
    log.login(WEB, "10.0.0.11")
    for port in range(1, FLOWS + 1):
        log.flow("10.0.0.21", "10.0.0.11", "staff-web", port)
    return log.lines


def ports(*files: Path | str) -> list[int]:
    return [seen.port for seen in DecisionLog([str(file) for file in files], {}.get)]


def test_rotated_logs_are_read_in_the_order_of_their_times_packed_or_not(tmp_path: Path, written: list[bytes]) -> None:
    names = [tmp_path / name for name in ("decisions.jsonl", "decisions.jsonl.1", "decisions.jsonl.2.gz")]
    names[0].write_bytes(b"".join(written[20:]))
    names[1].write_bytes(b"cut off\n" + b"".join(written[10:20]))
    names[2].write_bytes(gzip.compress(b"".join(written[:10])))
    assert ports(*names) == list(range(1, FLOWS + 1))
    assert ports(*names[::-1]) == list(range(1, FLOWS + 1))


def test_a_packed_log_that_is_cut_off_tells_what_is_there(tmp_path: Path, written: list[bytes]) -> None:
    file = tmp_path / "log.gz"
    packed = gzip.compress(b"".join(written), mtime=0)
    file.write_bytes(packed[: len(packed) // 2])
    log = DecisionLog([str(file)], {}.get)
    assert 0 < len(list(log)) < FLOWS
    assert log.account.damaged["unreadable"] == 1


def test_lines_that_are_too_long_are_left_out_and_the_next_is_read(tmp_path: Path, written: list[bytes]) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"".join(written[:3]) + b"x" * 1_000_000 + b"\n\n" + written[3])
    log = DecisionLog([str(file)], {}.get)
    assert [seen.port for seen in log] == [1, 2]
    assert log.account.damaged == {"too-long": 1}


def test_a_file_of_something_else_is_no_log(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("version: 1\n")
    with pytest.raises(InputError, match="expected a decision log"):
        list(DecisionLog([str(file)], {}.get))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        DecisionLog([str(tmp_path / "none")], {}.get)
    with pytest.raises(InputError, match="directory"):
        DecisionLog([str(tmp_path)], {}.get)


def test_an_empty_log_tells_of_nothing(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.touch()
    assert ports(file) == []


def test_standard_input_is_read_too(written: list[bytes]) -> None:
    program = (
        "from zethane.app.decision_log import DecisionLog\nprint([seen.port for seen in DecisionLog(['-'], {}.get)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"".join(written), capture_output=True, check=True, env=os.environ
    )
    assert done.stdout.decode().strip() == str(list(range(1, FLOWS + 1)))


def test_every_line_comes_once(tmp_path: Path, written: list[bytes]) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"".join(written).rstrip(b"\n"))
    assert b"".join(line for line in lines(str(file)) if isinstance(line, bytes)) == b"".join(written).rstrip(b"\n")


def test_the_identities_know_people_with_all_that_they_can_prove(tmp_path: Path) -> None:
    (tmp_path / "identities.yaml").write_text(
        "users:\n"
        "  alice: {groups: [staff], totp: JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP, disabled: true}\n"
        "  bob: {groups: [staff]}\n"
        "workloads: {web1: {labels: {tier: web}}}\n"
    )
    known = known_by(load_directory(tmp_path))
    alice = known("user:alice")
    assert alice is not None
    assert (alice.groups, alice.mfa, alice.aal) == ({"staff"}, True, 2)
    assert known("user:bob") == BOB
    assert known("workload:web1") == WEB
    assert known("user:web1") is None
    assert known_by(None)("user:bob") is None
