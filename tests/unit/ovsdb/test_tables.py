"""Rows of an OVSDB: updates change them, and only interfaces that the platform says enough about come out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.adapters.ovsdb import tables as module
from zethane.adapters.ovsdb.framing import OvsdbError
from zethane.adapters.ovsdb.tables import Tables
from zethane.identity.platform import VirtualInterface

IDS = {"iface-id": "port-1", "attached-mac": "02:00:00:00:00:11", "vm-uuid": "vm-1"}
WEB1 = VirtualInterface("tap1", 0xA1, 5, 0x020000000011, "port-1", "vm-1")


def refers(*names: str) -> list[Any]:
    references = [["uuid", name] for name in names]
    return references[0] if len(references) == 1 else ["set", references]


def ids(of: dict[str, str]) -> list[Any]:
    return ["map", [[key, value] for key, value in of.items()]]


def new(**columns: Any) -> dict[str, Any]:
    return {"new": columns}


def updates(interface: dict[str, Any] | None = None, bridge: dict[str, Any] | None = None) -> dict[str, Any]:
    row = {"name": "tap1", "ofport": 5, "external_ids": ids(IDS)} | (interface or {})
    return {
        "Bridge": {
            "b": new(**({"name": "br", "datapath_id": "00000000000000a1", "ports": refers("p", "q")} | (bridge or {})))
        },
        "Port": {"p": new(interfaces=refers("i")), "q": new(interfaces=refers("j"))},
        "Interface": {"i": new(**row), "j": new(name="br", ofport=65534, external_ids=["map", []])},
    }


def interfaces(update: object) -> list[VirtualInterface]:
    made = Tables()
    made.apply(update)
    return list(made.interfaces())


def test_an_interface_of_a_bridge_with_an_identity_is_found() -> None:
    assert interfaces(updates()) == [WEB1]


def test_updates_change_what_they_name_and_nothing_else() -> None:
    made = Tables()
    made.apply(updates())
    made.apply({"Interface": {"j": {"old": {}, "new": {"name": "br"}}}})
    assert list(made.interfaces()) == [WEB1]
    made.apply(
        {"Interface": {"i": {"old": {"ofport": 5}, "new": {"name": "tap1", "ofport": 6, "external_ids": ids(IDS)}}}}
    )
    assert [one.port for one in made.interfaces()] == [6]
    made.apply({"Interface": {"i": {"old": {"name": "tap1"}}}})
    assert list(made.interfaces()) == []


@pytest.mark.parametrize(
    "interface",
    [
        {"ofport": -1},
        {"ofport": 0},
        {"ofport": 65534},
        {"ofport": True},
        {"ofport": 5.0},
        {"ofport": ["set", [5, 6]]},
        {"name": ""},
        {"name": ["set", []]},
        {"external_ids": None},
        {"external_ids": ["map", [["iface-id"]]]},
        {"external_ids": ids(IDS | {"attached-mac": "nonsense"})},
        {"external_ids": ids(IDS | {"attached-mac": "01:00:5e:00:00:01"})},
        {"external_ids": ids(IDS | {"attached-mac": "00:00:00:00:00:00"})},
        {"external_ids": ids({"iface-id": "port-1"})},
        {"external_ids": ids({"attached-mac": "02:00:00:00:00:11"})},
        {"external_ids": ids({"attached-mac": "02:00:00:00:00:11", "iface-id": "x" * 256})},
        {"external_ids": ids({"attached-mac": "02:00:00:00:00:11", "iface-id": "a\nb"})},
    ],
)
def test_what_says_too_little_or_makes_no_sense_is_no_interface(interface: dict[str, Any]) -> None:
    assert interfaces(updates(interface)) == []


def test_platforms_have_two_words_for_one_thing_and_may_not_contradict_themselves() -> None:
    other = {"iface-id": "port-1", "attached_mac": "02:00:00:00:00:11", "vm-id": "vm-1"}
    assert interfaces(updates({"external_ids": ids(other)})) == [WEB1]
    assert interfaces(updates({"external_ids": ids(IDS | {"vm-id": "vm-2"})})) == [replace(WEB1, vm_uuid=None)]
    assert interfaces(updates({"external_ids": ids(IDS | {"attached_mac": "02:00:00:00:00:12"})})) == []


def test_a_bridge_without_ports_has_no_interfaces() -> None:
    assert interfaces(updates(bridge={"ports": 7})) == []


@pytest.mark.parametrize("dpid", [["set", []], "zz", "+0000000000000a1", "a1", 161, None])
def test_an_interface_may_have_no_place_at_the_moment(dpid: object) -> None:
    assert interfaces(updates(bridge={"datapath_id": dpid})) == [replace(WEB1, dpid=None)]
    assert interfaces(updates({"ofport": ["set", []]})) == [replace(WEB1, port=None)]


@pytest.mark.parametrize(
    "update", [None, [], {"Bridge": []}, {"Bridge": {"b": 7}}, {"Bridge": {"b": {"new": 7}}}, {"Other": {}}]
)
def test_an_update_of_another_shape_is_an_error(update: object) -> None:
    with pytest.raises(OvsdbError):
        interfaces(update)


def test_the_number_of_rows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    made = Tables()
    made.apply({"Port": {str(number): new(interfaces=refers("i")) for number in range(3)}})
    with pytest.raises(OvsdbError, match="more than 3 rows"):
        made.apply({"Port": {"more": new(interfaces=refers("i"))}})


WORDS = st.sampled_from(
    ("set", "map", "uuid", "i", "p", "iface-id", "attached-mac", "02:00:00:00:00:11", "00000000000000a1")
)
KEYS = st.sampled_from(("new", "old", "name", "ofport", "external_ids", "ports", "interfaces", "datapath_id", "i"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70000) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["Bridge", "Port", "Interface", "x"]), JSON, max_size=3) | JSON)
def test_no_update_does_more_than_be_refused(update: object) -> None:
    made = Tables()
    try:
        made.apply(update)
        list(made.interfaces())
    except OvsdbError:
        return


@given(JSON, JSON, JSON)
def test_no_value_of_a_column_stops_the_others(ofport: Any, external_ids: Any, reference: Any) -> None:
    update = updates()
    update["Interface"]["x"] = new(name="x", ofport=ofport, external_ids=external_ids)
    update["Port"]["y"] = new(interfaces=reference)
    update["Bridge"]["b"]["new"]["ports"] = refers("p", "y")
    assert WEB1 in interfaces(update)
