"""Per-flow rules and the entries of sessions as a switch reports them: nearly all that it holds.

Both have few forms, and are told by what is different between them. An entry is made of either only where one is
needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from zethane.net.flowkey import TCP, FlowKey
from zethane.pipeline.change import Change, Installed, Remove
from zethane.pipeline.fields import (
    FIRST_STATIC,
    OBJECT_CLASS,
    OBJECT_SHIFT,
    SUBJECT_CLASS,
    SUBJECT_SHIFT,
    VLAN_SHIFT,
    Reason,
    split_cookie,
)
from zethane.pipeline.flow import Flow, Match
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import FIN_IDLE, Verified, key_of, verified_flow

_NUMBER = 0xFFFFFF


class HeldRule(NamedTuple):
    """A per-flow rule in a switch, in the form in which Zethane writes them. Times in seconds.

    It can stand wherever an `Installed` can.
    """

    key: FlowKey
    sender: int
    receiver: int
    sender_class: int
    receiver_class: int
    cookie: int
    idle_timeout: int
    hard_timeout: int
    notify_removed: bool
    age: float
    packets: int
    octets: int

    @property
    def table(self) -> Table:
        """Where it is."""
        return Table.FLOW

    @property
    def priority(self) -> int:
        """Its priority there."""
        return Priority.FLOW_VERIFIED

    @property
    def flow(self) -> Flow:
        """The entry."""
        direction = Verified(self.key, self.sender, self.receiver, self.sender_class, self.receiver_class, self.cookie)
        return verified_flow(direction, notify=self.notify_removed, lease=self.hard_timeout, idle=self.idle_timeout)

    @property
    def raw(self) -> bytes:
        """Its match has names."""
        return b""

    @property
    def match(self) -> Match:
        """What it matches."""
        return self.flow.match

    @property
    def removal(self) -> Change:
        """What removes this entry and nothing else."""
        return Remove(Table.FLOW, Priority.FLOW_VERIFIED, self.match)

    def fits_idle_timeout(self, intended: int) -> bool:
        """Whether its idle timeout is the intended one, or what a FIN that passed has made of it."""
        if intended:
            return 0 < self.idle_timeout <= intended
        return self.idle_timeout == 0 or (self.idle_timeout == FIN_IDLE and self.key.proto == TCP)


Says = tuple[object, ...]
"""What an entry of a session says, its match and its instructions: the kind of entry first, then the session's number,
whether there is a lease, the flags, and whatever may be another for another session. Two that say the same are the same
entry."""


def bindings_say(
    number: int, mac: bytes, address: bytes, session_class: int, place: tuple[int, int, int]
) -> list[Says]:
    """What the entries of `source` and `destination` for one address say at a session's own switch. The place is the
    number of its switch, its port and its VLAN."""
    own = number.to_bytes(3, "big")
    switch, port, vlan = place
    return [
        ("source", number, True, 0, own, mac, address, session_class, port, vlan << VLAN_SHIFT),
        ("destination", number, True, 0, own, mac, address, session_class, switch, port, vlan),
    ]


def remote_bindings_say(
    number: int, mac: bytes, address: bytes, session_class: int, place: tuple[int, int, int]
) -> list[Says]:
    """The same at any other switch."""
    own = number.to_bytes(3, "big")
    return [
        ("source-fabric", number, True, 0, own, mac, address, session_class),
        ("destination", number, True, 0, own, mac, address, session_class, *place),
    ]


def connections_say(number: int, epoch: int, *, notify: bool) -> list[Says]:
    """What the entries of `connection` and `owner` of a session say (`pipeline.grants.connection_ends`)."""
    own = number.to_bytes(3, "big")
    return [(kind, number, False, int(notify), own, own, epoch) for kind in CONNECTION_KINDS]


CONNECTION_KINDS = ("opened", "opened-owner", "answers", "answers-owner")
"""The entries that `connection_ends` makes, in its order."""


class HeldBinding(NamedTuple):
    """An entry of one session. Times in seconds.

    It can stand wherever an `Installed` can. `says` is all that the entry is but for its age, its counters and the
    length of its hard timeout; None where it has not the form in which Zethane writes it. `read` makes the entry of
    `body` and `at`.
    """

    table: int
    cookie: int
    session: int
    says: Says | None
    hard_timeout: int
    age: float
    packets: int
    octets: int
    body: bytes
    at: int
    read: Callable[[bytes, int], Installed]

    @property
    def whole(self) -> Installed:
        """The entry with all that is in it; made anew each time."""
        return self.read(self.body, self.at)

    @property
    def priority(self) -> int:
        """Its priority in its table."""
        return self.whole.priority

    @property
    def match(self) -> Match:
        """What it matches."""
        return self.whole.match

    @property
    def flow(self) -> Flow | None:
        """The entry, if Zethane could have written it."""
        return self.whole.flow

    @property
    def raw(self) -> bytes:
        """The bytes of a match that cannot be read."""
        return self.whole.raw

    @property
    def removal(self) -> Change:
        """What removes this entry and nothing else."""
        return self.whole.removal


OF_SESSIONS = frozenset((Table.SOURCE, Table.DESTINATION, Table.CONNECTION, Table.OWNER))
"""The tables that have entries of sessions."""


def session_of(table: int, cookie: int) -> int:
    """The number of the session whose binding an entry says to be; 0 if it says something else."""
    if table not in OF_SESSIONS or cookie & 0xFFFF != Reason.BINDING:
        return 0
    subject, obj, _ = split_cookie(cookie)
    number = 0 if subject and obj else subject or obj
    return number if number < FIRST_STATIC else 0


Reported = Installed | HeldRule | HeldBinding
"""An entry as a switch reports it."""


def held_rule(entry: Reported) -> HeldRule | None:
    """The per-flow rule that an entry is; None if it has not their form."""
    if isinstance(entry, HeldRule):
        return entry
    if isinstance(entry, HeldBinding):
        return None
    flow, key = entry.flow, key_of(entry.match)
    if flow is None or key is None:
        return None
    fields = {name: value for name, value, _ in entry.match}
    parties = fields.get("metadata", 0)
    rule = HeldRule(
        key,
        parties >> SUBJECT_SHIFT & _NUMBER,
        parties >> OBJECT_SHIFT & _NUMBER,
        fields.get(SUBJECT_CLASS, 0),
        fields.get(OBJECT_CLASS, 0),
        entry.cookie,
        flow.idle_timeout,
        flow.hard_timeout,
        flow.notify_removed,
        entry.age,
        entry.packets,
        entry.octets,
    )
    return rule if rule.flow == flow else None
