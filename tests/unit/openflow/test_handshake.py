"""The handshake, against a switch in memory: who it is, and what ends it."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest

from fakes.openflow_peer import (
    BARRIER_REPLY,
    FEATURES_REPLY,
    FEATURES_REQUEST,
    FLOW_REMOVED,
    HELLO,
    MULTIPART_REPLY,
    MULTIPART_REQUEST,
    PACKET_IN,
    PACKET_IN_BODY,
    PORT_STATUS,
    SET_CONFIG,
    Events,
    Message,
    Peer,
    connect,
    features,
    message,
    multipart,
    port,
    wire,
)
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.errors import ChannelError
from zethane.service.switch import PortState

BRIEF = ChannelLimits(handshake=0.02, echo_interval=0.005, echo_deadline=0.02, request=0.02)
"""Limits that a silent switch breaks at once."""


async def test_the_handshake_greets_asks_who_it_is_drops_fragments_and_reports_the_ports() -> None:
    channel, transport, events = await connect(Peer(0xABC, ports=(1, 7)))
    kinds = [written.kind for written in transport.written]
    assert kinds[:4] == [HELLO, FEATURES_REQUEST, SET_CONFIG, MULTIPART_REQUEST]
    assert transport.of(SET_CONFIG)[0].body == bytes.fromhex("0001 ffff")
    assert channel.dpid == 0xABC
    assert events.of("connected") == [0xABC]
    assert events.ports == [PortState(1, "p1", up=True), PortState(7, "p7", up=True)]
    assert channel.peer == "('192.0.2.1', 6653)"


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_switch_that_is_too_old_is_told_so(version: int) -> None:
    events = Events()
    _, transport = wire(events, _silent())
    transport.deliver(message(HELLO, 0, version=version))
    await transport.lost
    assert events.calls == []


def _silent() -> Peer:
    peer = Peer()
    peer.silent = set(range(256))
    return peer


async def test_a_switch_that_could_speak_a_newer_version_speaks_ours() -> None:
    """OpenFlow 1.3.5 §6.3.1; the elements of its hello are not even read."""
    peer = Peer()
    peer.silent = {HELLO}
    events = Events()
    _, transport = wire(events, peer)
    transport.deliver(message(HELLO, 0, struct.pack("!HHI", 1, 8, 0x7E), version=6))
    await events.ready.wait()
    assert events.of("connected") == [1]


async def test_a_hello_with_an_element_of_length_zero_is_harmless() -> None:
    peer = Peer()
    peer.silent = {HELLO}
    events = Events()
    _, transport = wire(events, peer)
    transport.deliver(message(HELLO, 0, bytes(8)))
    await events.ready.wait()
    assert events.of("connected") == [1]


@pytest.mark.parametrize("silent", [HELLO, FEATURES_REQUEST, MULTIPART_REQUEST])
async def test_a_handshake_that_does_not_get_on_is_given_up(silent: int) -> None:
    peer = Peer()
    peer.silent = {silent}
    events = Events()
    channel, transport = wire(events, peer, BRIEF)
    await transport.lost
    assert events.calls == []
    with pytest.raises(ChannelError):
        await channel.barrier()


@pytest.mark.parametrize(
    ("kind", "body"),
    [(FEATURES_REPLY, features(1)[:23]), (FEATURES_REPLY, b""), (MULTIPART_REPLY, multipart(13, port(1)[:63]))],
)
async def test_answers_that_are_too_short_end_the_handshake(kind: int, body: bytes) -> None:
    class Short(Peer):
        def answers(self, asked: Message) -> Any:
            for answer in super().answers(asked):
                yield message(kind, asked.xid, body) if answer[1] == kind else answer

    events = Events()
    _, transport = wire(events, Short())
    await transport.lost
    assert events.calls == []


async def test_an_unwanted_switch_is_disconnected_and_not_reported_as_lost() -> None:
    events = Events(wanted=False)
    _, transport = wire(events)
    await transport.lost
    assert events.calls == [("connected", 1)]


async def test_messages_before_the_handshake_is_done_are_ignored() -> None:
    events = Events()
    peer = Peer()
    peer.silent = {MULTIPART_REQUEST}
    _, transport = wire(events, peer)
    early = message(PACKET_IN, 0, PACKET_IN_BODY) + message(PORT_STATUS, 0, bytes(8) + port(3))
    early += message(FLOW_REMOVED, 0, bytes(48)) + message(BARRIER_REPLY, 99) + message(MULTIPART_REPLY, 98, bytes(8))
    transport.deliver(early)
    await asyncio.sleep(0)
    assert events.calls == []
    assert not transport.is_closing()


async def test_a_second_hello_ends_the_connection() -> None:
    _, transport, events = await connect()
    transport.deliver(message(HELLO, 0))
    await transport.lost
    assert events.of("disconnected") == ["a second hello"]
