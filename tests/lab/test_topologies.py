"""Every topology that is shipped, through the command that its users run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.stream import Stream
from labsite import TOPOLOGIES, Site, lab_report, running

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]


SLOW = ("branch", "leaf-spine", "office")
NAMES = [
    pytest.param(path.name, marks=[pytest.mark.slow] if path.name in SLOW else [])
    for path in sorted(TOPOLOGIES.iterdir())
    if path.is_dir()
]


GRANTED = [
    pytest.param(path.name, marks=[] if path.name == "three-tier" else [pytest.mark.slow])
    for path in sorted(TOPOLOGIES.iterdir())
    if path.is_dir()
]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_observed_is_what_the_policy_says(name: str, tmp_path: Path) -> None:
    """Real logins and real connections for every pair and service; not one cell differs."""
    _assert_as_the_policy_says(lab_report(name, tmp_path / "cells.json"))


@pytest.mark.parametrize("name", GRANTED)
def test_it_is_the_same_when_switches_let_connections_in_by_themselves(name: str, tmp_path: Path) -> None:
    _assert_as_the_policy_says(lab_report(name, tmp_path / "cells.json", "--enforce", "switch"))


def _assert_as_the_policy_says(report: Any) -> None:
    assert report["summary"]["mismatches"] == 0
    assert report["summary"]["cells"] == len(report["cells"]) > 0
    assert {cell["decision"] for cell in report["cells"]} == {"allow", "deny"}
    assert all(cell["observed"] == cell["decision"] for cell in report["cells"])


def test_a_failed_link_is_routed_around_and_core_switches_know_no_hosts() -> None:
    with running(TOPOLOGIES / "leaf-spine", login=("api1", "db1", "db2", "db3", "db4")) as site:
        network = site.network
        before = {name: _standing(site, name) for name in ("spine1", "spine2")}
        site.login("api2", "api3", "api4")
        assert {name: _standing(site, name) for name in before} == before
        near = network.network.hosts["api1"].switch
        target = next(name for name in ("db2", "db3", "db4", "db1") if network.network.hosts[name].switch != near)
        links = [link for link in network.network.links if near in (link.a[0], link.b[0])]
        assert len(links) == 2
        with Stream(network.hosts["api1"], network.hosts[target], "tcp", 5432) as stream:
            for link in links:
                stream.wait_received(50)
                network.set_link(link, up=False)
                stream.wait_received(100, timeout=30)
                network.set_link(link, up=True)
            stream.wait_received(50)


def _standing(site: Site, switch: str) -> int:
    """The number of entries, without those of connections to the portal, which is at a spine."""
    return sum("cookie=0xffffff" not in line for line in site.entries(switch))
