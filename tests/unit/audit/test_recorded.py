"""A decision log read back: who opened what to whom, and what is done with lines that are damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.decision_log import START, WrittenLog
from fakes.site import ALICE, BOB, WEB
from zethane.audit.observed import Observer
from zethane.audit.reason import DenyReason
from zethane.audit.record import facts
from zethane.audit.recorded import RecordedDecision, RecordError, read_facts, read_line, read_record
from zethane.policy.principal import DeviceFacts, External, Principal
from zethane.policy.seen import Seen, summarise

LAPTOP = DeviceFacts(
    "laptop",
    frozenset({"laptops"}),
    (("managed", "yes"),),
    (("disk_encrypted", True), ("os_version", "12.5"), ("patches", 7)),
    START - 5.0,
    (("disk_encrypted", START - 5.0), ("os_version", START - 60.0), ("patches", START - 5.0)),
)
EVE = Principal("user", "eve@idp", frozenset({"staff", "ops"}), (("team", "a"),), True, START - 30.0, 2, LAPTOP)


def nobody(account: str) -> None:  # noqa: ARG001
    return None


def observe(log: WrittenLog, observer: Observer) -> list[Seen]:
    return [seen for line in log.lines if (seen := observer.line(line)) is not None]


@pytest.fixture
def log() -> WrittenLog:
    written = WrittenLog()
    written.login(replace(ALICE, mfa_at=START), "10.0.0.21")
    written.login(WEB, "10.0.0.11")
    return written


@pytest.mark.parametrize("principal", [EVE, WEB, BOB, replace(EVE, device=DeviceFacts("bare"))])
def test_what_policy_looks_at_survives_being_written(principal: Principal) -> None:
    value = json.loads(json.dumps(facts(principal)))
    assert read_facts(principal.kind, principal.name, value) == principal


def test_flows_have_the_facts_that_their_sessions_have_in_the_log(log: WrittenLog) -> None:
    flow = log.flow("10.0.0.21", "10.0.0.11", "staff-web")
    log.end(flow, "staff-web", 1.0, packets=7, octets=700)
    opened, ended = observe(log, observer := Observer(nobody))
    alice = replace(ALICE, mfa_at=START, aal=ALICE.aal, address=ip_address("10.0.0.21"))
    assert opened.subject == alice
    assert opened.object == replace(WEB, address=ip_address("10.0.0.11"))
    assert (opened.source, opened.target, opened.ip_proto, opened.port) == ("user:alice", "workload:web1", 6, 443)
    assert (opened.flows, opened.packets, opened.allowed, opened.rule) == (1, 0, True, "staff-web")
    assert (ended.flows, ended.packets, ended.octets, ended.last - ended.first) == (0, 7, 700, 1.0)
    assert observer.account.ends == {"session": 4}


def test_a_flow_has_the_facts_of_when_it_was_opened(log: WrittenLog) -> None:
    session = log.login(BOB, "10.0.0.22")
    flow = log.flow("10.0.0.22", "10.0.0.11", "staff-web")
    log.change(session, replace(BOB, groups=frozenset({"guests"})))
    log.flow("10.0.0.22", "10.0.0.11", "guests-web")
    log.end(flow, "staff-web", 2.5)
    groups = [seen.subject.groups for seen in observe(log, Observer(nobody)) if isinstance(seen.subject, Principal)]
    assert groups == [{"staff"}, {"guests"}, {"staff"}]


def test_flows_of_a_session_that_the_log_does_not_tell_of_have_the_facts_of_the_identities() -> None:
    log = WrittenLog()
    log.login(ALICE, "10.0.0.21", told=False)
    log.login(WEB, "10.0.0.11", told=False)
    log.login(BOB, "10.0.0.22", told=False)
    log.flow("10.0.0.21", "10.0.0.11", "staff-web")
    log.flow("10.0.0.22", "10.0.0.11", "staff-web")
    known = {"user:alice": ALICE, "workload:web1": WEB}
    observer = Observer(known.get)
    (seen,) = observe(log, observer)
    assert seen.subject == replace(ALICE, address=ip_address("10.0.0.21"))
    assert observer.account.ends == {"identities": 3, "unknown": 1}
    assert observer.account.unknown == {"user:bob": 1}


def test_a_session_record_without_facts_says_at_least_how_it_was_proved(log: WrittenLog) -> None:
    log.flow("10.0.0.21", "10.0.0.11", "staff-web")
    old = [json.loads(line) for line in log.lines]
    observer = Observer({"user:alice": replace(ALICE, mfa=False), "workload:web1": WEB}.get)
    found = [observer.line(json.dumps({k: v for k, v in one.items() if k != "facts"}).encode()) for one in old]
    subject = next(seen.subject for seen in found if seen is not None)
    assert isinstance(subject, Principal)
    assert (subject.mfa, subject.groups) == (True, {"staff"})
    assert observer.account.ends == {"session": 2}


def test_an_address_outside_is_the_one_of_the_packet_and_not_the_network_of_the_policy(log: WrittenLog) -> None:
    log.outside("198.51.100.0/24", "198.51.100.7")
    log.flow("10.0.0.21", "198.51.100.7", "staff-out")
    (seen,) = observe(log, Observer(nobody))
    assert seen.object == External(ip_address("198.51.100.7"))
    assert seen.target == "198.51.100.7"


def test_only_denials_that_policy_decided_are_told(log: WrittenLog) -> None:
    log.denial("10.0.0.21", "10.0.0.11", 22)
    log.denial("10.0.0.21", "10.0.0.11", 23, DenyReason.DENY_RULE, "no-telnet")
    log.denial("10.0.0.21", "10.0.0.11", 24, DenyReason.CONDITION_NOT_MET, "admins")
    log.denial("10.0.0.21", "10.0.0.11", 25, DenyReason.QUOTA, "staff-web")
    log.denial("10.0.0.21", "10.0.0.99", 26)
    log.journal.suppressed("s1", 2, "log", "no-rule", 90, log.now)
    observer = Observer(nobody)
    denied = observe(log, observer)
    assert [(seen.port, seen.rule) for seen in denied] == [(22, None), (23, "no-telnet"), (24, None)]
    assert not any(seen.allowed for seen in denied)
    assert observer.account.aside == {"quota": 1, "nobody-there": 1}
    assert observer.account.missing == {"no-rule": 90}


def test_a_flow_that_is_older_than_the_log_counts_when_it_ends(log: WrittenLog) -> None:
    flow = log.flow("10.0.0.21", "10.0.0.11", "staff-web")
    log.end(flow, "staff-web", 3600.0)
    assert [seen.flows for seen in observe(log, Observer(nobody))] == [1, 1]


def test_nothing_is_told_of_another_time_but_who_was_there(log: WrittenLog) -> None:
    for port in (1, 2, 3):
        log.flow("10.0.0.21", "10.0.0.11", "staff-web", port)
    since = log.now - 1
    assert [seen.port for seen in observe(log, Observer(nobody, since, since + 1))] == [2]


DAMAGED: list[tuple[bytes, str]] = [
    (b"{", "no-json"),
    (b"\xff\xfe", "no-json"),
    (b"[" * 20_000, "no-json"),
    (b"[]", "no-record"),
    (b'{"event": 1}', "event"),
    (b'{"event": "decision", "time": "today"}', "time"),
    (b'{"event": "decision", "time": "1969-12-31T23:59:59Z"}', "time"),
    (b'{"event": "decision", "time": "9999-12-31T00:00:00Z"}', "time"),
    (b'{"event": "decision", "time": "2026-11-25T10:00:00"}', "time"),
    (b'{"event": "suppressed", "time": "2026-11-25T10:00:00Z", "reason": "no-rule", "packets": -1}', "packets"),
    (b'{"event": "suppressed", "time": "2026-11-25T10:00:00Z", "reason": "no-rule", "packets": 1e3}', "packets"),
    (b'{"x": "' + b"y" * 70_000 + b'"}', "too-long"),
]


@pytest.mark.parametrize(("line", "kind"), DAMAGED)
def test_damaged_lines_are_counted_by_what_is_wrong_with_them(log: WrittenLog, line: bytes, kind: str) -> None:
    log.flow("10.0.0.21", "10.0.0.11", "staff-web")
    log.lines.insert(0, line)
    observer = Observer(nobody)
    assert len(observe(log, observer)) == 1
    assert observer.account.damaged == {kind: 1}


CHANGED: list[tuple[str, Any, str]] = [
    ("decision", "perhaps", "decision"),
    ("rule", "r" * 301, "rule"),
    ("reason", None, "reason"),
    ("subject", {"session": 0.5, "principal": "user:alice"}, "subject"),
    ("subject", {"session": 1, "principal": "king:alice"}, "subject"),
    ("object", "web", "object"),
    ("source", "10.0.0.256", "source"),
    ("destination", "2001:db8::1", "destination"),
    ("protocol", "256", "protocol"),
    ("protocol", ["tcp"], "protocol"),
    ("destination_port", 65536, "destination_port"),
    ("destination_port", True, "destination_port"),
]


@pytest.mark.parametrize(("key", "value", "kind"), CHANGED)
def test_every_field_of_a_decision_is_checked(log: WrittenLog, key: str, value: object, kind: str) -> None:
    log.flow("10.0.0.21", "10.0.0.11", "staff-web")
    record = json.loads(log.lines[-1])
    with pytest.raises(RecordError) as raised:
        read_record({**record, key: value})
    assert raised.value.kind == kind


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
KEYS = st.text(max_size=8)
VALUES = st.recursive(SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(KEYS, one, max_size=3))


def some_record() -> dict[str, Any]:
    log = WrittenLog()
    log.login(EVE, "10.0.0.21")
    log.login(WEB, "10.0.0.11")
    log.end(log.flow("10.0.0.21", "10.0.0.11", "staff-web"), "staff-web", 1.0)
    return {str(number): json.loads(line) for number, line in enumerate(log.lines)}


RECORDS: list[dict[str, Any]] = list(some_record().values())


@given(st.sampled_from(RECORDS), st.data())
def test_no_value_of_a_field_does_more_than_damage_its_record(record: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(record)))
    changed = {**record, key: data.draw(VALUES)}
    inner = changed["facts"] if isinstance(changed.get("facts"), dict) else None
    if inner and data.draw(st.booleans()):
        changed["facts"] = {**inner, data.draw(st.sampled_from(sorted(inner))): data.draw(VALUES)}
    observer = Observer(nobody)
    for one in (*RECORDS[:2], changed):
        observer.line(json.dumps(one).encode())
    assert observer.account.lines == 3
    assert observer.account.records + sum(observer.account.damaged.values()) == 3


@given(st.binary(max_size=200))
def test_no_line_raises_anything_else(line: bytes) -> None:
    observer = Observer(nobody)
    observer.line(line)
    assert observer.account.lines == 1


def test_protocols_without_ports_are_numbers_and_icmp_is_that_of_its_family() -> None:
    def proto(protocol: str, address: str) -> tuple[int, int]:
        record = {"decision": "allow", "reason": "rule", "rule": "r", "protocol": protocol}
        times = {"event": "decision", "time": "2026-11-25T10:00:00Z", "source": address, "destination": address}
        found = read_line(json.dumps(record | times).encode())
        assert isinstance(found, RecordedDecision)
        assert found.flow is not None
        return found.flow.ip_proto, found.flow.port

    assert proto("icmp", "10.0.0.1") == (1, 0)
    assert proto("icmp", "::1") == (58, 0)
    assert proto("47", "10.0.0.1") == (47, 0)


def totals(seen: Iterable[Seen]) -> list[tuple[str, int, int, int, bool | None]]:
    return [(one.source, one.port, one.flows, one.packets, one.allowed) for one in seen]


def test_what_was_seen_adds_up_by_ends_service_and_verdict(log: WrittenLog) -> None:
    session = log.login(replace(BOB, mfa=True, mfa_at=START), "10.0.0.22")
    for _ in range(3):
        log.end(log.flow("10.0.0.22", "10.0.0.11", "staff-web"), "staff-web", 1.0)
        session = log.change(session, replace(BOB, mfa=True, mfa_at=log.now))
    log.change(session, replace(BOB, mfa=False))
    log.denial("10.0.0.22", "10.0.0.11")
    log.denial("10.0.0.21", "10.0.0.11")
    summary = summarise(observe(log, Observer(nobody)))
    assert totals(summary) == [
        ("user:bob", 443, 3, 30, True),
        ("user:bob", 443, 1, 0, False),
        ("user:alice", 443, 1, 0, False),
    ]
    first = next(iter(summary))
    assert isinstance(first.subject, Principal)
    assert START < (first.subject.mfa_at or 0) < first.last < math.inf
