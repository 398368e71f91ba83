"""The compiled path writes, counts, logs and keeps what the path in Python does, whatever comes and in what pieces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.frames import ACK, FIN_ACK, RST, SYN, SYN_ACK, Host
from fakes.hot_site import (
    DB1,
    HOSTS,
    LAPTOP,
    PHONE,
    POLICY,
    WEB1,
    HotSite,
    flow_removed,
    message,
    messages,
    packet_in,
    pure,
)
from zethane.adapters.openflow.intake import TurnLimits
from zethane.audit.reason import SessionEvent
from zethane.native import native
from zethane.pipeline.fields import Reason
from zethane.pipeline.tables import Table

pytestmark = pytest.mark.skipif(
    native("zethane.adapters.openflow.fast_path") is None, reason="nothing is compiled here"
)

SHARE = 32
"""Plain packets of one port that are taken from a read."""

RULES = ("staff-web", "web-db", "staff-db", "ping", "no-ssh")
OTHER_POLICY = POLICY.replace("tcp/443, udp/443, sctp/443", "tcp/443").replace("id: ping", "id: pings")
GRANTING = POLICY.replace("services: [tcp/443, udp/53]}", "services: [tcp/443, udp/53], enforce: switch}")
STAFF_ONLY = POLICY.replace("  - {id: staff-db, from: [staff], to: [db], services: [tcp/443, udp/53]}\n", "")

Step = tuple[Any, ...]
Apply = Callable[[HotSite, list[tuple[str, bytes]], Step], bool]
"""Has a switch say something, by which nothing changes; False if the step is a change."""
Change = Callable[[HotSite, Step], Awaitable[None]]


@st.composite
def frames(draw: st.DrawFn, sender: Host, receiver: Host) -> bytes:
    """A frame from one host to another, as it should be, or damaged."""
    family = draw(st.sampled_from((0, 0, 0, 1)))
    a, b = (Host(one.port, one.mac, one.addresses[family]) for one in (sender, receiver))
    sport, dport = draw(st.sampled_from((1000, 1001, 443))), draw(st.sampled_from((443, 443, 53, 22, 5432, 1000)))
    kind = draw(st.sampled_from(("syn", "syn", "syn", "flags", "udp", "echo", "reply", "sctp", "error", "arp", "gre")))
    if kind == "syn":
        frame = a.tcp(b, sport, dport, SYN)
    elif kind == "flags":
        frame = a.tcp(b, sport, dport, draw(st.sampled_from((ACK, SYN_ACK, FIN_ACK, RST, SYN | 1, SYN | RST, 0))))
    elif kind == "udp":
        frame = a.udp(b, sport, dport, draw(st.binary(max_size=8)))
    elif kind in ("echo", "reply"):
        frame = a.echo(b, reply=kind == "reply")
    elif kind == "sctp":
        frame = a._send(b, 132, sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes(8))
    elif kind == "error":
        frame = a.unreachable(b, b.udp(a, dport, sport)) if not family else a.echo(b)
    elif kind == "arp":
        frame = a.arp(b.ip) if not family else a.echo(b)
    else:
        frame = a._send(b, 47, bytes(8))
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(frame) - 1))
        frame = frame[:at] + draw(st.binary(min_size=1, max_size=2)) + frame[at + 1 :]
    if draw(st.integers(0, 7)) == 0:
        frame = frame[: draw(st.integers(0, len(frame)))]
    return frame


@st.composite
def packets(draw: st.DrawFn) -> Step:
    """A packet-in: mostly of the right switch, sessions and rule."""
    sender, receiver = draw(st.sampled_from(HOSTS)), draw(st.sampled_from(HOSTS))
    said = [HOSTS.index(one) + 1 for one in (sender, receiver)]
    if draw(st.integers(0, 9)) == 0:
        said = [draw(st.sampled_from((0, 1, 2, 3, 4, 5, 0xFFFF00))) for _ in said]
    rule = draw(st.sampled_from((*RULES[:4], *RULES, 0, Reason.NO_RULE, 77)))
    switch = draw(st.sampled_from(("s2" if sender is DB1 else "s1",) * 5 + ("s2", "s3")))
    return "packet", switch, rule, *said, sender.port, draw(frames(sender, receiver))


@st.composite
def removals(draw: st.DrawFn) -> Step:
    """A report that an entry which was written is gone, as it should be, or damaged."""
    damage = draw(st.one_of(st.none(), st.none(), st.none(), st.tuples(st.integers(0, 160), st.integers(0, 255))))
    return (
        "removed",
        draw(st.sampled_from(("s1", "s1", "s1", "s2", "s3"))),
        draw(st.integers(0, 40)),
        draw(st.sampled_from((0, 0, 1, 2, 3))),
        draw(st.sampled_from((0, 5, 2**64 - 1))),
        draw(st.sampled_from((None, None, 2, 0))),
        damage,
    )


CHANGES = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from((0.0004, 0.5, 2.0, 40.0, -30.0))),
    st.tuples(st.just("end"), st.integers(1, 4)),
    st.tuples(st.just("policy"), st.sampled_from((POLICY, OTHER_POLICY, STAFF_ONLY))),
    st.tuples(st.just("stage"), st.booleans()),
    st.tuples(st.just("class"), st.integers(1, 2)),
    st.tuples(st.just("hold"), st.booleans()),
    st.tuples(
        st.just("limit"),
        st.sampled_from(
            (
                "flows_per_session",
                "flows_per_switch",
                "timed_flows_per_switch",
                "rules_wait_from",
                "rules_wait_from",
            )
        ),
    ),
    st.tuples(st.just("ready"), st.sampled_from(("s1", "s2")), st.booleans()),
    st.tuples(st.just("full"), st.sampled_from(("s1", "s2")), st.booleans()),
    st.tuples(st.just("watch"), st.sampled_from(("s1", "s2"))),
    st.tuples(st.just("raw"), st.sampled_from(("s1", "s2")), st.binary(max_size=64), st.sampled_from((10, 11, 3))),
)
STEPS = st.lists(st.one_of(packets(), packets(), packets(), packets(), removals(), removals(), CHANGES), max_size=30)


async def change(hot: HotSite, step: Step) -> None:
    """Something happens beside packets."""
    site, state = hot.site, hot.state
    name, *what = step
    if name == "wait":
        site.now += what[0]
        site.admin.tick(site.now)
        while site.admin.aging.tick(site.now):
            pass
    elif name == "end":
        site.admin.end_session(what[0], SessionEvent.LOGOUT)
    elif name == "policy":
        await hot.use_policy(what[0])
    elif name == "hold":
        await hot.hold(what[0])
    elif name == "stage":
        state.stage(state.policy.policy if what[0] else None)
    elif name == "class":
        live = state.sessions.by_number.get(what[0])
        if live is not None:
            proof = live.session.proofs[0]
            other = replace(proof, mfa_at=None if proof.mfa_at is not None else site.now)
            hot.site.admin.change_proof(what[0], proof, other, SessionEvent.CHANGED, "")
    elif name == "limit":
        state.limits = replace(state.limits, **{what[0]: 0 if what[0] == "rules_wait_from" else 2})
    elif name == "ready":
        state.fabric.by_name[what[0]].ready = what[1]
    elif name == "full":
        hot.sinks[what[0]].unwritten = 5 * 2**20 if what[1] else 0
        (hot.channels[what[0]].pause_writing if what[1] else hot.channels[what[0]].resume_writing)()
    elif name == "watch":
        watching = hot.channels[what[0]].watch()
        hot.told.append(watching.__enter__())


def apply(hot: HotSite, pending: list[tuple[str, bytes]], step: Step) -> bool:
    """Put a packet or a report into what is to be read; whether the step was one."""
    state = hot.state
    if step[0] == "packet":
        _, switch, rule, subject, obj, port, frame = step
        number = state.policy.rule_numbers.get(rule, 3) if isinstance(rule, str) else int(rule)
        pending.append((switch, packet_in(number, subject, obj, port, frame)))
    elif step[0] == "removed":
        removal_of(hot, pending, step)
    elif step[0] == "raw":
        pending.append((step[1], message(step[3], step[2])))
    else:
        return False
    return True


def removal_of(hot: HotSite, pending: list[tuple[str, bytes]], step: Step) -> None:
    """A report about one of the entries that were written to a switch, if there is any."""
    _, switch, place, reason, packets, idle, damage = step
    written = [one for one in messages(hot.sinks[switch].written) if one[1] == 14 and one[24] == 3]
    if written:
        report = bytearray(flow_removed(written[place % len(written)], reason, packets, packets, idle=idle))
        if damage is not None:
            report[8 + damage[0] % (len(report) - 8)] = damage[1]
        pending.append((switch, bytes(report)))


class Read:
    """Lets a site read what is `pending`, in pieces of these sizes."""

    def __init__(self, hot: HotSite, cuts: list[int]) -> None:
        self.pending: list[tuple[str, bytes]] = []
        self._hot, self._cuts, self._place = hot, cuts, 0

    def __call__(self) -> None:
        """All of it, switch by switch."""
        for name in ("s1", "s2", "s3"):
            data = b"".join(one for switch, one in self.pending if switch == name)
            while data and self._hot.channels[name]._closed_for is None:
                size = self._cuts[self._place % len(self._cuts)] if self._cuts else len(data)
                self._place += 1
                self._hot.feed(name, data[:size])
                data = data[size:]
        self.pending.clear()


async def play(
    hot: HotSite, steps: list[Step], cuts: list[int], apply: Apply, change: Change, reports: tuple[str, ...]
) -> list[dict[str, Any]]:
    """What there is to see after each change, and at the end. What steps of the kinds `reports` tell of has to be
    there before."""
    seen: list[dict[str, Any]] = []
    read = Read(hot, cuts)
    for step in steps:
        if step[0] in reports:
            read()
        if not apply(hot, read.pending, step):
            read()
            await change(hot, step)
            seen.append(hot.view())
    read()
    await hot.hold(False)
    seen.append(hot.view())
    return seen


async def play_here(fast: bool, steps: list[Step], cuts: list[int]) -> list[dict[str, Any]]:
    return await play(await HotSite(fast=fast).start(), steps, cuts, apply, change, ("removed",))


@settings(max_examples=50, deadline=None)
@given(STEPS, st.lists(st.integers(1, 600), max_size=4))
def test_both_paths_do_the_same(steps: list[Step], cuts: list[int]) -> None:
    compiled = asyncio.run(play_here(True, steps, cuts))
    with pure():
        expected = asyncio.run(play_here(False, steps, cuts))
    for one, other in zip(compiled, expected, strict=True):
        for name in one:
            assert one[name] == other[name], name


async def test_neither_path_writes_to_a_switch_that_takes_nothing() -> None:
    views = []
    for fast in (True, False):
        with pure() if not fast else nullcontext():
            hot = await HotSite(fast=fast).start()
            rule = hot.state.policy.rule_numbers["staff-db"]
            sent = packet_in(rule, 1, 4, LAPTOP.port, LAPTOP.udp(DB1, 1000, 53))
            hot.feed("s1", sent)
            assert hot.state.counters["allowed"] == 1
            hot.sinks["s2"].written = b""
            hot.sinks["s2"].unwritten = 5 * 2**20
            hot.channels["s2"].pause_writing()
            hot.feed("s1", sent + packet_in(rule, 1, 4, LAPTOP.port, LAPTOP.udp(DB1, 1001, 53)))
            assert hot.sinks["s2"].written == b""
            assert hot.state.counters["denied_switch-away"] == 2
            views.append(hot.view())
    assert views[0] == views[1]


@pytest.mark.parametrize("waiting", [False, True])
async def test_a_packet_that_cannot_be_handled_costs_neither_its_switch_nor_the_packets_behind_it(
    waiting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = []
    for fast in (True, False):
        with pure() if not fast else nullcontext():
            hot = await HotSite(fast=fast).start()
            decide, numbers = hot.state.policy.verdict, hot.state.policy.rule_numbers

            def verdict(subject: int, obj: int, proto: int, port: int, decide: Any = decide) -> Any:
                if port == 53:
                    raise RuntimeError("a mistake")
                return decide(subject, obj, proto, port)

            monkeypatch.setattr(hot.state.policy, "verdict", verdict)
            bad = packet_in(numbers["staff-db"], 1, 4, LAPTOP.port, LAPTOP.udp(DB1, 1000, 53))
            good = [
                packet_in(numbers["staff-web"], 1, 3, LAPTOP.port, LAPTOP.tcp(WEB1, 1000 + place, 443))
                for place in range(6)
            ]
            if waiting:
                hot.channels["s1"]._intake.hold()
            hot.channels["s1"].data_received(b"".join([good[0], bad, good[1], bad, bad, *good[2:]]))
            if waiting:
                assert len(hot.channels["s1"]._intake) == 9
                hot.channels["s1"]._intake.release()
            hot.feed("s1", b"")
            assert hot.channels["s1"]._closed_for is None
            assert hot.state.counters["allowed"] == 6
            assert hot.state.counters["packet_ins"] == 9
            views.append(hot.view())
    assert views[0] == views[1]


async def test_plain_packets_take_the_compiled_path() -> None:
    hot = await HotSite(fast=True).start()
    rule = hot.state.policy.rule_numbers["staff-web"]
    again = packet_in(rule, 1, 3, LAPTOP.port, LAPTOP.tcp(WEB1, 1000, 443))
    hot.feed("s1", again + packet_in(rule, 2, 4, PHONE.port, PHONE.udp(DB1, 1000, 53)) + again)
    assert hot.fast.taken == 3
    assert hot.state.counters["allowed"] == 2
    assert len(messages(hot.sinks["s2"].written)) == 3  # two rules and the packet, at the far end


async def _told_of_grants(fast: bool) -> tuple[dict[str, Any], int]:
    """What two copies of connections of a grant leave, one of a denied address, and one from the object's switch."""
    hot = await HotSite(fast=fast, policy=GRANTING).start()
    rule, laptop, db1 = hot.state.policy.rule_numbers["staff-db"], 1, 4
    for switch, frame in (
        ("s1", LAPTOP.tcp(DB1, 1000, 443)),
        ("s1", LAPTOP.udp(DB1, 1000, 53)),
        ("s1", PHONE.udp(DB1, 1000, 53)),
        ("s2", LAPTOP.udp(DB1, 1001, 53)),
    ):
        hot.feed(switch, packet_in(rule, laptop, db1, LAPTOP.port, frame, table=Table.COMMITTED))
    told = {point.switch.name: point.told for point in hot.state.fabric.points.values()}
    return {**hot.view(), "told": told}, hot.fast.taken if fast else 0


