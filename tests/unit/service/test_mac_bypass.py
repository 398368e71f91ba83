"""MAC authentication bypass: only where the port has it, never over a proof, and never more than level 0."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fakes.eapol import IDENTITY, answers, start
from fakes.frames import Host, packed
from fakes.port_access import AccessSite, accept, reply
from fakes.site import ALICE, Site
from zethane.audit.reason import LoginRefusal, SessionEvent
from zethane.net.eapol import Code
from zethane.service.radius import RadiusError

PRINTER = Host(4, "02:00:00:00:00:22", "10.0.0.30")
ALSO_DOT1X = Host(3, PRINTER.mac, PRINTER.ip)
DISABLED = Host(4, "02:00:00:00:00:23", "10.0.0.31")
STRANGER = Host(4, "02:00:00:00:00:77", "10.0.0.77")
PLAIN = Host(6, PRINTER.mac, PRINTER.ip)
ONLY_DOT1X = Host(2, PRINTER.mac, PRINTER.ip)


@pytest.fixture
async def site() -> AsyncIterator[AccessSite]:
    """With a RADIUS server."""
    started = AccessSite()
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
async def alone() -> AsyncIterator[AccessSite]:
    """Without one: identities.yaml has to do."""
    started = AccessSite(radius=False)
    await started.start()
    yield started
    await started.stop()


def arp(site: AccessSite, host: Host) -> None:
    site.send(host, host.arp("10.0.0.1"))


async def test_a_known_mac_has_a_session_of_level_0_with_its_address(alone: AccessSite) -> None:
    arp(alone, PRINTER)
    session = alone.session_of(alone.endpoint(PRINTER).attachment)
    assert session is not None
    (proof,) = session.proofs
    assert (proof.account, proof.method, proof.aal, proof.amr) == ("device:printer", "mab", 0, ())
    assert (session.segment, session.addresses) == ("printers", (packed(PRINTER.ip),))
    assert session.principal.device is None, "nothing proves the device"
    assert len(alone.access.table) == 0


@pytest.mark.parametrize("host", [PLAIN, ONLY_DOT1X], ids=["plain", "dot1x"])
async def test_nowhere_else_does_a_mac_do(alone: AccessSite, host: Host) -> None:
    arp(alone, host)
    await alone.later(200)
    assert len(alone.state.sessions) == 0


@pytest.mark.parametrize(
    ("host", "why"), [(DISABLED, LoginRefusal.DISABLED), (STRANGER, LoginRefusal.UNKNOWN)], ids=["disabled", "stranger"]
)
async def test_who_is_disabled_or_unknown_gets_nothing(alone: AccessSite, host: Host, why: LoginRefusal) -> None:
    arp(alone, host)
    arp(alone, host)
    assert len(alone.state.sessions) == 0
    assert [reason for _, _, reason, _ in alone.refused] == [why.value], "once in a while, not with every packet"


async def test_the_server_is_asked_by_the_mac_address(site: AccessSite) -> None:
    arp(site, PRINTER)
    asked = await site.asked()
    assert (asked.user_name, asked.eap) == ("02-00-00-00-00-22", None)
    await site.answer(reply("accept", user_name="02-00-00-00-00-22"))
    session = site.session_of(site.endpoint(PRINTER).attachment)
    assert session is not None
    assert (session.principal.name, session.proofs[0].aal, session.proofs[0].method) == ("printer", 0, "mab")
    assert session.addresses == (packed(PRINTER.ip),)
    assert site.s1.take() == [], "a host that knows no EAPOL is told nothing by it"


async def test_the_server_may_know_cards_that_nobody_has_listed(site: AccessSite) -> None:
    arp(site, STRANGER)
    await site.answer(reply("accept", tunnel_private_group="print-vlan"))
    session = site.session_of(site.endpoint(STRANGER).attachment)
    assert session is not None
    assert (session.principal.name, session.segment) == ("02-00-00-00-00-77", "printers")


async def test_a_server_cannot_wake_a_disabled_device(site: AccessSite) -> None:
    arp(site, DISABLED)
    await site.answer(reply("accept"))
    assert [reason for _, _, reason, _ in site.refused] == ["disabled"]
    assert len(site.state.sessions) == 0


@pytest.mark.parametrize("answer", [reply("reject"), reply("challenge", b"\1\7\0\6\4\0")], ids=["reject", "challenge"])
async def test_what_is_not_a_yes_is_a_no(site: AccessSite, answer: object) -> None:
    arp(site, PRINTER)
    await site.answer(answer)  # type: ignore[arg-type]
    arp(site, PRINTER)
    assert len(site.state.sessions) == 0
    assert not site.radius.asked, "quiet for a while"
    await site.later(60)
    arp(site, PRINTER)
    await site.asked()


async def test_a_port_with_both_asks_for_802_1x_first(site: AccessSite) -> None:
    arp(site, ALSO_DOT1X)
    assert [eap.code for _, eap in site.told()] == [Code.REQUEST]
    await site.later(30)
    await site.later(30)
    assert (await site.asked()).eap is None
    await site.answer(reply("accept"))
    assert site.session_of(site.endpoint(ALSO_DOT1X).attachment) is not None


async def test_a_supplicant_that_starts_late_does_not_wait_for_what_its_mac_was_refused(site: AccessSite) -> None:
    arp(site, ALSO_DOT1X)
    await site.later(30)
    await site.later(30)
    await site.answer(reply("reject"))
    site.told()
    assert await site.login(ALSO_DOT1X) is not None


async def test_who_has_begun_to_speak_eapol_is_not_taken_by_its_mac(site: AccessSite) -> None:
    site.send(ALSO_DOT1X, start(ALSO_DOT1X))
    site.send(ALSO_DOT1X, answers(ALSO_DOT1X, 1, IDENTITY, b"alice"))
    await site.answer(reply("challenge", b"\1\7\0\6\x0d\0"))
    for _ in range(4):
        await site.later(30)
    assert not site.radius.asked
    assert len(site.state.sessions) == 0


async def test_802_1x_takes_the_place_of_bypass_with_its_addresses(site: AccessSite) -> None:
    arp(site, ALSO_DOT1X)
    await site.later(30)
    await site.later(30)
    await site.answer(reply("accept"))
    site.s1.take()
    first = site.session_of(site.endpoint(ALSO_DOT1X).attachment)
    second = await site.login(ALSO_DOT1X, accept(user="alice"))
    assert first is not None
    assert second is not None
    assert [proof.method for proof in second.proofs] == ["dot1x"]
    assert second.addresses == (packed(PRINTER.ip),)
    assert site.state.sessions.by_number.keys() == {second.number}


async def test_a_proof_elsewhere_takes_the_place_of_bypass_too(site: AccessSite) -> None:
    arp(site, PRINTER)
    await site.answer(reply("accept"))
    site.s1.take()
    session = await site.login(ONLY_DOT1X, accept(user="alice"))
    assert session is not None
    assert site.state.sessions.by_number.keys() == {session.number}
    assert SessionEvent.REPLACED in [event for event, *_ in site.records.of("session")]


async def test_bypass_never_takes_the_place_of_a_proof(site: AccessSite) -> None:
    """Neither where the proof is, nor elsewhere, nor by an answer that comes after the proof."""
    session = await site.login(ONLY_DOT1X, accept(user="alice"))
    assert session is not None
    site.told()
    arp(site, PRINTER)
    await site.later(0)
    assert not site.radius.asked
    assert [reason for _, _, reason, _ in site.refused] == ["method-not-allowed"]
    assert site.state.sessions.by_number.keys() == {session.number}


async def test_an_answer_after_a_proof_comes_too_late(site: AccessSite) -> None:
    arp(site, PRINTER)
    await site.asked()
    session = Site.login(site, ONLY_DOT1X, ALICE)
    await site.answer(reply("accept"))
    assert site.state.sessions.by_number.keys() == {session.number}


async def test_bypass_is_renewed_in_time_without_a_gap(site: AccessSite) -> None:
    arp(site, PRINTER)
    await site.answer(reply("accept", session_timeout=400.0, termination_action="radius-request"))
    session = site.session_of(site.endpoint(PRINTER).attachment)
    assert session is not None
    await site.later(300)
    assert (await site.asked()).session_id == session.proofs[0].reference
    await site.answer(RadiusError("away", LoginRefusal.NOT_ANSWERED))
    await site.later(30)
    await site.answer(reply("accept", session_timeout=400.0, termination_action="radius-request"))
    assert site.state.sessions.by_number.keys() == {session.number}
    await site.later(300)
    await site.answer(reply("reject"))
    assert len(site.state.sessions) == 0
