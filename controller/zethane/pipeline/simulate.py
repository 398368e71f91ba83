"""The pipeline evaluated in Python: what a switch with these entries would do with a packet.

Used to hold the compiled tables against `decide` on one side and against Open vSwitch on the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from zethane.pipeline.fields import ALL_BITS
from zethane.pipeline.flow import (
    Flow,
    ForgetPort,
    Match,
    Output,
    OutputRegister,
    PopVlan,
    PushVlan,
    SetField,
    ToController,
)
from zethane.pipeline.tables import VLAN_PRESENT, Table


@dataclass(slots=True)
class Outcome:
    """What happened to a packet: the entries it took, where it went out, and whether it went up.

    `sampled_by` is the entry of `sample` whose meter a packet passes before it goes up.
    `vlans` are the VLAN ids of the tags that it had at each of the ports where it went out; 0: none.
    """

    path: list[Flow] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    vlans: list[int] = field(default_factory=list)
    to_controller: bool = False
    sampled_by: Flow | None = None
    fields: dict[str, int] = field(default_factory=dict)

    @property
    def last(self) -> Flow | None:
        """The entry that settled it; None on an empty table."""
        return self.path[-1] if self.path else None


class Simulator:
    """A set of entries, indexed by table."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        tables: dict[Table, list[Flow]] = defaultdict(list)
        for flow in flows:
            tables[flow.table].append(flow)
        self._tables = {table: sorted(rows, key=lambda flow: -flow.priority) for table, rows in tables.items()}

    def run(self, packet: dict[str, int]) -> Outcome:
        """Send a packet, as its match fields, through the tables from `port` on.

        Fields that the packet does not have are 0, as an untagged packet's `vlan_vid` and fresh registers are.
        """
        return self.run_from(Table.PORT, packet)

    def run_from(self, start: Table, packet: dict[str, int]) -> Outcome:
        """Send a packet through the tables from `start` on, as one that has come so far."""
        outcome = Outcome(fields=dict(packet))
        table: Table | None = start
        while table is not None:
            flow = self._lookup(table, outcome.fields)
            if flow is None:
                break
            outcome.path.append(flow)
            _apply(flow, outcome)
            for passed in flow.resubmits:
                outcome.sampled_by = self._lookup(passed, outcome.fields)
            table = flow.goto
        return outcome

    def _lookup(self, table: Table, fields: dict[str, int]) -> Flow | None:
        return next((flow for flow in self._tables.get(table, ()) if _matches(flow.match, fields)), None)


def _matches(wanted: Match, fields: dict[str, int]) -> bool:
    return all(fields.get(name, 0) & mask == value for name, value, mask in wanted)


def _apply(flow: Flow, outcome: Outcome) -> None:
    fields = outcome.fields
    for action in flow.actions:
        if isinstance(action, SetField):
            fields[action.name] = action.value
        elif isinstance(action, PushVlan | PopVlan):
            fields["vlan_vid"] = 0
        elif isinstance(action, ForgetPort):
            fields["in_port"] = 0
        elif isinstance(action, Output):
            _send(outcome, action.port)
        elif isinstance(action, OutputRegister):
            _send(outcome, fields.get(action.register, 0))
        elif isinstance(action, ToController):
            outcome.to_controller = True
    if flow.metadata is not None:
        value, mask = flow.metadata
        fields["metadata"] = fields.get("metadata", 0) & ~mask & ALL_BITS | value & mask


def _send(outcome: Outcome, port: int) -> None:
    """Out of a port, unless it is the one where the packet came in (OpenFlow 1.3.5 §5.12, output)."""
    if port != outcome.fields.get("in_port"):
        outcome.ports.append(port)
        outcome.vlans.append(outcome.fields.get("vlan_vid", 0) & ~VLAN_PRESENT)
