"""What switches report, off the hot path: flow tables, ports, meters, errors. Lengths are checked at every step.

os-ken's readers are not used for lists: FlowStats and its kin loop for ever on a part of length zero.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import count, islice

from zethane.adapters.openflow import tracking
from zethane.adapters.openflow.bound import read_binding
from zethane.adapters.openflow.held import read_held_rule
from zethane.adapters.openflow.oxm import UnreadableMatchError, match_bytes, read_field, read_match
from zethane.errors import ChannelError
from zethane.pipeline.change import Installed
from zethane.pipeline.fields import PARTIES_MASK
from zethane.pipeline.flow import (
    Action,
    FinTimeout,
    Flow,
    ForgetPort,
    Match,
    Output,
    OutputRegister,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    ToController,
)
from zethane.pipeline.held import OF_SESSIONS, Reported
from zethane.pipeline.tables import FIELD_BITS, PipelineError, Table
from zethane.service.switch import PortState

KEPT = 16_384
"""Entries that need not be read again; what comes beyond takes the place of what was not read for longest. A hundred
switches in a tree have 6,000 that differ, and are read in turn: were there room for fewer, none would be there when it
is read again."""

KEPT_INSTRUCTIONS = 4096
"""The same of instructions, which many entries share."""

KEPT_SIZE = 512
"""Bytes of one that is kept: whatever a switch says, it does not stay in memory by the megabyte."""

MAX_ACTIONS = 64
"""Actions in one instruction that are read; Zethane writes a dozen."""

_ENTRY = struct.Struct("!HBxIIHHHH4xQQQ")
_PORT = struct.Struct("!I4x6s2x16sIIIIIIII")
_TYPE_LENGTH = struct.Struct("!HH")
_METER = struct.Struct("!HHI")
_METER_STATS = struct.Struct("!IH34x")
_AGGREGATE = struct.Struct("!QQI4x")
_NOT_COUNTED = 2**64 - 1
_BAND = struct.Struct("!HHII")
_BAND_SIZE = 16
_BAND_DROP = 1
_METER_FLAGS, _METER_STATS_FLAG = 2 | 4, 8
"""OFPMF_PKTPS and OFPMF_BURST, which every meter of Zethane has; OFPMF_STATS, which changes nothing."""
_CAUSE = struct.Struct("!xBxxI")
_FLOW_MOD = 14
_FLOW_MOD_START = struct.Struct("!Q8xBB")
_BUNDLE_ADD = struct.pack("!II", 0x4F4E4600, 2301)
_BUNDLED_AT = 24
"""Where the message inside a bundle-add begins: after its header and the bundle's number and flags."""
_NICIRA = 0x2320
_CONTROLLER = 0xFFFFFFFD
_SEND_FLOW_REM = 1
_PORT_DOWN = 1
_LINK_DOWN = 1
_MAX_REAL_PORT = 0xFFFFFF00

_GOTO, _WRITE_METADATA, _APPLY, _METER_INSTRUCTION = 1, 2, 4, 6
# What each instruction is in a Flow, and its length in bytes; 0: that of its actions.
_INSTRUCTIONS = {
    _GOTO: ("goto", 8),
    _WRITE_METADATA: ("metadata", 24),
    _APPLY: ("actions", 0),
    _METER_INSTRUCTION: ("meter", 8),
}
_OUTPUT, _PUSH_VLAN, _POP_VLAN, _SET_FIELD, _EXPERIMENTER = 0, 17, 18, 25, 0xFFFF
_NX_RESUBMIT_TABLE, _NX_OUTPUT_REG, _NX_FIN_TIMEOUT = 14, 15, 19
_SAME_PORT = 0xFFF8
_ETH_VLAN = 0x8100
_NO_PORT = bytes((0, 0, 0, 2, 0, 0)).ljust(12, b"\0")
"""Nicira's 16 bits of in_port set to 0, which is no port (Open vSwitch, nicira-ext.h, NXM_OF_IN_PORT)."""
_WHOLE_REGISTER = 31
"""Offset 0 and 32 bits, as `ofs_nbits` says it (Open vSwitch, nicira-ext.h)."""
_REGISTERS = {0x00010004 + 0x200 * number: f"reg{number}" for number in range(7)}


