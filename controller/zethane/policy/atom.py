"""Atoms: the single things that rules ask besides places and services, each true or not of a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Any, Literal, NamedTuple

from zethane.document.duration import duration_text
from zethane.net.prefix import Prefix
from zethane.policy.condition import Condition, attribute_text

Side = Literal["subject", "object", "flow"]
Kind = Literal[
    "mfa",
    "within",
    "aal",
    "device",
    "device-label",
    "device-groups",
    "posture",
    "label",
    "groups",
    "address",
    "expression-true",
    "expression-false",
    "hours",
]

Literals = list[tuple["Atom", bool]]
"""Atoms, each with whether it has to be true or must not be."""


class Atom(NamedTuple):
    """One thing that is true or not of the subject, of the object, or of both and the moment (`flow`).

    `value` is equal for what is the same.
    """

    side: Side
    kind: Kind
    value: Any = None

    def text(self, holds: bool) -> str:
        """What is the case where it is true, or where it is not."""
        said = _text(self.kind, self.value)
        if self.kind in ("expression-true", "expression-false"):
            word = "true" if self.kind == "expression-true" else "false"
            return f"the expression {said} is {'' if holds else 'not '}{word}"
        if self.kind == "hours":
            text = f"within {said}" if holds else f"outside {said}"
        elif holds:
            text = said
        elif self.kind == "aal":
            text = f"aal below {self.value}"
        elif self.kind in ("mfa", "within", "device", "device-label", "device-groups"):
            text = f"no {said}"
        else:
            text = f"not {said}"
        return f"the object has {text}" if self.side == "object" else text

    @property
    def condition(self) -> Condition:
        """The condition that asks for just this of one side. Raises KeyError for what is of both or of the time."""
        return _CONDITIONS[self.kind](self.value)


_CONDITIONS: dict[Kind, Callable[[Any], Condition]] = {
    "mfa": lambda _: Condition(mfa=True),
    "within": lambda value: Condition(mfa_within=value),
    "aal": lambda value: Condition(aal=value),
    "device": lambda _: Condition(device=True),
    "device-label": lambda value: Condition(device=True, device_labels=(value,)),
    "device-groups": lambda value: Condition(device=True, device_groups=value),
    "posture": lambda value: Condition(posture=((value[0], value[2]),), posture_max_age=value[3]),
    "label": lambda value: Condition(labels=(value,)),
    "groups": lambda value: Condition(groups=value),
    "address": lambda value: Condition(networks=value),
}


def _text(kind: Kind, value: Any) -> str:
    if kind == "within":
        return f"mfa within {duration_text(value)}"
    if kind == "aal":
        return f"aal {value}"
    if kind == "device-label":
        return f"device {value[0]}={value[1]}"
    if kind == "device-groups":
        return f"device of group {_either(sorted(value))}"
    if kind == "posture":
        name, _, wanted, age = value
        return f"posture {attribute_text(name, wanted)} within {duration_text(age)}"
    if kind == "label":
        return f"{value[0]}={value[1]}"
    if kind == "groups":
        return f"group {_either(sorted(value))}"
    if kind == "address":
        return f"address in {_either(value)}"
    if kind in ("expression-true", "expression-false"):
        return _on_one_line(value)
    return kind if value is None else str(value)


def _on_one_line(expression: str) -> str:
    """An expression as it may be shown on a terminal."""
    text = " ".join(expression.split())
    return text if text.isprintable() else ascii(text)


def _either(words: Iterable[object]) -> str:
    return " or ".join(map(str, words))


def literals_of(condition: Condition, side: Side) -> Literals:
    """What a condition asks of one side, taken apart: it holds where all of it is so."""
    return list(_literals(condition, side))


def _literals(condition: Condition, side: Side) -> Iterator[tuple[Atom, bool]]:
    if condition.mfa is not None:
        yield Atom(side, "mfa"), condition.mfa
    if condition.mfa_within is not None:
        yield Atom(side, "within", condition.mfa_within), True
    if condition.aal:
        yield Atom(side, "aal", condition.aal), True
    if condition.device or condition.posture:
        yield Atom(side, "device"), True
        for label in condition.device_labels:
            yield Atom(side, "device-label", label), True
        if condition.device_groups:
            yield Atom(side, "device-groups", condition.device_groups), True
    for name, wanted in condition.posture:
        # The type is part of it: true is not 1.
        yield Atom(side, "posture", (name, type(wanted).__name__, wanted, condition.posture_max_age)), True
    for label in condition.labels:
        yield Atom(side, "label", label), True
    if condition.groups:
        yield Atom(side, "groups", condition.groups), True
    if condition.networks:
        yield Atom(side, "address", joined(condition.networks)), True
    if condition.expression is not None:
        yield expression_literal(side, condition.expression, condition.or_error)


def expression_literal(side: Side, text: str, or_error: bool) -> tuple[Atom, bool]:
    """That an expression is true; or, with `or_error`, that it is not false: it may also have no answer."""
    return (Atom(side, "expression-false", text), False) if or_error else (Atom(side, "expression-true", text), True)


def joined(networks: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """The fewest prefixes with the same addresses."""
    known = list(networks)
    return (
        *collapse_addresses(one for one in known if isinstance(one, IPv4Network)),
        *collapse_addresses(one for one in known if isinstance(one, IPv6Network)),
    )
