"""Entries of sessions read with one struct: what they say is what is intended, and nothing else says the same."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.reported import reported
from zethane.adapters.openflow import decode
from zethane.adapters.openflow.bound import _FORMS
from zethane.net.endpoint import Attachment
from zethane.pipeline.bindings import Binding, destination_binding, source_binding
from zethane.pipeline.fields import FIRST_STATIC
from zethane.pipeline.flow import Flow
from zethane.pipeline.grants import connection_ends
from zethane.pipeline.held import (
    CONNECTION_KINDS,
    HeldBinding,
    Says,
    bindings_say,
    connections_say,
    held_rule,
    remote_bindings_say,
)

NUMBERS = st.integers(1, FIRST_STATIC - 1)
WORDS = st.integers(0, 2**32 - 1)
ADDRESSES = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


@st.composite
def sessions(draw: st.DrawFn) -> tuple[list[Flow], list[Says]]:
    """The entries of a session, at its own switch or another, and what they are to say."""
    number, epoch, own = draw(NUMBERS), draw(WORDS), draw(st.booleans())
    place = Attachment(1, draw(WORDS), draw(st.integers(0, 0xFFF)), draw(st.integers(0, 2**48 - 1)))
    switch, address, session_class = draw(st.integers(0, 4094)), draw(ADDRESSES), draw(WORDS)
    binding = Binding(number, switch, place, (address,), session_class)
    there = switch if own else switch + 1
    flows = [
        *source_binding(binding, there, 600),
        *destination_binding(binding, 600),
        *connection_ends(number, epoch, "", notify=own),
    ]
    say = bindings_say if own else remote_bindings_say
    says = say(number, place.mac.to_bytes(6, "big"), address, session_class, (switch, place.port, place.vlan))
    return flows, [*says, *connections_say(number, epoch, notify=own)]


def read(body: bytes, age: float = 0.0) -> HeldBinding | None:
    (found,) = decode.read_flow_stats(body, brief=True, younger=age)
    return found if isinstance(found, HeldBinding) else None


@given(sessions(), st.booleans())
def test_an_entry_says_what_its_session_is_to_have(made: tuple[list[Flow], list[Says]], as_written: bool) -> None:
    flows, says = made
    found = [read(reported(flow, as_written=as_written, age=5, packets=3, octets=180), 1.5) for flow in flows]
    assert [held.says for held in found if held is not None] == says
    assert len(set(says)) == len(says)
    for flow, held in zip(flows, found, strict=True):
        assert held is not None
        assert (held.table, held.cookie, held.hard_timeout) == (flow.table, flow.cookie, flow.hard_timeout)
        assert (held.age, held.packets, held.octets) == (3.5, 3, 180)
        whole = held.whole
        assert (held.flow, held.match, held.priority, held.removal, held.raw) == (
            flow, flow.match, flow.priority, whole.removal, b""
        )  # fmt: skip
        assert (whole.age, whole.packets, whole.octets) == (3.5, 3, 180)
        assert held_rule(held) is None


@given(sessions(), st.booleans(), st.data())
def test_what_differs_in_any_byte_but_age_counters_and_the_length_of_a_lease_says_something_else(
    made: tuple[list[Flow], list[Says]], as_written: bool, data: st.DataObject
) -> None:
    flows, _ = made
    flow = data.draw(st.sampled_from(flows))
    body = bytearray(reported(flow, as_written=as_written))
    before = read(bytes(body))
    # Not the length, the padding, the age and the counters; nor the lease, of which only whether there is one counts.
    at = data.draw(st.sampled_from([2, *range(12, 16), 18, 19, *range(24, 32), *range(48, len(body))]))
    body[at] ^= data.draw(st.integers(1, 255))
    found = read(bytes(body))
    assert before is not None
    assert found is None or found.says is None or found.says != before.says


@pytest.mark.parametrize("lease", [0, 600])
def test_whether_there_is_a_lease_is_a_part_of_it(lease: int) -> None:
    binding = Binding(7, 1, Attachment(1, 4, 0, 0x020000000021), (bytes((10, 0, 0, 21)),), 3)
    other = {
        held.says
        for hard in (1, 600, 65535)
        for flow in source_binding(binding, 1, hard)
        if (held := read(reported(flow))) is not None
    }
    (flow,) = source_binding(binding, 1, lease)
    held = read(reported(flow))
    assert held is not None
    assert len(other) == 1
    assert (held.says in other) == (lease > 0)


@given(st.binary(min_size=56, max_size=200), st.sampled_from(sorted(_FORMS)))
def test_strange_bytes_are_nobodys_or_say_nothing(noise: bytes, where: tuple[int, int]) -> None:
    length, table = where
    body = (length.to_bytes(2, "big") + bytes((table,)) + noise).ljust(length, b"\0")[:length]
    found = decode.read_binding(body, 0, length, 0.0, partial(decode._flow))
    assert found is None or found.says is None


def test_there_is_a_form_for_each_kind_in_both_orders() -> None:
    kinds = [form.kind for forms in _FORMS.values() for form in forms]
    assert sorted(kinds) == sorted(2 * (2 * ["source", "source-fabric", "destination"] + list(CONNECTION_KINDS)))
