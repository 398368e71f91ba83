"""Targets: what the compiled path reads, held against what Python reads there. Nothing where nothing is compiled."""

from __future__ import annotations

from fuzz import openflow
from fuzz.frames import seed_frames
from fuzz.target import Target
from zethane.adapters.openflow.hotpath import pure_read_packet_in, read_flow_removed
from zethane.native import native
from zethane.net.flowkey import parse_frame

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


def _seeds() -> dict[str, bytes]:
    return {
        **{f"in-{name}": seed for name, seed in openflow.seed_packet_ins().items()},
        **{f"removed-{name}": seed for name, seed in openflow.seed_flow_removeds().items()},
    }


TARGETS = (
    (
        Target("compiled-frames", check_frame, seed_frames, 256),
        Target("compiled-messages", check_messages, _seeds, 512),
    )
    if _compiled is not None
    else ()
)
