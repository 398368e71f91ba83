"""What other systems tell, on a real network: the last packet shows when it took effect, and on which flows.

The transmitter is in the test: it signs with keys of its own, publishes them on loopback, and pushes what it signs to
the running controller. The sessions are there from the start, as after a restart: who was logged in, and how.
"""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest

from fakes.issuer import Issuer, issuer
from lab.network import LabNetwork
from lab.processes import wait_for
from lab.stream import Stream
from labsite import SETTLED, TIERS, Site, three_tier
from zethane.adapters.store.sqlite import SqliteStore
from zethane.app.topology import load_topology
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Attachment, Session
from zethane.identity.signals.token import CAEP
from zethane.net.mac import format_mac

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

POLICY = (
    TIERS
    + """\
  guests: {groups: [guests]}
rules:
  - {id: all, from: [staff, guests], to: [web], services: [udp/80]}
  - {id: staff-only, from: [staff], to: [web], services: [udp/443]}
  - {id: healthy, from: [staff], to: [web], services: [udp/8443], when: {posture: {disk_encrypted: true, max_age: 6s}}}
"""
)

DEVICES = """
devices: {desk-pc: {}}
"""

TOKEN, AGENT = "stream-token-0123456789", "agent-token-0123456789"
AUDIENCE = "https://zethane.example"
IDP = "https://idp.example"


def token_hash(token: str) -> str:
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


