"""The quick attacks: all held under Zethane, all successful without it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from attack.arena import Arena
from attack.cast import choose
from attack.command import DEFAULT_TOPOLOGY
from attack.runner import run_scenario
from attack.scenario import Scenario
from attack.scenarios import ATTACKS
from lab.granted import Enforce, enforced_by
from lab.network import LabNetwork
from labsite import TOPOLOGIES
from zethane.app.topology import Topology, load_topology

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]


HELD = pytest.param(True, "flow", id="held")
HELD_BY_GRANTS = pytest.param(True, "switch", id="held under grants")
SUCCEEDING = pytest.param(False, "flow", id="succeeding without Zethane", marks=pytest.mark.slow)


@pytest.mark.parametrize(("protected", "enforce"), [HELD, HELD_BY_GRANTS, SUCCEEDING])
def test_quick_attacks_are(protected: bool, enforce: Enforce) -> None:
    with enforced_by(load_topology(TOPOLOGIES / DEFAULT_TOPOLOGY), enforce) as topology:
        _try(topology, ATTACKS.select([], [], quick=True), protected=protected)


@pytest.mark.slow
def test_all_attacks_are_held_under_grants() -> None:
    with enforced_by(load_topology(TOPOLOGIES / DEFAULT_TOPOLOGY), "switch") as topology:
        _try(topology, ATTACKS.select([], [], quick=False), protected=True)


def _try(topology: Topology, scenarios: Sequence[Scenario], *, protected: bool) -> None:
    assert topology.network is not None
    with (
        LabNetwork(topology.network, topology.folder, unprotected=not protected) as network,
        Arena(network, topology, choose(topology)) as arena,
    ):
        results = [run_scenario(arena, scenario) for scenario in scenarios]
    assert [result.view() for result in results if not result.as_wanted(protected=protected)] == []
    assert sum(result.status == ("held" if protected else "passed") for result in results) > len(results) / 2
