"""The file of a scenario: what it says, and what it may not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from labsite import PORTAL_ONLY, TOPOLOGIES
from replay.read import load_scenario, parse_scenario, scenario_files
from replay.scenario import Attempt, Scenario
from replay.schema import json_schema
from zethane.errors import InputError

HEAD = f"""
version: 1
topology: {PORTAL_ONLY}
about: For a test.
"""
DOCUMENTATION = TOPOLOGIES.parent / "docs" / "replay.md"
LIBRARY = sorted(TOPOLOGIES.glob("*/scenarios/*.yaml"))


def load(tmp_path: Path, text: str) -> Scenario:
    file = tmp_path / "scenario.yaml"
    file.write_text(HEAD + text, encoding="utf-8")
    return load_scenario(file)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(tmp_path, text)
    file = f"{tmp_path / 'scenario.yaml'}:"
    return [str(problem).removeprefix(file) for problem in caught.value.problems]


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: f"{file.parents[1].name}-{file.stem}")
def test_the_library_can_be_played_and_says_what_must_be_contained(file: Path) -> None:
    scenario = load_scenario(file)
    assert scenario.contained
    assert all(one.sources and one.never for one in scenario.contained)
    assert {answer for step in scenario.steps for answer in step.expected.values()} == {"allow", "deny"}


def test_steps_are_attempts_with_an_answer_each(tmp_path: Path) -> None:
    scenario = load(
        tmp_path,
        """
steps:
  - {flow: {from: web1, to: [db1, app1], service: [postgres, dns]}, expect: deny}
  - scan: {from: ghost, to: [web1, ghost], service: tcp/20-22}
    expect: {only: ["ghost -> web1 tcp/21"]}
  - packets:
      - {from: web1, to: 10.0.0.14, tcp: {dport: 22}}
      - {from: web1, to: db1, arp: {op: reply}}
    expect: {decision: deny, reason: no-rule}
""",
    )
    flow, scan, packets = scenario.steps
    assert [str(one) for one in flow.attempts] == [
        f"web1 -> {host} {service}" for host in ("db1", "app1") for service in ("tcp/5432", "udp/53", "tcp/53")
    ]
    assert {str(one): answer for one, answer in scan.expected.items()} == {
        "ghost -> web1 tcp/20": "deny",
        "ghost -> web1 tcp/21": "allow",
        "ghost -> web1 tcp/22": "deny",
    }
    assert [str(one) for one in packets.attempts] == ["web1 -> 10.0.0.14 tcp/22", "web1 -> db1 arp:reply"]
    assert (packets.reason, packets.rule) == ("no-rule", None)


def test_statements_name_hosts_and_segments(tmp_path: Path) -> None:
    scenario = load(
        tmp_path,
        """
steps: [{wait: 1s}]
contained:
  - {from: web, never: [db, ghost]}
  - {never: staff}
  - {from: ghost, only: [app1]}
