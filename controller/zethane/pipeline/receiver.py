"""Receivers: sessions, gateways and servers as the entries of `destination` have them, and where each of them is."""

from __future__ import annotations

from typing import Protocol

from zethane.net.endpoint import Attachment
from zethane.pipeline.fields import (
    EGRESS_PORT,
    EGRESS_SWITCH,
    EGRESS_VLAN,
    OBJECT_CLASS,
    OBJECT_MASK,
    OBJECT_SHIFT,
    Reason,
    cookie,
)
from zethane.pipeline.flow import Flow, Match, SetField
from zethane.pipeline.tables import Table


class Receiver(Protocol):
    """Who has a number, and is attached to the switch of that number."""

    @property
    def number(self) -> int:
        """Its number as an object, in metadata and cookies."""

    @property
    def switch(self) -> int:
        """The number of its switch."""

    @property
    def attachment(self) -> Attachment:
        """Its port, VLAN and MAC there."""


def receives(receiver: Receiver, object_class: int, wanted: Match, priority: int, source: str, lease: int = 0) -> Flow:
    """The entry that has a receiver be the object of what is matched, with a class; `lease` is its hard timeout in
    seconds, 0 for none."""
    return Flow(
        Table.DESTINATION,
        priority,
        wanted,
        cookie(0, receiver.number, Reason.BINDING),
        actions=(
            SetField(OBJECT_CLASS, object_class),
            SetField(EGRESS_SWITCH, receiver.switch),
            SetField(EGRESS_PORT, receiver.attachment.port),
            SetField(EGRESS_VLAN, receiver.attachment.vlan),
        ),
        metadata=(receiver.number << OBJECT_SHIFT, OBJECT_MASK),
        goto=Table.FLOW,
        hard_timeout=lease,
        source=source,
    )
