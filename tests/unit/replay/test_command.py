"""`zethane replay`: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fakes import captures
from fakes.frames import ACK, SYN, SYN_ACK, Host
from zethane.cli.main import main

TOPOLOGY = str(Path(__file__).parents[3] / "topologies" / "three-tier")

LAPTOP = Host(1, "02:00:0a:00:00:15", "10.0.0.21")
DESK = Host(2, "02:00:0a:00:00:16", "10.0.0.22")
WEB = Host(3, "02:00:0a:00:00:0b", "10.0.0.11")
DB = Host(4, "02:00:0a:00:00:0e", "10.0.0.14")
PORTAL = Host(5, "02:00:0a:00:00:fe", "10.0.0.254")
ELSEWHERE = Host(6, "02:aa:00:00:00:01", "172.16.5.5")

PACKETS: list[captures.Taken] = [
    (1700000000.0, LAPTOP.tcp(WEB, 40000, 443, SYN)),
    (1700000000.1, WEB.tcp(LAPTOP, 443, 40000, SYN_ACK)),
    (1700000000.2, LAPTOP.tcp(WEB, 40000, 443, ACK, b"x" * 900)),
    (1700000001.0, DESK.tcp(WEB, 40000, 443, SYN)),
    (1700000002.0, WEB.tcp(DB, 40000, 22, SYN)),
    (1700000003.0, ELSEWHERE.tcp(WEB, 40000, 443, SYN)),
    (1700000004.0, LAPTOP.tcp(PORTAL, 40000, 8080, SYN)),
    (1700000005.0, LAPTOP.arp(WEB.ip)),
]


@pytest.fixture
def capture(tmp_path: Path) -> str:
    file = tmp_path / "office.pcap"
    file.write_bytes(captures.pcap(PACKETS))
    return str(file)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["zethane", "replay", *arguments])
    try:
        return main()
    except SystemExit as end:
        return int(end.code or 0)


def test_what_people_see(capture: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, capture, TOPOLOGY) == 0
    out, err = capsys.readouterr()
    assert not err
    assert out.startswith(f"{capture}: pcap, Ethernet; 2023-11-14T22:13:20.000Z to ")
    assert "8 packets, 1,374 bytes, 5 flows: 2 allowed, 2 denied, 1 unattributed" in out
    for line in ("condition-not-met", "deny-rule no-ssh-db", "172.16.5.5", "ARP, answered by the controller"):
        assert line in out


def test_json_has_every_sum(capture: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, capture, TOPOLOGY, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["capture"]["packets"] == 8
    assert told["capture"]["broken"] is None
    assert {name: told["flows"][name]["flows"] for name in ("allow", "deny", "unattributed")} == {
        "allow": 2,
        "deny": 2,
        "unattributed": 1,
    }
    pairs = {(pair["from"], pair["to"]): pair for pair in told["pairs"]}
    assert pairs["staff", "web"]["allow"]["packets"] == 3
    assert pairs["staff", "web"]["deny"]["flows"] == 1
    assert pairs["staff", "the network itself"]["allow"]["flows"] == 1
    assert [row["address"] for row in told["unattributed"]] == ["172.16.5.5"]
    assert told["handled"][0]["reason"] == "arp"
    assert {flow["source"] for flow in told["largest"]} >= {"10.0.0.21", "172.16.5.5"}


def test_every_flow_can_be_written(capture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "flows.jsonl"
    assert run(monkeypatch, capture, TOPOLOGY, "--flows", str(written), "--limit", "0") == 0
    flows = [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()]
    assert len(flows) == 5
    first = next(flow for flow in flows if flow["decision"] == "allow" and flow["rule"])
    assert (first["rule"], first["packets"], first["bytes"]) == ("staff-https", 3, 60 + 60 + 954)
    assert (first["from"]["principal"], first["to"]["place"]) == ("user:alice", "web")
    assert (first["first"], first["service"], first["opening"]) == ("2023-11-14T22:13:20.000Z", "tcp/443", "syn")


def test_the_status_says_no_only_when_asked_to(capture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, capture, TOPOLOGY) == 0
    assert run(monkeypatch, capture, TOPOLOGY, "--fail-on-deny") == 1


def test_assumptions_and_another_policy(
    capture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "version: 1\nsegments: {web: {labels: {tier: web}}, office: {groups: [office]}}\n"
        "rules: [{id: all, from: [office], to: [web], services: [tcp/443]}]\n",
        encoding="utf-8",
    )
    assumed = ("--assume", "172.16.0.0/12=segment:office", "--json")
    assert run(monkeypatch, capture, TOPOLOGY, "--policy", str(policy), *assumed) == 0
    assert json.loads(capsys.readouterr().out)["rules"]["all"]["flows"] == 1
    assert run(monkeypatch, capture, TOPOLOGY, "--json", "--assume", "outside") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["unattributed"] == []
    assert told["flows"]["deny"]["flows"] == 3


def test_a_mapping_file_comes_before_the_topology(
    capture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping = tmp_path / "map.yaml"
    mapping.write_text(
        "10.0.0.22: user:alice on alice-laptop\n172.16.0.0/16: {segment: staff}\n"
        "172.16.5.5: segment:staff with mfa\n'02:00:0a:00:00:0b': workload:web2\n",
        encoding="utf-8",
    )
    assert run(monkeypatch, capture, TOPOLOGY, "--map", str(mapping), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: told["flows"][name]["flows"] for name in ("allow", "deny", "unattributed")} == {
        "allow": 4,
        "deny": 1,
        "unattributed": 0,
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("10.0.0.1/24: outside", 1, "without host bits"),
        ("a: outside\nb: outside", 2, "or a MAC address"),
        ("10.0.0.1: user:allice", 1, "did you mean 'alice'?"),
        ("10.0.0.1: user:alice\n10.0.0.2: segment:wep", 2, "did you mean 'web'?"),
        ("10.0.0.1: {segment: web, user: alice}", 1, "expected one of"),
        ("10.0.0.1: nobody", 1, "expected user:NAME"),
        ("10.0.0.1: 7", 1, "expected text"),
        ("10.0.0.1: host:web1 with mfa", 1, "expected host:web1 alone"),
        ("10.0.0.1: user:alice on toaster", 1, "no device is named 'toaster'"),
        ('"01:00:00:00:00:01": outside', 1, "one card"),
        ('10.0.0.1: outside\n"10.0.0.1/32": outside', 2, "mapped already"),
    ],
)
def test_mistakes_of_a_mapping_file_have_their_line(
    text: str,
    line: int,
    message: str,
    capture: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mapping = tmp_path / "map.yaml"
    mapping.write_text(text, encoding="utf-8")
    assert run(monkeypatch, capture, TOPOLOGY, "--map", str(mapping)) == 2
    err = capsys.readouterr().err
    assert f"{mapping}:{line}:" in err
    assert message in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--assume", "10.0.0.0/8=nobody"),
        ("--assume", "10.0.0.1/8=outside"),
        ("--assume", "nobody"),
        ("--at", "yesterday"),
        ("--at", "2026-11-23T22:00:00"),
        ("--at", "9999-12-31T23:59:59-12:00"),
        ("--policy", "/no/such/policy"),
        ("--map", "/no/such/map"),
        ("--flows", "/no/such/folder/flows"),
    ],
)
def test_wrong_options_are_wrong_input(
    arguments: tuple[str, str], capture: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, capture, TOPOLOGY, *arguments) == 2
    assert capsys.readouterr().err


def test_what_is_no_capture_is_wrong_input_and_what_is_cut_is_not(
    capture: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(Path(TOPOLOGY) / "policy.yaml"), TOPOLOGY) == 2
    assert "expected a capture" in capsys.readouterr().err
    Path(capture).write_bytes(captures.pcap(PACKETS)[:-7])
    assert run(monkeypatch, capture, TOPOLOGY) == 0
    assert "The capture is cut off at byte" in capsys.readouterr().out