class _UnreadableError(ValueError):
    """Not something that Zethane writes."""


def _parts(data: bytes, at: int, end: int, minimum: int) -> Iterator[tuple[int, int, int]]:
    """(type, start, end) of each type-length part; raises _UnreadableError for one that does not move on."""
    while at < end:
        if end - at < _TYPE_LENGTH.size:
            raise _UnreadableError("truncated part")
        kind, length = _TYPE_LENGTH.unpack_from(data, at)
        if length < minimum or at + length > end:
            raise _UnreadableError(f"part of {length} bytes")
        yield kind, at, at + length
        at += length


def read_flow_stats(body: bytes, *, brief: bool = False, younger: float = 0.0) -> Iterator[Reported]:
    """The entries of one flow-stats reply; with `brief` those of sessions as `HeldBinding`.

    Their ages are those of so many seconds before the reply. Raises ChannelError for bytes that are no list of entries.
    """
    at, end = 0, len(body)
    read = partial(_flow, younger=younger)
    while at < end:
        if end - at < _ENTRY.size:
            raise ChannelError("flow stats: truncated entry")
        length = int.from_bytes(body[at : at + 2], "big")
        if length < _ENTRY.size + 8 or at + length > end:
            raise ChannelError(f"flow stats: entry of {length} bytes")
        table = body[at + 2]
        entry: Reported | None = None
        if table == Table.FLOW:
            entry = read_held_rule(body, at, length, younger)
        elif brief and table in OF_SESSIONS:
            entry = read_binding(body, at, length, younger, read)
        yield entry or _flow(body, at, younger)
        at += length


def _flow(body: bytes, at: int, younger: float = 0.0) -> Installed:
    """The entry at `at`, whose length has been checked."""
    length, table, sec, nsec, priority, idle, hard, flags, cookie, packets, octets = _ENTRY.unpack_from(body, at)
    parts = body[at + _ENTRY.size : at + length]
    # What is of no session is the same on many switches, and each time.
    is_own = bool(cookie & PARTIES_MASK) or table == Table.FLOW
    read = _entry if is_own or len(parts) > KEPT_SIZE else _known_entry
    wanted, flow, raw, says = read(table, priority, cookie, idle, hard, flags, parts)
    age = max(0.0, sec + nsec / 1e9 - younger)
    return Installed(table, priority, wanted, flow, age, packets, octets, cookie, raw, says)


def _entry(
    table: int, priority: int, cookie: int, idle: int, hard: int, flags: int, parts: bytes
) -> tuple[Match, Flow | None, bytes, int]:
    """Match, entry, the bytes of a match that cannot be read, and that it has no number; `parts` are match and
    instructions."""
    wanted: Match = ()
    raw = b""
    flow = None
    try:
        wanted, instructions = read_match(parts, 0, len(parts))
        flow = Flow(
            Table(table),
            priority,
            wanted,
            cookie,
            idle_timeout=idle,
            hard_timeout=hard,
            notify_removed=bool(flags & _SEND_FLOW_REM),
            **_read_instructions(parts[instructions:]),  # type: ignore[arg-type]  # one dict for several types
        )
    except UnreadableMatchError:
        raw = match_bytes(parts, 0, len(parts))
        if not raw:
            raise ChannelError("flow stats: no match") from None
    except (_UnreadableError, PipelineError, ValueError, struct.error):
        flow = None  # foreign: reported as such, and removed by the reconciliation
    return wanted, flow, raw, 0


_numbers = count(1)
"""Of what entries say. One that was forgotten and is read again has a new one: none stands for two."""


