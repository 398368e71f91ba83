"""ARP and ND as questions: who asks from where, what is defended, and what an asker is never told."""

from __future__ import annotations

import struct

import pytest

from fakes.frames import Host, mac, packed
from fakes.site import ALICE, BOB, DB, POLICY, PORTAL, TWO_SWITCHES, WEB, Site
from zethane.audit.reason import DenyReason
from zethane.net.flowkey import ETH_ARP, ICMPV6
from zethane.pipeline.portal import NEIGHBOUR_MAC

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:15", "10.0.0.21")
GHOST = Host(5, "02:00:00:00:00:66", "10.0.0.66")
GHOST6 = Host(5, GHOST.mac, "2001:db8::66")
LAPTOP6 = Host(4, LAPTOP.mac, "2001:db8::21")
WEB6 = Host(2, WEB1.mac, "2001:db8::11")
NOBODY4 = "0.0.0.0"  # noqa: S104  # the sender of a probe
STAND_IN = NEIGHBOUR_MAC.to_bytes(6, "big").hex(":")


async def three_tier() -> Site:
    site = await Site().start()
    site.login(WEB1, WEB)
    site.login(DB1, DB)
    site.login(LAPTOP, ALICE)
    for host in (LAPTOP6, WEB6):
        live = site.state.sessions.at(site.endpoint(host).attachment)
        assert live is not None
        site.admin.claim_address(site.endpoint(host), live.session.number)
    return site


def send(site: Site, host: Host, frame: bytes) -> tuple[list[tuple[int, bytes]], list[str]]:
    """What came out, and the reasons that are new in the log."""
    site.records.calls.clear()
    site.s1.send(host.port, frame)
    return site.s1.take(), site.records.reasons()


LIES = {
    "asks from an address that it has not": (LAPTOP, LAPTOP.arp("10.0.0.11", sender="10.0.0.99")),
    "asks from another's address": (LAPTOP, LAPTOP.arp("10.0.0.14", sender="10.0.0.11")),
    "a stranger asks from another's address": (GHOST, GHOST.arp("10.0.0.14", sender="10.0.0.11")),
    "a session asks for the portal from another's address": (LAPTOP, LAPTOP.arp("10.0.0.254", sender="10.0.0.11")),
    "a stranger asks from the portal's address": (GHOST, GHOST.arp("10.0.0.11", sender="10.0.0.254")),
    "asks with another's hardware address": (LAPTOP, LAPTOP.arp("10.0.0.11", sha=WEB1.mac)),
    "announces another's address": (LAPTOP, LAPTOP.arp("10.0.0.11", sender="10.0.0.11")),
    "a stranger announces another's address": (GHOST, GHOST.arp("10.0.0.11", sender="10.0.0.11")),
    "replies with another's address": (LAPTOP, LAPTOP.arp("10.0.0.14", sender="10.0.0.11", operation=2)),
    "replies with another's hardware address": (LAPTOP, LAPTOP.arp("10.0.0.14", sha=WEB1.mac, operation=2)),
    "a stranger replies": (GHOST, GHOST.arp("10.0.0.11", operation=2)),
    "reverse request in an ARP frame": (LAPTOP, LAPTOP.arp("10.0.0.11", operation=3)),
    "solicits from another's address": (LAPTOP, LAPTOP6.solicitation("2001:db8::fe", sender="2001:db8::11")),
    "a stranger solicits from another's address": (GHOST, GHOST6.solicitation("2001:db8::21", sender="2001:db8::11")),
    "solicits from far away": (LAPTOP, LAPTOP6.solicitation("2001:db8::fe", hop_limit=254)),
    "reverse ARP": (LAPTOP, LAPTOP.arp("10.0.0.11")[:12] + b"\x80\x35" + LAPTOP.arp("10.0.0.11")[14:]),
    "advertises another's address": (LAPTOP, LAPTOP6.advertisement("2001:db8::11")),
    "advertises with another's hardware address": (LAPTOP, LAPTOP6.advertisement(LAPTOP6.ip, tells=WEB1.mac)),
    "a stranger advertises": (GHOST, GHOST6.advertisement(GHOST6.ip)),
}


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_reaches_nobody_and_is_logged(name: str) -> None:
    host, frame = LIES[name]
    out, reasons = send(await three_tier(), host, frame)
    assert (out, reasons) == ([], ["neighbour-spoof"])


