"""Real networks for the tests: nothing is skipped, a machine without Open vSwitch fails loudly."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab import openvswitch
from lab.network import LabNetwork
from networks import network_text
from zethane.network.load import parse_network


@pytest.fixture(scope="session")
def switches() -> None:
    """Open vSwitch runs, or the test fails with the reason."""
    assert os.geteuid() == 0, "tests in Mininet need root"
    openvswitch.ensure_running()


@pytest.fixture
def unprotected(switches: None) -> Iterator[LabNetwork]:  # noqa: ARG001 - a fixture cannot use usefixtures
    """Three hosts with IPv4 and IPv6 on one switch that lets everything pass."""
    network = parse_network(network_text(ipv6=True), "network.yaml")
    with LabNetwork(network, unprotected=True) as lab:
        yield lab
