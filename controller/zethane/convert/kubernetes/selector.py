"""Label selectors (Kubernetes API reference, LabelSelector)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from zethane.convert.kubernetes.schema import Requirement, Selector

NAME_LABEL = "kubernetes.io/metadata.name"
"""The label that the API server gives every namespace: its name."""


def fits(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether all that the selector names holds for these labels."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(requirement, labels.get(requirement.key)) for requirement in selector.match_expressions
    )


def keys(selector: Selector) -> Iterator[str]:
    """The labels that it asks about."""
    yield from selector.match_labels
    yield from (requirement.key for requirement in selector.match_expressions)


def _holds(requirement: Requirement, value: str | None) -> bool:
    """`NotIn` holds as well where there is no such label."""
    if requirement.operator == "In":
        return value in requirement.values
    if requirement.operator == "NotIn":
        return value not in requirement.values
    return (value is not None) == (requirement.operator == "Exists")
