"""Bindings: who may send from where, and who owns a destination. Tables `source` and `destination`.

Every entry carries a lease, a hard timeout no later than its session's end, so that access ends on time even
when no controller is there to end it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from zethane.net.endpoint import Attachment
from zethane.pipeline.addresses import destination_fields, source_fields
from zethane.pipeline.fields import (
    FABRIC,
    SUBJECT_CLASS,
    SUBJECT_MASK,
    SUBJECT_SHIFT,
    VLAN_MASK,
    VLAN_SHIFT,
    Reason,
    cookie,
)
from zethane.pipeline.flow import Flow, SetField, match
from zethane.pipeline.receiver import receives
from zethane.pipeline.tables import Priority, Table

MAX_LEASE = 0xFFFF
"""Longest hard timeout that OpenFlow can say, in seconds; longer sessions have their leases renewed."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What the switches need to know of a live session.

    `switch` is the number of the switch that it is attached to, `session_class` the number of its class.
    """

    number: int
    switch: int
    attachment: Attachment
    addresses: tuple[bytes, ...]
    session_class: int


def lease_seconds(ends: float, now: float) -> int:
    """The hard timeout for a binding that ends at `ends`: never late; 0 if it is too late to install it."""
    return max(0, min(MAX_LEASE, int(ends - now)))


def flow_lease(ends: float, now: float) -> int:
    """The hard timeout for a per-flow rule that ends at `ends`: 0, none, for infinity.

    It is cut to whole seconds, so that it is never late but in the last second: there is no shorter one than that.
    """
    return 0 if ends == math.inf else max(1, lease_seconds(ends, now))


def source_binding(binding: Binding, switch: int, lease: int) -> Iterator[Flow]:
    """Entries of `source`, per address: at the session's own switch by port and VLAN, at others by the fabric bit."""
    if switch == binding.switch:
        place: dict[str, int | tuple[int, int]] = {
            "in_port": binding.attachment.port,
            "metadata": (binding.attachment.vlan << VLAN_SHIFT, VLAN_MASK),
        }
    else:
        place = {"metadata": (FABRIC, FABRIC)}
    for address in binding.addresses:
        yield Flow(
            Table.SOURCE,
            Priority.SOURCE_SESSION,
            match(**place, eth_src=binding.attachment.mac, **source_fields(address)),
            cookie(binding.number, 0, Reason.BINDING),
            actions=(SetField(SUBJECT_CLASS, binding.session_class),),
            metadata=(binding.number << SUBJECT_SHIFT, SUBJECT_MASK),
            goto=Table.DESTINATION,
            hard_timeout=lease,
            source=f"session {binding.number}",
        )


def destination_binding(binding: Binding, lease: int) -> Iterator[Flow]:
    """Entries of `destination`, per address; the same on every switch."""
    for address in binding.addresses:
        wanted = match(eth_dst=binding.attachment.mac, **destination_fields(address))
        source = f"session {binding.number}"
        yield receives(binding, binding.session_class, wanted, Priority.DESTINATION_SESSION, source, lease)
