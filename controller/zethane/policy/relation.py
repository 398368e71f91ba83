"""A rule's expression: where it goes, and what it sees. It goes to the condition of one end if it is about that alone.

What one end alone decides is part of its class, and costs nothing per flow. What needs both is a relation of the rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from zethane.policy.condition import Condition
from zethane.policy.expression import Expression, compiled
from zethane.policy.model import Rule
from zethane.policy.principal import Party


def with_expression(rule: Rule, expression: Expression) -> Rule:
    """The rule with an expression in its place.

    Of an end outside nothing is known before there is a flow, and the address is that of a flow: these are relations.
    So is what looks at the clock: as part of classes it would move every session at one moment.
    """
    about_subject, about_object = expression.is_about("subject"), expression.is_about("object")
    alone = not expression.is_about_address and not expression.is_about_time
    if alone and not about_object and not rule.source_networks:
        return replace(rule, condition=_asking(rule.condition, rule, expression))
    if alone and not about_subject and not rule.target_networks:
        return replace(rule, object_condition=_asking(rule.object_condition, rule, expression))
    return replace(rule, expression=expression.text)


def _asking(condition: Condition, rule: Rule, expression: Expression) -> Condition:
    return replace(condition, expression=expression.text, or_error=not rule.allow)


def values_seen(rule: Rule, subject: Party, target: Party, now: float) -> Iterator[tuple[str, str]]:
    """Each expression of a rule with the values that it sees in these ends, or the error in place of an answer."""
    for text, first, second in (
        (rule.condition.expression, subject, subject),
        (rule.object_condition.expression, target, target),
        (rule.expression, subject, target),
    ):
        if text is not None:
            expression = compiled(text)
            values = [f"{name} is {value}" for name, value in expression.seen(first, second, now)]
            error = expression.answer(first, second, now).error
            yield text, "; ".join([*values, *([error] if error else [])])
