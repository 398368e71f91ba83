"""Security groups: verdicts as the Networking API has them, what is lost, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from typer.testing import CliRunner

from originals.openstack import may
from originals.verdicts import Verdicts
from strategies.clouds import OUTSIDE, PORTS, clouds, port_list, rule_list
from zethane.cli.policy import app
from zethane.convert import Imported, import_openstack
from zethane.errors import InputError
from zethane.policy.check import membership_problems

Object = dict[str, Any]

_FLOWS = [(number, port) for number in (6, 17, 132) for port in PORTS] + [(47, 0)]


def rule(group: str, direction: str = "ingress", **columns: Any) -> Object:
    """A row of the list: by default all of IPv4 from everywhere, as the client prints that."""
    row: Object = {
        "ID": f"{group}-{direction}-{json.dumps(columns, sort_keys=True)}",
        "IP Protocol": None,
        "Ethertype": "IPv4",
        "IP Range": "0.0.0.0/0",
        "Port Range": "",
        "Direction": direction,
        "Remote Security Group": None,
        "Remote Address Group": None,
        "Security Group": group,
    }
    return row | {key.replace("_", " "): value for key, value in columns.items()}


def tcp(group: str, ports: str, **columns: Any) -> Object:
    return rule(group, **{"IP_Protocol": "tcp", "Port_Range": ports, **columns})


def port(name: str, *groups: str, address: str = "10.0.0.11", owner: str = "compute:nova") -> Object:
    addresses = [{"subnet_id": "s", "ip_address": one} for one in address.split()]
    return {
        "ID": f"id-{name}",
        "Name": name,
        "Fixed IP Addresses": addresses,
        "Security Groups": list(groups),
        "Device Owner": owner,
    }


def load(rules: list[Object], *others: list[Object]) -> Imported:
    texts = {"rules.json": json.dumps(rules, indent=1)}
    return import_openstack(texts | {f"{number}.json": json.dumps(one) for number, one in enumerate(others)})


def everything_out(*groups: str) -> list[Object]:
    """What a new group has by itself: all egress, of both versions."""
    return [
        rule(group, "egress", Ethertype=family, IP_Range=prefix)
        for group in groups
        for family, prefix in (("IPv4", "0.0.0.0/0"), ("IPv6", "::/0"))
    ]


@settings(max_examples=150, deadline=None)
@given(clouds())
def test_verdicts_are_those_of_the_documentation(cloud: Object) -> None:
    """Between all addresses of all ports, to and from addresses outside, by every port at which something begins."""
    imported = load(rule_list(cloud), port_list(cloud))
    assert membership_problems(imported.policy, imported.directory.population()) == []
    verdicts = Verdicts(imported)
    ends = [(f"port {one['id']}", address) for one in cloud["ports"] for address in one["addresses"]]
    everywhere = [*ends, *((address, address) for address in OUTSIDE)]
    for source_name, source in everywhere:
        for target_name, target in everywhere:
            inside = (source not in OUTSIDE) + (target not in OUTSIDE)
            if source_name == target_name or not inside or (":" in source) != (":" in target):
                continue
            for number, at in [*_FLOWS, (58 if ":" in source else 1, 0)]:
                expected = may(cloud, source, target, number, at)
                found = verdicts.may(source_name, target_name, number, at, (source, target))
                assert found is expected, (source, target, number, at)


def test_default_groups() -> None:
    """All egress, and ingress from the group itself: printed with a prefix that is none."""
    rules = [*everything_out("default", "other")]
    rules += [
        rule("default", Ethertype=family, IP_Range=prefix, Remote_Security_Group="default")
        for family, prefix in (("IPv4", "0.0.0.0/0"), ("IPv6", "::/0"))
    ]
    ports = [port("a", "default"), port("b", "default", address="10.0.0.12"), port("c", "other", address="10.0.0.13")]
    imported = load(rules, ports)
    assert imported.losses == ()
    table = """
    port id-a -> port id-b: tcp/22, icmp, any
    port id-a -> 198.51.100.7: tcp/443
    port id-c -> port id-a: not tcp/22, icmp
    198.51.100.7 -> port id-a: not tcp/22
    port id-a -> port id-c: not tcp/22
    """
    assert list(Verdicts(imported).wrong(table)) == []


def test_typical_tiers() -> None:
    """SSH and HTTPS from everywhere, the database from the web tier; one server in two groups gets both."""
    rules = [
        *everything_out("web", "ssh", "db"),
        tcp("web", "443:443"),
        tcp("ssh", "22:22", IP_Range="198.51.100.0/24"),
        tcp("db", "5432:5432", Remote_Security_Group="web"),
        rule("web", IP_Protocol="icmp"),
    ]
    ports = [port("w", "web", "ssh"), port("d", "db", address="10.0.0.12"), port("x", "ssh", address="10.0.0.13")]
    imported = load(rules, ports)
    verdicts = Verdicts(imported)
    four = ("10.0.0.11", "10.0.0.12")
    assert verdicts.may("port id-w", "port id-d", 6, 5432, four)
    assert not verdicts.may("port id-w", "port id-d", 6, 5432, ("2001:db8::1", "2001:db8::2"))
    assert not verdicts.may("port id-x", "port id-d", 6, 5432, four)
    assert verdicts.may("port id-d", "port id-w", 6, 443, four)
    table = """
    198.51.100.7 -> port id-w: tcp/443, tcp/22, icmp, not tcp/80
    203.0.113.9 -> port id-w: tcp/443, not tcp/22
    2001:db8::7 -> port id-w: not tcp/443
    198.51.100.7 -> port id-d: not tcp/5432, tcp/443
    """
    assert list(verdicts.wrong(table)) == []
    assert "  # ingress of security group db\n  - {id: db-ipv4, from: [ssh-and-web]" in imported.policy_text


def test_servers_name_their_ports() -> None:
    """By the addresses of both lists; names of groups come from theirs."""
    groups = [{"ID": "g1", "Name": "web", "Description": "😀", "Project": "p"}]
    servers = [{"ID": "s1", "Name": "web-1", "Status": "ACTIVE", "Networks": {"net": ["10.0.0.11"]}, "Image": ""}]
    ports = [port("", "g1"), port("dhcp", address="10.0.0.2", owner="network:dhcp")]
    imported = load([tcp("g1", "443:443"), *everything_out("g1")], groups, servers, ports)
    assert dict(imported.workloads) == {"server web-1, port id-": "web-1"}
    assert list(imported.policy.segments) == ["web"]
    assert any("'network:dhcp' are the network's own" in note for note in imported.notes)


def test_servers_that_say_their_groups() -> None:
    """With the column Security Groups the list of ports is not needed."""
    columns = {"Status": "ACTIVE", "Networks": {"net": ["10.0.0.11", "2001:db8::11"]}}
    groups = [{"ID": "g1", "Name": "web", "Description": ""}, {"ID": "g2", "Name": "two", "Description": ""}]
    servers = [{"ID": "s1", "Name": "web-1", **columns, "Security Groups": ["web", "gone"]}]
    imported = load([tcp("g1", "443:443")], [*groups, {**groups[1], "ID": "g3"}], servers)
    assert list(imported.workloads.values()) == ["web-1"]
    assert Verdicts(imported).may("198.51.100.7", "server web-1 (s1)", 6, 443)
    assert any("no group is named 'gone'" in str(loss) for loss in imported.losses)


def test_without_servers_each_group_is_a_segment() -> None:
    """What is in several groups cannot be said then, and is named."""
    imported = load([*everything_out("web", "db"), tcp("db", "5432:5432", Remote_Security_Group="web")])
    assert sorted(imported.policy.segments) == ["db", "web"]
    assert any("no servers or ports are given" in str(loss) for loss in imported.losses)
    four = ("10.0.0.1", "10.0.0.2")
    assert Verdicts(imported).may("group web", "group db", 6, 5432, four)


@pytest.mark.parametrize(
    ("row", "loss"),
    [
        (rule("web", IP_Protocol="gre"), "IP protocol 'gre' has no service of its own: closed"),
        (rule("web", IP_Protocol="112"), "IP protocol '112' has no service of its own: closed"),
        (
            rule("web", IP_Protocol="icmp", Port_Range="type=3:code=4"),
            "ICMP of type 3 has no service of its own: closed",
        ),
        (
            rule("web", IP_Protocol="tcp", Remote_Address_Group="a1"),
            "the addresses of its remote address group are not given (openstack address group list): closed",
        ),
        (
            rule("web", Remote_Security_Group="empty"),
            "nothing given is in its remote group 'empty': nothing is opened for what comes later",
        ),
        (
            tcp("web", "22:22", IP_Range="10.9.0.0/16"),
            "holds some addresses of port id-two and not others: closed for it",
        ),
    ],
)
def test_what_cannot_be_expressed_is_named_and_closed(row: Object, loss: str) -> None:
    """With the place of the rule; nothing is opened by it."""
    imported = load([row], [port("w", "web"), port("two", "web", address="10.9.0.1 10.8.0.1")])
    assert [str(one) for one in imported.losses] == [f"rules.json:2:2: [0]: {loss}"]
    assert not imported.opens
    assert not Verdicts(imported).may("port id-two", "port id-w", 6, 22, ("10.9.0.1", "10.0.0.11"))


@pytest.mark.parametrize(
    ("protocol", "ports", "family", "echo"),
    [
        ("icmp", "", "IPv4", True),
        ("1", "type=8", "IPv4", True),
        ("icmp", "type=8:code=0", "IPv4", True),
        ("icmp", ":code=3", "IPv4", False),
        ("ipv6-icmp", "type=128", "IPv6", True),
        ("58", "type=129", "IPv6", False),
        ("icmp", "type=11", "IPv4", False),
    ],
)
def test_icmp(protocol: str, ports: str, family: str, echo: bool) -> None:
    """Echo is a service, and requests are what is asked for; replies pass by themselves."""
    prefix = "0.0.0.0/0" if family == "IPv4" else "::/0"
    row = rule("web", IP_Protocol=protocol, Port_Range=ports, Ethertype=family, IP_Range=prefix)
    verdicts = Verdicts(load([row], [port("w", "web")]))
    source, number = ("198.51.100.7", 1) if family == "IPv4" else ("2001:db8::7", 58)
    assert verdicts.may(source, "port id-w", number, 0) is echo
    assert not verdicts.may(source, "port id-w", 6, 8)


def test_remote_address_groups() -> None:
    """Their addresses are in a list of their own."""
    groups = [{"ID": "a1", "Name": "admins", "Addresses": ["198.51.100.0/24", "10.0.0.12/32", "2001:db8::/32"]}]
    imported = load(
        [tcp("web", "22:22", Remote_Address_Group="a1"), *everything_out("web")],
        groups,
        [port("w", "web"), port("b", "web", address="10.0.0.12")],
    )
    verdicts = Verdicts(imported)
    assert verdicts.may("198.51.100.7", "port id-w", 6, 22)
    assert verdicts.may("port id-b", "port id-w", 6, 22, ("10.0.0.12", "10.0.0.11"))
    assert not verdicts.may("port id-w", "port id-b", 6, 22, ("10.0.0.11", "10.0.0.12"))
    assert not verdicts.may("2001:db8::7", "port id-w", 6, 22)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ({"a": 1}, "f.json:1:1: expected a list of keys and values, as openstack … list -f json prints it"),
        (
            [{"ID": "x"}],
            "f.json:1:1: expected what openstack prints for one of: security group rule list, port list --long, "
            "server list, address group list, security group list",
        ),
        (
            [{key: value for key, value in rule("web").items() if key != "Direction"}],
            "f.json:1:2: [0].Direction: this column is required and missing; older clients print it with --long",
        ),
        (
            [{key: value for key, value in rule("web").items() if key != "Security Group"}],
            "f.json:1:2: [0].Security Group: this column is required and missing; list the rules of all groups, "
            "without naming one",
        ),
        ([tcp("web", "22")], "f.json:1:2: [0]: expected LOW:HIGH in Port Range"),
        ([tcp("web", "30:20")], "f.json:1:2: [0]: expected LOW:HIGH in Port Range"),
        ([rule("web", IP_Range="2001:db8::/32")], "f.json:1:2: [0]: expected a prefix of IPv4 in IP Range"),
        ([rule("web", IP_Protocol="icmp", Port_Range="8")], "expected type=TYPE or type=TYPE:code=CODE in Port Range"),
        ([rule("web"), rule("web")], "is listed twice"),
        ([rule("web", Direction="both")], "Direction: expected 'ingress' or 'egress'"),
        ([port("w", "web", address="no")], "expected IP addresses"),
        (
            [{"ID": "s1", "Name": "a", "Status": "", "Networks": {}}],
            "f.json:1:2: [0]: which groups is it in? Give openstack port list --long, too, or list the servers with "
            '-c ID -c Name -c Status -c Networks -c "Security Groups"',
        ),
        ([], "f.json: expected workloads, found none: rules alone do not say between whom they are"),
    ],
)
def test_bad_input_is_named_with_its_place(rows: object, problem: str) -> None:
    """File, line, column, row, and what was expected."""
    with pytest.raises(InputError) as caught:
        import_openstack({"f.json": json.dumps(rows)})
    assert problem in str(caught.value)


def test_command(tmp_path: Path) -> None:
    """The topology that it writes passes `policy check`."""
    (tmp_path / "rules.json").write_text(json.dumps([*everything_out("web"), tcp("web", "22:22")]))
    (tmp_path / "ports.json").write_text(json.dumps([port("a", "web"), port("b", "web", address="10.0.0.12")]))
    files = [str(tmp_path / "rules.json"), str(tmp_path / "ports.json")]
    run = CliRunner().invoke(app, ["import", "openstack", *files, "-o", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    assert CliRunner().invoke(app, ["check", str(tmp_path / "out")]).exit_code == 0
    assert CliRunner().invoke(app, ["import", "openstack", *files, "--json"]).exit_code == 0
    assert CliRunner().invoke(app, ["import", "openstack", str(tmp_path / "none.json")]).exit_code == 2
