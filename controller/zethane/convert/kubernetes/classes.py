"""Workloads in classes that no selector tells apart.

Each selector, and each named port, is held against every workload once; those for which all of the answers are the same
are a class. Labels that nothing asks for are looked at by nobody, so that the many pods of a template count as one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from zethane.convert.budget import Budget
from zethane.convert.kubernetes.blocks import Addresses
from zethane.convert.kubernetes.cluster import Cluster, Workload
from zethane.convert.kubernetes.schema import Peer, Selector
from zethane.convert.kubernetes.selector import NAME_LABEL, fits, keys

Face = int
"""Workloads with the same namespace and the same labels, as far as anything asks for them."""


@dataclass(slots=True)
class Faces:
    """All different workloads, and what is found out about them."""

    cluster: Cluster
    budget: Budget
    members: list[list[Workload]] = field(default_factory=list)
    words: list[tuple[str, ...]] = field(default_factory=list)
    """The values of the labels of a face that some selector asks for, by the label's name."""
    _by_namespace: dict[str, list[Face]] = field(default_factory=lambda: defaultdict(list))
    _marks: list[list[object]] = field(default_factory=list)
    _known: dict[object, frozenset[Face]] = field(default_factory=dict)
    _namespaces: dict[str, list[str]] = field(default_factory=dict)
    _addresses: list[tuple[int, int, Face]] | None = None

    def mark(self, word: object, faces: Iterable[Face]) -> None:
        """These faces are told apart from all others."""
        listed = list(faces)
        self.budget.spend(len(listed))
        for face in listed:
            self._marks[face].append(word)

    def selected(self, selector: Selector, namespace: str) -> frozenset[Face]:
        """Those in a namespace whose labels the selector fits."""
        key = (selector.model_dump_json(), namespace)
        if key not in self._known:
            candidates = self._by_namespace.get(namespace, ())
            self.budget.spend(len(candidates))
            self._known[key] = frozenset(face for face in candidates if fits(selector, self.members[face][0].labels))
        return self._known[key]

    def peers(self, peer: Peer, namespace: str) -> frozenset[Face]:
        """Those that a peer of a policy in `namespace` means. It is none of addresses."""
        if peer.namespaces is None:
            return self.selected(peer.pods, namespace) if peer.pods is not None else frozenset()
        pods = peer.pods or Selector()
        found = [self.selected(pods, one) for one in self.namespaces(peer.namespaces)]
        self.budget.spend(len(found) + sum(map(len, found)))
        return frozenset(face for faces in found for face in faces)

    def namespaces(self, selector: Selector) -> list[str]:
        """The namespaces with workloads that a selector fits.

        Of one whose labels are not known nothing is assumed but its name: whatever else is asked does not fit.
        """
        key = selector.model_dump_json()
        if key not in self._namespaces:
            self.budget.spend(len(self._by_namespace))
            self._namespaces[key] = [one for one in self._by_namespace if self._fits(selector, one)]
        return self._namespaces[key]

    def _fits(self, selector: Selector, namespace: str) -> bool:
        labels = self.cluster.namespaces.get(namespace)
        if labels is None and any(key != NAME_LABEL for key in keys(selector)):
            return False
        return fits(selector, {**(labels or {}), NAME_LABEL: namespace})

    def unlabelled(self, selector: Selector) -> list[str]:
        """The namespaces with workloads of which the selector asks what is not known."""
        if all(key == NAME_LABEL for key in keys(selector)):
            return []
        return [one for one in self._by_namespace if one not in self.cluster.namespaces]

    def within(self, addresses: Addresses) -> frozenset[Face]:
        """Those with a member that has one of these addresses."""
        if addresses not in self._known:
            self._known[addresses] = frozenset(self._having(addresses))
        return self._known[addresses]

    def _having(self, addresses: Addresses) -> Iterator[Face]:
        if self._addresses is None:
            found = (
                (address.version, int(address), face)
                for face, members in enumerate(self.members)
                for one in members
                for address in one.addresses
            )
            self._addresses = sorted(found)
        first, last = int(addresses.whole.network_address), int(addresses.whole.broadcast_address)
        version = addresses.whole.version
        low = bisect_left(self._addresses, (version, first, -1))
        high = bisect_left(self._addresses, (version, last + 1, -1))
        self.budget.spend((high - low) * (1 + len(addresses.exceptions)))
        yield from (face for _, number, face in self._addresses[low:high] if addresses.holds(number))

    @property
    def all(self) -> frozenset[Face]:
        """Every face."""
        return frozenset(range(len(self.members)))

    def classes(self) -> list[list[Face]]:
        """Faces with the same marks, in the order in which their first members were read."""
        alike: dict[tuple[object, ...], list[Face]] = defaultdict(list)
        for face, marks in enumerate(self._marks):
            alike[tuple(marks)].append(face)
        return list(alike.values())


def faces_of(cluster: Cluster, asked: frozenset[str], apart: Callable[[Workload], object], budget: Budget) -> Faces:
    """The different workloads of a cluster. Only the labels `asked` count; `apart` may tell more of them apart."""
    faces = Faces(cluster, budget)
    found: dict[object, Face] = {}
    for workload in cluster.workloads.values():
        labels = tuple(sorted((key, value) for key, value in workload.labels.items() if key in asked))
        key = (workload.namespace, labels, tuple(sorted(workload.ports.items(), key=_port)), apart(workload))
        if key not in found:
            found[key] = len(faces.members)
            faces.members.append([])
            faces.words.append(tuple(value for _, value in labels if value))
            faces._by_namespace[workload.namespace].append(found[key])  # noqa: SLF001 - its maker
            faces._marks.append([])  # noqa: SLF001
        faces.members[found[key]].append(workload)
    return faces


def _port(item: tuple[tuple[str, str], frozenset[int]]) -> tuple[str, str]:
    return item[0]


def represented(workloads: Mapping[tuple[str, str, str], Workload]) -> dict[tuple[str, str, str], Workload]:
    """The workloads, without templates that have a pod or a template above them among the others."""
    covered: set[tuple[str, str, str]] = set()
    for workload in workloads.values():
        owner = workload.owner if workload.kind == "Pod" else None
        while owner is not None and (owner[0], workload.namespace, owner[1]) not in covered:
            key = (owner[0], workload.namespace, owner[1])
            covered.add(key)
            above = workloads.get(key)
            owner = above.owner if above is not None else _guessed(*owner)
    for key, workload in workloads.items():
        owner = workload.owner if workload.kind != "Pod" else None
        if owner is not None and (owner[0], workload.namespace, owner[1]) in workloads:
            covered.add(key)
    return {key: one for key, one in workloads.items() if key not in covered}


_MAKERS = {"ReplicaSet": "Deployment", "Job": "CronJob"}


def _guessed(kind: str, name: str) -> tuple[str, str] | None:
    """Who made what is not among the objects: names of ReplicaSets and Jobs are those of their makers and a suffix."""
    maker, stem = _MAKERS.get(kind), name.rpartition("-")[0]
    return (maker, stem) if maker and stem else None
