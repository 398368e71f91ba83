"""IEEE 802.1X: exchanges, sessions that come of them, how they go on and how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.eapol import EAP, IDENTITY, answers, eap, eapol, logoff, start
from fakes.frames import Host, packed
from fakes.port_access import NETWORK, AccessSite, accept, reply
from fakes.site import ALICE, Site
from zethane.audit.reason import DenyReason, LoginRefusal, SessionEvent
from zethane.net.eapol import Code, failure, success
from zethane.service.eap_exchange import MAX_ROUNDS, SERVER_TIMEOUT
from zethane.service.radius import RadiusError
from zethane.service.supplicants import SPARE

LAPTOP = Host(2, "02:00:00:00:00:15", "10.0.0.21", "2001:db8::21")
DESK = Host(3, "02:00:00:00:00:16", "10.0.0.22")
THIEF = Host(3, LAPTOP.mac, "10.0.0.66")
TAGGED = Host(5, "02:00:00:00:00:17", "10.0.0.23", vlan=20)
PLAIN = Host(6, "02:00:00:00:00:18", "10.0.0.24")


@pytest.fixture
async def site() -> AsyncIterator[AccessSite]:
    started = AccessSite()
    await started.start()
    yield started
    await started.stop()


def events(site: AccessSite) -> list[SessionEvent]:
    return [event for event, *_ in site.records.of("session")]


def reasons(site: AccessSite) -> list[str]:
    return [why for _, _, why, _ in site.refused]


# the exchange


async def test_a_host_that_starts_is_asked_who_it_is_and_its_answer_goes_to_the_server(site: AccessSite) -> None:
    site.send(LAPTOP, start(LAPTOP))
    ((port, request),) = site.told()
    assert (port, request.code, request.method) == (2, Code.REQUEST, IDENTITY)
    site.send(LAPTOP, answers(LAPTOP, request.identifier, IDENTITY, b"alice"))
    asked = await site.asked()
    assert (asked.user_name, asked.port_name, asked.state, asked.server) == ("alice", "s1:2", None, None)
    assert asked.eap == eap(2, request.identifier, b"\1alice")
    assert asked.attachment == site.endpoint(LAPTOP).attachment
    challenge = b"\1\7\0\6\x0d\x20"
    await site.answer(reply("challenge", challenge, state=b"s", server="second"))
    assert [eap.packet for _, eap in site.told()] == [challenge]
    site.send(LAPTOP, answers(LAPTOP, 7, 13, b"hello"))
    asked = await site.asked()
    assert (asked.eap, asked.state, asked.server) == (eap(2, 7, b"\x0dhello"), b"s", "second")
    await site.answer(accept(7))
    assert [eap.packet for _, eap in site.told()] == [success(7)]
    session = site.session_of(asked.attachment)
    assert session is not None
    (proof,) = session.proofs
    assert (proof.account, proof.method, proof.amr, proof.aal) == ("user:alice", "dot1x", ("pop", "swk"), 2)
    assert (proof.reference, proof.issuer) == (asked.session_id, "radius:main")
    assert (session.segment, session.addresses) == ("staff", ())
    assert len(site.access.table) == 0


async def test_a_tagged_host_authenticates_in_its_vlan(site: AccessSite) -> None:
    session = await site.login(TAGGED, accept(user="guest", filter_ids=("guests",)))
    assert session is not None
    assert (session.attachment.vlan, session.segment) == (20, "guests")


@pytest.mark.parametrize("method", [(4, "pwd"), (21, "pwd"), (25, "pwd")])
async def test_passwords_by_whatever_method_are_one_factor(site: AccessSite, method: tuple[int, str]) -> None:
    kind, name = method
    site.send(LAPTOP, start(LAPTOP))
    site.send(LAPTOP, answers(LAPTOP, 1, IDENTITY, b"alice"))
    await site.answer(reply("challenge", b"\1\7\0\6" + bytes((kind, 0))))
    site.send(LAPTOP, answers(LAPTOP, 7, kind, b"x"))
    await site.answer(accept())
    session = site.session_of(site.endpoint(LAPTOP).attachment)
    assert session is not None
    assert (session.methods, session.aal) == ((name,), 1)


async def test_a_request_is_sent_again_and_then_no_more(site: AccessSite) -> None:
    site.send(LAPTOP, start(LAPTOP))
    ((_, first),) = site.told()
    await site.later(29)
    assert site.told() == []
    await site.later(1)
    assert [eap for _, eap in site.told()] == [first]
    await site.later(30)
    assert site.told() == []
    await site.later(60)
    assert len(site.access.table) == 0


async def test_a_response_that_nobody_waits_for_does_nothing(site: AccessSite) -> None:
    site.send(LAPTOP, answers(LAPTOP, 1, IDENTITY, b"alice"))
    site.send(LAPTOP, start(LAPTOP))
    ((_, request),) = site.told()
    wrong = (request.identifier + 1) & 0xFF
    for frame in (
        answers(LAPTOP, wrong, IDENTITY, b"alice"),
        answers(LAPTOP, request.identifier, 3, b"\x0d"),
        answers(LAPTOP, request.identifier, IDENTITY, b""),
        eapol(LAPTOP, EAP, eap(1, request.identifier, b"\1")),
        eapol(LAPTOP, EAP, success(request.identifier)),
    ):
        site.send(LAPTOP, frame)
    assert not site.radius.asked
    site.send(LAPTOP, answers(LAPTOP, request.identifier, IDENTITY, b"alice"))
    site.send(LAPTOP, answers(LAPTOP, request.identifier, IDENTITY, b"alice"))
    await site.asked()
    assert len(site.radius.asked) == 1, "the second time it is a duplicate"


async def test_a_rejected_host_is_told_and_is_not_heard_for_a_while(site: AccessSite) -> None:
    assert await site.login(LAPTOP, reply("reject", failure(7))) is None
    assert [eap.packet for _, eap in site.told()][-1] == failure(7)
    assert site.refused == [(site.endpoint(LAPTOP).attachment, "user:alice", "rejected", "")]
    site.send(LAPTOP, start(LAPTOP))
    assert site.told() == []
    await site.later(60)
    assert [eap.code for _, eap in site.told()] == [Code.REQUEST], "it has asked meanwhile"


async def test_a_clock_that_is_set_back_keeps_nobody_out(site: AccessSite) -> None:
    await site.login(LAPTOP, reply("reject"))
    site.now -= 3600
    site.send(LAPTOP, start(LAPTOP))
    await site.later(1)
    site.told()
    assert await site.login(LAPTOP) is not None


async def test_a_rejected_host_that_says_nothing_is_forgotten(site: AccessSite) -> None:
    await site.login(LAPTOP, reply("reject"))
    site.told()
    await site.later(60)
    assert site.told() == []
    assert len(site.access.table) == 0
    site.send(LAPTOP, start(LAPTOP))
    assert [eap.code for _, eap in site.told()] == [Code.REQUEST]


async def test_a_name_that_nobody_has_is_not_written_down(site: AccessSite) -> None:
    await site.login(LAPTOP, reply("reject"), identity=b"my-password")
    assert [account for _, account, *_ in site.refused] == ["user:(unknown)"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply("accept", None, user_name="alice"), LoginRefusal.INVALID_ANSWER),
        (reply("accept", failure(7), user_name="alice"), LoginRefusal.INVALID_ANSWER),
        (reply("challenge", success(7)), LoginRefusal.INVALID_ANSWER),
        (reply("challenge", None), LoginRefusal.INVALID_ANSWER),
        (accept(user=None), LoginRefusal.INVALID_ANSWER),
        (accept(user="a lice"), LoginRefusal.INVALID_ANSWER),
        (accept(user="EXAMPLE\\alice"), LoginRefusal.INVALID_ANSWER),
        (accept(user="eve"), LoginRefusal.DISABLED),
        (accept(user="nobody"), LoginRefusal.NO_SESSION),
        (accept(tunnel_private_group="30"), LoginRefusal.VLAN_NOT_ALLOWED),
    ],
)
async def test_a_yes_that_does_not_hold_is_none(site: AccessSite, answer: Any, why: LoginRefusal) -> None:
    assert await site.login(LAPTOP, answer) is None
    assert reasons(site) == [why.value]
    assert [eap.code for _, eap in site.told()][-1] == Code.FAILURE
    assert len(site.state.sessions) == 0


async def test_who_is_blocked_stays_out_whatever_the_server_says(site: AccessSite) -> None:
    site.admin.blocking.block("user:alice", "stolen laptop")
    assert await site.login(LAPTOP) is None
    assert reasons(site) == ["blocked"]
    assert [eap.code for _, eap in site.told()][-1] == Code.FAILURE


async def test_only_md5_is_about_the_identity_itself(site: AccessSite) -> None:
    """In a tunnel the server checks another name than the one outside, which anybody may claim."""
    site.send(LAPTOP, start(LAPTOP))
    site.send(LAPTOP, answers(LAPTOP, 1, IDENTITY, b"alice"))
    await site.answer(reply("challenge", b"\1\7\0\6\4\0"))
    site.send(LAPTOP, answers(LAPTOP, 7, 4, b"x"))
    await site.answer(accept(user=None))
    session = site.session_of(site.endpoint(LAPTOP).attachment)
    assert session is not None
    assert session.principal.name == "alice"


async def test_a_machine_is_a_device(site: AccessSite) -> None:
    for told in ("host/alice-laptop", "alice-laptop"):
        session = await site.login(LAPTOP, accept(user=told))
        assert session is not None
        assert (session.principal.kind, session.principal.name) == ("device", "alice-laptop")
        assert session.principal.device is not None
        site.admin.end_session(session.number, SessionEvent.REVOKED)
        await site.later(2)


async def test_a_machine_goes_by_its_dns_name(site: AccessSite) -> None:
    session = await site.login(LAPTOP, accept(user="host/Laptop.Example.org"))
    assert session is not None
    assert (session.principal.kind, session.principal.name) == ("device", "alice-laptop")


async def test_groups_and_labels_come_from_the_server_and_from_who_is_known_here(site: AccessSite) -> None:
    session = await site.login(LAPTOP, accept(user="contractor", filter_ids=("staff",)))
    assert session is not None
    assert session.principal.groups == {"staff"}
    other = await site.login(DESK, accept(user="cups", tunnel_private_group="print-vlan"))
    assert other is not None
    assert dict(other.principal.labels) == {"kind": "printer"}


async def test_a_vlan_that_the_server_names_has_to_be_the_hosts_own(site: AccessSite) -> None:
    named = accept(user="guest", filter_ids=("guests",), tunnel_private_group="20")
    assert await site.login(TAGGED, named) is not None


async def test_a_server_that_is_away_is_asked_again_soon(site: AccessSite) -> None:
    site.send(LAPTOP, start(LAPTOP))
    site.send(LAPTOP, answers(LAPTOP, 1, IDENTITY, b"alice"))
    await site.answer(RadiusError("away", LoginRefusal.NOT_ANSWERED))
    assert reasons(site) == ["not-answered"]
    assert [eap.code for _, eap in site.told()] == [Code.REQUEST, Code.FAILURE]
    await site.later(30)
    assert await site.login(LAPTOP) is not None


async def test_an_answer_to_an_exchange_that_is_over_does_nothing(site: AccessSite) -> None:
    """The host has started anew, the server was too slow, the port went down: each makes the answer a stranger's."""
    for end in ("start", "slow", "port", "logoff"):
        site.send(LAPTOP, start(LAPTOP))
        ((_, request),) = site.told()
        site.send(LAPTOP, answers(LAPTOP, request.identifier, IDENTITY, b"alice"))
        await site.asked()
        if end == "start":
            await site.later(2)
            site.send(LAPTOP, start(LAPTOP))
        elif end == "slow":
            await site.later(SERVER_TIMEOUT)
        elif end == "port":
            site.access.port_gone(site.s1.dpid, LAPTOP.port)
        else:
            site.send(LAPTOP, logoff(LAPTOP))
        site.told()
        await site.answer(accept())
        assert [eap for _, eap in site.told() if eap.code == Code.SUCCESS] == [], end
        assert len(site.state.sessions) == 0, end
        site.access.port_gone(site.s1.dpid, LAPTOP.port)


