"""network.yaml: defaults, and an error with its place for everything that contradicts itself."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.errors import InputError
from zethane.network.load import parse_network
from zethane.network.model import Link, Login
from zethane.network.outside import is_outside

ONE = "switches: {s1: {}}\n"
TWO = "switches: {s1: {}, s2: {}}\nlinks: [[s1, s2]]\n"
TOPOLOGIES = Path(__file__).parents[3] / "topologies"


def errors(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_network(text, "n.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_switches_are_numbered_and_get_datapath_ids_by_position():
    """The number is the VLAN id in the fabric; an explicit datapath id is kept."""
    network = parse_network('switches: {a: {}, b: {dpid: "00000000000000ff"}}\nlinks: [[a, b]]\n', "n.yaml")
    assert [(s.name, s.number, s.dpid) for s in network.switches.values()] == [("a", 1, 1), ("b", 2, 255)]


def test_a_host_gets_its_mac_from_its_address():
    """02:00 and the four bytes of the first IPv4 address, also when an IPv6 address comes first."""
    network = parse_network(ONE + 'hosts: {h: {switch: s1, ip: ["2001:db8::1/64", 10.0.0.21/24]}}\n', "n.yaml")
    assert network.hosts["h"].mac == 0x02000A000015
    assert network.hosts["h"].interfaces == (ip_interface("2001:db8::1/64"), ip_interface("10.0.0.21/24"))


def test_the_portal_has_the_highest_free_address_of_each_family():
    """On the first switch; an address that a host has is passed over."""
    text = TWO + 'hosts: {h: {switch: s2, ip: [10.0.0.254/24, "2001:db8::66/64"]}}\n'
    portal = parse_network(text, "n.yaml").portal
    assert portal is not None
    assert portal.switch == "s1"
    assert portal.interfaces == (ip_interface("10.0.0.253/24"), ip_interface("2001:db8::fffe/64"))
    assert portal.tcp_port == 8080


def test_a_data_centre_needs_switches_and_a_portal_only():
    """No hosts: the lab has nothing to build, the controller all it needs."""
    text = ONE + 'portal: {switch: s1, port: 48, ip: 192.0.2.1, mac: "02:00:00:00:00:01"}\n'
    network = parse_network(text, "n.yaml")
    assert network.portal is not None
    assert (network.portal.port, network.portal.mac) == (48, 0x020000000001)
    assert network.switches["s1"].role(48) == "portal"
    assert parse_network(ONE, "n.yaml").portal is None


def test_logins_keep_their_secrets_out_of_reprs():
    """Neither the host's nor the network's repr shows a password or a TOTP secret."""
    login = "{user: alice, password: p4ss-w0rd, totp: JBSWY3DPEHPK3PXP}"
    network = parse_network(ONE + f"hosts: {{h: {{switch: s1, ip: 10.0.0.1/24, login: {login}}}}}\n", "n.yaml")
    assert network.hosts["h"].login == Login("user", "alice", "p4ss-w0rd", "JBSWY3DPEHPK3PXP")
    assert "p4ss" not in repr(network)
    assert "JBSW" not in repr(network)


HOST = "hosts:\n  a: {switch: s1, ip: 10.0.0.1/24}\n"
GOLDEN = [
    (
        ONE + HOST + "  b: {switch: s9, ip: 10.0.0.2/24}\n",
        "n.yaml:4:15: hosts.b.switch: there is no switch s9; expected one of s1",
    ),
    (
        ONE + HOST + "  b: {switch: s1, ip: 10.0.0.1/24}\n",
        "n.yaml:4:23: hosts.b.ip: 10.0.0.1 is the address of a already; expected one of its own",
    ),
    (
        ONE + HOST + "  b: {switch: s1, ip: 10.0.1.2/24}\n",
        "n.yaml:4:23: hosts.b.ip: 10.0.1.2/24 is not in 10.0.0.0/24, the network of a; expected one subnet for all",
    ),
    (
        ONE + HOST + '  b: {switch: s1, ip: 10.0.0.2/24, mac: "02:00:0a:00:00:01"}\n',
        "n.yaml:4:41: hosts.b.mac: 02:00:0a:00:00:01 is the MAC address of a already; expected one of its own",
    ),
    (
        ONE + "hosts:\n  a: {switch: s1, ip: 10.0.0.1}\n",
        "n.yaml:3:23: hosts.a.ip: expected ADDRESS/PREFIX, for example 10.0.0.11/24",
    ),
    (
        ONE + "hosts:\n  a: {switch: s1, ip: 10.0.0.255/24}\n",
        "n.yaml:3:23: hosts.a.ip: 10.0.0.255 is the first or the last address of 10.0.0.0/24; expected one in between",
    ),
    (
        ONE + "hosts:\n  a: {switch: s1, ip: 224.0.0.5/24}\n",
        "n.yaml:3:23: hosts.a.ip: 224.0.0.5 is special; expected a unicast address of a network",
    ),
    (
        ONE + "hosts:\n  a: {switch: s1, port: 4, ip: 10.0.0.1/24}\n  b: {switch: s1, port: 4, ip: 10.0.0.2/24}\n",
        "n.yaml:4:25: hosts.b.port: s1: port 4 is already taken; expected a number that nothing else has",
    ),
    (
        ONE + "hosts:\n  s1: {switch: s1, ip: 10.0.0.1/24}\n",
        "n.yaml:3:7: hosts.s1: a switch is called s1 as well; expected different names",
    ),
    (
        ONE + "hosts:\n  a: {switch: s1, ip: 10.0.0.1/24, login: {user: u, secret: x}}\n",
        "n.yaml:3:43: hosts.a.login: expected user and password (and totp), or workload and secret, and no more",
    ),
    (
        'switches: {a: {}, b: {dpid: "1"}}\nlinks: [[a, b]]\n',
        "n.yaml:1:29: switches.b.dpid: datapath id 0000000000000001 is that of a already; expected one of its own",
    ),
    (
        "switches: {a: {}, b: {}, c: {}}\nlinks: [[a, b]]\n",
        "n.yaml:2:8: links: no path of links leads from a to c; expected one to every switch",
    ),
    (
        "switches: {a: {}}\nlinks: [[a, a]]\n",
        "n.yaml:2:9: links[0]: both ends are the same switch; expected two different ones",
    ),
    (
        'switches: {a: {}, b: {}}\nlinks: [["a:0", b]]\n',
        "n.yaml:2:10: links[0][0]: expected SWITCH or SWITCH:PORT with PORT from 1 to 65279",
    ),
    (
        "switches: {a: {ports: {5: {role: edge}}}, b: {}}\nlinks: [['a:5', b]]\n",
        "n.yaml:2:10: links[0][0]: a: port 5 is declared with role edge; expected role trunk",
    ),
]


@pytest.mark.parametrize(
    ("text", "message"), GOLDEN, ids=[message.split(": ")[1] + str(n) for n, (_, message) in enumerate(GOLDEN)]
)
def test_a_contradiction_is_reported_where_it_stands(text: str, message: str):
    """File, line, column, key, what is wrong and what was expected."""
    assert errors(text) == [message]


def test_all_problems_are_reported_at_once():
    """Not only the first: an editor's round trip each would be slow."""
    text = ONE + "hosts:\n  a: {switch: s8, ip: 10.0.0.1/24}\n  b: {switch: s9, ip: nonsense/24}\n"
    assert len(errors(text)) == 3


