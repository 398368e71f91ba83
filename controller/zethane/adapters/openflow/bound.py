"""Entries of sessions in a flow-stats reply, read with one struct each.

Their forms are not written down a second time: they are cut from what the writer of flow-mods makes of an example, with
the values that differ between sessions left open. Open vSwitch puts the fields of a match into an order of its own,
always the same (nx-match.c, nx_put_raw); both orders are known here. What has another form is not understood, and is
read in full by whoever wants to know.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, NamedTuple

from zethane.adapters.openflow.encode import flow_mod
from zethane.adapters.openflow.oxm import read_field
from zethane.net.endpoint import Attachment
from zethane.pipeline.bindings import Binding, destination_binding, source_binding
from zethane.pipeline.change import Add, Installed
from zethane.pipeline.fields import FIRST_STATIC, OBJECT_SHIFT, SUBJECT_SHIFT, Reason
from zethane.pipeline.flow import Flow
from zethane.pipeline.grants import connection_ends
from zethane.pipeline.held import CONNECTION_KINDS, HeldBinding, session_of

_ENTRY = "HBxIIHHHH4xQQQ"
_HEADER = struct.Struct("!" + _ENTRY)
_HEAD = 11
"""Values of an entry before its match."""
_PRIORITY, _IDLE, _FLAGS = 4, 5, 7
_BINDING = int(Reason.BINDING)
_MATCH_AT, _MATCH_HEADER = 48, 4
"""Where the match is in a flow-mod, and where its first field is in the match."""
_REPORTED = (
    "in_port", "eth_src", "eth_dst", "eth_type", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst", "ct_state", "ct_label",
    "metadata",
)  # fmt: skip
"""The order in which Open vSwitch has the fields that these entries match."""

# What the example says, and how it is read. None of these is a part of another, or of anything else in an entry.
_NUMBER, _EPOCH = 0xA1A2A3, 0xE1E2E3E4
_VLAN = 0xABC
_ADDRESSES = (bytes(range(0x91, 0x95)), bytes(range(0x81, 0x91)))
_PLACE = Attachment(1, 0xD1D2D3D4, _VLAN, 0xF1F2F3F4F5F6)
_SWITCH, _CLASS = 0xB1B2B3B4, 0xC1C2C3C4
_OPEN: tuple[tuple[bytes, str], ...] = (
    (_NUMBER.to_bytes(3, "big"), "3s"),
    (_PLACE.mac.to_bytes(6, "big"), "6s"),
    *((address, f"{len(address)}s") for address in _ADDRESSES),
    (_CLASS.to_bytes(4, "big"), "I"),
    (_SWITCH.to_bytes(4, "big"), "I"),
    (_PLACE.port.to_bytes(4, "big"), "I"),
    ((_VLAN << 4).to_bytes(2, "big"), "H"),
    (_VLAN.to_bytes(4, "big"), "I"),
    (_EPOCH.to_bytes(4, "big"), "I"),
)
"""In the order in which `pipeline.held` names them."""


class _Form(NamedTuple):
    """How one kind of entry is read: all of it, the part that is always the same, and the part that is not."""

    kind: str
    shift: int
    whole: struct.Struct
    same: Callable[[Any], Any]
    expected: tuple[object, ...]
    open: Callable[[Any], Any]


def _examples() -> Iterator[tuple[str, Flow]]:
    """One entry of each kind, under its name."""
    for address in _ADDRESSES:
        binding = Binding(_NUMBER, _SWITCH, _PLACE, (address,), _CLASS)
        yield "source", next(source_binding(binding, _SWITCH, 1))
        yield "source-fabric", next(source_binding(binding, _SWITCH + 1, 1))
        yield "destination", next(destination_binding(binding, 1))
    ends = connection_ends(_NUMBER, _EPOCH, "", notify=False)
    yield from zip(CONNECTION_KINDS, ends, strict=True)


def _form(kind: str, flow: Flow, *, reported: bool) -> _Form:
    data = _entry(flow, reported=reported)
    places = sorted(
        (at, rank, len(value), code) for rank, (value, code) in enumerate(_OPEN) for at in _occurrences(data, value)
    )
    formats, fixed, at = [_ENTRY], list[bytes](), 0
    opened: list[tuple[int, int]] = []
    for place, rank, length, code in places:
        fixed.append(data[at:place])
        formats += [f"{place - at}s", code]
        opened.append((rank, _HEAD + 2 * len(opened) + 1))
        at = place + length
    fixed.append(data[at:])
    formats.append(f"{len(data) - at}s")
    same = (_PRIORITY, _IDLE, *(_HEAD + 2 * number for number in range(len(fixed))))
    shift = SUBJECT_SHIFT if flow.cookie >> SUBJECT_SHIFT else OBJECT_SHIFT
    return _Form(
        kind,
        shift,
        struct.Struct("!" + "".join(formats)),
        itemgetter(*same),
        (flow.priority, flow.idle_timeout, *fixed),
        itemgetter(_FLAGS, *(position for _, position in sorted(opened))),
    )


def _occurrences(data: bytes, value: bytes) -> Iterator[int]:
    at = data.find(value)
    while at >= 0:
        yield at
        at = data.find(value, at + 1)


def _entry(flow: Flow, *, reported: bool) -> bytes:
    """Match and instructions, as they are written or as Open vSwitch reports them."""
    written = flow_mod(Add(flow), 0)
    (size,) = struct.unpack_from("!H", written, _MATCH_AT + 2)
    at, stop = _MATCH_AT + _MATCH_HEADER, _MATCH_AT + size
    fields: dict[str, bytes] = {}
    while at < stop:
        (name, _, _), following = read_field(written, at, stop)
        fields[name] = written[at:following]
        at = following
    order = _REPORTED if reported else tuple(fields)
    match = b"".join(fields[name] for name in order if name in fields)
    return written[_MATCH_AT : _MATCH_AT + _MATCH_HEADER] + match + written[stop:]


def _all_forms() -> dict[tuple[int, int], tuple[_Form, ...]]:
    """Those that an entry of a length, in a table, may have."""
    found: dict[tuple[int, int], list[_Form]] = defaultdict(list)
    for reported in (True, False):
        for kind, flow in _examples():
            form = _form(kind, flow, reported=reported)
            found[form.whole.size, flow.table].append(form)
    return {where: tuple(forms) for where, forms in found.items()}


_FORMS = _all_forms()


def read_binding(
    body: bytes, at: int, length: int, younger: float, read: Callable[[bytes, int], Installed]
) -> HeldBinding | None:
    """The entry of a session of `length` bytes at `at`; None if it is nobody's.

    `read` makes the entry with all that is in it. Its age is that of so many seconds before.
    """
    for kind, shift, whole, same, expected, opened in _FORMS.get((length, body[at + 2]), ()):
        found = whole.unpack_from(body, at)
        if same(found) == expected:
            _, table, sec, nsec, _, _, hard, _, cookie, packets, octets = found[:_HEAD]
            session = cookie >> shift
            if cookie != session << shift | _BINDING or not 0 < session < FIRST_STATIC:
                break
            says = (kind, session, hard > 0) + opened(found)  # noqa: RUF005  # the quicker one, at each entry
            age = max(0.0, sec + nsec / 1e9 - younger)
            return HeldBinding(table, cookie, session, says, hard, age, packets, octets, body, at, read)
    _, table, sec, nsec, _, _, hard, _, cookie, packets, octets = _HEADER.unpack_from(body, at)
    session = session_of(table, cookie)
    if not session:
        return None
    age = max(0.0, sec + nsec / 1e9 - younger)
    return HeldBinding(table, cookie, session, None, hard, age, packets, octets, body, at, read)
