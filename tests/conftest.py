"""What all tests share: where they run when two processes run them."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
GROUPS = ("lab", "ovs", "perf")
"""Folders whose tests run one after the other: they load the same switches, and some count every packet."""


@pytest.hookimpl(tryfirst=True)  # before those of the tests' names that say which process takes them are made
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of such a folder in one process; the others go wherever there is time."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if folder in GROUPS:
            item.add_marker(pytest.mark.xdist_group(folder))
