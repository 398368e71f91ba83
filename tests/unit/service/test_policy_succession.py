"""One policy after another: what is worked out from the policy before is what is worked out anew."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.frames import Host
from fakes.records import MemoryStore
from fakes.site import TWO_SWITCHES, Site
from strategies.policy import NOW, SEGMENTS, members, policy_files, read, rules
from zethane.audit.reason import SessionEvent
from zethane.errors import CapacityError
from zethane.net.flowkey import TCP, UDP
from zethane.pipeline.tables import Priority, Table
from zethane.policy import peers as peering
from zethane.policy import recompile as recompiling
from zethane.policy.entry import Compiled, SessionClass
from zethane.policy.principal import Principal
from zethane.service import presence
from zethane.service.intent import intended
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.policy_numbers import Ladder, Numbering, Priorities

File = dict[str, Any]

MOST = 6
"""Classes that are asked about."""

QUESTIONS = ((TCP, 443), (UDP, 53))

KINDS = ("add", "remove", "replace", "services", "action", "stage", "when", "ask", "ask", "share", "turn", "nothing")

ASKED = ({}, {"mfa": True}, {"aal": 2}, {"mfa": {"within": "600s"}}, {"device": True})
"""Few enough that rules often ask for the same."""


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, int, Any]:
    """What is done to one rule of a file."""
    kind, place, other = draw(st.sampled_from(KINDS)), draw(st.integers(0, 20)), draw(rules(expressions=True))
    return kind, place, draw(st.sampled_from(ASKED)) if kind == "ask" else other


def edited(file: File, edit: tuple[str, int, Any], number: int) -> File:
    """The file after an edit; as it was where the edit would make it one that is refused."""
    kind, place, other = edit
    new = copy.deepcopy(file)
    held = new["rules"]
    if kind == "add" or not held:
        held.insert(place % (len(held) + 1), {"id": f"{'abz'[place % 3]}{number}", **other})
    elif kind == "remove":
        del held[place % len(held)]
    elif kind == "replace":
        held[place % len(held)] = {"id": held[place % len(held)]["id"], **other}
    elif kind == "ask":
        held[place % len(held)]["when"] = other
    elif kind == "share":  # what another rule asks
        held[place % len(held)]["when"] = held[(place + 1) % len(held)].get("when", {})
    elif kind == "turn":
        rule = held[place % len(held)]
        rule["from"], rule["to"] = rule["to"], rule["from"]
    elif kind == "stage":
        held[place % len(held)]["stage"] = "audit" if place % 2 else "enforce"
    elif kind != "nothing":
        held[place % len(held)][kind] = other[kind]
    try:
        read(new)
    except Exception:  # noqa: BLE001  # more conditions than may be asked, or conditions of nobody
        return file
    return new


@st.composite
def chains(draw: st.DrawFn) -> list[File]:
    """A file, and what becomes of it edit by edit."""
    files = [draw(policy_files(4, expressions=True))]
    for number, edit in enumerate(draw(st.lists(edits(), min_size=1, max_size=3))):
        files.append(edited(files[-1], edit, number))
    return files


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(chains(), st.lists(members(), min_size=1, max_size=4), st.sampled_from((0, 3600, 20000)))
def test_what_follows_from_the_policy_before_is_what_is_compiled_anew(
    files: list[File], people: list[Principal], wait: int
) -> None:
    """Entries with their priorities, what is sent of them, verdicts, places, and who has to do with whom."""
    store, now = MemoryStore(), NOW
    in_force = PolicyInForce(read(files[0]), store, now)
    for file in files[1:]:
        now += wait
        before = in_force.as_of(now)
        _ask(before)
        _peers(before)
        numbering = Numbering(store)
        in_force = before.succeeded_by(read(file), numbering, now)
        numbering.keep()
        fresh = PolicyInForce(read(file), store, now)
        entries_before, entries = before.entries, in_force.entries
        assert entries == fresh.entries
        assert len(entries) == len(list(in_force.flows))
        removed, added = before.difference(in_force)
        gone = set(removed)
        held = {key: flow for key, flow in entries_before.items() if key not in gone}
        assert len(held) == len(entries_before) - len(removed)
        assert held | {flow.key: flow for flow in added} == entries
        assert not [flow for flow in added if entries_before.get(flow.key) == flow]
        assert in_force.classes.numbers == fresh.classes.numbers
        _assert_the_same(before, in_force)
        assert in_force.rule_numbers == fresh.rule_numbers
        assert in_force.rule_ids == fresh.rule_ids
        assert _ask(in_force) == _ask(fresh)
        _assert_peers(before, in_force, fresh)
        moving = before.moving(in_force)
        for one in people:
            place = in_force.place(one, now)
            assert place == fresh.place(one, now)
            assert place is not None
            if moving is not None and place.segment not in moving:
                assert place == before.place(one, now)
        concerned = in_force.concerned_after(before)
        if concerned is not None:
            earlier = _ask(before)
            for question, verdict in _ask(in_force).items():
                if question in earlier and not concerned(question[0], question[1]):
                    assert verdict == earlier[question]


def _assert_the_same(before: PolicyInForce, policy: PolicyInForce) -> None:
    """Classes that there are in both keep their numbers, and no number comes to stand for another class. Rules that
    ask for nothing and have not changed keep their entries."""
    numbers, earlier = policy.classes.numbers, before.classes.numbers
    again = {
        name
        for name, number in policy.classes.segments.items()
        if before.classes.segments.get(name) not in (None, number)
    }
    for one, number in numbers.items():
        assert before.classes.classes.get(number, one) == one
        if one in earlier and not (isinstance(one, SessionClass) and one.segment in again):
            assert earlier[one] == number
    if again or not before.policy.has_places_of(policy.policy):
        return
    differing = before.policy.differing(policy.policy) or []
    for name, compiled in policy.compiled.rules.items():
        if name not in differing and name in before.compiled.rules and not compiled.rule.is_conditional:
            assert compiled.entries == before.compiled.rules[name].entries


def _ask(policy: PolicyInForce) -> dict[tuple[int, int, int, int], Any]:
    """What it says of flows between some classes, without the rules themselves: their lines may be others."""
    classes = sorted(policy.classes.classes)
    some = classes[:: len(classes) // MOST + 1]
    found = {}
    for one in some:
        for other in some:
            for asked in QUESTIONS:
                verdict = policy.verdict(one, other, *asked)
                relations = tuple((rule.id, decided) for rule, decided in verdict.relations)
                found[(one, other, *asked)] = verdict._replace(relations=relations)  # type: ignore[arg-type]
    return found


def _peers(policy: PolicyInForce) -> dict[int, set[int]]:
    return {one: set(policy.classes.at(policy.classes.peers(one))) for one in policy.classes.classes}


def _assert_peers(before: PolicyInForce, policy: PolicyInForce, fresh: PolicyInForce) -> None:
    """Who has to do with whom is what it is of a policy compiled anew, whether everybody has been told of it or not.
    Where it is told that all is as before, it is; and whatever is other is about one of the classes that are named."""
    asked, same = _peers(policy), policy.classes.between.is_same
    assert asked == _peers(fresh)
    touched = policy.classes.touched_after(before.classes)
    if touched is None:
        return
    earlier = {
        before.classes.classes.get(number): {before.classes.classes.get(one) for one in found}
        for number, found in _peers(before).items()
    }
    now = {
        policy.classes.classes.get(number): {policy.classes.classes.get(one) for one in found}
        for number, found in asked.items()
    }
    named = {classes.classes.get(one) for one in touched for classes in (before.classes, policy.classes)}
    for one in {*earlier, *now}:
        differing = earlier.get(one, set()) ^ now.get(one, set())
        assert not (differing and same)
        assert one in named or differing <= named
    for number in set(before.classes.classes) ^ set(policy.classes.classes):
        assert number in touched


def _guard_rail(chance: random.Random, name: str) -> File:
    """A rule that is likely to be about any session at one end."""
    ends = [[chance.choice(SEGMENTS)], [chance.choice(SEGMENTS)]]
    if chance.random() < 0.5:
        ends[chance.randrange(2)] = ["any"]
    when = {"when": {"mfa": True}} if ends[0] != ["any"] and chance.random() < 0.3 else {}
    action = "deny" if chance.random() < 0.4 else "allow"
    low = chance.randrange(1, 4)
    services = [f"tcp/{low}-{low + chance.randrange(3)}"]
    return {"id": name, "from": ends[0], "to": ends[1], "services": services, "action": action, **when}


@pytest.mark.parametrize("seed", range(12))
def test_who_has_to_do_with_whom_where_rules_about_any_session_change(seed: int) -> None:
    chance, store = random.Random(seed), MemoryStore()  # noqa: S311 - the same for the same seed
    held = [_guard_rail(chance, f"r{number}") for number in range(8)]
    in_force = PolicyInForce(read(_file(*held)), store, NOW)
    for number in range(12):
        held = list(held)
        what = chance.randrange(3)
        place = chance.randrange(len(held)) if held else 0
        if what == 0 or not held:
            held.append(_guard_rail(chance, f"n{number}"))
        elif what == 1:
            del held[place]
        else:
            held[place] = _guard_rail(chance, held[place]["id"])
        before = in_force
        _peers(before)
        in_force = succeeded(before, _file(*held), store)
        fresh = PolicyInForce(read(_file(*held)), store, NOW)
        _assert_peers(before, in_force, fresh)
        if chance.random() < 0.3:
            in_force.classes.between.tell_all()
            assert not in_force.classes.between.has_untold
            assert _peers(in_force) == _peers(fresh)


def test_a_class_that_is_new_has_to_do_with_whom_any_session_may_reach() -> None:
    store = MemoryStore()
    first, *_ = SEGMENTS
    last = SEGMENTS[-1]
    guard, one = _rule("guard", "any", last), _rule("one", first, first, "tcp/22")
    before = PolicyInForce(read(_file(guard, one)), store, NOW)
    _peers(before)
    file = _file(guard, {**one, "when": {"mfa": True}})
    after = succeeded(before, file, store)
    assert before.moving(after) == {first}
    _assert_peers(before, after, PolicyInForce(read(file), store, NOW))


def test_a_condition_that_enters_changes_only_what_is_about_those_who_meet_it() -> None:
    """The classes of all others keep their numbers, and rules about whole segments their entries."""
    store = MemoryStore()
    plain = [_rule(f"r{number}", "app", "db", f"tcp/{number + 1}") for number in range(20)]
    asking, one = _rule("asking", "app", "web", when={"mfa": True}), _rule("one", "app", "web", "tcp/22")
    before = PolicyInForce(read(_file(*plain, asking, one)), store, NOW)
    _peers(before)
    file = _file(*plain, asking, {**one, "when": {"aal": 2}})
    after = succeeded(before, file, store)
    fresh = PolicyInForce(read(file), store, NOW)
    assert after.entries == fresh.entries
    _assert_peers(before, after, fresh)
    removed, added = before.difference(after)
    assert {flow.source for flow in added} == {"asking", "one"}
    kept = {one: number for one, number in before.classes.numbers.items() if after.classes.numbers.get(one) == number}
    assert kept == dict(before.classes.numbers)
    taken_over = {id(flow) for flow in before.flows} & {id(flow) for flow in after.flows}
    assert {flow.key for flow in after.flows if id(flow) in taken_over} >= before.entries.keys() - set(removed)
    back = succeeded(after, _file(*plain, asking, one), store)
    assert back.entries == before.entries
    assert back.classes.numbers == before.classes.numbers
    gone, come = after.difference(back)
    assert {flow.key for flow in added} == set(gone)
    assert {flow.key for flow in come} == set(removed)


def test_only_what_is_not_shared_is_let_go_of() -> None:
    """Of a policy that another one follows the entries of what has changed; all of one that was compiled as a whole."""
    store = MemoryStore()
    many = [_rule(f"r{number}", "app", "db", f"tcp/{number}") for number in range(1, 100)]
    before = PolicyInForce(read(_file(*many)), store, NOW)
    after = succeeded(before, _file(_rule("r1", "app", "web"), *many[1:]), store)
    assert {part.rule.id for part in before.parts(after) if isinstance(part, Compiled)} == {"r1"}
    assert len(list(before.parts(after))) == 4  # the rule, entries of the pair, and those of both on switches
    whole = PolicyInForce(read(_file(_rule("r1", "app", "web"), *many[1:])), store, NOW)
    assert sum(isinstance(part, Compiled) for part in before.parts(whole)) == len(many)


def test_a_bit_never_comes_to_stand_for_another_condition() -> None:
    """Where a segment has had more conditions than there are bits, it has another number."""
    store, meant = MemoryStore(), dict[int, SessionClass]()
    names, numbers = {}, set()
    policy: PolicyInForce | None = None
    for number in [*range(20), *range(20)]:
        file = _file(
            _rule("plain", "app", "db", "tcp/80"),
            _rule("object", "web", "app", "tcp/81"),
            _rule("asking", "app", "db", "tcp/22", when={"mfa": {"within": f"{number + 1}m"}}),
        )
        policy = PolicyInForce(read(file), store, NOW) if policy is None else succeeded(policy, file, store)
        fresh = PolicyInForce(read(file), store, NOW)
        assert policy.entries == fresh.entries
        assert policy.classes.numbers == fresh.classes.numbers
        for one, given_number in policy.classes.numbers.items():
            assert isinstance(one, SessionClass)
            assert not one.held or meant.setdefault(given_number, one) == one
        names[number] = names.get(number, policy.classes.segments["app"])
        assert names[number] == policy.classes.segments["app"]
        numbers.add(policy.classes.segments["app"])
        assert {policy.classes.segments[name] for name in ("web", "db")} == {
            fresh.classes.segments[name] for name in ("web", "db")
        }
    assert len(numbers) == 4
    assert len(store.numbers("standing")) == 20 + len(numbers)


def test_bits_that_another_has_kept_meanwhile_are_not_given_out_twice() -> None:
    store = MemoryStore()
    policy = PolicyInForce(read(_file(_rule("one", "app", "db"))), store, NOW)
    first, second = Numbering(store), Numbering(store)
    policy.succeeded_by(read(_file(_rule("one", "app", "db", when={"mfa": True}))), first, NOW)
    policy.succeeded_by(read(_file(_rule("one", "app", "db", when={"aal": 2}))), second, NOW)
    assert first.fits()
    first.keep()
    assert first.fits()
    assert not second.fits()


def _file(*held: File) -> File:
    return {
        "version": 1,
        "segments": {name: {"labels": {"segment": name}} for name in SEGMENTS},
        "rules": list(held),
    }


def _rule(name: str, source: str, target: str, *services: str, **more: Any) -> File:
    return {"id": name, "from": [source], "to": [target], "services": list(services or ("tcp/80",)), **more}


def succeeded(before: PolicyInForce, file: File, store: MemoryStore) -> PolicyInForce:
    """The policy of a file after another."""
    numbering = Numbering(store)
    new = before.succeeded_by(read(file), numbering, NOW)
    numbering.keep()
    return new


def test_a_rule_more_is_its_own_entries_and_moves_no_other() -> None:
    store = MemoryStore()
    many = [_rule(f"r{number:04}", "app", "db", f"tcp/{number}") for number in range(1, 1000)]
    before = PolicyInForce(read(_file(*many)), store, NOW)
    new = succeeded(before, _file(*many[:500], _rule("r0500a", "web", "db"), *many[500:]), store)
    removed, added = before.difference(new)
    assert removed == []
    assert {flow.source for flow in added} == {"r0500a"}
    ordered = {flow.source: flow.priority for flow in new.flows if flow.priority < Priority.RULE_ALLOW_TOP}
    assert sorted(ordered, key=lambda rule: -ordered[rule]) == sorted(ordered)


def test_a_restart_moves_nothing() -> None:
    """Wherever rules have come between others before."""
    store = MemoryStore()
    file = _file(_rule("b", "app", "db"), _rule("d", "web", "db"))
    policy = PolicyInForce(read(file), store, NOW)
    for name in ("c", "a", "e", "bb"):
        file["rules"].append(_rule(name, "app", "web", action="deny" if name == "c" else "allow"))
        policy = succeeded(policy, file, store)
    file["rules"].pop(0)
    policy = succeeded(policy, file, store)
    assert PolicyInForce(read(file), store, NOW).entries == policy.entries
    assert "b" not in store.numbers("priority")


def test_verdicts_that_cannot_have_changed_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    file = _file(_rule("one", "app", "db"), _rule("two", "web", "db"))
    before = PolicyInForce(read(file), store, NOW)
    (app,), (web,), (db,) = ([number for one, number in before.classes.numbers.items() if one.segment == name]  # type: ignore[union-attr]
                             for name in ("app", "web", "db"))  # fmt: skip
    kept, asked = before.verdict(app, db, TCP, 80), before.verdict(web, db, TCP, 80)
    file["rules"][1]["services"] = ["tcp/81"]
    new = succeeded(before, file, store)
    monkeypatch.setattr(PolicyInForce, "_decide", lambda *_: None)
    assert new.verdict(app, db, TCP, 80) is kept
    assert asked.allowed
    assert new.verdict(web, db, TCP, 80) is None


def test_what_cannot_be_told_from_rules_alone_is_compiled_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    file = _file(_rule("one", "app", "db"))
    before = PolicyInForce(read(file), store, NOW)
    other = copy.deepcopy(file)
    other["segments"]["more"] = {"groups": ["more"]}
    assert recompiling.recompile(before.compiled, before.policy, read(other)) is None
    assert succeeded(before, other, store).entries == PolicyInForce(read(other), store, NOW).entries
    everybody = _file(*file["rules"], {**_rule("all", "any", "db"), "when": {"mfa": True}})
    assert recompiling.recompile(before.compiled, before.policy, read(everybody)) is None
    monkeypatch.setattr(recompiling, "MAX_CHANGED", 1)
    two = _file(_rule("one", "app", "web"), _rule("two", "web", "app"))
    assert recompiling.recompile(before.compiled, before.policy, read(two)) is None


def test_what_moves_in_its_file_alone_is_the_same() -> None:
    """A line more above, and rules in another order."""
    store = MemoryStore()
    file = _file(_rule("one", "app", "db"), _rule("two", "web", "db"))
    before = PolicyInForce(read(file), store, NOW)
    new = succeeded(before, _file(*reversed(file["rules"])), store)
    assert before.difference(new) == ([], [])
    assert before.moving(new) == frozenset()


# priorities


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=60), st.integers(61, 200))
def test_priorities_follow_ids_whatever_comes_and_goes(steps: list[tuple[bool, int]], size: int) -> None:
    """All are different, within the band, and in the order of the ids; those that have not changed are as they were."""
    ladder = Ladder(1000 + size, 1000, {})
    for adds, number in steps:
        name, before = f"r{number:02}", dict(ladder.at)
        if adds:
            changed = ladder.add([name])
        elif name in ladder.at:
            ladder.remove(name)
            changed = {}
            before.pop(name)
        else:
            continue
        ordered = [ladder.at[one] for one in sorted(ladder.at)]
        assert ordered == sorted(set(ordered), reverse=True)
        assert all(1000 <= one <= 1000 + size for one in ordered)
        assert {one: priority for one, priority in ladder.at.items() if before.get(one) != priority} == changed


def test_a_full_band_is_refused() -> None:
    ladder = Ladder(10, 1, {})
    ladder.add(map(str, range(10)))
    assert sorted(ladder.at.values()) == list(range(1, 11))
    with pytest.raises(CapacityError):
        ladder.add(["one more"])


def test_priorities_that_are_out_of_order_are_given_anew() -> None:
    """What is kept may be damaged, or of a rule that has another action now."""
    priorities, changed = Priorities.of({"a": True, "b": True, "c": False}, {"a": 2000, "b": 3000, "c": 2500})
    assert changed.keys() == {"a", "b", "c"}
    assert priorities[True, "a"] > priorities[True, "b"]
    assert priorities[False, "c"] > Priority.RULE_ALLOW_TOP


# on switches

HOSTS = tuple(
    (Host(2 + index, f"02:00:00:00:00:{17 + index:02x}", f"10.0.0.{2 + index}"), switch)
    for index, switch in enumerate(("s1", "s1", "s2", "s2"))
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(chains(), st.lists(members(), min_size=4, max_size=4))
async def test_switches_hold_what_they_should_after_each_change(files: list[File], people: list[Principal]) -> None:
    """Entries, and bindings of sessions wherever somebody is that they may have to do with."""
    site = Site(TWO_SWITCHES)
    site.now = NOW
    await site.start()
    await site.admin.use_policy(read(files[0]))
    for number, ((host, switch), principal) in enumerate(zip(HOSTS, people, strict=True)):
        site.login(host, Principal("user", f"{principal.name}{number}", principal.groups, principal.labels), switch)
    for file in files[1:]:
        await site.admin.use_policy(read(file))
        await site.settle()
        for name, switch_at in site.switches.items():
            held = {key: flow for key, flow in switch_at.tables.items() if key[0] != Table.FLOW or flow.priority != 200}
            wanted = intended(site.state, site.state.fabric.points[switch_at.dpid])
            assert held.keys() == wanted.keys(), name
            assert all(held[key].body == flow.body for key, flow in wanted.items())
        for live in site.state.sessions:
            standing = site.state.policy.place(live.session.principal, site.now)
            assert standing is not None
            assert (live.session.segment, live.session_class) == (standing.segment, standing.session_class)


ENDS = ("any", *SEGMENTS)

SESSION_STEPS = ("start", "prove", "lapse", "end", "tick")


@st.composite
def guard_rails(draw: st.DrawFn, name: str) -> File:
    """A rule that is often about any session, and often asks something of its subjects."""
    source, target = draw(st.sampled_from(ENDS)), draw(st.sampled_from(ENDS))
    asked = draw(st.sampled_from(({}, {}, {"mfa": True}, {"aal": 2}))) if source != "any" else {}
    when = {"when": asked} if asked else {}
    return _rule(
        name, source, target, f"tcp/{draw(st.integers(1, 2))}", action=draw(st.sampled_from(("allow", "deny"))), **when
    )


@st.composite
def rules_and_sessions(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """A policy, and what becomes of it and of sessions, step by step."""
    held = [draw(guard_rails(f"r{number}")) for number in range(draw(st.integers(1, 6)))]
    steps: list[tuple[str, Any]] = [("policy", _file(*held))]
    for number in range(draw(st.integers(4, 14))):
        kind = draw(st.sampled_from(("policy", "policy", *SESSION_STEPS)))
        if kind != "policy":
            steps.append((kind, draw(st.integers(0, len(HOSTS) - 1))))
            continue
        held = list(held)
        place = draw(st.integers(0, len(held)))
        if place == len(held):
            held.append(draw(guard_rails(f"n{number}")))
        elif draw(st.booleans()):
            held[place] = draw(guard_rails(held[place]["id"]))
        elif len(held) > 1:
            del held[place]
        steps.append(("policy", _file(*held)))
    return steps


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(rules_and_sessions(), st.sampled_from((0, 3, 64)), st.sampled_from((0, 64)))
async def test_sessions_are_bound_where_somebody_may_have_to_do_with_them_whatever_comes_and_goes(
    steps: list[tuple[str, Any]], untold: int, few: int
) -> None:
    """Conditions, rules about any session, sessions and their factors: what is kept of who has to do with whom, and
    what is worked out of what has changed alone, is what is found when all is counted anew."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(peering, "MAX_UNTOLD", untold)
        patched.setattr(presence, "FEW", few)
        site = Site(TWO_SWITCHES)
        site.now = NOW
        await site.start()
        for kind, what in steps:
            if kind == "policy":
                await site.admin.use_policy(read(what))
            elif kind == "tick":
                site.admin.tick(site.now)
            else:
                _session_step(site, kind, *HOSTS[what], SEGMENTS[what % len(SEGMENTS)])
            await site.settle()
            assert kind != "tick" or not site.state.policy.classes.between.has_untold
            _assert_bound(site)


