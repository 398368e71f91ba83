"""Whatever hosts, servers and time do, in whatever order: bounds hold, and nobody gets in without a server's yes."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.eapol import IDENTITY, answers, eapol, logoff, start
from fakes.frames import Host
from fakes.port_access import AccessSite, accept, reply
from zethane.audit.reason import LoginRefusal
from zethane.net.eapol import Code, failure, parse_eap
from zethane.service.radius import RadiusError
from zethane.service.supplicants import SPARE

MACS = [f"02:00:00:00:01:{number:02x}" for number in range(12)]
HOSTS = [Host(port, mac, "10.0.0.9", vlan=20 if port == 5 else 0) for port in (2, 3, 4, 5) for mac in MACS]
CARDS = {2: 1, 3: 3, 4: 1, 5: 1}

hosts = st.sampled_from(HOSTS)
identifiers = st.integers(0, 9)
last_words = st.builds(
    lambda end, again: accept(
        filter_ids=("staff",), session_timeout=end, termination_action="radius-request" if again else "default"
    ),
    st.sampled_from((None, 10.0, 300.0)),
    st.booleans(),
)
events = st.one_of(
    st.tuples(st.just("login"), hosts, last_words),
    st.tuples(st.just("frame"), hosts, st.builds(lambda: start)),
    st.tuples(st.just("frame"), hosts, st.builds(lambda: logoff)),
    st.tuples(st.just("frame"), hosts, st.builds(lambda: lambda host: host.arp("10.0.0.1"))),
    st.tuples(
        st.just("frame"),
        hosts,
        st.builds(
            lambda identifier, kind: lambda host: answers(host, identifier, kind, b"alice"),
            identifiers,
            st.sampled_from((IDENTITY, 3, 4, 13, 25)),
        ),
    ),
    st.tuples(st.just("frame"), hosts, st.binary(max_size=12).map(lambda body: lambda host: eapol(host, 0, body))),
    st.tuples(st.just("time"), st.just(None), st.sampled_from((0.1, 1.0, 30.0, 61.0, 400.0))),
    st.tuples(st.just("down"), st.sampled_from(sorted(CARDS)), st.just(None)),
    st.tuples(
        st.just("answer"),
        st.integers(0, 3),
        st.one_of(
            st.just(reply("reject", failure(1))),
            st.just(RadiusError("away", LoginRefusal.NOT_ANSWERED)),
            st.builds(lambda number: reply("challenge", bytes((1, number, 0, 6, 13, 0))), identifiers),
            st.sampled_from((reply("challenge"), reply("accept"), reply("accept", failure(1), user_name="alice"))),
            last_words,
        ),
    ),
)


async def _login(site: AccessSite, host: Host, answer: Any) -> int:
    """A host that does all as it should, up to the server's last word; 1 if that was a yes to a question of its."""
    site.send(host, start(host))
    site.send(host, answers(host, 1, IDENTITY, b"alice"))
    await asyncio.sleep(0)
    return await _answer(site, len(site.radius.asked) - 1, answer)


async def _answer(site: AccessSite, which: int, answer: Any) -> int:
    """One of the questions that wait is answered; 1 if the answer is a yes that says so in both of its packets."""
    await asyncio.sleep(0)
    waiting = [asked for asked in site.radius.asked if not asked.answer.done()]
    if not waiting:
        return 0
    asked = waiting[which % len(waiting)]
    site.radius.asked.remove(asked)
    if isinstance(answer, RadiusError):
        asked.answer.set_exception(answer)
    else:
        asked.answer.set_result(answer)
    for _ in range(3):
        await asyncio.sleep(0)
    if isinstance(answer, RadiusError) or answer.code != "accept":
        return 0
    said = parse_eap(answer.eap) if answer.eap is not None else None
    return int(asked.request.eap is None or (said is not None and said.code == Code.SUCCESS))


async def _play(script: list[tuple[str, Any, Any]]) -> None:
    site = await AccessSite().start()
    assert isinstance(site, AccessSite)
    yes = 0
    for kind, what, how in script:
        if kind == "frame":
            site.send(what, how(what))
        elif kind == "time":
            await site.later(how)
        elif kind == "down":
            site.access.port_gone(site.s1.dpid, what)
        elif kind == "login":
            yes += await _login(site, what, how)
        else:
            yes += await _answer(site, what, how)
        await asyncio.sleep(0)
        began = sum(event.value == "started" for event, *_ in site.records.of("session"))
        assert began <= yes, "a session began without a yes"
        for port, cards in CARDS.items():
            states = [place for place in site.access.table.by_attachment if place.port == port]
            assert len(states) <= 2 * cards + SPARE
            assert len(site.state.sessions.on_port(site.s1.dpid, port)) <= cards
        for live in site.state.sessions:
            assert live.session.ends > site.now
            assert all(proof.aal == 0 for proof in live.session.proofs if proof.method == "mab")
            assert live.session.attachment.port != 4 or live.session.proofs[0].method == "mab"
    await site.stop()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events, min_size=5, max_size=60))
def test_nobody_gets_in_without_a_yes_and_bounds_hold(script: list[tuple[str, Any, Any]]) -> None:
    asyncio.run(_play(script))
