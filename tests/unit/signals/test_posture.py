"""Device posture: what a report may say, who may say it, what counts of several, and what follows for sessions."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.frames import Host
from fakes.signals_site import AGENT, MDM, NOW, POLICY, SignalsSite, token_hash
from fakes.site import BOB, WEB, Site, proof_of
from zethane.adapters.store.sqlite import SqliteStore
from zethane.api import posture_routes
from zethane.api.posture_routes import parse_report
from zethane.api.signals_app import create_app
from zethane.app.devices import Devices
from zethane.audit.reason import SessionEvent
from zethane.errors import InputError
from zethane.identity.attempts import Rate
from zethane.identity.posture import MAX_REPORTERS, Posture, Report, check_attributes
from zethane.identity.proof import Proof
from zethane.identity.sources.signals import Reporter
from zethane.policy.condition import Condition
from zethane.policy.principal import DeviceFacts, Principal

HOST = Host(3, "02:00:00:00:00:03", "10.0.0.3")
WEB_HOST = Host(4, "02:00:00:00:00:04", "10.0.0.4")
LAPTOP = Proof("device", "laptop", "certificate", NOW - 10, ("x509",), 2, labels=(("kind", "laptop"),), issuer="ca")


def rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat().replace("+00:00", "Z")


def body(measured: float = NOW - 60, device: str = "laptop", **attributes: Any) -> dict[str, Any]:
    return {"device": device, "measured": rfc3339(measured), "attributes": attributes or {"disk_encrypted": True}}


# what counts of several reports


def report(reporter: str, measured: float, received: float = 0.0, **attributes: Any) -> Report:
    return Report("laptop", reporter, measured, received or measured, check_attributes(attributes))


def test_of_each_attribute_the_newest_measurement_counts_with_its_own_time() -> None:
    posture = Posture("laptop")
    posture = posture.with_report(report("agent", 100, disk_encrypted=True, compliant=True))
    posture = posture.with_report(report("mdm", 200, compliant=False))
    facts = posture.facts()
    assert facts.posture == (("compliant", False), ("disk_encrypted", True))
    assert facts.times == (("compliant", 200), ("disk_encrypted", 100))
    assert facts.measured == 200


def test_a_condition_is_as_fresh_as_the_oldest_of_what_it_asks_for() -> None:
    """A fresh verdict of one reporter does not make fresh what another has measured long ago."""
    facts = Posture("laptop", (report("agent", 100, disk_encrypted=True), report("mdm", 500, compliant=True))).facts()
    alice = Principal("user", "alice", device=facts)
    encrypted = Condition(posture=(("disk_encrypted", True),), posture_max_age=200)
    verdict = Condition(posture=(("compliant", True),), posture_max_age=200)
    assert encrypted.holds(alice, 299)
    assert not encrypted.holds(alice, 300)
    assert verdict.holds(alice, 699)
    assert encrypted.until(alice, 250) == 300
    assert verdict.until(alice, 600) == 700
    both = Condition(posture=(*encrypted.posture, *verdict.posture), posture_max_age=200)
    assert not both.holds(alice, 500)


def test_facts_without_times_are_as_old_as_the_whole() -> None:
    assert DeviceFacts("laptop", posture=(("a", True),), measured=7.0).measured_of(["a"]) == 7.0
    assert DeviceFacts("laptop").measured_of(["a"]) is None


def test_what_a_reporter_no_longer_says_no_longer_counts() -> None:
    posture = Posture("laptop", (report("agent", 100, disk_encrypted=True, firewall=True),))
    assert posture.with_report(report("agent", 200, firewall=True)).facts().posture == (("firewall", True),)


def test_the_oldest_reporters_are_forgotten() -> None:
    posture = Posture("laptop")
    for number in range(MAX_REPORTERS + 3):
        posture = posture.with_report(report(f"r{number}", 100 + number, firewall=True))
    assert len(posture.reports) == MAX_REPORTERS
    assert posture.of("r0") is None
    assert posture.of(f"r{MAX_REPORTERS + 2}") is not None


# what a report may say

WRONG: list[tuple[str, object]] = [
    ("no object", []),
    ("nothing", {}),
    ("no device", {"measured": rfc3339(NOW), "attributes": {"a": True}}),
    ("an unknown key", body() | {"extra": 1}),
    ("a name that is none", body(device="a b")),
    ("a long name", body(device="x" * 64)),
    ("no time", {"device": "laptop", "attributes": {"a": True}}),
    ("a time as a number", body() | {"measured": NOW}),
    ("a time without a zone", body() | {"measured": "2023-11-14T22:13:20"}),
    ("a date", body() | {"measured": "2023-11-14"}),
    ("an old clock", body() | {"measured": "1970-01-01T00:00:00Z"}),
    ("a time that is none", body() | {"measured": "yesterday"}),
    ("no attributes", body() | {"attributes": {}}),
    ("attributes as a list", body() | {"attributes": ["disk_encrypted"]}),
    ("too many attributes", body() | {"attributes": {f"a{n}": True for n in range(65)}}),
    ("a name in capitals", body() | {"attributes": {"DiskEncrypted": True}}),
    ("a long attribute", body() | {"attributes": {"a" * 64: True}}),
    ("null", body() | {"attributes": {"a": None}}),
    ("a fraction", body() | {"attributes": {"a": 1.5}}),
    ("a large number", body() | {"attributes": {"a": 2**53}}),
    ("a long text", body() | {"attributes": {"a": "x" * 256}}),
    ("a text with a line end", body() | {"attributes": {"a": "x\ny"}}),
    ("an object", body() | {"attributes": {"a": {"b": True}}}),
]


@pytest.mark.parametrize("value", [case[1] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_report_is_refused(value: object) -> None:
    with pytest.raises(InputError):
        parse_report(json.dumps(value).encode(), "agent", NOW)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 5000,
        b'{"device":"a","device":"b"}',
        b"NaN",
        b'{"device":"a\\ud800"}',
        b" " * 40_000,
        b"1" * 5000,
    ],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(InputError):
        parse_report(text, "agent", NOW)


def test_errors_repeat_no_value() -> None:
    with pytest.raises(InputError) as caught:
        parse_report(json.dumps(body(a="secret-value\n")).encode(), "agent", NOW)
    assert "secret-value" not in str(caught.value)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=200) | st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=4)).map(json.dumps)
)
def test_whatever_is_sent_there_is_a_report_or_an_error(sent: bytes | str) -> None:
    try:
        parse_report(sent.encode() if isinstance(sent, str) else sent, "agent", NOW)
    except InputError:
        return
    raise AssertionError("nothing of that is a report")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
        st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.text(st.characters(categories=["L", "N"]), max_size=9),
        min_size=1,
        max_size=9,
    ),
    st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1), timezones=st.just(timezone(timedelta(hours=5)))),  # noqa: DTZ001
)
def test_what_is_reported_is_what_is_known(attributes: dict[str, Any], measured: datetime) -> None:
    sent = {"device": "laptop", "measured": measured.isoformat(), "attributes": attributes}
    read = parse_report(json.dumps(sent).encode(), "agent", NOW)
    assert (dict(read.attributes), read.measured) == (attributes, measured.timestamp())


# who may say it, and what follows


async def test_a_report_of_an_agent_is_taken_and_kept(here: SignalsSite) -> None:
    answer = await here.report(body(disk_encrypted=True, os_version="12.7"))
    assert answer.status_code == 200
    assert answer.json() == {"device": "laptop", "taken": True, "measured": "2023-11-14T22:12:20.000Z"}
    (known,) = here.site.store.postures()
    assert known.of("agent") == Report(
        "laptop", "agent", NOW - 60, NOW, (("disk_encrypted", True), ("os_version", "12.7"))
    )


@pytest.mark.parametrize(
    ("sent", "bearer", "status"),
    [
        (body(), "wrong", 401),
        (b"not even JSON", "wrong", 401),
        (body(), "", 401),
        (body(device="desk"), AGENT, 403),
        (body(compliant=True), AGENT, 403),
        (body(device="stranger"), MDM, 404),
        (body(NOW + 61), AGENT, 422),
        (b"{", AGENT, 422),
    ],
)
async def test_who_may_not_say_it_is_told_so(here: SignalsSite, sent: Any, bearer: str, status: int) -> None:
    answer = await here.report(sent, bearer)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert here.site.store.postures() == []


async def test_a_reporter_that_tells_too_much_waits_and_the_others_do_not(
    here: SignalsSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posture_routes, "RATE", Rate(3, 1.0))
    router = posture_routes.posture_router(
        {"agent": Reporter(token=token_hash(AGENT)), "mdm": Reporter(token=token_hash(MDM))},  # type: ignore[arg-type]
        here.devices.postures,
        lambda: here.site.now,
    )
    transport = httpx.ASGITransport(create_app([router]))
    async with httpx.AsyncClient(transport=transport, base_url="http://signals") as here.client:
        answers = [(await here.report(body(NOW - 60 + number))).status_code for number in range(5)]
        assert answers == [200, 200, 200, 429, 429]
        assert (await here.report(body(NOW), MDM)).status_code == 200
        here.site.now += 2
        assert (await here.report(body(NOW + 1))).status_code == 200


async def test_a_late_report_changes_nothing_and_says_so(here: SignalsSite) -> None:
    await here.report(body(NOW - 60, disk_encrypted=False))
    for late in (NOW - 60, NOW - 90):
        answer = await here.report(body(late, disk_encrypted=True))
        assert (answer.status_code, answer.json()["taken"]) == (200, False)
        assert answer.json()["measured"] == "2023-11-14T22:12:20.000Z"
    facts = here.devices.postures.facts("laptop")
    assert facts is not None
    assert facts.posture == (("disk_encrypted", False),)


async def test_a_clock_may_be_ahead_a_little(here: SignalsSite) -> None:
    assert (await here.report(body(NOW + 59))).status_code == 200


def on_laptop(here: SignalsSite) -> int:
    """Bob on his laptop, with the web server there to talk to."""
    here.site.login(WEB_HOST, WEB)
    place = here.site.endpoint(HOST)
    here.site.admin.start_session(place.attachment, LAPTOP, place.address, None)
    bob = proof_of(BOB, NOW - 5, expires=NOW + 100_000, reauthenticate=NOW + 100_000)
    return here.site.admin.start_session(place.attachment, bob, place.address, None).number


def opened(here: SignalsSite, number: int, *ports: int) -> list[int]:
    """The ports to which the session's flows go, after it has tried these."""
    for port in ports:
        here.site.s1.send(HOST.port, HOST.tcp(WEB_HOST, 40000, port))
    return sorted(flow.key.dport for flow in here.site.state.flows.of_session(number))


