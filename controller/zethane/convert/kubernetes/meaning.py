"""What NetworkPolicies say, as what each class of workloads may open and be opened to.

A workload that no policy selects for a direction is open in it; one that some do gets what any of them allows
(Kubernetes documentation, Network Policies: "The two sorts of pod isolation").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from zethane.convert.kubernetes.blocks import Addresses, addresses_of
from zethane.convert.kubernetes.classes import Face, Faces
from zethane.convert.kubernetes.cluster import Read
from zethane.convert.kubernetes.schema import Block, Egress, Ingress, Peer, PolicyPort
from zethane.convert.loss import Ledger
from zethane.convert.reach import WHOLE_WORLD, Grant, Side
from zethane.convert.services import EVERYTHING, Services, union
from zethane.document import MAX_PROBLEMS, quote, some
from zethane.errors import InputError, Problem
from zethane.net.prefix import Prefix
from zethane.policy.model import MAX_NETWORKS
from zethane.policy.service import Proto, Service

_PROTOCOLS: dict[str, Proto] = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Given:
    """What one policy's rule lets pass: of `own`, the workloads it selects, to or from `peers` and `networks`."""

    origin: str
    own: frozenset[Face]
    peers: frozenset[Face]
    networks: tuple[Prefix, ...]
    services: Services


