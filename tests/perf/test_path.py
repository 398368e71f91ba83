"""The load of the data path makes what the kernel and a switch take for TCP and UDP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.interrupts import Interrupts
from lab.ledger import Ledger
from perf.data_path import PORTS, DataPath
from perf.network import BenchNetwork, bench_network
from perf.path_program import PathProgram

pytestmark = [pytest.mark.perf, pytest.mark.ovs]


@pytest.fixture
def network() -> Iterator[BenchNetwork]:
    """A bridge with two clients and a server, for which programs send."""
    ledger = Ledger.open_new()
    try:
        with bench_network(ledger, Interrupts(), clients=2, stack=False) as network:
            yield network
    finally:
        assert ledger.take_down() == []


def test_conntrack_follows_every_connection_that_is_held_and_forgets_those_that_are_closed(
    network: BenchNetwork, tmp_path: Path
) -> None:
    path, program = DataPath(network, {}, stack=False), PathProgram(tmp_path)
    with path.given_to("firewall") as ends:
        with program.held(ends, PORTS, window=32, probes=20) as held:
            for total in (1020, 2040):
                told = held.grow(1000)
                assert (told["held"], told["lost"]) == (total, 0)
                assert path.tracked("firewall") == total
                assert told["trip_p50"] > 0
        for proto in ("tcp", "udp"):
            told = program.connections(ends, PORTS, 0.3, 16, proto)
            assert told["made"] > 0
            assert told["lost"] == 0
    assert path.tracked("firewall") == 0


def test_what_the_firewall_made_by_hand_does_not_allow_is_not_made(network: BenchNetwork, tmp_path: Path) -> None:
    path, program = DataPath(network, {}, stack=False), PathProgram(tmp_path)
    with (
        path.given_to("firewall") as (one, other, server),
        pytest.raises(LabError, match="no connection was made"),
    ):
        program.connections((server, other, one), PORTS, 0.3, 16, "tcp")
