"""Captures and scenarios through the lab: what agrees, what does not, and what must be contained."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from lab.shell import run
from labsite import PORTAL_ONLY, TOPOLOGIES
from replay.compare import LiveResult, flow_view
from replay.ground import Ground, ground_on
from replay.judge import Verdict, reach_text
from replay.live import Order, live_on
from replay.play import play, play_on
from replay.read import load_scenario
from zethane.app.topology import load_topology
from zethane.policy.service import Service
from zethane.replay.given import attribution_of

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

ROOT = Path(__file__).resolve().parents[2]
LOGINS = ("web1", "app1", "db1", "desk")
LIBRARY = sorted(TOPOLOGIES.glob("*/scenarios/*.yaml"))
ANSWERED = f"""
version: 1
topology: {PORTAL_ONLY}
login: [web1, app1, db1]
about: A connection with its answer, by hand, then without its session.
steps:
  - flow: {{from: web1, to: app1, service: tcp/8080, payload: {{size: 5000}}}}
    expect: {{decision: allow, rule: web-app}}
  - {{flow: {{from: web1, to: db1, service: postgres}}, expect: {{decision: deny, reason: no-rule}}}}
  - packets:
      - {{from: app1, to: db1, tcp: {{sport: 5000, dport: 5432}}}}
      - {{from: db1, to: app1, tcp: {{sport: 5432, dport: 5000, flags: SA}}}}
      - {{from: app1, to: db1, tcp: {{sport: 5000, dport: 5432, flags: PA}}, payload: {{text: select}}, count: 3}}
    expect: {{decision: allow, rule: app-db}}
  - packets: [{{from: db1, to: app1, tcp: {{sport: 5432, dport: 5000}}}}]
    expect: {{decision: deny, reason: no-rule}}
  - {{revoke: app1}}
  - packets:
      - {{from: app1, to: db1, tcp: {{sport: 5000, dport: 5432, flags: PA}}, payload: {{text: more}}}}
      - {{from: db1, to: app1, tcp: {{sport: 5432, dport: 5000, flags: PA}}, payload: {{text: rows}}}}
    expect: deny
  - {{login: app1}}
  - scan: {{from: app1, to: [db1, web1, ghost], service: [tcp/5430-5432, icmp]}}
    expect: {{only: [app1 -> db1 tcp/5432, app1 -> web1 icmp]}}
contained:
  - {{from: web1, only: [app1]}}
  - {{never: [ghost, staff]}}
"""
WRONG = f"""
version: 1
topology: {PORTAL_ONLY}
login: [web1, app1]
about: Expects what is not so, and states what is not true.
steps:
  - {{flow: {{from: web1, to: app1, service: tcp/8080}}, expect: deny}}
  - {{flow: {{from: web1, to: app1, service: tcp/22}}, expect: allow}}
  - {{flow: {{from: web1, to: app1, service: dns}}, expect: {{decision: allow, rule: web-app}}}}
contained:
  - {{from: web1, never: app}}
