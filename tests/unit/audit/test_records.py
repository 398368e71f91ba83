"""What the decision log says: every record with its fields, as text and numbers that JSON has."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.site import ALICE, ONE_SWITCH, WEB, proof_of
from zethane.adapters.audit_log import AuditLog
from zethane.app.journal import LogJournal
from zethane.audit.reason import DenyReason, LoginRefusal, SessionEvent
from zethane.audit.record import connection, rfc3339
from zethane.identity.session import Attachment, Endpoint, Session
from zethane.net.flowkey import FlowKey
from zethane.network.load import parse_network
from zethane.policy.stage import WouldBe
from zethane.service.counts import Counts, RuleCounts
from zethane.service.flows import LiveFlow
from zethane.service.journal import Denied, Journal
from zethane.service.points import Fabric

NOW = 1_700_000_000.123
TIME = "2023-11-14T22:13:20.123Z"


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def session(number: int, principal: Any, segment: str, port: int, *addresses: str) -> Session:
    place = Attachment(1, port, 0, 0x020000000000 + port)
    held = tuple(packed(address) for address in addresses)
    proof = proof_of(principal, NOW, amr=("pwd",), expires=NOW + 60, reauthenticate=NOW + 30)
    return Session(number, principal, place, held, segment, NOW, (proof,))


LAPTOP = session(1, ALICE, "staff", 2, "10.0.0.21")
WEB1 = session(2, WEB, "web", 3, "10.0.0.11", "2001:db8::11")
HTTPS = FlowKey(packed("10.0.0.21"), packed("10.0.0.11"), 6, 40000, 443)

STAFF = {"session": 1, "principal": "user:alice", "segment": "staff"}
TIER = {"session": 2, "principal": "workload:web1", "segment": "web"}
PLACE = {"switch": "s1", "port": 2, "mac": "02:00:00:00:00:02"}
CONNECTION = {
    "source": "10.0.0.21",
    "destination": "10.0.0.11",
    "protocol": "tcp",
    "source_port": 40000,
    "destination_port": 443,
    "service": "tcp/443",
}


def flow() -> LiveFlow:
    return LiveFlow(HTTPS, 1, 2, 5, 1, 2, LAPTOP, WEB1, NOW, NOW, 3, 10, 1000, 8, 2000)


class OneRecord(AuditLog):
    """The log with its writer not started; gives the newest record."""

    def newest(self) -> dict[str, Any]:
        (record,) = self.recent(1)
        parsed = json.loads(json.dumps(record))
        assert isinstance(parsed, dict)
        return parsed


@pytest.fixture
def log(tmp_path: Any) -> OneRecord:
    return OneRecord(tmp_path / "decisions.jsonl")


@pytest.fixture
def journal(log: OneRecord) -> LogJournal:
    return LogJournal(log, Fabric(parse_network(ONE_SWITCH, "network.yaml")), lambda: NOW)


def test_the_journal_is_what_the_administrator_writes_to(journal: LogJournal) -> None:
    """mypy holds the class against the protocol here."""
    as_protocol: Journal = journal
    assert as_protocol is journal


def test_an_allowed_flow_is_a_decision_with_its_rule(log: OneRecord, journal: LogJournal) -> None:
    journal.allowed(flow(), "s1", "staff-web", NOW)
    assert log.newest() == {
        "time": TIME,
        "event": "decision",
        "decision": "allow",
        "rule": "staff-web",
        "reason": "rule",
        "subject": STAFF,
        "object": TIER,
        **PLACE,
        **CONNECTION,
    }


def test_a_denied_packet_says_why_and_where(log: OneRecord, journal: LogJournal) -> None:
    mac = bytes.fromhex("020000000002")
    journal.denied(Denied(DenyReason.DENY_RULE, "s1", 2, HTTPS, mac, LAPTOP, WEB1, "no-ssh"), NOW)
    assert log.newest() == {
        "time": TIME,
        "event": "decision",
        "decision": "deny",
        "rule": "no-ssh",
        "reason": "deny-rule",
        "subject": STAFF,
        "object": TIER,
        **PLACE,
        **CONNECTION,
    }


@pytest.mark.parametrize("allowed", [True, False])
def test_where_something_is_staged_a_decision_says_what_would_be_decided_without(
    log: OneRecord, journal: LogJournal, allowed: bool
) -> None:
    if allowed:
        journal.allowed(flow(), "s1", "staff-web", NOW, WouldBe(False, "no-tcp", "deny-rule"))
        expected = {"decision": "deny", "rule": "no-tcp", "reason": "deny-rule"}
    else:
        would_be = WouldBe(True, "staff-web", "rule")
        journal.denied(Denied(DenyReason.NO_RULE, "s1", 2, HTTPS, None, LAPTOP, WEB1, staged=would_be), NOW)
        expected = {"decision": "allow", "rule": "staff-web", "reason": "rule"}
    assert log.newest()["staged"] == expected


def test_a_denied_frame_that_cannot_be_read_has_every_field_and_nothing_in_them(
    log: OneRecord, journal: LogJournal
) -> None:
    journal.denied(Denied(DenyReason.MALFORMED, "s1", 9, None, None, None, None), NOW)
    assert log.newest() == {
        "time": TIME,
        "event": "decision",
        "decision": "deny",
        "rule": None,
        "reason": "malformed",
        "subject": None,
        "object": None,
        "switch": "s1",
        "port": 9,
        "mac": None,
        **dict.fromkeys(CONNECTION),
    }


def test_a_flow_that_ends_has_its_counters_of_that_moment(log: OneRecord, journal: LogJournal) -> None:
    ended = flow()
    journal.flow_ended(ended, "staff-web", "finished", NOW + 1.5)
    ended.packets = 99
    assert log.newest() == {
        "time": rfc3339(NOW + 1.5),
        "event": "flow_end",
        "rule": "staff-web",
        "reason": "finished",
        "subject": STAFF,
        "object": TIER,
        **PLACE,
        **CONNECTION,
        "packets": 10,
        "bytes": 1000,
        "return_packets": 8,
        "return_bytes": 2000,
        "duration": 1.5,
    }


def test_what_grants_have_carried_is_told_by_session_and_by_rule(log: OneRecord, journal: LogJournal) -> None:
    journal.session_usage(LAPTOP, Counts(10, 1000, 8, 2000), "session-ended", NOW)
    assert log.newest() == {
        "time": TIME,
        "event": "grant_usage",
        "reason": "session-ended",
        "subject": STAFF,
        **PLACE,
        "sent_packets": 10,
        "sent_bytes": 1000,
        "received_packets": 8,
        "received_bytes": 2000,
    }
    journal.rule_usage("staff-web", "s1", RuleCounts(2, 10, 1000), NOW)
    assert log.newest() == {
        "time": TIME,
        "event": "grant_usage",
        "reason": "interval",
        "rule": "staff-web",
        "switch": "s1",
        "connections": 2,
        "packets": 10,
        "bytes": 1000,
    }
    journal.granted(flow(), "s1", "staff-web", NOW)
    assert log.newest() == {
        "time": TIME,
        "event": "decision",
        "decision": "allow",
        "enforced": "switch",
        "rule": "staff-web",
        "reason": "rule",
        "subject": STAFF,
        "object": TIER,
        **PLACE,
        **CONNECTION,
    }


def test_a_session_event_names_the_session_and_what_happened(log: OneRecord, journal: LogJournal) -> None:
    journal.session(SessionEvent.EXPIRED, WEB1, "restart", NOW)
    assert log.newest() == {
        "time": TIME,
        "event": "session",
        "reason": "expired",
        "detail": "restart",
        "subject": TIER,
        "switch": "s1",
        "port": 3,
        "mac": "02:00:00:00:00:03",
        "vlan": None,
        "addresses": ["10.0.0.11", "2001:db8::11"],
        "methods": ["pwd"],
        "mfa": False,
        "aal": 1,
        "proofs": [
            {
                "principal": "workload:web1",
                "method": "portal",
                "aal": 1,
                "issuer": None,
                "at": TIME,
                "ends": rfc3339(NOW + 30),
            }
        ],
        "device": None,
        "facts": {
            "groups": [],
            "labels": {"tier": "web"},
            "mfa": False,
            "mfa_at": None,
            "aal": 1,
            "device": None,
        },
        "ends": rfc3339(NOW + 30),
    }


def test_a_refused_login_says_where_from_and_which_account(log: OneRecord, journal: LogJournal) -> None:
    endpoint = Endpoint(Attachment(0xBEEF, 2, 20, 0x020000000002), packed("10.0.0.66"))
    journal.login_refused(endpoint, "user:alice", LoginRefusal.WRONG_SECRET)
    assert log.newest() == {
        "time": TIME,
        "event": "session",
        "reason": "login-refused",
        "detail": "wrong-secret",
        "explanation": None,
        "subject": None,
        "account": "user:alice",
        "switch": "000000000000beef",
        "port": 2,
        "mac": "02:00:00:00:00:02",
        "vlan": 20,
        "addresses": ["10.0.0.66"],
    }


OTHER_RECORDS: list[tuple[Callable[[LogJournal], None], dict[str, Any]]] = [
    (
        lambda journal: journal.suppressed("s1", 3, "meter", "denied", 12, NOW),
        {"event": "suppressed", "switch": "s1", "port": 3, "limit": "meter", "reason": "denied", "packets": 12},
    ),
    (
        lambda journal: journal.policy("refused", "abc", "line 3", NOW),
        {"event": "policy", "reason": "refused", "version": "abc", "detail": "line 3"},
    ),
    (
        lambda journal: journal.switch("connected", "s1", "", NOW),
        {"event": "switch", "reason": "connected", "switch": "s1", "detail": None},
    ),
]


@pytest.mark.parametrize(("write", "expected"), OTHER_RECORDS)
def test_policy_switches_and_rate_limits_have_records_too(
    log: OneRecord, journal: LogJournal, write: Callable[[LogJournal], None], expected: dict[str, Any]
) -> None:
    write(journal)
    assert log.newest() == {"time": TIME, **expected}


@pytest.mark.parametrize(
    ("proto", "ports", "protocol", "service"),
    [
        (6, (1, 443), "tcp", "tcp/443"),
        (17, (1, 53), "udp", "udp/53"),
        (132, (1, 9), "sctp", "sctp/9"),
        (1, (8, 0), "icmp", "icmp"),
        (58, (8, 0), "icmp", "icmp"),
        (47, (0, 0), "47", "47"),
    ],
)
def test_services_are_named_as_in_a_policy(proto: int, ports: tuple[int, int], protocol: str, service: str) -> None:
    told = connection(FlowKey(packed("10.0.0.1"), packed("10.0.0.2"), proto, *ports))
    assert (told["protocol"], told["service"]) == (protocol, service)
    has_ports = protocol in ("tcp", "udp", "sctp")
    assert (told["source_port"], told["destination_port"]) == (ports if has_ports else (None, None))


addresses = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
numbers = st.integers(0, 65535)


@given(key=st.builds(FlowKey, addresses, addresses, st.integers(0, 255), numbers, numbers))
def test_every_flow_key_becomes_json_with_the_same_fields(key: FlowKey) -> None:
    assert json.loads(json.dumps(connection(key))).keys() == CONNECTION.keys()


@given(moment=st.floats(0, 4e9))
def test_times_are_rfc3339_in_utc_with_milliseconds(moment: float) -> None:
    text = rfc3339(moment)
    assert len(text) == 24
    assert text[10] == "T"
    assert text[-5] == "."
    assert text.endswith("Z")