async def test_a_report_opens_what_it_allows_and_closes_what_it_does_not(here: SignalsSite) -> None:
    number = on_laptop(here)
    assert opened(here, number, 80, 443) == [80]
    await here.report(body(NOW - 60, disk_encrypted=True))
    assert opened(here, number, 443) == [80, 443]
    await here.report(body(NOW - 30, disk_encrypted=False))
    assert opened(here, number) == [80]
    assert opened(here, number, 443) == [80]
    last = here.site.records.of("session")[-1]
    assert (last[0], last[2]) == (SessionEvent.CHANGED, "posture of laptop, by agent")


async def test_a_report_that_changes_nothing_for_this_policy_is_in_the_log_for_another_one(here: SignalsSite) -> None:
    """Once for each report that is taken, with what is known now."""
    on_laptop(here)
    await here.report(body(NOW - 60, os_version="12.5"))
    told = len(here.site.records.of("session"))
    await here.report(body(NOW - 30, os_version="12.6"))
    await here.report(body(NOW - 40, os_version="12.7"))
    assert len(here.site.records.of("session")) == told + 1
    event, session, *_ = here.site.records.of("session")[-1]
    assert event == SessionEvent.CHANGED
    assert session.principal.device.posture == (("os_version", "12.6"),)
    assert session.principal.device.measured == NOW - 30