"""


@pytest.fixture(scope="module")
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    request.getfixturevalue("switches")
    with ground_on(load_topology(PORTAL_ONLY), logins=LOGINS, services=[Service("tcp", 5430, 5432)]) as found:
        yield found


def conversation(source: str, target: str, sport: int, dport: int, begins: float, *, opening: bool = True) -> list[Any]:
    """A connection with its data, its end and the acknowledgements between."""
    there, back = {"src": source, "dst": target}, {"src": target, "dst": source}
    ports, answers = {"sport": sport, "dport": dport}, {"sport": dport, "dport": sport}
    packets = [IP(**there) / TCP(**ports, flags="S"), IP(**back) / TCP(**answers, flags="SA")] if opening else []
    for number in range(3):
        packets.append(IP(**there) / TCP(**ports, flags="PA", seq=number) / Raw(b"question"))
        packets.append(IP(**back) / TCP(**answers, flags="PA", seq=number) / Raw(b"answer" * 100))
    packets += [IP(**there) / TCP(**ports, flags="FA"), IP(**back) / TCP(**answers, flags="FA")]
    frames = [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet for packet in packets]
    for number, frame in enumerate(frames):
        frame.time = begins + number / 1000
    return frames


def capture(tmp_path: Path, port: int = 4000) -> Path:
    """Of hosts elsewhere: 192.168.1.0/24 has the web servers, 192.168.2.1 the application, 192.168.3.1 the database."""
    web, app, db, stranger = "192.168.1.1", "192.168.2.1", "192.168.3.1", "192.168.9.1"
    packets = conversation(web, app, port, 8080, 10.0)
    packets += conversation(web, db, port + 1, 5432, 10.1)
    packets += conversation(app, db, port + 2, 5432, 10.2)
    packets += conversation(app, db, port + 3, 5432, 10.3, opening=False)
    packets += [
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / IP(src=web, dst=app)
        / UDP(sport=port + 10 + n, dport=53)
        / Raw(b"x" * n)
        for n in range(4)
    ]
    packets += [
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=stranger, dst=web) / ICMP(id=1, seq=n)
        for n in range(2)
    ]
    packets += [
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / IP(src=web, dst=db, frag=4, proto=6, id=3)
        / Raw(b"x" * 40)
    ]
    for number, packet in enumerate(packets[-7:]):
        packet.time = 10.5 + number / 1000
    file = tmp_path / "elsewhere.pcap"
    wrpcap(str(file), packets)
    (tmp_path / "map.yaml").write_text(
        "192.168.1.0/24: segment:web\n192.168.2.1: {workload: app1}\n192.168.3.1: host:db1\n192.168.9.1: host:ghost\n",
        encoding="utf-8",
    )
    return file


def replayed(ground: Ground, tmp_path: Path, port: int = 4000) -> LiveResult:
    """The capture through the lab; the port is that of the first flow."""
    order = Order(str(capture(tmp_path, port)), tmp_path / "map.yaml", speed=10.0)
    return live_on(ground, order, attribution_of(ground.topology, None, order.map_file))


def test_decisions_counters_and_arrivals_agree(ground: Ground, tmp_path: Path) -> None:
    ground.log_in(*LOGINS)
    result = replayed(ground, tmp_path)
    assert result.ok, [flow_view(flow) for flow in result.differing] or result.faults
    flows = {(flow.outlook.source, flow.outlook.key.dport, flow.outlook.key.sport): flow for flow in result.flows}
    assert flows["web1", 8080, 4000].arrived == (5, 5)
    assert flows["app1", 5432, 4002].counted is not None
    assert flows["web1", 5432, 4001].outlook.text == "deny no-rule"
    assert flows["app1", 5432, 4003].outlook.text == "deny no-flow"
    assert (result.count(passing=True), result.count(passing=False)) == (6, 3)
    assert result.script.left_out == {"fragments without their first": 1}


def test_an_entry_of_somebody_else_is_noticed(ground: Ground, tmp_path: Path) -> None:
    ground.log_in(*LOGINS)
    bridge, port = ground.network.bridge("s1"), ground.network.network.hosts["db1"].port
    foreign = f"table=0,priority=65535,in_port={port},tcp"
    run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", bridge, f"{foreign},actions=drop"])
    try:
        result = replayed(ground, tmp_path, 6000)
    finally:
        run(["ovs-ofctl", "-O", "OpenFlow13", "--strict", "del-flows", bridge, foreign])
    assert not result.ok
    differing = {(flow.outlook.source, flow.outlook.key.sport): flow.differs for flow in result.differing}
    assert differing == {("app1", 6002): ("back: of 5 packets 5 had to arrive, 0 did",)}


def test_a_capture_without_parts_sends_nothing_and_proves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "replay", "--live", str(capture(tmp_path)), str(PORTAL_ONLY)]
    done = subprocess.run(
        [*command, "--speed", "quick"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "mininet")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "--speed: expected max, or a number" in done.stderr


def wrong_in(verdict: Verdict) -> str:
    """What of a scenario did not go as its file says: no more, or pytest cuts it off."""
    steps = [f"step {step.result.step.number}: {fault}" for step in verdict.steps for fault in step.faults]
    broken = [f"{one.statement.text}: {reach_text(reach)}" for one in verdict.contained for reach in one.reached]
    return "\n".join((*steps, *broken)) or "nothing got through where nobody stops it"


def test_a_scenario_goes_as_its_file_says(ground: Ground, tmp_path: Path) -> None:
    file = tmp_path / "answered.yaml"
    file.write_text(ANSWERED, encoding="utf-8")
    ground.log_in(*LOGINS)
    verdict = play_on(ground, load_scenario(file), tmp_path, 0.0, lambda _: None)
    assert verdict.ok, wrong_in(verdict)
    assert all(step.ok for step in verdict.steps)


def test_wrong_expectations_and_broken_statements_end_with_status_1(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "replay", "--scenario", str(file)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "mininet"), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "web1 -> app1 tcp/8080: expected nothing to arrive, but" in said
    assert "web1 -> app1 tcp/22: expected it to arrive, but nothing did" in said
    assert "expected the rule web-app in the decision log, found dns" in said
    assert "nothing of web1 reached app: broken web1 reached app1 with" in said


@pytest.mark.slow
@pytest.mark.parametrize("unprotected", [False, True], ids=["contained", "succeeding without Zethane"])
@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: f"{file.parents[1].name}-{file.stem}")
def test_the_library_is(file: Path, unprotected: bool) -> None:
    verdict = play(load_scenario(file), unprotected=unprotected)
    assert verdict.ok, wrong_in(verdict)