async def test_an_exchange_has_an_end(site: AccessSite) -> None:
    site.send(LAPTOP, start(LAPTOP))
    site.send(LAPTOP, answers(LAPTOP, 1, IDENTITY, b"alice"))
    for number in range(MAX_ROUNDS):
        await site.answer(reply("challenge", bytes((1, number, 0, 6, 13, 0))))
        site.send(LAPTOP, answers(LAPTOP, number, 13))
    await site.later(0)
    assert not site.radius.asked
    assert reasons(site) == ["invalid-answer"]


# bounds


async def test_a_port_has_states_for_its_cards_and_some_more(site: AccessSite) -> None:
    for number in range(40):
        card = Host(2, f"02:00:00:00:01:{number:02x}", "10.0.0.66")
        site.send(card, start(card))
    assert len(site.access.table) == 1 + SPARE
    assert DenyReason.EAPOL_INVALID in site.records.reasons()
    site.send(DESK, start(DESK))
    assert site.access.table.by_attachment.get(site.endpoint(DESK).attachment) is not None, "another port"
    for _ in range(4):  # one request more, silence, and the end of it
        await site.later(60)
    assert len(site.access.table) == 0


async def test_starts_are_rationed_by_port(site: AccessSite) -> None:
    for _ in range(100):
        site.send(LAPTOP, start(LAPTOP))
    assert len(site.told()) == 32
    site.send(DESK, start(DESK))
    assert len(site.told()) == 1


