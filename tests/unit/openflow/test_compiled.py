"""The compiled parts of the hot path do what their twins in Python do."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zethane.adapters.openflow.hotpath import pure_read_packet_in
from zethane.adapters.openflow.output import PureOutput
from zethane.native import native

fast_path = native("zethane.adapters.openflow.fast_path")
pytestmark = pytest.mark.skipif(fast_path is None, reason="nothing is compiled here")

PARTS = st.one_of(
    st.binary(max_size=12),
    st.binary(min_size=4, max_size=4).map(lambda value: bytes.fromhex("80000004") + value),
    st.binary(min_size=8, max_size=8).map(lambda value: bytes.fromhex("80000408") + value),
    st.binary(min_size=16, max_size=16).map(lambda value: bytes.fromhex("80000510") + value),
    st.binary(min_size=4, max_size=4).map(lambda value: bytes.fromhex("00010004") + value),
)


@st.composite
def packet_ins(draw: st.DrawFn) -> bytes:
    """A packet-in that is whole, or cut, or whose lengths do not fit."""
    fields = b"".join(draw(st.lists(PARTS, max_size=5)))
    length = draw(st.one_of(st.just(4 + len(fields)), st.integers(0, 0xFFFF)))
    head = bytes.fromhex("040a0000 00000001 ffffffff 0040 01") + draw(st.binary(min_size=9, max_size=9))
    kind = draw(st.sampled_from((1, 1, 1, 0)))
    whole = head + kind.to_bytes(2, "big") + length.to_bytes(2, "big") + fields
    whole += bytes(-(4 + len(fields)) % 8 + 2) + draw(st.binary(max_size=80))
    return whole[: draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))]


@given(packet_ins())
def test_packet_ins_are_read_alike(message: bytes) -> None:
    assert fast_path.read_packet_in(message) == pure_read_packet_in(message)


@given(st.lists(st.one_of(st.binary(max_size=40), st.just("take"), st.just("xid"), st.just("large")), max_size=20))
def test_output_is_collected_alike(steps: list[bytes | str]) -> None:
    compiled, pure = fast_path.Output(), PureOutput()
    for step in steps:
        if step == "take":
            assert compiled.take() == pure.take()
        elif step == "xid":
            assert compiled.next_xid() == pure.next_xid()
        else:
            message = bytes(100_000) if isinstance(step, str) else step
            compiled.extend([message, b"x"])
            pure.extend([message, b"x"])
            compiled.append(message)
            pure.append(message)
        assert bool(compiled) == bool(pure)
    assert compiled.take() == pure.take()


ADDRESSES = st.one_of(
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=16, max_size=16),
    st.lists(st.sampled_from((0, 0, 0, 1, 0x20, 0x300, 0xFFFF)), min_size=8, max_size=8).map(
        lambda groups: b"".join(group.to_bytes(2, "big") for group in groups)
    ),
)


@settings(max_examples=400)
@given(ADDRESSES)
def test_addresses_are_written_as_ipaddress_writes_them(address: bytes) -> None:
    assert fast_path.address_of(address).decode() == f'"{ip_address(address)}"'