@lru_cache(KEPT)
def _known_entry(
    table: int, priority: int, cookie: int, idle: int, hard: int, flags: int, parts: bytes
) -> tuple[Match, Flow | None, bytes, int]:
    """The same with a number for what it says."""
    return *_entry(table, priority, cookie, idle, hard, flags, parts)[:3], next(_numbers)


def _read_instructions(data: bytes) -> dict[str, object]:
    """To be read only: many entries do the same."""
    return (_known_instructions if len(data) <= KEPT_SIZE else _instructions)(data)


def _instructions(data: bytes) -> dict[str, object]:
    found: dict[str, object] = {}
    for kind, start, stop in _parts(data, 0, len(data), 8):
        name, length = _INSTRUCTIONS.get(kind, ("", 0))
        if not name or name in found or length not in (0, stop - start):
            raise _UnreadableError(f"instruction {kind} of {stop - start} bytes")
        if kind == _GOTO:
            found[name] = Table(data[start + 4])
        elif kind == _WRITE_METADATA:
            found[name] = struct.unpack_from("!QQ", data, start + 8)
        elif kind == _METER_INSTRUCTION:
            found[name] = struct.unpack_from("!I", data, start + 4)[0]
        else:
            parts = list(islice(_parts(data, start + 8, stop, 8), MAX_ACTIONS + 1))
            if len(parts) > MAX_ACTIONS:
                raise _UnreadableError("too many actions")
            found[name] = tuple(_action(data, *part) for part in parts)
    return found


_known_instructions = lru_cache(KEPT_INSTRUCTIONS)(_instructions)


def _action(data: bytes, kind: int, start: int, stop: int) -> Action:
    length = stop - start
    if kind == _OUTPUT and length == 16:
        port, octets = struct.unpack_from("!IH", data, start + 4)
        return ToController(octets) if port == _CONTROLLER else Output(port)
    if kind == _PUSH_VLAN and struct.unpack_from("!H", data, start + 4)[0] == _ETH_VLAN:
        return PushVlan()
    if kind == _POP_VLAN:
        return PopVlan()
    if kind == _SET_FIELD and data[start + 4 : stop] == _NO_PORT:
        return ForgetPort()
    if kind == _SET_FIELD:
        (name, value, mask), _ = read_field(data, start + 4, stop)
        if mask == (1 << FIELD_BITS[name]) - 1:
            return SetField(name, value)
    if kind == _EXPERIMENTER and length >= 16:
        return _nicira_action(data, start, length)
    raise _UnreadableError(f"action {kind} of {length} bytes")


def _nicira_action(data: bytes, start: int, length: int) -> Action:
    vendor, subtype = struct.unpack_from("!IH", data, start + 4)
    if (vendor, subtype, length) == (_NICIRA, _NX_FIN_TIMEOUT, 16):
        return FinTimeout(*struct.unpack_from("!HH", data, start + 10))
    if (vendor, subtype, length) == (_NICIRA, _NX_RESUBMIT_TABLE, 16):
        port, table = struct.unpack_from("!HB", data, start + 10)
        if port == _SAME_PORT:
            return Resubmit(Table(table))
    if (vendor, subtype, length) == (_NICIRA, _NX_OUTPUT_REG, 24):
        bits, source = struct.unpack_from("!HI", data, start + 10)
        register = _REGISTERS.get(source)
        if register is not None and bits == _WHOLE_REGISTER:
            return OutputRegister(register)
    if (vendor, subtype) == (_NICIRA, tracking.SUBTYPE):
        action = tracking.read(data[start : start + length])
        if action is not None:
            return action
    raise _UnreadableError(f"experimenter action {vendor:#x}:{subtype}")


def read_datapath_id(body: bytes) -> int:
    """The datapath id of a features reply. Raises ChannelError."""
    if len(body) < 24:
        raise ChannelError("features reply: truncated")
    return int.from_bytes(body[:8], "big")


