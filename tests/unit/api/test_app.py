"""The operators' API: what each path answers, and that nothing a client sends is more than it seems."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.operated import Operated
from zethane.api.app import MAX_BODY, create_app
from zethane.errors import CapacityError, ChannelError, Problem, SessionError, ZethaneError
from zethane.service.facade import ControllerFacade

ALICE = {
    "session": 1,
    "principal": "user:alice",
    "kind": "user",
    "name": "alice",
    "segment": "staff",
    "mfa": True,
    "aal": 2,
    "methods": ["pwd", "otp"],
    "device": None,
    "proofs": [
        {
            "account": "user:alice",
            "method": "portal",
            "amr": ["pwd", "otp"],
            "aal": 2,
            "issuer": None,
            "at": "2023-11-14T22:13:20.000Z",
            "mfa_at": "2023-11-14T22:13:20.000Z",
            "expires": "2023-11-14T22:14:20.000Z",
            "reauthenticate": "2023-11-14T22:13:50.000Z",
            "ends": "2023-11-14T22:13:50.000Z",
            "idle": None,
        }
    ],
    "dpid": "0000000000000001",
    "port": 1,
    "vlan": 0,
    "mac": "02:00:00:00:00:01",
    "addresses": ["10.0.0.21", "2001:db8::21"],
    "started": "2023-11-14T22:13:20.000Z",
    "authenticated": "2023-11-14T22:13:20.000Z",
    "expires": "2023-11-14T22:13:50.000Z",
}


@pytest.fixture
def controller() -> Operated:
    return Operated()


def client_of(controller: Operated) -> httpx.AsyncClient:
    facade: ControllerFacade = controller
    transport = httpx.ASGITransport(create_app(facade), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://controller/v1")


@pytest.fixture
async def client(controller: Operated) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(controller) as client:
        yield client


def check_problem(response: httpx.Response, status: int, *words: str) -> None:
    """RFC 9457 problem details that say what is wrong."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body.keys() == {"type", "title", "status", "detail"}
    assert body["status"] == status
    for word in words:
        assert word in body["detail"]


async def test_sessions_are_listed_by_number(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/sessions")).json()
    assert answer["sessions"][0] == ALICE
    assert [session["session"] for session in answer["sessions"]] == [1, 2]


@pytest.mark.parametrize(
    ("query", "numbers"), [("limit=1", [1]), ("after=1", [2]), ("after=1&limit=1", [2]), ("after=2", [])]
)
async def test_sessions_can_be_read_page_by_page(client: httpx.AsyncClient, query: str, numbers: list[int]) -> None:
    answer = (await client.get(f"/sessions?{query}")).json()
    assert [session["session"] for session in answer["sessions"]] == numbers


async def test_one_session_can_be_read_and_ended_once(client: httpx.AsyncClient, controller: Operated) -> None:
    assert (await client.get("/sessions/1")).json() == ALICE
    assert (await client.delete("/sessions/1")).json() == {"sessions": [1]}
    check_problem(await client.delete("/sessions/1"), 404, "session 1")
    check_problem(await client.get("/sessions/1"), 404, "session 1")
    assert controller.ended == [(1, "revoked")]


async def test_an_account_is_blocked_shown_and_let_in_again(client: httpx.AsyncClient, controller: Operated) -> None:
    body = {"account": "user:alice", "reason": "lost her badge", "by": "root", "until": "2023-11-15T00:00:00Z"}
    assert (await client.post("/blocks", json=body)).json() == {"sessions": [1]}
    (shown,) = (await client.get("/blocks")).json()["blocks"]
    since = {"since": "2023-11-14T22:13:20.000Z", "until": "2023-11-15T00:00:00.000Z"}
    assert shown == {"account": "user:alice", "reason": "lost her badge", "by": "root"} | since
    assert (await client.delete("/blocks/user:alice")).json() == {"account": "user:alice"}
    check_problem(await client.delete("/blocks/user:alice"), 404, "not blocked")
    controller.failure = CapacityError("too many")
    check_problem(await client.post("/blocks", json={"account": "device:x"}), 503, "too many")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"account": "alice"},
        {"account": "segment:staff"},
        {"account": "user:"},
        {"account": "user:" + "x" * 64},
        {"account": "user:alice", "reason": "two\nlines"},
        {"account": "user:alice", "reason": "x" * 300},
        {"account": "user:alice", "until": "tomorrow"},
        {"account": "user:alice", "until": "2023-11-15T00:00:00"},
        {"account": "user:alice", "everybody": True},
    ],
)
async def test_a_block_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, controller: Operated, body: dict[str, Any]
) -> None:
    check_problem(await client.post("/blocks", json=body), 422)
    assert controller.blocked == {}


