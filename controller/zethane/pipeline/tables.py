"""The tables, declared once: what each may match, where it may go on to, what a miss means.

Every flow entry is checked against this when it is made, so that an entry in the wrong table or a jump that
skips a check is an exception in Zethane and never a hole in a switch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from zethane.errors import ZethaneError

if TYPE_CHECKING:
    from zethane.pipeline.flow import Flow


class Table(IntEnum):
    """Table numbers; names in text and logs."""

    PORT = 0
    SOURCE = 1
    DESTINATION = 2
    FLOW = 3
    TRACK = 4
    CONNECTION = 5
    OWNER = 6
    RULE = 7
    GRANT = 8
    COMMITTED = 9
    FORWARD = 10
    SAMPLE = 11
    ASK = 12
    RECORD = 13
    OPENING = 14

    @property
    def text(self) -> str:
        """`port`, `source`, …"""
        return self.name.lower()


FIELD_BITS = {
    "in_port": 32,
    "metadata": 64,
    "eth_dst": 48,
    "eth_src": 48,
    "eth_type": 16,
    "vlan_vid": 13,
    "ip_proto": 8,
    "ip_frag": 2,
    "ipv4_src": 32,
    "ipv4_dst": 32,
    "ipv6_src": 128,
    "ipv6_dst": 128,
    "tcp_src": 16,
    "tcp_dst": 16,
    "tcp_flags": 12,
    "udp_src": 16,
    "udp_dst": 16,
    "sctp_src": 16,
    "sctp_dst": 16,
    "icmpv4_type": 8,
    "icmpv4_code": 8,
    "icmpv6_type": 8,
    "icmpv6_code": 8,
    "reg0": 32,
    "reg1": 32,
    "reg2": 32,
    "reg3": 32,
    "reg4": 32,
    "reg5": 32,
    "reg6": 32,
    "ct_state": 32,
    "ct_label": 128,
}
"""Width of every field that the pipeline matches or sets."""

VLAN_PRESENT = 0x1000
"""OFPVID_PRESENT: in `vlan_vid`, a tag is there; 0 as exact value means that none is."""

_IP = frozenset(("eth_type", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst"))
_PORTS = frozenset(("ip_proto", "tcp_src", "tcp_dst", "tcp_flags", "udp_src", "udp_dst", "sctp_src", "sctp_dst"))
_ICMP = frozenset(("icmpv4_type", "icmpv4_code", "icmpv6_type", "icmpv6_code"))


class PipelineError(ZethaneError):
    """A flow entry does not fit the declaration of its table: a defect in Zethane, never an input error."""


@dataclass(frozen=True, slots=True)
class TableDeclaration:
    """What a table decides, what its entries may match, and the tables that may follow.

    `metered_by` are tables that entries may send packets through before they, or a sample of them, go up; `tracked_to`
    is the table where packets go on when connection tracking has looked at them.
    """

    decides: str
    matches: frozenset[str]
    next: frozenset[Table]
    may_output: bool = False
    metered_by: frozenset[Table] = frozenset()
    tracked_to: Table | None = None
    may_act: bool = True

    def check(self, flow: Flow) -> None:
        """Raise PipelineError if the entry does not belong here."""
        matches = self.matches
        for name, _, _ in flow.match:  # one entry in a hundred thousand is strange, and each comes through here
            if name not in matches:
                strange = {name for name, _, _ in flow.match} - matches
                raise PipelineError(f"table {flow.table.text} does not match on {', '.join(sorted(strange))}")
        if flow.goto is not None and flow.goto not in self.next:
            raise PipelineError(f"table {flow.table.text} does not go on to {flow.goto.text}")
        known = _FITTING.get(flow.table)
        if flow.actions and (known is None or known[0] is not self or known[1] is not flow.actions):
            if flow.outputs and not self.may_output:
                raise PipelineError(f"table {flow.table.text} sends nothing out of a port")
            if not flow.resubmits <= self.metered_by:
                raise PipelineError(f"table {flow.table.text} sends nothing through another table")
            if flow.tracked_to is not None and flow.tracked_to != self.tracked_to:
                raise PipelineError(
                    f"table {flow.table.text} tracks no connection on the way to {flow.tracked_to.text}"
                )
            if not self.may_act:
                raise PipelineError(f"table {flow.table.text} does nothing but meter")
            _FITTING[flow.table] = self, flow.actions
        if not 0 <= flow.priority <= 0xFFFF:
            raise PipelineError(f"priority {flow.priority} is not in 0..65535")


_FITTING: dict[Table, tuple[TableDeclaration, object]] = {}
"""The actions that were found to fit last in each table: entries of a policy share theirs by the hundred thousand."""

_SAMPLED = frozenset((Table.SAMPLE,))
_ASKED = frozenset((Table.ASK,))
_OPENING = frozenset((Table.OPENING,))
_LABEL = frozenset(("ct_state", "ct_label", "metadata"))

TABLES: dict[Table, TableDeclaration] = {
    Table.PORT: TableDeclaration(
        "edge or trunk; frames that no host may send; ARP, ND, DHCP, EAPOL and LLDP go up",
        frozenset(
            ("in_port", "vlan_vid", "eth_type", "eth_src", "eth_dst", "ip_proto", "ip_frag", "udp_src", "udp_dst")
        )
        | _ICMP,
        frozenset((Table.SOURCE, Table.FORWARD)),
    ),
    Table.SOURCE: TableDeclaration(
        "the binding of a live session; writes subject",
        frozenset(("in_port", "metadata", "vlan_vid", "eth_src", "eth_dst")) | _IP | _PORTS,
        frozenset((Table.DESTINATION, Table.FLOW)),
        metered_by=_SAMPLED,
    ),
    Table.DESTINATION: TableDeclaration(
        "the live session that owns the destination; writes object and its attachment",
        frozenset(("eth_dst",)) | _IP,
        frozenset((Table.FLOW,)),
        metered_by=_SAMPLED,
    ),
    Table.FLOW: TableDeclaration(
        "per-flow rules; what may belong to a connection that the switch has let in goes to be tracked",
        frozenset(("in_port", "metadata", "eth_src", "eth_dst", "reg0", "reg1")) | _IP | _PORTS | _ICMP,
        frozenset((Table.TRACK, Table.RULE, Table.FORWARD)),
    ),
    Table.TRACK: TableDeclaration(
        "connection tracking, in the zone of the switch",
        frozenset(("eth_type",)),
        frozenset((Table.RULE,)),
        tracked_to=Table.CONNECTION,
    ),
    Table.CONNECTION: TableDeclaration(
        "the sender is the session that opened the connection, or that it was opened to; writes the direction",
        _LABEL,
        frozenset((Table.OWNER, Table.RULE)),
    ),
    Table.OWNER: TableDeclaration(
        "the receiver is the session at the other end of the connection",
        _LABEL,
        frozenset((Table.RULE,)),
    ),
    Table.RULE: TableDeclaration(
        "the compiled policy: drop, verify, or grant",
        frozenset(("metadata", "reg0", "reg1", "eth_type")) | _PORTS | _ICMP,
        frozenset((Table.GRANT, Table.FORWARD)),
        metered_by=_SAMPLED | _ASKED,
    ),
    Table.GRANT: TableDeclaration(
        "what a grant allows: packets of an open connection, and those that open one",
        frozenset(("metadata", "eth_type", "ct_state")) | _PORTS | _ICMP,
        frozenset((Table.COMMITTED, Table.FORWARD)),
        metered_by=_ASKED | _OPENING,
        tracked_to=Table.COMMITTED,
    ),
    Table.COMMITTED: TableDeclaration(
        "a new connection that tracking has taken up; a copy of its first packet goes up for the log",
        frozenset(("metadata", "reg5", "reg6")) | _LABEL,
        frozenset((Table.FORWARD,)),
        metered_by=_ASKED | frozenset((Table.FORWARD, Table.RECORD)),
    ),
    Table.FORWARD: TableDeclaration(
        "to the object's port, or through the fabric to its switch",
        frozenset(("reg2", "reg4", "vlan_vid", "metadata")),
        frozenset(),
        may_output=True,
    ),
    Table.SAMPLE: TableDeclaration(
        "the meter of the port that a denied packet came from; no packet ends here",
        frozenset(("in_port",)),
        frozenset(),
        may_act=False,
    ),
    Table.ASK: TableDeclaration(
        "the meter of the port that a packet came from which the controller has to verify; no packet ends here",
        frozenset(("in_port",)),
        frozenset(),
        may_act=False,
    ),
    Table.RECORD: TableDeclaration(
        "the meter for copies of packets that the switch has let in by itself; no packet ends here",
        frozenset(),
        frozenset(),
        may_act=False,
    ),
    Table.OPENING: TableDeclaration(
        "the meter of the port that a packet came from which opens a connection of a grant; no packet ends here",
        frozenset(("in_port",)),
        frozenset(),
        may_act=False,
    ),
}


class Priority(IntEnum):
    """Bands of priorities, by table. Within a band, entries never overlap unless the band says so."""

    # port
    PORT_EDGE_FRAGMENT = 510  # the port's own, above the switch's
    PORT_FRAGMENT = 500
    PORT_TRUNK_OWN = 400
    PORT_TRUNK_TRANSIT = 300
    PORT_LLDP = 260
    PORT_EAPOL = 255
    PORT_NEIGHBOUR = 250
    PORT_DHCP = 245
    PORT_REFUSED = 240
    PORT_MULTICAST = 230
    PORT_IP = 200
    PORT_STRANGE = 100
    # source
    SOURCE_TAGGED = 1000
    SOURCE_BARRED = 700
    SOURCE_EXTERNAL = 500  # and the length of the prefix
    SOURCE_UNNAMED = 410
    SOURCE_UPLINK = 400
    SOURCE_PORTAL = 300
    SOURCE_SESSION = 200
    # destination
    DESTINATION_BARRED = 700
    DESTINATION_EXTERNAL = 500  # and the length of the prefix
    DESTINATION_SESSION = 200
    DESTINATION_MULTICAST = 100
    # flow
    FLOW_NEW_CONNECTION = 300
    FLOW_VERIFIED = 200
    FLOW_TRACKED = 100  # entries overlap, and do the same
    FLOW_TRACKED_BACK = 99
    FLOW_UNVERIFIED = 50
    # track
    TRACK = 200
    # connection and owner
    CONNECTION = 200
    CONNECTION_OTHER = 100
    # rule: bands with one priority per policy rule
    RULE_PORTAL = 65000
    RULE_NOBODY = 64000
    RULE_RELATED = 63000
    RULE_DNS = 62600
    RULE_NO_DNS = 62500  # and one more for what goes to a server: it may come from one
    RULE_ANSWER_DENIED = 62200
    RULE_ANSWER_ASKED = 62150
    RULE_ANSWER = 62100
    RULE_RETURN = 62000
    RULE_DENY_TOP = 60000
    RULE_ALLOW_TOP = 40000
    RULE_ALLOW_BOTTOM = 1000
    RULE_GRANT_RETURN = 500
    # grant
    GRANT_OPEN = 300
    GRANT_NEW_AT_ONCE = 250
    GRANT_NEW = 200
    # committed
    COMMITTED_AT_ONCE = 400
    COMMITTED_INVALID = 300
    COMMITTED = 200
    # forward
    FORWARD = 200
    # sample, ask, opening
    SAMPLE_PORT = 200
    ASK_PORT = 200
    OPENING_PORT = 200
    # every table
    MISS = 0
