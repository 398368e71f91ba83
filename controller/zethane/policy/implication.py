"""Which conditions follow from others, and which cannot hold, or fail to hold, together.

This keeps the classes of sessions few: there is none for what can never be. It may miss that something cannot be,
which costs entries; it never takes something possible for impossible, which would leave a session without a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from zethane.net.prefix import Prefix, within
from zethane.policy.condition import Condition, fits, version
from zethane.policy.principal import Attribute


def implied(held: Sequence[Condition], other: Condition) -> bool:
    """Whether `other` holds for every subject for which all of `held` do, at any one moment."""
    return _implied_by_proof(held, other) and _implied_by_device(held, other) and _implied_by_itself(held, other)


def _implied_by_proof(held: Sequence[Condition], other: Condition) -> bool:
    if other.mfa is not None and not any(one.mfa is other.mfa for one in held):
        return False
    if other.aal is not None and not any(one.aal is not None and one.aal >= other.aal for one in held):
        return False
    within = other.mfa_within
    return within is None or any(one.mfa_within is not None and one.mfa_within <= within for one in held)


def _implied_by_device(held: Sequence[Condition], other: Condition) -> bool:
    if not _asks_device(other):
        return True
    asking = [one for one in held if _asks_device(one)]
    if not asking:
        return False
    labels = {label for one in asking for label in one.device_labels}
    if not labels.issuperset(other.device_labels):
        return False
    groups = other.device_groups
    if groups and not any(one.device_groups and one.device_groups <= groups for one in asking):
        return False
    return not other.posture or _implied_by_posture([one for one in asking if one.posture], other)


def _implied_by_itself(held: Sequence[Condition], other: Condition) -> bool:
    """What is asked of the principal itself and of its address."""
    if not {label for one in held for label in one.labels}.issuperset(other.labels):
        return False
    if other.groups and not any(one.groups and one.groups <= other.groups for one in held):
        return False
    if other.networks and not any(one.networks and _all_within(one.networks, other.networks) for one in held):
        return False
    return other.expression is None or any(
        one.expression == other.expression and one.or_error <= other.or_error for one in held
    )


def _all_within(inner: Sequence[Prefix], outer: Sequence[Prefix]) -> bool:
    return all(any(within(one, other) for other in outer) for one in inner)


def _implied_by_posture(asking: Sequence[Condition], other: Condition) -> bool:
    if not any(one.posture_max_age <= other.posture_max_age for one in asking):
        return False
    known = [pair for one in asking for pair in one.posture]
    return all(
        any(name == have and _at_least(value, wanted) for have, value in known) for name, wanted in other.posture
    )


def _at_least(asked: Attribute, wanted: Attribute) -> bool:
    """Whether every value that is as `asked` is also as `wanted`."""
    least = _least(asked)
    if least is None:
        return fits(asked, wanted)
    bound = _least(wanted)
    return bound is not None and least >= bound


def _least(wanted: Attribute) -> tuple[int, ...] | None:
    """The version in `>=12.5`."""
    return version(wanted[2:]) if isinstance(wanted, str) and wanted.startswith(">=") else None


def _asks_device(one: Condition) -> bool:
    return one.device or bool(one.posture)


def possible(held: Sequence[Condition], lacking: Sequence[Condition] = ()) -> bool:
    """Whether there can be a subject for which all of `held` hold and none of `lacking` does."""
    factors = (True, False)
    true = [*held, *(Condition(mfa=not mfa) for mfa in factors if Condition(mfa=mfa) in lacking)]
    if {one.mfa for one in true} >= set(factors):
        return False
    if not _one_device(true):
        return False
    return not any(implied(true, one) for one in lacking)


def _one_device(held: Sequence[Condition]) -> bool:
    """Whether one device can have every attribute that is asked for."""
    asked: dict[str, list[Attribute]] = {}
    for name, wanted in (pair for one in held for pair in one.posture):
        asked.setdefault(name, []).append(wanted)
    for values in asked.values():
        exact = [value for value in values if _least(value) is None]
        if exact and not all(fits(exact[0], wanted) for wanted in values):
            return False
    return True


def standings(conditions: Sequence[Condition]) -> tuple[tuple[bool, ...], ...]:
    """Every way in which these conditions can hold or not, together; one truth value each, in their order."""
    return tuple(
        truth
        for truth in product((False, True), repeat=len(conditions))
        if possible(
            [one for one, holds in zip(conditions, truth, strict=True) if holds],
            [one for one, holds in zip(conditions, truth, strict=True) if not holds],
        )
    )