def sources(signer: Issuer, port: int) -> str:
    return f"""
listen: {{address: "127.0.0.1:{port}"}}
oidc: {{corp: {{issuer: "{IDP}", client_id: zethane, client_secret: s, groups: {{eng: staff, visit: guests}}}}}}
signals:
  idp: {{issuer: "{signer.url}", audience: "{AUDIENCE}", token: "{token_hash(TOKEN)}", subjects: corp}}
posture:
  agent: {{token: "{token_hash(AGENT)}", devices: [desk-pc]}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Told(Site):
    """A running lab, and how others tell its controller something."""

    def __init__(self, network: LabNetwork, signer: Issuer, port: int) -> None:
        super().__init__(network)
        self.signer = signer
        self.listener = f"http://127.0.0.1:{port}"

    def push(self, kind: str, subject: str, **content: Any) -> float:
        """Push an event about a subject of the provider; the time at which it was acknowledged."""
        sub_id = {"format": "iss_sub", "iss": IDP, "sub": subject}
        token = self.signer.set(CAEP + kind, {"event_timestamp": int(time.time()), **content}, sub_id=sub_id)
        headers = {"content-type": "application/secevent+jwt", "authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(f"{self.listener}/signals/idp", content=token, headers=headers, timeout=20)
        assert answer.status_code == 202, answer.text
        return time.monotonic()

    def report(self, **attributes: Any) -> float:
        """Report on desk-pc, measured now; the time at which it was acknowledged."""
        now = datetime.now(timezone.utc).isoformat()
        body = {"device": "desk-pc", "measured": now, "attributes": attributes}
        headers = {"authorization": f"Bearer {AGENT}"}
        answer = httpx.post(f"{self.listener}/v1/posture", json=body, headers=headers, timeout=20)
        assert answer.json()["taken"] is True, answer.text
        return time.monotonic()

    def session_of(self, host: str) -> dict[str, Any] | None:
        mac = format_mac(self.network.network.hosts[host].mac)
        found: list[dict[str, Any]] = self.get("/sessions")["sessions"]
        return next((one for one in found if one["mac"] == mac), None)


def person(name: str, subject: str) -> Proof:
    at = time.time() - 120
    return Proof(
        "user", f"{name}@corp", "oidc", at, ("pwd",), 1, None, frozenset({"staff"}), issuer=IDP, subject=subject
    )


def logged_in(network: LabNetwork) -> None:
    """Put sessions into the store of a controller that has not been started yet."""
    proofs = {
        "web1": (Proof("workload", "web1", "portal", time.time(), ("pwd",), labels=(("tier", "web"),)),),
        "app1": (person("carol", "s-carol"),),
        "laptop": (person("alice", "s-alice"),),
        "desk": (
            person("bob", "s-bob"),
            Proof("device", "desk-pc", "certificate", time.time(), ("x509",), 2, issuer="ca"),
        ),
    }
    until = time.time() + 3600
    store = SqliteStore(network.ledger.directory / "zethane.sqlite")
    for name, made in proofs.items():
        proved = tuple(replace(proof, expires=until, reauthenticate=until) for proof in made)
        host = network.network.hosts[name]
        place = Attachment(network.network.switches[host.switch].dpid, host.port, 0, host.mac)
        addresses = tuple(address.packed for address in network.hosts[name].addresses)
        segment = "web" if name == "web1" else "staff"
        number = store.new_number(lambda _: False)
        store.save(Session(number, acting(proved), place, addresses, segment, time.time(), proved))
    store.close()


@pytest.fixture(scope="module")
def site(switches: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:  # noqa: ARG001
    with ExitStack() as stack:
        signer = stack.enter_context(issuer())
        signer.documents["/.well-known/ssf-configuration"] = {"issuer": signer.url, "jwks_uri": signer.jwks_uri}
        port = free_port()
        folder = three_tier(tmp_path_factory.mktemp("signals"), POLICY)
        (folder / "sources.yaml").write_text(sources(signer, port), encoding="utf-8")
        with (folder / "identities.yaml").open("a", encoding="utf-8") as identities:
            identities.write(DEVICES)
        topology = load_topology(folder)
        assert topology.network is not None
        network = stack.enter_context(LabNetwork(topology.network, folder))
        logged_in(network)
        network.start_controller("--attest-interval", "1")
        running = Told(network, signer, port)
        yield running
        assert running.health()["switch_errors"] == 0, running.records("switch")


def assert_stops(stream: Stream, moment: float) -> None:
    """Nothing that is sent arrives from a moment on."""
    stream.wait_sent(200)
    assert stream.received_after(moment + SETTLED) == []


def test_a_revoked_session_stops_with_its_flow_and_the_others_go_on(site: Told) -> None:
    hosts = site.network.hosts
    with (
        Stream(hosts["app1"], hosts["web1"], "udp", 443) as revoked,
        Stream(hosts["laptop"], hosts["web1"], "udp", 80, interval=0.01) as other,
    ):
        revoked.wait_received(50)
        other.wait_received(20)
        moment = site.push("session-revoked", "s-carol")
        assert_stops(revoked, moment)
        other.wait_received(20)
        other.stop()
        assert other.missing() == []
    assert site.session_of("app1") is None
    ended = site.wait_record("session", reason="signalled")
    assert ended["subject"]["principal"] == "user:carol@corp"
    assert ended["detail"].startswith("idp: session-revoked jti-")


def test_changed_claims_move_a_session_and_its_other_flow_goes_on(site: Told) -> None:
    hosts = site.network.hosts
    before = site.session_of("laptop")
    assert before is not None
    with (
        Stream(hosts["laptop"], hosts["web1"], "udp", 443) as staff_only,
        Stream(hosts["laptop"], hosts["web1"], "udp", 80, interval=0.01) as both,
    ):
        staff_only.wait_received(50)
        both.wait_received(20)
        moment = site.push("token-claims-change", "s-alice", claims={"groups": ["visit"]})
        assert_stops(staff_only, moment)
        both.wait_received(20)
        both.stop()
        assert both.missing() == []
    after = site.session_of("laptop")
    assert after is not None
    assert (after["session"], before["segment"], after["segment"]) == (before["session"], "staff", "guests")


def test_a_failing_and_a_stale_posture_close_what_rests_on_it(site: Told) -> None:
    hosts = site.network.hosts
    site.report(disk_encrypted=True)
    with (
        Stream(hosts["desk"], hosts["web1"], "udp", 8443) as healthy,
        Stream(hosts["desk"], hosts["web1"], "udp", 80, interval=0.01) as plain,
    ):
        healthy.wait_received(50)
        plain.wait_received(20)
        failing = site.report(disk_encrypted=False)
        assert_stops(healthy, failing)
        site.report(disk_encrypted=True)
        healthy.wait_received(50)
        _wait_silent(healthy)
        last = healthy.last_received
        assert last is not None
        healthy.wait_sent(200)
        assert healthy.last_received == last
        plain.wait_received(20)
        plain.stop()
        assert plain.missing() == []
    changed = site.wait_record("session", reason="changed", detail="posture of desk-pc, by agent")
    assert changed["subject"]["principal"] == "user:bob@corp"


def _wait_silent(stream: Stream) -> None:
    """Wait until nothing has arrived for a while, though there was something to arrive."""

    def silent() -> bool | None:
        last = stream.last_received
        return (last is not None and time.monotonic() - last > 1.0) or None

    wait_for("the flow did not close when the posture was stale", silent, 20.0, str)


def test_tokens_of_nobody_change_nothing(site: Told) -> None:
    token = site.signer.set(CAEP + "session-revoked", {}, sub_id={"format": "opaque", "id": "s-bob"})
    url = f"{site.listener}/signals/idp"
    headers = {"content-type": "application/secevent+jwt", "authorization": "Bearer guessed"}
    assert httpx.post(url, content=token, headers=headers, timeout=20).json()["err"] == "authentication_failed"
    headers["authorization"] = f"Bearer {TOKEN}"
    forged = token[:-8] + ("A" * 8)
    assert httpx.post(url, content=forged, headers=headers, timeout=20).json()["err"] == "invalid_key"
    assert site.session_of("desk") is not None
    for path in ("/v1/sessions", "/v1/openapi.json", "/docs"):
        assert httpx.get(site.listener + path, timeout=20).status_code == 404