def _session_step(site: Site, kind: str, host: Host, switch: str, segment: str) -> None:
    """Something becomes of the session of a host, if that may be."""
    live = site.state.sessions.at(site.endpoint(host, switch).attachment)
    if live is None:
        if kind == "start":
            site.login(host, Principal("workload", f"w{host.ip}", labels=(("segment", segment),)), switch)
        return
    (proof,) = live.session.proofs
    if kind == "end":
        site.admin.end_session(live.session.number, SessionEvent.LOGOUT)
    elif kind != "start":
        amr, aal, moment = (("pwd", "otp"), 2, site.now) if kind == "prove" else (("pwd",), 1, None)
        changed = replace(proof, amr=amr, aal=aal, mfa_at=moment)
        site.admin.change_proof(live.session.number, proof, changed, SessionEvent.REAUTHENTICATED, "")


def _assert_bound(site: Site) -> None:
    state, policy = site.state, site.state.policy
    fresh = PolicyInForce(policy.policy, MemoryStore(), site.now)
    named = {
        one: {fresh.classes.classes.get(other) for other in fresh.classes.at(fresh.classes.peers(number))}
        for one, number in fresh.classes.numbers.items()
    }
    for live in state.sessions:
        standing = policy.place(live.session.principal, site.now)
        assert standing is not None
        assert (live.session.segment, live.session_class) == (standing.segment, standing.session_class)
    for segment in SEGMENTS:
        found = {live.session.number for live in state.sessions.in_segments((segment,))}
        assert found == {live.session.number for live in state.sessions if live.session.segment == segment}
    for point in state.fabric.points.values():
        wanted = policy.classes.at(point.wanted)
        here = [policy.classes.classes[number] for number in point.classes if number in policy.classes.classes]
        expected = set[Any]().union(*(named[one] for one in here))
        assert {policy.classes.classes.get(number) for number in wanted} - {None} == expected - {None}
        assert point.local == {one.session.number for one in state.sessions if state.point_of(one) is point}
        assert point.remote == {
            one.session.number
            for one in state.sessions
            if state.point_of(one) is not point and policy.classes.classes[one.session_class] in expected
        }
        held = {key: flow for key, flow in site.switches[point.switch.name].tables.items()
                if key[0] != Table.FLOW or flow.priority != 200}  # fmt: skip
        intention = intended(state, point)
        assert held.keys() == intention.keys()
        assert all(held[key].body == flow.body for key, flow in intention.items())
