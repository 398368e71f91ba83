"""Stages on a real network: from one that has no policy to one that is enforced, and on to the next policy."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.processes import wait_for
from lab.stream import Stream
from labsite import SETTLED, Site, running, three_tier
from zethane.app.decision_log import DecisionLog, known_by
from zethane.policy.load import parse_policy
from zethane.policy.whatif import WhatIf, whatif

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

ENFORCED = """version: 1
segments:
  web: {labels: {tier: web}}
  app: {labels: {tier: app}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
  - {id: app-db, from: [app], to: [db], services: [udp/5432]}
  - {id: web-app, from: [web], to: [app], services: [udp/8080]}
"""
STAGED = "stage: audit\n" + ENFORCED
NO_WEB = STAGED + "  - {id: no-web, from: [web], to: [any], services: [any], action: deny}\n"
ONE_RULE = ENFORCED + "  - {id: no-db, from: [any], to: [db], services: [any], action: deny, stage: audit}\n"


class Flows:
    """Streams between hosts, by their names and ports."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stack = ExitStack()
        self.streams: dict[tuple[str, int], Stream] = {}

    def __enter__(self) -> Flows:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, source: str, target: str, port: int) -> Stream:
        """One more, that gets through."""
        hosts = self._site.network.hosts
        stream = self._stack.enter_context(Stream(hosts[source], hosts[target], "udp", port))
        stream.wait_received(30)
        self.streams[f"workload:{source}", port] = stream
        return stream

    def ended(self, moment: float) -> set[tuple[str, int]]:
        """Those of which nothing arrives that was sent after a moment; the others go on."""
        for stream in self.streams.values():
            stream.wait_sent(200)
        after = moment + SETTLED
        return {key for key, stream in self.streams.items() if all(one.sent <= after for one in stream.received)}


def change(site: Site, folder: Path, text: str) -> float:
    """Another policy.yaml; when it had been put in force as far as it is to be."""
    (folder / "policy.yaml").write_text(text, encoding="utf-8")
    version = parse_policy(text, "").digest
    site.wait_record("policy", reason="loaded", version=version)
    return time.monotonic()


def restart(site: Site) -> None:
    controller = site.network.controller
    assert controller is not None
    controller.stop()
    site.network.start_controller()


def would_end(site: Site) -> set[tuple[str, int]]:
    """The flows that were allowed, and would be denied by what is staged, as the log says."""
    return {
        (record["subject"]["principal"], record["destination_port"])
        for record in site.records("decision")
        if record["decision"] == "allow" and record["staged"]["decision"] == "deny"
    }


def whatif_of(site: Site, text: str) -> WhatIf:
    """The controller's log so far against a policy."""
    assert site.network.controller is not None
    return whatif(
        parse_policy(text, "policy.yaml"), DecisionLog([str(site.network.controller.decisions)], known_by(None))
    )


def test_a_network_without_a_policy_gets_one_and_then_another(tmp_path: Path) -> None:
    folder = three_tier(tmp_path, STAGED)
    with running(folder, login=("app1", "db1", "web1")) as site, Flows(site) as flows:
        # Nothing was in force before: everything passes, is logged, and would end or not.
        assert site.health()["policy_stage"] == "open"
        assert site.health()["status"] == "ok"
        flows.open("app1", "db1", 5432)
        flows.open("web1", "app1", 8080)
        flows.open("web1", "db1", 5433)
        restart(site)
        assert site.health()["policy_stage"] == "open"
        flows.open("app1", "db1", 5434)
        told = wait_for(
            "4 flows in the log", lambda: would_end(site) if len(site.records("decision")) == 4 else None, 10, str
        )
        assert told == {("workload:web1", 5433), ("workload:app1", 5434)}
        assert {record["rule"] for record in site.records("decision")} == {"stage:open"}
        expected = {
            (one.source, int(change.service[4:]))
            for change in whatif_of(site, ENFORCED).changes
            for one in change.between
        }
        assert expected == told

        # Enforced, exactly those end of which the log has said so.
        moment = change(site, folder, ENFORCED)
        assert site.health()["policy_stage"] == "enforce"
        assert flows.ended(moment) == told
        for key in told:
            flows.streams.pop(key).stop()

        # The next policy is staged over this one, which stays in force: no packet is lost, before a restart or after.
        since = time.monotonic()
        change(site, folder, NO_WEB)
        version = parse_policy(ENFORCED, "").digest
        assert (site.health()["policy_stage"], site.get("/policy")["version"]) == ("audit", version)
        restart(site)
        assert (site.health()["policy_stage"], site.get("/policy")["version"]) == ("audit", version)
        assert site.get("/policy")["staged_version"] == parse_policy(NO_WEB, "").digest
        for stream in flows.streams.values():
            stream.wait_sent(100)
            assert stream.missing(since, time.monotonic() - 1.0) == []

        # One rule alone is staged: flows that it would deny pass.
        flows.streams.pop(("workload:app1", 5432)).stop()
        change(site, folder, ONE_RULE)
        flows.open("app1", "db1", 5432)
        record = site.wait_record("decision", rule="app-db")
        assert record["staged"] == {"decision": "deny", "rule": "no-db", "reason": "deny-rule"}
        counted = {
            one["labels"].get("would"): one["value"]
            for one in site.get("/counters")["counters"]
            if one["name"] == "staged"
        }
        assert counted == {"deny": 1, "allow": 0}
        explained = site.get("/explain?from=10.0.0.13&to=10.0.0.14&service=udp/5432")
        assert (explained["decision"], explained["staged"]["rule"]) == ("allow", "no-db")
        assert flows.ended(change(site, folder, ONE_RULE.replace(", stage: audit", ""))) == {("workload:app1", 5432)}
