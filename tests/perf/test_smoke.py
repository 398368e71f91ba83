"""The benchmarks keep working: each gives figures in a quick run, and leaves nothing.

Nothing here looks at how fast anything was.
"""

from __future__ import annotations

import math

import pytest

from lab import openvswitch
from lab.ledger import ROOT, processes
from perf.benchmark import benchmarks
from perf.command import measure


@pytest.mark.perf
@pytest.mark.ovs
@pytest.mark.parametrize("name", benchmarks())
def test_a_quick_run_measures_every_side_and_leaves_nothing(name: str) -> None:
    told_on_the_way: list[str] = []
    report = measure([benchmarks()[name]], 1, told_on_the_way.append, is_quick=True)
    assert not report.failed
    told = report.results[0].as_json()
    assert {figure["side"] for figure in told["figures"]} == set(told["sides"])
    assert all(math.isfinite(figure["median"]) and figure["median"] >= 0 for figure in told["figures"])
    run_id = told_on_the_way[0].removeprefix("run ")
    assert not [bridge for bridge in openvswitch.existing_bridges() if bridge.startswith(run_id)]
    assert processes(run_id) == []
    assert not (ROOT / run_id).exists()