async def test_the_copy_of_a_connection_of_a_grant_is_a_record_and_nothing_else() -> None:
    compiled, taken = await _told_of_grants(fast=True)
    with pure():
        expected, _ = await _told_of_grants(fast=False)
    assert compiled == expected
    records = [json.loads(line) for line in compiled["log"].splitlines()]
    told = [record["service"] for record in records if record.get("enforced") == "switch"]
    assert told == ["tcp/443", "udp/53"]
    assert taken == len(told)
    counters = compiled["counters"]
    assert (counters["granted"], counters["grant_records_refused"], compiled["flows"]) == (2, 2, [])
    assert compiled["told"] == {"s1": 3, "s2": 1, "s3": 0}  # as many copies came


@pytest.mark.parametrize("packets", [3, 64])
async def test_packets_that_wait_take_the_compiled_path_in_the_same_order(packets: int) -> None:
    views = []
    for fast in (True, False):
        with pure() if not fast else nullcontext():
            hot = await HotSite(fast=fast).start()
            rule = hot.state.policy.rule_numbers["staff-web"]
            link = hot.channels["s1"]
            # One turn for all of them, on a slow machine too.
            link._intake._limits = TurnLimits(seconds=3600.0, later=3600.0)
            link._intake.hold()
            for place in range(packets):
                sender = (LAPTOP, PHONE)[place % 2]
                frame = sender.tcp(WEB1, 1000 + place, 443)
                hot.channels["s1"].data_received(packet_in(rule, 1 + place % 2, 3, sender.port, frame))
            assert len(link._intake) == packets
            link._intake.release()
            hot.feed("s1", b"")
            assert not len(link._intake)
            assert not fast or hot.fast.taken == packets
            assert hot.state.counters["allowed"] == packets
            views.append(hot.view())
    assert views[0] == views[1]


