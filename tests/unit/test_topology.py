"""A topology's files held against each other, and the shipped ones."""

from __future__ import annotations

import json
import os
from ipaddress import ip_address
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from typer.testing import CliRunner

from zethane.app import files
from zethane.app.topology import load_policy, load_topology
from zethane.cli.policy import app
from zethane.errors import InputError
from zethane.policy.decide import each
from zethane.policy.principal import External

ROOT = Path(__file__).parents[2]
SHIPPED = ["three-tier", "campus", "leaf-spine", "branch", "office"]
HASH = "$argon2id$v=19$m=8192,t=1,p=1$fX3nWXhWv4a+PzES/JH1WA$h0rwshMAUXqbqf3zBQBxpAXChf35tjdpOaHfCubEHTg"

POLICY = """\
version: 1
segments: {web: {labels: {tier: web}}, staff: {groups: [staff]}}
services: {page: [tcp/80, tcp/443]}
rules:
  - {id: page, from: [staff], to: [web], services: [page], when: {mfa: true}}
tests:
  - {allow: laptop -> web1, service: page}
"""
IDENTITIES = f"""\
users:
  alice: {{groups: [staff], password: "{HASH}", totp: JBSWY3DPEHPK3PXP}}
  carol: {{groups: [staff], password: "{HASH}", disabled: true}}
workloads:
  web1: {{labels: {{tier: web}}, secret: "{HASH}"}}
"""
NETWORK = """\
switches: {s1: {}}
hosts:
  laptop: {switch: s1, ip: 10.0.0.1/24, login: {user: alice, password: x, totp: JBSWY3DPEHPK3PXP}}
  web1: {switch: s1, ip: 10.0.0.2/24, login: {workload: web1, secret: x}}
  ghost: {switch: s1, ip: 10.0.0.3/24}
"""


def write(folder: Path, policy: str = POLICY, identities: str = IDENTITIES, network: str | None = NETWORK) -> Path:
    (folder / "policy.yaml").write_text(policy)
    (folder / "identities.yaml").write_text(identities)
    if network is not None:
        (folder / "network.yaml").write_text(network)
    return folder


def problems(folder: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_topology(folder)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_topology_passes_its_own_check(name: str) -> None:
    """No error, every test passes, and each policy has tests of both kinds."""
    report = load_topology(ROOT / "topologies" / name).check()
    assert report.errors == ()
    assert [outcome.test for outcome in report.outcomes if not outcome.passed] == []
    assert {outcome.test.allow for outcome in report.outcomes} == {True, False}
    assert {finding.code for finding in report.findings} <= {"open-rule"}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_logins_of_a_shipped_topology_are_right(name: str) -> None:
    """Each host's password or secret fits the hash of its identity."""
    topology = load_topology(ROOT / "topologies" / name)
    logins = [login for host in topology.hosts.values() for login in host.logins]
    for login in logins:
        if login.via == "portal":
            directory = topology.directory
            user = login.kind == "user"
            hashed = directory.users[login.name].password if user else directory.workloads[login.name].secret
            assert hashed is not None
            assert PasswordHasher().verify(hashed.get_secret_value(), login.secret)
    assert sum(host.login is not None for host in topology.hosts.values()) == len(topology.hosts) - 1


def test_the_shipped_topologies_show_every_kind_of_login() -> None:
    """What people come to see: 802.1X, a MAC address alone, single sign-on, certificates, a user on a device."""
    hosts = [host for name in SHIPPED for host in load_topology(ROOT / "topologies" / name).hosts.values()]
    ways = {(login.kind, login.via) for host in hosts for login in host.logins}
    assert ways >= {("user", "dot1x"), ("device", "dot1x"), ("device", "mab"), ("user", "oidc")}
    assert ways >= {("workload", "certificate"), ("user", "portal"), ("workload", "portal")}
    assert any(host.machine for host in hosts)


def test_hosts_stand_for_who_logs_in_from_them(tmp_path: Path) -> None:
    """A second factor counts, and nobody is nobody."""
    topology = load_topology(write(tmp_path))
    alice = topology.host_principal("laptop")
    assert alice is not None
    assert (alice.name, alice.mfa) == ("alice", True)
    assert topology.host_principal("ghost") is None
    with pytest.raises(InputError, match="no host is named 'web'; did you mean 'web1'"):
        topology.host_principal("web")


def test_a_data_centre_has_no_network_file(tmp_path: Path) -> None:
    """Then there are no hosts, and tests about them are errors."""
    topology = load_topology(write(tmp_path, network=None))
    assert topology.parties() == {}
    assert [problem.line for problem in topology.check().errors] == [7, 7]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            NETWORK.replace("user: alice", "user: alic"),
            "network.yaml:3:55: hosts.laptop.login.user: no user that may log in is named 'alic'; "
            "did you mean 'alice'?",
        ),
        (
            NETWORK.replace("JBSWY3DPEHPK3PXP", "KBSWY3DPEHPK3PXP"),
            "network.yaml:3:81: hosts.laptop.login.totp: expected the second factor that the identities give to alice",
        ),
    ],
)
def test_a_login_must_fit_the_identities(tmp_path: Path, network: str, message: str) -> None:
    """The place is that in network.yaml."""
    assert problems(write(tmp_path, network=network)) == [message]