@pytest.mark.parametrize(
    ("body", "ended"),
    [
        ({"principal": "alice"}, [1]),
        ({"principal": "workload:web1"}, [2]),
        ({"session": 2}, [2]),
        ({"address": "10.0.0.21"}, [1]),
        ({"address": "2001:DB8:0:0::21"}, [1]),
        ({"principal": "nobody"}, []),
    ],
)
async def test_sessions_are_revoked_by_principal_number_or_address(
    client: httpx.AsyncClient, body: dict[str, Any], ended: list[int]
) -> None:
    assert (await client.post("/revoke", json=body)).json() == {"sessions": ended}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"session": True},
        {"session": "1"},
        {"session": 0},
        {"session": 2**24},
        {"address": 167772181},
        {"address": "10.0.0.0/8"},
        {"principal": ""},
        {"principal": "x" * 200},
        {"principal": "alice", "session": 2},
        {"principal": "alice", "everybody": True},
        [],
        None,
        "alice",
    ],
)
async def test_a_revocation_that_is_not_exactly_one_thing_ends_nothing(
    client: httpx.AsyncClient, controller: Operated, body: Any
) -> None:
    check_problem(await client.post("/revoke", json=body), 422)
    assert controller.ended == []


async def test_flows_have_their_rule_and_times_as_text(client: httpx.AsyncClient) -> None:
    (flow,) = (await client.get("/flows", params={"session": 1, "limit": 5})).json()["flows"]
    assert (flow["rule"], flow["since"]) == ("staff-web", "2023-11-14T22:13:20.000Z")
    assert (await client.get("/flows", params={"session": 9})).json() == {"flows": []}


async def test_decisions_are_the_newest_last(client: httpx.AsyncClient, controller: Operated) -> None:
    assert (await client.get("/decisions")).json() == {"decisions": controller.log}
    assert (await client.get("/decisions?limit=1")).json() == {"decisions": controller.log[-1:]}


