"""Rulesets of nftables: they let pass what the policy allows, and never more; what they cannot say is named."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from originals.packet_filter import passes
from strategies.policy import NOW, SEGMENTS, members, policy_files, read
from strategies.policy import flows as policy_flows
from zethane.app.topology import load_topology
from zethane.cli.policy import app
from zethane.convert import Exported, Known, export_nftables
from zethane.convert.nftables.ruleset import ruleset
from zethane.errors import InputError
from zethane.net.prefix import Address, Prefix
from zethane.policy.decide import decide
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import External, Party, Principal
from zethane.policy.service import Service

OWN = ("10.0.0.1", "2001:db8::1")
INSIDE = ("10.0.0.11", "10.0.0.12", "10.0.0.13", "2001:db8::11", "2001:db8::12")
OUTSIDE = ("198.51.100.80", "198.51.7.1", "203.0.113.9", "2001:db8:ffff:1::80")
NETWORKS: tuple[Prefix, ...] = (ip_network("10.0.0.0/24"), ip_network("2001:db8::/64"))
WORLD: tuple[Prefix, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def known(parties: dict[str, Party], outside: tuple[Prefix, ...] | None = WORLD, **more: Any) -> Known:
    """Who has these addresses; the subnets are never outside."""
    return Known({ip_network(text): party for text, party in parties.items()}, outside, NETWORKS, **more)


def workload(name: str, segment: str, **labels: str) -> Principal:
    return Principal("workload", name, labels=tuple(sorted({"segment": segment, **labels}.items())))


def policy(rules: str, more: str = "") -> Policy:
    segments = "".join(f"  {name}: {{labels: {{segment: {name}}}}}\n" for name in SEGMENTS)
    return parse_policy(f"version: 1\n{more}segments:\n{segments}rules:\n{rules}", "policy.yaml")


def at(party: Party, address: Address) -> Party:
    """The party as it acts from an address; outside it is the address."""
    return replace(party, address=address) if isinstance(party, Principal) else party


@st.composite
def _static(draw: st.DrawFn) -> dict[str, Any]:
    """What may be asked of a principal itself and of its address."""
    asked: dict[str, Any] = {}
    if draw(st.booleans()):
        asked["labels"] = {"site": draw(st.sampled_from(("basel", "bern")))}
    if not asked or draw(st.booleans()):
        asked["networks"] = [draw(st.sampled_from(("10.0.0.0/28", "10.0.0.12/32", "10.0.0.1/32", "2001:db8::/64")))]
    return asked


@st.composite
def _asking(draw: st.DrawFn, beyond: bool) -> Policy:
    """A policy whose rules ask for labels and addresses of both ends, and with `beyond` for what no filter sees."""
    file = draw(policy_files(expressions=beyond))
    for rule in file["rules"]:
        if not beyond:
            rule["when"] = {}
        for side, key in (("from", "subject"), ("to", "object")):
            if draw(st.integers(0, 3)) == 0 and isinstance(rule["from"], list) and isinstance(rule[side], list):
                rule["when"] = {**rule["when"], key: draw(_static())}
    return read(file)


@st.composite
def _cases(draw: st.DrawFn, beyond: bool) -> tuple[Policy, Principal, dict[str, Party]]:
    """A policy, whose filter it is, and who has which address."""
    try:
        one = draw(_asking(beyond))
    except InputError:  # more conditions than a policy may have
        reject()
    return one, draw(members()), {address: draw(st.none() | members()) for address in INSIDE}


def _compare(one: Policy, mine: Principal, parties: dict[str, Party], flow: tuple[int, int]) -> list[tuple[bool, bool]]:
    """For each address and direction: what the filter lets pass, and what the policy decides."""
    around = known(parties)
    exported = export_nftables(one, mine, around)
    found = []
    for text in (*INSIDE, *OUTSIDE):
        peer = ip_address(text)
        if flow[0] == (58 if peer.version == 4 else 1):
            continue
        own = next(ip_address(mine_at) for mine_at in OWN if ip_address(mine_at).version == peer.version)
        party: Party = External(peer) if text in OUTSIDE else parties[text]
        ends = at(mine, own), at(party, peer)
        for leaving in (False, True):
            filtered = passes(
                exported.entries,
                around.foreign,
                around.inside,
                leaving=leaving,
                own=own,
                peer=peer,
                ip_proto=flow[0],
                port=flow[1],
            )
            subject, target = ends if leaving else ends[::-1]
            found.append((filtered, decide(one, subject, target, *flow, NOW).allowed))
    return found


@settings(max_examples=150, deadline=None)
@given(_cases(beyond=False), policy_flows)
def test_the_filter_decides_as_the_policy(
    case: tuple[Policy, Principal, dict[str, Party]], flow: tuple[int, int]
) -> None:
    """Where rules ask only for what addresses tell, both are the same for every peer, known, unknown or outside."""
    one, mine, parties = case
    assert all(filtered is decided for filtered, decided in _compare(one, mine, parties, flow))


@settings(max_examples=150, deadline=None)
@given(_cases(beyond=True), policy_flows)
def test_the_filter_never_lets_more_pass(
    case: tuple[Policy, Principal, dict[str, Party]], flow: tuple[int, int]
) -> None:
    """Whatever else rules ask for, and whoever has it: what the policy denies does not pass."""
    one, mine, parties = case
    assert all(decided for filtered, decided in _compare(one, mine, parties, flow) if filtered)


def lost(exported: Exported) -> list[str]:
    return [str(loss) for loss in exported.losses]


@pytest.mark.parametrize(
    ("when", "action", "loss"),
    [
        ("{mfa: true}", "allow", "rule r asks for mfa: closed"),
        ("{mfa: true}", "deny", "rule r asks for mfa: denied always"),
        ("{aal: 2, device: true}", "allow", "rule r asks for aal 2, a device: closed"),
        (
            '{hours: "Mon-Fri 07:00-19:00 Europe/Berlin"}',
            "allow",
            "rule r asks for Mon-Fri 07:00-19:00 Europe/Berlin, of which a filter knows UTC only: closed",
        ),
    ],
)
def test_what_a_filter_cannot_see_is_closed_and_named(when: str, action: str, loss: str) -> None:
    """A deny of such a kind holds always; with the place of the rule."""
    rules = f"  - {{id: r, from: [web], to: [db], services: [tcp/1], when: {when}, action: {action}}}\n"
    exported = export_nftables(policy(rules), workload("d", "db"), known({"10.0.0.11": workload("w", "web")}))
    assert lost(exported) == [f"policy.yaml:8:5: {loss}"]
    assert [entry.rule.allow for entry in exported.entries] == ([] if action == "allow" else [False])
    assert f"# - policy.yaml:8:5: {loss}" in exported.text


def test_what_is_not_known_of_addresses_is_closed_and_named() -> None:
    """Principals without an address; and networks where nobody has said what is outside."""
    rules = (
        "  - {id: a, from: [web, app], to: [db], services: [tcp/1]}\n"
        "  - {id: b, from: {networks: [0.0.0.0/0]}, to: [db], services: [tcp/2]}\n"
    )
    missing = [workload(f"w{number}", "web") for number in range(7)]
    around = known({"10.0.0.11": workload("a", "app")}, None, missing=missing)
    exported = export_nftables(policy(rules), workload("d", "db"), around)
    assert lost(exported) == [
        "policy.yaml:9:5: rule b is about networks outside, and what is outside is not known: closed",
        "no address is known of workload:w0, workload:w1, workload:w2, workload:w3, workload:w4 and 2 more "
        "in segment web: closed for them",
    ]
    assert [entry.rule.id for entry in exported.entries] == ["a"]


def test_somebody_of_no_segment_is_closed_to_all() -> None:
    """As the policy decides."""
    rules = "  - {id: a, from: [any], to: [any], services: [any]}\n"
    exported = export_nftables(policy(rules), Principal("user", "x"), known({}))
    assert lost(exported) == ["the principal user:x is in no segment: everything is closed"]
    assert exported.entries == ()


def test_stages_are_named() -> None:
    """A rule of the stage audit changes nothing; a policy of it is enforced by the host."""
    rules = "  - {id: a, from: [web], to: [db], services: [tcp/1], stage: audit}\n"
    exported = export_nftables(policy(rules, "stage: audit\n"), workload("d", "db"), known({}))
    assert "rules of the stage audit change nothing, and are left out: a" in exported.notes
    assert "the policy is of the stage audit: this enforces it" in exported.notes


def test_the_longest_prefix_says_who_has_an_address() -> None:
    """One address within a prefix of somebody else is not among that one's."""
    rules = "  - {id: a, from: [web], to: [db], services: [tcp/1]}\n"
    around = known({"10.0.0.0/29": workload("w", "web"), "10.0.0.1": workload("a", "app"), "10.0.0.4": None})
    (entry,) = export_nftables(policy(rules), workload("d", "db"), around).entries
    held = [str(address) for prefix in entry.peers for address in prefix]
    assert held == [f"10.0.0.{number}" for number in (0, 2, 3, 5, 6, 7)]


