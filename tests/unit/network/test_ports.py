"""The port plan: which link, portal or host gets which number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zethane.network.load import parse_network
from zethane.network.model import Network

NAMES = [f"s{number}" for number in range(1, 6)]


def plan(network: Network, switch: str) -> list[str]:
    """`NUMBER what` for every port of a switch."""
    described = []
    for number, port in network.switches[switch].ports.items():
        what = f"{port.peer[0]}:{port.peer[1]}" if port.peer else port.host or port.role
        described.append(f"{number} {what}")
    return described


def test_links_come_first_then_the_portal_then_the_hosts():
    """Without explicit numbers the lowest free ones are given in the order of the file."""
    text = """
switches: {s1: {}, s2: {}}
links: [[s1, s2], [s2, s1]]
hosts: {b: {switch: s1, ip: 10.0.0.2/24}, a: {switch: s1, ip: 10.0.0.1/24}, c: {switch: s2, ip: 10.0.0.3/24}}
"""
    network = parse_network(text, "network.yaml")
    assert plan(network, "s1") == ["1 s2:1", "2 s2:2", "3 portal", "4 b", "5 a"]
    assert plan(network, "s2") == ["1 s1:1", "2 s1:2", "3 c"]


def test_explicit_numbers_are_kept_and_nothing_else_gets_them():
    """What the file gives to a link, a host or only declares is not handed out automatically."""
    text = """
switches: {s1: {ports: {1: {role: trunk}}}, s2: {}}
links: [["s1:2", "s2:7"]]
hosts: {a: {switch: s1, ip: 10.0.0.1/24}, b: {switch: s1, port: 3, ip: 10.0.0.2/24}}
"""
    network = parse_network(text, "network.yaml")
    assert plan(network, "s1") == ["1 trunk", "2 s2:7", "3 b", "4 portal", "5 a"]
    assert plan(network, "s2") == ["7 s1:2"]
    assert network.switches["s1"].role(99) == "edge"


@st.composite
def networks(draw: st.DrawFn) -> str:
    """A connected network with some explicit numbers, as text."""
    count = draw(st.integers(1, len(NAMES)))
    names = NAMES[:count]
    links = [(names[draw(st.integers(0, child - 1))], names[child]) for child in range(1, count)]
    if count > 1:
        links += draw(
            st.lists(st.tuples(*[st.sampled_from(names)] * 2).filter(lambda ends: ends[0] != ends[1]), max_size=4)
        )
    wanted = iter(
        draw(st.lists(st.none() | st.integers(1, 60), min_size=9, max_size=9, unique_by=lambda n: n or object()))
    )
    lines = ["switches:"] + [f"  {name}: {{}}" for name in names]
    lines += ["links:"] + [f"  - [{a}, {b}]" for a, b in links] if links else []
    lines.append("hosts:")
    for number in range(1, draw(st.integers(1, 8)) + 1):
        port = next(wanted)
        at = f", port: {port}" if port else ""
        lines.append(f"  h{number}: {{switch: {draw(st.sampled_from(names))}, ip: 10.0.0.{number}/24{at}}}")
    return "\n".join(lines) + "\n"


@given(networks())
def test_the_plan_is_consistent(text: str):
    """No number is used twice, both ends of a link name each other, and every host is where the plan says."""
    network = parse_network(text, "network.yaml")
    for link in network.links:
        assert network.switches[link.a[0]].ports[link.a[1]].peer == link.b
        assert network.switches[link.b[0]].ports[link.b[1]].peer == link.a
    taken = [end for link in network.links for end in (link.a, link.b)]
    taken += [(host.switch, host.port) for host in network.hosts.values()]
    assert network.portal is not None
    taken.append((network.portal.switch, network.portal.port))
    assert len(set(taken)) == len(taken)
    assert {(name, number) for name, switch in network.switches.items() for number in switch.ports} == set(taken)
    for host in network.hosts.values():
        port = network.switches[host.switch].ports[host.port]
        assert (port.host, port.role) == (host.name, "edge")


@given(networks())
def test_the_same_file_gives_the_same_plan(text: str):
    """Controller and lab read the file on their own and must agree."""
    assert parse_network(text, "one") == parse_network(text, "two")
