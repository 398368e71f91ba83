"""Connection tracking as bytes: Nicira's action ct, and what it writes into labels (ovs-actions(7), nicira-ext.h)."""

from __future__ import annotations

import struct

from zethane.pipeline.fields import EPOCH_SHIFT, GRANT, OBJECT_SHIFT, RULE_MASK
from zethane.pipeline.flow import Action, Commit, Track
from zethane.pipeline.tables import Table

SUBTYPE = 35
"""NXAST_CT."""

_VENDOR, _NICIRA = 0xFFFF, 0x2320
_CT = struct.Struct("!HHIHHIHB3xH")
_REG_MOVE = struct.Struct("!HHIHHHHII")
_REG_LOAD = struct.Struct("!HHIHHIQ")
_MOVE, _LOAD = 6, 7
_COMMIT, _FORCE = 1, 2
_NO_TABLE = 0xFF
_METADATA, _CT_LABEL = 0x80000408, 0x0001D810
_REGISTER = {f"reg{number}": 0x00010004 + 0x200 * number for number in range(8)}

_RULE_BITS = RULE_MASK.bit_length()
_PARTIES_BITS = 64 - OBJECT_SHIFT
_EPOCH_BITS = 32

_WRITES = _REG_MOVE.pack(
    _VENDOR, _REG_MOVE.size, _NICIRA, _MOVE,
    _PARTIES_BITS, OBJECT_SHIFT, OBJECT_SHIFT, _METADATA, _CT_LABEL,
) + _REG_MOVE.pack(
    _VENDOR, _REG_MOVE.size, _NICIRA, _MOVE, _RULE_BITS, 0, 0, _REGISTER[GRANT], _CT_LABEL
)  # fmt: skip  # in the order of the wire


def track(action: Track) -> bytes:
    """Look up, and go on at a table."""
    return _CT.pack(_VENDOR, _CT.size, _NICIRA, SUBTYPE, 0, 0, action.zone, action.table, 0)


def commit(action: Commit) -> bytes:
    """Take up with a label: subject and object of the metadata, the rule of its register, and the epoch."""
    epoch = _REG_LOAD.pack(
        _VENDOR, _REG_LOAD.size, _NICIRA, _LOAD, EPOCH_SHIFT << 6 | _EPOCH_BITS - 1, _CT_LABEL, action.epoch
    )
    size = _CT.size + len(_WRITES) + len(epoch)
    table = _NO_TABLE if action.table is None else action.table
    head = _CT.pack(_VENDOR, size, _NICIRA, SUBTYPE, _COMMIT | _FORCE, 0, action.zone, table, 0)
    return head + _WRITES + epoch


def read(data: bytes) -> Action | None:
    """The action in these bytes; None if it is not of a form that Zethane writes."""
    if len(data) < _CT.size:
        return None
    *_, flags, source, zone, table, _alg = _CT.unpack_from(data)
    if source or (table not in Table._value2member_map_ and (table != _NO_TABLE or not flags)):
        return None
    if not flags:
        looked = Track(zone, Table(table))
        return looked if data == track(looked) else None
    epoch = int.from_bytes(data[-8:], "big")
    if epoch >= 1 << _EPOCH_BITS:
        return None
    found = Commit(zone, None if table == _NO_TABLE else Table(table), epoch)
    return found if data == commit(found) else None
