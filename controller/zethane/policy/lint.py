"""What is not wrong in a policy but probably not meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from zethane.errors import Problem
from zethane.net.prefix import Prefix, within
from zethane.policy.compile import CompiledPolicy
from zethane.policy.condition import Condition
from zethane.policy.entry import End, Entry, NetworkClass, SessionClass
from zethane.policy.expression import compiled as expression_of
from zethane.policy.implication import implied
from zethane.policy.model import ANY, Policy, Rule
from zethane.policy.principal import DeviceFacts, Principal
from zethane.policy.service import Service, covered, simplify

MAX_AAL = 3
"""The highest assurance level: it takes more than one factor (NIST SP 800-63B §4.3)."""

WITHOUT_FACTOR = Condition(mfa=False)
"""The one condition that a deny is often meant to have: proving more lifts it."""

_Index = dict[str, list[Rule]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark.

    `code` names its kind: dead-rule, covered-rule, repeated-service, empty-segment, shared-vlan, open-rule,
    lapsing-deny, staged-rule, staged-policy, verified-grant, unreachable-network or timed-test.
    """

    code: str
    problem: Problem

    def __str__(self) -> str:
        return f"{self.problem} [{self.code}]"


def lint(
    policy: Policy,
    compiled: CompiledPolicy,
    population: Iterable[Principal],
    outside: Sequence[Prefix] | None = None,
    devices: Iterable[DeviceFacts] | None = None,
) -> tuple[Finding, ...]:
    """Every remark, by line.

    `population` is everybody who can have a session; who has a second factor at hand is in it with `mfa` set, and users
    can all get one at the portal. `outside` is what uplinks lead to, and `devices` are those that can prove themselves,
    where that is known.
    """
    people = list(population)
    found = [
        *_empty_segments(policy, people),
        *_shared_vlans(policy),
        *_dead_rules(policy, compiled, people),
        *_unmeetable_conditions(policy, None if devices is None else list(devices)),
        *_missing_attributes(policy, people),
        *_lapsing_denies(policy),
        *_covered_rules(policy),
        *_repeated_services(policy),
        *_open_rules(policy),
        *_staged(policy),
        *_verified_grants(policy),
        *(_unreachable_networks(policy, outside) if outside is not None else ()),
    ]
    return tuple(sorted(found, key=lambda finding: (finding.problem.line or 0, finding.code, finding.problem.message)))


def _finding(policy: Policy, code: str, message: str, line: int, column: int, key: str) -> Finding:
    return Finding(code, Problem(policy.file, message, line, column, key))


def _about_rule(policy: Policy, code: str, rule: Rule, message: str) -> Finding:
    return _finding(policy, code, message, rule.line, rule.column, f"rule {rule.id}")


def _empty_segments(policy: Policy, people: Sequence[Principal]) -> Iterator[Finding]:
    inhabited = {name for principal in people for name in policy.segments_of(principal)}
    for name, segment in policy.segments.items():
        if name not in inhabited:
            message = f"nobody can be in this segment: no identity has {segment}"
            yield _finding(policy, "empty-segment", message, segment.line, segment.column, f"segments.{name}")


def _shared_vlans(policy: Policy) -> Iterator[Finding]:
    """Two segments may have one VLAN, and must not rely on the policy where both are behind one legacy switch."""
    first: dict[int, str] = {}
    for name, segment in policy.segments.items():
        if segment.vlan in first:
            message = (
                f"is in VLAN {segment.vlan} as {first[segment.vlan]} is: behind one legacy switch "
                "their sessions reach each other without passing Zethane"
            )
            yield _finding(policy, "shared-vlan", message, segment.line, segment.column, f"segments.{name}")
        elif segment.vlan:
            first[segment.vlan] = name


