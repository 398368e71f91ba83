"""A capture like that of an office and its servers: connections of all lengths, DNS, pings, some IPv6, some tagged."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

from zethane.net.flowkey import TCP, UDP

HOSTS = (11, 12, 13, 14, 21, 22)
"""Last bytes of the addresses of the topology three-tier that log in."""
_SERVICES = (443, 8080, 5432, 22, 53, 25, 445)
_AT_ONCE = 300
_INTERVAL = 0.0001
_SYN, _SYN_ACK, _ACK, _PUSH, _FIN = 0x02, 0x12, 0x10, 0x18, 0x11
_MANY = 3000
"""Packets of a connection at the most."""

Ends = tuple[bytes, bytes]


class Traffic:
    """Makes frames; the same for the same seed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)  # noqa: S311  # not for secrets

    def frames(self) -> Iterator[bytes]:
        """Frames of flows that are under way at the same time, without end."""
        draw = self._random
        live = [self._flow() for _ in range(_AT_ONCE)]
        while True:
            at = draw.randrange(_AT_ONCE)
            frame = next(live[at], None)
            if frame is None:
                live[at] = self._flow()
            else:
                yield frame

    def _flow(self) -> Iterator[bytes]:
        draw = self._random
        a, b = (_end(number, draw.random()) for number in draw.sample(HOSTS, 2))
        kind, port = draw.random(), draw.randrange(32768, 61000)
        is_v6, is_tagged = draw.random() < 0.1, draw.random() < 0.05
        wrap = _Wrap(draw, is_v6=is_v6, is_tagged=is_tagged)
        if kind < 0.5:
            yield from self._connection(wrap, a, b, port, draw.choice(_SERVICES))
        elif kind < 0.9:
            yield wrap.frame(a, b, UDP, struct.pack("!HHHH", port, 53, 48, 0), 40)
            yield wrap.frame(b, a, UDP, struct.pack("!HHHH", 53, port, 128, 0), 120)
        else:
            for number in range(3):
                yield wrap.echo(a, b, number, is_reply=False)
                yield wrap.echo(b, a, number, is_reply=True)

    def _connection(self, wrap: _Wrap, a: Ends, b: Ends, port: int, service: int) -> Iterator[bytes]:
        draw = self._random
        there, back = (a, b, port, service), (b, a, service, port)
        yield wrap.tcp(*there, _SYN, 0, 20)
        yield wrap.tcp(*back, _SYN_ACK, 0, 20)
        yield wrap.tcp(*there, _ACK, 0)
        for _ in range(min(_MANY, int(draw.paretovariate(1.1) * 3))):
            flags = _PUSH if draw.random() < 0.3 else _ACK
            yield wrap.tcp(
                *(there if draw.random() < 0.45 else back), flags, draw.choice((0, 0, 0, 120, 500, 1448, 1448))
            )
        yield wrap.tcp(*there, _FIN, 0)
        yield wrap.tcp(*back, _FIN, 0)
        yield wrap.tcp(*there, _ACK, 0)


def _end(number: int, chance: float) -> Ends:
    """IPv4 and IPv6 address of a host; now and then one that nobody knows."""
    if chance < 0.02:
        number = 200
    return bytes((10, 0, 0, number)), bytes.fromhex("20010db8") + bytes(11) + bytes((number,))


class _Wrap:
    """Puts headers in front of what the hosts of one flow send."""

    def __init__(self, draw: random.Random, *, is_v6: bool, is_tagged: bool) -> None:
        self._draw = draw
        self._is_v6 = is_v6
        self._tag = struct.pack("!HH", 0x8100, 20) if is_tagged else b""

    def frame(self, src: Ends, dst: Ends, proto: int, header: bytes, data: int) -> bytes:
        macs = b"\x02\0" + dst[0] + b"\x02\0" + src[0] + self._tag
        size = len(header) + data
        if self._is_v6:
            ip = b"\x86\xdd" + struct.pack("!IHBB", 0x60000000, size, proto, 64) + src[1] + dst[1]
        else:
            number, check = self._draw.randrange(65536), self._draw.randrange(65536)
            ip = b"\x08\0" + struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, number, 0x4000, 64, proto, check)
            ip += src[0] + dst[0]
        return macs + ip + header + bytes(data)

    def tcp(self, src: Ends, dst: Ends, sport: int, dport: int, flags: int, data: int, options: int = 12) -> bytes:
        number, words = self._draw.getrandbits(32), 5 + options // 4
        header = struct.pack("!HHIIBBHHH", sport, dport, number, 1, words << 4, flags, 500, 0, 0)
        # Padding with no-operations: options that any reader takes for some.
        return self.frame(src, dst, TCP, header + b"\x01" * options, data)

    def echo(self, src: Ends, dst: Ends, number: int, *, is_reply: bool) -> bytes:
        kinds = (128, 129) if self._is_v6 else (8, 0)
        header = struct.pack("!BBHHH", kinds[is_reply], 0, 0, 1, number)
        return self.frame(src, dst, 58 if self._is_v6 else 1, header, 56)


def write_capture(file: Path, packets: int, seed: int = 1) -> None:
    """Write a pcap file with so many packets."""
    frames = Traffic(seed).frames()
    with file.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for number in range(packets):
            frame = next(frames)
            seconds, fraction = divmod(number, round(1 / _INTERVAL))
            moment = 1_700_000_000 + seconds, round(fraction * _INTERVAL * 1e6)
            out.write(struct.pack("<IIII", *moment, len(frame), len(frame)) + frame)
