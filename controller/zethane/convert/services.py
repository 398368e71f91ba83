"""Sets of services: what two of them have in common, and whether one holds another."""

from __future__ import annotations

from collections.abc import Iterable

from zethane.policy.service import Service, covered, simplify

Services = tuple[Service, ...]
"""Simplified: no two overlap or touch, in order."""

EVERYTHING: Services = (Service("any"),)


def union(sets: Iterable[Iterable[Service]]) -> Services:
    """What is in one of them."""
    return simplify(service for services in sets for service in services)


def both(one: Services, other: Services) -> Services:
    """What is in both."""
    return simplify(common for a in one for b in other if (common := _common(a, b)) is not None)


def holds(wide: Services, services: Services) -> bool:
    """Whether every packet of `services` is one of `wide`."""
    return all(covered(service, wide) for service in services)


def _common(a: Service, b: Service) -> Service | None:
    if a.proto == "any":
        return b
    if b.proto == "any":
        return a
    if not a.overlaps(b):
        return None
    return Service(a.proto, max(a.low, b.low), min(a.high, b.high))