async def test_a_thousand_hosts_at_once_all_get_in() -> None:
    """Behind one port, at the same moment, with a server that answers all of them."""
    network = NETWORK.replace("2: {dot1x: true}", "2: {dot1x: true, macs: 1024}")
    site = await AccessSite(network=network).start()
    hosts = [Host(2, f"02:00:00:01:{number >> 8:02x}:{number & 255:02x}", "10.0.0.9") for number in range(1000)]
    for host in hosts:
        site.send(host, start(host))
    for host in hosts:
        site.send(host, answers(host, 1, IDENTITY, b"alice"))
    await site.asked()
    assert len(site.radius.asked) == len(hosts)
    assert len({asked.request.session_id for asked in site.radius.asked}) == len(hosts)
    for _ in hosts:
        await site.answer(accept())
    assert len(site.state.sessions) == len(hosts)
    assert len(site.access.table) == 0
    await site.stop()


async def test_a_card_more_than_the_port_may_have_is_not_asked(site: AccessSite) -> None:
    await site.login(LAPTOP)
    other = Host(2, "02:00:00:00:00:99", "10.0.0.99")
    site.told()
    site.send(other, start(other))
    assert site.told() == []
    assert site.records.reasons() == [DenyReason.MAC_LIMIT]


async def test_other_ports_know_nothing_of_eapol(site: AccessSite) -> None:
    for port in (PLAIN, Host(4, PLAIN.mac, PLAIN.ip)):
        site.send(port, start(port))
    assert site.told() == []
    assert len(site.access.table) == 0
    assert set(site.records.reasons()) == {DenyReason.MALFORMED}