def test_who_is_disabled_keeps_nobody_from_starting_and_is_nobody(tmp_path: Path) -> None:
    """An operator who disables an account in a hurry must be able to restart the controller."""
    network = NETWORK.replace("user: alice", "user: carol").replace(", totp: JBSWY3DPEHPK3PXP", "")
    assert load_topology(write(tmp_path, network=network)).host_principal("laptop") is None


def test_a_login_in_no_segment_is_an_error(tmp_path: Path) -> None:
    """It could have no session."""
    folder = write(tmp_path, identities=IDENTITIES.replace("tier: web", "tier: wab"))
    (found,) = problems(folder)
    assert found.startswith("network.yaml:4:57: hosts.web1.login.workload: principal workload:web1 is in no segment")


def test_a_host_behind_a_tag_logs_in_to_a_segment_of_that_vlan(tmp_path: Path) -> None:
    tagged = NETWORK.replace("{s1: {}}", "{s1: {ports: {7: {vlans: [20]}}}}")
    tagged = tagged.replace("web1: {switch: s1,", "web1: {switch: s1, port: 7, vlan: 20,")
    place = "network.yaml:4:37: hosts.web1.vlan"
    for segment in ("web: {", "web: {vlan: 30, "):
        folder = write(tmp_path, POLICY.replace("web: {", segment), network=tagged)
        assert problems(folder) == [f"{place}: web1 is in segment web, which is not in VLAN 20 by {folder}/policy.yaml"]
    assert load_topology(write(tmp_path, POLICY.replace("web: {", "web: {vlan: 20, "), network=tagged))


def test_all_files_are_read_before_anything_is_said(tmp_path: Path) -> None:
    """One run shows what is wrong in each."""
    found = problems(write(tmp_path, policy="version: 2", identities="x: 1", network="y: 1"))
    assert {problem.split(":")[0] for problem in found} == {"policy.yaml", "identities.yaml", "network.yaml"}


