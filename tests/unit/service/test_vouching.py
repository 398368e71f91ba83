"""Sessions on the word of the platform: what it has to say, and what ends when it says something else, or nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fakes.frames import Host
from fakes.site import DB, Site
from zethane.audit.reason import SessionEvent
from zethane.identity.directory import Directory, parse_identities
from zethane.identity.platform import VirtualInterface, attest
from zethane.identity.proof import Proof
from zethane.identity.session import Attachment, Endpoint, Session
from zethane.service.vouching import Vouching

IDENTITIES = """
workloads:
  web1: {labels: {tier: web}, attested: {iface_id: port-web1, vm_uuid: vm-1}}
  db1: {labels: {tier: db}, attested: {vm_uuid: vm-2}}
"""
LEASE = 60.0
WEB1 = VirtualInterface("tap1", 1, 2, 0x020000000002, "port-web1", "vm-1")
DB1 = VirtualInterface("tap2", 1, 3, 0x020000000003, "port-db1", "vm-2")


def directory(text: str = IDENTITIES) -> Directory:
    return parse_identities(text, "identities.yaml")


# who is where


def said(*interfaces: VirtualInterface, text: str = IDENTITIES) -> tuple[dict[Attachment, str], list[str]]:
    found = attest(interfaces, directory(text), frozenset({1}), frozenset({2}))
    return {place: one.workload for place, one in found.attested.items()}, [one.what for one in found.findings]


def test_an_interface_is_the_workload_that_it_fits() -> None:
    other = replace(WEB1, name="tap3", port=4, iface_id="nobody", vm_uuid="nobody")
    assert said(WEB1, DB1, other) == ({WEB1.attachment: "web1", DB1.attachment: "db1"}, [])


@pytest.mark.parametrize(
    "changes", [{"iface_id": "other"}, {"vm_uuid": "other"}, {"vm_uuid": None}, {"iface_id": None}]
)
def test_all_that_a_workload_names_has_to_fit(changes: dict[str, Any]) -> None:
    assert said(replace(WEB1, **changes)) == ({}, [])


def test_what_could_mean_two_things_means_nothing() -> None:
    twice = replace(DB1, name="tap4", port=5, mac=0x020000000005)
    found, findings = said(WEB1, DB1, twice)
    assert list(found.values()) == ["web1"]
    assert findings == ["db1 is at 2 interfaces"] * 2
    same = replace(DB1, port=WEB1.port)
    assert said(WEB1, same) == ({}, ["its port is another interface's as well"] * 2)
    both = "workloads: {a: {attested: {vm_uuid: vm-1}}, b: {attested: {iface_id: port-web1}}}"
    assert said(WEB1, text=both) == ({}, ["it fits a, b"])


def test_nobody_vouches_for_the_ports_of_a_switch_that_is_not_its_own() -> None:
    found, findings = said(replace(WEB1, dpid=2), replace(DB1, dpid=3))
    assert found == {}
    assert findings == ["it is at switch 0000000000000002, for which this OVSDB may not vouch"]


# sessions


class Facade:
    """What vouching asks of the controller, answered by the administrator."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.changes: list[SessionEvent | None] = []

    def sessions_vouched_by(self, issuer: str) -> list[Session]:
        return [live.session for live in self.site.state.sessions.vouched_by(issuer)]

    def session_of(self, attachment: Attachment) -> Session | None:
        live = self.site.state.sessions.at(attachment)
        return live.session if live else None

    def start_session(self, attachment: Attachment, proof: Proof, address: bytes | None = None) -> Session:
        return self.site.admin.start_session(attachment, proof, address, None)

    def claim_address(self, endpoint: Endpoint, number: int) -> Session:
        return self.site.admin.claim_address(endpoint, number)

    def change_proof(
        self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent | None, detail: str = ""
    ) -> bool:
        self.changes.append(reason)
        return self.site.admin.change_proof(number, proof, changed, reason, detail)