def test_the_ruleset() -> None:
    """Denies first, one rule for each protocol and version, the policy's rules named."""
    rules = (
        "  - {id: web-db, from: [web], to: [db], services: [tcp/5432, tcp/6000-6010, udp, icmp]}\n"
        "  - {id: all, from: [db], to: [app], services: [any]}\n"
        "  - {id: no, from: [any], to: [db], services: [tcp/22], action: deny}\n"
        "  - {id: out, from: [db], to: {networks: [198.51.100.0/24]}, services: [tcp/443]}\n"
    )
    around = known(
        {"10.0.0.11": workload("w", "web"), "2001:db8::11": workload("w", "web"), "10.0.0.12": workload("a", "app")}
    )
    text = export_nftables(policy(rules), workload("d", "db"), around).text
    accepts = [line.strip() for line in text.splitlines() if 'comment "' in line and "no rule" not in line]
    assert accepts == [
        'ip saddr @peers0_4 tcp dport { 22 } counter drop comment "no"',
        'ip6 saddr @peers1_6 tcp dport { 22 } counter drop comment "no"',
        'ip saddr @peers2_4 icmp type echo-request accept comment "web-db"',
        'ip saddr @peers2_4 meta l4proto udp accept comment "web-db"',
        'ip saddr @peers2_4 tcp dport { 5432, 6000-6010 } accept comment "web-db"',
        'ip6 saddr @peers1_6 icmpv6 type echo-request accept comment "web-db"',
        'ip6 saddr @peers1_6 meta l4proto udp accept comment "web-db"',
        'ip6 saddr @peers1_6 tcp dport { 5432, 6000-6010 } accept comment "web-db"',
        'ip daddr @peers3_4 accept comment "all"',
        'ip daddr @peers4_4 ip daddr @outside4 ip daddr != @inside4 tcp dport { 443 } accept comment "out"',
    ]
    assert "\t# workload:a, workload:w\n\tset peers0_4 {" in text
    assert_loads(text)


