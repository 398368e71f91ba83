"""DNS servers of the infrastructure: open to every live session on port 53, verified flow by flow, and leading nowhere.

A server has a number where a session would have one, and a class that no rule of a policy is about. What it sends has
to come from its own port, card, address and port 53; the controller lets only answers through.
"""

from __future__ import annotations

from collections.abc import Iterator

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, TCP, TCP_ACK, UDP
from zethane.pipeline.addresses import destination_fields, source_fields
from zethane.pipeline.fields import (
    DNS_CLASS,
    FABRIC,
    NETWORK_CLASS,
    OBJECT_CLASS,
    SUBJECT_CLASS,
    SUBJECT_MASK,
    SUBJECT_SHIFT,
    Reason,
    cookie,
)
from zethane.pipeline.flow import ASKED, SAMPLED, FieldValue, Flow, SetField, match
from zethane.pipeline.infrastructure import Server
from zethane.pipeline.receiver import receives
from zethane.pipeline.tables import Priority, Table

PORT = 53
"""UDP and TCP (RFC 1035 §4.2, RFC 7766)."""

_PROTOCOLS = (("udp", UDP), ("tcp", TCP))


def dns_bindings(server: Server, switch: int) -> Iterator[Flow]:
    """Entries of `source` and `destination` on one switch; they have no lease, for a server does not log in."""
    place: dict[str, FieldValue] = {"metadata": (FABRIC, FABRIC)}
    if switch == server.switch:
        place = {"in_port": server.attachment.port}
    for address in server.addresses:
        for name, proto in _PROTOCOLS:
            answers: dict[str, FieldValue] = {"ip_proto": proto, f"{name}_src": PORT}
            yield Flow(
                Table.SOURCE,
                Priority.SOURCE_SESSION,
                match(**place, **answers, eth_src=server.attachment.mac, **source_fields(address)),
                cookie(server.number, 0, Reason.BINDING),
                actions=(SetField(SUBJECT_CLASS, DNS_CLASS),),
                metadata=(server.number << SUBJECT_SHIFT, SUBJECT_MASK),
                goto=Table.DESTINATION,
                source=f"server {server.name}",
            )
        wanted = match(eth_dst=server.attachment.mac, **destination_fields(address))
        yield receives(server, DNS_CLASS, wanted, Priority.DESTINATION_SESSION, f"server {server.name}")


def dns_rule() -> Iterator[Flow]:
    """The entries of `rule`: questions of sessions, answers, and nothing else to or from a server."""
    session: FieldValue = (0, NETWORK_CLASS)
    for eth_type in (ETH_IPV4, ETH_IPV6):
        for name, proto in _PROTOCOLS:
            carried: dict[str, FieldValue] = {"eth_type": eth_type, "ip_proto": proto}
            asked = {**carried, f"{name}_dst": PORT, SUBJECT_CLASS: session, OBJECT_CLASS: DNS_CLASS}
            answered = {**carried, f"{name}_src": PORT, SUBJECT_CLASS: DNS_CLASS, OBJECT_CLASS: session}
            if proto == TCP:
                answered["tcp_flags"] = (TCP_ACK, TCP_ACK)
            for wanted, why in ((asked, Reason.DNS), (answered, Reason.RETURN)):
                yield Flow(Table.RULE, Priority.RULE_DNS, match(**wanted), cookie(0, 0, why), actions=ASKED)
    for side in (SUBJECT_CLASS, OBJECT_CLASS):
        priority = Priority.RULE_NO_DNS + (side == OBJECT_CLASS)
        yield Flow(Table.RULE, priority, match(**{side: DNS_CLASS}), cookie(0, 0, Reason.NO_RULE), actions=SAMPLED)
