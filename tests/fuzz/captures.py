"""Targets: captures of others, and the packets in them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from fakes import captures
from fuzz.frames import seed_frames
from fuzz.target import Target
from zethane.audit.reason import DenyReason
from zethane.errors import InputError
from zethane.net.flowkey import parse_frame
from zethane.policy.load import parse_policy
from zethane.policy.principal import Principal
from zethane.replay.attribution import Attribution, Entity, Told
from zethane.replay.capture import Capture
from zethane.replay.flow import Count, Flow
from zethane.replay.link import ETHERNET, unframe
from zethane.replay.meter import Meter
from zethane.replay.packet import Aside, Fate, Read, read_packet
from zethane.replay.pcap import Record
from zethane.replay.source import PADDING, Source
from zethane.replay.table import Table
from zethane.replay.verdict import Judge

POLICY = parse_policy(
    "version: 1\nsegments: {all: {groups: [all]}}\n"
    "rules:\n  - {id: web, from: [all], to: [all], services: [tcp/443, udp/1-1000],"
    ' when: {hours: "Mon-Fri 07:00-19:00 UTC"}}\n',
    "policy.yaml",
)
ROOM = 6
"""Flows of the small table: so few that some have to make room."""


class _CarefulMeter(Meter):
    """One that has no fast path."""

    def run(self, records: Iterable[Record]) -> None:
        for record in records:
            self.careful(record)


def outcome(records: Iterable[Record], kind: type[Meter], room: int = 100) -> tuple[list[object], dict[Aside, Count]]:
    """What a meter makes of packets: all that can be told of each flow, in the order of their ends, and the rest."""
    anybody = Entity("anybody", "", Principal("user", "anybody", frozenset(("all",))))
    attribution = Attribution(
        POLICY, (Told({ip_network("10.0.0.0/8"): anybody, ip_network("2001:db8::/32"): anybody}),)
    )
    flows: list[Flow] = []
    asides: dict[Aside, Count] = {}

    def put_aside(aside: Aside, count: Count, when: float) -> None:
        del when
        asides[aside] = asides.get(aside, Count()).plus(count)

    table = Table(Judge(POLICY), attribution, flows.append, room)
    meter = kind(table, put_aside)
    meter.run(records)
    meter.finish()
    table.finish()
    told = [(flow.key, *flow[3:]) for flow in flows]
    assert not table.signatures, "signatures of flows that have ended are left"
    return told, asides


def agree(records: list[Record]) -> None:
    """The fast path and the careful one make the same of packets, and each packet is counted once."""
    for room in (100, ROOM):
        fast, careful = outcome(records, Meter, room), outcome(records, _CarefulMeter, room)
        assert fast == careful
    flows, asides = outcome(records, Meter)
    counted = [count for *_, there, back, related, _, _ in flows for count in (there, back, related)]  # type: ignore[misc]
    everything = [*counted, *asides.values()]
    assert sum(count.packets for count in everything) == len(records)
    assert sum(count.octets for count in everything) == sum(record[3] for record in records)


def records_of(frames: Iterable[bytes], link: int = ETHERNET) -> list[Record]:
    """Packets as a reader hands them out, a second after one another."""
    return [(frame + PADDING, 0, len(frame), len(frame), float(n), link) for n, frame in enumerate(frames)]


class _Pieces:
    """A file that hands out a few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file = io.BytesIO(data)
        self._size = size

    def read1(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._size))


def _read(data: bytes, size: int) -> tuple[list[tuple[bytes, int, float, int]], str]:
    found = Capture(Source("fuzz", _Pieces(data, size), None, lambda: 0))
    packets = [(window[at : at + captured], *rest) for window, at, captured, *rest in found.records()]
    return packets, str(found.broken)  # type: ignore[return-value]  # the rest are length, time and link type


def check_capture(data: bytes) -> None:
    """It is read alike however it comes, up to where it breaks off; its packets are counted once, on either path."""
    try:
        packets, broken = _read(data, 1 << 20)
    except InputError:
        return
    assert (packets, broken) == _read(data, 5)
    assert sum(len(frame) for frame, *_ in packets) <= len(data)
    agree([(frame + PADDING, 0, len(frame), length, when, link) for frame, length, when, link in packets])


def check_packet(data: bytes) -> None:
    """What the controller reads of a frame is read the same here, and what it refuses is never without a hurdle."""
    framed = unframe(ETHERNET, data, 0, len(data))
    if framed is None:
        assert len(data) < 22
        return
    found = read_packet(framed, data, len(data), missing=False)
    packet = None if framed.tags else parse_frame(data)
    if packet is not None and isinstance(found, Read):
        assert (found.key, found.flags, found.about, found.hurdle) == (
            packet.key,
            packet.flags,
            packet.error_about,
            None,
        )
    elif packet is not None:
        assert found.reason in (DenyReason.MULTICAST.value, "dhcp")
    elif isinstance(found, Read) and not framed.tags:
        assert found.hurdle is not None or _is_left_to_the_card(data)
    if isinstance(found, Aside):
        assert found.fate is not Fate.UNREAD
        assert found.fate is Fate.HANDLED or DenyReason(found.reason)
    agree(records_of([data, data, *_neighbours(data)]))


def _is_left_to_the_card(data: bytes) -> bool:
    """A length of 0 in the IP header: the card cuts it into segments."""
    return data[16:18] == b"\0\0" if data[12:14] == b"\x08\0" else data[18:20] == b"\0\0"


def _neighbours(data: bytes) -> Iterator[bytes]:
    """Frames that differ from one in what a fast path must not overlook."""
    for at, flip in (
        (0, 1),
        (14, 1),
        (17, 0xFF),
        (19, 0xFF),
        (20, 0x20),
        (21, 1),
        (23, 23),
        (46, 0xF0),
        (47, 2),
        (47, 4),
    ):
        if at < len(data):
            yield data[:at] + bytes((data[at] ^ flip,)) + data[at + 1 :]
    yield data[:40]
    yield data


def _captures() -> dict[str, bytes]:
    frames = seed_frames()
    taken: list[captures.Taken] = [(1_700_000_000.0 + n, frame) for n, frame in enumerate(frames.values())]
    some = taken[:4]
    many = captures.section(">") + captures.interface(101, ">", options=[(9, b"\x09"), (14, bytes(8))])
    return {
        "pcap": captures.pcap(some),
        "pcap-big-endian-nanoseconds": captures.pcap(some, order=">", nano=True),
        "pcap-all": captures.pcap(taken),
        "pcap-cut-short": captures.pcap([(1.0, frame[:40], len(frame)) for frame in frames.values()]),
        "pcap-raw": captures.pcap([(1.0, frame[14:]) for frame in frames.values()], link=101),
        "pcap-cooked": captures.pcap([(1.0, bytes(14) + frame[12:]) for frame in frames.values()], link=113),
        "pcapng": captures.pcapng(some),
        "pcapng-kinds": many
        + captures.old_packet(5, frames["udp"][14:], order=">")
        + captures.simple_packet(frames["tcp-syn"][14:], order=">")
        + captures.block(5, b"statistics", ">")
        + captures.packet(7, frames["echo"][14:], order=">"),
        "pcapng-two-sections": captures.pcapng(some) + captures.pcapng(some, ">"),
    }


TARGETS = (
    Target("capture", check_capture, _captures, 8192),
    Target("captured-packet", check_packet, seed_frames),
)