async def test_what_gets_stale_closes_only_what_rests_on_it(here: SignalsSite) -> None:
    number = on_laptop(here)
    await here.report(body(NOW - 60, disk_encrypted=True))
    assert opened(here, number, 80, 443) == [80, 443]
    here.site.now = NOW + 3600 - 61 - 5
    here.site.admin.tick(here.site.now)
    assert opened(here, number) == [80, 443]
    here.site.now = NOW + 3600 - 60
    here.site.admin.tick(here.site.now)
    assert opened(here, number) == [80]
    assert opened(here, number, 443) == [80]


async def test_a_report_about_another_device_changes_nothing(here: SignalsSite) -> None:
    number = on_laptop(here)
    await here.report(body(device="desk", disk_encrypted=True), MDM)
    assert opened(here, number, 443) == []


async def test_a_device_counts_only_where_it_has_proved_itself(here: SignalsSite) -> None:
    await here.report(body(disk_encrypted=True))
    here.site.login(WEB_HOST, WEB)
    place = here.site.endpoint(HOST)
    bob = here.site.admin.start_session(place.attachment, proof_of(BOB, NOW), place.address, "laptop")
    assert opened(here, bob.number, 443) == []
    assert here.devices.one("laptop") is not None
    assert [(view["device"], view["sessions"]) for view in here.devices.all()] == [("desk", []), ("laptop", [])]