async def test_flows_take_the_compiled_path_while_tables_are_read() -> None:
    views = []
    for fast in (True, False):
        with pure() if not fast else nullcontext():
            hot = await HotSite(fast=fast).start()
            rule = hot.state.policy.rule_numbers["staff-db"]
            sent = packet_in(rule, 1, 4, LAPTOP.port, LAPTOP.udp(DB1, 1000, 53))
            with hot.channels["s1"].watch() as near, hot.channels["s2"].watch() as far:
                hot.told += [near, far]
                hot.feed("s1", sent)
                rules = [one for one in messages(hot.sinks["s1"].written) if one[1] == 14 and one[24] == 3]
                hot.feed("s1", b"".join(flow_removed(one, 0, 1, 60) for one in rules))
            assert not fast or hot.fast.taken == 1
            assert len(near._flows) == len(far._flows) == 2
            views.append(hot.view())
    assert views[0] == views[1]


async def test_a_turn_that_ends_with_a_packet_that_is_not_plain_ends() -> None:
    """The plain ones before it have used up the turn: more that wait have the next one, and the loop goes on."""
    hot = await HotSite(fast=True).start()
    link = hot.channels["s1"]
    rule = hot.state.policy.rule_numbers["staff-web"]
    link._intake._limits = TurnLimits(packets=1, seconds=3600.0)
    link._intake.hold()
    for place in range(9):
        frame = LAPTOP.tcp(WEB1, 1000 + place, 443, SYN if place % 3 != 1 else ACK)
        link.data_received(packet_in(rule, 1, 3, LAPTOP.port, frame))
    assert len(link._intake) == 9
    link._intake.release()
    for turns in range(9):
        if not len(link._intake):
            break
        await asyncio.sleep(0)
        assert len(link._intake) < 9 - turns
    assert not len(link._intake)
    assert hot.state.counters["allowed"] == 6


