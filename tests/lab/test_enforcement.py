"""Enforcement on real Open vSwitch: what stops, when its last packet was, and what is not disturbed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.host import RunningHost
from lab.shell import run
from lab.stream import Stream
from labsite import SETTLED, TIERS, TOPOLOGIES, Site, running, three_tier

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

POLICY = (
    TIERS
    + """\
rules:
  - {id: app-db, from: [app], to: [db], services: [tcp/5432, udp/5432, icmp]}
  - {id: web-app, from: [web], to: [app], services: [udp/8080]}
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The three-tier topology with a policy that a test may change."""
    return three_tier(tmp_path, POLICY)


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    """Three tiers, all of the servers logged in."""
    with running(folder, login=("app1", "db1", "web1")) as running_site:
        yield running_site


def assert_ends(stream: Stream, moment: float, *, more: int = 200) -> float:
    """Nothing sent after `moment` plus the switch's cache arrives, however much is sent; the last packet's delay."""
    stream.wait_sent(more)
    late = [packet for packet in stream.received if packet.sent > moment + SETTLED]
    assert late == []
    last = stream.last_received
    assert last is not None
    assert last < moment + SETTLED
    return last - moment


@pytest.mark.parametrize(("proto", "port"), [("tcp", 5432), ("udp", 5432), ("icmp", 0)])
def test_an_established_flow_stops_with_its_session(site: Site, proto: str, port: int, record_property) -> None:
    """The session of either end: the subject's here. The last packet's delay goes into the report."""
    hosts = site.network.hosts
    with Stream(hosts["app1"], hosts["db1"], proto, port) as stream:  # type: ignore[arg-type]  # from the table above
        stream.wait_received(50)
        moment = site.end("app1")
        if proto == "tcp":
            stream.wait_received(0)
            time_after_end = moment + SETTLED
            while time.monotonic() < time_after_end:
                pass  # bounded by SETTLED: TCP sends nothing more by itself that could be waited for
            assert [packet for packet in stream.received if packet.received > time_after_end] == []
            delay = (stream.last_received or moment) - moment
        else:
            delay = assert_ends(stream, moment)
    record_property("last_packet_after_s", delay)
    record = site.wait_record("flow_end", reason="session-revoked")
    assert record["packets"] > 0
    assert record["bytes"] > 0
    assert record["subject"]["principal"] == "workload:app1"


def test_the_objects_session_ends_flows_as_well(site: Site) -> None:
    hosts = site.network.hosts
    with Stream(hosts["app1"], hosts["db1"], "udp", 5432) as stream:
        stream.wait_received(50)
        assert_ends(stream, site.end("db1"))


def test_the_first_packet_is_delivered_once_and_nothing_is_lost_or_doubled(site: Site) -> None:
    hosts = site.network.hosts
    with Stream(hosts["app1"], hosts["db1"], "udp", 5432) as stream:
        stream.wait_received(200)
        stream.stop()
        numbers = [packet.number for packet in stream.received]
    assert numbers[0] == min(stream.sent)
    assert sorted(numbers) == sorted(set(numbers))
    assert stream.missing() == []


def test_a_port_that_goes_down_ends_its_session(site: Site) -> None:
    site.network.set_port("app1", up=False)
    record = site.wait_record("session", reason="port-down")
    assert record["subject"]["principal"] == "workload:app1"
    site.network.set_port("app1", up=True)
    assert "workload:app1" not in {session["principal"] for session in site.get("/sessions")["sessions"]}


def test_a_deny_that_enters_the_policy_cuts_its_flow_and_no_other(site: Site, folder: Path) -> None:
    hosts = site.network.hosts
    with (
        Stream(hosts["app1"], hosts["db1"], "udp", 5432) as cut,
        Stream(hosts["web1"], hosts["app1"], "udp", 8080) as kept,
    ):
        cut.wait_received(50)
        kept.wait_received(50)
        since = time.monotonic()
        before = site.get("/policy")["version"]
        deny = "  - {id: stop, from: [app], to: [db], services: [udp/5432], action: deny}\n"
        (folder / "policy.yaml").write_text(POLICY + deny, encoding="utf-8")
        site.wait_record("flow_end", reason="policy-changed")
        assert site.get("/policy")["version"] != before
        assert_ends(cut, time.monotonic())
        kept.wait_received(100)
        kept.stop()
        assert kept.missing(since) == []


def test_a_reload_that_changes_an_unrelated_rule_loses_no_packet(site: Site, folder: Path) -> None:
    hosts = site.network.hosts
    with Stream(hosts["app1"], hosts["db1"], "udp", 5432, interval=0.001) as stream:
        stream.wait_received(100)
        before = site.get("/policy")["version"]
        (folder / "policy.yaml").write_text(POLICY.replace("udp/8080", "udp/8081"), encoding="utf-8")
        deadline = time.monotonic() + 10
        while site.get("/policy")["version"] == before:
            assert time.monotonic() < deadline
        stream.wait_received(300)
        stream.stop()
        assert stream.missing() == []


def test_a_bad_policy_is_refused_and_the_old_one_stays(site: Site, folder: Path) -> None:
    hosts = site.network.hosts
    before = site.get("/policy")["version"]
    with Stream(hosts["app1"], hosts["db1"], "udp", 5432) as stream:
        stream.wait_received(50)
        (folder / "policy.yaml").write_text(POLICY.replace("to: [db]", "to: [nowhere]"), encoding="utf-8")
        deadline = time.monotonic() + 10
        while (policy := site.get("/policy"))["error"] is None:
            assert time.monotonic() < deadline
        assert policy["version"] == before
        assert "nowhere" in str(policy["error"])
        stream.wait_received(100)
        stream.stop()
        assert stream.missing() == []


def test_the_controllers_death_opens_nothing_and_its_return_loses_no_packet(site: Site) -> None:
    hosts = site.network.hosts
    controller = site.network.controller
    assert controller is not None
    with Stream(hosts["app1"], hosts["db1"], "udp", 5432) as stream:
        stream.wait_received(50)
        sessions = site.get("/sessions")["sessions"]
        entries = _standing(site)
        controller.kill()
        stream.wait_received(200)
        new = hosts["web1"].run(["ping", "-c", "2", "-W", "1", str(hosts["app1"].address())], timeout=20)
        assert new.returncode != 0
        site.network.start_controller()
        stream.wait_received(200)
        assert site.get("/sessions")["sessions"] == sessions
        assert _standing(site) == entries
        stream.stop()
        assert stream.missing() == []
    with Stream(hosts["web1"], hosts["app1"], "udp", 8080) as fresh:
        fresh.wait_received(20)


def _standing(site: Site) -> list[str]:
    """The entries that do not depend on what is flowing just now, without their leases."""
    lines = [line for line in site.entries("s1") if "table=3" not in line]
    return sorted(" ".join(part for part in line.split() if "hard_timeout" not in part) for line in lines)


def test_a_lease_ends_access_on_time_with_the_controller_dead(folder: Path) -> None:
    with running(folder, "--session-lifetime", "12", login=("app1", "db1")) as site:
        hosts = site.network.hosts
        ends = {session["principal"]: session["expires"] for session in site.get("/sessions")["sessions"]}
        assert len(ends) == 2
        with Stream(hosts["app1"], hosts["db1"], "udp", 5432, interval=0.01) as stream:
            stream.wait_received(20)
            started = time.monotonic()
            assert site.network.controller is not None
            site.network.controller.kill()
            stream.wait_sent(1500, timeout=40)
            last = stream.last_received
            assert last is not None
            # Logged in before `started`: twelve seconds after it, every lease has run out.
            assert last < started + 12 + 1
            assert [packet for packet in stream.received if packet.sent > started + 12 + 1] == []
            assert max(stream.sent.values()) > started + 13


def test_broadcasts_reach_no_host_and_arp_is_answered_only_where_a_rule_leads(site: Site) -> None:
    hosts = site.network.hosts
    table = [("app1", "db1", True), ("web1", "app1", True), ("web1", "db1", False), ("db1", "web1", False)]
    for source, target, answered in table:
        address = str(hosts[target].address())
        hosts[source].run(["ping", "-c", "1", "-W", "1", address])
        known = hosts[source].run(["ip", "neigh", "show", address]).stdout
        assert ("lladdr" in known) is answered, (source, target, known)
    with listening(hosts["desk"]) as heard:
        hosts["app1"].run(["ping", "-b", "-c", "3", "-i", "0.2", "-W", "1", "10.0.0.255"])
        hosts["app1"].run(["ping", "-c", "1", "-W", "1", "10.0.0.77"])
    assert heard == []


_LISTEN = """
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 0))
print("up", flush=True)
while True:
    frame, (_, _, kind, *_) = s.recvfrom(99)
    if kind != 4:  # not what the host itself sends
        print(frame.hex(), flush=True)
