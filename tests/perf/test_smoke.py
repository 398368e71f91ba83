"""The benchmarks keep working: each gives figures in a quick run, and leaves nothing.

Nothing here looks at how fast anything was.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from lab import openvswitch
from lab.errors import LabError
from lab.ledger import ROOT, processes
from perf.benchmark import benchmarks
from perf.command import measure
from perf.controllers import environment
from perf.load import Load, batches_of_zethane, turn_of_limit, turn_of_zethane


@pytest.mark.perf
@pytest.mark.ovs
@pytest.mark.parametrize("name", benchmarks())
def test_a_quick_run_measures_every_side_and_leaves_nothing(name: str) -> None:
    told_on_the_way: list[str] = []
    report = measure([benchmarks()[name]], 1, told_on_the_way.append, is_quick=True)
    assert not report.failed
    benchmark = report.results[0].benchmark
    told = report.results[0].as_json()
    sides = {side for side in told["sides"] if any(benchmark.can(side, point) for point in report.results[0].points)}
    assert {figure["side"] for figure in told["figures"]} == sides
    assert all(math.isfinite(figure["median"]) and figure["median"] >= 0 for figure in told["figures"])
    run_id = told_on_the_way[0].removeprefix("run ")
    assert not [bridge for bridge in openvswitch.existing_bridges() if bridge.startswith(run_id)]
    assert processes(run_id) == []
    assert not (ROOT / run_id).exists()


@pytest.mark.perf
def test_the_compiled_load_sees_every_answer_of_its_own_reflector() -> None:
    load = Load(switches=5, sessions=100, single=20, many=200, batches=2, window=8, warm=10)
    told = turn_of_limit(load)
    assert told["flows"] == 10 + 20 + 2 * 200
    assert told["rate"] > 0


@pytest.mark.perf
@pytest.mark.parametrize("load", [
    Load(switches=1, sessions=50, single=20, many=200, batches=2, window=8, warm=10),
    Load(switches=10, sessions=100, single=20, many=200, batches=2, window=8, warm=10, across=True),
    Load(switches=10, sessions=10, single=20, many=200, batches=2, window=8, warm=10, end=False),
], ids=["one switch", "between switches", "as many sessions as switches"])  # fmt: skip
def test_the_compiled_load_sets_up_flows_with_a_whole_controller(load: Load, tmp_path: Path) -> None:
    told = turn_of_zethane(load, tmp_path / "run", environment(os.environ))
    assert told["ended"] == (told["flows"] if load.end else 0)
    assert told["entries"] > load.sessions


@pytest.mark.perf
def test_batches_of_two_controllers_are_done_as_they_are_asked_for(tmp_path: Path) -> None:
    load = Load(switches=1, sessions=50, single=20, many=200, batches=2, window=8, warm=10)
    tagged = environment(os.environ)
    with (
        batches_of_zethane(load, tmp_path / "one", tagged) as one,
        batches_of_zethane(load, tmp_path / "other", tagged) as other,
    ):
        for batches in (one, other, other, one):
            assert not batches.told
            batches.next()
    assert one.told["flows"] == other.told["flows"] == one.told["ended"]
    assert one.told["memory"] > 0


@pytest.mark.perf
def test_a_controller_whose_batches_are_not_all_done_is_no_turn(tmp_path: Path) -> None:
    load = Load(switches=1, sessions=50, single=20, many=200, batches=2, window=8, warm=10)
    with pytest.raises(LabError, match="in the decision log"):  # noqa: SIM117
        with batches_of_zethane(load, tmp_path / "run", environment(os.environ)) as batches:
            batches.next()
