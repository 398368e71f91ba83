"""The compiled path does what the path in Python does at a site that has everything: VLANs, an uplink, a DNS server,
rules with hours, with relations, with grants and with stages, whatever changes in between."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from fakes.frames import ACK, FIN_ACK, RST, SYN, SYN_ACK, Host
from fakes.hot_site import HotSite, Member, message, packet_in, pure
from unit.openflow.test_fast_path import Step, play, removal_of
from zethane.audit.reason import SessionEvent
from zethane.errors import ZethaneError
from zethane.native import native
from zethane.pipeline.fields import FIRST_STATIC, Reason, parties
from zethane.pipeline.tables import Table
from zethane.policy.load import parse_policy
from zethane.policy.principal import Principal
from zethane.policy.stage import compose
from zethane.service.switch import PortState

pytestmark = pytest.mark.skipif(
    native("zethane.adapters.openflow.fast_path") is None, reason="nothing is compiled here"
)

NETWORK = """
switches:
  s1: {ports: {7: {macs: 4, vlans: [20, 30], untagged: true}}}
  s2: {ports: {7: {macs: 2, vlans: [20]}}}
  s3: {}
links: [["s1:9", "s3:1"], ["s3:2", "s2:9"]]
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
infrastructure:
  names: {switch: s1, port: 3, ip: [10.0.0.3/24, "2001:db8::3/64"], mac: "02:00:00:00:00:03", serves: [dns]}
uplinks:
  wan:
    switch: s2
    port: 8
    mac: "02:00:00:00:00:01"
    ip: [10.0.0.1/24, "2001:db8::1/64"]
    networks: [0.0.0.0/0, "2001:db8:ffff::/48"]
"""
# The clock of the site begins at 00:16:40.
RULES = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  things: {labels: {tier: thing}, vlan: 20}
  cams: {labels: {tier: cam}, vlan: 30}
  staff: {groups: [staff]}
rules:
  - {id: staff-web, from: [staff], to: [web], services: [tcp/443, udp/443]}
  - {id: web-db, from: [web], to: [db], services: [tcp/5432], when: {hours: "Mon-Sun 00:00-00:17 UTC"}}
  - {id: later, from: [staff], to: [db, things], services: [udp/53], when: {hours: "Mon-Sun 00:17-00:18 UTC"}}
  - {id: strong, from: [staff], to: [web], services: [tcp/53], when: {mfa: true}}
  - id: own-site
    from: [staff]
    to: [db]
    services: [tcp/443]
    when: {cel: "subject.labels.site == object.labels.site"}
  - {id: ping, from: [any], to: [any], services: [icmp]}
  - {id: traps, from: [things, cams], to: [staff, things, cams], services: [udp/443, tcp/1000]}
  - {id: no-ssh, from: [any], to: [db], services: [tcp/22], action: deny}
  - {id: out, from: [staff], to: {networks: [198.51.100.0/24, "2001:db8:ffff:1::/64"]}, services: [tcp/443, udp/53]}
  - {id: in, from: {networks: [203.0.113.0/24]}, to: [web, cams], services: [tcp/443]}
"""
GRANT = """
  - id: granted
    from: [staff, things, cams]
    to: [web, things, cams]
    services: [tcp/5432, udp/443]
    enforce: switch
"""
NEVER = "  - {id: never, from: [staff], to: [web], services: [udp/443], action: deny}\n"
STAGED = "  - {id: tried, from: [staff], to: [web], services: [tcp/443], action: deny, stage: audit}\n"
POLICIES = (RULES, RULES + GRANT, RULES + NEVER, RULES + STAGED, RULES.replace("id: own-site", "id: same-site"))
NAMES = ("staff-web", "web-db", "later", "strong", "own-site", "ping", "traps", "no-ssh", "out", "in", "granted")


def one(host: Host, tier: str, switch: str, site: str) -> Member:
    labels = (("site", site), ("tier", tier))
    return host, Principal("workload", f"{tier}{host.mac[-2:]}", labels=labels), switch


def user(host: Host, name: str, switch: str, site: str, *, mfa: bool = False) -> Member:
    return host, Principal("user", name, frozenset({"staff"}), (("site", site),), mfa=mfa), switch