"""


@contextmanager
def listening(host: RunningHost) -> Iterator[list[str]]:
    """Every frame that reaches a host while the block runs, in hexadecimal; complete when the block has ended."""
    heard: list[str] = []
    ears = host.popen(["python3", "-c", _LISTEN], stdout=subprocess.PIPE, text=True)
    try:
        assert ears.stdout.readline() == "up\n"
        yield heard
    finally:
        ears.terminate()
        heard += ears.communicate()[0].splitlines()


def test_two_sessions_cannot_claim_one_address(site: Site) -> None:
    """The stranger takes app1's address and has a valid account: it is refused, and app1 goes on."""
    ghost, desk = site.network.hosts["ghost"], site.network.hosts["desk"]
    run_in = ["sh", "-c", "ip addr flush dev eth0 && ip addr add 10.0.0.13/24 dev eth0"]
    assert ghost.run(run_in).returncode == 0
    ghost.login = desk.login
    with pytest.raises(Exception, match="address"):
        site.network.login("ghost")
    holders = [session for session in site.get("/sessions")["sessions"] if "10.0.0.13" in session["addresses"]]
    assert [holder["principal"] for holder in holders] == ["workload:app1"]


def test_a_tcp_connection_that_closes_leaves_no_rule_and_one_record(site: Site) -> None:
    hosts = site.network.hosts
    with Stream(hosts["app1"], hosts["db1"], "tcp", 5432) as stream:
        stream.wait_received(20)
    record = site.wait_record("flow_end", reason="finished")
    assert record["packets"] >= 20
    assert record["return_packets"] > 0
    # A closing segment that was sent twice lets the flow in again, for as long as the next one takes.
    deadline = time.monotonic() + 10
    while [line for line in site.entries("s1") if "table=3" in line and "tp_dst=5432" in line]:
        assert time.monotonic() < deadline


