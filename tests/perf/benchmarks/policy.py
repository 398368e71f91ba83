"""`./run bench policy`: what a change of the policy means, beside asking for every pair of segments and every service.

The peer asks the policy engine about a member of each segment, with a second factor and without, for every port at
which a rule of either policy begins or ends. It sees neither time windows nor other conditions, of which there are none
here for that reason, nor anybody who could be in a segment in another way: the comparison is in its favour.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from lab.errors import LabError
from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from zethane.policy.compile import compile_policy
from zethane.policy.decide import decide
from zethane.policy.diff import diff
from zethane.policy.lint import lint
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import Principal
from zethane.policy.service import PROTOCOLS

NOW = 1_795_600_000.0
"""2026-11-25: no figure depends on it."""

Size = tuple[int, int]
"""Rules and segments."""

SIZES: tuple[Size, ...] = ((25, 5), (50, 10), (100, 20))
LARGE: Size = (10_000, 1_000)

Pairs = set[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class PolicyLoad:
    """How large the policies are: those that both sides compare, and that which only one can."""

    sizes: tuple[Size, ...] = SIZES
    large: Size = LARGE


def generated(size: Size, seed: int) -> dict[str, Any]:
    """A policy as plain values: mostly between a few segments each, some guard rails from or to any."""
    count, segments = size
    chance = random.Random(seed)  # noqa: S311 - a benchmark's load, the same for the same seed
    names = [f"s{number}" for number in range(segments)]
    rules = []
    for number in range(count):
        kind = chance.random()
        rule: dict[str, Any] = {
            "id": f"r{number}",
            "from": ["any"] if kind < 0.02 else chance.sample(names, chance.choice((1, 1, 2, 3))),
            "to": ["any"] if kind > 0.99 else chance.sample(names, chance.choice((1, 1, 2))),
            "services": [f"tcp/{chance.randrange(1, 3000)}"],
            "action": "deny" if chance.random() < 0.03 else "allow",
        }
        if chance.random() < 0.3:
            low = chance.randrange(1, 1000)
            rule["services"].append(f"udp/{low}-{low + 50}")
        if chance.random() < 0.2 and rule["from"] != ["any"]:
            rule["when"] = {"mfa": True}
        rules.append(rule)
    return {"version": 1, "segments": {name: {"labels": {"segment": name}} for name in names}, "rules": rules}


def rewritten(file: Mapping[str, Any]) -> dict[str, Any]:
    """The same in other words: a rule for each target, in another order."""
    rules = [
        {**rule, "id": f"{rule['id']}-{number}", "to": [target]}
        for rule in file["rules"]
        for number, target in enumerate(rule["to"])
    ]
    random.Random(1).shuffle(rules)  # noqa: S311 - see above
    return {**file, "rules": rules}


def edited(file: Mapping[str, Any]) -> dict[str, Any]:
    """The same in other words, without its first five rules and with two for any segment."""
    guards = [
        {"id": "no-telnet", "from": ["any"], "to": ["any"], "services": ["tcp/20-30"], "action": "deny"},
        {"id": "ping", "from": ["any"], "to": ["any"], "services": ["icmp"]},
    ]
    return rewritten({**file, "rules": [*file["rules"][5:], *guards]})


def read(file: Mapping[str, Any]) -> Policy:
    """The policy that plain values stand for."""
    return parse_policy(json.dumps(file), "policy.yaml")


def pairwise(old: Policy, new: Policy) -> Pairs:
    """The pairs of segments between which something changes, found by asking about everything."""
    members = [
        (name, factor, Principal("user", name, labels=(("segment", name),), mfa=factor, mfa_at=NOW if factor else None))
        for name in old.segments
        for factor in (False, True)
    ]
    probes = list(_probes(old, new))
    return {
        (source, target)
        for source, _, subject in members
        for target, factor, other in members
        if not factor
        for probe in probes
        if decide(old, subject, other, *probe, NOW).allowed != decide(new, subject, other, *probe, NOW).allowed
    }


def _probes(*policies: Policy) -> Iterator[tuple[int, int]]:
    yield from ((PROTOCOLS["icmp"][0], 0), (253, 0))
    services = {service for policy in policies for rule in policy.rules for service in rule.services}
    for proto in ("tcp", "udp", "sctp"):
        about = [service for service in services if service.proto == proto]
        ports = {0, *(one.low for one in about), *(one.high + 1 for one in about)}
        yield from ((PROTOCOLS[proto][0], port) for port in sorted(ports) if port <= 65535)


def by_meaning(old: Policy, new: Policy) -> Pairs:
    """The same, by `policy diff`."""
    found = diff(old, new, NOW)
    pairs: Pairs = set()
    for change in (*found.gained, *found.lost):
        ends = [old.segments if names == ("any",) else names for names in (change.sources, change.targets)]
        pairs.update((source, target) for source in ends[0] for target in ends[1])
    return pairs


def _timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


@registered
class PolicyChanges(Benchmark):
    """A change of a policy, found by its meaning and pair by pair, for policies of some sizes."""

    name = "policy"
    title = "policy diff: by meaning, and by asking about every pair of segments and every service"
    sides: ClassVar = {"zethane": "Zethane", "pairwise": "pair by pair"}
    pairs = (("pairwise", "zethane"),)

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        load = _load(run)
        self._sizes = load.sizes
        self.parameters = {"sizes": [list(size) for size in load.sizes]}
        self.measures = tuple(
            Measure(_key(size), f"{size[0]:,} rules, {size[1]:,} segments", "ms") for size in load.sizes
        )

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Compare a policy of each size with an edited one. Raises LabError if it is not what the other side finds."""
        compare = by_meaning if side == "zethane" else pairwise
        taken = {}
        for size in self._sizes:
            file = generated(size, number)
            old, new = read(file), read(edited(file))
            found: list[Pairs] = []
            taken[_key(size)] = _timed(partial(_kept, found, compare, old, new))
            if side == "pairwise" and found[0] != by_meaning(old, new):
                raise LabError(f"{size[0]} rules, seed {number}: the two sides do not find the same change")
        return taken