def assert_loads(text: str) -> None:
    """nft takes the ruleset, where it is installed and may look."""
    if shutil.which("nft") is None:
        pytest.skip("needs nft")
    run = subprocess.run(["nft", "-c", "-f", "-"], input=text, capture_output=True, text=True, check=False)
    if "Operation not permitted" in run.stderr:
        pytest.skip("needs root")
    assert (run.returncode, run.stderr) == (0, "")


def test_words_from_files_are_words() -> None:
    """Names cannot end a comment or a text, whatever they hold."""
    rules = "  - {id: a, from: [web], to: [db], services: [tcp/1]}\n"
    exported = export_nftables(policy(rules), workload("d", "db"), known({"10.0.0.11": workload("w\n}x", "web")}))
    entry = exported.entries[0]
    object.__setattr__(entry.rule, "id", 'a" }\nflush ruleset #')
    text = ruleset("a\nflush ruleset", [("b", ["c\nflush ruleset"])], [entry], (), ())
    assert not any(line.strip().startswith("flush") for line in text.splitlines())
    assert 'comment "a????flush?ruleset??"' in text
    assert_loads(text)


@pytest.mark.parametrize("topology", ["three-tier", "campus", "office", "branch", "leaf-spine"])
def test_every_host_of_every_topology_has_a_ruleset_that_loads(topology: str) -> None:
    """Those who log in; one that does not is nobody's."""
    folder = Path(__file__).parents[3] / "topologies" / topology
    hosts = load_topology(folder).principals()
    for name, principal in list(hosts.items())[:6]:
        run = CliRunner().invoke(app, ["export", "nftables", str(folder), name])
        if principal is None:
            assert run.exit_code == 2
        else:
            assert run.exit_code in (0, 1), run.output
            assert_loads(run.stdout)


def test_command(tmp_path: Path) -> None:
    """A host, a principal, a mapping file; what is there is not written over; losses are the answer no."""
    folder = str(Path(__file__).parents[3] / "topologies" / "three-tier")
    file = tmp_path / "db.nft"
    assert CliRunner().invoke(app, ["export", "nftables", folder, "db1", "-o", str(file)]).exit_code == 0
    assert CliRunner().invoke(app, ["export", "nftables", folder, "db1", "-o", str(file)]).exit_code == 2
    assert CliRunner().invoke(app, ["export", "nftables", folder, "db1", "-o", str(file), "--force"]).exit_code == 0
    assert CliRunner().invoke(app, ["export", "nftables", folder, "web1"]).exit_code == 1
    assert CliRunner().invoke(app, ["export", "nftables", folder, "web1", "--accept-losses"]).exit_code == 0
    assert CliRunner().invoke(app, ["export", "nftables", folder, "ghost"]).exit_code == 2
    assert CliRunner().invoke(app, ["export", "nftables", folder, "none"]).exit_code == 2
    mapping = tmp_path / "map.yaml"
    mapping.write_text("192.0.2.0/24: workload:app1\n192.0.2.7: outside\n")
    run = CliRunner().invoke(app, ["export", "nftables", folder, "workload:db1", "--map", str(mapping), "--json"])
    answer = json.loads(run.stdout)
    assert (run.exit_code, answer["rules"]) == (0, ["app-db", "dns", "no-ssh-db", "ping-web"])
    assert "192.0.2.0/30, 192.0.2.4/31, 192.0.2.6" in answer["ruleset"]
    mapping.write_text("192.0.2.300: workload:app1\n")
    assert CliRunner().invoke(app, ["export", "nftables", folder, "db1", "--map", str(mapping)]).exit_code == 2


def test_services_of_every_kind() -> None:
    """Each has a match that nft knows."""
    rules = "  - {id: a, from: [web], to: [db], services: [sctp, sctp/9, tcp, udp/1-2, icmp]}\n"
    exported = export_nftables(policy(rules), workload("d", "db"), known({"10.0.0.11": workload("w", "web")}))
    assert exported.entries[0].services[-1] == Service("udp", 1, 2)
    assert_loads(exported.text)