def test_logging_out_at_the_portal_ends_the_session(site: Site) -> None:
    site.network.logout("app1")
    assert site.wait_record("session", reason="logout")["subject"]["principal"] == "workload:app1"


def test_what_a_stranger_puts_into_the_tables_is_removed_at_the_next_connection(site: Site) -> None:
    bridge = site.network.bridge("s1")
    assert site.network.controller is not None
    site.network.controller.kill()
    run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", bridge, "table=0,priority=65535,actions=NORMAL"])
    site.network.start_controller()
    assert not [line for line in site.entries("s1") if "NORMAL" in line]


def test_per_flow_rules_carry_the_cookie_the_timeouts_and_both_directions(site: Site) -> None:
    hosts = site.network.hosts
    numbers = {session["name"]: session["session"] for session in site.get("/sessions")["sessions"]}
    with Stream(hosts["app1"], hosts["db1"], "tcp", 5432) as stream:
        stream.wait_received(10)
        rules = [line for line in site.entries("s1") if "table=3" in line and "5432" in line]
    there, back = sorted(rules, key=lambda line: "tp_dst=5432" not in line)
    assert ("tp_dst=5432" in there, "tp_src=5432" in back) == (True, True)
    cookies = {int(line.split("cookie=")[1].split(",")[0], 16) for line in rules}
    (cookie,) = cookies
    assert (cookie >> 40, cookie >> 16 & 0xFFFFFF) == (numbers["app1"], numbers["db1"])
    assert 0 < cookie & 0xFFFF < 0xFF00
    assert all("fin_timeout(idle_timeout=2)" in line and "idle_timeout=300" in line for line in rules)
    (flow,) = site.get("/flows")["flows"]
    assert (flow["rule"], flow["subject"], flow["service"]) == ("app-db", numbers["app1"], "tcp/5432")


def test_the_far_switch_enforces_by_itself() -> None:
    """A near switch that lets a stranger's frames into the fabric: the far one still delivers none of them."""
    with running(TOPOLOGIES / "leaf-spine", "--attest-interval", "600", login=("db1",)) as site:
        network = site.network
        described = network.network
        stray, victim = described.hosts["stray"], described.hosts["db1"]
        assert stray.switch != victim.switch
        link = next(link for link in described.links if stray.switch in (link.a[0], link.b[0]))
        trunk = link.a[1] if link.a[0] == stray.switch else link.b[1]
        tag = 0x1000 | described.switches[victim.switch].number
        leak = f"table=0,priority=65535,in_port={stray.port},actions=push_vlan:0x8100,set_field:{tag}->vlan_vid,{trunk}"
        run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", network.bridge(stray.switch), leak])
        mac = ":".join(f"{byte:02x}" for byte in victim.mac.to_bytes(6, "big"))
        address = str(network.hosts["db1"].address())
        assert network.hosts["stray"].run(["ip", "neigh", "add", address, "lladdr", mac, "dev", "eth0"]).returncode == 0
        with listening(network.hosts["db1"]) as heard:
            network.hosts["stray"].run(["ping", "-c", "5", "-i", "0.2", "-W", "1", address])
        assert heard == []
        counted = run(["ovs-ofctl", "-O", "OpenFlow13", "dump-flows", network.bridge(victim.switch), "table=1"])
        misses = next(line for line in counted.splitlines() if "priority=0" in line)
        assert int(misses.split("n_packets=")[1].split(",")[0]) >= 5
