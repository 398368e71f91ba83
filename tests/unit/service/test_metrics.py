"""Everything that is counted can be seen, by switch, port and reason."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from fakes.frames import Host
from fakes.site import Site
from zethane.pipeline.fields import DENY_METER, verify_meter
from zethane.service.metrics import HELP, metrics_of
from zethane.service.switch import PacketIn

SERVICE = Path(__file__).parents[3] / "controller" / "zethane" / "service"
RADIUS = SERVICE.parent / "adapters" / "radius"
COUNTERS = ("counters", "_counters", "_totals")
"""What adds to the counters of the state, by its own name."""
STRANGER = Host(2, "02:00:00:00:00:66", "10.0.0.66")


def found(site: Site, name: str) -> list[tuple[Mapping[str, str], float]]:
    (metric,) = [metric for metric in metrics_of(site.state) if metric.name == name]
    return list(metric.samples)


async def test_denials_are_counted_by_switch_port_and_reason() -> None:
    site = await Site().start()
    for _ in range(200):
        site.s1.send(2, STRANGER.udp(Host(3, "02:00:00:00:00:67", "10.0.0.67"), 1, 53))
    assert found(site, "denied") == [({"switch": "s1", "port": "2", "reason": "unauthenticated"}, 200.0)]
    assert found(site, "denied_unlogged")[0][1] > 100


async def test_drops_of_queues_and_meters_are_counted_by_port() -> None:
    site = await Site().start()
    for port in (2, 2, 999):
        site.admin.packet_dropped(site.s1, PacketIn(port, 4, 0, 0, bytes(64)))
    site.state.fabric.points[site.s1.dpid].dropped = {DENY_METER: 5, verify_meter(3): 7}
    assert found(site, "packet_ins_dropped") == [
        ({"switch": "s1", "port": "0"}, 1.0),
        ({"switch": "s1", "port": "2"}, 2.0),
    ]
    assert found(site, "meter_dropped") == [
        ({"switch": "s1", "port": "fabric", "meter": "denied"}, 5.0),
        ({"switch": "s1", "port": "3", "meter": "new-flows"}, 7.0),
    ]
    assert site.records.reasons() == ["queue-full"] * 3


async def test_no_name_is_there_twice_and_every_one_is_explained() -> None:
    site = await Site().start()
    site.state.counters["something_new"] += 1
    metrics = list(metrics_of(site.state))
    names = [metric.name for metric in metrics]
    assert len(names) == len(set(names))
    assert all(metric.help for metric in metrics)
    assert found(site, "something_new") == [({}, 1.0)]


def test_counters_that_are_explained_are_counted_somewhere() -> None:
    """A name that is counted nowhere would always be 0."""
    counted = set()
    for file in (*SERVICE.glob("*.py"), *RADIUS.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") in COUNTERS:
                counted |= {one.value for one in ast.walk(node.slice) if isinstance(one, ast.Constant)}
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "_count":
                counted |= {f"radius_{one.value}" for one in ast.walk(node) if isinstance(one, ast.Constant)}
    assert counted >= HELP.keys()