async def test_what_cannot_be_read_is_counted(site: AccessSite) -> None:
    site.send(LAPTOP, eapol(LAPTOP, 3, bytes(40)))
    portal = Host(2, "02:00:00:00:00:fe", "10.0.0.254")
    site.send(portal, start(portal))
    assert site.records.reasons() == [DenyReason.EAPOL_INVALID, DenyReason.EAPOL_SPOOF]
    assert len(site.access.table) == 0


# ends


async def test_a_logoff_ends_the_session_at_its_own_place_alone(site: AccessSite) -> None:
    session = await site.login(LAPTOP)
    assert session is not None
    site.send(THIEF, logoff(THIEF))
    other_vlan = Host(5, LAPTOP.mac, "10.0.0.66", vlan=30)
    site.send(other_vlan, logoff(other_vlan))
    assert site.records.reasons() == [DenyReason.EAPOL_SPOOF] * 2
    assert session.number in site.state.sessions.by_number
    site.send(LAPTOP, logoff(LAPTOP))
    assert session.number not in site.state.sessions.by_number
    assert events(site) == [SessionEvent.STARTED, SessionEvent.LOGOUT]


async def test_a_logoff_does_not_end_what_was_proved_otherwise(site: AccessSite) -> None:
    session = Site.login(site, LAPTOP, ALICE)
    site.send(LAPTOP, logoff(LAPTOP))
    assert session.number in site.state.sessions.by_number