class Platform:
    """A site with one OVSDB."""

    def __init__(self, **limits: Any) -> None:
        self.site = Site(**limits)
        self.facade = Facade(self.site)
        self.directory = directory()
        self.vouching = Vouching(
            "rack1",
            LEASE,
            self.facade,  # type: ignore[arg-type]
            lambda: self.directory,
            lambda: self.site.now,
            frozenset({1}),
            frozenset({2}),
        )

    def says(self, *interfaces: VirtualInterface) -> None:
        self.site.now += 1
        self.vouching.changed(lambda: interfaces)

    def passes(self, seconds: float, *, silent: bool = False) -> None:
        """Time passes; the OVSDB answers every five seconds, unless it is silent."""
        for _ in range(int(seconds)):
            self.site.now += 1
            if not silent and self.site.now % 5 == 0:
                self.vouching.alive()
            self.vouching.tick()
            self.site.admin.tick(self.site.now)

    @property
    def names(self) -> list[str]:
        return sorted(live.session.principal.name for live in self.site.state.sessions)

    def session(self) -> Session:
        (live,) = self.site.state.sessions
        return live.session

    def events(self) -> list[str]:
        return [arguments[0].value for arguments in self.site.records.of("session")]

    def end(self, event: SessionEvent) -> None:
        """End the only session, and tell vouching as the journal does."""
        session = self.session()
        self.site.admin.end_session(session.number, event)
        self.vouching.ended(event, session, "", self.site.now)


@pytest.fixture
async def platform() -> Platform:
    made = Platform()
    await made.site.start()
    return made


async def test_a_workload_has_a_session_where_the_platform_says_it_is(platform: Platform) -> None:
    platform.says(WEB1)
    session = platform.session()
    assert (session.principal.name, session.attachment, session.segment) == ("web1", WEB1.attachment, "web")
    (proof,) = session.proofs
    assert (proof.method, proof.amr, proof.aal, proof.issuer) == ("attestation", (), 1, "ovsdb:rack1")
    assert (proof.reference, proof.subject) == ("port-web1", "vm-1")
    assert session.ends == platform.site.now + LEASE
    assert session.addresses == ()


@pytest.mark.parametrize(
    "after",
    [
        (),
        (replace(WEB1, iface_id="other"),),
        (replace(WEB1, vm_uuid="other"),),
        (replace(WEB1, port=4),),
        (replace(WEB1, mac=0x020000000009),),
        (replace(WEB1, dpid=2),),
        (WEB1, replace(DB1, port=WEB1.port)),
        (WEB1, replace(WEB1, port=4, name="tap9")),
    ],
)
async def test_it_ends_as_soon_as_the_platform_says_something_else(
    platform: Platform, after: tuple[VirtualInterface, ...]
) -> None:
    platform.says(WEB1)
    number = platform.session().number
    platform.says(*after)
    assert number not in platform.site.state.sessions.by_number
    assert "detached" in platform.events()


async def test_an_interface_whose_place_is_unknown_for_a_moment_keeps_its_lease_and_gets_no_other(
    platform: Platform,
) -> None:
    platform.says(WEB1)
    platform.passes(20)
    platform.says(replace(WEB1, port=None))
    platform.passes(10)
    assert platform.names == ["web1"]
    platform.says(WEB1)
    platform.passes(60)
    assert platform.names == ["web1"]
    platform.says(replace(WEB1, dpid=None))
    platform.passes(LEASE)
    assert platform.names == []
    assert platform.events() == ["started", "reauthenticated", "expired"]


async def test_a_moved_interface_takes_its_workload_along(platform: Platform) -> None:
    platform.says(WEB1)
    platform.says(replace(WEB1, port=4))
    assert platform.session().attachment.port == 4


async def test_leases_are_renewed_in_silence_while_the_ovsdb_answers(platform: Platform) -> None:
    platform.says(WEB1)
    number = platform.session().number
    platform.passes(600)
    assert platform.session().number == number
    assert platform.session().ends > platform.site.now + LEASE / 3
    assert platform.events() == ["started"]
    assert set(platform.facade.changes) == {None}
    assert len(platform.facade.changes) <= 600 / (LEASE / 3)


async def test_a_silent_ovsdb_is_believed_for_one_lease_and_no_longer(platform: Platform) -> None:
    platform.says(WEB1)
    platform.passes(100)
    platform.vouching.lost("gone")
    heard = platform.site.now - platform.site.now % 5
    assert platform.vouching.view()[0].state == "degraded"
    platform.passes(heard + LEASE - platform.site.now - 1, silent=True)
    assert platform.names == ["web1"]
    platform.passes(2, silent=True)
    assert platform.names == []
    assert platform.events()[-1] == "expired"
    assert platform.vouching.view()[0].state == "down"
    platform.passes(100, silent=True)
    assert platform.names == []
    platform.says(WEB1)
    assert platform.names == ["web1"]
    assert platform.vouching.view()[0].state == "up"


