"""What the objects of a cluster say that counts for its network policies, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zethane.convert.kubernetes.schema import NetworkPolicy
from zethane.document import Document, Place
from zethane.document.node import dotted
from zethane.net.prefix import Address


@dataclass(frozen=True, slots=True)
class Read:
    """A policy, and where in its file it stands: `path` leads to it from the root of its document."""

    document: Document[NetworkPolicy]
    path: tuple[str | int, ...]

    @property
    def namespace(self) -> str:
        """Where the pods are that it may select."""
        return self.document.value.metadata.namespace

    @property
    def origin(self) -> str:
        """`namespace.name`."""
        return f"{self.namespace}.{self.document.value.metadata.name}"

    def place(self, *steps: str | int) -> Place:
        """Where something in it stands."""
        line, column = self.document.place(*steps)
        return Place(self.document.file, line, column, dotted((*self.path, *steps)))


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod, or what makes pods of one template. `ports` are the named ones: (name, protocol) and the numbers."""

    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    place: Place
    ports: Mapping[tuple[str, str], frozenset[int]] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()
    owner: tuple[str, str] | None = None


@dataclass(slots=True)
class Cluster:
    """Everything that was read. Of a namespace that is not in `namespaces` only the name is known."""

    policies: dict[str, Read] = field(default_factory=dict)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    workloads: dict[tuple[str, str, str], Workload] = field(default_factory=dict)