@dataclass(slots=True)
class Meaning:
    """Reads the policies one by one; `ledger` learns what none of it can say."""

    faces: Faces
    ledger: Ledger
    blocks_hold_pods: bool
    ingress: list[_Given] = field(default_factory=list)
    egress: list[_Given] = field(default_factory=list)
    isolated: dict[str, set[Face]] = field(default_factory=lambda: defaultdict(set))
    _problems: list[Problem] = field(default_factory=list)

    def read(self, policies: Sequence[Read]) -> None:
        """All of the policies. Raises InputError for blocks that are none."""
        for policy in policies:
            self._policy(policy)
        if self._problems:
            raise InputError(self._problems[:MAX_PROBLEMS])

    def _policy(self, policy: Read) -> None:
        spec = policy.document.value.spec
        own = self.faces.selected(spec.pods, policy.namespace)
        self.faces.mark(("own", policy.origin), own)
        if not own:
            self.ledger.lose("selects none of the pods given: nothing is said of such that come later", policy.place())
        types = spec.types or (("Ingress", "Egress") if spec.egress else ("Ingress",))
        both: tuple[tuple[str, tuple[Ingress | Egress, ...]], ...] = (
            ("Ingress", spec.ingress),
            ("Egress", spec.egress),
        )
        for kind, rules in both:
            word = kind.lower()
            if kind not in types:
                if rules:
                    self.ledger.note(
                        f"{policy.origin}: {word} is there, but policyTypes leaves it out: it says nothing"
                    )
                continue
            self.isolated[kind].update(own)
            for index, rule in enumerate(rules):
                self._rule(policy, own, rule, (word, index))

    def _rule(self, policy: Read, own: frozenset[Face], rule: Ingress | Egress, path: tuple[str, int]) -> None:
        """`path` leads to the rule below spec."""
        peers, networks = self._peers(policy, rule, path)
        targets, found = (own, self.ingress) if isinstance(rule, Ingress) else (peers, self.egress)
        plain = union(_services(port) for port in rule.ports if not isinstance(port.port, str)) if rule.ports else ()
        services = plain if rule.ports else EVERYTHING
        if services and own:
            found.append(_Given(policy.origin, own, peers, networks, services))
        for index, port in enumerate(rule.ports):
            if isinstance(port.port, str) and own:
                self._named(policy, (own, peers, networks), targets, port, (*path, "ports", index))

    def _named(
        self,
        policy: Read,
        ends: tuple[frozenset[Face], frozenset[Face], tuple[Prefix, ...]],
        targets: frozenset[Face],
        port: PolicyPort,
        path: tuple[str | int, ...],
    ) -> None:
        """A port by name is another number wherever a container says so."""
        own, peers, networks = ends
        incoming = targets is own
        by_numbers: dict[frozenset[int], set[Face]] = defaultdict(set)
        for face in targets:
            numbers = self.faces.members[face][0].ports.get((str(port.port), port.protocol), frozenset())
            by_numbers[numbers].add(face)
        name = quote(str(port.port))
        unresolved = by_numbers.pop(frozenset(), set())
        place = policy.place("spec", *path)
        if unresolved:
            text = self._words(unresolved)
            self.ledger.lose(f"no container port is named {name} for {port.protocol} in {text}: closed there", place)
        if not incoming and networks:
            self.ledger.lose(f"what port {name} is outside is not known: closed there", place)
        for numbers, faces in sorted(by_numbers.items(), key=lambda item: sorted(item[0])):
            self.faces.mark((policy.origin, path, tuple(sorted(numbers))), sorted(faces))
            services = union([Service(_PROTOCOLS[port.protocol], number, number)] for number in numbers)
            if incoming:
                self.ingress.append(_Given(policy.origin, frozenset(faces), peers, networks, services))
            else:
                self.egress.append(_Given(policy.origin, own, frozenset(faces), (), services))

    def _words(self, faces: set[Face]) -> str:
        names = [f"{one.namespace}/{one.name}" for face in sorted(faces) for one in self.faces.members[face]]
        return some(names, _MAX_NAMED)

    def _peers(
        self, policy: Read, rule: Ingress | Egress, path: tuple[str, int]
    ) -> tuple[frozenset[Face], tuple[Prefix, ...]]:
        """The workloads and the networks at the other end; no peers mean all of both."""
        if not rule.peers:
            return self.faces.all, WHOLE_WORLD
        pods: set[Face] = set()
        networks: list[Prefix] = []
        for index, peer in enumerate(rule.peers):
            steps = ("spec", *path, "from" if isinstance(rule, Ingress) else "to", index)
            if peer.block is not None:
                inside, outside = self._block(policy, peer.block, steps)
                pods |= inside
                networks.extend(outside)
            else:
                pods |= self._selected(policy, peer, steps)
        return frozenset(pods), tuple(networks)

    def _selected(self, policy: Read, peer: Peer, steps: tuple[str | int, ...]) -> frozenset[Face]:
        found = self.faces.peers(peer, policy.namespace)
        self.faces.mark((policy.origin, steps), found)
        if peer.namespaces is not None:
            unknown = self.faces.unlabelled(peer.namespaces)
            if unknown:
                names = ", ".join(unknown[:_MAX_NAMED])
                message = f"the labels of namespace {names} are not given: taken as none that this asks for"
                self.ledger.lose(message, policy.place(*steps))
        if not found:
            message = "fits none of the pods given: nothing is opened for such that come later"
            self.ledger.lose(message, policy.place(*steps))
        return found

    def _block(
        self, policy: Read, block: Block, steps: tuple[str | int, ...]
    ) -> tuple[frozenset[Face], tuple[Prefix, ...]]:
        try:
            addresses = addresses_of(block)
        except ValueError as error:
            place = policy.place(*steps, "ipBlock")
            self._problems.append(Problem(place.file, str(error), place.line, place.column, place.key))
            return frozenset(), ()
        return self._pods_of(policy, addresses, steps), self._prefixes(policy, addresses, steps)

    def _prefixes(self, policy: Read, addresses: Addresses, steps: tuple[str | int, ...]) -> tuple[Prefix, ...]:
        prefixes = addresses.prefixes(MAX_NETWORKS)
        if prefixes is None:
            message = f"takes more than {MAX_NETWORKS} prefixes: closed"
            self.ledger.lose(message, policy.place(*steps, "ipBlock"))
        return prefixes or ()

    def _pods_of(self, policy: Read, addresses: Addresses, steps: tuple[str | int, ...]) -> frozenset[Face]:
        """Workloads whose addresses are in a block: some networks count them in, others do not."""
        inside = self.faces.within(addresses)
        place = policy.place(*steps, "ipBlock")
        if inside and not self.blocks_hold_pods:
            self.ledger.lose(
                f"holds addresses of pods: opened for what is outside only, not for these pods: "
                f"{self._words(set(inside))}",
                place,
            )
            return frozenset()
        if inside:
            self.faces.mark((policy.origin, steps), inside)
            self.ledger.note(
                f"{policy.origin}: ipBlock at line {place.line} holds pods by the addresses that they have now"
            )
        return inside

    def sides(self, classes: list[list[Face]]) -> tuple[list[Side], list[Side]]:
        """Egress and ingress of each class."""
        number = {face: index for index, members in enumerate(classes) for face in members}
        return (
            list(self._sides(classes, number, "Egress", self.egress)),
            list(self._sides(classes, number, "Ingress", self.ingress)),
        )

    def _sides(
        self, classes: list[list[Face]], number: dict[Face, int], kind: str, given: list[_Given]
    ) -> Iterator[Side]:
        grants: dict[int, list[Grant]] = defaultdict(list)
        for one in given:
            peers = frozenset(number[face] for face in one.peers)
            grant = Grant(one.origin, one.services, peers, one.networks)
            own_classes = {number[face] for face in one.own}
            # What follows looks at each of these pairs.
            self.faces.budget.spend(len(one.peers) + len(one.own) + len(own_classes) * len(peers))
            for own in own_classes:
                grants[own].append(grant)
        for index, members in enumerate(classes):
            yield tuple(grants[index]) if members[0] in self.isolated[kind] else None


def _services(port: PolicyPort) -> Services:
    """A port by number, a range, or all ports of the protocol."""
    proto = _PROTOCOLS[port.protocol]
    if not isinstance(port.port, int):
        return (Service(proto),)
    return (Service(proto, port.port, port.end if port.end is not None else port.port),)