def test_files_that_cannot_be_read_are_input_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, a pipe that would block for ever, no UTF-8, too long."""
    file = tmp_path / "policy.yaml"
    with pytest.raises(InputError, match="cannot be read: No such file or directory"):
        load_policy(file)
    os.mkfifo(file)
    with pytest.raises(InputError, match="expected a regular file"):
        load_policy(file)
    file.unlink()
    file.write_bytes(b"version: 1\n\xff")
    with pytest.raises(InputError, match=r"policy\.yaml:2: expected UTF-8"):
        load_policy(file)
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="expected at most 10 bytes"):
        load_policy(tmp_path)
    with pytest.raises(InputError, match="expected the folder of a topology"):
        load_topology(tmp_path / "nowhere")


def test_check_ends_with_0_1_or_2(tmp_path: Path) -> None:
    """Passed, a test failed, wrong input."""
    folder = write(tmp_path)
    assert run("check", str(folder)) == (0, "1 of 1 test passed, 0 remarks\n")
    write(tmp_path, policy=POLICY.replace("allow:", "deny:"))
    code, text = run("check", str(folder))
    assert code == 1
    place = f"{folder}/policy.yaml:7"
    assert f"failed  {place}: deny laptop -> web1 tcp/80: rule page allows tcp/80 from staff to web" in text
    write(tmp_path, policy=POLICY.replace("[page]", "[pag]"))
    code, text = run("check", str(folder), "--json")
    assert code == 2
    (error,) = json.loads(text)["errors"]
    assert (error["line"], error["column"], error["key"]) == (5, 53, "rules[0].services[0]")


def test_check_names_principals_without_a_segment(tmp_path: Path) -> None:
    """Also those that no host logs in."""
    extra = IDENTITIES.replace("  carol: {groups: [staff], ", "  carol: {").replace(", disabled: true", "")
    code, text = run("check", str(write(tmp_path, identities=extra)))
    assert code == 2
    assert "identities.yaml:3:3: users.carol: principal user:carol is in no segment" in text


def test_explain_answers_in_json_and_by_its_exit_status(tmp_path: Path) -> None:
    """0 allow, 1 deny, 2 wrong input; a name stands for all of its services."""
    folder = str(write(tmp_path))
    code, text = run("explain", folder, "--from", "laptop", "--to", "web1", "--service", "page", "--json")
    view = json.loads(text)
    assert (code, view["decision"], view["rule"]) == (0, "allow", "page")
    code, text = run("explain", folder, "--from", "ghost", "--to", "web1", "--service", "tcp/80")
    assert code == 1
    assert text.startswith("deny: the subject is not authenticated")
    code, text = run("explain", folder, "--from", "laptop", "--to", "web1", "--service", "pge")
    assert code == 2
    assert "did you mean 'page'" in text
    assert run("explain", folder, "--from", "nobody", "--to", "web1", "--service", "icmp")[0] == 2


def test_matrix_and_schema_print_json(tmp_path: Path) -> None:
    """Shapes that other programs rely on."""
    folder = str(write(tmp_path))
    code, text = run("matrix", folder, "--json")
    cells = json.loads(text)["cells"]
    assert code == 0
    assert len(cells) == 3 * 2 * 2
    assert [cell for cell in cells if cell["decision"] == "allow"] == [
        {"from": "laptop", "to": "web1", "service": service, "decision": "allow", "rule": "page"}
        for service in ("tcp/80", "tcp/443")
    ]
    code, text = run("schema")
    assert (code, json.loads(text)["title"]) == (0, "Zethane policy")
    code, text = run("matrix", folder)
    assert code == 0
    assert "a tcp/80  b tcp/443" in text


def test_a_shipped_topology_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """In ./topologies; a near miss is named."""
    monkeypatch.chdir(ROOT)
    assert run("check", "three-tier")[0] == 0
    code, text = run("check", "tree-tier")
    assert code == 2
    assert "did you mean 'three-tier'?" in text


def test_names_and_addresses_stand_for_who_is_there() -> None:
    """Hosts of the site, hosts outside, addresses of either, and nobody."""
    topology = load_topology(ROOT / "topologies" / "branch")
    alice = topology.host_principal("laptop")
    assert topology.party("laptop") == topology.party("10.20.0.21") == alice
    assert topology.party("ghost") is topology.party("10.20.0.66") is topology.party("10.20.0.99") is None
    assert topology.party("8.8.8.8") is None  # no uplink leads there
    assert topology.party("198.51.100.7") == External(ip_address("198.51.100.7"))
    assert [str(one) for one in each(topology.party("www"))] == ["198.51.100.80", "2001:db8:ffff:1::80"]
    with pytest.raises(InputError, match="did you mean 'www'"):
        topology.party("wwww")


WAYS = """
radius: {servers: {main: {host: 127.0.0.1, secret: lab-secret}}}
oidc: {visitors: {issuer: "http://127.0.0.1:9", client_id: zethane}}
certificates: {ca: [ca.pem]}
ovsdb: {local: {connect: "unix:/run/openvswitch/db.sock"}}
"""
KNOWN = """
users:
  ann: {groups: [staff]}
  bea@visitors: {groups: [staff]}
