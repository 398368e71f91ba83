"""What a policy says of one principal, as entries for its own packet filter: addresses and services.

A filter knows addresses and ports. What a rule asks of a proof, of a device or of the time it cannot see: an allow that
asks for such a thing is left out, and a deny holds always.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from zethane.convert.loss import Ledger
from zethane.convert.nftables.known import Known, common
from zethane.convert.reach import collapse
from zethane.document import Place, some
from zethane.net.prefix import Prefix
from zethane.policy.condition import NOTHING_ASKED, Condition
from zethane.policy.decide import name_of, segment_of
from zethane.policy.model import Policy, Rule
from zethane.policy.principal import Principal
from zethane.policy.service import Service, simplify

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """Packets that open flows of `services` with `peers`, to them (`leaving`) or from them.

    `outside`: the peers are networks, and count where they are outside. `own`: only at these addresses of the host
    itself; empty: at all. `who` has the peers' names.
    """

    rule: Rule
    leaving: bool
    services: tuple[Service, ...]
    peers: tuple[Prefix, ...]
    outside: bool = False
    own: tuple[Prefix, ...] = ()
    who: tuple[str, ...] = ()


def entries(policy: Policy, principal: Principal, known: Known, ledger: Ledger) -> list[Entry]:
    """The entries of all rules about the principal, denies before allows."""
    segment, why = segment_of(policy, principal, "principal")
    if segment is None:
        ledger.lose(f"{why}: everything is closed")
        return []
    maker = _Maker(policy, principal, segment, known, ledger)
    found = [entry for rule in policy.enforced for entry in maker.of(rule)]
    maker.name_missing()
    return sorted(found, key=lambda entry: (entry.rule.allow, entry.rule.id))


class _Maker:
    def __init__(self, policy: Policy, principal: Principal, segment: str, known: Known, ledger: Ledger) -> None:
        self._policy = policy
        self._principal = principal
        self._segment = segment
        self._known = known
        self._ledger = ledger
        self._peers: dict[Principal, list[Prefix]] = {}
        for peer, prefixes in known.peers():
            if prefixes is None:
                ledger.lose(f"a prefix of {name_of(peer)} falls into too many by those within it: closed for it")
            self._peers.setdefault(peer, []).extend(prefixes or ())
        self._by_segment: dict[str, list[Principal]] = {}
        for peer in (*self._peers, *known.missing):
            segment_name = self._only_segment(peer)
            if segment_name is not None:
                self._by_segment.setdefault(segment_name, []).append(peer)
        self._wanted: dict[str, str] = {}

    def _only_segment(self, peer: Principal) -> str | None:
        names = self._policy.segments_of(peer)
        return names[0] if len(names) == 1 else None

    def of(self, rule: Rule) -> Iterator[Entry]:
        """What the rule says, both ways."""
        for leaving in (False, True):
            if not (rule.opens_from(self._segment) if leaving else rule.opens_to(self._segment)):
                continue
            own, other = (rule.condition, rule.object_condition)[:: 1 if leaving else -1]
            if not _fits(own, self._principal) or not self._visible(rule):
                continue
            services = simplify(rule.services)
            at = [(name_of(one), self._at(one, other)) for one in self._reached(rule, leaving)]
            peers = collapse(prefix for _, prefixes in at for prefix in prefixes)
            if peers:
                who = tuple(sorted({name for name, prefixes in at if prefixes}))
                yield Entry(rule, leaving, services, peers, own=own.networks, who=who)
            networks = rule.target_networks if leaving else rule.source_networks
            if networks and self._knows_outside(rule):
                yield Entry(rule, leaving, services, collapse(networks), outside=True, own=own.networks)

    def _visible(self, rule: Rule) -> bool:
        """Whether the rule counts, as far as a filter can see; what it cannot is a loss."""
        asked = [part for part in (_beyond(rule.condition), _beyond(rule.object_condition)) if part]
        if rule.hours is not None:
            asked.append(f"{rule.hours}, of which a filter knows UTC only")
        if rule.expression is not None:
            asked.append(rule.expression)
        if not asked:
            return True
        became = "closed" if rule.allow else "denied always"
        self._ledger.lose(f"rule {rule.id} asks for {' and for '.join(asked)}: {became}", self._place(rule))
        return not rule.allow

    def _knows_outside(self, rule: Rule) -> bool:
        if self._known.outside is not None or self._known.foreign:
            return True
        self._ledger.lose(
            f"rule {rule.id} is about networks outside, and what is outside is not known: closed", self._place(rule)
        )
        return False

    def _place(self, rule: Rule) -> Place:
        return Place(self._policy.file, rule.line, rule.column)

    def _reached(self, rule: Rule, leaving: bool) -> Iterator[Principal]:
        """The peers with known addresses at the rule's other end; of the others only their segments are kept."""
        for segment, peers in self._by_segment.items():
            if not (rule.opens_to(segment) if leaving else rule.opens_from(segment)):
                continue
            for peer in peers:
                if peer in self._peers:
                    yield peer
                elif rule.allow:
                    self._wanted[name_of(peer)] = segment

    def _at(self, peer: Principal, condition: Condition) -> Sequence[Prefix]:
        """The addresses at which the peer fits what is asked of it."""
        if not _fits(condition, peer):
            return ()
        prefixes = self._peers[peer]
        return common(prefixes, condition.networks) if condition.networks else prefixes

    def name_missing(self) -> None:
        """Say whose addresses would have been needed, segment by segment."""
        by_segment: dict[str, list[str]] = {}
        for name, segment in self._wanted.items():
            by_segment.setdefault(segment, []).append(name)
        for segment, names in sorted(by_segment.items()):
            shown = some(sorted(names), _MAX_NAMED)
            self._ledger.lose(f"no address is known of {shown} in segment {segment}: closed for them")


def _fits(condition: Condition, principal: Principal) -> bool:
    """Whether what is asked of the principal itself holds; its address is another matter."""
    return Condition(labels=condition.labels, groups=condition.groups).holds(principal, 0.0)


def _beyond(condition: Condition) -> str:
    """What a filter cannot see of what is asked, in words."""
    rest = replace(condition, labels=(), groups=frozenset(), networks=())
    return str(rest) if rest != NOTHING_ASKED else ""