@pytest.mark.parametrize(
    ("host", "frame", "reasons"),
    [
        (GHOST, GHOST.arp("10.0.0.254", sender="10.0.0.11"), ["neighbour-spoof"]),
        (GHOST, GHOST6.solicitation("2001:db8::fe", sender="2001:db8::11"), ["neighbour-spoof"]),
        (LAPTOP, LAPTOP.arp("10.0.0.254", sender="10.0.0.99"), []),
    ],
    ids=["ARP", "ND", "a session with one address more"],
)
async def test_the_portal_is_found_by_a_host_that_has_moved_or_has_one_address_more(
    host: Host, frame: bytes, reasons: list[str]
) -> None:
    """Somebody else's address is logged; the answer goes to the asker's port, with the asker's MAC."""
    out, logged = send(await three_tier(), host, frame)
    assert logged == reasons
    assert [(port, answer[:6], answer[6:12].hex(":")) for port, answer in out] == [
        (host.port, mac(host.mac), PORTAL.mac)
    ]


HARMLESS = {
    "announces its own address": (LAPTOP, LAPTOP.arp("10.0.0.21", sender="10.0.0.21")),
    "replies truthfully": (LAPTOP, LAPTOP.arp("10.0.0.11", operation=2)),
    "advertises its own address": (LAPTOP, LAPTOP6.advertisement(LAPTOP6.ip)),
    "a stranger announces what nobody has": (GHOST, GHOST.arp("10.0.0.66", sender="10.0.0.66")),
    "a stranger probes for what nobody has": (GHOST, GHOST.arp("10.0.0.66", sender=NOBODY4)),
    "a stranger probes for an IPv6 address": (GHOST, GHOST6.solicitation(GHOST6.ip, sender="::")),
    "probes for its own address": (LAPTOP, LAPTOP.arp("10.0.0.21", sender=NOBODY4)),
    "probes for its own IPv6 address": (LAPTOP, LAPTOP6.solicitation(LAPTOP6.ip, sender="::")),
}


@pytest.mark.parametrize("name", HARMLESS)
async def test_what_is_true_but_needless_reaches_nobody_and_is_not_logged(name: str) -> None:
    host, frame = HARMLESS[name]
    site = await three_tier()
    before = [live.session.addresses for live in site.state.sessions]
    assert send(site, host, frame) == ([], [])
    assert [live.session.addresses for live in site.state.sessions] == before


async def test_a_session_that_probes_for_anothers_address_is_told_that_it_is_taken_and_no_more() -> None:
    site = await three_tier()
    out, reasons = send(site, LAPTOP, LAPTOP.arp("10.0.0.14", sender=NOBODY4))
    assert reasons == ["address-in-use"]
    ((port, reply),) = out
    assert port == LAPTOP.port
    assert (reply[28:32], reply[22:28].hex(":")) == (packed("10.0.0.14"), STAND_IN)
    assert reply[20:22] == struct.pack("!H", 2)

    out, reasons = send(site, DB1, Host(3, DB1.mac, "2001:db8::14").solicitation("2001:db8::21", sender="::"))
    assert reasons == ["address-in-use"]
    ((port, advert),) = out
    assert port == DB1.port
    assert (advert[:6], advert[38:54]) == (mac(DB1.mac), packed("ff02::1"))
    assert (advert[62:78], advert[80:86].hex(":")) == (packed("2001:db8::21"), STAND_IN)


@pytest.mark.parametrize("address", ["10.0.0.254", "2001:db8::fe"])
async def test_the_portals_address_is_defended_as_well(address: str) -> None:
    site = await three_tier()
    probe = LAPTOP6.solicitation(address, sender="::") if ":" in address else LAPTOP.arp(address, sender=NOBODY4)
    out, reasons = send(site, LAPTOP, probe)
    assert reasons == ["address-in-use"]
    assert [port for port, _ in out] == [LAPTOP.port]


