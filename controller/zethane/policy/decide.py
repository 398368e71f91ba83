"""The policy engine: may this subject open this flow to this object, and by which rule?

Deny is the fall-through: only an allow rule that no deny rule contradicts lets a flow pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from zethane.policy.condition import NOTHING_ASKED
from zethane.policy.model import Place, Policy, Rule
from zethane.policy.principal import External, Parties, Party, Principal
from zethane.policy.service import OTHER_PROTOCOL, PROTOCOLS, Service, pieces, word_of

BOTH_OUTSIDE = "both ends are outside: nothing of this network is in the flow"


@dataclass(frozen=True, slots=True)
class Decision:
    """Allow or deny, the rule that made it (None: no rule did), and the reason in words.

    The segments are None for a party that is not authenticated, or not in exactly one segment; for an address
    outside it is the longest prefix that the policy names and that contains it.
    """

    allowed: bool
    rule: str | None
    reason: str
    subject_segment: str | None = None
    object_segment: str | None = None


def name_of(principal: Principal) -> str:
    """`user:alice`."""
    return f"{principal.kind}:{principal.name}"


def segment_of(policy: Policy, principal: Principal | None, role: str) -> tuple[str | None, str]:
    """The party's only segment, or None and why it has none. `role` is "subject" or "object"."""
    if principal is None:
        return None, f"the {role} is not authenticated"
    names = policy.segments_of(principal)
    if len(names) == 1:
        return names[0], ""
    place = f"in more than one segment: {', '.join(names)}" if names else "in no segment"
    return None, f"the {role} {name_of(principal)} is {place}"


def place_of(policy: Policy, party: Party, role: str) -> tuple[Place | None, str]:
    """The party's only segment or, outside, its network; or None and why it has none."""
    if not isinstance(party, External):
        return segment_of(policy, party, role)
    network = policy.network_of(party.address)
    return network, "" if network else f"the {role} {party} is in no network that the policy names"


def is_about(rule: Rule, source: Place, target: Place, ip_proto: int, port: int) -> bool:
    """Whether the rule is about such flows from one place to another, whether its condition holds or not."""
    return rule.opens_from(source) and rule.opens_to(target) and rule.serves(ip_proto, port)


def decide(
    policy: Policy,
    subject: Party,
    object: Party,  # noqa: A002 - the word of NIST SP 800-207, and of every other module
    ip_proto: int,
    port: int,
    now: float = 0.0,
) -> Decision:
    """The decision for a flow of `subject` to `object`. None stands for an unauthenticated party.

    `ip_proto` is the IP protocol number, `port` the destination port (0 where there is none), `now` the moment at
    which conditions are looked at, in seconds since the epoch. Among the rules of the winning action the smallest id
    is named, so that the order of rules never shows.
    """
    source, why_no_source = place_of(policy, subject, "subject")
    target, why_no_target = place_of(policy, object, "object")
    names = _text(source), _text(target)
    if source is None or target is None:
        return Decision(False, None, why_no_source or why_no_target, *names)
    if isinstance(subject, External) and isinstance(object, External):
        return Decision(False, None, BOTH_OUTSIDE, *names)
    matching = [
        rule
        for rule in policy.rules_from(source)
        if rule.stage == "enforce"
        and is_about(rule, source, target, ip_proto, port)
        and rule.holds_for(subject, object, now)
    ]
    return verdict(matching, str(source), str(target), describe(ip_proto, port))


def _text(place: Place | None) -> str | None:
    return None if place is None else str(place)


def verdict(matching: Iterable[Rule], source: str, target: str, what: str) -> Decision:
    """The decision that follows from the rules which match. `what` names the service in the reason."""
    winner = min(matching, key=lambda rule: (rule.allow, rule.id), default=None)
    if winner is None:
        return Decision(False, None, f"no rule allows {what} from {source} to {target}", source, target)
    verb = "allows" if winner.allow else "denies"
    reason = f"rule {winner.id} {verb} {what} from {source} to {target}"
    return Decision(winner.allow, winner.id, reason, source, target)


@dataclass(frozen=True, slots=True)
class Lack:
    """What is lacking for a rule to let a flow pass, in words, one for each part of what the rule asks for."""

    rule: str
    needs: tuple[str, ...]


def lack_of(rules: Iterable[Rule], subject: Party, target: Party, now: float) -> Lack | None:
    """What is lacking for that of these rules which asks for the fewest things more; None if there is none.

    `rules` are about the flow. Those that deny, and those that hold, do not count.
    """
    if subject is None or target is None:
        return None
    asking = (rule for rule in rules if rule.allow and rule.is_conditional)
    lacks = (Lack(rule.id, tuple(rule.unmet(subject, target, now))) for rule in asking)
    return min((one for one in lacks if one.needs), key=lambda one: (len(one.needs), one.rule), default=None)


def can_be_proved(rule: Rule, subject: Party, target: Party, now: float) -> bool:
    """Whether another proof of the subject is all that a rule lacks: its hours are open, and the object is as asked."""
    if not isinstance(subject, Principal) or not rule.condition.can_be_proved(subject, now):
        return False
    return replace(rule, condition=NOTHING_ASKED).holds_for(subject, target, now)


def describe(ip_proto: int, port: int) -> str:
    """`tcp/443`, `icmp`, or `IP protocol 47`."""
    word = word_of(ip_proto)
    if word is None:
        return f"IP protocol {ip_proto}"
    return word if word == "icmp" else f"{word}/{port}"


def probes(policy: Policy, service: Service) -> list[tuple[int, int]]:
    """The (IP protocol, port) pairs that stand for all packets of `service` under this policy.

    One is enough for every range within which no rule begins or ends.
    """
    named = [cut for rule in policy.rules for cut in rule.services]
    parts = [Service("tcp"), Service("udp"), Service("sctp"), Service("icmp")] if service.proto == "any" else [service]
    found = [(PROTOCOLS[piece.proto][0], piece.low) for part in parts for piece in pieces(part, named)]
    return [*found, (OTHER_PROTOCOL, 0)] if service.proto == "any" else found


def each(parties: Parties) -> tuple[Party, ...]:
    """One party for each address of something outside; any other is one by itself."""
    return parties if isinstance(parties, tuple) else (parties,)


def decisions(
    policy: Policy,
    subject: Parties,
    object: Parties,  # noqa: A002 - as in decide
    service: Service,
    now: float = 0.0,
) -> list[Decision]:
    """One decision for each part of a service within which no rule begins or ends, lowest port first."""
    return [
        decide(policy, source, target, *probe, now)
        for source in each(subject)
        for target in each(object)
        for probe in probes(policy, service)
    ]


def decide_service(
    policy: Policy,
    subject: Parties,
    object: Parties,  # noqa: A002 - as in decide
    service: Service,
    now: float = 0.0,
) -> Decision:
    """The decision for a whole service, which is allowed when all of it is, with every address.

    A denial is that of the lowest denied port; an allowed range names the rule of its lowest port.
    """
    made = decisions(policy, subject, object, service, now)
    return next((decision for decision in made if not decision.allowed), made[0])
