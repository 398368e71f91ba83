"""Accounting: which records a session has, what they count, and how they reach a server."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.frames import ACK, SYN_ACK, Host
from fakes.radius_server import SECRET, radius_server, silent
from fakes.site import ALICE, WEB, Site, proof_of
from zethane.adapters.radius.accounting import SENDERS, AccountingClient, record_attributes
from zethane.adapters.radius.client import Server
from zethane.adapters.radius.packet import read
from zethane.adapters.radius.peer import Patience
from zethane.app.usage_file import UsageFile
from zethane.audit.reason import SessionEvent
from zethane.identity.session import Attachment
from zethane.pipeline.flow import Flow
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import key_of
from zethane.service.radius import INTERIM, NAS_PORT_ID, with_classes
from zethane.service.radius_accounting import LAST_COUNTERS, MIN_BETWEEN, AccountingRecord, RadiusAccounting
from zethane.service.usage import Counts, Usage

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


class Accounted:
    """A site whose sessions are accounted for; alice came by RADIUS, web1 did not."""

    def __init__(self) -> None:
        self.site = Site()
        self.records: list[AccountingRecord] = []
        self.usage = Usage(self.site.state, self.site.admin.grant_usage)
        self.accounting = RadiusAccounting(self.site.state, self.usage, self.records.append, 300.0)
        # The journal tells everybody who watches, as the controller's own does.
        self.site.records.session = self._session
        self.site.records.flow_ended = lambda flow, *_: self.usage.flow_ended(flow)

    def _session(self, event, session, detail, now) -> None:
        self.accounting.session_event(event, session, detail, now)

    async def start(self, **changes):
        await self.site.start()
        self.site.login(WEB1, WEB)
        proof = with_classes(
            proof_of(ALICE, self.site.now, issuer="radius:lab", subject="alice@lab", reference="a-1"), (b"class",)
        )
        self.proof = replace(proof, attributes=(*proof.attributes, (NAS_PORT_ID, "s1:4")), **changes)
        endpoint = self.site.endpoint(LAPTOP)
        self.session = self.site.admin.start_session(endpoint.attachment, self.proof, endpoint.address, None)
        return self

    def talk(self, port: int = 40000) -> None:
        """A connection of three frames, two there and one back, and what the switch then counts of it."""
        s1 = self.site.s1
        s1.send(4, LAPTOP.tcp(WEB1, port, 443))
        s1.send(2, WEB1.tcp(LAPTOP, 443, port, SYN_ACK))
        s1.send(4, LAPTOP.tcp(WEB1, port, 443, ACK, b"hello"))

    def counts(self, there: tuple[int, int], back: tuple[int, int]) -> None:
        """Let the switch have counted this on every connection."""
        for flow in self.rules:
            fields = {name: value for name, value, _ in flow.match}
            opened = fields["metadata"] >> 40 == self.session.number
            self.site.s1.counted[flow.key] = there if opened else back

    @property
    def rules(self) -> list[Flow]:
        """The per-flow rules."""
        tables = self.site.s1.tables.values()
        return [flow for flow in tables if flow.table == Table.FLOW and key_of(flow.match) is not None]

    async def pass_time(self, seconds: float) -> None:
        self.site.now += seconds
        await self.accounting.tick()

    @property
    def told(self) -> list[str]:
        return [record.status for record in self.records]


async def test_a_session_that_radius_gave_has_a_start_interims_and_a_stop() -> None:
    it = await Accounted().start()
    (start,) = it.records
    assert (start.session_id, start.user_name, start.port_name) == ("a-1", "alice@lab", "s1:4")
    assert (start.classes, start.addresses) == ((b"class",), (bytes([10, 0, 0, 21]),))
    await it.pass_time(299)
    assert it.told == ["start"]
    await it.pass_time(1)
    await it.pass_time(300)
    assert [(record.status, record.session_time) for record in it.records] == [
        ("start", 0.0),
        ("interim", 300.0),
        ("interim", 600.0),
    ]
    it.site.now += 10
    it.site.admin.end_session(it.session.number, SessionEvent.LOGOUT)
    await it.pass_time(0)
    assert (it.told[-1], it.records[-1].session_time, it.records[-1].cause) == ("stop", 610.0, 1)
    await it.pass_time(1000)
    assert it.told.count("stop") == 1


async def test_the_octets_are_those_of_live_and_of_ended_flows_each_counted_once() -> None:
    it = await Accounted().start()
    it.talk()
    delivered = await it.usage.read(it.session.number)
    assert delivered.sent_packets >= 1, "the controller has delivered the first packet itself"
    it.counts(there=(10, 1000), back=(20, 9000))
    live = await it.usage.read(it.session.number)
    assert live == delivered + Counts(10, 1000, 20, 9000)
    s1 = it.site.s1
    for flow in it.rules:
        s1.expire(flow)
    ended = await it.usage.read(it.session.number)
    assert ended == live, "the entries are gone; their last counters were smaller than what had been read"
    it.talk(40001)
    more = await it.usage.read(it.session.number)
    assert more.sent_packets >= ended.sent_packets


async def test_a_flow_that_was_idle_and_goes_on_counts_once() -> None:
    it = await Accounted().start()
    it.talk()
    s1 = it.site.s1
    for _ in range(3):
        for flow in it.rules:
            s1._remove(flow.key, 0, packets=5)
        s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK, b"more"))
    counts = await it.usage.read(it.session.number)
    # Three times five packets each way, and what the controller delivered: one to open it, and one to go on each time.
    assert (counts.sent_packets, counts.received_packets) == (15 + 1 + 3, 15)


async def test_the_stop_waits_for_the_last_counters_and_no_longer_than_it_may() -> None:
    it = await Accounted().start()
    it.talk()
    it.counts((10, 1000), (20, 9000))
    it.site.s1._remove = lambda *_, **__: None  # the switch is slow to tell
    it.site.admin.end_session(it.session.number, SessionEvent.DISCONNECTED)
    await it.pass_time(1)
    assert it.told == ["start"]
    await it.pass_time(LAST_COUNTERS)
    assert (it.told, it.records[-1].cause) == (["start", "stop"], 6)


async def test_the_stop_is_sent_with_what_is_known_when_the_controller_stops() -> None:
    it = await Accounted().start()
    it.talk()
    it.site.s1._remove = lambda *_, **__: None
    it.site.admin.end_session(it.session.number, SessionEvent.LOGOUT)
    await it.pass_time(1)
    assert it.told == ["start"]
    await it.accounting.finish()
    assert it.told == ["start", "stop"]


async def test_the_counters_of_the_last_moment_are_in_the_stop() -> None:
    it = await Accounted().start()
    it.talk()
    it.site.admin.end_session(it.session.number, SessionEvent.REVOKED)
    await it.pass_time(0)
    stop = it.records[-1]
    assert stop.status == "stop"
    assert (stop.counts.sent_packets, stop.counts.received_packets) == (2, 1), "one by the controller, one by the rule"


async def test_a_proof_that_is_renewed_goes_on_and_another_one_begins_anew() -> None:
    it = await Accounted().start()
    attachment = it.site.endpoint(LAPTOP).attachment
    it.site.now += 30
    again = replace(with_classes(it.proof, (b"other",)), at=it.site.now)
    it.site.admin.start_session(attachment, again, None, None)
    await it.pass_time(300)
    assert it.told == ["start", "interim"]
    assert (it.records[-1].classes, it.records[-1].session_time) == ((b"other",), 330.0)
    other = replace(again, reference="a-2")
    it.site.admin.start_session(attachment, other, None, None)
    await it.pass_time(0)
    assert [(record.status, record.session_id) for record in it.records[2:]] == [("start", "a-2"), ("stop", "a-1")]


async def test_the_server_says_how_often_but_not_more_than_once_a_minute() -> None:
    it = await Accounted().start()
    for interval, due in (("120", 120.0), ("1", 60.0)):
        proof = replace(it.proof, attributes=((INTERIM, interval),))
        assert it.accounting._interval(proof) == due


async def test_a_new_address_is_told_soon_and_not_over_and_over() -> None:
    it = await Accounted().start()
    for last in range(30, 36):
        address = bytes([10, 0, 0, last])
        it.site.admin.claim_address(replace(it.site.endpoint(LAPTOP), address=address), it.session.number)
        await it.pass_time(1)
    assert it.told.count("interim") <= 6 / MIN_BETWEEN + 1
    await it.pass_time(MIN_BETWEEN)
    assert bytes([10, 0, 0, 35]) in it.records[-1].addresses


async def test_a_session_of_the_last_run_has_no_second_start() -> None:
    it = await Accounted().start()
    it.records.clear()
    again = RadiusAccounting(it.site.state, Usage(it.site.state, it.site.admin.grant_usage), it.records.append, 300.0)
    again.resume(it.session)
    it.site.now += 300
    await again.tick()
    assert [(record.status, record.session_time) for record in it.records] == [("interim", 300.0)]


async def test_what_was_carried_outlives_the_controller(tmp_path: Path) -> None:
    it = await Accounted().start()
    it.talk()
    it.counts((10, 1000), (20, 9000))
    before = await it.usage.read(it.session.number)
    for flow in it.rules:
        it.site.s1.expire(flow)
    await it.usage.read(it.session.number)
    UsageFile(tmp_path / "usage.json").save(it.usage.carried())
    again = Usage(it.site.state, it.site.admin.grant_usage)
    again.follow(it.session.number, UsageFile(tmp_path / "usage.json").load()[it.session.number])
    assert await again.read(it.session.number) == before


@pytest.mark.parametrize("content", ["", "[]", '{"1": 5}', '{"x": [[1, 2, 3, 4], [1, 2, 3, 4]]}', "\xff"])
def test_a_file_of_counters_that_makes_no_sense_is_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "usage.json"
    file.write_text(content, encoding="latin-1")
    assert UsageFile(file).load() == {}
    assert UsageFile(tmp_path / "none.json").load() == {}


async def test_sessions_that_radius_did_not_give_are_no_business_of_it() -> None:
    it = await Accounted().start()
    web = it.site.state.sessions.by_address[bytes([10, 0, 0, 11])].session
    it.site.admin.end_session(web.number, SessionEvent.LOGOUT)
    await it.pass_time(400)
    assert {record.session_id for record in it.records} == {"a-1"}


@pytest.mark.parametrize("event", list(SessionEvent))
async def test_every_end_has_a_cause(event) -> None:
    it = await Accounted().start()
    it.site.admin.end_session(it.session.number, event)
    await it.pass_time(LAST_COUNTERS)
    assert 1 <= it.records[-1].cause <= 22


RECORD = AccountingRecord(
    "interim", "a-1", "alice", Attachment(0x15, 3, 0, 1), "s1:3", (bytes([10, 0, 0, 1]), bytes(16)), (b"c", b"d"),
    1000.0, 60.0, Counts(7, 2**33 + 5, 9, 2**32 - 1),
)  # fmt: skip


def test_large_counters_go_into_gigawords() -> None:
    pairs = record_attributes(RECORD, "nas", 1012.5)
    found = dict(pairs)
    assert {number: int.from_bytes(found[number], "big") for number in (40, 41, 42, 43, 46, 47, 48, 52, 53, 55)} == {
        40: 3, 41: 12, 42: 5, 43: 2**32 - 1, 46: 60, 47: 7, 48: 9, 52: 2, 53: 0, 55: 1000,
    }  # fmt: skip
    assert found[8] == bytes([10, 0, 0, 1])
    assert found[168] == bytes(16)
    assert [value for number, value in pairs if number == 25] == [b"c", b"d"]
    stop = dict(record_attributes(replace(RECORD, status="stop", cause=5), "nas", 0.0))
    assert (stop[49], stop[41]) == (b"\0\0\0\5", bytes(4))


def _response(request: bytes, secret: bytes = SECRET) -> bytes:
    """An Accounting-Response (RFC 2866 §4.2)."""
    head = b"\x05" + request[1:2] + b"\x00\x14"
    return head + hashlib.md5(head + request[4:20] + secret).digest()  # noqa: S324  # RFC 2866's own


class Sender:
    """The client with its senders running."""

    def __init__(self, *ports: int, room: int = 16_384, patience: Patience | None = None) -> None:
        servers = [Server(f"r{port}", "127.0.0.1", 9, port, SECRET) for port in ports]
        self.totals: Counter[str] = Counter()
        self.client = AccountingClient(
            servers, "nas", lambda: 1000.0, patience or Patience(0.1, 1, 0.2), self.totals, room
        )

    async def __aenter__(self) -> Sender:
        self.tasks = [asyncio.ensure_future(work) for work in self.client.run()]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.client.close()


async def until(true: Callable[[], bool]) -> None:
    """Return when it is; the test's own time limit ends a wait in vain."""
    while not true():  # noqa: ASYNC110  # what is waited for is another task's, and sets no event
        await asyncio.sleep(0.01)