@registered
class LargePolicy(Benchmark):
    """A policy that is too large for a comparison pair by pair, beside what reading it takes."""

    name = "policy-large"
    title = "a large policy: what is asked of it, beside what it takes to read one such file"
    sides: ClassVar = {"zethane": "Zethane", "reading": "reading the file"}
    pairs = (("zethane", "reading"),)

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        load = _load(run)
        self._size = load.large
        self.parameters = {"rules": load.large[0], "segments": load.large[1]}
        self.measures = (
            Measure("rewritten", "diff with the same in other words", "ms"),
            Measure("edited", "diff with an edited one", "ms"),
            Measure("other", "diff with another policy altogether", "ms"),
            Measure("check", "check: lint and compile", "ms"),
        )

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Ask for everything once, or read a file as often."""
        file = generated(self._size, number)
        if side == "reading":
            text = json.dumps(file)
            return {measure.key: _timed(lambda: parse_policy(text, "policy.yaml")) for measure in self.measures}
        policy = read(file)
        others = {
            "rewritten": read(rewritten(file)),
            "edited": read(edited(file)),
            "other": read(generated(self._size, number + 1000)),
        }
        taken = {key: _timed(partial(diff, policy, other, NOW)) for key, other in others.items()}
        return {**taken, "check": _timed(lambda: lint(policy, compile_policy(policy), (), (), ()))}


def _kept(found: list[Pairs], compare: Callable[[Policy, Policy], Pairs], old: Policy, new: Policy) -> None:
    found.append(compare(old, new))


def _load(run: Run) -> PolicyLoad:
    return PolicyLoad(((10, 4), (20, 5)), (50, 10)) if run.is_quick else PolicyLoad()


def _key(size: Size) -> str:
    return f"{size[0]}-rules"
