"""Flow entries as readable text, with names for tables, fields and reasons: what golden tests compare."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from zethane.net.flowkey import ETH_ARP, ETH_IPV4, ETH_IPV6
from zethane.net.mac import format_mac
from zethane.pipeline.fields import Reason, split_cookie
from zethane.pipeline.flow import Action, FieldMatch, Flow
from zethane.pipeline.tables import FIELD_BITS, Table

_IN_HEX = {"metadata", "tcp_flags", "vlan_vid", "eth_type", "ct_state", "ct_label"}
_ETH_TYPES = {ETH_IPV4: "ip", ETH_ARP: "arp", ETH_IPV6: "ipv6"}


def render(flows: Iterable[Flow]) -> str:
    """One line per entry in table order, highest priority first."""
    ordered = sorted(flows, key=lambda flow: (flow.table, -flow.priority, flow.match))
    return "\n".join(render_flow(flow) for flow in ordered)


def render_flow(flow: Flow) -> str:
    """`rule 39999 reg0=1,reg1=2,… -> verify [cookie]`."""
    wanted = ",".join(_field(field) for field in flow.match) or "any"
    steps = [] if flow.meter is None else [f"meter:{flow.meter}"]
    steps += [_action(action) for action in flow.actions]
    if flow.metadata is not None:
        steps.append(f"metadata:{flow.metadata[0]:#x}/{flow.metadata[1]:#x}")
    if flow.goto is not None:
        steps.append(flow.goto.text)
    timeouts = "".join(
        f" {name}={value}" for name, value in (("idle", flow.idle_timeout), ("hard", flow.hard_timeout)) if value
    )
    subject, obj, rule = split_cookie(flow.cookie)
    why = Reason(rule).text if rule in Reason._value2member_map_ else f"rule {rule}"
    does = " ".join(steps) or "drop"
    return f"{flow.table.text} {flow.priority} {wanted} -> {does}{timeouts} [{subject}|{obj}|{why}]"


def _field(field: FieldMatch) -> str:
    name, value, mask = field
    if name == "eth_type" and value in _ETH_TYPES:
        return _ETH_TYPES[value]
    exact = mask == (1 << FIELD_BITS[name]) - 1
    return f"{name}={_value(name, value)}" + ("" if exact else f"/{_value(name, mask)}")


def _value(name: str, value: int) -> str:
    if name.startswith("eth_") and name != "eth_type":
        return format_mac(value)
    if name.startswith("ipv4_"):
        return str(ipaddress.IPv4Address(value))
    if name.startswith("ipv6_"):
        return str(ipaddress.IPv6Address(value))
    return hex(value) if name in _IN_HEX else str(value)


def _action(action: Action) -> str:
    name = type(action).__name__
    values = (getattr(action, slot) for slot in action.__slots__)
    words = ",".join(value.text if isinstance(value, Table) else str(value) for value in values)
    return f"{name}({words})" if words else name