def _statuses(requests: list[bytes]) -> list[tuple[bytes, int]]:
    found = [dict(read(request).attributes) for request in requests]
    return [(one[44], int.from_bytes(one[40], "big")) for one in found]


async def test_records_are_signed_and_those_of_a_session_keep_their_order() -> None:
    async with radius_server(lambda request: [_response(request)]) as server, Sender(server.port) as it:
        for session in range(20):
            for status in ("start", "interim", "stop"):
                it.client.send(replace(RECORD, session_id=f"a-{session}", status=status))
        await it.client.drain(10.0)
        assert it.totals["radius_accounting_records"] == 60
        for session in range(20):
            assert [status for name, status in _statuses(server.requests) if name == b"a-%d" % session] == [1, 3, 2]
        request = server.requests[0]
        assert request[4:20] == hashlib.md5(request[:4] + bytes(16) + request[20:] + SECRET).digest()  # noqa: S324


async def test_a_record_waits_for_a_server_and_says_for_how_long() -> None:
    async with radius_server() as dead, radius_server() as late, Sender(dead.port, late.port) as it:
        it.client.send(RECORD)
        await until(lambda: len(late.requests) >= 2)
        assert it.client.waiting == 1
        late.behave(lambda request: [_response(request)])
        await it.client.drain(10.0)
        assert (it.client.waiting, it.totals["radius_accounting_records"]) == (0, 1)
        assert len({request[1] for request in late.requests}) > 1, "another try is another packet"


async def test_an_answer_with_another_secret_confirms_nothing() -> None:
    async with radius_server(lambda request: [_response(request, b"x")]) as liar, Sender(liar.port) as it:
        it.client.send(RECORD)
        await until(lambda: it.totals["radius_invalid_answers"] > 0)
        assert (it.client.waiting, it.totals["radius_accounting_records"]) == (1, 0)


async def test_when_too_many_wait_the_oldest_are_dropped_and_counted() -> None:
    async with radius_server(silent) as dead, Sender(dead.port, room=SENDERS * 2) as it:
        for number in range(10):
            it.client.send(replace(RECORD, at=float(number)))
            await asyncio.sleep(0)
        assert it.client.waiting == 3, "one is on its way, and two wait"
        assert it.totals["radius_accounting_dropped"] == 7
        assert [record.at for queue in it.client._queues for record in queue] == [8.0, 9.0]
