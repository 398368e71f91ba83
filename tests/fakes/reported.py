"""Entries as a switch reports them: one of a flow-stats reply (OpenFlow 1.3.5 §7.3.5.2)."""

from __future__ import annotations

import struct

from zethane.adapters.openflow.encode import flow_mod
from zethane.adapters.openflow.oxm import read_field
from zethane.pipeline.change import Add
from zethane.pipeline.flow import Flow

_ORDER = (
    "in_port", "eth_src", "eth_dst", "eth_type", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst", "reg0", "reg1",
    "ct_state", "ct_label", "metadata",
)  # fmt: skip


def reported(
    flow: Flow, *, as_written: bool = False, age: float = 0.0, packets: int = 0, octets: int = 0, flags: int = 0
) -> bytes:
    """An entry of a session, its fields in the order in which Open vSwitch has them, or in which they were written."""
    written = flow_mod(Add(flow), 0)
    size = struct.unpack_from("!H", written, 50)[0]
    fields, at = {}, 52
    while at < 48 + size:
        (name, _, _), following = read_field(written, at, 48 + size)
        fields[name] = written[at:following]
        at = following
    order = tuple(fields) if as_written else _ORDER
    assert fields.keys() <= set(order)
    match = written[48:52] + b"".join(fields[name] for name in order if name in fields)
    body = match + written[48 + size :]
    flags |= int(flow.notify_removed)
    head = struct.pack(
        "!HBxIIHHHH4xQQQ", 48 + len(body), flow.table, int(age), int(age % 1 * 1e9), flow.priority, flow.idle_timeout,
        flow.hard_timeout, flags, flow.cookie, packets, octets,
    )  # fmt: skip
    return head + body
