"""What to probe for a cell of the matrix, and what the probes say about it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal

from zethane.policy.matrix import Cell
from zethane.policy.service import Service

Address = IPv4Address | IPv6Address
Answer = Literal["allow", "deny"]

Concerns = Callable[[Cell, Address, Address], bool]
"""Whether a cell's decision is the one for these addresses of its hosts: outside it is each address that decides."""

MAX_PORTS = 16
"""Ports that are probed of one range."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to the network: does `target` answer `source` on this protocol and port?"""

    source: str
    target: str
    proto: str
    port: int
    source_address: Address
    target_address: Address

    @property
    def version(self) -> int:
        """The IP version."""
        return self.target_address.version

    def __str__(self) -> str:
        port = f"/{self.port}" if self.proto != "icmp" else ""
        return f"{self.proto}{port} over IPv{self.version}"


@dataclass(frozen=True, slots=True)
class Observation:
    """The answer. `arrived`: the opening packet reached the target's interface, answered or not."""

    probe: Probe
    answered: bool
    arrived: bool
    detail: str

    def __str__(self) -> str:
        if self.answered:
            return f"{self.probe}: answered"
        reached = "reached the target, but no answer came back" if self.arrived else "did not reach the target"
        return f"{self.probe}: {reached} ({self.detail})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A cell with what was observed. `flaky`: denied at first and allowed when it was asked again."""

    cell: Cell
    observed: Answer
    details: tuple[str, ...] = ()
    flaky: bool = False

    @property
    def expected(self) -> Answer:
        """What the policy says."""
        return "allow" if self.cell.decision.allowed else "deny"

    @property
    def mismatch(self) -> bool:
        """Whether network and policy disagree."""
        return self.observed != self.expected

    def view(self) -> Mapping[str, Any]:
        """JSON-ready: the policy's cell with what was observed."""
        view = dict(self.cell.view()) | {"observed": self.observed}
        if self.flaky:
            view["flaky"] = True
        if self.mismatch:
            view["details"] = list(self.details)
        return view


def sampled_ports(service: Service, others: Iterable[Service]) -> tuple[int, ...]:
    """The ports that stand for a service: the lowest, a middle and the highest one, and the edges of every
    other service inside, for a rule about a part of a range may decide differently there."""
    if service.proto == "icmp":
        return (0,)
    low, high = max(service.low, 1), service.high  # port 0 cannot be bound
    ports = [low, high, (low + high) // 2]
    for other in others:
        if other.proto == service.proto:
            ports += [port for port in (other.low, other.high) if low <= port <= high]
    return tuple(sorted(dict.fromkeys(ports[:MAX_PORTS])))


def all_addresses(cell: Cell, source: Address, target: Address) -> bool:  # noqa: ARG001
    """Who logs in has all of its addresses."""
    return True


def probes_of(
    cell: Cell,
    addresses: Mapping[str, Sequence[Address]],
    services: Sequence[Service],
    concerns: Concerns = all_addresses,
) -> tuple[Probe, ...]:
    """The probes of a cell: every sampled port in every family that both hosts have."""
    return tuple(
        Probe(cell.source, cell.target, cell.service.proto, port, source, target)
        for source in addresses[cell.source]
        for target in addresses[cell.target]
        if source.version == target.version and concerns(cell, source, target)
        for port in sampled_ports(cell.service, services)
    )


def judge(cell: Cell, observations: Sequence[Observation]) -> Verdict:
    """The verdict on a cell. One family that disagrees with the policy makes the cell disagree.

    Where the policy denies, a packet that reaches the target is a mismatch even if nobody answers it. In a
    range some ports may rightly be open, so there only the answer of all of them counts.
    """
    expected = cell.decision.allowed
    families: dict[int, list[Observation]] = {}
    for observation in observations:
        families.setdefault(observation.probe.version, []).append(observation)
    one_port = cell.service.proto == "icmp" or cell.service.low == cell.service.high
    allowed = [_allowed(seen, leak_counts=one_port and not expected) for seen in families.values()]
    observed = bool(allowed) and (all(allowed) if expected else any(allowed))
    wrong = [seen for seen in observations if (not seen.answered if expected else seen.answered or seen.arrived)]
    details = tuple(map(str, wrong)) if observed != expected else ()
    if not families:
        details = ("the hosts share no address family: nothing was probed",)
    return Verdict(cell, "allow" if observed else "deny", details)


def _allowed(observations: Sequence[Observation], *, leak_counts: bool) -> bool:
    if leak_counts and any(seen.arrived for seen in observations):
        return True
    return all(seen.answered for seen in observations)


def report(verdicts: Sequence[Verdict]) -> Mapping[str, Any]:
    """JSON-ready: all cells and the summary."""
    summary = {
        "cells": len(verdicts),
        "mismatches": sum(verdict.mismatch for verdict in verdicts),
        "flaky": sum(verdict.flaky for verdict in verdicts),
    }
    return {"cells": [dict(verdict.view()) for verdict in verdicts], "summary": summary}
