"""What is known after an attempt, and the judges that say what of it got through. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zethane.document import count


@dataclass(frozen=True, slots=True)
class Mark:
    """Bytes that the frames of one variant of an attack carry and no others, and the host that sends them."""

    token: bytes
    sender: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One attempt.

    `received` are the frames that reached each host, the portal among them; `sent` those that each host put on its
    cable, captured at the switch's end of it; `fabric` those that crossed links between switches. `observed` is what
    a scenario has noted beyond frames. `records` are the decision log's, `counters` by how much each of the
    controller's grew, `missed` the frames that a capture had no room for.
    """

    marks: Mapping[str, Mark] = field(default_factory=dict)
    received: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    sent: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    fabric: Sequence[bytes] = ()
    observed: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[Mapping[str, Any]] = ()
    counters: Mapping[str, float] = field(default_factory=dict)
    missed: int = 0


Passed = Mapping[str, str]
"""What got through of each variant, in words; an empty text for nothing."""


def arrivals(evidence: Evidence) -> Passed:
    """The usual judge: a marked frame at any host but its sender's has got through."""
    return {label: _where(evidence, mark) for label, mark in evidence.marks.items()}


def _where(evidence: Evidence, mark: Mark) -> str:
    counts = {
        host: sum(mark.token in frame for frame in frames)
        for host, frames in evidence.received.items()
        if host != mark.sender
    }
    return ", ".join(f"{frames_text(number)} at {host}" for host, number in counts.items() if number)


def frames_text(number: int) -> str:
    """`1 frame`, `2 frames`."""
    return count(number, "frame")


def observations(evidence: Evidence) -> Passed:
    """The judge of attacks whose success is not a frame: every observation is a text, empty for no success."""
    return {label: str(text) for label, text in evidence.observed.items()}


def everything(evidence: Evidence) -> Passed:
    """Both: marked frames and observations."""
    return {**arrivals(evidence), **observations(evidence)}


def unsent(evidence: Evidence) -> list[str]:
    """Variants of which not one frame reached the switch: they prove nothing."""
    return [
        label
        for label, mark in evidence.marks.items()
        if not any(mark.token in frame for frame in evidence.sent.get(mark.sender, ()))
    ]


def logged(evidence: Evidence) -> str:
    """What the controller wrote and counted meanwhile, but for what it allowed."""
    reasons: Counter[str] = Counter()
    for record in evidence.records:
        if record["event"] == "suppressed":
            reasons["left out of the log"] += int(record["packets"])
        elif record["event"] == "session":
            reasons[f"session {record['reason']}"] += 1
        elif record["event"] == "switch":
            reasons[f"switch {record.get('reason')}"] += 1
        elif record["event"] == "decision" and record["decision"] == "deny":
            reasons[str(record["reason"])] += 1
    counted = {name: int(by) for name, by in evidence.counters.items() if name.startswith("neighbour_") and by > 0}
    parts = [f"{reason} x{number}" for reason, number in reasons.most_common()]
    parts += [f"{name.replace('_', ' ')} +{by}" for name, by in sorted(counted.items())]
    return ", ".join(parts)
