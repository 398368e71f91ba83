"""Per-flow rules: the entries of `flow` for one verified connection, both directions.

The registers with the classes are in the match although subject and object imply them: a session that changes
class leaves its old per-flow rules behind without effect, and flows can be taken back by class and service.
"""

from __future__ import annotations

from dataclasses import dataclass

from zethane.net.flowkey import ICMP, ICMPV6, SCTP, TCP, UDP, FlowKey
from zethane.pipeline.addresses import IPV4_LENGTH, destination_fields, source_fields
from zethane.pipeline.fields import OBJECT_CLASS, PARTIES_MASK, SUBJECT_CLASS, cookie, parties
from zethane.pipeline.flow import FinTimeout, Flow, Match, match
from zethane.pipeline.tables import Priority, Table

FIN_IDLE = 2
"""Seconds of silence for which a direction stays after its FIN or RST: time for the last acknowledgements, and for a
last segment that is sent again (after 1 s at first, RFC 6298 section 2.1). Entries that have it can expire, and slow a
switch down with their number: each connection that ends is two of them for so long."""

IDLE_TIMEOUTS = {TCP: 300, UDP: 30, SCTP: 300, ICMP: 10, ICMPV6: 10}
"""Seconds without a packet after which a direction's entry goes. RFC 4787 REQ-5 asks for 2 minutes of UDP
from devices that cannot ask again; here the next packet is simply verified again."""

OTHER_IDLE_TIMEOUT = 30

PORT_NAMES = {TCP: ("tcp_src", "tcp_dst"), UDP: ("udp_src", "udp_dst"), SCTP: ("sctp_src", "sctp_dst")}


@dataclass(frozen=True, slots=True)
class Verified:
    """One direction of an allowed flow: from the session `sender` to the session `receiver`.

    Class numbers are of sender and receiver; the cookie always names the flow's subject first.
    """

    key: FlowKey
    sender: int
    receiver: int
    sender_class: int
    receiver_class: int
    cookie: int


def both_directions(
    key: FlowKey, subject: int, obj: int, subject_class: int, object_class: int, rule: int
) -> tuple[Verified, Verified]:
    """The two directions of a flow that `subject` opened to `obj` under `rule`."""
    why = cookie(subject, obj, rule)
    return (
        Verified(key, subject, obj, subject_class, object_class, why),
        Verified(key.reverse(), obj, subject, object_class, subject_class, why),
    )


def key_fields(key: FlowKey) -> dict[str, int]:
    """The exact 5-tuple as match fields."""
    fields = source_fields(key.src) | destination_fields(key.dst) | {"ip_proto": key.proto}
    if names := PORT_NAMES.get(key.proto):
        fields |= dict(zip(names, (key.sport, key.dport), strict=True))
    elif key.proto == ICMP:
        fields |= {"icmpv4_type": 8 if key.sport else 0, "icmpv4_code": 0}
    elif key.proto == ICMPV6:
        fields |= {"icmpv6_type": 128 if key.sport else 129, "icmpv6_code": 0}
    return fields


def key_of(wanted: Match) -> FlowKey | None:
    """The 5-tuple in the match of a per-flow rule; None if it is not one of ours."""
    fields = {name: value for name, value, _ in wanted}
    if "ip_proto" not in fields:
        return None
    for src, dst, length in (("ipv4_src", "ipv4_dst", IPV4_LENGTH), ("ipv6_src", "ipv6_dst", 16)):
        if src in fields and dst in fields:
            proto = fields["ip_proto"]
            ports = _ports_of(fields, proto)
            addresses = fields[src].to_bytes(length, "big"), fields[dst].to_bytes(length, "big")
            return None if ports is None else FlowKey(*addresses, proto, *ports)
    return None


def _ports_of(fields: dict[str, int], proto: int) -> tuple[int, int] | None:
    if names := PORT_NAMES.get(proto):
        return (fields[names[0]], fields[names[1]]) if names[0] in fields and names[1] in fields else None
    echo = {ICMP: ("icmpv4_type", 8), ICMPV6: ("icmpv6_type", 128)}.get(proto)
    if echo is None:
        return 0, 0
    return (8, 0) if fields.get(echo[0]) == echo[1] else (0, 8)


def idle_timeout(proto: int) -> int:
    """Seconds after which a silent direction's entry goes."""
    return IDLE_TIMEOUTS.get(proto, OTHER_IDLE_TIMEOUT)


def verified_flow(direction: Verified, *, notify: bool, lease: int = 0, idle: int | None = None) -> Flow:
    """The entry for one direction.

    `lease` is its hard timeout where the decision lapses before the session; `idle` its idle timeout, 0 for none, that
    of its protocol if it is left out.
    """
    key = direction.key
    return Flow(
        Table.FLOW,
        Priority.FLOW_VERIFIED,
        match(
            metadata=(parties(direction.sender, direction.receiver), PARTIES_MASK),
            **{SUBJECT_CLASS: direction.sender_class, OBJECT_CLASS: direction.receiver_class},
            **key_fields(key),
        ),
        direction.cookie,
        actions=(FinTimeout(FIN_IDLE, 0),) if key.proto == TCP else (),
        goto=Table.FORWARD,
        idle_timeout=idle_timeout(key.proto) if idle is None else idle,
        hard_timeout=lease,
        notify_removed=notify,
    )
