"""A flow entry as a value: match, instructions, cookie, timeouts; and how it reads as text.

Values of all fields are integers, whatever their width. Two entries with the same `key` are the same entry
to a switch; if their `body` differs, the later one replaces the earlier.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from zethane.pipeline.tables import FIELD_BITS, TABLES, PipelineError, Table


class FieldMatch(NamedTuple):
    """One field: `value` under `mask`; the mask is all ones for an exact match."""

    name: str
    value: int
    mask: int


Match = tuple[FieldMatch, ...]
FieldValue = int | tuple[int, int]
"""An exact value, or a value and its mask."""

EntryKey = tuple[Table, int, Match]
"""Table, priority and match: what identifies an entry on a switch."""


def match(**fields: FieldValue) -> Match:
    """A match in canonical form: sorted by name, values reduced to their mask, empty masks left out."""
    found = []
    for name, wanted in sorted(fields.items()):
        bits = FIELD_BITS.get(name)
        if bits is None:
            raise PipelineError(f"no field is called {name}")
        full = (1 << bits) - 1
        value, mask = wanted if isinstance(wanted, tuple) else (wanted, full)
        if value & ~full or mask & ~full:
            raise PipelineError(f"{name}={value:#x}/{mask:#x} does not fit into {bits} bits")
        if mask:
            found.append(FieldMatch(name, value & mask, mask))
    return tuple(found)


SAMPLE_LENGTH = 128
"""Bytes of a denied packet that go up for the log: enough for every header that is named there."""


@dataclass(frozen=True, slots=True)
class Output:
    """Send out of a port."""

    port: int


@dataclass(frozen=True, slots=True)
class OutputRegister:
    """Send out of the port whose number is in a register."""

    register: str


@dataclass(frozen=True, slots=True)
class ToController:
    """Send up, at most `length` bytes; 0xFFFF: all of it."""

    length: int = 0xFFFF


@dataclass(frozen=True, slots=True)
class SetField:
    """Write a header field or a register."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class PushVlan:
    """Add an 802.1Q tag."""


@dataclass(frozen=True, slots=True)
class PopVlan:
    """Remove the outer tag."""


@dataclass(frozen=True, slots=True)
class ForgetPort:
    """Forget where the packet came in, so that it may go out there: a switch would leave that output out."""


@dataclass(frozen=True, slots=True)
class FinTimeout:
    """Shorten the entry's timeouts when a FIN or RST passes. Seconds; 0 leaves one alone."""

    idle: int
    hard: int


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Send through the entries of another table, and go on with the next action."""

    table: Table


@dataclass(frozen=True, slots=True)
class Track:
    """Look the packet's connection up in a zone, and go on with it at another table (ct, ovs-actions(7))."""

    zone: int
    table: Table


@dataclass(frozen=True, slots=True)
class Commit:
    """Take the packet's connection up in a zone, labelled with subject, object, rule and this epoch, and go on with it
    at another table, where it is known whether there was room; without a table with what comes next. One that is there
    under another label is relabelled; one the other way round is forgotten.
    """

    zone: int
    table: Table | None
    epoch: int


Action = (
    Output
    | OutputRegister
    | ToController
    | SetField
    | PushVlan
    | PopVlan
    | ForgetPort
    | FinTimeout
    | Resubmit
    | Track
    | Commit
)

_OUTPUTS = (Output, OutputRegister)
_NO_TABLE: frozenset[Table] = frozenset()

SAMPLED: tuple[Action, ...] = (Resubmit(Table.SAMPLE), ToController(SAMPLE_LENGTH))
"""What a deny does that an operator wants to know of: a sample goes up, metered by the port it came from."""

ASKED: tuple[Action, ...] = (Resubmit(Table.ASK), ToController())
"""What has to be verified goes up, metered by the port it came from."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow entry. Timeouts in seconds, 0 for none. No instruction at all: drop."""

    table: Table
    priority: int
    match: Match
    cookie: int
    actions: tuple[Action, ...] = ()
    metadata: tuple[int, int] | None = None
    goto: Table | None = None
    meter: int | None = None
    idle_timeout: int = 0
    hard_timeout: int = 0
    notify_removed: bool = False
    source: str = field(default="", compare=False)
    """Where the entry comes from (rule, file and line, or session), for people."""

    def __post_init__(self) -> None:
        """Hold the entry against its table's declaration."""
        TABLES[self.table].check(self)

    @property
    def outputs(self) -> bool:
        """Whether the entry sends packets out of a port."""
        return any(isinstance(action, _OUTPUTS) for action in self.actions)

    @property
    def resubmits(self) -> frozenset[Table]:
        """The tables that packets are sent through on the way."""
        found = _NO_TABLE
        for action in self.actions:
            if isinstance(action, Resubmit):
                found |= {action.table}
        return found

    @property
    def tracked_to(self) -> Table | None:
        """The table where packets go on when connection tracking has looked at them."""
        return next((action.table for action in self.actions if isinstance(action, Track | Commit)), None)

    @property
    def key(self) -> EntryKey:
        """What identifies the entry on a switch."""
        return self.table, self.priority, self.match

    @property
    def body(self) -> tuple[object, ...]:
        """What the entry does, without its hard timeout, which runs down."""
        return (
            self.cookie,
            self.actions,
            self.metadata,
            self.goto,
            self.meter,
            self.idle_timeout,
            self.notify_removed,
        )
