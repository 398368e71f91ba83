"""The model of cost: slopes that are known come out of points, and what was not measured is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lab.errors import LabError
from perf.command import app
from perf.fitting import fit
from perf.measured import Measured, read_runs
from perf.model import LAWS, Scenario, laws, per_flow, projection
from perf.model_page import page


def test_a_plane_gives_back_its_numbers() -> None:
    points = [((a, b), 60 + 0.004 * a + 0.0004 * b) for a in (1_000.0, 10_000.0) for b in (1e3, 3e4, 1e5)]
    found = fit(points)
    assert found.constant == pytest.approx(60)
    assert found.slopes == pytest.approx((0.004, 0.0004))
    assert found.residual == pytest.approx(0, abs=1e-9)
    assert found.is_held
    assert found.at(100_000, 1_500_000) == pytest.approx(60 + 400 + 600)
    assert found.is_beyond(100_000, 0)
    assert not found.is_beyond(10_000, 1e5)


def test_least_squares_of_points_beside_a_line() -> None:
    found = fit([((0.0,), 1.0), ((1.0,), 1.0), ((2.0,), 4.0)])
    assert found.constant == pytest.approx(0.5)
    assert found.slopes == pytest.approx((1.5,))
    assert found.residual == pytest.approx(1 / 4)


@pytest.mark.parametrize("points", [[], [((1.0,), 2.0)], [((1.0, 2.0), 3.0), ((2.0, 4.0), 6.0), ((3.0, 6.0), 9.0)]])
def test_points_that_do_not_tell_the_things_apart_are_refused(points: list[Any]) -> None:
    with pytest.raises(ValueError, match="points"):
        fit(points)


def test_two_points_have_no_residual_to_show() -> None:
    assert not fit([((1.0,), 2.0), ((2.0,), 3.0)]).is_held


def run(**benchmarks: list[dict[str, Any]]) -> dict[str, Any]:
    """A file of `--json`, as far as it is read."""
    return {
        "machine": {"processor": "P", "cores": 2},
        "rounds": 1,
        "is_quick": False,
        "benchmarks": {name.replace("_", "-"): {"rounds": turns} for name, turns in benchmarks.items()},
    }


def turns(side: str, points: dict[int, dict[str, float]]) -> list[dict[str, Any]]:
    return [{"side": side, "at": at, "round": 1, **figures} for at, figures in points.items()]


FLOW = {"octets_there": 156.0, "messages_back": 3.0, "octets_back": 434.0, "octets_end": 256.0}
SITE = run(
    setup=[{"side": "zethane", "round": n, "cpu": cpu, "cpu_whole": 4.0, **FLOW} for n, cpu in ((1, 2.0), (2, 3.0))],
    scale=[
        *turns("1", {n: {"cpu": 2.0, "cpu_whole": 5.0, "start": 1 + n / 1e4, "ready": n / 1e4, "entries": 2.0 * n}
                     for n in (100, 10_000)}),
        *turns("10-across", {100: {"cpu": 4.0, "cpu_whole": 8.0, **FLOW}}),
    ],
    attestation=[
        *turns("1", {100: {"rest_read": 100.0, "rest_busy": 1.1}, 10_000: {"rest_read": 1_000.0, "rest_busy": 2.0}}),
        *turns("100", {100: {"rest_read": 3_000.0, "rest_busy": 4.0}}),
    ],
    standing=[
        *turns("spread", {n: {"concerned": n, "entries": 500 + 3.0 * n} for n in (100, 1_000, 10_000)}),
        *turns("core", {n: {"entries": 400.0} for n in (100, 1_000, 10_000)}),
    ],
    standing_policy=[
        *turns("edge", {n: {"entries": 100 + 4.0 * n} for n in (10, 100, 1_000)}),
        *turns("core", {n: {"entries": 100 + 4.0 * n} for n in (10, 100, 1_000)}),
    ],
    standing_switches=turns("core", {n: {"entries": 300 + 5.0 * n} for n in (8, 32, 64)}),
    memory=[turn for side in (1_000, 10_000) for turn in turns(str(side), {
        n: {"resident": 60 + side / 100 + n / 1_000} for n in (1_000, 30_000, 100_000)})],
)  # fmt: skip


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    (tmp_path / "run.json").write_text(json.dumps(SITE), encoding="utf-8")
    return read_runs([tmp_path / "run.json"])


def test_medians_of_all_rounds_are_read(measured: Measured) -> None:
    assert measured.get("setup", "zethane", "cpu") == 2.5
    assert measured.series("standing", "core", "entries") == [(100, 400.0), (1_000, 400.0), (10_000, 400.0)]


def test_a_site_is_reckoned_from_the_slopes_and_what_is_continued_is_said(measured: Measured) -> None:
    fitted = laws(measured)
    found = {one.text: one for one in projection(fitted, per_flow(measured, fitted), Scenario())}
    edge = found["entries of an edge switch, if it may reach every endpoint"]
    assert edge.figure == pytest.approx(500 + 3 * 100_000 + 4 * 10_000)
    assert edge.beyond == "endpoints (10.0 times), rules (10.0 times)"
    core = found["entries of a core switch"]
    assert core.figure == pytest.approx(400 + 4 * 10_000 + 5 * 1_000)
    memory = found["memory of the controller, with 1,500,000 live flows"]
    assert memory.figure == pytest.approx(60 + 1_000 + 1_500)
    assert memory.beyond == "sessions (10.0 times), live flows (15.0 times)"
    # Of a site with many sessions, though others were dearer and cheaper.
    assert found["flows that one core keeps up"].figure == pytest.approx(200_000)
    assert found["controllers with a core each, none busy more than half of the time"].figure == 1


def scale(side: str, at: int, **figures: float) -> dict[str, Any]:
    return {"side": side, "at": at, "round": 1, "cpu": 2.0, "cpu_whole": 5.0, **figures}


def read(tmp_path: Path, told: dict[str, Any]) -> Measured:
    (tmp_path / "told.json").write_text(json.dumps(told), encoding="utf-8")
    return read_runs([tmp_path / "told.json"])


def test_a_flow_is_not_charged_with_tables_that_are_read_back_beside_it(tmp_path: Path) -> None:
    """A controller at rest: a hundredth of a core, and ten microseconds for each entry."""
    told = json.loads(json.dumps(SITE))
    # In 40 µs per flow two entries per flow are read: 0.4 µs and 20 µs of the processor.
    turn = scale("10", 10_000, cpu_whole=26.4, whole_wall=40.0, whole_read=2.0)
    told["benchmarks"]["scale"]["rounds"].append(turn)
    measured = read(tmp_path, told)
    costs = {cost.text: cost for cost in per_flow(measured, laws(measured))}
    cost = costs["10 switches, 10,000 sessions"]
    assert [cost.whole, cost.besides, cost.own] == pytest.approx([26.4, 20.4, 6.0])
    assert cost.per_core == pytest.approx(1e6 / 6)
    # Nothing is taken off where it is not known what was read.
    assert costs["1 switch, 10,000 sessions"].own == 5.0
    # Nor can a flow be cheaper than being set up.
    told["benchmarks"]["scale"]["rounds"][-1]["cpu_whole"] = 21.0
    measured = read(tmp_path, told)
    assert {cost.text: cost for cost in per_flow(measured, laws(measured))}["10 switches, 10,000 sessions"].own == 2.0


def test_a_site_reads_its_tables_back_at_a_bounded_rate(measured: Measured) -> None:
    fitted = laws(measured)
    found = {one.text: one for one in projection(fitted, per_flow(measured, fitted), Scenario())}
    beside = found["processor time beside them, reading 5,000 entries back per second"]
    assert beside.figure == pytest.approx(0.01 + 5_000 * 1e-5)
    assert beside.beyond == "entries per second (1.7 times)"
    entries = 1_000 * (500 + 3 * 10_000 + 4 * 10_000)
    turn = found[f"time in which each of {entries:,} entries has been read back once"]
    assert turn.figure == pytest.approx(entries / 5_000 / 60)
    small = Scenario(switches=2, endpoints=100, rules=10)
    found = {one.text: one for one in projection(fitted, per_flow(measured, fitted), small)}
    # 1,140 entries each 30 s.
    assert found["processor time beside them, reading 38 entries back per second"].beyond == ""
    assert found["time in which each of 1,140 entries has been read back once"].figure == 0.5


def test_entries_of_sessions_and_others_take_different_times(tmp_path: Path) -> None:
    sizes = (("1", 100, 200, 1_000), ("1", 10_000, 20_000, 1_000), ("10", 10_000, 20_000, 50_000))
    told = run(scale=[
        scale(side, at, ready=0.1 + 4e-5 * own + 1e-5 * other, entries=own + other, bindings=own)
        for side, at, own, other in (*sizes, ("10-across", 10_000, 200_000, 20_000))
    ])  # fmt: skip
    found = next(one.fit for one in laws(read(tmp_path, told)) if one.law.key == "ready")
    assert found is not None
    assert found.slopes == pytest.approx((4e-5, 1e-5))
    assert found.is_held


def test_the_page_has_every_law_and_says_what_was_not_measured(measured: Measured) -> None:
    text = page(measured, Scenario())
    for law in LAWS:
        assert f"| {law.benchmark} |" in text
    assert "| seconds from a restart to full service, tables kept | \N{EN DASH} |" in text
    assert "not measured" in text
    assert "| octets of these | 434 | 434 |" in text
    widths = {line.count(" | ") for line in text.splitlines() if line.startswith("| ") and "memory" in line}
    assert widths <= {3, 4}


def test_a_page_of_nothing_is_a_page() -> None:
    assert "not measured" in page(Measured({}, []), Scenario())


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"is_quick": false, "benchmarks": {"a": {}}, "machine": {}, "rounds": 1}']
)
def test_what_is_no_run_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text, encoding="utf-8")
    with pytest.raises(LabError, match=r"bad\.json"):
        read_runs([tmp_path / "bad.json"])


def test_a_quick_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "quick.json").write_text(json.dumps({**SITE, "is_quick": True}), encoding="utf-8")
    with pytest.raises(LabError, match="quick"):
        read_runs([tmp_path / "quick.json"])


def test_the_later_file_has_the_benchmark(tmp_path: Path) -> None:
    for name, entries in (("a", 1.0), ("b", 2.0)):
        told = run(standing=turns("core", {100: {"entries": entries}}))
        (tmp_path / name).write_text(json.dumps(told), encoding="utf-8")
    assert read_runs([tmp_path / "a", tmp_path / "b"]).get("standing", "core", "entries", 100) == 2.0


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(SITE), encoding="utf-8")
    done = CliRunner().invoke(app, ["--model", str(tmp_path / "run.json"), "--markdown", str(tmp_path / "page.md")])
    assert done.exit_code == 0
    assert "1,000 switches" in (tmp_path / "page.md").read_text(encoding="utf-8")
    assert CliRunner().invoke(app, ["--model"]).exit_code == 2