async def test_a_start_elsewhere_changes_nothing_of_a_session(site: AccessSite) -> None:
    session = await site.login(LAPTOP)
    assert session is not None
    site.send(THIEF, start(THIEF))
    site.send(THIEF, answers(THIEF, 1, IDENTITY, b"alice"))
    await site.answer(reply("reject"))
    assert site.state.sessions.by_number.keys() == {session.number}


async def test_an_answer_from_another_port_is_a_spoof(site: AccessSite) -> None:
    site.send(LAPTOP, start(LAPTOP))
    site.send(THIEF, answers(THIEF, 1, IDENTITY, b"mallory"))
    assert not site.radius.asked
    assert site.records.reasons() == [DenyReason.EAPOL_SPOOF]


async def test_who_proves_herself_at_another_port_with_the_same_card_has_moved(site: AccessSite) -> None:
    first = await site.login(LAPTOP)
    second = await site.login(THIEF)
    assert first is not None
    assert second is not None
    assert site.state.sessions.by_number.keys() == {second.number}
    assert SessionEvent.MOVED in events(site)


# renewal


async def test_a_proof_is_renewed_before_its_time_and_the_session_goes_on(site: AccessSite) -> None:
    session = await site.login(LAPTOP, accept(session_timeout=400.0, termination_action="radius-request"))
    assert session is not None
    site.told()
    await site.later(299)
    assert site.told() == []
    await site.later(1)
    ((_, request),) = site.told()
    site.send(LAPTOP, answers(LAPTOP, request.identifier, IDENTITY, b"alice"))
    assert (await site.asked()).session_id == session.proofs[0].reference
    await site.answer(accept(session_timeout=400.0, termination_action="radius-request"))
    renewed = site.session_of(session.attachment)
    assert renewed is not None
    assert (renewed.number, renewed.reauthenticate) == (session.number, site.now + 400)
    assert events(site) == [SessionEvent.STARTED, SessionEvent.REAUTHENTICATED]


async def test_who_does_not_renew_is_out_in_time(site: AccessSite) -> None:
    await site.login(LAPTOP, accept(session_timeout=400.0, termination_action="radius-request"))
    for _ in range(40):
        await site.later(10)
    assert len(site.state.sessions) == 0
    assert events(site) == [SessionEvent.STARTED, SessionEvent.EXPIRED]
    for _ in range(20):
        await site.later(10)
    assert len(site.access.table) == 0


