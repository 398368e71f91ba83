"""The pipeline evaluated in Python: what a switch with these entries would do with a packet.

Used to hold the compiled tables against `decide` on one side and against Open vSwitch on the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from zethane.pipeline.connections import Connections
from zethane.pipeline.fields import ALL_BITS, EPOCH_SHIFT, GRANT, PARTIES_MASK, RULE_MASK
from zethane.pipeline.flow import (
    Action,
    Commit,
    Flow,
    ForgetPort,
    Match,
    Output,
    OutputRegister,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    ToController,
    Track,
)
from zethane.pipeline.tables import VLAN_PRESENT, Table


@dataclass(slots=True)
class Outcome:
    """What happened to a packet: the entries it took, where it went out, and whether it went up.

    `passed` are the entries that it was sent through on the way, such as that whose meter it passes before it goes up.
    `vlans` are the VLAN ids of the tags that it had at each of the ports where it went out; 0: none.
    """

    path: list[Flow] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    vlans: list[int] = field(default_factory=list)
    to_controller: bool = False
    passed: list[Flow] = field(default_factory=list)
    fields: dict[str, int] = field(default_factory=dict)

    @property
    def sampled_by(self) -> Flow | None:
        """The entry whose meter the packet passed before it went up."""
        return self.passed[-1] if self.passed else None

    @property
    def last(self) -> Flow | None:
        """The entry that settled it; None on an empty table."""
        return self.path[-1] if self.path else None


class Simulator:
    """A set of entries, indexed by table, with the connections that they have let in."""

    def __init__(self, flows: Iterable[Flow], connections: Connections | None = None) -> None:
        self.connections = Connections() if connections is None else connections
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
            self._apply(flow, outcome)
            table = flow.tracked_to if flow.goto is None else flow.goto
        return outcome

    def _apply(self, flow: Flow, outcome: Outcome) -> None:
        fields = outcome.fields
        for action in flow.actions:
            if isinstance(action, Resubmit):
                passed = self._lookup(action.table, fields)
                if passed is not None:
                    outcome.passed.append(passed)
                    self._apply(passed, outcome)
            elif isinstance(action, Track):
                fields["ct_state"], fields["ct_label"] = self.connections.look_up(action.zone, fields)
            elif isinstance(action, Commit):
                parts = fields.get("metadata", 0) & PARTIES_MASK | fields.get(GRANT, 0) & RULE_MASK
                found = self.connections.commit(action.zone, fields, action.epoch << EPOCH_SHIFT | parts)
                if action.table is not None:  # else it goes on as what it was taken for before
                    fields["ct_state"], fields["ct_label"] = found
            else:
                _act(action, outcome)
        if flow.metadata is not None:
            value, mask = flow.metadata
            fields["metadata"] = fields.get("metadata", 0) & ~mask & ALL_BITS | value & mask

    def _lookup(self, table: Table, fields: dict[str, int]) -> Flow | None:
        return next((flow for flow in self._tables.get(table, ()) if _matches(flow.match, fields)), None)


def _matches(wanted: Match, fields: dict[str, int]) -> bool:
    return all(fields.get(name, 0) & mask == value for name, value, mask in wanted)


def _act(action: Action, outcome: Outcome) -> None:
    fields = outcome.fields
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


def _send(outcome: Outcome, port: int) -> None:
    """Out of a port, unless it is the one where the packet came in (OpenFlow 1.3.5 §5.12, output)."""
    if port != outcome.fields.get("in_port"):
        outcome.ports.append(port)
        outcome.vlans.append(outcome.fields.get("vlan_vid", 0) & ~VLAN_PRESENT)
