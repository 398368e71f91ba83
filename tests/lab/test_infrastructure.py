"""DHCP and DNS with a real server: addresses before the login, names after it, and nobody else who plays the server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import addressing
from lab.host import RunningHost
from lab.stream import Stream
from labsite import PORTAL_ONLY, SETTLED, TIERS, Site, reaches, running
from zethane.net.mac import format_mac

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("switches")]

SERVER, SERVER6 = "10.7.0.2", "2001:db8:7::2"
PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

NETWORK = """
switches:
  s1: {ports: {4: {addresses: dhcp}}}
  s2: {ports: {4: {addresses: dhcp}}}
links: [[s1, s2]]
infrastructure:
  server: {switch: s1, ip: [10.7.0.2/24, "2001:db8:7::2/64"], serves: [dhcp, dns]}
hosts:
  web1:   {switch: s1, port: 4, ip: dhcp, login: {workload: web1, secret: lab-web1}}
  desk:   {switch: s2, port: 4, ip: dhcp, login: {user: bob, password: lab-bob}}
  rogue:  {switch: s2, ip: [10.7.0.66/24, "2001:db8:7::66/64"]}
"""
POLICY = (
    TIERS
    + """\
rules:
  - {id: staff-web, from: [staff], to: [web], services: [icmp]}
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    topology = tmp_path / "topology"
    topology.mkdir()
    (topology / "network.yaml").write_text(NETWORK, encoding="utf-8")
    (topology / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (topology / "identities.yaml").write_bytes((PORTAL_ONLY / "identities.yaml").read_bytes())
    return topology


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    with running(folder, login=None) as running_site:
        yield running_site


QUERY = """
import socket, struct, sys
server, name, kind = sys.argv[1:4]
labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split(".")) + b"\\0"
question = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!HH", 28 if kind == "6" else 1, 1)
def ask():
    if kind == "tcp":
        with socket.create_connection((server, 53), 2) as tcp:
            tcp.sendall(struct.pack("!H", len(question)) + question)
            return tcp.recv(2048)[2:]
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(1)
        udp.sendto(question, (server, 53))
        return udp.recv(2048)
answer = ask()
size = 16 if kind == "6" else 4
print(socket.inet_ntop(socket.AF_INET6 if kind == "6" else socket.AF_INET, answer[-size:]))
"""

ROGUE = """
import struct, sys
from scapy.all import BOOTP, DHCP, Ether, IP, UDP, sendp
chaddr = bytes.fromhex(sys.argv[1].replace(":", ""))
options = [("message-type", "offer"), ("server_id", "10.7.0.66"), ("lease_time", 600), "end"]
for source in ("10.7.0.66", "10.7.0.2"):
    frame = Ether(dst="ff:ff:ff:ff:ff:ff") / IP(src=source, dst="255.255.255.255") / UDP(sport=67, dport=68)
    frame = frame / BOOTP(op=2, xid=7, yiaddr="10.7.0.99", chaddr=chaddr) / DHCP(options=options)
    sendp(frame, iface="eth0", verbose=0)
"""


LISTENER = """
import socket
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as raw:
    raw.bind(("eth0", 0x0800))
    raw.settimeout(10)
    print("ready", flush=True)
    while True:
        frame = raw.recv(2048)
        if frame[23] == 17 and frame[36:38] == bytes((0, 68)):
            print(socket.inet_ntoa(frame[58:62]))
            break
"""


def lookup(host: RunningHost, server: str, name: str, kind: str = "4") -> str | None:
    """What a DNS server says about a name; None without an answer."""
    done = host.run([sys.executable, "-c", QUERY, server, name, kind])
    return done.stdout.strip() if done.returncode == 0 else None


def test_addresses_by_dhcp_then_a_login_and_names_with_them(site: Site) -> None:
    hosts, leases = site.network.hosts, site.network.leases
    desk, web1 = hosts["desk"], hosts["web1"]
    assert set(leases) == {"web1", "desk"}
    for name in leases:
        assert {interface.version for interface in hosts[name].interfaces} == {4, 6}
    assert leases["desk"]["ipv4"].told["dns"] == [SERVER]
    assert lookup(desk, SERVER, "web1") is None
    assert lookup(hosts["rogue"], SERVER, "web1") is None
    site.login("desk", "web1")
    sessions = {entry["principal"]: entry for entry in site.get("/sessions")["sessions"]}
    assert set(sessions["user:bob"]["addresses"]) == {str(address) for address in desk.addresses}
    for address in (web1.address(4), web1.address(6)):
        ping = ["ping", "-c1", "-W2", str(address)]
        assert reaches(lambda command=ping: desk.run(command).returncode)
    assert lookup(desk, SERVER, "web1") == lookup(desk, SERVER, "web1", "tcp") == str(web1.address(4))
    assert lookup(desk, SERVER6, "web1", "6") == str(web1.address(6))
    assert lookup(hosts["rogue"], SERVER, "web1") is None
    assert (
        site.wait_record("decision", decision="allow", rule="infrastructure:dns")["object"]["principal"]
        == "server:server"
    )
    for target, service, decision in ((SERVER, "udp/53", "allow"), ("server:server", "tcp/22", "deny")):
        asked = f"/explain?from=bob&to={target}&service={service}"
        assert site.get(asked)["decision"] == decision
    for family, held in leases["desk"].items():
        addressing.renew(desk, family, held)
    assert lookup(desk, SERVER, "web1") == str(web1.address(4))


def test_a_rogue_servers_offer_reaches_nobody(site: Site) -> None:
    """The first answer that arrives is the true server's, although the rogue's were sent before it."""
    desk = site.network.hosts["desk"]
    listener = desk.popen([sys.executable, "-c", LISTENER], **PIPES)
    assert listener.stdout is not None
    assert listener.stdout.readline() == b"ready\n"
    mac = format_mac(site.network.network.hosts["desk"].mac)
    done = site.network.hosts["rogue"].run([sys.executable, "-c", ROGUE, mac])
    assert done.returncode == 0, done.stderr
    site.wait_record("decision", reason="rogue-server")
    addressing.renew(desk, "ipv4", site.network.leases["desk"]["ipv4"])
    out, _ = listener.communicate(timeout=20)
    assert out.decode().strip() == str(desk.address(4))


def test_what_a_host_gives_back_is_taken_from_its_session(site: Site) -> None:
    desk, web1 = site.network.hosts["desk"], site.network.hosts["web1"]
    site.login("desk", "web1")
    with Stream(desk, web1, "icmp", 0) as stream:
        stream.wait_received(20)
        addressing.release(desk, "ipv4", site.network.leases["desk"]["ipv4"])
        record = site.wait_record("session", reason="address-released")
        assert record["detail"] == "released"
        moment = time.monotonic()
        stream.wait_sent(200)
        assert [packet for packet in stream.received if packet.sent > moment + SETTLED] == []
    (session,) = [entry for entry in site.get("/sessions")["sessions"] if entry["principal"] == "user:bob"]
    assert session["addresses"] == [str(desk.address(6))]
    assert reaches(lambda: desk.run(["ping", "-c1", "-W2", str(web1.address(6))]).returncode)