async def test_a_device_that_only_a_live_session_knows_may_be_reported_on(here: SignalsSite) -> None:
    place = here.site.endpoint(HOST)
    stranger = Proof("device", "tablet", "certificate", NOW, ("x509",), 2, labels=(("kind", "laptop"),), issuer="ca")
    session = here.site.admin.start_session(place.attachment, stranger, place.address, None)
    assert (await here.report(body(device="tablet"), MDM)).status_code == 200
    view = here.devices.one("tablet")
    assert view is not None
    assert (view["registered"], view["sessions"]) == (False, [session.number])
    assert [view["device"] for view in here.devices.all()] == ["desk", "laptop", "tablet"]
    assert view["posture"] == {"disk_encrypted": {"value": True, "measured": "2023-11-14T22:12:20.000Z"}}
    here.site.admin.end_session(session.number, SessionEvent.REVOKED)
    assert (await here.report(body(NOW, device="tablet"), MDM)).status_code == 404
    assert here.devices.one("tablet") is None


async def test_what_is_known_outlives_a_restart(here: SignalsSite) -> None:
    number = on_laptop(here)
    await here.report(body(disk_encrypted=True))
    again = Site(policy=POLICY, store=here.site.store)
    again.now = NOW
    again.state.accounts.directory = here.site.state.accounts.directory
    devices = Devices(again.admin, again.store, again.records)  # type: ignore[arg-type]
    await again.start()
    devices.enter()
    again.s1.send(HOST.port, HOST.tcp(WEB_HOST, 40000, 443))
    assert [flow.key.dport for flow in again.state.flows.of_session(number)] == [443]
    view = devices.one("laptop")
    assert view is not None
    assert view["sessions"] == [number]


def test_the_store_keeps_postures_and_forgets_what_cannot_be_read(tmp_path: Path) -> None:
    posture = Posture("laptop", (report("agent", 100, 7, disk_encrypted=True, os_version="12.7", patches=3),))
    store = SqliteStore(tmp_path / "s.sqlite")
    store.save_posture(posture)
    store.save_posture(Posture("desk"))
    for device, text in (("a", "{"), ("b", "[{}]"), ("c", '[{"reporter":1,"measured":"x"}]'), ("d", "[7]")):
        store._db.execute("INSERT INTO posture VALUES (?, ?)", (device, text))
    store.close()
    store = SqliteStore(tmp_path / "s.sqlite")
    assert store.postures() == [Posture("desk"), posture]
    store.close()
