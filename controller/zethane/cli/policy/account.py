"""What the reading of a decision log came to: for programs, and in a few lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from zethane.audit.observed import Account
from zethane.audit.record import rfc3339_or_none
from zethane.document import count

MAX_NAMES = 10
"""Names that nobody knows, of which people are told."""


def account_view(account: Account) -> Mapping[str, Any]:
    """JSON-ready."""
    return {
        "lines": account.lines,
        "records": account.records,
        "first": rfc3339_or_none(account.first),
        "last": rfc3339_or_none(account.last),
        "decisions": account.decisions,
        "flow_ends": account.flow_ends,
        "damaged": dict(account.damaged),
        "missing": dict(account.missing),
        "aside": dict(account.aside),
        "ends": dict(account.ends),
        "unknown": dict(account.unknown),
    }


def account_lines(account: Account) -> Iterator[str]:
    """What was read, and what was not, or not as it should be."""
    if not account.decisions and not account.flow_ends:
        yield "nothing was seen, so this says nothing about the policy: look at the log, --since and --until"
    period = f", {rfc3339_or_none(account.first)} to {rfc3339_or_none(account.last)}" if account.records else ""
    what = f"{count(account.decisions, 'decision')}, {count(account.flow_ends, 'flow that ended', 'flows that ended')}"
    yield f"{count(account.records, 'record')}{period}: {what}"
    if account.damaged:
        yield f"{count(account.damaged.total(), 'line')} could not be read: {_counts(account.damaged)}"
    if account.missing:
        yield f"the log itself left out {count(account.missing.total(), 'record')}: {_counts(account.missing)}"
    if account.ends["identities"]:
        ends = count(account.ends["identities"], "end of a flow is", "ends of flows are")
        yield f"{ends} known by name only: taken as having proved all they can"
    if account.unknown:
        names = ", ".join(name for name, _ in account.unknown.most_common(MAX_NAMES))
        more = ", …" if len(account.unknown) > MAX_NAMES else ""
        ends = count(account.ends["unknown"], "end of a flow is", "ends of flows are")
        yield f"{ends} of nobody that is known: {names}{more}"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counter.most_common())