async def test_a_renewal_that_is_rejected_ends_the_session_at_once(site: AccessSite) -> None:
    await site.login(LAPTOP, accept(session_timeout=400.0, termination_action="radius-request"))
    site.told()
    await site.later(300)
    ((_, request),) = site.told()
    site.send(LAPTOP, answers(LAPTOP, request.identifier, IDENTITY, b"alice"))
    await site.answer(reply("reject"))
    assert len(site.state.sessions) == 0
    assert events(site) == [SessionEvent.STARTED, SessionEvent.NOT_RENEWED]


async def test_a_renewal_without_a_server_is_tried_again_and_ends_nothing_before_its_time(site: AccessSite) -> None:
    session = await site.login(LAPTOP, accept(session_timeout=400.0, termination_action="radius-request"))
    assert session is not None
    site.told()
    await site.later(300)
    ((_, request),) = site.told()
    site.send(LAPTOP, answers(LAPTOP, request.identifier, IDENTITY, b"alice"))
    await site.answer(RadiusError("away", LoginRefusal.NOT_ANSWERED))
    assert site.told() == [], "who has a session hears nothing of it"
    await site.later(30)
    ((_, request),) = site.told()
    site.send(LAPTOP, answers(LAPTOP, request.identifier, IDENTITY, b"alice"))
    await site.answer(accept(session_timeout=400.0, termination_action="radius-request"))
    assert site.state.sessions.by_number.keys() == {session.number}


async def test_session_timeout_without_renewal_is_the_end(site: AccessSite) -> None:
    session = await site.login(LAPTOP, accept(session_timeout=400.0, idle_timeout=60.0, classes=(b"c",)))
    assert session is not None
    (proof,) = session.proofs
    assert (proof.expires, proof.idle) == (site.now + 400, 60)
    await site.later(400)
    assert len(site.state.sessions) == 0


async def test_another_user_at_the_same_place_is_another_session_in_the_accounts(site: AccessSite) -> None:
    first = await site.login(LAPTOP)
    second = await site.login(LAPTOP, accept(user="bob", filter_ids=("staff",)))
    assert first is not None
    assert second is not None
    assert first.number != second.number
    assert first.proofs[0].reference != second.proofs[0].reference


async def test_sessions_of_the_last_run_are_renewed_as_well(site: AccessSite) -> None:
    await site.login(LAPTOP, accept(session_timeout=400.0, termination_action="radius-request"))
    again = AccessSite(store=site.store)
    again.now = site.now
    await again.start()
    again.access.restore()
    await again.later(300)
    assert [eap.code for _, eap in again.told()] == [Code.REQUEST]
    await again.stop()


# addresses


async def test_a_session_gets_the_addresses_that_its_host_uses(site: AccessSite) -> None:
    site.send(LAPTOP, start(LAPTOP))
    await site.login(LAPTOP)
    attachment = site.endpoint(LAPTOP).attachment
    site.s1.send(2, LAPTOP.arp("10.0.0.254"))
    site.s1.send(2, Host(2, LAPTOP.mac, "2001:db8::21").solicitation("2001:db8::fe"))
    session = site.session_of(attachment)
    assert session is not None
    assert session.addresses == (packed("10.0.0.21"), packed("2001:db8::21"))


async def test_what_a_host_used_before_is_bound_at_once(site: AccessSite) -> None:
    site.s1.send(2, LAPTOP.arp("10.0.0.1"))
    ((_, request),) = site.told()
    assert request.code == Code.REQUEST, "who has not started is asked"
    site.send(LAPTOP, answers(LAPTOP, request.identifier, IDENTITY, b"alice"))
    await site.answer(reply("challenge", b"\1\7\0\6\x0d\0"))
    site.send(LAPTOP, answers(LAPTOP, 7, 13))
    await site.answer(accept())
    session = site.session_of(site.endpoint(LAPTOP).attachment)
    assert session is not None
    assert session.addresses == (packed("10.0.0.21"),)
