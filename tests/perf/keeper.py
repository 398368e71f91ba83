"""Switches that keep their tables when the controller goes, and are there again as soon as it listens: for `restart`.

`python -m perf.keeper PORT SWITCHES SESSIONS FLOWS` connects, opens so many flows, and prints `{"entries": …}`. Then,
for each line on standard input, it opens one flow more and prints the seconds until its packet came out, and how many
flow-mods the controller has written since it connected. What a switch would refuse ends the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys
import time

from perf import wire
from perf.site import Site
from zethane.pipeline.fields import MAX_RULE, cookie, parties, split_cookie
from zethane.pipeline.tables import Table

AGAIN = 0.02
"""Seconds between two attempts to connect."""

PATIENCE = 120.0

_MOD = struct.Struct("!QQBBHHHIIIHxx")
_ENTRY = struct.Struct("!HBxIIHHHHxxxxQQQ")
_PART = 60_000
_ONF, _CONTROL, _ADD, _COMMIT = 0x4F4E4600, 2300, 2301, 4
_FLOW, _METER_CONFIG, _MORE = 1, 10, 1
_METADATA = bytes.fromhex("80000510")
_ADDRESSES_AT = 51
"""In the match of a per-flow rule: behind its header, metadata, two registers, EtherType and protocol."""
_METER_MOD, _AGGREGATE = 29, 2
_REG0, _REG1 = 0x00010004, 0x00010204

Entry = tuple[bytes, float]
"""The flow-mod without its header, and when it came."""


class Switch(asyncio.Protocol):
    """One of them."""

    def __init__(self, index: int, ports: range) -> None:
        self.tables: dict[tuple[int, int, bytes], Entry] = {}
        self.meters: dict[int, bytes] = {}
        self.mods = 0
        self.arrived: dict[int, asyncio.Event] = {}
        self.gone = asyncio.Event()
        self.filled = asyncio.Event()
        self._index = index
        self._ports = ports
        self._transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._rest, self.mods = transport, b"", 0
        self.gone.clear()
        self.send(wire.message(wire.HELLO, 1))

    def connection_lost(self, _: Exception | None) -> None:
        self.gone.set()

    def send(self, message: bytes) -> None:
        if self._transport is not None:
            self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while len(data) - at >= wire.HEADER.size:
            _, kind, length, xid = wire.HEADER.unpack_from(data, at)
            if len(data) - at < length:
                break
            self._message(kind, xid, data[at : at + length])
            at += length
        self._rest = data[at:]

    def _message(self, kind: int, xid: int, message: bytes) -> None:
        if kind == wire.FLOW_MOD:
            self._change(message[8:])
        elif kind == wire.EXPERIMENTER:
            vendor, subtype = struct.unpack_from("!II", message, 8)
            if (vendor, subtype) == (_ONF, _ADD):
                self._change(message[32:])
            elif (vendor, subtype) == (_ONF, _CONTROL):
                bundle, step = struct.unpack_from("!IH", message, 16)
                if step == _COMMIT:
                    self.filled.set()
                self.send(
                    wire.message(wire.EXPERIMENTER, xid, struct.pack("!IIIHH", _ONF, _CONTROL, bundle, step + 1, 0))
                )
        elif kind == wire.PACKET_OUT:
            self._packet_out(message)
        elif kind == _METER_MOD:
            command, _, meter = struct.unpack_from("!HHI", message, 8)
            if command == _AGGREGATE:  # OFPMC_DELETE has the same number
                self.meters.pop(meter, None)
            else:
                self.meters[meter] = message[10:12] + message[12:]
        elif kind == wire.MULTIPART_REQUEST:
            self._multipart(xid, message)
        elif kind == wire.FEATURES_REQUEST:
            body = struct.pack("!QIBB2xII", wire.DPID + self._index, 0, 254, 0, 0x4F, 0)
            self.send(wire.message(wire.FEATURES_REPLY, xid, body))
        elif kind == wire.BARRIER_REQUEST:
            self.send(wire.message(wire.BARRIER_REPLY, xid))
        elif kind == wire.ECHO_REQUEST:
            self.send(wire.message(wire.ECHO_REPLY, xid, message[8:]))
        elif kind == wire.ERROR:
            raise SystemExit(f"the controller answered with an error: {message.hex()}")

    def _change(self, body: bytes) -> None:
        _, _, table, command, _, _, priority, *_ = _MOD.unpack_from(body)
        length = int.from_bytes(body[_MOD.size + 2 : _MOD.size + 4], "big")
        key = (table, priority, body[_MOD.size : _MOD.size + length])
        self.mods += 1
        if command == 0:
            self.tables[key] = (body, time.monotonic())
        elif command == 4:
            self.tables.pop(key, None)

    def _packet_out(self, message: bytes) -> None:
        length = int.from_bytes(message[16:18], "big")
        frame = message[24 + length :]
        if len(frame) >= wire.SEQUENCE_AT + 4:
            event = self.arrived.get(int.from_bytes(frame[wire.SEQUENCE_AT : wire.SEQUENCE_AT + 4], "big"))
            if event is not None:
                event.set()

    def _multipart(self, xid: int, message: bytes) -> None:
        kind = int.from_bytes(message[8:10], "big")
        if kind == wire.PORT_DESCRIPTION:
            ports = b"".join(
                wire._PORT.pack(port, b"\2\0\0\0" + struct.pack("!H", port), f"p{port}".encode(), 0, 4, *[0] * 6)
                for port in self._ports
            )
            self.send(wire.multipart(kind, xid, ports))
        elif kind == _FLOW:
            self._entries(xid, message[16])
        elif kind == _METER_CONFIG:
            body = b"".join(struct.pack("!H", len(meter) + 2) + meter for meter in self.meters.values())
            self.send(wire.multipart(kind, xid, body))
        elif kind == _AGGREGATE:
            self.send(wire.multipart(kind, xid, bytes(24)))
        else:
            self.send(wire.multipart(kind, xid))

    def _entries(self, xid: int, table: int) -> None:
        """The entries of a table; the fields of per-flow rules in the order in which Open vSwitch has them."""
        now, part = time.monotonic(), bytearray()
        for (in_table, priority, _), (body, since) in self.tables.items():
            if in_table != table:
                continue
            why, _, _, _, idle, hard, _, _, _, _, flags = _MOD.unpack_from(body)
            rest = _in_order(body[_MOD.size :])
            seconds, rest_of_second = divmod(now - since, 1)
            age = int(seconds), int(rest_of_second * 1e9)
            size = _ENTRY.size + len(rest)
            part += _ENTRY.pack(size, table, *age, priority, idle, hard, flags, why, 0, 0) + rest
            if len(part) > _PART:
                self.send(wire.message(wire.MULTIPART_REPLY, xid, struct.pack("!HH4x", _FLOW, _MORE) + part))
                part = bytearray()
        self.send(wire.multipart(_FLOW, xid, bytes(part)))

    # new flows

    def classes(self, table: Table, register: int) -> dict[int, int]:
        """The class of each session, from what its entry writes into a register."""
        found = {}
        for (in_table, _, _), (body, _) in self.tables.items():
            at = body.find(struct.pack("!I", register), _MOD.size) if in_table == table else -1
            if at >= 0:
                subject, obj, _ = split_cookie(int.from_bytes(body[:8], "big"))
                found[subject or obj] = int.from_bytes(body[at + 4 : at + 8], "big")
        return found

    @property
    def rule(self) -> int:
        """A rule of the policy that sends new flows up."""
        cookies = (int.from_bytes(body[:8], "big") & 0xFFFF for (table, _, _), (body, _) in self.tables.items()
                   if table == Table.RULE)  # fmt: skip
        return min(number for number in cookies if 0 < number <= MAX_RULE)

    async def open(self, sequence: int, message: bytes) -> float:
        """Set a flow up; the seconds that it took."""
        event = self.arrived[sequence] = asyncio.Event()
        begun = time.perf_counter()
        self.send(message)
        await asyncio.wait_for(event.wait(), PATIENCE)
        del self.arrived[sequence]
        return time.perf_counter() - begun


def _in_order(rest: bytes) -> bytes:
    """Match and instructions of a per-flow rule, the match's fields as Open vSwitch orders them; others as they are."""
    length = int.from_bytes(rest[2:4], "big")
    if rest[4:8] != _METADATA or length < _ADDRESSES_AT + 16:
        return rest
    parties, classes, family, proto = rest[4:24], rest[24:40], rest[40:46], rest[46:51]
    ends = _ADDRESSES_AT + 2 * (4 + rest[_ADDRESSES_AT + 3])
    return rest[:4] + family + rest[_ADDRESSES_AT:ends] + proto + rest[ends:length] + classes + parties + rest[length:]


