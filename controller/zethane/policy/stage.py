"""Stages: which policy decides, and which one is only asked what it would decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zethane.net.prefix import Prefix, parse_prefix
from zethane.policy.condition import NOTHING_ASKED
from zethane.policy.model import ANY, Policy, Rule
from zethane.policy.service import Service

OPEN = "stage:open"
"""The rule that lets every session open everything to every other; no rule of a policy has a colon in its id."""

OPEN_OUT, OPEN_IN = "stage:open-out", "stage:open-in"
"""The same to addresses outside, and from them."""

EVERYWHERE: tuple[Prefix, ...] = (parse_prefix("0.0.0.0/0"), parse_prefix("::/0"))


@dataclass(frozen=True, slots=True)
class Staging:
    """`enforced` decides. `staged` is what would if nothing were staged; None where nothing is."""

    enforced: Policy
    staged: Policy | None = None

    @property
    def open(self) -> bool:
        """Whether everything passes, because no policy was in force before the one that is staged."""
        return self.enforced.rule(OPEN) is not None

    @property
    def whole(self) -> bool:
        """Whether it is a whole policy that is staged, and not some of its rules."""
        return self.staged is not None and (self.open or self.staged.digest != self.enforced.digest)

    @property
    def rules(self) -> int:
        """How many rules are staged; of a policy that is, all of them."""
        if self.staged is None:
            return 0
        return len(self.staged.rules) if self.whole else len(self.enforced.rules) - len(self.enforced.enforced)

    @property
    def detail(self) -> str:
        """What is staged, in words; empty where nothing is."""
        if self.open:
            return "staged: every session may open everything to every other, as no policy was in force before"
        if self.whole:
            return f"staged: {self.enforced.digest} stays in force"
        return f"{self.rules} of its rules are staged" if self.rules else ""

    def view(self) -> Mapping[str, Any]:
        """JSON-ready: `stage` is `open`, `audit` for a policy that is staged, or `enforce`."""
        stage = "open" if self.open else "audit" if self.whole else "enforce"
        return {
            "stage": stage,
            "staged_version": self.staged.digest if self.staged is not None and self.whole else None,
            "staged_rules": self.rules,
        }


def compose(policy: Policy, before: Policy | None) -> Staging:
    """What becomes of a policy; `before` is the one that was in force last, None if none ever was."""
    if policy.stage == "enforce":
        return Staging(policy, policy.as_if_enforced() if len(policy.enforced) < len(policy.rules) else None)
    return Staging(before or open_policy(policy), policy.as_if_enforced())


def open_policy(policy: Policy) -> Policy:
    """A policy with the same segments under which every session may open everything to every other, and outside."""
    anything = (Service("any"),)
    within = Rule(OPEN, (ANY,), (ANY,), anything, "allow", NOTHING_ASKED)
    out = replace(within, id=OPEN_OUT, targets=(), target_networks=EVERYWHERE)
    inwards = replace(within, id=OPEN_IN, sources=(), source_networks=EVERYWHERE)
    return replace(policy, rules=(within, out, inwards), tests=(), stage="enforce")


@dataclass(frozen=True, slots=True)
class WouldBe:
    """What would be decided of a flow, by which rule, and why: a word of docs/reasons.md."""

    allowed: bool
    rule: str | None
    reason: str

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {"decision": "allow" if self.allowed else "deny", "rule": self.rule, "reason": self.reason}