MEMBERS: tuple[Member, ...] = (
    user(Host(2, "02:00:00:00:00:21", "10.0.0.21", "2001:db8::21"), "alice", "s1", "bern", mfa=True),
    user(Host(4, "02:00:00:00:00:22", "10.0.0.22", "2001:db8::22", "10.0.0.122"), "bob", "s2", "basel"),
    one(Host(5, "02:00:00:00:00:11", "10.0.0.11", "2001:db8::11"), "web", "s1", "bern"),
    one(Host(5, "02:00:00:00:00:12", "10.0.0.12", "2001:db8::12"), "web", "s2", "basel"),
    one(Host(6, "02:00:00:00:00:31", "10.0.0.31", "2001:db8::31"), "db", "s2", "bern"),
    one(Host(7, "02:00:00:00:00:71", "10.0.0.71", "2001:db8::71", vlan=20), "thing", "s1", "bern"),
    one(Host(7, "02:00:00:00:00:72", "10.0.0.72", "2001:db8::72", vlan=30), "cam", "s1", "bern"),
    one(Host(7, "02:00:00:00:00:73", "10.0.0.73", "2001:db8::73", vlan=20), "thing", "s2", "bern"),
)
ROUTER = "02:00:00:00:00:01"
OTHERS = (
    (Host(3, "02:00:00:00:00:03", "10.0.0.3", "2001:db8::3"), "s1", FIRST_STATIC),
    (Host(8, ROUTER, "198.51.100.80", "2001:db8:ffff:1::80"), "s2", FIRST_STATIC + 1),
    (Host(8, ROUTER, "203.0.113.10", "2001:db8:ffff:2::10"), "s2", FIRST_STATIC + 1),
)
ENDS = tuple((host, switch, number) for number, (host, _, switch) in enumerate(MEMBERS, 1)) + OTHERS
"""Every host, its switch, and its number as long as nobody has logged in again."""
ALICE, BOB, WEB1, WEB2, DB1, THING, CAM, FAR_THING, DNS, WWW, PARTNER = ENDS
TALKS = (
    (ALICE, WEB1, "tcp", 443), (ALICE, WEB1, "udp", 443), (ALICE, WEB2, "tcp", 443), (BOB, WEB1, "tcp", 443),
    (BOB, WEB2, "udp", 443), (ALICE, WEB2, "tcp", 53), (ALICE, DB1, "tcp", 443), (BOB, DB1, "tcp", 443),
    (BOB, DB1, "udp", 53), (WEB1, DB1, "tcp", 5432), (WEB2, DB1, "tcp", 5432), (THING, CAM, "udp", 443),
    (CAM, THING, "tcp", 1000), (THING, FAR_THING, "tcp", 1000), (THING, ALICE, "udp", 443), (CAM, BOB, "tcp", 1000),
    (ALICE, DNS, "udp", 53), (THING, DNS, "tcp", 53), (ALICE, WWW, "tcp", 443), (BOB, WWW, "udp", 53),
    (PARTNER, WEB1, "tcp", 443), (PARTNER, CAM, "tcp", 443), (ALICE, CAM, "echo", 0), (FAR_THING, WEB1, "echo", 0),
)  # fmt: skip  # a table
"""What some rule is about: who, to whom, and what."""


SERVICES = (443, 443, 443, 53, 5432, 1000, 22)
FLAGS = (SYN, SYN, SYN, SYN, SYN, ACK, SYN_ACK, FIN_ACK, RST, SYN | 1, 0)


def said(rng: Random, sender: Host, receiver: Host, proto: str, port: int, *, back: bool) -> bytes:
    """A frame of a conversation that a rule is about, in one direction or back."""
    family = rng.random() < 0.3
    a, b = (Host(one.port, one.mac, one.addresses[family]) for one in (sender, receiver))
    ports = rng.choice((1000, 1001, 1002)), port
    if proto == "echo":
        return b.echo(a, reply=True) if back else a.echo(b)
    if proto == "udp":
        return b.udp(a, *ports[::-1]) if back else a.udp(b, *ports)
    if back:
        return b.tcp(a, *ports[::-1], rng.choice((SYN_ACK, SYN_ACK, ACK, FIN_ACK)))
    return a.tcp(b, *ports, rng.choice((SYN, SYN, SYN, ACK, FIN_ACK)))


