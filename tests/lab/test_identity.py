"""Sessions on a real network: how they start, go on and end, and what is there before they do."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.host import RunningHost
from lab.login import LoginResult
from lab.processes import wait_for, zethane
from lab.stream import Stream
from labsite import SETTLED, TIERS, Site, reaches, running, three_tier
from zethane.identity.totp import code_at

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

POLICY = (
    TIERS
    + """\
rules:
  - {id: app-db, from: [app], to: [db], services: [tcp/5432, udp/5432, icmp]}
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return three_tier(tmp_path, POLICY)


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    with running(folder, login=("app1", "db1")) as running_site:
        yield running_site


def attempt(site: Site, host: str, *secrets: str, who: tuple[str, str] = ("--user", "alice")) -> tuple[int, str]:
    """`zethane login` from a host with these secrets: the exit status and what it said."""
    arguments = ["login", "--portal", site.network.portal_urls[0], *who, "--json"]
    if len(secrets) > 1:
        arguments.append("--totp")
    done = site.network.host(host).run(zethane(*arguments), text_in="\n".join(secrets) + "\n")
    return done.returncode, done.stdout + done.stderr


CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1.5)
except OSError:
    sys.exit(1)
"""


def connects(source: RunningHost, address: object, port: int) -> bool:
    return source.run(["python3", "-c", CONNECT, str(address), str(port)]).returncode == 0


def pings(source: RunningHost, address: object) -> bool:
    return source.run(["ping", "-c", "1", "-W", "1", str(address)]).returncode == 0


def test_before_login_a_host_reaches_the_portals_port_and_nothing_else(site: Site) -> None:
    hosts = site.network.hosts
    ghost, portal = hosts["ghost"], hosts["portal"]
    with Stream(hosts["app1"], hosts["db1"], "tcp", 5432) as stream:  # so that something listens at db1
        stream.wait_received(5)
        assert connects(ghost, portal.address(), 8080)
        assert not connects(ghost, portal.address(), 22)
        assert not connects(ghost, hosts["db1"].address(), 5432)
        assert not pings(ghost, portal.address())
        assert not pings(ghost, hosts["db1"].address())
        assert not pings(portal, ghost.address())
    reasons = {record["reason"] for record in site.records("decision") if record["decision"] == "deny"}
    assert "unauthenticated" in reasons


def test_a_code_works_once_and_wrong_secrets_are_refused_alike(site: Site) -> None:
    totp = site.network.hosts["laptop"].login.totp
    status, first = attempt(site, "laptop", "wrong")
    assert status == 1
    status, second = attempt(site, "laptop", "wrong", who=("--user", "nobody"))
    assert status == 1
    assert first == second
    code = code_at(base64.b32decode(totp), int(time.time() // 30))
    status, said = attempt(site, "laptop", "lab-alice", code)
    assert status == 0, said
    site.network.logout("laptop")
    status, said = attempt(site, "laptop", "lab-alice", code)
    assert status == 1
    assert said == first
    details = [r["detail"] for r in site.records("session") if r["reason"] == "login-refused"]
    assert details == ["wrong-secret", "unknown", "code-used"]


def test_attempts_are_limited_per_endpoint_and_others_can_still_log_in(site: Site) -> None:
    answers = [attempt(site, "ghost", f"guess {number}")[1] for number in range(12)]
    assert "too many attempts" in answers[-1].lower()
    status, said = attempt(site, "desk", "lab-bob", who=("--user", "bob"))
    assert status == 0, said


def test_the_endpoint_is_where_the_connection_comes_from(site: Site) -> None:
    """A claim in a header or a body changes nothing; the session is at the port that the packets came in at."""
    desk = site.network.hosts["desk"]
    body = json.dumps({"user": "bob", "secret": "lab-bob"})
    forged = [f"-H{name}: 10.0.0.66" for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP")]
    url = f"{site.network.portal_urls[0]}/v1/login"
    done = desk.run(["curl", "-s", "-m", "10", *forged, "-HContent-Type: application/json", "-d", body, url])
    session = json.loads(done.stdout)
    assert session["addresses"] == [str(desk.address())]
    (found,) = [one for one in site.get("/sessions")["sessions"] if one["session"] == session["session"]]
    place = site.network.network.hosts["desk"]
    assert (found["port"], int(found["mac"].replace(":", ""), 16)) == (place.port, place.mac)


@pytest.mark.parametrize("proto", ["tcp", "udp", "icmp"])
def test_an_established_flow_stops_when_its_host_logs_out(site: Site, proto: str) -> None:
    """Logged out at the portal, by the host itself: nothing sent after that arrives."""
    hosts = site.network.hosts
    with Stream(hosts["app1"], hosts["db1"], proto, 0 if proto == "icmp" else 5432) as stream:  # type: ignore[arg-type]
        stream.wait_received(50)
        site.network.logout("app1")
        moment = time.monotonic()
        if proto != "tcp":  # TCP waits for its acknowledgements and sends nothing new
            stream.wait_sent(200)
        assert not pings(hosts["app1"], hosts["db1"].address())
        assert stream.received_after(moment + SETTLED) == []


def test_a_session_ends_with_its_lifetime(folder: Path) -> None:
    with running(folder, "--session-lifetime", "8", login=("app1", "db1")) as site:
        hosts = site.network.hosts
        with Stream(hosts["app1"], hosts["db1"], "udp", 5432, interval=0.01) as stream:
            stream.wait_received(20)
            site.wait_record("session", reason="expired")
            moment = time.monotonic()
            stream.wait_sent(100)
            assert stream.received_after(moment + SETTLED) == []
        assert site.get("/sessions")["sessions"] == []


def test_proving_itself_again_renews_the_session_and_cuts_nothing(site: Site) -> None:
    hosts = site.network.hosts
    (before,) = [one for one in site.get("/sessions")["sessions"] if one["name"] == "app1"]
    with Stream(hosts["app1"], hosts["db1"], "udp", 5432) as stream:
        stream.wait_received(50)
        site.login("app1")
        stream.wait_received(50)
        stream.stop()
        assert stream.missing() == []
    (after,) = [one for one in site.get("/sessions")["sessions"] if one["name"] == "app1"]
    assert after["session"] == before["session"]
    assert after["expires"] > before["expires"]


def test_a_host_that_logs_in_elsewhere_takes_its_session_along(site: Site) -> None:
    """desk's place gets app1's card: after the login there, nothing passes at the old place."""
    hosts = site.network.hosts
    old, new = hosts["app1"], hosts["desk"]
    with Stream(old, hosts["db1"], "udp", 5432) as stream:
        stream.wait_received(50)
        mac = ":".join(f"{byte:02x}" for byte in site.network.network.hosts["app1"].mac.to_bytes(6, "big"))
        move = f"ip link set eth0 down; ip link set eth0 address {mac}; ip addr flush dev eth0; "
        move += f"ip link set eth0 up; ip addr add {old.address()}/24 dev eth0"
        assert new.run(["sh", "-c", move]).returncode == 0
        status, said = attempt(site, "desk", "lab-app1", who=("--workload", "app1"))
        assert status == 0, said
        moment = time.monotonic()
        stream.wait_sent(200)
        assert stream.received_after(moment + SETTLED) == []
    assert site.wait_record("session", reason="moved")["subject"]["principal"] == "workload:app1"
    assert reaches(lambda: int(not pings(new, hosts["db1"].address())))


def _left_out(site: Site) -> int:
    """Packets that the meters of s1 kept out of the log, in however many records that was told."""
    records = [
        r for r in site.records("suppressed") if (r["switch"], r["limit"], r["reason"]) == ("s1", "meter", "denied")
    ]
    return sum(record["packets"] for record in records)


def test_what_the_log_leaves_out_is_counted(site: Site) -> None:
    # Four thousand a second: far over the meter, and no more than the switch takes on a machine that is busy.
    flood = "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('10.0.0.14', 9))"
    flood += "\nfor n in range(6000): s.send(b'x'); time.sleep(0.00025)"
    hosts = site.network.hosts
    mac = ":".join(f"{byte:02x}" for byte in site.network.network.hosts["db1"].mac.to_bytes(6, "big"))
    assert hosts["ghost"].run(["ip", "neigh", "add", "10.0.0.14", "lladdr", mac, "dev", "eth0"]).returncode == 0
    assert hosts["ghost"].run(["python3", "-c", flood]).returncode == 0
    wait_for(
        "the flood is not counted",
        lambda: _left_out(site) > 1000 or None,
        20.0,
        lambda: str(site.records("suppressed")[-5:]),
    )
    logged = [r for r in site.records("decision") if r["reason"] == "unauthenticated" and r["protocol"] == "udp"]
    assert 0 < len(logged) < 1000


def test_a_wrong_password_names_no_secret_anywhere(site: Site) -> None:
    secret = "hunter2-very-secret"
    attempt(site, "desk", secret, who=("--user", "bob"))
    controller = site.network.controller
    assert controller is not None
    written = [controller.log, controller.decisions, site.network.ledger.directory / "portal.log"]
    assert all(secret not in file.read_text(encoding="utf-8") for file in written if file.exists())


def test_a_failed_login_is_an_error_and_not_a_session(site: Site) -> None:
    ghost = site.network.hosts["ghost"]
    ghost.login = site.network.hosts["desk"].login
    assert isinstance(site.network.login("ghost"), LoginResult)
    desk = site.network.hosts["desk"]
    assert desk.run(["sh", "-c", "ip addr flush dev eth0; ip addr add 10.0.0.13/24 dev eth0"]).returncode == 0
    with pytest.raises(LabError):
        site.network.login("desk")