@pytest.mark.parametrize("name", ["1a", "a b", "a" * 33, "ä", "a.b", ""])
def test_names_outside_the_charset_are_refused(name: str):
    """Names become parts of interface names and of commands."""
    assert len(errors(ONE + f'hosts: {{"{name}": {{switch: s1, ip: 10.0.0.1/24}}}}\n')) == 1


@pytest.mark.parametrize("name", ["any", "portal"])
def test_names_with_a_meaning_are_refused(name: str):
    """`any` is every session in a policy, `portal` the portal in the lab."""
    assert "has a meaning of its own" in errors(ONE + f"hosts: {{{name}: {{switch: s1, ip: 10.0.0.1/24}}}}\n")[0]


def test_at_most_256_switches():
    """The bound is checked before anything is built from the file."""
    switches = ", ".join(f"s{number}: {{}}" for number in range(257))
    assert len(errors(f"switches: {{{switches}}}\n")) == 1


def test_secrets_are_not_in_error_messages():
    """A login that is wrong is reported without what it holds."""
    text = ONE + "hosts: {a: {switch: s1, ip: 10.0.0.1/24, login: {user: u, password: [s3cr3t], totp: t0p}}}\n"
    assert not [message for message in errors(text) if "s3cr3t" in message or "t0p" in message]


@given(st.text(max_size=300))
def test_arbitrary_text_is_a_network_or_an_input_error(text: str):
    """Nothing else is ever raised."""
    with suppress(InputError):
        assert parse_network(text, "n.yaml").switches


@pytest.mark.parametrize("name", ["three-tier", "campus", "leaf-spine"])
def test_the_shipped_networks_are_right(name: str):
    """Each has hosts, a portal and one host that never authenticates."""
    network = parse_network((TOPOLOGIES / name / "network.yaml").read_text(encoding="utf-8"), name)
    assert network.portal is not None
    assert sum(host.login is None for host in network.hosts.values()) == 1


