"""Captures of every form are read; what is damaged is read up to there, and told."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import captures
from fakes.frames import Host
from zethane.errors import InputError
from zethane.replay.capture import Capture
from zethane.replay.pcap import MAX_CAPTURED
from zethane.replay.pcapng import LATEST, MAX_INTERFACES
from zethane.replay.source import CHUNK, open_source

A = Host(1, "02:00:00:00:00:01", "10.0.0.1")
B = Host(2, "02:00:00:00:00:02", "10.0.0.2")
Make = Callable[[list[captures.Taken]], bytes]
FRAME = A.tcp(B, 40000, 443)
OTHER = B.udp(A, 53, 40000)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_in_both_byte_orders_and_both_resolutions(order: str, *, nano: bool) -> None:
    data = captures.pcap([(1700000000.25, FRAME), (1700000001.5, OTHER[:20], 60)], order=order, nano=nano)
    assert captures.read(data) == [(FRAME, 60, 1700000000.25, 1), (OTHER[:20], 60, 1700000001.5, 1)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_in_both_byte_orders(order: str) -> None:
    data = captures.pcapng([(1700000000.25, FRAME), (1700000001.5, OTHER[:20], 60)], order)
    assert captures.read(data) == [(FRAME, 60, 1700000000.25, 1), (OTHER[:20], 60, 1700000001.5, 1)]


def test_every_interface_of_pcapng_has_its_own_link_type_resolution_and_offset() -> None:
    data = captures.section() + b"".join(
        (
            captures.interface(1),
            captures.interface(101, options=[(9, bytes([9]))]),
            captures.interface(113, options=[(9, bytes([0x80 | 10])), (14, struct.pack("<q", 1000))]),
            captures.packet(1_500_000, FRAME, number=0),
            captures.packet(2_500_000_000, FRAME[14:], number=1),
            captures.packet(3 * 1024, FRAME, number=2),
        )
    )
    found = captures.read(data)
    assert [(when, link) for _, _, when, link in found] == [(1.5, 1), (2.5, 101), (1003.0, 113)]


def test_times_beyond_the_calendar_count_as_at_its_ends() -> None:
    data = captures.section() + b"".join(
        (
            captures.interface(options=[(9, bytes([0]))]),
            captures.interface(options=[(14, struct.pack("<q", -(2**62)))]),
            captures.packet(2**64 - 1, FRAME),
            captures.packet(1, FRAME, number=1),
            captures.old_packet(2**64 - 1, FRAME),
        )
    )
    assert [when for _, _, when, _ in captures.read(data)] == [LATEST, 0.0, LATEST]


def test_a_new_section_of_pcapng_may_have_another_byte_order_and_has_interfaces_of_its_own() -> None:
    data = captures.pcapng([(1, FRAME)], "<") + captures.pcapng([(2, OTHER)], ">")
    assert [frame for frame, *_ in captures.read(data)] == [FRAME, OTHER]
    lacking = captures.capture(captures.pcapng([(1, FRAME)]) + captures.section() + captures.packet(1, FRAME))
    assert len(list(lacking.records())) == 1
    assert lacking.broken is not None
    assert "interface 0, which is not described" in lacking.broken.message


def test_simple_and_old_packet_blocks_and_blocks_of_other_kinds() -> None:
    data = (
        captures.section()
        + captures.interface(snap=64)
        + captures.old_packet(5_000_000, FRAME)
        + captures.block(0x80000001, bytes(2 * CHUNK))
        + captures.block(4, b"names")
        + captures.simple_packet(OTHER)
        + captures.simple_packet(bytes(64), length=1500)
    )
    found = captures.capture(data)
    read = [(captured, length, when) for _, _, captured, length, when, _ in found.records()]
    assert read == [(60, 60, 5.0), (60, 60, 5.0), (64, 1500, 5.0)]
    assert found.untimed == 2
    assert found.broken is None


def test_records_across_the_pieces_that_are_read() -> None:
    frames = [(float(index), FRAME.ljust(60 + index % 1400, b"x")) for index in range(3 * CHUNK // 700)]
    for data in (captures.pcap(frames), captures.pcapng(frames)):
        assert [(frame, when) for frame, _, when, _ in captures.read(data)] == [(f, w) for w, f in frames]


@pytest.mark.parametrize("make", [captures.pcap, captures.pcapng])
def test_a_file_that_is_cut_anywhere_is_read_up_to_there_and_that_is_told(make: Make) -> None:
    packets: list[captures.Taken] = [(1.0, FRAME), (2.0, OTHER), (3.0, FRAME)]
    data = make(packets)
    last = 24 if make is captures.pcap else len(data) - 3 * (60 + 32)
    for end in range(last, len(data)):
        cut = captures.capture(data[:end])
        frames = [window[at : at + captured] for window, at, captured, *_ in cut.records()]
        assert frames == [FRAME, OTHER, FRAME][: len(frames)]
        size = 76 if make is captures.pcap else 92
        assert len(frames) == (end - last) // size
        if (end - last) % size:
            assert cut.broken is not None
            assert cut.broken.cut
            assert cut.broken.position == last + len(frames) * size
        else:
            assert cut.broken is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (captures.pcap([]) + struct.pack("<IIII", 1, 0, MAX_CAPTURED + 1, 60) + bytes(9), "a packet of 262145 bytes"),
        (captures.pcapng([]) + struct.pack("<II", 6, 8) + bytes(8), "a block of 8 bytes"),
        (captures.pcapng([]) + struct.pack("<II", 6, 33) + bytes(40), "a block of 33 bytes"),
        (captures.pcapng([]) + captures.packet(1, FRAME)[:-4] + bytes(4), "ends as one of 0"),
        (captures.pcapng([]) + captures.block(6, bytes(8)), "too short"),
        (captures.pcapng([]) + captures.block(6, struct.pack("<IIIII", 0, 0, 0, 61, 61) + bytes(60)), "of 61 bytes in"),
        (captures.pcapng([]) + captures.packet(1, FRAME, number=1), "interface 1, which is not described"),
        (captures.pcapng([]) + captures.block(3, b""), "too short"),
        (captures.pcapng([]) + captures.block(1, b""), "too short"),
        (captures.pcapng([]) + captures.block(0x0A0D0D0A, bytes(16)), "byte order"),
        (captures.pcapng([]) + captures.block(6, bytes(2 * MAX_CAPTURED)), "expected at most"),
        (captures.section() + captures.interface() * (MAX_INTERFACES + 1), "more than 4096 interfaces"),
    ],
)
def test_what_cannot_be_ends_the_capture_and_is_told(damage: bytes, message: str) -> None:
    found = captures.capture(damage)
    list(found.records())
    assert found.broken is not None
    assert message in found.broken.message
    assert not found.broken.cut


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"\xd4\xc3", "fewer than four bytes"),
        (b"\xd4\xc3\xb2\xa1" + bytes(9), "header is not whole"),
        (b"\x34\xcd\xb2\xa1" + bytes(40), "modified pcap"),
        (b"version: 1\nsegments:\n", "expected a capture"),
    ],
)
def test_what_is_no_capture_is_an_error_of_the_input(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        captures.capture(data)


def test_compressed_captures_whole_and_cut(tmp_path: Path) -> None:
    frames = [(float(index), FRAME.ljust(60 + index, b"y")) for index in range(200)]
    packed = gzip.compress(captures.pcap(frames))
    file = tmp_path / "capture"
    file.write_bytes(packed)
    with open_source(str(file)) as source:
        found = Capture(source)
        assert len(list(found.records())) == 200
        assert found.broken is None
        assert source.size == source.position() == len(packed)
    file.write_bytes(packed[:-40])
    with open_source(str(file)) as source:
        found = Capture(source)
        assert 0 <= len(list(found.records())) <= 200
        assert found.broken is not None
        assert found.broken.cut


def test_a_file_that_is_not_there_and_a_folder_are_errors_of_the_input(tmp_path: Path) -> None:
    for name in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="cannot be read"), open_source(str(name)) as source:
            Capture(source)


def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    file = tmp_path / "capture.pcap"
    file.write_bytes(captures.pcap([(1.0, FRAME)] * 100))
    script = (
        "from zethane.replay.source import open_source\nfrom zethane.replay.capture import Capture\n"
        "with open_source('-') as source: print(len(list(Capture(source).records())))"
    )
    with file.open("rb") as stream:
        told = subprocess.run([sys.executable, "-c", script], stdin=stream, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "100"
