"""What became of one of the policy's own tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zethane.policy.decide import Decision
from zethane.policy.difference import example_text, example_view
from zethane.policy.example import Example
from zethane.policy.model import Test
from zethane.policy.moment import moment_text


@dataclass(frozen=True, slots=True)
class Outcome:
    """One of the policy's tests: what was decided, and whether that was expected.

    `example` is one who is decided otherwise than expected, where more than hosts are asked about. `place` is FILE:LINE
    of the rule that decides.
    """

    test: Test
    passed: bool
    decision: Decision
    service: str
    example: Example | None = None
    place: str | None = None

    @property
    def text(self) -> str:
        """`never web -> db tcp/22: rule x allows …; for example …`."""
        test = self.test
        when = f" when {test.when}" if test.when else ""
        when += f" at {moment_text(test.at)}" if test.at is not None else ""
        text = f"{test.expected} {test.source} -> {test.target} {self.service}{when}"
        return text if self.passed else f"{text}: {self.why}"

    @property
    def why(self) -> str:
        """The reason of the decision, with the rule's place and the example."""
        text = f"{self.decision.reason} ({self.place})" if self.place else self.decision.reason
        return f"{text}; for example {example_text(self.example)}" if self.example is not None else text

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        test = self.test
        return {
            "line": test.line,
            "expected": test.expected,
            "from": test.source,
            "to": test.target,
            "service": self.service,
            "when": test.when,
            "at": moment_text(test.at) if test.at is not None else None,
            "passed": self.passed,
            "decision": "allow" if self.decision.allowed else "deny",
            "rule": self.decision.rule,
            "place": self.place,
            "reason": self.decision.reason,
            "example": example_view(self.example) if self.example is not None else None,
        }
