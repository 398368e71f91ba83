"""Authentication below IP on a real network: wpa_supplicant, FreeRADIUS, and what a MAC alone is worth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.processes import wait_for
from lab.stream import Stream
from lab.supplicant import Supplicant
from labsite import SETTLED, Site, running
from zethane.net.mac import format_mac
from zethane.network.model import Login

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

NETWORK = """
switches:
  s1:
    ports: {2: {dot1x: true}, 3: {dot1x: true}, 4: {dot1x: true}, 8: {dot1x: true, mab: true}}
  s2:
    ports: {2: {dot1x: true}, 3: {mab: true}, 4: {dot1x: true}}
links: [["s1:9", "s2:9"]]
portal: {switch: s1, port: 1, ip: 10.0.0.254/24}
hosts:
  machine: {switch: s1, port: 2, ip: 10.0.0.11/24, login: {device: machine, via: dot1x, eap: tls}}
  alice:   {switch: s1, port: 3, ip: 10.0.0.12/24, login: {user: alice, password: lab-alice, via: dot1x, eap: peap}}
  bob:     {switch: s1, port: 4, ip: 10.0.0.13/24, login: {user: bob, password: lab-bob, via: dot1x, eap: ttls}}
  carol:   {switch: s2, port: 2, ip: 10.0.0.14/24, login: {user: carol, password: lab-carol, via: dot1x, eap: md5}}
  printer: {switch: s2, port: 3, ip: 10.0.0.31/24, login: {device: printer, via: mab}}
  copier:  {switch: s2, port: 4, ip: 10.0.0.32/24, mac: "02:00:00:00:32:32"}
  thief:   {switch: s1, port: 8, ip: 10.0.0.66/24}
"""

IDENTITIES = """
users:
  alice: {groups: [staff]}
  bob: {groups: [staff]}
  carol: {groups: [staff]}
devices:
  machine: {labels: {managed: "yes"}}
  printer: {mac: "MAC", labels: {kind: printer}}
  copier: {mac: "02:00:00:00:32:32", labels: {kind: printer}}
"""

POLICY = """
version: 1
segments:
  staff: {groups: [staff]}
  machines: {labels: {managed: "yes"}}
  printers: {labels: {kind: printer}}
rules:
  - {id: print, from: [staff, machines], to: [printers], services: [udp/631-632]}
"""

SOURCES = """
radius: {servers: {lab: {host: 127.0.0.1, secret: replaced-by-the-lab}}}
dot1x: {tx_period: 2s, quiet_period: 3s, reauthenticate: 24s}
"""

FORGE = """
import socket, sys
card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
card.bind(("eth0", 0))
for kind in (2, 1):  # EAPOL-Logoff, then EAPOL-Start
    card.send(bytes.fromhex("0180c2000003" + sys.argv[1] + "888e") + bytes((2, kind, 0, 0)) + bytes(42))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, switches: None) -> Iterator[Site]:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("dot1x")
    mac = "02:00:00:00:31:31"
    network = NETWORK.replace("ip: 10.0.0.31/24,", f'ip: 10.0.0.31/24, mac: "{mac}",')
    for name, text in (
        ("network", network),
        ("identities", IDENTITIES.replace("MAC", mac)),
        ("policy", POLICY),
        ("sources", SOURCES),
    ):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    with running(folder) as running_site:
        yield running_site


def session_of(site: Site, host: str) -> dict[str, Any] | None:
    mac = format_mac(site.network.network.hosts[host].mac)
    port = site.network.network.hosts[host].port
    found = [one for one in site.get("/sessions")["sessions"] if one["mac"] == mac and one["port"] == port]
    return found[0] if found else None


def unanswered(site: Site) -> float:
    """How many hosts have not answered an EAP request."""
    counters = {one["name"]: one["value"] for one in site.get("/counters")["counters"]}
    return float(counters.get("dot1x_unanswered", 0))


def mac_of(site: Site, host: str) -> str:
    return format_mac(site.network.network.hosts[host].mac)


def test_each_method_of_eap_lets_its_principal_in(site: Site) -> None:
    found = {name: session_of(site, name) for name in ("machine", "alice", "bob", "carol")}
    told = {name: (one["principal"], one["segment"], one["methods"], one["aal"]) for name, one in found.items() if one}
    assert told == {
        "machine": ("device:machine", "machines", ["pop", "swk"], 2),
        "alice": ("user:alice", "staff", ["pwd"], 1),
        "bob": ("user:bob", "staff", ["pwd"], 1),
        "carol": ("user:carol", "staff", ["pwd"], 1),
    }


def test_sessions_have_the_addresses_that_their_hosts_use(site: Site) -> None:
    for name in ("machine", "alice", "carol", "printer"):
        session = session_of(site, name)
        assert session is not None
        assert session["addresses"] == [str(site.network.hosts[name].address())]