devices:
  box: {mac: "02:00:00:00:00:31", labels: {tier: web}, spiffe: "spiffe://lab/box"}
workloads:
  web: {labels: {tier: web}, spiffe: "spiffe://lab/web", attested: {iface_id: web-port}}
"""
EACH_WAY = [
    "{user: ann, password: lab-ann, via: dot1x}",
    "{device: box, via: dot1x, eap: tls}",
    "{device: box, via: mab}",
    "{user: bea, password: lab-bea, via: oidc, provider: visitors}",
    "{workload: web, via: certificate}",
    "{workload: web, via: attestation}",
]
BARE = {
    "user": "users: {ann: {groups: [staff]}, bea@visitors: {groups: [staff]}}\n",
    "device": "devices: {box: {labels: {tier: web}}}\n",
    "workload": "workloads: {web: {labels: {tier: web}}}\n",
}


@pytest.mark.parametrize("login", EACH_WAY)
def test_every_way_to_log_in_needs_its_source_and_what_names_the_principal(tmp_path: Path, login: str) -> None:
    network = f"switches: {{s1: {{}}}}\nhosts: {{h: {{switch: s1, ip: 10.0.0.1/24, login: {login}}}}}\n"
    policy = POLICY.split("tests:")[0]
    folder = write(tmp_path, policy=policy, identities=KNOWN, network=network)
    (folder / "sources.yaml").write_text(WAYS, encoding="utf-8")
    principal = load_topology(folder).host_principal("h")
    assert principal is not None
    assert principal.aal == (0 if "mab" in login else 2 if "tls" in login or "certificate" in login else 1)
    (folder / "sources.yaml").unlink()
    kind = login[1:].split(":")[0]
    write(tmp_path, policy=policy, identities=BARE[kind], network=network)
    (found,) = problems(folder)
    assert found.startswith("network.yaml:2:")
    assert ".login.via: " in found


def test_a_port_with_802_1x_needs_a_radius_server(tmp_path: Path) -> None:
    network = NETWORK.replace("{s1: {}}", "{s1: {ports: {7: {mab: true}, 8: {dot1x: true}}}}")
    write(tmp_path, network=network)
    (found,) = problems(tmp_path)
    assert found.startswith("network.yaml:1:")
    assert "ports[8].dot1x: expected a section radius" in found
    (tmp_path / "sources.yaml").write_text(WAYS, encoding="utf-8")
    assert load_topology(tmp_path).network is not None


def test_nobody_here_has_a_password_and_the_name_of_whom_a_provider_vouches_for(tmp_path: Path) -> None:
    """Known here they may be: to be disabled, or for more groups and labels."""
    write(tmp_path, identities=IDENTITIES.replace("workloads:", "  dan@corp: {groups: [staff]}\nworkloads:"))
    (tmp_path / "sources.yaml").write_text("oidc: {corp: {issuer: https://id.example, client_id: zethane}}\n")
    assert "dan@corp" in load_topology(tmp_path).directory.users
    both = f'  eve@corp: {{groups: [staff], password: "{HASH}"}}\nworkloads:'
    write(tmp_path, identities=IDENTITIES.replace("workloads:", both))
    (problem,) = problems(tmp_path)
    assert problem.startswith("identities.yaml:4:")
    assert "expected no password" in problem
