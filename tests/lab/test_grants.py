"""Grants on a real network: the switches let connections in by themselves, and take them back as fast as any other."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.granted import with_grants
from lab.processes import wait_for
from lab.shell import run
from lab.stream import Stream
from labsite import SETTLED, TIERS, Site, reaches, running, three_tier
from zethane.pipeline.fields import OBJECT_MASK, OBJECT_SHIFT, SUBJECT_MASK, SUBJECT_SHIFT
from zethane.pipeline.tables import Table

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

POLICY = (
    TIERS
    + """\
rules:
  - {id: app-db, from: [app], to: [db], services: [tcp/5432, udp/5432, icmp]}
  - {id: web-app, from: [web], to: [app], services: [udp/8080]}
"""
)
GRANTS = with_grants(POLICY)
SWITCHES = "switches: {s1: {}, core: {}, s2: {}}\nlinks: [[s1, core], [core, s2]]\n"
"""Both ends enforce, and what is in between does not know of grants. db1 is at the far switch."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = three_tier(tmp_path_factory.mktemp("grants"), GRANTS)
    network = (made / "network.yaml").read_text(encoding="utf-8").replace("switches:\n  s1: {}\n", SWITCHES)
    (made / "network.yaml").write_text(re.sub(r"(db1: +{switch: )s1", r"\1s2", network), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def shared(folder: Path, switches: None) -> Iterator[Site]:  # noqa: ARG001 - a fixture cannot use usefixtures
    with running(folder, login=("app1", "db1", "web1")) as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Site:
    """Everybody is logged in, whatever the test before has done."""
    there = {session["name"] for session in shared.get("/sessions")["sessions"]}
    gone = {"app1", "db1", "web1"} - there
    if gone:
        shared.login(*gone)
    return shared


def use(site: Site, folder: Path, policy: str) -> float:
    """Put another policy in force; when it was."""
    before = site.get("/policy")["version"]
    (folder / "policy.yaml").write_text(policy, encoding="utf-8")
    deadline = time.monotonic() + 10
    while site.get("/policy")["version"] == before:
        assert time.monotonic() < deadline
    return time.monotonic()


def assert_ends(stream: Stream, moment: float, proto: str) -> None:
    """Nothing arrives from `moment` plus the time that the switch's cache takes on, however much is sent."""
    if proto == "tcp":
        while time.monotonic() < moment + 2 * SETTLED:
            time.sleep(0.01)  # bounded: TCP sends nothing more by itself that could be waited for
    else:
        stream.wait_sent(200)
    assert [packet for packet in stream.received if packet.sent > moment + SETTLED] == []
    assert stream.received_after(moment + SETTLED) == []


@pytest.mark.parametrize(("proto", "port", "whose"), [("tcp", 5432, "app1"), ("udp", 5432, "db1"), ("icmp", 0, "app1")])
def test_a_connection_stops_with_the_session_of_either_end(
    site: Site, proto: str, port: int, whose: str, record_property
) -> None:
    hosts = site.network.hosts
    with Stream(hosts["app1"], hosts["db1"], proto, port) as stream:  # type: ignore[arg-type]  # from the table above
        stream.wait_received(50)
        assert site.get("/flows")["flows"] == []
        moment = site.end(whose)
        assert_ends(stream, moment, proto)
    record_property("last_packet_after_s", (stream.last_received or moment) - moment)


def test_the_switch_lets_in_what_opens_with_the_controller_dead_and_nothing_else(site: Site) -> None:
    hosts, controller = site.network.hosts, site.network.controller
    assert controller is not None
    with Stream(hosts["app1"], hosts["db1"], "udp", 5432) as stream:
        stream.wait_received(20)
        # So both know each other's MAC: nobody would answer their questions while the controller is dead.
        ping = ["ping", "-c", "1", "-W", "2", str(hosts["db1"].address())]
        assert reaches(lambda: hosts["app1"].run(ping, timeout=20).returncode)
        controller.kill()
        try:
            with Stream(hosts["app1"], hosts["db1"], "tcp", 5432) as fresh:
                fresh.wait_received(20)
            denied = hosts["db1"].run(["ping", "-c", "2", "-W", "1", str(hosts["app1"].address())], timeout=20)
            assert denied.returncode != 0
        finally:
            site.network.start_controller("--attest-interval", "1")
        stream.wait_received(50)
        stream.stop()
        assert stream.missing() == []


def test_a_rule_that_goes_takes_its_connections_and_no_others(site: Site, folder: Path) -> None:
    hosts = site.network.hosts
    with (
        Stream(hosts["app1"], hosts["db1"], "udp", 5432) as cut,
        Stream(hosts["web1"], hosts["app1"], "udp", 8080) as kept,
    ):
        cut.wait_received(50)
        kept.wait_received(50)
        since = time.monotonic()
        moment = use(site, folder, "\n".join(line for line in GRANTS.splitlines() if "app-db" not in line) + "\n")
        assert_ends(cut, moment, "udp")
        kept.wait_received(100)
        kept.stop()
        assert kept.missing(since) == []
    use(site, folder, GRANTS)


def test_a_deny_cuts_what_a_grant_has_let_in(site: Site, folder: Path) -> None:
    hosts = site.network.hosts
    deny = "  - {id: stop, from: [app], to: [db], services: [tcp/5432], action: deny}\n"
    with Stream(hosts["app1"], hosts["db1"], "tcp", 5432) as stream:
        stream.wait_received(50)
        assert_ends(stream, use(site, folder, GRANTS + deny), "tcp")
    # What the host has left to send once more is of a session that is over: under the next policy it would be a flow.
    site.end("app1")
    use(site, folder, GRANTS)


def test_a_connection_goes_on_when_its_rule_becomes_one_that_is_verified_and_back(site: Site, folder: Path) -> None:
    hosts = site.network.hosts
    with Stream(hosts["app1"], hosts["db1"], "udp", 5432) as stream:
        stream.wait_received(50)
        use(site, folder, POLICY)
        deadline = time.monotonic() + 10
        while not (flows := site.get("/flows")["flows"]):
            assert time.monotonic() < deadline
            stream.wait_received(10)
        assert [flow["rule"] for flow in flows] == ["app-db"]
        use(site, folder, GRANTS)
        stream.wait_received(100)
        stream.stop()
        assert stream.missing() == []


def test_a_new_session_at_an_old_address_inherits_no_connection(site: Site) -> None:
    hosts = site.network.hosts
    with Stream(hosts["app1"], hosts["db1"], "tcp", 5432) as stream:
        stream.wait_received(50)
        moment = site.end("app1")
        site.login("app1")
        assert_ends(stream, max(moment, time.monotonic()), "tcp")
        assert stream.received_after(moment + SETTLED) == []
    with Stream(hosts["app1"], hosts["db1"], "tcp", 5432) as anew:
        anew.wait_received(20)


_REFUSED = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
s.connect((sys.argv[1], 5432))
s.send(b"x")
try:
    s.recv(1)
except ConnectionRefusedError:
    print("refused")
"""


def test_an_error_about_a_connection_comes_back(site: Site) -> None:
    """A datagram for a port where nobody listens: the host that gets it says so, and the sender hears of it."""
    hosts = site.network.hosts
    told = hosts["app1"].run(["python3", "-c", _REFUSED, str(hosts["db1"].address())], timeout=20)
    assert told.stdout.strip() == "refused", told


@pytest.mark.parametrize("whose", ["app1", "db1"])
def test_a_connection_stops_with_the_segment_of_either_end(site: Site, folder: Path, whose: str) -> None:
    """Not the session ends, but what it may: what is open is held against that with its next packet."""
    hosts, file = site.network.hosts, folder / "identities.yaml"
    before = file.read_text(encoding="utf-8")
    with Stream(hosts["app1"], hosts["db1"], "udp", 5432) as stream:
        stream.wait_received(50)
        tier = {"app1": "app", "db1": "db"}[whose]
        file.write_text(before.replace(f"labels: {{tier: {tier}}}", "labels: {tier: web}"), encoding="utf-8")
        try:
            moment = wait_segment(site, whose, "web")
            assert_ends(stream, moment, "udp")
            stream_end = stream.sent
        finally:
            file.write_text(before, encoding="utf-8")
        wait_segment(site, whose, tier)
        stream.wait_received(50)  # the same session may again what it might before
        assert len(stream.sent) > len(stream_end)


def wait_segment(site: Site, host: str, segment: str) -> float:
    """When a host's session was seen to be in a segment."""

    def there() -> bool | None:
        sessions = {session["name"]: session["segment"] for session in site.get("/sessions")["sessions"]}
        return sessions.get(host) == segment or None

    wait_for(f"{host} is not in {segment}", there, 20.0, lambda: str(site.records("session")[-3:]))
    return time.monotonic()


def test_a_connection_that_the_far_switch_has_no_room_for_is_verified_and_passes(site: Site) -> None:
    hosts, controller = site.network.hosts, site.network.controller
    assert controller is not None
    site.end("app1")  # with the flows of tests before
    site.login("app1")
    zone = controller.zones + len(("s1", "core", "s2"))
    run(["ovs-appctl", "dpctl/ct-set-limits", f"zone={zone},limit=1"])
    try:
        with Stream(hosts["app1"], hosts["db1"], "udp", 5432) as tracked:
            tracked.wait_received(20)
            with Stream(hosts["app1"], hosts["db1"], "tcp", 5432) as verified:
                verified.wait_received(20)
                (flow,) = site.get("/flows")["flows"]
                assert (flow["rule"], flow["service"]) == ("app-db", "tcp/5432")
                moment = site.end("db1")
                assert_ends(verified, moment, "tcp")
                assert_ends(tracked, moment, "udp")
    finally:
        run(["ovs-appctl", "dpctl/ct-del-limits", f"zone={zone}"])
    assert [(record["reason"], record["switch"]) for record in site.records("switch")].count(("tracking-full", "s2"))


def test_the_log_has_every_connection_and_what_both_ends_have_carried_to_the_packet(site: Site) -> None:
    hosts = site.network.hosts
    for name in ("app1", "db1"):
        site.end(name)
    site.login("app1", "db1")
    numbers = {name: site.sessions[name].session for name in ("app1", "db1")}
    answered = hosts["app1"].run(["ping", "-c", "2", "-W", "2", str(hosts["db1"].address())], timeout=20)
    assert answered.returncode == 0
    with Stream(hosts["app1"], hosts["db1"], "udp", 5432) as stream:
        stream.wait_received(100)
        stream.stop()
        sent = len(stream.sent)
    # The packet that opens a connection is counted by its rule alone: one request is left, and both answers.
    there, back = 1 + sent - 1, 2
    for switch, name, sends, gets in (("s1", "app1", there, back), ("s2", "db1", back, there)):
        number = numbers[name]
        site.wait_counted(switch, Table.CONNECTION, f"{number << SUBJECT_SHIFT:#x}/{SUBJECT_MASK:#x}", sends)
        site.wait_counted(switch, Table.OWNER, f"{number << OBJECT_SHIFT:#x}/{OBJECT_MASK:#x}", gets)
    begun = [record for record in site.records("decision") if record.get("enforced") == "switch"]
    ours = [record for record in begun if record["subject"]["session"] == numbers["app1"]]
    assert {(record["decision"], record["rule"]) for record in begun} <= {("allow", "app-db"), ("allow", "web-app")}
    assert [record["service"] for record in ours] == ["icmp", "udp/5432"]
    for name in ("app1", "db1"):
        site.end(name)
    size = 14 + 20 + 8
    pings, datagrams = size + 56, size + 12
    carried = {"app1": (there, back), "db1": (back, there)}
    octets = {"app1": (pings + (sent - 1) * datagrams, 2 * pings)}
    octets["db1"] = octets["app1"][::-1]
    for name, switch in (("app1", "s1"), ("db1", "s2")):
        who = ours[0]["subject" if name == "app1" else "object"]
        used = site.wait_record("grant_usage", reason="session-ended", subject=who)
        assert used["switch"] == switch
        assert (used["sent_packets"], used["received_packets"]) == carried[name]
        assert (used["sent_bytes"], used["received_bytes"]) == octets[name]
    rules = [record for record in site.records("grant_usage") if "rule" in record]
    assert {record["rule"] for record in rules} <= {"app-db", "web-app"}
    assert sum(record["connections"] for record in rules) > 0
