"""Probes of the fabric: one form, authenticated as a whole."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zethane.net.lldp import MAC_LENGTH, PROBE_LENGTH, Probe, build_probe, read_probe

KEY = bytes(range(32))
PROBE = Probe(0x1234567890AB, 9, bytes(16), 1_700_000_000_000)

probes = st.builds(
    Probe,
    dpid=st.integers(0, 2**64 - 1),
    port=st.integers(0, 2**32 - 1),
    nonce=st.binary(min_size=16, max_size=16),
    sent=st.integers(0, 2**64 - 1),
)


@given(probes, st.binary(min_size=32, max_size=32))
def test_a_probe_reads_back_with_its_key(probe: Probe, key: bytes) -> None:
    frame = build_probe(probe, key)
    assert read_probe(frame, key) == probe
    assert len(frame) == PROBE_LENGTH >= 60


@given(probes, st.binary(min_size=32, max_size=32))
def test_with_another_key_it_is_nothing(probe: Probe, key: bytes) -> None:
    if key != KEY:
        assert read_probe(build_probe(probe, key), KEY) is None


@given(st.integers(0, PROBE_LENGTH - 1), st.integers(1, 255))
def test_no_byte_may_differ(at: int, change: int) -> None:
    frame = bytearray(build_probe(PROBE, KEY))
    frame[at] ^= change
    assert read_probe(bytes(frame), KEY) is None


@given(st.binary(max_size=2 * PROBE_LENGTH))
@example(b"")
@example(build_probe(PROBE, KEY)[:-1])
@example(build_probe(PROBE, KEY) + b"\0")
def test_whatever_else_arrives_is_nothing(frame: bytes) -> None:
    assert read_probe(frame, KEY) is None


def test_another_form_under_the_right_key_is_nothing() -> None:
    """A chassis id that says something else than the authenticated part."""
    frame = bytearray(build_probe(PROBE, KEY))
    frame[17] ^= 1
    covered = bytes(frame[: -MAC_LENGTH - 2])
    frame[-MAC_LENGTH - 2 : -2] = hmac.digest(KEY, covered, hashlib.sha256)[:MAC_LENGTH]
    assert read_probe(bytes(frame), KEY) is None


def tlvs(frame: bytes) -> list[tuple[int, bytes]]:
    """The TLVs by the standard's own rule."""
    found, at = [], 14
    while at < len(frame):
        kind, length = frame[at] >> 1, (frame[at] & 1) << 8 | frame[at + 1]
        found.append((kind, frame[at + 2 : at + 2 + length]))
        at += 2 + length
    assert at == len(frame)
    return found


def test_it_is_lldp_to_everybody_else() -> None:
    frame = build_probe(PROBE, KEY)
    assert frame[:6].hex() == "0180c200000e"
    assert frame[12:14].hex() == "88cc"
    chassis, port, ttl, organization, end = tlvs(frame)
    assert chassis == (1, b"\x07" + b"00001234567890ab")
    assert port == (2, b"\x07" + b"00000009")
    assert ttl == (3, b"\0\x78")
    assert organization[0] == 127
    assert end == (0, b"")


@pytest.mark.parametrize("field", ["dpid", "port", "nonce", "sent"])
def test_every_part_is_under_the_hash(field: str) -> None:
    other = {"dpid": 1, "port": 1, "nonce": b"x" * 16, "sent": 1}[field]
    changed = Probe(**{**{name: getattr(PROBE, name) for name in Probe.__slots__}, field: other})  # type: ignore[arg-type]  # one of each
    assert build_probe(changed, KEY)[-MAC_LENGTH - 2 : -2] != build_probe(PROBE, KEY)[-MAC_LENGTH - 2 : -2]