async def test_the_stream_is_server_sent_events(client: httpx.AsyncClient, controller: Operated) -> None:
    for record in ({"event": "a", "text": "line\nbreak"}, {"event": "b"}, None):
        controller.arriving.put_nowait(record)
    answer = await client.get("/decisions/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [part for part in answer.text.split("\n\n") if part]
    assert [json.loads(event.removeprefix("data: ")) for event in events] == [
        {"event": "a", "text": "line\nbreak"},
        {"event": "b"},
    ]


async def test_the_policy_can_be_read_and_read_again(client: httpx.AsyncClient) -> None:
    told = (await client.get("/policy")).json()
    assert (told["version"], told["loaded"], told["error"]) == ("0123456789abcdef", "2023-11-14T22:13:20.000Z", None)
    assert (await client.post("/policy/reload")).json() == told


async def test_a_bad_policy_is_refused_with_file_line_and_column(
    client: httpx.AsyncClient, controller: Operated
) -> None:
    controller.bad_policy = [Problem("policy.yaml", "expected a name", 3, 7, "id"), Problem("policy.yaml", "too long")]
    answer = await client.post("/policy/reload")
    check_problem(answer, 422, "policy.yaml:3:7: id: expected a name", "policy.yaml: too long")


async def test_explain_answers_and_refuses_what_means_nothing(client: httpx.AsyncClient) -> None:
    params = {"from": "alice", "to": "10.0.0.11", "service": "tcp/443"}
    assert (await client.get("/explain", params=params)).json()["decision"] == "allow"
    check_problem(await client.get("/explain", params=params | {"service": "nonsense"}), 422, "PROTO/PORT")
    check_problem(await client.get("/explain", params={"from": "alice"}), 422, "to", "service")


async def test_links_have_the_time_at_which_they_were_confirmed(client: httpx.AsyncClient) -> None:
    good, bad = (await client.get("/links")).json()["links"]
    assert (good["confirmed"], good["used"]) == ("2023-11-14T22:13:20.000Z", True)
    assert (bad["confirmed"], bad["state"], bad["detail"]) == (None, "unconfirmed", "a probe")


async def test_devices_are_shown_with_their_posture(client: httpx.AsyncClient) -> None:
    (laptop,) = (await client.get("/devices")).json()["devices"]
    assert (laptop["device"], laptop["sessions"]) == ("laptop", [1])
    assert laptop["posture"]["disk_encrypted"]["value"] is True
    assert (await client.get("/devices/laptop")).json()["reports"] == []
    assert (await client.get("/devices/desk")).status_code == 404


async def test_an_operator_reports_a_posture(client: httpx.AsyncClient, controller: Operated) -> None:
    report = {"device": "laptop", "measured": "2023-11-14T22:13:20Z", "attributes": {"firewall": True}}
    answer = await client.post("/posture", json=report)
    assert answer.json() == {"device": "laptop", "taken": True, "measured": "2023-11-14T22:13:20.000Z"}
    (taken,) = controller.reports
    assert (taken.reporter, taken.attributes) == ("operator", (("firewall", True),))
    assert (await client.post("/posture", json=report | {"device": "desk"})).status_code == 404
    for wrong in ({"measured": 7}, {"attributes": {}}, {"attributes": {"A": True}}, {"more": 1}):
        assert (await client.post("/posture", json=report | wrong)).status_code == 422


async def test_sources_say_how_they_do_and_since_when(client: httpx.AsyncClient) -> None:
    crl, rack = (await client.get("/sources")).json()["sources"]
    assert (crl["kind"], crl["state"], crl["since"]) == ("certificates", "up", "2023-11-14T22:13:20.000Z")
    assert (rack["name"], rack["since"], rack["detail"]) == ("rack1", None, "not asked yet")


async def test_switches_that_are_away_have_no_time(client: httpx.AsyncClient) -> None:
    here, away = (await client.get("/switches")).json()["switches"]
    assert (here["since"], away["since"]) == ("2023-11-14T22:13:20.000Z", None)


@pytest.mark.parametrize(("status", "code"), [("ok", 200), ("degraded", 503)])
async def test_health_is_a_status_that_a_load_balancer_understands(
    client: httpx.AsyncClient, controller: Operated, status: str, code: int
) -> None:
    controller.status = status
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (code, status)


async def test_metrics_are_in_prometheus_text_format(client: httpx.AsyncClient, controller: Operated) -> None:
    controller.extra_metrics = {"odd name/…": 1.5}
    answer = await client.get("/metrics")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert lines == [
        'zethane_denied_total{port="3",reason="no-rule",switch="s1"} 7.0',
        "zethane_odd_name__ 1.5",
        "zethane_sessions 2.0",
    ]
    assert "# HELP zethane_denied_total Packets not let through." in answer.text
    assert "# TYPE zethane_denied_total counter" in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_counters_are_the_metrics_as_json(client: httpx.AsyncClient) -> None:
    denied, sessions = (await client.get("/counters")).json()["counters"]
    labels = {"switch": "s1", "port": "3", "reason": "no-rule"}
    assert denied == {
        "name": "denied", "kind": "counter", "labels": labels, "value": 7.0, "help": "Packets not let through."
    }  # fmt: skip
    assert (sessions["name"], sessions["kind"], sessions["value"]) == ("sessions", "gauge", 2.0)


async def test_openapi_names_every_path_and_no_page_loads_from_elsewhere(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()
    assert sorted(described["paths"]) == [
        f"/v1/{path}"
        for path in (
            "blocks",
            "blocks/{account}",
            "counters",
            "decisions",
            "decisions/stream",
            "devices",
            "devices/{name}",
            "explain",
            "flows",
            "health",
            "links",
            "metrics",
            "policy",
            "policy/reload",
            "posture",
            "revoke",
            "sessions",
            "sessions/{number}",
            "sources",
            "switches",
        )
    ]
    for page in ("http://controller/docs", "http://controller/redoc", "/login"):
        check_problem(await client.get(page), 404)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/flows?sesion=1", ("sesion", "limit, session")),
        ("/sessions?limit=0", ("limit",)),
        ("/switches?limit=1", ("limit", "none")),
        ("/decisions?limit=0", ("limit",)),
        ("/decisions?limit=x", ("limit",)),
        ("/decisions?limit=10001", ("limit",)),
        ("/flows?session=16777216", ("session",)),
        ("/sessions/0", ("number",)),
        ("/sessions/99999999999999999999999999", ("number",)),
    ],
)
async def test_a_query_that_is_wrong_is_told_what_was_expected(
    client: httpx.AsyncClient, path: str, words: tuple[str, ...]
) -> None:
    check_problem(await client.get(path), 422, *words)


