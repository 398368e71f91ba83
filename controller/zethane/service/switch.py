"""Switches as the policy administrator sees them: what it may ask of one, and what one reports.

The OpenFlow adapter implements `SwitchChannel` and calls `SwitchEvents`; tests implement the former in memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from zethane.net.flowkey import FlowKey
from zethane.pipeline.change import Change
from zethane.pipeline.fields import vlan_of
from zethane.pipeline.held import Reported
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import Verified
from zethane.service.written import Written


class PacketIn(NamedTuple):
    """A packet that a switch sent up, with what the switch had worked out about it.

    A tag of its edge port is not in the frame any more: `vlan` says what it was.
    """

    port: int
    table: int
    cookie: int
    metadata: int
    frame: bytes

    @property
    def vlan(self) -> int:
        """The VLAN that the packet was tagged with on the edge port where it came in; 0: it had no tag."""
        return vlan_of(self.metadata)


class FlowRemoved(NamedTuple):
    """An entry of `flow` is gone, with its counters. `reason` is OFPRR_*: 0 idle, 1 hard, 2 delete."""

    cookie: int
    reason: int
    key: FlowKey | None
    packets: int
    octets: int
    idle_timeout: int
    metadata: int
    port: int
    classes: tuple[int, int] | None = None
    """The classes of sender and receiver that it was for, where the switch says so."""


class EntryRemoved(NamedTuple):
    """An entry of another table that was to report its end is gone, with its counters."""

    table: int
    cookie: int
    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class PortState:
    """A port of a switch, and whether packets can pass there."""

    number: int
    name: str
    up: bool


MeterState = Literal["missing", "altered", "stale"]
"""What was wrong with a meter."""


class Bundle(Protocol):
    """Changes that are being sent, and take effect all at once when they are committed."""

    size: int
    """How many there are."""

    def add(self, changes: Sequence[Change]) -> None:
        """Send these. They are ordered."""

    def commit(self) -> Awaitable[None]:
        """Let them take effect. Whatever is sent after this takes effect after it.

        Awaiting it raises ChannelError if the switch refuses; then none of them took effect.
        """

    @property
    def is_refused(self) -> bool:
        """Whether it is known already that the switch refuses."""

    def discard(self) -> None:
        """Let none of them take effect, ever. Nothing is to be added or committed any more."""


class SwitchChannel(Protocol):
    """One connected switch. Writes are ordered, never block, and are flushed when the current event is done."""

    dpid: int

    @property
    def waiting(self) -> int:
        """Packets that have come up and wait for their turn."""

    @property
    def is_behind(self) -> bool:
        """Whether the switch does not process as fast as is written to it: what can wait should."""

    @property
    def is_busy(self) -> bool:
        """Whether it has so much to process that what can wait long should."""

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be written to it that packets of hosts must not add to it."""

    def apply(self, changes: Sequence[Change]) -> None:
        """Send changes one by one, without waiting."""

    def flush(self) -> None:
        """Write what has been sent until now, without waiting for the current event to be done."""

    def install(self, direction: Verified, *, notify: bool, lease: int, idle: int) -> None:
        """The hot path: the per-flow rule for one direction of a flow, with hard and idle timeout; 0: none."""

    def packet_out(self, port: int, frame: bytes, vlan: int = 0) -> None:
        """Send an untagged frame out of a port, with a tag of this VLAN there if it is not 0."""

    def commit(self, changes: Sequence[Change]) -> Awaitable[None]:
        """Send all changes as one atomic, ordered bundle. Whatever is sent after this takes effect after it.

        Awaiting it raises ChannelError if the switch refuses; then none of them took effect.
        """

    def bundle(self) -> Bundle:
        """The same little by little. Nothing else is to be sent meanwhile whose place matters."""

    def match_fragments(self) -> None:
        """Let the tables decide about fragments. Before this, a switch that has just connected drops them all."""

    async def barrier(self) -> None:
        """Return when the switch has processed all that was sent before. Raises ChannelError."""

    async def read_tables(
        self, tables: Collection[Table] = tuple(Table), cookie: int = 0, mask: int = 0, *, brief: bool = False
    ) -> list[Reported]:
        """Everything in these tables of Zethane's whose cookie agrees under the mask. Raises ChannelError.

        `brief`: entries of sessions come as `HeldBinding`.
        """

    def watch(self) -> AbstractContextManager[Written]:
        """What is sent to the switch, and reported gone by it, within the block."""

    async def set_meters(
        self, meters: Mapping[int, tuple[int, int]], stale: Collection[int] = ()
    ) -> dict[int, MeterState]:
        """Make these meters (id to packets per second and burst) be right, and remove the `stale` ones.

        All others are left alone. Returns those that were not as they should be. Raises ChannelError.
        """

    async def read_counts(self, metadata: int, mask: int) -> tuple[int, int]:
        """Packets and octets that per-flow rules have let through whose metadata is this where the mask has ones.

        Raises ChannelError.
        """

    async def read_heard(self, session: int) -> int:
        """The packets that a session's entries of `source` have counted since they were written. Raises ChannelError.

        To be asked of the session's own switch: at others the packets of the fabric are counted.
        """

    async def read_meter_drops(self) -> dict[int, int]:
        """Packets that each meter has left out since it was made. Raises ChannelError."""

    def close(self, reason: str) -> None:
        """End the connection."""


class SwitchEvents(Protocol):
    """What a switch reports; all on the event loop."""

    def connected(self, channel: SwitchChannel, ports: Sequence[PortState]) -> bool:
        """The handshake is done. False: this switch is not wanted, close."""

    def disconnected(self, channel: SwitchChannel, reason: str) -> None:
        """The connection is gone."""

    def packet_in(self, channel: SwitchChannel, event: PacketIn) -> None:
        """A packet came up."""

    def packet_dropped(self, channel: SwitchChannel, event: PacketIn) -> None:
        """A packet came up and was not taken: as many of its port wait as may, or it has waited for too long."""

    def flow_removed(self, channel: SwitchChannel, event: FlowRemoved) -> None:
        """An entry with `notify_removed` is gone."""

    def entry_removed(self, channel: SwitchChannel, event: EntryRemoved) -> None:
        """An entry of `connection` or `owner` with `notify_removed` is gone."""

    def port_status(self, channel: SwitchChannel, port: PortState, *, removed: bool) -> None:
        """A port changed."""

    def refused(self, channel: SwitchChannel, what: str) -> None:
        """The switch answered a message with an error; `what` names the message and its cause."""
