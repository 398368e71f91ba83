"""The quick attacks: all held under Zethane, all successful without it."""

from __future__ import annotations

import pytest

from attack.arena import Arena
from attack.cast import choose
from attack.command import DEFAULT_TOPOLOGY
from attack.runner import run_scenario
from attack.scenarios import ATTACKS
from lab.network import LabNetwork
from labsite import TOPOLOGIES
from zethane.app.topology import load_topology

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]


HELD = pytest.param(True, id="held")
SUCCEEDING = pytest.param(False, id="succeeding without Zethane", marks=pytest.mark.slow)


@pytest.mark.parametrize("protected", [HELD, SUCCEEDING])
def test_quick_attacks_are(protected: bool) -> None:
    topology = load_topology(TOPOLOGIES / DEFAULT_TOPOLOGY)
    assert topology.network is not None
    with (
        LabNetwork(topology.network, topology.folder, unprotected=not protected) as network,
        Arena(network, topology, choose(topology)) as arena,
    ):
        results = [run_scenario(arena, scenario) for scenario in ATTACKS.select([], [], quick=True)]
    assert [result.view() for result in results if not result.as_wanted(protected=protected)] == []
    assert sum(result.status == ("held" if protected else "passed") for result in results) > len(results) / 2