async def test_a_flood_waits_behind_its_share_of_a_read_and_others_in_it_do_not() -> None:
    """32 plain packets of a port are taken; a packet of another port behind three hundred is before the rest."""
    hot = await HotSite(fast=True).start()
    link, sink = hot.channels["s1"], hot.sinks["s1"]
    rule = hot.state.policy.rule_numbers["staff-web"]
    flood = [packet_in(rule, 1, 3, LAPTOP.port, LAPTOP.tcp(WEB1, 1000 + place, 443)) for place in range(300)]
    other = packet_in(rule, 2, 3, PHONE.port, PHONE.tcp(WEB1, 1000, 443))
    link._intake._limits = TurnLimits(seconds=3600.0, later=3600.0)
    link.data_received(b"".join([*flood, other]))
    assert hot.state.counters["allowed"] == SHARE + 1
    assert len(link._intake) == 300 - SHARE
    link.data_received(flood[0] + packet_in(rule, 2, 3, PHONE.port, PHONE.tcp(WEB1, 1001, 443)))
    assert hot.state.counters["allowed"] == SHARE + 2
    assert len(link._intake) == 300 - SHARE + 1
    for _ in range(10):
        await asyncio.sleep(0)
    assert not len(link._intake)
    assert hot.state.counters["allowed"] == 302
    assert hot.fast.taken == 303
    assert sink.reading


