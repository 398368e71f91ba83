"""What one connection may take: time, memory, and how much may wait."""

from __future__ import annotations

from dataclasses import dataclass, field

from zethane.adapters.openflow.intake import TurnLimits


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Bounds in seconds and bytes for one connection."""

    handshake: float = 10.0
    echo_interval: float = 5.0
    echo_deadline: float = 15.0
    request: float = 30.0
    list_bytes: int = 8 * 2**20
    """One list answer: ports and meters, of which a switch has at most 65,536 each."""
    flow_list_bytes: int = 160 * 2**20
    """The entries of one table: some hundred thousand, 160 bytes each, and as many more that are somebody else's."""
    write_high_water: int = 64 * 2**10
    send_buffer: int = 128 * 2**10
    """What may wait to be written, here and in the kernel: some hundred set-ups. A switch that is behind gets no more
    work then, and what takes a session back never waits behind seconds of it."""
    unread_bytes: int = 4 * 2**20
    """Where so much waits to be written, nothing is read any more: answers would add to it."""
    unwritten_bytes: int = 256 * 2**20
    """A switch that lets so much wait is given up: flows of other switches' hosts are written to it as well."""
    closing: float = 2.0
    """What still waits to be written when a connection ends has this long."""
    held_bytes: int = 64 * 2**20
    turn: TurnLimits = field(default_factory=TurnLimits)
