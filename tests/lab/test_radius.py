"""RADIUS with a real FreeRADIUS: who gets in, fail-over, accounting; and its radclient against the controller."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from fakes.radius_server import SECRET, answer, radius_server
from lab.freeradius import FreeRadius, free_udp_ports
from lab.freeradius_settings import RadiusUser, mab_user
from lab.processes import wait_for
from lab.stream import Stream
from labsite import SETTLED, TIERS, Site, running, three_tier
from zethane.adapters.radius.accounting import AccountingClient
from zethane.adapters.radius.attribute import Attribute, Code, Pairs, integer
from zethane.adapters.radius.client import Server, UdpRadiusClient
from zethane.adapters.radius.packet import authorization_request, read
from zethane.adapters.radius.peer import Patience
from zethane.audit.reason import LoginRefusal
from zethane.identity.session import Attachment
from zethane.service.radius import AccessReply, AccessRequest, RadiusError
from zethane.service.radius_accounting import AccountingRecord
from zethane.service.usage import Counts

pytestmark = pytest.mark.lab

T = TypeVar("T")

PRINTER = "02-00-00-00-00-15"
USERS = [
    RadiusUser(
        "alice",
        "lab-alice",
        {
            "Filter-Id": ["staff", "admins"],
            "Session-Timeout": 3600,
            "Termination-Action": "RADIUS-Request",
            "Idle-Timeout": 600,
            "Class": "0x0102ff",
            "Tunnel-Type": "VLAN",
            "Tunnel-Medium-Type": "IEEE-802",
            "Tunnel-Private-Group-Id": "20",
        },
    ),
    RadiusUser("eve", "lab-eve", rejected=True),
    mab_user(PRINTER, {"Filter-Id": "printers"}),
]
PATIENCE = Patience(timeout=0.5, attempts=2, dead_time=60.0)
PLACE = Attachment(0x15, 3, 0, 0x02_00_00_00_00_15)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    with FreeRadius(tmp_path_factory.mktemp("radius"), USERS) as one:
        yield one


def described(server: FreeRadius, name: str = "lab") -> Server:
    return Server(name, "127.0.0.1", server.auth_port, server.acct_port, server.secret.encode())


async def ask(work: Callable[[UdpRadiusClient], Awaitable[T]], *servers: Server, patience: Patience = PATIENCE) -> T:
    client = UdpRadiusClient(servers, "zethane", patience)
    try:
        return await work(client)
    finally:
        client.close()


def by_address(mac: str = PRINTER) -> AccessRequest:
    place = Attachment(0x15, 3, 0, int(mac.replace("-", ""), 16))
    return AccessRequest(mac, place, "s1:3", "a-1")


async def eap_md5(client: UdpRadiusClient, name: str, password: str) -> AccessReply:
    """What a supplicant answers (RFC 3748 §5.1, §5.4; RFC 1994 §4.1)."""
    body = b"\x01" + name.encode()
    identity = b"\x02\x01" + (4 + len(body)).to_bytes(2, "big") + body
    challenge = await client.authenticate(AccessRequest(name, PLACE, "s1:3", "a-1", identity))
    assert challenge.code == "challenge"
    assert challenge.eap is not None
    number, value = challenge.eap[1], challenge.eap[6 : 6 + challenge.eap[5]]
    digest = hashlib.md5(bytes([number]) + password.encode() + value).digest()  # noqa: S324  # CHAP's own
    response = b"\x02" + bytes([number]) + b"\x00\x16\x04\x10" + digest
    return await client.authenticate(
        AccessRequest(name, PLACE, "s1:3", "a-1", response, challenge.state, challenge.server)
    )


async def test_a_password_is_proved_by_eap_and_brings_what_the_server_says(server: FreeRadius) -> None:
    reply = await ask(lambda client: eap_md5(client, "alice", "lab-alice"), described(server))
    assert (reply.code, reply.server, reply.user_name) == ("accept", "lab", "alice")
    assert (reply.filter_ids, reply.tunnel_private_group) == (("staff", "admins"), "20")
    assert (reply.session_timeout, reply.termination_action, reply.idle_timeout) == (3600.0, "radius-request", 600.0)
    assert reply.classes == (b"\x01\x02\xff",)
    assert reply.eap is not None
    assert reply.eap[0] == 3, "EAP-Success"


@pytest.mark.parametrize(("name", "password"), [("alice", "wrong"), ("eve", "lab-eve"), ("nobody", "lab-alice")])
async def test_anybody_else_is_rejected(server: FreeRadius, name: str, password: str) -> None:
    reply = await ask(lambda client: eap_md5(client, name, password), described(server))
    assert reply.code == "reject"


async def test_a_known_address_is_let_in_and_no_other(server: FreeRadius) -> None:
    reply = await ask(lambda client: client.authenticate(by_address()), described(server))
    assert (reply.code, reply.filter_ids) == ("accept", ("printers",))
    other = await ask(lambda client: client.authenticate(by_address("02-00-00-00-00-16")), described(server))
    assert other.code == "reject"


async def test_a_server_with_another_secret_does_not_answer_and_the_next_one_does(server: FreeRadius) -> None:
    """FreeRADIUS drops what is not signed with its secret."""
    wrong = Server("wrong", "127.0.0.1", server.auth_port, server.acct_port, b"another")
    with pytest.raises(RadiusError) as refused:
        await ask(lambda client: client.authenticate(by_address()), wrong)
    assert refused.value.reason is LoginRefusal.NOT_ANSWERED
    reply = await ask(lambda client: client.authenticate(by_address()), wrong, described(server))
    assert reply.server == "lab"


async def test_a_server_that_is_down_or_lies_is_passed_over_and_comes_back(server: FreeRadius, tmp_path: Path) -> None:
    with FreeRadius(tmp_path / "first", USERS) as first:
        async with radius_server(lambda request: [answer(request, secret=b"guessed")]) as liar:
            servers = [described(first, "first"), Server("liar", "127.0.0.1", liar.port, 9, SECRET), described(server)]
            client = UdpRadiusClient(servers, "zethane", PATIENCE)
            assert (await client.authenticate(by_address())).server == "first"
            first.stop()
            assert (await client.authenticate(by_address())).server == "lab"
            assert client.peers[1].counters["invalid-authenticator"] == PATIENCE.attempts
            first.start()
            assert (await client.authenticate(by_address())).server == "lab", "its dead time is not over"
            client.peers[0].dead_until = asyncio.get_running_loop().time()
            assert (await client.authenticate(by_address())).server == "first"
            client.close()


async def test_a_slow_server_is_passed_over_and_its_late_answers_are_none(server: FreeRadius, tmp_path: Path) -> None:
    with FreeRadius(tmp_path, USERS, delay=2.0) as slow:
        client = UdpRadiusClient([described(slow, "slow"), described(server)], "zethane", PATIENCE)
        assert (await client.authenticate(by_address())).server == "lab"
        await asyncio.wait_for(_counted(client.peers[0].counters, "invalid-not-asked-for"), 10.0)
        client.close()
        patient = await ask(
            lambda client: client.authenticate(by_address()), described(slow, "slow"), patience=Patience(10.0, 1)
        )
        assert (patient.code, patient.server) == ("accept", "slow")


async def test_a_thousand_at_once_are_answered(server: FreeRadius) -> None:
    macs = [PRINTER if number % 2 else f"02-00-00-01-{number >> 8:02X}-{number & 255:02X}" for number in range(1000)]
    work = [by_address(mac) for mac in macs]
    replies = await ask(
        lambda client: asyncio.gather(*map(client.authenticate, work)), described(server), patience=Patience(10.0, 3)
    )
    assert [reply.code for reply in replies] == ["accept" if mac == PRINTER else "reject" for mac in macs]


async def test_accounting_reaches_the_server_in_order_and_waits_for_one_that_is_down(tmp_path: Path) -> None:
    totals: Counter[str] = Counter()
    with FreeRadius(tmp_path, USERS) as server:
        server.stop()
        client = AccountingClient([described(server)], "zethane", time.time, Patience(0.2, 1, 0.2), totals)
        senders = [asyncio.ensure_future(work) for work in client.run()]
        now = time.time()
        for status, counts in (("start", Counts()), ("stop", Counts(7, 2**32 + 700, 9, 900))):
            client.send(
                AccountingRecord(
                    status, "a-1", "alice", PLACE, "s1:3", (bytes([10, 0, 0, 1]),), (b"\x01\xff",), now, 60.0, counts, 1
                )
            )
        await asyncio.wait_for(_counted(totals, "radius_timeouts"), 10.0)
        server.start()
        await client.drain(20.0)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        client.close()
        start, stop = server.accounting()
        assert [start["Acct-Status-Type"], stop["Acct-Status-Type"]] == ["Start", "Stop"]
        wanted = {
            "Acct-Session-Id": "a-1",
            "Calling-Station-Id": PRINTER,
            "NAS-Port-Id": "s1:3",
            "Framed-IP-Address": "10.0.0.1",
            "Class": "0x01ff",
            "Acct-Input-Octets": 700,
            "Acct-Input-Gigawords": 1,
            "Acct-Output-Octets": 900,
            "Acct-Input-Packets": 7,
            "Acct-Session-Time": 60,
            "Acct-Terminate-Cause": "User-Request",
        }
        assert {name: stop[name] for name in wanted} == wanted


async def _counted(totals: Counter[str], name: str) -> None:
    while not totals[name]:  # noqa: ASYNC110  # a counter sets no event
        await asyncio.sleep(0.01)


# Dynamic authorization, against the controller

POLICY = (
    TIERS
    + """\
  guests: {groups: [guests]}