""",
    )
    one, two, three = scenario.contained
    assert (one.sources, one.never) == ({"web1", "web2"}, {"db1", "ghost"})
    assert two.sources > {"web1", "ghost"}
    assert two.never == {"laptop", "desk"}
    assert three.never == two.sources - {"app1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps: []", ["5:8: steps: expected at least 1 entry"]),
        (
            "steps: [{flow: {from: web1, to: db1, service: postgres}}]",
            [
                "5:9: steps[0]: expected the key expect with flow, scan, packets, and with nothing else",
            ],
        ),
        (
            "steps: [{login: web1, logout: web1}]",
            [
                "5:9: steps[0]: expected exactly one of flow, scan, packets, login, logout, revoke, block, unblock, "
                "at, wait"
            ],
        ),
        (
            "steps: [{flow: {from: web1, to: dbl, service: postgress}, expect: deny}]",
            [
                "5:33: steps[0].flow.to: no host is named 'dbl'; did you mean 'db1'?",
                "5:47: steps[0].flow.service: expected PROTO, PROTO/PORT or PROTO/LOW-HIGH with PROTO one of tcp, udp, "
                "sctp, icmp, any, or a name from the policy's services; found 'postgress'; did you mean 'postgres'?",
            ],
        ),
        (
            "steps: [{flow: {from: web1, to: db1, service: any}, expect: deny}]",
            ["5:47: steps[0].flow.service: expected ports of tcp, udp, icmp, sctp, or icmp"],
        ),
        (
            "steps: [{login: ghost}]",
            ["5:17: steps[0].login: expected a host that can log in; ghost has no login in network.yaml"],
        ),
        (
            "steps: [{scan: {from: web1, to: db1, service: tcp/1-60000}, expect: deny}]",
            ["5:16: steps[0].scan: expected at most 5000 attempts, found 5001"],
        ),
        (
            "steps: [{packets: [{from: web1, to: db1, tcp: {dport: 22, flags: X}}], expect: deny}]",
            ["5:66: steps[0].packets[0].tcp.flags: expected text that matches ^[FSRPAUECN]*$"],
        ),
        (
            "steps: [{packets: [{from: web1, to: db1, tcp: {dport: 22}, payload: {size: 9000}}], expect: deny}]",
            ["5:76: steps[0].packets[0].payload.size: expected at most 8192"],
        ),
        (
            "steps: [{wait: 1s, expect: {decision: allow, reason: no-rule}}]",
            ["5:28: steps[0].expect: expected a reason with the decision deny and nowhere else"],
        ),
        (
            'steps: [{flow: {from: web1, to: db1, service: icmp}, expect: {only: ["web1 -> db1 tcp/22"]}}]',
            ["5:70: steps[0].expect.only[0]: expected an attempt of this step, found 'web1 -> db1 tcp/22'; "],
        ),
        ("steps: [{at: 22:30}]", ["5:14: steps[0].at: expected text that matches "]),
        (
            "steps: [{wait: 1s}]\ncontained: [{never: dbs}]",
            ["6:21: contained[0].never: no host or segment is named 'dbs'; did you mean 'db'?"],
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = problems(tmp_path, text)
    assert len(found) == len(expected), found
    assert [one[: len(start)] for one, start in zip(found, expected, strict=True)] == expected


def test_a_packet_carries_one_protocol_and_no_code(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path, "steps: [{packets: [{from: web1, to: db1, tcp: {dport: 22}, udp: {dport: 53}}], expect: deny}]"
    )
    assert "expected at most one of tcp, udp, icmp and arp" in found
    (found,) = problems(tmp_path, 'steps: [{packets: [{from: web1, to: db1, raw: "IP()/TCP()"}], expect: deny}]')
    assert "unknown key 'raw'" in found


def test_the_example_of_the_documentation_can_be_played(tmp_path: Path) -> None:
    (example,) = [
        text for text in re.findall(r"```yaml\n(.*?)```", DOCUMENTATION.read_text(), re.S) if "steps:" in text
    ]
    file = tmp_path / "example.yaml"
    file.write_text(example.replace("topology: ..", f"topology: {TOPOLOGIES / 'three-tier'}"), encoding="utf-8")
    assert load_scenario(file).contained


def test_a_folder_stands_for_the_scenarios_in_it(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml", "notes.txt"):
        (tmp_path / name).touch()
    assert [file.name for file in scenario_files([tmp_path])] == ["a.yaml", "b.yaml"]
    with pytest.raises(InputError):
        scenario_files([tmp_path / "missing.yaml"])


def test_the_schema_has_every_action() -> None:
    keys = json.loads(json.dumps(json_schema()))["$defs"]["StepFile"]["properties"]
    assert {"flow", "scan", "packets", "login", "revoke", "at", "expect"} <= set(keys)


def test_attempts_read_as_they_are_written() -> None:
    assert str(Attempt("a", "b", "tcp/1")) == "a -> b tcp/1"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("{wait: 6m}", "expected at most 5m"),
        (
            "{packets: [{from: web1, to: 10.0.0.14, version: 6, udp: {dport: 9}}], expect: deny}",
            "expected an IPv6 address",
        ),
        ("{packets: [{from: web1, to: db1, ip: {src: '2001:db8::1'}}], expect: deny}", "expected an IPv4 address"),
    ],
)
def test_what_could_not_be_sent_is_told_before_anything_is_built(tmp_path: Path, step: str, expected: str) -> None:
    (found,) = problems(tmp_path, f"steps: [{step}]")
    assert expected in found


def test_routers_and_servers_open_no_connections() -> None:
    folder = TOPOLOGIES / "office"
    text = HEAD.replace(str(PORTAL_ONLY), str(folder))
    text += "steps: [{flow: {from: [wan, names, www], to: files, service: smb}, expect: deny}]"
    with pytest.raises(InputError) as caught:
        parse_scenario(text, Path("scenario.yaml"))
    assert [problem.key for problem in caught.value.problems] == ["steps[0].flow.from[0]", "steps[0].flow.from[1]"]