def _dead_rules(policy: Policy, compiled: CompiledPolicy, people: Sequence[Principal]) -> Iterator[Finding]:
    """Allow rules that denies take everything from, and rules whose parties nobody can be."""
    segments, with_factor = set[str](), set[str]()
    for one in people:
        names = policy.segments_of(one)
        segments.update(names)
        if one.mfa or one.kind == "user":
            with_factor.update(names)
    for rule in policy.rules:
        asked = rule.condition.mfa
        if not rule.source_networks and not _inhabited(rule.sources, with_factor if asked else segments):
            factor = {True: " with a second factor", False: " without a second factor", None: ""}[asked]
            message = f"can never match: nobody can be in {rule.source_text}{factor}"
            yield _about_rule(policy, "dead-rule", rule, message)
        elif not rule.target_networks and not _inhabited(rule.targets, segments):
            message = f"can never match: nobody can be in {rule.target_text}"
            yield _about_rule(policy, "dead-rule", rule, message)
        elif (
            rule.allow
            and rule.stage == "enforce"
            and all(_denied(compiled, entry) for entry in compiled.rules[rule.id].entries)
        ):
            yield _about_rule(policy, "dead-rule", rule, "can never match: deny rules cover all of it")


def _inhabited(names: Sequence[str], segments: set[str]) -> bool:
    """Whether there can be somebody in one of the named segments."""
    return bool(segments) if ANY in names else not segments.isdisjoint(names)


def _unmeetable_conditions(policy: Policy, devices: Sequence[DeviceFacts] | None) -> Iterator[Finding]:
    """Conditions that contradict themselves, and those that ask for a device that nobody has."""
    for rule in policy.rules:
        condition = rule.condition
        if condition.mfa is False and condition.aal == MAX_AAL:
            message = f"can never match: assurance level {MAX_AAL} is not proved without a second factor"
            yield _about_rule(policy, "dead-rule", rule, message)
        if devices is None or not (condition.device or condition.posture):
            continue
        wanted = Condition(device=True, device_labels=condition.device_labels, device_groups=condition.device_groups)
        if not any(wanted.holds(Principal("device", one.name, device=one), 0.0) for one in devices):
            message = f"can never match: no device of the identities fits {wanted}"
            yield _about_rule(policy, "dead-rule", rule, message)


def _missing_attributes(policy: Policy, people: Sequence[Principal]) -> Iterator[Finding]:
    """Rules that ask one side for labels or groups that nobody there has."""
    members: dict[str, list[Principal]] = {}
    for rule in policy.rules:
        sides = (
            (rule.sources, rule.source_text, rule.condition),
            (rule.targets, rule.target_text, rule.object_condition),
        )
        for names, text, asked in sides:
            wanted = Condition(labels=asked.labels, groups=asked.groups)
            if not wanted:
                continue
            if not members:
                members = {name: [] for name in policy.segments}
                for one in people:
                    for name in policy.segments_of(one):
                        members[name].append(one)
            there = [one for name in (members if ANY in names else names) for one in members[name]]
            if there and not any(wanted.holds(one, 0.0) for one in there):
                message = f"can never match: nobody in {text} has {wanted}"
                yield _about_rule(policy, "dead-rule", rule, message)


def _lapsing_denies(policy: Policy) -> Iterator[Finding]:
    """A deny that only holds for who has proved something is got round by proving less, or by waiting."""
    for rule in policy.rules:
        if not rule.allow and _rests_on_proof(rule):
            what = rule.condition or rule.expression
            message = f"denies only where this holds: {what}; who proves less, or whose proof ages, is let by"
            yield _about_rule(policy, "lapsing-deny", rule, message)
        for whose, asked in (("the subject", rule.condition), ("the object", rule.object_condition)):
            if not rule.allow and asked.networks:
                where = " or ".join(map(str, asked.networks))
                message = (
                    f"denies only where {whose} has an address in {where}; with another of its addresses it is let by"
                )
                yield _about_rule(policy, "lapsing-deny", rule, message)


def _rests_on_proof(rule: Rule) -> bool:
    """Whether a rule asks the subject for a proof, and not only for what it is. An expression that lacks something has
    no answer then, and denies; but for the session's own facts, which are always there."""
    asked = rule.condition
    proof = replace(asked, labels=(), groups=frozenset(), networks=(), expression=None, or_error=False)
    texts = [text for text in (asked.expression, rule.expression) if text is not None]
    names = {name for text in texts for name in expression_of(text).names}
    return bool(proof and proof.key != WITHOUT_FACTOR.key) or any(name.startswith("session.") for name in names)