async def test_a_session_outlives_no_lifetime_and_goes_on_without_a_gap() -> None:
    platform = Platform(session_lifetime=300.0)
    await platform.site.start()
    platform.says(WEB1)
    number = platform.session().number
    for _ in range(900):
        platform.passes(1)
        assert platform.session().number == number
    assert set(platform.events()) == {"started", "reauthenticated"}


@pytest.mark.parametrize("event", [SessionEvent.REVOKED, SessionEvent.BLOCKED])
async def test_what_somebody_has_ended_stays_so_until_the_platform_says_something_new(
    platform: Platform, event: SessionEvent
) -> None:
    platform.says(WEB1)
    platform.end(event)
    platform.passes(120)
    platform.says(WEB1, DB1)
    assert platform.names == ["db1"]
    platform.says(DB1)
    platform.says(WEB1, DB1)
    assert platform.names == ["db1", "web1"]


async def test_what_ended_by_itself_comes_back(platform: Platform) -> None:
    platform.says(WEB1)
    platform.end(SessionEvent.PORT_DOWN)
    platform.passes(1)
    assert platform.names == ["web1"]


@pytest.mark.parametrize(("again", "kept"), [(WEB1, True), (replace(WEB1, vm_uuid="vm-9"), False)])
async def test_the_same_machine_gets_the_addresses_back_that_it_had(
    platform: Platform, again: VirtualInterface, kept: bool
) -> None:
    platform.directory = directory("workloads: {web1: {labels: {tier: web}, attested: {iface_id: port-web1}}}")
    platform.says(WEB1)
    address = bytes([10, 0, 0, 2])
    session = platform.site.admin.claim_address(Endpoint(WEB1.attachment, address), platform.session().number)
    platform.vouching.ended(SessionEvent.ADDRESS_CLAIMED, session, "", platform.site.now)
    platform.says(again)
    if again == WEB1:
        platform.passes(LEASE + 1, silent=True)
        assert platform.names == []
        platform.vouching.alive()
        platform.passes(1)
    assert platform.session().addresses == ((address,) if kept else ())


async def test_who_has_proved_more_at_that_place_is_left_alone(platform: Platform) -> None:
    host = Host(WEB1.port, "02:00:00:00:00:02", "10.0.0.2")
    platform.site.login(host, DB)
    platform.says(WEB1)
    platform.passes(90)
    assert platform.session().principal == DB
    platform.end(SessionEvent.LOGOUT)
    platform.passes(1)
    assert platform.names == ["web1"]


async def test_a_port_that_is_down_is_tried_until_it_is_up(platform: Platform) -> None:
    point = platform.site.state.fabric.points[1]
    state = point.ports.pop(WEB1.port)
    platform.says(WEB1)
    platform.passes(20)
    assert platform.names == []
    assert platform.vouching.view()[0].state == "degraded"
    point.ports[WEB1.port] = state
    platform.passes(6)
    assert platform.names == ["web1"]
    assert platform.vouching.view()[0].state == "up"


async def test_a_workload_that_is_disabled_or_gone_loses_its_session(platform: Platform) -> None:
    platform.says(WEB1, DB1)
    platform.directory = directory("workloads: {db1: {labels: {tier: db}, attested: {vm_uuid: vm-2}}}")
    platform.passes(1)
    assert platform.names == ["db1"]
    platform.directory = directory("workloads: {db1: {labels: {tier: db}, attested: {vm_uuid: vm-2}, disabled: true}}")
    platform.passes(1)
    assert platform.names == []


async def test_after_a_restart_nothing_ends_until_the_platform_has_spoken(platform: Platform) -> None:
    platform.says(WEB1)
    again = Platform()
    again.site.store.saved = dict(platform.site.store.saved)
    again.site.now = platform.site.now + 5
    await again.site.start()
    again.vouching.tick()
    assert again.names == ["web1"]
    again.says(WEB1)
    assert again.session().number == platform.session().number
    again.says()
    assert again.names == []


async def test_many_changes_are_looked_at_once(platform: Platform) -> None:
    looks = []

    def interfaces() -> list[VirtualInterface]:
        looks.append(1)
        return [WEB1]

    platform.site.now += 1
    for _ in range(1000):
        platform.vouching.changed(interfaces)
    assert len(looks) == 1
    platform.passes(1)
    assert len(looks) == 2