rules:
  - {id: app-db, from: [app], to: [db], services: [udp/5432]}
  - {id: staff-db, from: [staff], to: [db], services: [udp/5433, udp/5434]}
  - {id: guests-db, from: [guests], to: [db], services: [udp/5434]}
"""
)

CLIENT_SECRET = "lab-dynamic-authorization"


class Operator:
    """The lab, and the one who may send requests to its controller."""

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self.port = port

    def radclient(self, kind: str, *attributes: str) -> str:
        """Send a request with FreeRADIUS's own client; what it printed. Its last line says what the answer was."""
        stamp = f"Event-Timestamp={int(time.time())}"
        done = subprocess.run(
            ["radclient", "-x", "-r", "1", "-t", "5", f"127.0.0.1:{self.port}", kind, CLIENT_SECRET],
            input=", ".join((*attributes, stamp, "Message-Authenticator=0x00")),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    def send(self, raw: bytes, source: str = "127.0.0.1", wait: float = 1.0) -> bytes | None:
        """Send a datagram; the answer, if one comes."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind((source, 0))
            one.settimeout(wait)
            one.sendto(raw, ("127.0.0.1", self.port))
            try:
                return one.recv(4096)
            except TimeoutError:
                return None

    def counter(self, name: str) -> float:
        found = next(one for one in self.site.get("/counters")["counters"] if one["name"] == name)
        return float(found["value"])

    def session(self, name: str) -> dict[str, Any] | None:
        return next((one for one in self.site.get("/sessions")["sessions"] if one["name"] == name), None)


@pytest.fixture(scope="module")
def operator(switches: None, server: FreeRadius, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:  # noqa: ARG001
    folder = three_tier(tmp_path_factory.mktemp("site"), POLICY)
    (port,) = free_udp_ports(1)
    sources = {
        "radius": {
            "servers": server.sources(),
            "dynamic_authorization": {
                "listen": f"127.0.0.1:{port}",
                "clients": {"radius": {"host": "127.0.0.1", "secret": CLIENT_SECRET}},
            },
        }
    }
    (folder / "sources.yaml").write_text(json.dumps(sources), encoding="utf-8")
    with running(folder, login=("app1", "db1", "desk")) as site:
        yield Operator(site, port)


def test_a_disconnect_ends_the_session_and_its_flows_at_once(operator: Operator) -> None:
    site = operator.site
    hosts = site.network.hosts
    with (
        Stream(hosts["app1"], hosts["db1"], "udp", 5432) as stream,
        Stream(hosts["desk"], hosts["db1"], "udp", 5433) as other,
    ):
        stream.wait_received(50)
        other.wait_received(50)
        said = operator.radclient("disconnect", "User-Name=app1", f"Framed-IP-Address={hosts['app1'].address()}")
        moment = time.monotonic()
        assert "Received Disconnect-ACK" in said, said
        stream.wait_sent(200)
        other.wait_received(50)
        stream.stop()
        other.stop()
        assert stream.received_after(moment + SETTLED) == []
        assert other.missing() == []
    record = site.wait_record("session", reason="disconnected")
    assert (record["subject"]["principal"], record["detail"]) == ("workload:app1", "radius client radius")
    assert operator.session("app1") is None
    said = operator.radclient("disconnect", "User-Name=app1")
    assert "Received Disconnect-NAK" in said
    assert "Session-Context-Not-Found" in said, said
    site.login("app1")


def test_a_change_of_groups_closes_the_flows_that_the_new_segment_may_not_open_and_no_other(operator: Operator) -> None:
    site = operator.site
    hosts = site.network.hosts
    before = operator.session("bob")
    with (
        Stream(hosts["desk"], hosts["db1"], "udp", 5433) as lost,
        Stream(hosts["desk"], hosts["db1"], "udp", 5434) as kept,
    ):
        lost.wait_received(50)
        kept.wait_received(50)
        said = operator.radclient("coa", "User-Name=bob", "Filter-Id=guests", "Session-Timeout=600")
        moment = time.monotonic()
        assert "Received CoA-ACK" in said, said
        lost.wait_sent(200)
        kept.wait_received(50)
        lost.stop()
        kept.stop()
        assert lost.received_after(moment + SETTLED) == []
        assert kept.missing() == []
    after = operator.session("bob")
    assert before is not None
    assert after is not None
    assert (after["session"], after["segment"]) == (before["session"], "guests")
    assert after["expires"] < before["expires"]
    assert "Received CoA-NAK" in operator.radclient("coa", "User-Name=bob", 'Filter-Id="no group!"')
    assert "Received CoA-ACK" in operator.radclient("coa", "User-Name=bob", "Filter-Id=staff")


def _signed(name: str, stamp: float, secret: bytes = CLIENT_SECRET.encode()) -> bytes:
    pairs: Pairs = ((Attribute.USER_NAME, name.encode()), (Attribute.EVENT_TIMESTAMP, integer(int(stamp))))
    return authorization_request(Code.DISCONNECT_REQUEST, 7, secret, pairs).raw


def test_forged_old_and_repeated_requests_have_no_effect(operator: Operator) -> None:
    site = operator.site
    hosts = site.network.hosts
    once = _signed("app1", time.time())
    first = operator.send(once)
    assert first is not None
    assert read(first).code == Code.DISCONNECT_ACK
    site.login("app1")
    dropped = operator.counter("radius_authorizations_dropped")
    with Stream(hosts["app1"], hosts["db1"], "udp", 5432) as stream:
        stream.wait_received(50)
        assert operator.send(once) == first, "a repeated request has the answer that it had"
        now = time.time()
        forged = _signed("app1", now, b"guessed")
        for raw, source in (
            (forged, "127.0.0.1"),
            (forged[:-1], "127.0.0.1"),
            (_signed("app1", now - 400), "127.0.0.1"),
            (_signed("app1", now + 400), "127.0.0.1"),
            (_signed("app1", now), "127.0.0.2"),
        ):
            assert operator.send(raw, source, wait=0.2) is None
        stream.wait_received(50)
        stream.stop()
        assert stream.missing() == []
    assert operator.counter("radius_authorizations_dropped") == dropped + 5
    assert operator.counter("radius_authorizations_repeated") == 1
    assert operator.session("app1") is not None


def test_the_secrets_of_radius_are_in_no_log(operator: Operator, server: FreeRadius) -> None:
    controller = operator.site.network.controller
    assert controller is not None
    wait_for("nothing was logged", lambda: controller.log.read_text() or None, 5.0, lambda: "")
    for file in (controller.log, controller.decisions):
        text = file.read_text(encoding="utf-8")
        assert server.secret not in text
        assert CLIENT_SECRET not in text


# Accounting of a session that came by 802.1X, with what its flows have carried

BELOW_IP = {
    "network": """
switches: {s1: {ports: {2: {dot1x: true}, 3: {mab: true}}}}
portal: {switch: s1, port: 1, ip: 10.0.0.254/24}
hosts:
  carol:   {switch: s1, port: 2, ip: 10.0.0.14/24, login: {user: carol, password: lab-carol, via: dot1x, eap: md5}}
  printer: {switch: s1, port: 3, ip: 10.0.0.31/24, mac: "02:00:00:00:31:31", login: {device: printer, via: mab}}
""",
    "identities": """
users: {carol: {groups: [staff]}}
devices: {printer: {mac: "02:00:00:00:31:31", labels: {kind: printer}}}
""",
    "policy": """
version: 1
segments: {staff: {groups: [staff]}, printers: {labels: {kind: printer}}}
rules: [{id: print, from: [staff], to: [printers], services: [udp/631]}]
""",
}


def test_accounting_tells_what_the_flows_of_a_session_have_carried(tmp_path: Path, switches: None) -> None:  # noqa: ARG001
    (port,) = free_udp_ports(1)
    clients = f'{{radius: {{host: 127.0.0.1, secret: "{CLIENT_SECRET}"}}}}'
    sources = f"""
radius:
  servers: {{lab: {{host: 127.0.0.1, secret: replaced-by-the-lab}}}}
  interim: 1s
  dynamic_authorization: {{listen: "127.0.0.1:{port}", clients: {clients}}}
"""
    for name, text in (*BELOW_IP.items(), ("sources", sources)):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    with running(tmp_path) as site:
        assert site.network.sources is not None
        server = site.network.sources.radius
        assert server is not None
        carol, printer = site.network.hosts["carol"], site.network.hosts["printer"]

        def told(status: str) -> dict[str, Any]:
            return server.wait_accounting(
                lambda record: (record["User-Name"], record["Acct-Status-Type"]) == ("carol", status)
            )

        start = told("Start")
        with Stream(carol, printer, "udp", 631) as stream:
            stream.wait_received(200)
            interim = server.wait_accounting(
                lambda record: record["User-Name"] == "carol" and record.get("Acct-Input-Packets", 0) >= 500
            )
            assert interim["Framed-IP-Address"] == str(carol.address())
            said = Operator(site, port).radclient("disconnect", f"Acct-Session-Id={start['Acct-Session-Id']}")
            assert "Received Disconnect-ACK" in said, said
            stream.wait_sent(100)
            stream.stop()
            arrived = len(stream.received)
        stop = told("Stop")
        assert stop["Acct-Session-Id"] == start["Acct-Session-Id"]
        assert stop["Acct-Terminate-Cause"] == "Admin-Reset"
        # A bridge brings its counters up to date every half second: what it forwarded in the last one is not in them.
        assert interim["Acct-Input-Packets"] <= stop["Acct-Input-Packets"] <= arrived + 50
        assert stop["Acct-Input-Octets"] >= stop["Acct-Input-Packets"] * 42
