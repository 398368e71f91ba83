"""Kubernetes' NetworkPolicies as a policy, and the pods that they are about as workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zethane.convert.budget import Budget
from zethane.convert.imported import Group, Imported, Member, Source, assemble, check_classes
from zethane.convert.kubernetes.classes import Face, Faces, faces_of, represented
from zethane.convert.kubernetes.cluster import Cluster, Workload
from zethane.convert.kubernetes.meaning import Meaning
from zethane.convert.kubernetes.read import Reader
from zethane.convert.kubernetes.schema import Peer, Selector
from zethane.convert.kubernetes.selector import keys
from zethane.convert.loss import Ledger
from zethane.convert.naming import Names
from zethane.convert.reach import rules

__all__ = ["import_kubernetes"]


def import_kubernetes(texts: Mapping[str, str], blocks_hold_pods: bool = False, audit: bool = False) -> Imported:
    """The NetworkPolicies, pods and namespaces in the texts, by the names of their files, as a policy with identities.

    With `blocks_hold_pods` an ipBlock means the pods, too, whose addresses it holds now; otherwise
    only what is outside.
    `audit` makes the policy one of the stage audit.

    Raises InputError for what is no YAML or JSON of Kubernetes, and for more than one policy can hold.
    """
    ledger = Ledger()
    source = Source("Kubernetes", ", ".join(texts), audit)
    budget = Budget(source.files)
    cluster = Reader(ledger).read(texts)
    cluster.workloads = represented(cluster.workloads)
    faces = faces_of(cluster, _asked(cluster), lambda one: one.addresses if blocks_hold_pods else None, budget)
    meaning = Meaning(faces, ledger, blocks_hold_pods)
    meaning.read(list(cluster.policies.values()))
    classes = faces.classes()
    check_classes(source, len(classes))
    egress, ingress = meaning.sides(classes)
    _remark(meaning)
    origins = {origin: f"NetworkPolicy {origin.replace('.', '/', 1)}" for origin in cluster.policies}
    return assemble(source, _groups(faces, classes), rules(egress, ingress), origins, ledger)


def _remark(meaning: Meaning) -> None:
    """What holds of every import."""
    note = meaning.ledger.note
    if not meaning.faces.cluster.policies:
        note("no NetworkPolicy is given: everything passes")
    note(
        "a NetworkPolicy speaks of TCP, UDP and SCTP only: where ports are named ICMP echo is closed, where all "
        "traffic passes every protocol does"
    )
    if meaning.isolated:
        note(
            "traffic between a node and its pods, such as probes, passes in a cluster whatever a policy says: here a "
            "node is outside, and needs a rule with its networks"
        )


def _asked(cluster: Cluster) -> frozenset[str]:
    """The labels of pods that some selector asks for."""
    selectors: list[Selector] = []
    for policy in cluster.policies.values():
        spec = policy.document.value.spec
        selectors.append(spec.pods)
        peers: list[Peer] = [peer for rule in spec.ingress for peer in rule.peers]
        peers.extend(peer for rule in spec.egress for peer in rule.peers)
        selectors.extend(peer.pods for peer in peers if peer.pods is not None)
    return frozenset(key for selector in selectors for key in keys(selector))


def _groups(faces: Faces, classes: Sequence[Sequence[Face]]) -> list[Group]:
    names = Names()
    repeated = _repeated(faces.cluster)
    return [
        Group(
            _word(faces, members),
            tuple(
                Member(_original(one), names.give(_name(one, repeated)), one.labels)
                for face in members
                for one in faces.members[face]
            ),
        )
        for members in classes
    ]


def _word(faces: Faces, members: Sequence[Face]) -> str:
    """What a class is called: its namespace if that is one, and the values that all of it has of labels asked for."""
    namespaces = {faces.members[face][0].namespace for face in members}
    common = [value for value in faces.words[members[0]] if all(value in faces.words[face] for face in members)]
    parts = [*(namespaces if len(namespaces) == 1 else ()), *(["-".join(dict.fromkeys(common))] if common else ())]
    return ".".join(parts) or "pods"


def _original(one: Workload) -> str:
    return f"{one.kind} {one.namespace}/{one.name}"


def _repeated(cluster: Cluster) -> set[tuple[str, str]]:
    """Names that workloads of more than one kind have."""
    seen: set[tuple[str, str]] = set()
    twice: set[tuple[str, str]] = set()
    for _, namespace, name in cluster.workloads:
        (twice if (namespace, name) in seen else seen).add((namespace, name))
    return twice


def _name(one: Workload, repeated: set[tuple[str, str]]) -> str:
    """`default.web-1`, or `default.web.deployment` where there is a pod of that name, too."""
    stem = f"{one.namespace}.{one.name}"
    return f"{stem}.{one.kind.lower()}" if (one.namespace, one.name) in repeated and one.kind != "Pod" else stem
