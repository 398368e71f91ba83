"""Real Open vSwitch: nothing is skipped, a machine without it fails loudly."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab import openvswitch as daemons
from openvswitch import Bridge


@pytest.fixture(scope="session")
def switches() -> None:
    """Open vSwitch runs, or the test fails with the reason."""
    assert os.geteuid() == 0, "tests of Open vSwitch need root"
    daemons.ensure_running()


@pytest.fixture
def bridge(switches: None) -> Iterator[Bridge]:  # noqa: ARG001  # a fixture cannot use usefixtures
    """A bridge with ports 1 to 6 that is gone after the test."""
    with Bridge(6) as made:
        yield made
