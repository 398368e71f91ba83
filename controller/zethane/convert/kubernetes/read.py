"""Objects as `kubectl get -o yaml` (or json) prints them, or as manifests have them, to a Cluster."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_address
from typing import TypeVar

from pydantic import BaseModel

from zethane.convert.kubernetes.cluster import Cluster, Read, Workload
from zethane.convert.kubernetes.schema import (
    Controller,
    CronJob,
    Header,
    Metadata,
    Namespace,
    NetworkPolicy,
    Pod,
    PodSpec,
    PodStatus,
)
from zethane.convert.loss import Ledger
from zethane.convert.objects import check_files, trees
from zethane.document import MAX_PROBLEMS, Document, Place, quote
from zethane.document.node import Node, dotted
from zethane.document.parse import read
from zethane.errors import InputError, Problem
from zethane.net.prefix import Address

M = TypeVar("M", bound=BaseModel)
Path = tuple[str | int, ...]

MAX_WORKLOADS = 20_000
MAX_POLICIES = 4096

_KINDS: Mapping[str, tuple[type[BaseModel], tuple[str, ...]]] = {
    "NetworkPolicy": (NetworkPolicy, ("networking.k8s.io/v1",)),
    "Namespace": (Namespace, ("v1",)),
    "Pod": (Pod, ("v1",)),
    "Deployment": (Controller, ("apps/v1",)),
    "StatefulSet": (Controller, ("apps/v1",)),
    "DaemonSet": (Controller, ("apps/v1",)),
    "ReplicaSet": (Controller, ("apps/v1",)),
    "ReplicationController": (Controller, ("v1",)),
    "Job": (Controller, ("batch/v1",)),
    "CronJob": (CronJob, ("batch/v1",)),
}
"""What is read, as which model, in which versions of the API."""

_RESTRICTS = re.compile(r".*NetworkPolicy(Set)?|AuthorizationPolicy|CiliumLocalRedirectPolicy")
"""Kinds that say what may talk to what, in ways that are not read here."""

_ENDED = ("Succeeded", "Failed")


class Reader:
    """Reads one object after the other, collecting what is wrong."""

    def __init__(self, ledger: Ledger) -> None:
        self.cluster = Cluster()
        self._ledger = ledger
        self._problems: list[Problem] = []
        self._ignored: Counter[str] = Counter()
        self._ended = 0

    def read(self, texts: Mapping[str, str]) -> Cluster:
        """Everything in the texts, by the names of their files. Raises InputError."""
        check_files(texts)
        for file, text in texts.items():
            for root in trees(text, file):
                _drop_nulls(root)
                self._object(root, file, ())
        if self._problems:
            raise InputError(self._problems[:MAX_PROBLEMS])
        for kind, number in sorted(self._ignored.items()):
            self._ledger.note(f"{number} of kind {kind} say nothing that network policies look at, and are left out")
        if self._ended:
            self._ledger.note(f"{self._ended} pods have ended, and are left out")
        return self.cluster

    def _problem(self, file: str, node: Node, message: str, path: Path) -> None:
        self._problems.append(Problem(file, message, node.line, node.column, dotted(path) or None))
        if len(self._problems) >= MAX_PROBLEMS:
            raise InputError(self._problems)

    def _model(self, node: Node, file: str, model: type[M], path: Path) -> Document[M] | None:
        try:
            return read(node, file, model)
        except InputError as error:
            for one in error.problems:
                prefix = dotted(path)
                joined = ".".join(part for part in (prefix, one.key) if part)
                self._problems.append(Problem(one.file, one.message, one.line, one.column, joined or None))
            if len(self._problems) >= MAX_PROBLEMS:
                raise InputError(self._problems[:MAX_PROBLEMS]) from None
            return None

    def _object(self, node: Node, file: str, path: Path, default: tuple[str, str] | None = None) -> None:
        if node.members is None:
            self._problem(file, node, "expected an object of Kubernetes: keys and values", path)
            return
        if default is not None and "kind" not in node.members:
            version, kind = default
        else:
            header = self._model(node, file, Header, path)
            if header is None:
                return
            version, kind = header.value.version, header.value.kind
        if kind.endswith("List") and "items" in node.members:
            self._list(node, file, path, None if kind == "List" else (version, kind.removesuffix("List")))
        elif kind not in _KINDS or version not in _KINDS[kind][1]:
            self._unknown(node, file, path, version, kind)
        else:
            self._known(node, file, path, kind)

    def _list(self, node: Node, file: str, path: Path, default: tuple[str, str] | None) -> None:
        _, items = (node.members or {})["items"]
        if items.items is None:
            if items.members is not None or items.scalar is not None:
                self._problem(file, items, "expected a list", (*path, "items"))
            return
        if path:
            self._problem(file, node, "expected no list of objects within another", path)
            return
        for index, item in enumerate(items.items):
            self._object(item, file, (*path, "items", index), default)

    def _unknown(self, node: Node, file: str, path: Path, version: str, kind: str) -> None:
        place = Place(file, node.line, node.column, dotted(path))
        what = f"{quote(kind)} of {quote(version)}"
        if _RESTRICTS.fullmatch(kind):
            message = f"{what} is not understood: what it forbids is not forbidden, and what it allows is not allowed"
            self._ledger.lose(message, place, opens=True)
        elif kind in _KINDS:
            known = " or ".join(_KINDS[kind][1])
            self._ledger.lose(f"{what} is not understood, only {known}: it is left out", place)
        else:
            self._ignored[quote(kind)] += 1

    def _known(self, node: Node, file: str, path: Path, kind: str) -> None:
        document = self._model(node, file, _KINDS[kind][0], path)
        if document is None:
            return
        found = document.value
        if isinstance(found, NetworkPolicy):
            self._policy(Document(found, file, document.root), path)
            return
        place = Place(file, node.line, node.column, dotted(path))
        if isinstance(found, Namespace):
            self._namespace(found, node, file, path)
        elif isinstance(found, Pod):
            self._pod(found, place, node, path)
        elif isinstance(found, Controller | CronJob):
            template = found.spec.template if isinstance(found, Controller) else found.spec.job.spec.template
            self._workload(
                found.metadata, kind, template.metadata.labels, template.spec, PodStatus(), place, node, path
            )

    def _policy(self, document: Document[NetworkPolicy], path: Path) -> None:
        one = Read(document, path)
        if one.origin in self.cluster.policies:
            first = self.cluster.policies[one.origin].place()
            message = f"NetworkPolicy {one.origin} is already at {first.file}:{first.line}"
            self._problem(document.file, document.root, message, path)
            return
        if len(self.cluster.policies) >= MAX_POLICIES:
            raise InputError([Problem(document.file, f"expected at most {MAX_POLICIES} NetworkPolicies")])
        self.cluster.policies[one.origin] = one

    def _namespace(self, found: Namespace, node: Node, file: str, path: Path) -> None:
        name = found.metadata.name
        if name in self.cluster.namespaces:
            self._problem(file, node, f"Namespace {name} is named twice", path)
            return
        self.cluster.namespaces[name] = found.metadata.labels

    def _pod(self, found: Pod, place: Place, node: Node, path: Path) -> None:
        if found.status.phase in _ENDED:
            self._ended += 1
        else:
            self._workload(found.metadata, "Pod", found.metadata.labels, found.spec, found.status, place, node, path)

    def _workload(
        self,
        metadata: Metadata,
        kind: str,
        labels: Mapping[str, str],
        spec: PodSpec,
        status: PodStatus,
        place: Place,
        node: Node,
        path: Path,
    ) -> None:
        what = f"{kind} {metadata.namespace}/{metadata.name}"
        if spec.host_network:
            message = f"{what} is in its node's network, where no NetworkPolicy selects it: it is left out"
            self._ledger.lose(message, place)
            return
        key = (kind, metadata.namespace, metadata.name)
        if key in self.cluster.workloads:
            self._problem(place.file, node, f"{what} is named twice", path)
            return
        if len(self.cluster.workloads) >= MAX_WORKLOADS:
            raise InputError([Problem(place.file, f"expected at most {MAX_WORKLOADS} pods and templates")])
        owner = next(((one.kind, one.name) for one in metadata.owners if one.controller), None)
        self.cluster.workloads[key] = Workload(
            kind, metadata.namespace, metadata.name, labels, place, _ports(spec), self._addresses(status, place), owner
        )

    def _addresses(self, status: PodStatus, place: Place) -> tuple[Address, ...]:
        texts = dict.fromkeys([*([status.ip] if status.ip else []), *(one.ip for one in status.addresses)])
        try:
            return tuple(ip_address(text) for text in texts)
        except ValueError:
            message = "expected IP addresses in podIP and podIPs"
            self._problems.append(Problem(place.file, message, place.line, place.column, place.key or None))
            return ()


_TEXTS = ("labels", "matchLabels", "annotations")
"""Keys of free keys and texts: without its text, a key there is a mistake, and not left out."""


def _drop_nulls(node: Node) -> None:
    """Take away keys without a value. The depth is bounded by whoever built the tree."""
    if node.members is not None:
        for key, (_, value) in list(node.members.items()):
            if value.members is None and value.items is None and value.scalar is None:
                del node.members[key]
            elif key not in _TEXTS:
                _drop_nulls(value)
    for item in node.items or ():
        _drop_nulls(item)


def _ports(spec: PodSpec) -> dict[tuple[str, str], frozenset[int]]:
    """The named ports of the containers that run beside one another."""
    found: dict[tuple[str, str], set[int]] = {}
    for container in (*spec.containers, *(one for one in spec.init if one.restart == "Always")):
        for port in container.ports:
            if port.name is not None:
                found.setdefault((port.name, port.protocol), set()).add(port.number)
    return {key: frozenset(numbers) for key, numbers in found.items()}
