"""Workloads on a real network: certificates at a portal with TLS, and ports that the platform vouches for.

What ends is shown by the last packet; what is renewed, by none that is missing.
"""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from lab import openvswitch, platform
from lab.certificates import Authority, Issued
from lab.host import RunningHost
from lab.network import PORTAL, LabNetwork
from lab.processes import stop, tail, wait_for, zethane
from lab.stream import Stream
from labsite import SETTLED, Site, running
from zethane.app.topology import load_topology
from zethane.identity.directory import Attested

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

NETWORK = """
switches: {s1: {ovsdb: local, dpid: "DPID1"}, s2: {dpid: "DPID2"}}
links: [[s1, s2]]
hosts:
  web1: {switch: s1, ip: 10.0.0.11/24}
  db1: {switch: s2, ip: 10.0.0.14/24}
  vm1: {switch: s1, ip: 10.0.0.21/24}
  vm2: {switch: s2, ip: 10.0.0.22/24}
portal: {switch: s1, ip: 10.0.0.254/24, tcp_port: 8443}
"""
IDENTITIES = """
workloads:
  web1: {labels: {tier: web}, spiffe: "spiffe://example.org/web1"}
  db1: {labels: {tier: db}, spiffe: "spiffe://example.org/db1"}
  vm1: {labels: {tier: web}, attested: {iface_id: port-vm1, vm_uuid: vm-1}}
  vm2: {labels: {tier: web}, attested: {iface_id: port-vm2}}
"""
POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
rules:
  - {id: web-db, from: [web], to: [db], services: [udp/5432]}
"""
TLS_PORT = 8443

PROXY = """
import asyncio, sys

async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()

async def serve(reader, writer):
    beyond = await asyncio.open_unix_connection(sys.argv[2])
    await asyncio.gather(pipe(reader, beyond[1]), pipe(beyond[0], writer), return_exceptions=True)

async def main():
    server = await asyncio.start_unix_server(serve, sys.argv[1])
    await server.serve_forever()

asyncio.run(main())
"""
"""A way to the database that can be stopped: then it is open, and says nothing."""


class Place:
    """A running lab with a portal that asks for certificates, and the authority that makes them."""

    def __init__(self, site: Site, authority: Authority, folder: Path, proxy: subprocess.Popen[bytes]) -> None:
        self.site = site
        self.proxy = proxy
        self.authority = authority
        self.folder = folder

    def host(self, name: str) -> RunningHost:
        return self.site.network.hosts[name]

    def command(self, issued: Issued, *more: str) -> list[str]:
        url = f"https://{self.host(PORTAL).address()}:{TLS_PORT}"
        files = ["--cert", str(issued.certificate), "--key", str(issued.key), "--ca", str(self.authority.certificate)]
        return zethane("login", "--portal", url, *files, "--json", *more)

    def login(self, name: str, issued: Issued) -> dict[str, Any]:
        done = self.host(name).run(self.command(issued))
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def certificate(self, name: str, *, file: str | None = None, ends: float | None = None) -> Issued:
        moment = datetime.now(timezone.utc) + timedelta(seconds=ends) if ends is not None else None
        return self.authority.client(file or name, [f"spiffe://example.org/{name}"], ends=moment)

    def names(self) -> list[str]:
        return sorted(session["name"] for session in self.site.get("/sessions")["sessions"])

    def events(self, name: str) -> list[tuple[str, str | None]]:
        """What has happened to the sessions of a workload: reasons and details."""
        return [
            (record["reason"], record.get("detail"))
            for record in self.site.records("session")
            if (record.get("subject") or {}).get("principal") == f"workload:{name}"
        ]

    def wait_event(self, name: str, reason: str, before: int) -> str | None:
        """The detail of the first event of this kind after the first `before` of them."""

        def found() -> tuple[str | None] | None:
            return next(((detail,) for one, detail in self.events(name)[before:] if one == reason), None)

        return wait_for(f"{name} has no event {reason}", found, 20.0, lambda: str(self.events(name)))[0]

    def vouch(self, name: str, **ids: str) -> None:
        platform.vouch(self._interface(name), self.site.network.network.hosts[name].mac, Attested(**ids))

    def forget(self, name: str, key: str) -> None:
        platform.forget(self._interface(name), key)

    def _interface(self, name: str) -> str:
        place = self.site.network.network.hosts[name]
        return self.site.network.port(place.switch, place.port)


@contextmanager
def tls_portal(network: LabNetwork, authority: Authority, log: Path) -> Iterator[None]:
    """`zethane portal` with TLS, that asks for client certificates."""
    host = network.hosts[PORTAL]
    assert network.controller is not None
    server = authority.server("portal", [str(host.address())])
    files = ["--certificate", str(server.certificate), "--key", str(server.key)]
    files += ["--client-ca", str(authority.certificate), "--controller", str(network.controller.portal_socket)]
    with log.open("ab") as output:
        process = host.popen(
            zethane("portal", "--listen", f"{host.address()}:{TLS_PORT}", *files),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        listens = lambda: host.listens(process.pid, TLS_PORT) or None  # noqa: E731 - short
        wait_for("The portal did not listen", listens, 30.0, lambda: tail(log))
        yield
    finally:
        stop(process)


@contextmanager
def proxy_to(socket: Path, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """PROXY from a path to a socket."""
    process = subprocess.Popen([sys.executable, "-c", PROXY, str(path), str(socket)])
    try:
        wait_for("The proxy did not listen", lambda: path.exists() or None, 20.0, str)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        stop(process)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, switches: None) -> Iterator[Place]:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder / "pki")
    authority.revoke()
    sources = f"""