async def test_ports_whose_numbers_are_alike_have_each_a_share_of_their_own() -> None:
    hot = await HotSite(fast=True).start()
    rule = hot.state.policy.rule_numbers["staff-web"]
    flood = [packet_in(rule, 1, 3, 2 + 1024, LAPTOP.tcp(WEB1, 1000 + place, 443)) for place in range(200)]
    few = [packet_in(rule, 2, 3, 2, PHONE.tcp(WEB1, 1000 + place, 443)) for place in range(5)]
    link = hot.channels["s1"]
    link.data_received(b"".join([*flood, *few]))
    assert hot.state.counters["allowed"] == SHARE + len(few)
    assert len(link._intake) == 200 - SHARE


async def test_a_share_is_one_of_all_that_is_read_whatever_comes_in_between() -> None:
    hot = await HotSite(fast=True).start()
    rule = hot.state.policy.rule_numbers["staff-web"]
    flood = [packet_in(rule, 1, 3, LAPTOP.port, LAPTOP.tcp(WEB1, 1000 + place, 443)) for place in range(200)]
    odd = packet_in(rule, 2, 3, PHONE.port, b"odd")
    hot.channels["s1"].data_received(b"".join([*flood[:20], odd, *flood[20:]]))
    assert hot.state.counters["allowed"] == SHARE
    assert hot.fast.taken == SHARE
    assert len(hot.channels["s1"]._intake) == 200 - SHARE