def read_port(body: bytes, at: int = 0) -> PortState | None:
    """The port description at `at`; None for the switch's local and other reserved ports."""
    if len(body) - at < _PORT.size:
        raise ChannelError("port description: truncated")
    number, _mac, name, config, state, *_ = _PORT.unpack_from(body, at)
    if number >= _MAX_REAL_PORT:
        return None
    up = not (config & _PORT_DOWN or state & _LINK_DOWN)
    return PortState(number, name.split(b"\0")[0].decode("ascii", "replace"), up)


def read_ports(body: bytes) -> list[PortState]:
    """The ports of one port-description reply."""
    if len(body) % _PORT.size:
        raise ChannelError("port description: odd length")
    ports = (read_port(body, at) for at in range(0, len(body), _PORT.size))
    return [port for port in ports if port is not None]


def read_meters(body: bytes) -> dict[int, tuple[int, int]]:
    """Meter id to (rate, burst) of one meter-config reply; of a kind that Zethane never makes: (0, 0)."""
    meters = {}
    at = 0
    while at < len(body):
        if len(body) - at < _METER.size:
            raise ChannelError("meter configuration: truncated")
        length, flags, meter = _METER.unpack_from(body, at)
        if length < _METER.size or at + length > len(body):
            raise ChannelError(f"meter configuration: entry of {length} bytes")
        rate = burst = 0
        if length == _METER.size + _BAND_SIZE and flags & ~_METER_STATS_FLAG == _METER_FLAGS:
            kind, _, *limits = _BAND.unpack_from(body, at + _METER.size)
            rate, burst = limits if kind == _BAND_DROP else (0, 0)
        meters[meter] = (rate, burst)
        at += length
    return meters


def read_meter_drops(body: bytes) -> dict[int, int]:
    """Packets that the first band of each meter has dropped, from one meter-stats reply."""
    drops = {}
    at = 0
    while at < len(body):
        if len(body) - at < _METER_STATS.size:
            raise ChannelError("meter statistics: truncated")
        meter, length = _METER_STATS.unpack_from(body, at)
        if length < _METER_STATS.size or at + length > len(body):
            raise ChannelError(f"meter statistics: entry of {length} bytes")
        if length >= _METER_STATS.size + 16:
            drops[meter] = struct.unpack_from("!Q", body, at + _METER_STATS.size)[0]
        at += length
    return drops


def read_aggregate(body: bytes) -> tuple[int, int]:
    """Packets and octets, from one aggregate-stats reply."""
    if len(body) < _AGGREGATE.size:
        raise ChannelError("aggregate statistics: truncated")
    packets, octets, _ = _AGGREGATE.unpack_from(body)
    # All ones where a switch does not count (OpenFlow 1.3.5 §7.3.5.2).
    return (0 if packets == _NOT_COUNTED else packets), (0 if octets == _NOT_COUNTED else octets)


def read_entry_count(body: bytes) -> int:
    """How many entries there are, from one aggregate-stats reply."""
    if len(body) < _AGGREGATE.size:
        raise ChannelError("aggregate statistics: truncated")
    return int(_AGGREGATE.unpack_from(body)[2])


def describe_error(body: bytes) -> str:
    """What an error message says: its numbers, and what it quotes of the message that caused it."""
    if len(body) < 4:
        return "error without a type"
    kind, code = _TYPE_LENGTH.unpack_from(body)
    text = f"error type {kind} code {code}"
    cause = body[4:]
    if len(cause) < _CAUSE.size:
        return text
    cause_type, xid = _CAUSE.unpack_from(cause)
    text += f" for message type {cause_type} xid {xid}"
    if cause[_CAUSE.size : _CAUSE.size + 8] == _BUNDLE_ADD:
        cause = cause[_BUNDLED_AT:]
        cause_type = cause[1] if len(cause) > 1 else 0
    if cause_type == _FLOW_MOD and len(cause) >= _CAUSE.size + _FLOW_MOD_START.size:
        cookie, table, command = _FLOW_MOD_START.unpack_from(cause, _CAUSE.size)
        text += f" (flow-mod command {command} table {table} cookie {cookie:#018x})"
    return text