async def test_a_large_body_is_refused_without_being_read(client: httpx.AsyncClient, controller: Operated) -> None:
    answer = await client.post("/revoke", content=b'{"principal": "alice", "x": "' + b"x" * MAX_BODY)
    assert answer.status_code == 413
    assert controller.ended == []


@pytest.mark.parametrize(
    ("failure", "status", "word"),
    [
        (SessionError("no such session"), 409, "no such session"),
        (CapacityError("too many"), 503, "too many"),
        (ChannelError("s1 is away"), 500, "s1 is away"),
        (ZethaneError("something"), 500, "something"),
        (RuntimeError("inside information"), 500, "log"),
    ],
)
async def test_failures_are_problem_details_and_tell_nothing_from_inside(
    client: httpx.AsyncClient, controller: Operated, failure: Exception, status: int, word: str
) -> None:
    controller.failure = failure
    answer = await client.get("/sessions")
    check_problem(answer, status, word)
    assert "inside information" not in answer.text
    assert (await client.get("/sessions")).status_code == 200


paths = st.sampled_from(["/sessions", "/sessions/1", "/flows", "/decisions", "/explain", "/policy", "/switches", "/x"])
words = st.text(max_size=40) | st.sampled_from(["limit", "session", "from", "to", "service", "1", "-1", "tcp/443"])
odd = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@given(path=paths, query=st.lists(st.tuples(words, words), max_size=4))
@odd
async def test_no_query_is_an_error_of_the_controllers(path: str, query: list[tuple[str, str]]) -> None:
    text = "&".join(f"{encoded(name)}={encoded(value)}" for name, value in query)
    async with client_of(Operated()) as client:
        answer = await client.get(f"{path}?{text}")
    assert answer.status_code in (200, 404, 422)
    assert answer.status_code == 200 or answer.headers["content-type"] == "application/problem+json"


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["principal", "session", "address", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(body=st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))
@odd
async def test_no_body_is_an_error_of_the_controllers(body: bytes) -> None:
    async with client_of(Operated()) as client:
        answer = await client.post("/revoke", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 422)


@pytest.mark.parametrize(
    "body", [b"[" * 8000, b'{"session":' * 700, b"\x80", b'"\\ud800"', b'{"principal": "\\ud800"}']
)
async def test_json_that_is_meant_to_break_parsers_is_a_bad_request(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/revoke", content=body, headers={"content-type": "application/json"})
    check_problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)