SITE = """
switches: {s1: {ports: {7: {macs: 8, vlans: [10, 20]}, 8: {addresses: dhcp}, 9: {addresses: [10.0.0.0/28]}}}}
hosts:
  a: {switch: s1, port: 7, vlan: 10, ip: 10.0.0.1/24}
  b: {switch: s1, port: 7, vlan: 20, ip: 10.0.0.2/24}
infrastructure:
  names: {switch: s1, ip: 10.0.0.3/24, serves: [dhcp, dns]}
uplinks:
  wan: {switch: s1, ip: 10.0.0.4/24, networks: [198.51.100.0/24, "2001:db8:ffff::/48"], hosts: {www: 198.51.100.80}}
"""


def test_ports_say_how_many_cards_which_tags_and_whose_addresses_they_take():
    ports = parse_network(SITE, "n.yaml").switches["s1"].ports
    assert (ports[7].macs, ports[7].vlans, ports[7].untagged) == (8, (10, 20), False)
    assert (ports[8].dhcp, ports[8].prefixes, ports[8].untagged) == (True, None, True)
    assert ports[9].prefixes == (ip_network("10.0.0.0/28"),)


def test_hosts_share_a_port_that_is_declared_for_more_than_one_card():
    hosts = parse_network(SITE, "n.yaml").hosts
    assert [(host.port, host.vlan) for host in hosts.values()] == [(7, 10), (7, 20)]
    assert "expected a number that nothing else has" in errors(SITE.replace("macs: 8, ", ""))[0]
    assert "takes no tag 30" in errors(SITE.replace("vlan: 20", "vlan: 30"))[0]
    assert "takes tagged frames only; expected a vlan" in errors(SITE.replace("vlan: 20, ", ""))[0]
    assert parse_network(SITE.replace("vlan: 20, ", "").replace("20]", "20], untagged: true"), "n.yaml")


def test_servers_and_uplinks_have_ports_of_their_own_role():
    network = parse_network(SITE, "n.yaml")
    names, wan = network.infrastructure["names"], network.uplinks["wan"]
    assert names.serves == {"dhcp", "dns"}
    assert network.switches["s1"].role(names.port) == "infrastructure"
    assert network.switches["s1"].role(wan.port) == "uplink"
    assert wan.hosts == {"www": (ip_interface("198.51.100.80/32"),)}
    assert "is in no network of its uplink" in errors(SITE.replace("198.51.100.80", "203.0.113.1"))[0]
    assert "without host bits" in errors(SITE.replace("198.51.100.0/24", "198.51.100.1/24"))[0]


def test_networks_outside_are_no_subnet_of_the_site_and_names_there_are_their_own():
    assert (
        "is in 10.0.0.0/24, which hosts are connected to"
        in errors(SITE.replace("198.51.100.0/24,", "198.51.100.0/24, 10.0.0.0/28,"))[0]
    )
    assert "is the name of something else" in errors(SITE.replace("www:", "a:"))[0]
    inside = SITE.replace("198.51.100.0/24", "0.0.0.0/0").replace("www: 198.51.100.80", "www: 10.0.0.9")
    assert "10.0.0.9 is in 10.0.0.0/24; expected an address outside" in errors(inside)[0]


@pytest.mark.parametrize(
    ("address", "outside"),
    [("198.51.100.80", True), ("203.0.113.1", True), ("10.0.0.9", False), ("127.0.0.1", False), ("2001:db8::1", False)],
)
def test_connected_subnets_and_special_addresses_are_never_outside(address: str, outside: bool):
    """Also where an uplink leads everywhere."""
    network = parse_network(SITE.replace("198.51.100.0/24", "0.0.0.0/0"), "n.yaml")
    assert is_outside(network, ip_address(address)) is outside


def test_switches_may_be_apart_if_their_links_are_to_be_discovered() -> None:
    """Each part needs a trunk that no link is at; a trunk with one discovers nothing."""
    text = """
switches:
  a: {ports: {9: {role: trunk}}}
  b: {}
  c: {ports: {9: {role: trunk}}}
links: [[a, b]]
"""
    assert parse_network(text, "n.yaml").links == (Link(("a", 1), ("b", 1)),)
    used = text.replace("[[a, b]]", '[["a:9", b]]')
    assert "no path of links leads from a to c" in "".join(errors(used))


def test_a_host_may_have_its_addresses_by_dhcp_where_a_server_gives_them() -> None:
    text = "switches: {s1: {}}\nhosts: {h: {switch: s1, ip: dhcp}}\ninfrastructure: {d: {switch: s1, ip: 10.0.0.3/24, "
    network = parse_network(text + "serves: [dhcp]}}", "network.yaml")
    host = network.hosts["h"]
    assert (host.dhcp, host.interfaces) == (True, ())
    assert host.mac >> 32 == 0x0200
    with pytest.raises(InputError, match="no server of the infrastructure serves dhcp"):
        parse_network(text + "serves: [dns]}}", "network.yaml")