def test_a_renewal_loses_no_packet(site: Site) -> None:
    """Every proof is renewed a quarter of its time before its end; two methods, across two switches."""
    before = session_of(site, "alice")
    assert before is not None
    with (
        Stream(site.network.hosts["alice"], site.network.hosts["printer"], "udp", 631) as one,
        Stream(site.network.hosts["machine"], site.network.hosts["printer"], "udp", 632) as other,
    ):
        for stream in (one, other):
            stream.wait_received(20)
        since = len(site.records("session"))

        def renewed() -> bool | None:
            events = site.records("session")[since:]
            who = {r["subject"]["principal"] for r in events if r["reason"] == "reauthenticated"}
            return {"user:alice", "device:machine"} <= who or None

        wait_for("nobody renewed", renewed, 40.0, lambda: str(site.records("session")[since:]))
        for stream in (one, other):
            stream.wait_received(20)
            stream.stop()
            assert stream.missing() == []
    after = session_of(site, "alice")
    assert after is not None
    assert after["session"] == before["session"]


def test_a_printer_gets_in_by_its_mac_at_its_port_alone(site: Site) -> None:
    printer = session_of(site, "printer")
    assert printer is not None
    assert (printer["principal"], printer["methods"], printer["aal"]) == ("device:printer", [], 0)
    silent = unanswered(site)
    assert site.network.hosts["copier"].run(["ping", "-c", "3", "-i", "0.2", "-W", "1", "10.0.0.254"]).returncode == 1
    # It is asked who it is. Now that it has not answered, its MAC would do at the printer's port, and does not here.
    wait_for("the copier was not asked", lambda: unanswered(site) > silent or None, 15.0, lambda: "")
    assert session_of(site, "copier") is None


def test_a_mac_with_a_proof_is_worth_nothing_elsewhere(site: Site) -> None:
    """The thief has the machine's card: its Logoff and Start end nothing, and it does not get in by the MAC."""
    mac = mac_of(site, "machine")
    thief, machine = site.network.hosts["thief"], site.network.hosts["machine"]
    before = session_of(site, "machine")
    with Stream(machine, site.network.hosts["printer"], "udp", 632) as stream:
        stream.wait_received(20)
        assert thief.run(["python3", "-c", FORGE, mac.replace(":", "")]).returncode == 0
        site.wait_record("decision", reason="eapol-spoof", port=8)
        assert thief.run(["ip", "link", "set", "eth0", "address", mac]).returncode == 0
        thief.run(["ping", "-c", "8", "-i", "1", "-W", "1", "10.0.0.254"])
        refused = site.wait_record("session", reason="login-refused", port=8)
        assert refused["detail"] == "method-not-allowed"
        stream.wait_received(20)
        stream.stop()
        assert stream.missing() == []
    after = session_of(site, "machine")
    assert before is not None
    assert after is not None
    assert after["session"] == before["session"]
    assert [one for one in site.get("/sessions")["sessions"] if one["port"] == 8] == []


@contextmanager
def supplicant(site: Site, directory: Path, login: Login, outer: str | None = None) -> Iterator[Supplicant]:
    """One at the copier, which has none of its own."""
    assert site.network.sources is not None
    assert site.network.sources.authority is not None
    ca = site.network.sources.authority.certificate
    started = Supplicant(site.network.hosts["copier"], directory, login, ca, outer=outer)
    try:
        yield started
    finally:
        started.stop()


def login_of(site: Site, host: str, **changes: Any) -> Login:
    login = site.network.network.hosts[host].login
    assert login is not None
    return replace(login, **changes)


def test_a_wrong_password_is_refused_and_the_host_is_told(site: Site, tmp_path: Path) -> None:
    with supplicant(site, tmp_path, login_of(site, "alice", secret="wrong")) as wrong:
        record = site.wait_record("session", reason="login-refused", detail="rejected")
        assert (record["switch"], record["port"], record["account"]) == ("s2", 4, "user:alice")
        wait_for("the host was not told", lambda: wrong.said("CTRL-EVENT-EAP-FAILURE") or None, 10.0, str)
        assert session_of(site, "copier") is None


@pytest.mark.parametrize("eap", ["peap", "ttls"])
def test_nobody_is_somebody_else_by_what_is_outside_the_tunnel(site: Site, tmp_path: Path, eap: str) -> None:
    """Bob, who calls himself alice outside: it is bob whom the server has checked."""

    def settled() -> str | None:
        session = session_of(site, "copier")
        return session and str(session["principal"])

    with supplicant(site, tmp_path, login_of(site, "bob", eap=eap), "alice") as started:
        told = wait_for("nothing came of it", settled, 25.0, lambda: str(site.records("session")[-5:]))
        assert told == "user:bob"
        started.tell("logoff")
        wait_for("the session did not end", lambda: settled() is None or None, 10.0, lambda: str(settled()))


def test_a_logoff_stops_established_flows(site: Site) -> None:
    hosts = site.network.hosts
    with Stream(hosts["carol"], hosts["printer"], "udp", 631) as stream:
        stream.wait_received(50)
        site.network.logout("carol")
        site.wait_record("session", reason="logout")
        moment = time.monotonic()
        stream.wait_sent(200)
        assert stream.received_after(moment + SETTLED) == []
    assert session_of(site, "carol") is None
