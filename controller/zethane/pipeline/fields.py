"""Every bit that the pipeline names: metadata, cookies, registers, reserved rule numbers, meters.

metadata  63        40 39        16 15       4 3 2 1 0
         +-----------+-----------+----------+-+-+-+-+
         |  subject  |  object   |   VLAN   |-|A|O|F|    F: the packet came through the fabric
         +-----------+-----------+----------+-+-+-+-+    O: it belongs to a connection that the subject has opened
                                                         A: it answers one that was opened to the subject
cookie   +-----------+-----------+----------------+
         |  subject  |  object   |      rule      |
         +-----------+-----------+----------------+
ct_label  127  96 95   64 63     40 39     16 15     0
         +-------+-------+---------+---------+--------+
         |   0   | epoch | subject | object  |  rule  |
         +-------+-------+---------+---------+--------+
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

SUBJECT_SHIFT = 40
OBJECT_SHIFT = 16
SUBJECT_MASK = 0xFFFFFF << SUBJECT_SHIFT
OBJECT_MASK = 0xFFFFFF << OBJECT_SHIFT
PARTIES_MASK = SUBJECT_MASK | OBJECT_MASK
RULE_MASK = 0xFFFF
VLAN_SHIFT = 4
VLAN_MASK = 0xFFF << VLAN_SHIFT
"""The VLAN that a packet was tagged with on the edge port where it came in; 0: it had no tag."""

FABRIC = 1
OPENED = 2
"""The packet belongs to a connection that the switch has let in, and goes the way in which it was opened."""
ANSWERS = 4
"""It goes the other way."""
CONNECTION_MASK = OPENED | ANSWERS

EPOCH_SHIFT = 64
EPOCH_MASK = 0xFFFFFFFF << EPOCH_SHIFT
"""What tells connections of this store's sessions from those of an earlier one, whose numbers mean others."""
ALL_BITS = 2**64 - 1

SUBJECT_CLASS = "reg0"
OBJECT_CLASS = "reg1"
EGRESS_SWITCH = "reg2"
"""Number of the switch that the object is attached to."""
EGRESS_PORT = "reg3"
"""OpenFlow port of the object on its switch."""
EGRESS_VLAN = "reg4"
"""VLAN id to tag a packet with at the object's port; 0: none."""

GRANT = "reg5"
"""Number of the rule by which the switch lets a packet pass."""

LET_IN = "reg6"
"""How the packet that opens a connection of a grant is let in: bits of the two below; 0 once it is known that there was
room for the connection."""
LET_IN_AT_ONCE = 1
"""It goes on as its connection is taken up, and nobody looks whether there was room."""
LET_IN_UNTOLD = 2
"""No copy goes up for the log."""

CT_TRACKED, CT_REPLY, CT_INVALID = 0x20, 0x08, 0x10
"""Bits of `ct_state` (ovs-fields(7))."""

PORTAL_NUMBER = 2**24 - 1
"""The number that stands for the portal where a session's number would be; no session has it."""

FIRST_STATIC = 0xFFFF00
"""Numbers from here up to the portal's stand for what is part of the network itself and does not log in:
servers of the infrastructure, and external networks behind an uplink."""

MAX_STATIC = PORTAL_NUMBER - FIRST_STATIC
"""How many of those a network may have."""

MAX_RULE = 0xFEFF
"""Highest number of a policy rule; the numbers above say why a packet came up without one."""

MAX_CLASS = 0xFFFF
"""Highest number of a segment with its conditions, and of a network outside."""

STANDING_BITS = 6
"""The lowest bits of a session's class: which conditions it meets, of those that have one of these bits in its
segment's number. Those above are that number."""

SEGMENT_MASK = 0xFFFFFFFF << STANDING_BITS & 0xFFFFFFFF
"""What all classes of a segment have in common, and with no other class."""

NETWORK_CLASS = 0x1000000
"""The bit that the class of a network outside has and the class of a session has not."""

DNS_CLASS = 0x3000000
"""The class of the servers that answer DNS. It has that bit: what rules say about any session is not about them."""