class Keeper:
    """All of them."""

    def __init__(self, site: Site) -> None:
        trunk = site.ports + 1
        self.switches = [Switch(index, range(1, trunk + 12)) for index in range(site.switches)]
        self._site = site
        self._sequence = 0

    async def stay(self, switch: Switch, port: int) -> None:
        """Connect again and again."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(OSError):
                await loop.create_connection(lambda: switch, "127.0.0.1", port)
                await switch.gone.wait()
            await asyncio.sleep(AGAIN)

    def packet_in(self, index: int, rule: int, classes: tuple[dict[int, int], dict[int, int]]) -> tuple[int, bytes]:
        """The next flow of a switch: its number, and its first packet."""
        site, sequence = self._site, self._sequence
        self._sequence += 1
        servers = max(1, site.per_switch // 5)
        clients = site.per_switch - servers
        first = index * site.per_switch
        client, server = first + sequence % clients, first + clients + sequence // clients % servers
        source = wire.FIRST_SOURCE_PORT + sequence // (clients * servers)
        ends = [((0x0A40_0000 + one + 1).to_bytes(4, "big"), (0x0200_0A00_0000 | one + 1).to_bytes(6, "big"))
                for one in (client, server)]  # fmt: skip
        segment = wire._TCP.pack(source, 443, sequence, 0, 0xA0, 2, 64240, 0, 0, wire._SYN_OPTIONS)
        header = wire._IPV4.pack(0x45, 0, 20 + len(segment), 0, 0x4000, 64, 6, 0, ends[0][0], ends[1][0])
        frame = ends[1][1] + ends[0][1] + b"\x08\x00" + header + segment
        fields = wire._PIPELINE.pack(
            0x80000004, site.port(client), 0x80000408, parties(client + 1, server + 1),
            0x00010004, classes[0][client + 1], 0x00010204, classes[1][server + 1],
            0x00010404, index + 1, 0x00010604, site.port(server),
        )  # fmt: skip
        return sequence, wire._packet_in(fields, Table.RULE, cookie(0, 0, rule), 1, frame)


async def run(port: int, site: Site, flows: int) -> None:
    """Be the switches until standard input ends."""
    keeper = Keeper(site)
    tasks = [asyncio.create_task(keeper.stay(switch, port)) for switch in keeper.switches]
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.readline()
    for switch in keeper.switches:
        await switch.filled.wait()
    known = [(switch.rule, (switch.classes(Table.SOURCE, _REG0), switch.classes(Table.DESTINATION, _REG1)))
             for switch in keeper.switches]  # fmt: skip
    for number in range(flows):
        index = number % site.switches
        await keeper.switches[index].open(*keeper.packet_in(index, *known[index]))
    print(json.dumps({"entries": sum(len(switch.tables) for switch in keeper.switches)}), flush=True)
    while await reader.readline():
        took = [
            await switch.open(*keeper.packet_in(index, *known[index])) for index, switch in enumerate(keeper.switches)
        ]
        mods = sum(switch.mods for switch in keeper.switches)
        print(json.dumps({"seconds": max(took), "mods": mods}), flush=True)
    for task in tasks:
        task.cancel()


def main() -> int:
    """From the command line."""
    port, switches, sessions, flows = map(int, sys.argv[1:])
    asyncio.run(run(port, Site(switches, sessions), flows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