certificates: {{ca: ["{authority.certificate}"], crl: ["{authority.revocations}"], trust_domain: example.org}}
ovsdb: {{local: {{connect: "unix:{folder}/db.sock", lease: 10s}}}}
"""
    texts = {"network": NETWORK, "identities": IDENTITIES, "policy": POLICY, "sources": sources}
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(own(text), encoding="utf-8")
    topology = load_topology(folder)
    assert topology.network is not None
    with (
        proxy_to(openvswitch.RUN_DIRECTORY / "db.sock", folder / "db.sock") as proxy,
        LabNetwork(topology.network, folder) as network,
    ):
        network.start_controller("--attest-interval", "1")
        with tls_portal(network, authority, network.ledger.directory / "portal.log"):
            made = Place(Site(network), authority, folder, proxy)
            made.login("db1", made.certificate("db1"))
            yield made
            assert made.site.health()["switch_errors"] == 0, made.site.records("switch")


def own(text: str) -> str:
    """Datapath ids of this network alone: all that runs on this machine is in one database."""
    return re.sub("DPID[0-9]", lambda _: f"7c{secrets.token_hex(4)}", text)


def last_packet(stream: Stream) -> None:
    """Nothing that is sent from now on arrives."""
    moment = time.monotonic()
    stream.wait_sent(100)
    assert stream.received_after(moment + SETTLED) == []


def test_a_certificate_logs_in_and_a_bad_one_does_not(place: Place) -> None:
    session = place.login("web1", place.certificate("web1"))
    assert (session["principal"], session["segment"], session["methods"]) == ("workload:web1", "web", ["pop", "swk"])
    unknown = place.host("web1").run(place.command(place.certificate("nobody")))
    assert (unknown.returncode, unknown.stderr) == (1, "the certificate is not accepted\n")
    expired = place.host("web1").run(place.command(place.certificate("web1", file="expired", ends=-10)))
    assert expired.returncode == 1
    assert "certificate has expired" in tail(place.site.network.ledger.directory / "portal.log")
    stranger = Authority(place.folder / "stranger").client("web1", ["spiffe://example.org/web1"])
    assert place.host("web1").run(place.command(stranger)).returncode == 1
    refused = [record for record in place.site.records("session") if record["reason"] == "login-refused"]
    assert [(record["detail"], record["subject"]) for record in refused] == [("invalid-certificate", None)]
    assert "spiffe://example.org/nobody" in refused[0]["explanation"]


def test_a_replaced_certificate_renews_the_session_and_loses_no_packet(place: Place) -> None:
    # It is the new file that makes it log in again: the end of the old one is far, however busy the machine is.
    short = place.certificate("web1", file="short", ends=300)
    process = place.host("web1").popen(
        place.command(short, "--renew", "--logout-at-end"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        with Stream(place.host("web1"), place.host("db1"), "udp", 5432) as stream:
            stream.wait_received(50)
            fresh = place.certificate("web1", file="fresh", ends=600)
            fresh.key.rename(short.key)
            fresh.certificate.rename(short.certificate)
            second = json.loads(process.stdout.readline())
            while second["ends"] == first["ends"]:  # the old one again, before the files had changed
                second = json.loads(process.stdout.readline())
            stream.wait_received(50)
            stream.stop()
            assert stream.missing() == []
        assert second["session"] == first["session"]
        assert second["ends"] > first["ends"]
        before = len(place.events("web1"))
    finally:
        stop(process)
    place.wait_event("web1", "logout", before)


def test_revocation_ends_an_established_flow(place: Place) -> None:
    issued = place.certificate("web1")
    place.login("web1", issued)
    before = len(place.events("web1"))
    with Stream(place.host("web1"), place.host("db1"), "udp", 5432) as stream:
        stream.wait_received(50)
        place.authority.revoke(issued.serial)
        detail = place.wait_event("web1", "credential-revoked", before)
        last_packet(stream)
    assert detail == f"revoked: serial number {issued.serial:x}"
    assert "web1" not in place.names()
    assert place.host("web1").run(place.command(issued)).returncode == 1
    assert place.login("web1", place.certificate("web1"))["principal"] == "workload:web1"


def test_a_flow_ends_with_the_certificate(place: Place) -> None:
    before = len(place.events("web1"))
    place.login("web1", place.certificate("web1", ends=10))
    with Stream(place.host("web1"), place.host("db1"), "udp", 5432, interval=0.01) as stream:
        stream.wait_received(20)
        place.wait_event("web1", "expired", before)
        last_packet(stream)
    assert "web1" not in place.names()


def test_the_platform_vouches_for_a_port_until_it_does_not(place: Place) -> None:
    vm1, db1 = place.host("vm1"), place.host("db1")
    place.vouch("vm1", iface_id="port-vm1", vm_uuid="vm-1")
    place.wait_event("vm1", "started", 0)
    (session,) = [one for one in place.site.get("/sessions")["sessions"] if one["name"] == "vm1"]
    hosts = place.site.network.network.hosts
    assert (session["port"], int(session["mac"].replace(":", ""), 16)) == (hosts["vm1"].port, hosts["vm1"].mac)
    with Stream(vm1, db1, "udp", 5432) as stream:
        stream.wait_received(50, 20)
        before = len(place.events("vm1"))
        place.forget("vm1", "vm-uuid")
        place.wait_event("vm1", "detached", before)
        last_packet(stream)
    assert "vm1" not in place.names()


def test_an_ovsdb_does_not_vouch_for_the_ports_of_another_switch(place: Place) -> None:
    place.vouch("vm2", iface_id="port-vm2")
    place.vouch("vm1", iface_id="port-vm1", vm_uuid="vm-1")
    before = sum(event == "started" for event, _ in place.events("vm1"))
    wait_for("vm1 has no session", lambda: "vm1" in place.names() or None, 20.0, lambda: str((before, place.names())))
    assert "vm2" not in place.names()
    done = subprocess.run(
        zethane("identity", "sources"), capture_output=True, text=True, timeout=30, check=False, env=_environment(place)
    )
    assert done.returncode == 0
    rows = {line.split()[1]: line.split()[2] for line in done.stdout.splitlines()[1:]}
    assert rows == {"ca": "up", "crl": "up", "local": "degraded"}


def test_a_silent_ovsdb_is_believed_for_a_lease_and_no_longer(place: Place) -> None:
    vm1, db1 = place.host("vm1"), place.host("db1")
    place.vouch("vm1", iface_id="port-vm1", vm_uuid="vm-1")
    wait_for("vm1 has no session", lambda: "vm1" in place.names() or None, 20.0, lambda: str(place.names()))
    # A machine that knows its neighbours already does not show its address at once.
    assert vm1.run(["ip", "neigh", "flush", "all"]).returncode == 0
    with Stream(vm1, db1, "udp", 5432, interval=0.01) as stream:
        stream.wait_received(50, 20)
        before = len(place.events("vm1"))
        place.proxy.send_signal(signal.SIGSTOP)
        place.wait_event("vm1", "expired", before)
        last_packet(stream)
        place.proxy.send_signal(signal.SIGCONT)
        place.wait_event("vm1", "started", before)
        stream.wait_received(50, 20)  # it has its address back without asking anybody


def test_hosts_of_a_topology_get_in_on_the_word_of_the_platform_and_out_again(tmp_path: Path) -> None:
    texts = {
        "network": """
switches: {s1: {ovsdb: cloud, dpid: "DPID1"}}
hosts:
  vm1: {switch: s1, ip: 10.0.0.21/24, login: {workload: vm1, via: attestation}}
  vm2: {switch: s1, ip: 10.0.0.22/24, login: {workload: vm2, via: attestation}}
portal: {switch: s1, ip: 10.0.0.254/24}
""",
        "identities": IDENTITIES,
        "policy": POLICY,
        "sources": 'ovsdb: {cloud: {connect: "ssl:192.0.2.1:6640", ca: ca.pem}}',
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(own(text), encoding="utf-8")
    with running(tmp_path) as site:
        assert {name: login.principal for name, login in site.sessions.items()} == {
            "vm1": "workload:vm1",
            "vm2": "workload:vm2",
        }
        site.network.logout("vm1")
        site.wait_record("session", reason="detached")
        assert [session["name"] for session in site.get("/sessions")["sessions"]] == ["vm2"]


def _environment(place: Place) -> dict[str, str]:
    return dict(place.site.network.environment)