def strange(rng: Random, sender: Host, receiver: Host) -> bytes:
    """Any frame from one host to another: mostly in order."""
    family = rng.random() < 0.3
    a, b = (Host(one.port, one.mac, one.addresses[family]) for one in (sender, receiver))
    sport, dport = rng.choice((1000, 1001, 1002, 443)), rng.choice(SERVICES)
    if rng.random() < 0.3:
        sport, dport = dport, sport
    kind = rng.choice(("tcp", "tcp", "tcp", "udp", "udp", "echo", "reply", "sctp", "error", "gre"))
    if kind == "tcp":
        made = a.tcp(b, sport, dport, rng.choice(FLAGS))
    elif kind == "udp":
        made = a.udp(b, sport, dport, rng.randbytes(rng.randrange(8)))
    elif kind == "sctp":
        made = a._send(b, 132, sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes(8))
    elif kind == "error" and not family:
        made = a.unreachable(b, b.udp(a, dport, sport))
    elif kind == "gre":
        made = a._send(b, 47, bytes(8))
    else:
        made = a.echo(b, reply=kind == "reply")
    if rng.random() < 0.05:
        at = rng.randrange(len(made))
        made = made[:at] + rng.randbytes(1) + made[at + 1 :]
    return made if rng.random() > 0.03 else made[: rng.randrange(len(made))]


def packet(rng: Random) -> Step:
    """A packet-in: mostly of the right switch, sessions and rule; from a port, the fabric or an open connection."""
    sender, receiver, proto, port = rng.choice(TALKS)
    if rng.random() < 0.7:
        back = rng.random() < 0.3
        frame = said(rng, sender[0], receiver[0], proto, port, back=back)
        sender, receiver = (receiver, sender) if back else (sender, receiver)
    else:
        if rng.random() < 0.3:
            sender, receiver = rng.choices(ENDS, k=2)
        frame = strange(rng, sender[0], receiver[0])
    rule = rng.choice((*NAMES, *NAMES, "infrastructure:dns", 0, int(Reason.NO_RULE), 77))
    switch = rng.choice((sender[1],) * 12 + (receiver[1], "s3"))
    bits = rng.choice((0,) * 12 + (1, 2, 4, 6))
    table = rng.choice((Table.RULE,) * 12 + (Table.GRANT, Table.COMMITTED, Table.SOURCE))
    liar = rng.choice((None,) * 30 + (0, 1, 4, FIRST_STATIC, FIRST_STATIC + 1))
    return "packet", switch, rule, sender, receiver, liar, bits, table, frame


def removal(rng: Random) -> Step:
    """A report that an entry which was written is gone: mostly as it should be."""
    damage = None if rng.random() < 0.85 else (rng.randrange(160), rng.randrange(256))
    packets = rng.choice((0, 5, 2**64 - 1))
    switch, idle = rng.choice(("s1", "s1", "s2", "s2", "s3")), rng.choice((None, None, None, 2, 0))
    return "removed", switch, rng.randrange(200), rng.choice((0, 0, 1, 2, 3)), packets, idle, damage


def end(rng: Random) -> Step:
    """A report that both entries of a flow are gone."""
    idle, packets = rng.choice((None, None, None, 2)), rng.randrange(9)
    return "ended", rng.choice(("s1", "s1", "s2")), 2 * rng.randrange(100), rng.choice((0, 0, 0, 1)), packets, idle


def anything(rng: Random) -> Step:
    """Something that happens beside packets."""
    return rng.choice((
        ("wait", rng.choice((0.0004, 0.5, 2.0, 19.0, 40.0))),
        ("wait", rng.choice((0.0004, 0.5, 2.0))),
        ("end", rng.randrange(1, 12)),
        ("policy", rng.choice(POLICIES)),
        ("again", rng.choice(MEMBERS), rng.choice(("s1", "s2"))),
        ("proof", rng.randrange(1, 12), rng.choice(("mfa", "site", "tier"))),
        ("claim", rng.randrange(1, 12), rng.randrange(200, 210)),
        ("block", rng.choice(("user:alice", "user:bob"))),
        ("port", rng.choice((("s1", 9), ("s1", 2), ("s2", 8), ("s3", 2))), rng.random() < 0.7),
        ("hold", rng.random() < 0.3),
        ("hold", False),
        ("limit", rng.choice(("flows_per_session", "flows_per_switch", "timed_flows_per_switch")), rng.choice((2, 50))),
        ("raw", rng.choice(("s1", "s2")), rng.randbytes(rng.randrange(64)), 3),
    ))  # fmt: skip  # a line for each


def steps_of(rng: Random) -> list[Step]:
    """What happens at a site, in so many steps that flows live for a while."""
    kinds = (*[packet] * 16, removal, end, end, anything)
    return [rng.choice(kinds)(rng) for _ in range(rng.randrange(20, 120))]