def _denied(compiled: CompiledPolicy, entry: Entry) -> bool:
    """Whether denies with the same or wider parties cover the whole entry."""
    if _denied_between(compiled, entry.subject, entry.object, entry.service):
        return True
    subjects, objects = _parts(compiled, entry.subject), _parts(compiled, entry.object)
    if len(subjects) * len(objects) == 1:
        return False
    return all(_denied_between(compiled, one, other, entry.service) for one in subjects for other in objects)


def _parts(compiled: CompiledPolicy, end: End) -> Sequence[End]:
    """The classes of a segment, where an entry is about all of them."""
    return compiled.classes[end] if isinstance(end, str) else (end,)


def _denied_between(compiled: CompiledPolicy, subject: End, target: End, service: Service) -> bool:
    denies = [
        other.service
        for source in _with_any(subject)
        for wider in _with_any(target)
        for other in compiled.by_pair.get((source, wider), ())
        if not other.allow and other.relation is None and other.rule not in compiled.hours
    ]
    return bool(denies) and covered(service, denies)


def _with_any(one: End) -> tuple[End, ...]:
    """An end, and what contains all of it: its segment, and any session, which no network is."""
    if one is None or isinstance(one, NetworkClass):
        return (one,)
    return (one, one.segment, None) if isinstance(one, SessionClass) else (one, None)


def _covered_rules(policy: Policy) -> Iterator[Finding]:
    """Rules that add nothing to a single other rule of the same action."""
    by_source: _Index = {}
    by_target: _Index = {}
    simple = {rule.id: simplify(rule.services) for rule in policy.rules}
    for rule in policy.rules:
        for name in _names(rule.sources, rule.source_networks):
            by_source.setdefault(name, []).append(rule)
        for name in _names(rule.targets, rule.target_networks):
            by_target.setdefault(name, []).append(rule)
    for rule in policy.rules:
        # A wider rule is in both lists; the shorter one is searched.
        first = _names(rule.sources, rule.source_networks)[0], _names(rule.targets, rule.target_networks)[0]
        candidates = min(_sharing(by_source, first[0]), _sharing(by_target, first[1]), key=len)
        wider = (
            other
            for other in candidates
            if other.stage in ("enforce", rule.stage) and _covers(other, simple[other.id], rule, simple[rule.id])
        )
        keeper = min(wider, key=lambda other: other.id, default=None)
        if keeper is not None:
            message = f"adds nothing to rule {keeper.id} on line {keeper.line}"
            yield _about_rule(policy, "covered-rule", rule, message)


_NETWORK = ""
"""Where an index has the rules with networks: which of them contain one another, it cannot tell."""


def _names(segments: Sequence[str], networks: Sequence[Prefix]) -> list[str]:
    """What one side of a rule is found under."""
    return [*segments, *([_NETWORK] if networks else [])]


def _sharing(index: _Index, name: str) -> list[Rule]:
    """The rules that name this segment, or any."""
    return index.get(name, []) + (index.get(ANY, []) if name not in (ANY, _NETWORK) else [])


def _covers(wide: Rule, wide_services: Iterable[Service], rule: Rule, services: Iterable[Service]) -> bool:
    """Whether `wide` matches whatever `rule` does. Of two equal rules the smaller id is the wider."""
    if wide.id == rule.id or wide.action != rule.action or not implied((rule.condition,), wide.condition):
        return False
    if not _includes(wide.sources, rule.sources) or not _includes(wide.targets, rule.targets):
        return False
    if not _contains(wide.source_networks, rule.source_networks):
        return False
    if not _contains(wide.target_networks, rule.target_networks):
        return False
    if not all(any(one.covers(service) for one in wide_services) for service in services):
        return False
    if not implied((rule.object_condition,), wide.object_condition) or wide.hours not in (None, rule.hours):
        return False
    if wide.expression not in (None, rule.expression) or (wide.stage, wide.enforce) != (rule.stage, rule.enforce):
        return False
    same = _asked(wide) == _asked(rule) and _sides(wide) == _sides(rule)
    return not (same and tuple(wide_services) == tuple(services)) or wide.id < rule.id


