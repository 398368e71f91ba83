"""Targets: what the compiled path reads, held against what Python reads there. Nothing where nothing is compiled."""

from __future__ import annotations

import asyncio
from typing import Any

from fakes.frames import SYN_ACK
from fakes.hot_site import DB1, LAPTOP, PHONE, WEB1, HotSite, flow_removed, message, messages, packet_in, pure
from fakes.openflow_peer import ECHO_REQUEST, FLOW_MOD, PACKET_IN
from fuzz import openflow
from fuzz.frames import seed_frames
from fuzz.target import Target
from zethane.adapters.openflow.hotpath import pure_read_packet_in, read_flow_removed
from zethane.native import native
from zethane.net.flowkey import parse_frame
from zethane.pipeline.tables import Table

_compiled = native("zethane.adapters.openflow.fast_path")


def check_frame(frame: bytes) -> None:
    """What the compiled path takes for plain is what the parser reads; it may leave any frame to that."""
    found = _compiled.frame_of(frame)
    if found is not None:
        packet = parse_frame(frame)
        assert packet is not None, "a frame that is refused was taken"
        assert packet.error_about is None
        assert (packet.key, packet.flags) == found


def check_messages(message: bytes) -> None:
    """Packet-ins are read alike; a report that an entry is gone is the same wherever it is plain."""
    assert _compiled.read_packet_in(message) == pure_read_packet_in(message)
    found = _compiled.removed_of(message)
    if found is not None:
        event = read_flow_removed(message)
        assert event is not None
        assert (event.key, event.classes) == found


async def _after(data: bytes, *, fast: bool) -> dict[str, Any]:
    """What there is to see of a site when a switch has said this, in pieces of as many bytes as the first one says."""
    hot = await HotSite(fast=fast).start()
    size, stream = data[0] * 8 or len(data), data[1:]
    for at in range(0, len(stream), size):
        hot.feed("s1", stream[at : at + size])
    await hot.site.settle()
    return hot.view()


def check_read(data: bytes) -> None:
    """Whatever a switch says, in one read or in many, either path does the same; and neither ends the connection for
    what it has failed to handle."""
    if not data:
        return
    compiled = asyncio.run(_after(data, fast=True))
    with pure():
        expected = asyncio.run(_after(data, fast=False))
    for name, seen in expected.items():
        assert compiled[name] == seen, name
    assert not any("could not be handled" in why for why in expected["closed"].values() if why)


async def _reads() -> dict[str, bytes]:
    """Flows that are opened, go on and end, at one switch and at two; with much else between."""
    hot = await HotSite(fast=True).start()
    numbers = hot.state.policy.rule_numbers
    near = [packet_in(numbers["staff-web"], 1, 3, LAPTOP.port, LAPTOP.tcp(WEB1, 1000 + place, 443)) for place in (0, 1)]
    far = packet_in(numbers["staff-db"], 2, 4, PHONE.port, PHONE.udp(DB1, 1000, 53))
    again = packet_in(numbers["staff-web"], 3, 1, WEB1.port, WEB1.tcp(LAPTOP, 443, 1000, SYN_ACK))
    denied = packet_in(numbers["no-ssh"], 1, 4, LAPTOP.port, LAPTOP.tcp(DB1, 1000, 22))
    ping = packet_in(numbers["ping"], 1, 3, LAPTOP.port, LAPTOP.echo(WEB1))
    opening = b"".join([*near, far, denied, again, ping, *near])
    hot.feed("s1", opening)
    rules = [one for one in messages(hot.sinks["s1"].written) if one[1] == FLOW_MOD and one[24] == Table.FLOW]
    ends = [flow_removed(one, reason, 3, 300, idle=idle) for one in rules for reason, idle in ((0, 2), (0, None))]
    return {
        "open": b"\0" + opening,
        "end": b"\0" + opening + b"".join(ends),
        "cut": b"\5" + opening + b"".join(ends[::2]) + opening,
        "echo": b"\0" + near[0] + message(ECHO_REQUEST, b"hello") + near[1] + message(PACKET_IN, b"") + ends[0],
    }


def _read_seeds() -> dict[str, bytes]:
    return asyncio.run(_reads())


def _seeds() -> dict[str, bytes]:
    return {
        **{f"in-{name}": seed for name, seed in openflow.seed_packet_ins().items()},
        **{f"removed-{name}": seed for name, seed in openflow.seed_flow_removeds().items()},
    }


TARGETS = (
    (
        Target("compiled-frames", check_frame, seed_frames, 256),
        Target("compiled-messages", check_messages, _seeds, 512),
        Target("compiled-reads", check_read, _read_seeds, 4096),
    )
    if _compiled is not None
    else ()
)