async def change(hot: HotSite, step: Step) -> None:
    """Something happens beside packets. What is refused is refused on both paths."""
    site, state = hot.site, hot.state
    name, *what = step
    live = state.sessions.by_number.get(what[0]) if isinstance(what[0], int) else None
    try:
        if name == "wait":
            site.now += what[0]
            site.admin.tick(site.now)
            await hot.go_on()
        elif name == "end":
            site.admin.end_session(what[0], SessionEvent.LOGOUT)
        elif name == "policy":
            staging = compose(parse_policy(what[0], "policy.yaml"), None)
            await hot.use_policy(what[0], staging.staged)
        elif name == "again":
            (host, who, _), switch = what
            hot.log_in(host, who, switch)
        elif name == "proof" and live is not None:
            proof = live.session.proofs[0]
            if what[1] == "mfa":
                other = replace(proof, mfa_at=None if proof.mfa_at is not None else site.now)
            elif what[1] == "site":
                other = replace(proof, labels=tuple((k, "rome" if k == "site" else v) for k, v in proof.labels))
            else:
                other = replace(proof, labels=tuple((k, "db" if k == "tier" else v) for k, v in proof.labels))
            site.admin.change_proof(what[0], proof, other, SessionEvent.CHANGED, "")
        elif name == "claim" and live is not None:
            endpoint = site.endpoint(MEMBERS[0][0], "s1", f"10.0.0.{what[1]}")
            site.admin.claim_address(replace(endpoint, attachment=live.session.attachment), what[0])
        elif name == "block":
            site.admin.blocking.block(what[0], "lost")
        elif name == "port":
            (switch, port), up = what
            site.admin.port_status(hot.channels[switch], PortState(port, f"p{port}", up), removed=False)
            await hot.go_on()
        elif name == "hold":
            await hot.hold(what[0])
        elif name == "limit":
            state.limits = replace(state.limits, **{what[0]: what[1]})
    except ZethaneError:
        state.counters["refused_in_this_test"] += 1


def apply(hot: HotSite, pending: list[tuple[str, bytes]], step: Step) -> bool:
    """Put a packet or a report into what is to be read; whether the step was one."""
    if step[0] == "packet":
        _, switch, rule, sender, receiver, liar, bits, table, frame = step
        number = hot.state.policy.rule_numbers.get(rule, 3) if isinstance(rule, str) else int(rule)
        subject, obj = (liar if liar is not None else number_of(hot, *sender)), number_of(hot, *receiver)
        metadata = parties(subject, obj) | bits | sender[0].vlan << 4
        pending.append((switch, packet_in(number, 0, 0, sender[0].port, frame, metadata=metadata, table=table)))
    elif step[0] == "removed":
        removal_of(hot, pending, step)
    elif step[0] == "ended":
        _, switch, place, reason, packets, idle = step
        for one in (place, place + 1):
            removal_of(hot, pending, ("removed", switch, one, reason, packets, idle, None))
    elif step[0] == "raw":
        pending.append((step[1], message(step[3], step[2])))
    else:
        return False
    return True


def number_of(hot: HotSite, host: Host, switch: str, number: int) -> int:
    """Who is at a host now; who was there first, if nobody is."""
    if number >= FIRST_STATIC:
        return number
    attachment = hot.site.endpoint(host, switch).attachment
    found = [live.session.number for live in hot.state.sessions.by_number.values()
             if live.session.attachment.mac == attachment.mac]  # fmt: skip
    return found[0] if found else number


async def play_at(fast: bool, policy: str, steps: list[Step], cuts: list[int]) -> tuple[list[Any], int]:
    """What there is to see, and how many packets the compiled path took."""
    hot = await HotSite(fast=fast, policy=policy, network=NETWORK, members=MEMBERS).start()
    seen = await play(hot, steps, cuts, apply, change, ("removed", "ended"))
    return seen, hot.fast.taken if fast else 0


def differences(seed: int) -> tuple[list[str], int]:
    """What is not the same after some step, of a site and steps that a number stands for; packets taken compiled."""
    rng = Random(seed)  # noqa: S311  # the same each time
    policy, steps = rng.choice(POLICIES), steps_of(rng)
    cuts = [rng.randrange(1, 600) for _ in range(rng.choice((0, 0, 3)))]
    compiled, taken = asyncio.run(play_at(True, policy, steps, cuts))
    with pure():
        expected, _ = asyncio.run(play_at(False, policy, steps, cuts))
    pairs = enumerate(zip(compiled, expected, strict=True))
    return [f"{name} at {place}" for place, (one, other) in pairs for name in one if one[name] != other[name]], taken


@pytest.mark.parametrize("seed", range(15))
def test_both_paths_do_the_same(seed: int) -> None:
    found, taken = differences(seed)
    assert not found
    assert taken