@pytest.mark.parametrize("address", ["10.0.0.11", "2001:db8::11"])
async def test_a_stranger_learns_by_no_probe_who_is_there(address: str) -> None:
    site = await three_tier()
    probe = GHOST6.solicitation(address, sender="::") if ":" in address else GHOST.arp(address, sender=NOBODY4)
    assert send(site, GHOST, probe) == ([], ["address-in-use"])


async def test_the_log_says_which_address_was_asked_from_and_for() -> None:
    site = await three_tier()
    send(site, LAPTOP, LAPTOP.arp("10.0.0.14", sender="10.0.0.11"))
    (what, _) = site.records.of("denied")[0]
    assert what.reason is DenyReason.NEIGHBOUR_SPOOF
    assert (what.key.src, what.key.dst, what.key.proto) == (packed("10.0.0.11"), packed("10.0.0.14"), ETH_ARP)
    assert what.subject is not None
    assert what.subject.principal.name == "alice"
    send(site, DB1, Host(3, DB1.mac, "2001:db8::14").solicitation("2001:db8::21", sender="::"))
    (what, _) = site.records.of("denied")[0]
    assert (what.key.dst, what.key.proto) == (packed("2001:db8::21"), ICMPV6)


@pytest.mark.parametrize("unicast", [False, True], ids=["to the group", "to the target alone"])
async def test_unreachability_detection_is_answered(unicast: bool) -> None:
    """Hosts ask once more, and the target alone, before they give a neighbour up (RFC 4861 §7.3)."""
    site = await three_tier()
    frame = LAPTOP6.solicitation("2001:db8::11")
    if unicast:
        body = struct.pack("!BBHI", 135, 0, 0, 0) + packed("2001:db8::11") + b"\x01\x01" + mac(LAPTOP.mac)
        frame = LAPTOP6.icmpv6(LAPTOP6.ip, "2001:db8::11", body)
    out, reasons = send(site, LAPTOP, frame)
    ((port, advert),) = out
    assert (port, reasons) == (LAPTOP.port, [])
    assert (advert[58] & 0x60, advert[80:86]) == (0x60, mac(WEB1.mac))


async def test_the_portal_asks_and_learns_a_stand_in() -> None:
    site = await three_tier()
    portal6 = Host(1, PORTAL.mac, "2001:db8::fe")
    for frame in (portal6.solicitation("2001:db8::21", sender="fe80::fe"), PORTAL.arp("10.0.0.21")):
        out, reasons = send(site, PORTAL, frame)
        ((port, answer),) = out
        assert (port, reasons, answer[6:12].hex(":")) == (1, [], STAND_IN)


async def test_a_spoofed_question_on_another_switch_is_a_lie_too() -> None:
    site = await Site(TWO_SWITCHES).start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, BOB, "s2")
    site.switches["s2"].send(4, LAPTOP.arp("10.0.0.254", sender="10.0.0.11"))
    assert site.records.reasons() == ["neighbour-spoof"]
    assert site.switches["s2"].take() == []


async def test_who_may_have_to_answer_a_connection_that_a_switch_has_let_in_learns_who_opened_it() -> None:
    """The controller does not know whether there is one; without grants it would know the flow."""
    grants = "rules:\n  - {id: web-db, from: [web], to: [db], services: [tcp/5432], enforce: switch}\n"
    text = POLICY.partition("rules:")[0]
    site = await Site(policy=text + grants).start()
    site.login(WEB1, WEB)
    site.login(DB1, DB)
    site.login(LAPTOP, ALICE)
    assert send(site, DB1, DB1.arp("10.0.0.11"))[0] != []
    assert send(site, DB1, DB1.arp("10.0.0.21"))[0] == []
    await site.use_policy(text + grants.replace(", enforce: switch", ""))
    assert send(site, DB1, DB1.arp("10.0.0.11"))[0] != []
    assert send(await _without_grants(text + grants), DB1, DB1.arp("10.0.0.11"))[0] == []


async def _without_grants(policy: str) -> Site:
    site = await Site(policy=policy.replace(", enforce: switch", "")).start()
    site.login(WEB1, WEB)
    site.login(DB1, DB)
    return site
