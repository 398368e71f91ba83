"""Meters of a switch in memory are made to be as they should be."""

from __future__ import annotations

import struct

from fakes.openflow_peer import METER_MOD, Peer, connect


def meter(number: int, rate: int, burst: int) -> bytes:
    return struct.pack("!HHIHHIII", 24, 6, number, 1, 16, rate, burst, 0)


async def test_meters_are_made_changed_and_removed_and_what_is_right_or_somebody_elses_stays() -> None:
    peer = Peer()
    peer.meters = meter(1, 100, 100) + meter(2, 50, 50) + meter(9, 1, 1) + meter(77, 1, 1)
    channel, transport, _ = await connect(peer)
    wrong = await channel.set_meters({1: (100, 100), 2: (70, 70), 3: (5, 6)}, {9, 10})
    assert wrong == {2: "altered", 3: "missing", 9: "stale"}
    sent = [(*struct.unpack_from("!HHI", one.body), one.body[8:]) for one in transport.of(METER_MOD)]
    assert [(command, number) for command, _, number, _ in sent] == [(1, 2), (0, 3), (2, 9)]
    assert sent[1][3] == struct.pack("!HHIII", 1, 16, 5, 6, 0)
