"""Flow-mods as bytes, without an object of os-ken for each part of each message.

What a field's header and an action look like is learned from os-ken, once each, and kept; what is left for an entry is
to put values behind headers. A switch may have ten thousands of entries, and os-ken takes 0.1 ms for each.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache

from zethane.pipeline.change import Add, Remove, RemoveMatching
from zethane.pipeline.flow import Action, Flow, Match
from zethane.pipeline.tables import FIELD_BITS, PipelineError

HEADER = struct.Struct("!BBHI")
_MOD = struct.Struct("!QQBBHHHIIIH2x")
"""OpenFlow 1.3.5 section 7.3.4.1, between the header and the match."""
_MATCH = struct.Struct("!HH")
_METER = struct.Struct("!HHI")
_ACTIONS = struct.Struct("!HH4x")
_METADATA = struct.Struct("!HH4xQQ")
_GOTO = struct.Struct("!HHB3x")
_ADD, _DELETE, _DELETE_STRICT = 0, 3, 4
_OXM = 1
_GOTO_TABLE, _WRITE_METADATA, _APPLY_ACTIONS, _METER_INSTRUCTION = 1, 2, 4, 6
_NO_BUFFER = _ANY = 0xFFFFFFFF
_SEND_FLOW_REM = 1

_KEPT = 65_536
"""Actions and forms of matches that are kept. There is one for each value that an entry sets: ports, classes."""

_FULL = {name: (1 << bits) - 1 for name, bits in FIELD_BITS.items()}

Form = tuple[tuple[str, bool], ...]
"""The names of the fields that a match has, in its order, and whether each is exact."""

Place = tuple[int, bytes, int, bool]
"""Where a field is in the match, its header, its width in bytes, and whether it is exact."""


class FlowMods:
    """Writes flow-mods. `header` gives the header of a field, exact or masked, `rank` its place in a match, and
    `action` an action, all as os-ken has them."""

    def __init__(
        self,
        header: Callable[[str, bool], bytes],
        rank: Callable[[str], tuple[int, int]],
        action: Callable[[Action], bytes],
    ) -> None:
        self._header = header
        self._rank = rank
        self._action = lru_cache(_KEPT)(action)
        self._places = lru_cache(_KEPT)(self._learn)

    def body(self, change: Add | Remove | RemoveMatching) -> bytes:
        """What comes behind the header. Raises PipelineError for what is no change of an entry."""
        if isinstance(change, Add):
            flow = change.flow
            flags = _SEND_FLOW_REM if flow.notify_removed else 0
            return (
                _MOD.pack(
                    flow.cookie, 0, flow.table, _ADD, flow.idle_timeout, flow.hard_timeout, flow.priority,
                    _NO_BUFFER, _ANY, _ANY, flags,
                )
                + self._match(flow.match)
                + self._instructions(flow)
            )  # fmt: skip  # in the order of the wire, a line per structure
        if isinstance(change, Remove):
            strict = _MOD.pack(
                0, 0, change.table, _DELETE_STRICT, 0, 0, change.priority, _NO_BUFFER, _ANY, _ANY, 0
            )  # fmt: skip  # in the order of the wire
            return strict + self._match(change.match)
        if isinstance(change, RemoveMatching):
            loose = _MOD.pack(
                change.cookie, change.cookie_mask, change.table, _DELETE, 0, 0, 0x8000, _NO_BUFFER, _ANY, _ANY, 0
            )  # fmt: skip  # in the order of the wire
            return loose + self._match(change.match)
        raise PipelineError(f"no message for {change!r}")

    def _match(self, wanted: Match) -> bytes:
        form = tuple([(name, mask == _FULL[name]) for name, _, mask in wanted])
        fields = []
        for place, header, width, exact in self._places(form):
            _, value, mask = wanted[place]
            fields.append(header)
            fields.append(value.to_bytes(width, "big"))
            if not exact:
                fields.append(mask.to_bytes(width, "big"))
        written = b"".join(fields)
        length = _MATCH.size + len(written)
        return _MATCH.pack(_OXM, length) + written + bytes(-length % 8)

    def _learn(self, form: Form) -> tuple[Place, ...]:
        ordered = sorted(range(len(form)), key=lambda place: self._rank(form[place][0]))
        return tuple(self._place(place, *form[place]) for place in ordered)

    def _place(self, place: int, name: str, exact: bool) -> Place:
        header = self._header(name, exact)
        # Its last byte is the length of what follows (section 7.2.3.2); an experimenter's number is counted there.
        width = header[3] - (len(header) - 4)
        return place, header, width if exact else width // 2, exact

    def _instructions(self, flow: Flow) -> bytes:
        found = b""
        if flow.meter is not None:
            found = _METER.pack(_METER_INSTRUCTION, _METER.size, flow.meter)
        if flow.actions:
            actions = b"".join(map(self._action, flow.actions))
            found += _ACTIONS.pack(_APPLY_ACTIONS, _ACTIONS.size + len(actions)) + actions
        if flow.metadata is not None:
            found += _METADATA.pack(_WRITE_METADATA, _METADATA.size, *flow.metadata)
        if flow.goto is not None:
            found += _GOTO.pack(_GOTO_TABLE, _GOTO.size, flow.goto)
        return found