def _asked(rule: Rule) -> tuple[object, ...]:
    """All that a rule asks besides its sides and services."""
    return rule.condition.key, rule.object_condition.key, rule.hours, rule.expression


def _includes(wide: Sequence[str], names: Sequence[str]) -> bool:
    return ANY in wide or set(names) <= set(wide)


def _contains(wide: Sequence[Prefix], networks: Sequence[Prefix]) -> bool:
    return all(any(within(network, outer) for outer in wide) for network in networks)


def _sides(rule: Rule) -> tuple[frozenset[object], ...]:
    """Both sides of a rule, without their order."""
    return frozenset((*rule.sources, *rule.source_networks)), frozenset((*rule.targets, *rule.target_networks))


def _repeated_services(policy: Policy) -> Iterator[Finding]:
    """Names that stand for the same packets, and services that others beside them already cover."""
    first: dict[tuple[Service, ...], str] = {}
    for name, named in policy.services.items():
        meaning = simplify(named.services)
        key = f"services.{name}"
        if meaning in first:
            message = f"is the same as {first[meaning]}"
            yield _finding(policy, "repeated-service", message, named.line, named.column, key)
        first.setdefault(meaning, name)
        for message in _repeats(named.services):
            yield _finding(policy, "repeated-service", message, named.line, named.column, key)
    for rule in policy.rules:
        for message in _repeats(rule.services):
            yield _about_rule(policy, "repeated-service", rule, message)


def _repeats(services: Sequence[Service]) -> Iterator[str]:
    for index, service in enumerate(services):
        if service in services[:index]:
            yield f"names {service} twice"
            continue
        wider = next((one for one in services if one != service and one.covers(service)), None)
        if wider is not None:
            yield f"names {service} beside {wider}, which covers it"


def _open_rules(policy: Policy) -> Iterator[Finding]:
    for rule in policy.rules:
        if not rule.allow:
            continue
        if any(service.proto == "any" for service in rule.services):
            yield _about_rule(policy, "open-rule", rule, "opens any service")
        if ANY in rule.sources:
            yield _about_rule(policy, "open-rule", rule, "lets any segment in")
        if ANY in rule.targets:
            yield _about_rule(policy, "open-rule", rule, "opens any segment")
        if any(network.prefixlen == 0 for network in rule.source_networks):
            yield _about_rule(policy, "open-rule", rule, "lets any address outside in")
        if any(network.prefixlen == 0 for network in rule.target_networks):
            yield _about_rule(policy, "open-rule", rule, "opens any address outside")


def _staged(policy: Policy) -> Iterator[Finding]:
    """What is said to be decided, and is not."""
    if policy.stage == "audit":
        message = "nothing of this policy is enforced: what it would decide is only logged"
        yield _finding(policy, "staged-policy", message, 1, 1, "stage")
    for rule in policy.rules:
        if rule.stage == "audit":
            yield _about_rule(policy, "staged-rule", rule, f"would {rule.action}, and is only logged")


_TRACKED = ("tcp", "udp", "icmp")
"""The protocols of which a switch can tell connections apart."""


def _verified_grants(policy: Policy) -> Iterator[Finding]:
    """What a grant stands for and no switch can track."""
    for rule in policy.rules:
        others = [str(service) for service in rule.services if service.proto not in _TRACKED]
        if rule.is_grant and others:
            message = f"the controller verifies what of {', '.join(dict.fromkeys(others))} is not TCP, UDP or echo"
            yield _about_rule(policy, "verified-grant", rule, message)


def _unreachable_networks(policy: Policy, outside: Sequence[Prefix]) -> Iterator[Finding]:
    for rule in policy.rules:
        for network in (*rule.source_networks, *rule.target_networks):
            if not any(within(network, one) or within(one, network) for one in outside):
                message = f"no uplink of the network leads to {network}"
                yield _about_rule(policy, "unreachable-network", rule, message)
