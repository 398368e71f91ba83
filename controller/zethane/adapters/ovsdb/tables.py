"""The rows of an OVSDB that matter here, kept up to date by its notifications (RFC 7047 §4.1.5, §4.1.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zethane.adapters.ovsdb.framing import OvsdbError
from zethane.identity.platform import VirtualInterface
from zethane.net.mac import is_multicast, parse_mac

DATABASE = "Open_vSwitch"

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "Bridge": ("name", "datapath_id", "ports"),
    "Port": ("interfaces",),
    "Interface": ("name", "ofport", "external_ids"),
}
"""What is asked for (ovs-vswitchd.conf.db(5)). A Port's `tag` is for the action NORMAL, which is in no pipeline here:
frames of an interface are as its machine sent them."""

MAX_ROWS = 16_384
"""Rows of each table."""

MAX_TEXT = 255
"""Characters of a value that means anything here."""

MAX_OFPORT = 0xFEFF

Row = dict[str, Any]


class Tables:
    """A copy of the database, as far as COLUMNS go. Changes raise OvsdbError; then the copy cannot be relied on."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Row]] = {table: {} for table in COLUMNS}

    def apply(self, updates: object) -> None:
        """Take <table-updates>: the first, or those of a notification."""
        for table, rows in _mapping(updates).items():
            if table not in self._rows:
                raise OvsdbError("a table that was not asked for")
            for uuid, update in _mapping(rows).items():
                self._change(table, uuid, _mapping(update))
            if len(self._rows[table]) > MAX_ROWS:
                raise OvsdbError(f"more than {MAX_ROWS} rows of {table}")

    def _change(self, table: str, uuid: str, update: Mapping[str, Any]) -> None:
        if update.get("new") is None:
            self._rows[table].pop(uuid, None)
            return
        new = _mapping(update["new"])
        self._rows[table][uuid] = {column: new[column] for column in COLUMNS[table] if column in new}

    def interfaces(self) -> Iterator[VirtualInterface]:
        """Every interface of a bridge with an identity and a place. What makes no sense is none of them."""
        for bridge in self._rows["Bridge"].values():
            dpid = _dpid(bridge.get("datapath_id"))
            for port in _references(bridge.get("ports")):
                for uuid in _references(self._rows["Port"].get(port, {}).get("interfaces")):
                    row = self._rows["Interface"].get(uuid)
                    if row is not None and (interface := _interface(dpid, row)) is not None:
                        yield interface


def _interface(dpid: int | None, row: Row) -> VirtualInterface | None:
    """An interface that the platform says something about; None for any other.

    Datapath ids are gone when the server has been started again, until the daemon writes them; a port that has just
    been added has no number yet.
    """
    ids = _map(row.get("external_ids"))
    ports = _set(row.get("ofport"))
    name = _text(row.get("name"))
    iface_id, vm_uuid = ids.get("iface-id"), _one(ids, "vm-uuid", "vm-id")
    try:
        mac = parse_mac(_one(ids, "attached-mac", "attached_mac") or "")
    except ValueError:
        return None
    if len(ports) > 1 or not all(map(_is_port, ports)) or name is None or is_multicast(mac) or mac == 0:
        return None
    if iface_id is None and vm_uuid is None:
        return None
    return VirtualInterface(name, dpid, ports[0] if ports else None, mac, iface_id, vm_uuid)


def _one(ids: Mapping[str, str], *keys: str) -> str | None:
    """The value that platforms give under one of these keys; None if they say two different things."""
    values = {ids[key] for key in keys if key in ids}
    return values.pop() if len(values) == 1 else None


def _is_port(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_OFPORT


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OvsdbError("something else than an object where rows should be")
    return value


def _dpid(value: object) -> int | None:
    """A datapath id: 16 hexadecimal digits, or the empty set while the bridge has none."""
    text = _text(value)
    if text is None or len(text) != 16 or not set(text.lower()) <= set("0123456789abcdef"):
        return None
    return int(text, 16)


def _set(value: object) -> list[Any]:
    """The elements of a <set> (RFC 7047 §5.1): one by itself may stand for a set of it."""
    if isinstance(value, list) and len(value) == 2 and value[0] == "set" and isinstance(value[1], list):
        return value[1]
    return [] if value is None else [value]


def _references(value: object) -> Iterator[str]:
    """The rows that a column refers to: a <uuid> or a <set> of them."""
    for one in _set(value):
        if isinstance(one, list) and len(one) == 2 and one[0] == "uuid" and isinstance(one[1], str):
            yield one[1]


def _map(value: object) -> dict[str, str]:
    """The pairs of a <map> of strings, of those that are not too long."""
    if not (isinstance(value, list) and len(value) == 2 and value[0] == "map" and isinstance(value[1], list)):
        return {}
    pairs = (pair for pair in value[1] if isinstance(pair, list) and len(pair) == 2)
    return {pair[0]: pair[1] for pair in pairs if _text(pair[0]) is not None and _text(pair[1]) is not None}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable() else None
