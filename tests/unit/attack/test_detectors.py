"""The detectors that read what programs say."""

from __future__ import annotations

import struct

import pytest

from attack.honest import sequence_numbers
from attack.scenarios.exhaustion import conntrack_entries, mask_shapes
from attack.scenarios.lldp import is_lldp
from attack.tools import addresses_token
from lab.errors import LabError

FLOWS = """\
ufid:00000000-0000-0000-0000-000000000001, recirc_id(0),in_port(zp1-1),ipv4(src=10.0.0.1/0xff), packets:1, bytes:60
ufid:00000000-0000-0000-0000-000000000002, recirc_id(0),in_port(zp1-1),ipv4(src=10.0.0.2/0xff), packets:1, bytes:60
ufid:00000000-0000-0000-0000-000000000003, recirc_id(0),in_port(zp1-1),ipv4(src=10.0.0.2/0xfff), packets:1, bytes:60
ufid:00000000-0000-0000-0000-000000000004, recirc_id(0),in_port(zp1-2),ipv4(src=10.0.0.2/0xf), packets:1, bytes:60
"""


def test_masks_are_told_apart_and_values_are_not() -> None:
    assert len(mask_shapes(FLOWS, "zp1-1")) == 2
    assert len(mask_shapes(FLOWS, "zp1-2")) == 1
    assert mask_shapes(FLOWS, "zp1-3") == set()


def test_conntrack_is_counted_for_the_addresses_asked_for() -> None:
    dump = (
        "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=2)\nudp,orig=(src=10.0.0.10,dst=10.0.0.20,sport=1,dport=2)\n"
    )
    assert conntrack_entries(dump, ["10.0.0.1"]) == 1
    assert conntrack_entries(dump, ["10.0.0.1", "10.0.0.20"]) == 2
    assert conntrack_entries(dump, ["10.0.0.3"]) == 0


def test_lldp_is_seen_with_and_without_a_tag() -> None:
    assert is_lldp(bytes(12) + b"\x88\xcc")
    assert is_lldp(bytes(12) + b"\x81\x00\x00\x05\x88\xcc")
    assert not is_lldp(bytes(12) + b"\x08\x00\x88\xcc\x88\xcc")


def test_sequence_numbers_are_those_of_the_last_segment() -> None:
    def frame(sequence: int, family: bytes, length: int) -> bytes:
        return bytes(12) + family + bytes(length) + struct.pack("!HHII", 40000, 443, sequence, 9)

    frames = [frame(5, b"\x08\x00", 20), frame(7, b"\x86\xdd", 40), bytes(60)]
    assert sequence_numbers(frames, 40000, 443) == (7, 9)
    with pytest.raises(LabError):
        sequence_numbers(frames, 40001, 443)


def test_a_mark_of_addresses_is_what_packets_hold() -> None:
    assert addresses_token("10.0.0.1", "10.0.0.2") == bytes((10, 0, 0, 1, 10, 0, 0, 2))
    assert addresses_token("10.0.0.1", "10.0.0.2", 258) == bytes((10, 0, 0, 1, 10, 0, 0, 2, 1, 2))
