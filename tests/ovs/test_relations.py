"""Rules about both ends on a real bridge: frames of a related pair come out, and stop with the relation."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from fakes.frames import ACK, SYN, Host
from livesite import LiveSite
from openvswitch import Bridge
from wires import Wires
from zethane.identity.directory import Directory, parse_identities
from zethane.net.flowkey import TCP
from zethane.pipeline.fields import split_cookie
from zethane.pipeline.tables import Priority, Table
from zethane.policy.expression import compiled
from zethane.policy.principal import Principal

pytestmark = pytest.mark.ovs

RELATED = "subject.labels.site == object.labels.site"
POLICY = f"""
version: 1
segments:
  web: {{labels: {{tier: web}}}}
  staff: {{groups: [staff]}}
rules:
  - {{id: own-site, from: [staff], to: [web], services: [tcp/443], when: {{cel: "{RELATED}"}}}}
  - {{id: any-site, from: [staff], to: [web], services: [tcp/80]}}
"""
HASH = f"$argon2id$v=19$m=8,t=1,p=1${'A' * 22}${'A' * 43}"
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
WEB2 = Host(3, "02:00:00:00:00:12", "10.0.0.12")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


def identities(laptop: str, web1: str = "bern", web2: str = "basel") -> Directory:
    """Who there is, with the site of each."""
    return parse_identities(
        f'users: {{alice: {{groups: [staff], labels: {{site: {laptop}}}, password: "{HASH}"}}}}\n'
        "workloads:\n"
        f'  web1: {{labels: {{tier: web, site: {web1}}}, secret: "{HASH}"}}\n'
        f'  web2: {{labels: {{tier: web, site: {web2}}}, secret: "{HASH}"}}\n',
        "identities.yaml",
    )


@pytest.fixture
async def site(bridge: Bridge) -> AsyncIterator[LiveSite]:
    live = await LiveSite(bridge, POLICY).start()
    await live.admin.use_directory(identities("bern"))
    for host, name, where in ((WEB1, "web1", "bern"), (WEB2, "web2", "basel")):
        live.login(host, Principal("workload", name, labels=(("site", where), ("tier", "web"))))
    live.login(LAPTOP, Principal("user", "alice", frozenset({"staff"}), (("site", "bern"),)))
    await live.channel.barrier()
    yield live
    assert live.state.counters["switch_errors"] == 0
    await live.stop()


async def arrives(wires: Wires, target: Host, sport: int, port: int, flags: int) -> bool:
    """Whether a segment of the laptop comes out at its target.

    One of a rule for all sites follows it through the same port: what comes out before that is all that does.
    """
    wires.send(LAPTOP.port, LAPTOP.tcp(target, sport, port, flags))
    wires.send(LAPTOP.port, LAPTOP.tcp(target, 50000, 80, SYN))
    seen: list[tuple[int, int]] = []
    while (50000, 80) not in seen:
        out, frame = await wires.next()
        if out == target.port and frame[23] == TCP:
            seen.append((int.from_bytes(frame[34:36], "big"), int.from_bytes(frame[36:38], "big")))
    return (sport, port) in seen


async def rules_of(site: LiveSite) -> set[tuple[int, str]]:
    """The per-flow rules in the bridge: the session that it was opened to, and the rule of the policy."""
    await site.channel.barrier()
    found = await site.channel.read_tables()
    cookies = [
        split_cookie(entry.cookie)
        for entry in found
        if (entry.table, entry.priority) == (Table.FLOW, Priority.FLOW_VERIFIED)
    ]
    return {(target, site.state.policy.rule_ids[rule]) for _, target, rule in cookies}


async def test_a_related_pair_is_let_through_and_a_change_of_the_directory_ends_what_does_not_hold(
    site: LiveSite,
) -> None:
    """Exactly that: the flow of the other rule goes on, and so does the one of a pair that is related still."""
    web1, web2 = (site.state.sessions.by_address[bytes((10, 0, 0, last))].session.number for last in (11, 12))
    with Wires(site.bridge, range(1, 7)) as wires:
        assert await arrives(wires, WEB1, 40000, 443, SYN)
        assert not await arrives(wires, WEB2, 40001, 443, SYN)
        assert await rules_of(site) == {(web1, "own-site"), (web1, "any-site"), (web2, "any-site")}

        await site.admin.use_directory(identities("bern", web2="bern"))
        await site.settle()
        assert await arrives(wires, WEB2, 40001, 443, SYN)
        runs = compiled(RELATED).runs
        for sport in range(41000, 41020):
            assert await arrives(wires, WEB1, sport, 443, SYN)
            assert await arrives(wires, WEB1, sport, 443, ACK)
        assert compiled(RELATED).runs == runs

        await site.admin.use_directory(identities("bern", web1="geneva", web2="bern"))
        await site.settle()
        assert await rules_of(site) == {(web1, "any-site"), (web2, "any-site"), (web2, "own-site")}
        deadline = time.monotonic() + 5.0  # the datapath follows the tables within milliseconds
        while await arrives(wires, WEB1, 40000, 443, ACK):
            assert time.monotonic() < deadline
        assert await arrives(wires, WEB2, 40001, 443, ACK)
        assert {flow.key.dport for flow in site.state.flows.of_session(web1)} == {80}
    ended = {what[0].key.dport for what in site.records.of("flow_ended")}
    assert ended == {443}