async def test_a_switch_that_names_more_ports_than_there_are_has_them_wait_behind_others() -> None:
    """Of the ports for which there is no place any more each packet is the last of its share."""
    hot = await HotSite(fast=True).start()
    rule = hot.state.policy.rule_numbers["staff-web"]
    link = hot.channels["s1"]
    link._intake._limits = TurnLimits(packets=256, seconds=3600.0, later=3600.0)
    ports = [place * 1024 for place in range(3100)]
    twice = [[packet_in(rule, 1, 3, port, LAPTOP.tcp(WEB1, sport, 443)) for port in ports] for sport in (1000, 1001)]
    link.data_received(b"".join(twice[0] + twice[1]))
    assert len(link._intake) == 3100 - 3072
    while link._intake:
        link._intake._another_turn()
    assert hot.fast.taken == 6200


WITHOUT = POLICY.replace("id: strong", "id: stronger").replace("services: [tcp/53]", "services: [tcp/54]")
DENIED = POLICY + "  - {id: never, from: [staff], to: [web], services: [tcp/53], action: deny}\n"


def let_in(hot: HotSite, switch: str) -> int:
    """How many packets and per-flow rules were written to a switch."""
    written = messages(hot.sinks[switch].written)
    return sum(one[1] == 13 or (one[1] == 14 and one[24:26] == b"\3\0") for one in written)


def _less_proved(hot: HotSite) -> None:
    (proof,) = hot.state.sessions.by_number[1].session.proofs
    hot.site.admin.change_proof(1, proof, replace(proof, mfa_at=None), SessionEvent.CHANGED, "")


def _moved(hot: HotSite) -> None:
    (proof,) = hot.state.sessions.by_number[1].session.proofs
    endpoint = hot.site.endpoint(Host(6, LAPTOP.mac, LAPTOP.ip))
    hot.site.admin.end_session(1, SessionEvent.LOGOUT)
    hot.site.admin.start_session(endpoint.attachment, proof, endpoint.address, None)


def _limited(hot: HotSite, **limits: int) -> None:
    hot.state.limits = replace(hot.state.limits, **limits)


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (lambda hot: hot.site.admin.end_session(1, SessionEvent.LOGOUT), "session-ended"),
        (lambda hot: hot.site.admin.end_session(3, SessionEvent.LOGOUT), "session-ended"),
        (lambda hot: hot.site.admin.blocking.block("user:alice", "lost"), "session-ended"),
        (_moved, "session-ended"),
        (_less_proved, "condition-not-met"),
        (lambda hot: hot.use_policy(WITHOUT), "no-rule"),
        (lambda hot: hot.use_policy(DENIED), "deny-rule"),
        (lambda hot: _limited(hot, flows_per_session=1), "quota"),
        (lambda hot: _limited(hot, flows_per_switch=1), "table-full"),
    ],
    ids=["subject", "object", "block", "moved", "proof", "rule gone", "deny", "quota", "full"],
)
async def test_what_has_changed_is_seen_by_the_next_packet(happens: Any, reason: str) -> None:
    hot = await HotSite(fast=True).start()
    rule = hot.state.policy.rule_numbers["strong"]
    hot.feed("s1", packet_in(rule, 1, 3, LAPTOP.port, LAPTOP.tcp(WEB1, 1000, 53)))
    assert (hot.fast.taken, hot.state.counters["allowed"]) == (1, 1)
    changing = happens(hot)
    if asyncio.iscoroutine(changing):
        await changing
    before = let_in(hot, "s1")
    hot.feed("s1", packet_in(rule, 1, 3, LAPTOP.port, LAPTOP.tcp(WEB1, 1001, 53)))
    assert hot.state.counters["allowed"] == 1
    assert hot.state.counters[f"denied_{reason}"] == 1
    assert let_in(hot, "s1") == before >= 3


async def test_a_switch_that_is_not_right_yet_gets_no_flow_by_the_next_packet() -> None:
    hot = await HotSite(fast=True).start()
    rule = hot.state.policy.rule_numbers["staff-db"]
    hot.feed("s1", packet_in(rule, 1, 4, LAPTOP.port, LAPTOP.tcp(DB1, 1000, 443)))
    assert (hot.fast.taken, hot.state.counters["allowed"]) == (1, 1)
    hot.state.fabric.by_name["s2"].ready = False
    before = let_in(hot, "s2")
    hot.feed("s1", packet_in(rule, 1, 4, LAPTOP.port, LAPTOP.tcp(DB1, 1001, 443)))
    assert hot.state.counters["denied_switch-away"] == 1
    assert let_in(hot, "s2") == before == 3
