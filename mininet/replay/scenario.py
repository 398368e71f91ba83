"""A scenario as a value: what its steps do, and what is expected of each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from replay.schema import MAX_STEPS, PacketFile, ScenarioFile, StepFile
from zethane.app.topology import Topology
from zethane.document import Document
from zethane.policy.schema import PolicyFile
from zethane.policy.service import Service

Answer = Literal["allow", "deny"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One connection or packet: from whom, to whom (a host or an address), and what. `packet` is a crafted one's."""

    source: str
    target: str
    what: str
    service: Service | None = None
    packet: PacketFile | None = None

    def __str__(self) -> str:
        return f"{self.source} -> {self.target} {self.what}"


@dataclass(frozen=True, slots=True)
class Step:
    """One step; those that send have attempts, each with what is expected of it."""

    number: int
    file: StepFile
    attempts: tuple[Attempt, ...] = ()
    expected: Mapping[Attempt, Answer] = field(default_factory=dict)
    rule: str | None = None
    reason: str | None = None

    @property
    def title(self) -> str:
        """Its name, or what it does."""
        if self.file.name:
            return self.file.name
        if self.attempts:
            more = f" and {len(self.attempts) - 1} more" if len(self.attempts) > 1 else ""
            return f"{self.file.action}: {self.attempts[0]}{more}"
        value = getattr(self.file, self.file.action)
        return f"{self.file.action} {', '.join(texts(value))}"


@dataclass(frozen=True, slots=True)
class Containment:
    """Who must not have been reached by whom, as names of hosts; `text` says it as the file does.

    It is about the steps from number `first` to `last`.
    """

    text: str
    sources: frozenset[str]
    never: frozenset[str]
    first: int = 1
    last: int = MAX_STEPS


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario that can be played. `topology` has the policy that the scenario is played under."""

    file: Path
    document: Document[ScenarioFile]
    topology: Topology
    policy: Document[PolicyFile]
    steps: tuple[Step, ...]
    contained: tuple[Containment, ...]
    logins: tuple[str, ...] | None

    @property
    def name(self) -> str:
        """Its file's, without the ending."""
        return self.file.stem

    @property
    def services(self) -> frozenset[Service]:
        """What its flows and packets are about: somebody has to listen, so that silence is the network's."""
        return frozenset(one.service for step in self.steps for one in step.attempts if one.service is not None)


def texts(value: object) -> tuple[str, ...]:
    """One text or several, as several."""
    if isinstance(value, tuple):
        return tuple(map(str, value))
    return (str(value),)