class Reason(IntEnum):
    """What the rule part of a cookie says where no policy rule is concerned."""

    NEIGHBOUR = 0xFF01
    """ARP and ND questions, for the controller to answer."""
    PORTAL = 0xFF02
    """A connection to the portal, verified per flow."""
    RETURN = 0xFF03
    """The reply direction of an allowed service: only flows that the controller knows."""
    RELATED = 0xFF04
    """An ICMP error: only about flows that the controller knows."""
    UNAUTHENTICATED = 0xFF05
    """No live session is bound to the packet's port, MAC and address."""
    UNKNOWN_DESTINATION = 0xFF06
    """No live session holds the destination."""
    NO_RULE = 0xFF07
    """No rule lets the subject's segment open this service to the object's."""
    MULTICAST = 0xFF08
    """Multicast and broadcast: they reach nobody."""
    MALFORMED = 0xFF09
    """Tagged frames on access ports, EtherTypes and messages that no host may send."""
    FORWARD = 0xFF0A
    """Plain forwarding of what was decided before."""
    BINDING = 0xFF0B
    """An entry of `source` or `destination`."""
    UNVERIFIED = 0xFF0C
    """On its way from `flow` to `rule`."""
    DHCP = 0xFF0D
    """DHCP and DHCPv6, for the controller to relay between a host and the trusted servers."""
    LLDP = 0xFF0E
    """LLDP frames: probes of the fabric on trunks, an alarm anywhere else."""
    ROUTER = 0xFF0F
    """Router solicitations of hosts and advertisements of router ports, for the controller."""
    REFUSED = 0xFF10
    """What the table `port` does not let in and an operator wants to know of: tags, fragments, rogue servers,
    router messages of hosts. The controller names it from the sample."""

    SAMPLE = 0xFF11
    """An entry of `sample`."""
    EXTERNAL_SPOOF = 0xFF12
    """What came in at an uplink from an address that is not behind it."""
    DNS = 0xFF13
    """A session's question to a DNS server of the infrastructure, which needs no rule of the policy."""
    EAPOL = 0xFF14
    """EAPOL frames of supplicants, for the authenticator of IEEE 802.1X."""
    UNTRACKED = 0xFF15
    """A grant allows it, but the switch cannot tell whether it belongs to a connection: verified per flow."""
    ANSWER_DENIED = 0xFF17
    """The answer of a connection that a grant has let in and a deny rule is about now."""
    NOT_COMMITTED = 0xFF16
    """A grant allows a connection that connection tracking has no room for: verified like any flow."""
    INVALID = 0xFF18
    """A grant allows it, but to connection tracking it belongs to no connection, and begins none: a SYN of a new
    connection with the addresses and ports of one that has not ended there. Verified like any flow."""
    NO_CONNECTION = 0xFF19
    """It comes from the port of a service that a grant allows, and belongs to no connection that the switch has let in:
    only flows that the controller knows."""

    @property
    def text(self) -> str:
        """The word for logs: `no-rule`, `unauthenticated`."""
        return self.name.lower().replace("_", "-")


DENY_METER = 1
"""The meter in front of the sampled denies of a switch that belong to no edge port."""

RECORD_METER = 2
"""The meter of a switch for copies of packets that it has let in by itself."""

_METERS = ("new-flows", "neighbour", "denied", "protocol", "new-grants")
"""What each of the meters of a port limits, by the meter's id: the first has five times the port's number and 5."""


def verify_meter(port: int) -> int:
    """The meter for packets of an edge port that no per-flow rule has taken."""
    return 5 * port + 5


def neighbour_meter(port: int) -> int:
    """The meter for ARP and ND questions of an edge port."""
    return 5 * port + 6


def denied_meter(port: int) -> int:
    """The meter for sampled denies of an edge port."""
    return 5 * port + 7


def protocol_meter(port: int) -> int:
    """The meter for DHCP, EAPOL, LLDP and router messages of a port."""
    return 5 * port + 8


def opening_meter(port: int) -> int:
    """The meter for packets of an edge port that open a connection of a grant."""
    return 5 * port + 9


def split_meter(meter: int) -> tuple[str, int | None]:
    """What a meter limits, and of which port: `("new-flows", 3)`; the fabric's denies are of none."""
    if meter == DENY_METER:
        return "denied", None
    if meter == RECORD_METER:
        return "granted", None
    return _METERS[meter % 5], meter // 5 - 1


def label(*, subject: int | None = None, obj: int | None = None, epoch: int) -> tuple[int, int]:
    """A match on the label of a connection: value and mask."""
    value, mask = epoch << EPOCH_SHIFT, EPOCH_MASK
    for number, shift, part in ((subject, SUBJECT_SHIFT, SUBJECT_MASK), (obj, OBJECT_SHIFT, OBJECT_MASK)):
        if number is not None:
            value, mask = value | number << shift, mask | part
    return value, mask


def vlan_of(metadata: int) -> int:
    """The VLAN in metadata; 0: none."""
    return (metadata & VLAN_MASK) >> VLAN_SHIFT


def session_class(segment: int, held: Iterable[int]) -> int:
    """The class of sessions of a segment with this number that meet the conditions with these bits, from 0."""
    return segment << STANDING_BITS | sum(1 << bit for bit in held)


def parties(subject: int, obj: int) -> int:
    """Metadata with subject and object."""
    return subject << SUBJECT_SHIFT | obj << OBJECT_SHIFT


def cookie(subject: int, obj: int, rule: int) -> int:
    """`subject:24 | object:24 | rule:16`."""
    return subject << SUBJECT_SHIFT | obj << OBJECT_SHIFT | rule


def split_cookie(value: int) -> tuple[int, int, int]:
    """(subject, object, rule) of a cookie, or (subject, object, low bits) of metadata."""
    return value >> SUBJECT_SHIFT, value >> OBJECT_SHIFT & 0xFFFFFF, value & RULE_MASK
