"""EAPOL frames and EAP packets: what is read of them, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fakes.eapol import EAP, IDENTITY, LOGOFF, RESPONSE, START, answers, eap, eapol, response
from fakes.frames import Host, ethernet, mac
from zethane.net.eapol import (
    MAX_EAP,
    MAX_IDENTITY,
    PAE_GROUP,
    Code,
    FrameType,
    build_frame,
    failure,
    identity_request,
    parse_eap,
    parse_frame,
    success,
)

LAPTOP = Host(2, "02:00:00:00:00:15", "10.0.0.21")
OWN = bytes.fromhex("027a65746803")


def test_start_and_logoff_are_read_whatever_their_version_and_padding() -> None:
    for version in (1, 2, 3, 9):
        for kind in (START, LOGOFF):
            frame = parse_frame(eapol(LAPTOP, kind, version=version))
            assert frame is not None
            assert (frame.kind, frame.mac, frame.destination, frame.eap) == (kind, mac(LAPTOP.mac), PAE_GROUP, None)


def test_a_response_is_read_without_what_is_behind_it() -> None:
    frame = parse_frame(answers(LAPTOP, 7, IDENTITY, b"alice") + b"more")
    assert frame is not None
    assert frame.kind == FrameType.EAP
    assert frame.eap is not None
    assert frame.eap.packet == response(7, IDENTITY, b"alice")
    assert (frame.eap.code, frame.eap.identifier, frame.eap.method) == (Code.RESPONSE, 7, 1)
    assert frame.eap.identity == "alice"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        eapol(LAPTOP, START)[:17],
        eapol(LAPTOP, START, version=0),
        eapol(LAPTOP, 3, bytes(40)),  # a key
        eapol(LAPTOP, 200),
        eapol(LAPTOP, EAP),
        eapol(LAPTOP, EAP, b"\2\1\0\3\1"),  # shorter than its own head
        eapol(LAPTOP, EAP, b"\2\1\0\x09\1abc"),  # longer than what is there
        eapol(LAPTOP, EAP, eap(RESPONSE, 1)),  # no type
        eapol(LAPTOP, EAP, eap(5, 1, b"\1")),
        eapol(LAPTOP, EAP, eap(0, 1, b"\1")),
        eapol(LAPTOP, EAP, eap(Code.SUCCESS, 1, b"\1")),
        eapol(LAPTOP, EAP, response(1, IDENTITY, bytes(MAX_EAP - 4))),
        ethernet("03:00:00:00:00:15", "01:80:c2:00:00:03", 0x888E, b"\2\1\0\0"),  # from a group
        ethernet(LAPTOP.mac, "01:80:c2:00:00:03", 0x0800, b"\2\1\0\0"),
        mac("01:80:c2:00:00:03") + mac(LAPTOP.mac) + b"\x88\x8e\2\0\0\x10" + b"\2\1\0\5\1",  # cut off
    ],
)
def test_what_no_supplicant_sends_is_nothing(frame: bytes) -> None:
    assert parse_frame(frame) is None


@pytest.mark.parametrize(
    ("told", "identity"),
    [
        (b"alice", "alice"),
        (b"host/alice-laptop", "host/alice-laptop"),
        (b"alice\0networkid=x", "alice"),
        ("jürgen".encode(), "jürgen"),
        (b"a" * MAX_IDENTITY, "a" * MAX_IDENTITY),
        (b"a" * (MAX_IDENTITY + 1), None),
        (b"", None),
        (b"\0", None),
        (b"\xff\xfe", None),
        (b"ali\nce", None),
    ],
)
def test_an_identity_is_text_that_a_radius_server_takes(told: bytes, identity: str | None) -> None:
    packet = parse_eap(response(1, IDENTITY, told))
    assert packet is not None
    assert packet.identity == identity


def test_only_a_response_of_that_type_tells_an_identity() -> None:
    for packet in (eap(1, 1, b"\1alice"), response(1, 4, b"alice"), success(1)):
        found = parse_eap(packet)
        assert found is not None
        assert found.identity is None


@given(st.integers(0, 255))
def test_what_is_built_reads_back(identifier: int) -> None:
    for packet, code in (
        (identity_request(identifier), Code.REQUEST),
        (success(identifier), Code.SUCCESS),
        (failure(identifier), Code.FAILURE),
    ):
        frame = build_frame(mac(LAPTOP.mac), OWN, packet)
        assert len(frame) >= 60
        read = parse_frame(frame)
        assert read is not None
        assert read.eap is not None
        assert (read.mac, read.destination) == (OWN, mac(LAPTOP.mac))
        assert (read.eap.code, read.eap.identifier, read.eap.packet) == (code, identifier, packet)


@given(st.binary(max_size=64))
@example(b"\2\1\0\5\1")
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    read = parse_frame(eapol(LAPTOP, EAP, body))
    if read is not None:
        assert read.eap is not None
        assert body.startswith(read.eap.packet)
        assert len(read.eap.packet) == int.from_bytes(read.eap.packet[2:4], "big")
