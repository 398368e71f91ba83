"""Bindings: exact places, and leases that never outlast their session."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fakes.frames import packed
from zethane.net.endpoint import Attachment
from zethane.pipeline.bindings import MAX_LEASE, Binding, destination_binding, lease_seconds, source_binding
from zethane.pipeline.fields import FABRIC
from zethane.pipeline.simulate import Simulator
from zethane.pipeline.tables import Table
from zethane.pipeline.text import render

EPOCH = st.floats(1e9, 2e9)
BINDING = Binding(7, 2, Attachment(2, 3, 0, 0x020000000011), (packed("10.0.0.11"), packed("2001:db8::11")), 5)


@given(EPOCH, st.floats(-10, 2 * MAX_LEASE))
def test_a_lease_ends_no_later_than_the_session_and_less_than_a_second_earlier(now: float, rest: float) -> None:
    ends = now + rest
    lease = lease_seconds(ends, now)
    assert 0 <= lease <= MAX_LEASE
    assert lease == 0 or now + lease <= ends
    if 1 <= ends - now <= MAX_LEASE:
        assert ends - (now + lease) < 1


def test_less_than_a_second_is_too_late_for_a_lease() -> None:
    """A hard timeout of 0 would be one that never ends."""
    assert [lease_seconds(ends, 1000.0) for ends in (999.0, 1000.0, 1000.99, 1001.0, 1e9)] == [0, 0, 0, 1, MAX_LEASE]


def test_the_entries_of_a_session_where_it_is_attached() -> None:
    flows = [*source_binding(BINDING, 2, 60), *destination_binding(BINDING, 60)]
    assert render(flows).splitlines() == [
        "source 200 eth_src=02:00:00:00:00:11,ip,in_port=3,ipv4_src=10.0.0.11,metadata=0x0/0xfff0 -> SetField(reg0,5)"
        " metadata:0x70000000000/0xffffff0000000000 destination hard=60 [7|0|binding]",
        "source 200 eth_src=02:00:00:00:00:11,ipv6,in_port=3,ipv6_src=2001:db8::11,metadata=0x0/0xfff0 ->"
        " SetField(reg0,5) metadata:0x70000000000/0xffffff0000000000 destination hard=60 [7|0|binding]",
        "destination 200 eth_dst=02:00:00:00:00:11,ip,ipv4_dst=10.0.0.11 -> SetField(reg1,5) SetField(reg2,2)"
        " SetField(reg3,3) SetField(reg4,0) metadata:0x70000/0xffffff0000 flow hard=60 [0|7|binding]",
        "destination 200 eth_dst=02:00:00:00:00:11,ipv6,ipv6_dst=2001:db8::11 -> SetField(reg1,5) SetField(reg2,2)"
        " SetField(reg3,3) SetField(reg4,0) metadata:0x70000/0xffffff0000 flow hard=60 [0|7|binding]",
    ]


RIGHT = {
    "in_port": 3,
    "eth_src": 0x020000000011,
    "eth_type": 0x0800,
    "ipv4_src": int.from_bytes(packed("10.0.0.11"), "big"),
}


@given(st.sampled_from(sorted(RIGHT)), st.integers(0, 2**32 - 1))
def test_a_packet_that_differs_in_port_mac_or_address_is_nobodys(name: str, value: int) -> None:
    table = Simulator(source_binding(BINDING, 2, 60))
    found = table.run_from(Table.SOURCE, {**RIGHT, name: value}).path
    assert bool(found) == (value == RIGHT[name])


def test_elsewhere_a_session_is_known_by_the_fabric_bit_alone() -> None:
    """No host can set it: only a trunk port writes it."""
    table = Simulator(source_binding(BINDING, 1, 60))
    assert not table.run_from(Table.SOURCE, RIGHT).path
    assert table.run_from(Table.SOURCE, {**RIGHT, "in_port": 9, "metadata": FABRIC}).path


def test_a_binding_writes_its_party_and_leaves_the_other_alone() -> None:
    table = Simulator([*source_binding(BINDING, 2, 60), *destination_binding(BINDING, 60)])
    to_itself = {**RIGHT, "eth_dst": RIGHT["eth_src"], "ipv4_dst": RIGHT["ipv4_src"]}
    fields = table.run_from(Table.SOURCE, to_itself).fields
    assert fields["metadata"] == 7 << 40 | 7 << 16
    assert [fields[name] for name in ("reg0", "reg1", "reg2", "reg3")] == [5, 5, 2, 3]
