"""`zethane policy recommend` on a log that the controller's own journal wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap
from typer.testing import CliRunner, Result

from fakes.decision_log import WrittenLog
from zethane.app.topology import load_topology
from zethane.cli.policy import app

ROOT = Path(__file__).resolve().parents[3]
THREE_TIER = str(ROOT / "topologies" / "three-tier")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["recommend", *arguments])


@pytest.fixture
def log(tmp_path: Path) -> str:
    """Two flows of one rule, one of another, and a denial."""
    topology = load_topology(THREE_TIER)
    written = WrittenLog()
    for host in ("laptop", "web1", "web2", "app1", "db1"):
        principal = topology.host_principal(host)
        assert principal is not None
        written.login(principal, str(topology.hosts[host].interfaces[0].ip))
    address = {name: str(host.interfaces[0].ip) for name, host in topology.hosts.items()}
    for web in ("web1", "web2"):
        written.end(written.flow(address[web], address["app1"], "web-app", 8080), "web-app", 1.0)
    written.flow(address["laptop"], address["web1"], "staff-https", 443)
    written.denial(address["web1"], address["db1"], 22)
    file = tmp_path / "decisions.jsonl"
    file.write_bytes(b"".join(written.lines))
    return str(file)


def test_the_policy_is_a_file_that_loads_and_passes_its_tests(log: str, tmp_path: Path) -> None:
    done = run(THREE_TIER, "--log", log, "-o", str(tmp_path / "new.yaml"))
    assert done.exit_code == 0, done.output
    assert "4 flows: 2 rules" in done.stderr
    assert "Never used:\n  staff-ssh (" in done.stderr
    assert "1 flow of web to db, tcp/22: it was denied" in done.stderr
    new = (tmp_path / "new.yaml").read_text()
    assert "{id: web-app, from: [web], to: [app], services: [tcp/8080]}" in new
    assert "{id: staff-https, from: [staff], to: [web], services: [tcp/443], when: {mfa: true}}" in new
    assert "# from 2 (workload:web1, workload:web2) to 1 (workload:app1)" in new
    assert "{id: no-ssh-db, from: [any], to: [db], services: [ssh], action: deny}" in new
    assert "deny: ghost -> web1" in new
    assert "allow: laptop -> web2, service: ssh" not in new, "nobody did that"
    again = run(THREE_TIER, "--log", log, "-o", str(tmp_path / "new.yaml"))
    assert again.exit_code == 2
    assert "is there already" in again.output


def test_json_has_all_of_it(log: str) -> None:
    done = run(THREE_TIER, "--log", log, "--services", "protocol", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [(rule["id"], rule["services"], rule["evidence"]["flows"]) for rule in found["rules"]] == [
        ("staff-https", ["tcp"], 1),
        ("web-app", ["tcp"], 2),
    ]
    assert found["log"]["decisions"] == 4
    assert {rule["rule"] for rule in found["unused"]} >= {"dns", "ping-web", "no-ssh-db"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((THREE_TIER,), "--log: expected decision logs"),
        ((THREE_TIER, "--log", "/nowhere"), "/nowhere: cannot be read"),
        ((THREE_TIER, "--log", "x", "--services", "ports"), "expected port, named or protocol"),
        ((THREE_TIER, "--log", "x", "--since", "yesterday"), "--since: expected a time with its zone"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.output


def test_a_capture_is_read_as_well(tmp_path: Path) -> None:
    """From two servers that the topology knows to an address that is assumed."""
    file = tmp_path / "traffic.pcap"
    wrpcap(
        str(file),
        [
            Ether() / IP(src=source, dst="10.9.9.9") / TCP(sport=40000, dport=port, flags="S")
            for source, port in (("10.0.0.11", 80), ("10.0.0.12", 80), ("10.0.0.12", 81))
        ],
    )
    done = run(THREE_TIER, "--pcap", str(file), "--assume", "10.9.0.0/16=segment:db")
    assert done.exit_code == 0, done.output
    assert "{id: web-db-tcp-80-81, from: [web], to: [db], services: [tcp/80-81]}" in done.stdout
    assert "3 flows: 1 rule," in done.stderr
    scan = run(THREE_TIER, "--pcap", str(file), "--assume", "10.9.0.0/16=segment:db", "--answered")
    assert "0 flows: 0 rules" in scan.stderr, "nobody answered"
