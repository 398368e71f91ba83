"""Trust that ends the moment it should, on two switches: shown by the last packet of each stream, and by the streams
that go on and lose none.

All of it happens in one network. Every test logs its own host in and leaves the others alone.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.processes import zethane
from lab.shell import run
from lab.stream import Stream
from labsite import SETTLED, Site, running

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

TOPOLOGY = Path(__file__).resolve().parents[1] / "topologies" / "continuous"
BOTH, STAFF, FRESH = 8000, 9000, 9001
"""What everybody may, what staff may, and what asks for a fresh second factor."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(TOPOLOGY, tmp_path_factory.mktemp("continuous") / "topology"))


@pytest.fixture(scope="module")
def site(switches: None, folder: Path) -> Iterator[Site]:  # noqa: ARG001  # a fixture cannot use usefixtures
    with running(folder, login=("web1",)) as running_site:
        yield running_site


@pytest.fixture(autouse=True)
def file_as_it_was(folder: Path) -> Iterator[None]:
    yield
    shutil.copyfile(TOPOLOGY / "identities.yaml", folder / "identities.yaml")


class Streams:
    """Streams from a host to the server, by their port."""

    def __init__(self, site: Site, host: str, *ports: int, interval: float = 0.005) -> None:
        self._stack = ExitStack()
        hosts = site.network.hosts
        self.by_port = {
            port: self._stack.enter_context(Stream(hosts[host], hosts["web1"], "udp", port, interval=interval))
            for port in ports
        }
        for stream in self.by_port.values():
            stream.wait_received(20)

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def end(self, port: int, moment: float) -> None:
        """Nothing of this stream arrives after a moment, although it goes on being sent."""
        stream = self.by_port[port]
        stream.wait_sent(100)
        assert stream.received_after(moment + SETTLED) == []

    def go_on(self, port: int, more: int = 100) -> None:
        """This one goes on, and has lost nothing since it began."""
        stream = self.by_port[port]
        stream.wait_received(more)
        stream.stop()
        assert stream.missing() == []


def session_of(site: Site, name: str) -> dict[str, Any] | None:
    return next((one for one in site.get("/sessions")["sessions"] if one["name"] == name), None)


def edit(folder: Path, old: str, new: str) -> None:
    """A new version of identities.yaml, in one piece as editors write it."""
    file = folder / "identities.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    fresh = folder / "identities.new"
    fresh.write_text(text.replace(old, new), encoding="utf-8")
    fresh.replace(file)


def ask(site: Site, *arguments: str) -> Any:
    """What a command prints as JSON."""
    assert site.network.controller is not None
    return json.loads(run([*zethane(*arguments), "--socket", str(site.network.controller.socket), "--json"]))


def newest(site: Site, name: str, reason: str) -> dict[str, Any]:
    """The record of something that happened to somebody's session; waits for it."""
    return site.wait_record("session", reason=reason, subject=_party(site, name))


def _party(site: Site, name: str) -> dict[str, Any]:
    started = [r for r in site.records("session") if r["subject"] and r["subject"]["principal"] == f"user:{name}"]
    assert started, name
    return dict(started[-1]["subject"])


def test_a_change_of_groups_takes_one_flow_away_and_the_other_loses_no_packet(site: Site, folder: Path) -> None:
    site.login("desk")
    before = session_of(site, "bob")
    with Streams(site, "desk", BOTH, STAFF) as streams:
        edit(folder, "bob: {groups: [staff]", "bob: {groups: [guests]")
        site.wait_record("session", reason="changed")
        moment = time.monotonic()
        streams.end(STAFF, moment)
        streams.go_on(BOTH)
    after = session_of(site, "bob")
    assert before is not None
    assert after is not None
    assert (after["session"], after["segment"]) == (before["session"], "guests")
    ended = [(r["service"], r["reason"]) for r in site.records("flow_end") if r["subject"]["principal"] == "user:bob"]
    assert (f"udp/{STAFF}", "session-changed") in ended
    assert f"udp/{BOTH}" not in {service for service, _ in ended}


def test_a_second_factor_that_gets_old_takes_only_what_asked_for_a_fresh_one(site: Site) -> None:
    site.login("laptop")
    session = session_of(site, "alice")
    assert session is not None
    with Streams(site, "laptop", BOTH, FRESH, interval=0.02) as streams:
        changed = site.wait_record("session", detail="a condition has lapsed")
        moment = time.monotonic()
        streams.end(FRESH, moment)
        streams.go_on(BOTH)
    assert changed["time"] > session["authenticated"]
    assert session_of(site, "alice") is not None


def test_an_account_disabled_in_the_file_is_out(site: Site, folder: Path) -> None:
    site.login("laptop")
    with Streams(site, "laptop", BOTH) as streams:
        edit(folder, "alice: {groups", "alice: {disabled: true, groups")
        site.wait_record("session", reason="disabled")
        streams.end(BOTH, time.monotonic())
    assert session_of(site, "alice") is None
    assert site.health()["status"] == "ok"


def test_a_bad_file_is_refused_and_everybody_stays(site: Site, folder: Path) -> None:
    site.login("desk")
    with Streams(site, "desk", BOTH) as streams:
        edit(folder, "groups: [staff]", "groups: [staff")
        with site.client() as client:
            answer = client.post("/policy/reload")
        assert answer.status_code == 422
        assert "identities.yaml" in answer.json()["detail"]
        assert site.health()["identities_error"]
        streams.go_on(BOTH)


def test_a_blocked_account_is_out_and_cannot_come_back(site: Site) -> None:
    site.login("desk")
    with Streams(site, "desk", BOTH) as streams:
        answer = ask(site, "identity", "block", "user:bob", "--reason", "lost his badge")
        moment = time.monotonic()
        assert len(answer["sessions"]) == 1
        streams.end(BOTH, moment)
    with pytest.raises(Exception, match="blocked"):
        site.network.login("desk")
    (block,) = ask(site, "identity", "list")["blocks"]
    assert (block["account"], block["reason"]) == ("user:bob", "lost his badge")
    ask(site, "identity", "unblock", "user:bob")
    site.login("desk")


def test_a_lifetime_of_the_segment_ends_the_session(site: Site) -> None:
    site.login("kiosk")
    session = session_of(site, "carol")
    assert session is not None
    with Streams(site, "kiosk", BOTH) as streams:
        expired = newest(site, "carol", "expired")
        streams.end(BOTH, time.monotonic())
    assert expired["time"][:19] >= session["expires"][:19], "and not before"


def test_who_is_silent_for_too_long_is_out_and_who_is_not_stays(site: Site) -> None:
    site.login("tablet")
    with Streams(site, "tablet", BOTH, interval=0.2) as streams:
        streams.go_on(BOTH, 40)
        assert session_of(site, "dave") is not None, "eight seconds of reading"
    newest(site, "dave", "idle")
    assert session_of(site, "dave") is None


def test_a_factor_gets_old_in_the_switch_with_the_controller_dead(site: Site) -> None:
    """The last of the tests here: with nobody to say what is left of the session, all of it ends, and in time."""
    site.login("laptop")
    started = time.monotonic()
    with Streams(site, "laptop", FRESH, interval=0.02) as streams:
        assert site.network.controller is not None
        site.network.controller.kill()
        stream = streams.by_port[FRESH]
        stream.wait_sent(700, timeout=40)
        assert max(stream.sent.values()) > started + 12
        assert [packet for packet in stream.received if packet.sent > started + 10 + 1] == []
