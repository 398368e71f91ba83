"""A switch in memory: the pipeline's simulator behind the interface that the administrator writes to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager

from fakes.reported import reported
from zethane.adapters.openflow.bound import read_binding
from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, SCTP, TCP, UDP
from zethane.net.lldp import ETH_LLDP
from zethane.net.vlan import tagged
from zethane.pipeline.change import Add, Change, Installed, Remove, RemoveMatching
from zethane.pipeline.fields import split_cookie
from zethane.pipeline.flow import EntryKey, Flow
from zethane.pipeline.held import Reported, held_rule, session_of
from zethane.pipeline.simulate import Outcome, Simulator
from zethane.pipeline.tables import VLAN_PRESENT, Priority, Table
from zethane.pipeline.verified import Verified, key_of, verified_flow
from zethane.service.switch import EntryRemoved, FlowRemoved, MeterState, PacketIn, PortState, SwitchEvents
from zethane.service.written import Watches, Written

_SAYS: dict[Flow, int] = {}
"""What entries say, by number, as the reader of a connection has it."""


def fields_of(frame: bytes, port: int) -> dict[str, int]:
    """The match fields of an untagged frame, as Open vSwitch would extract them."""
    fields = {
        "in_port": port,
        "eth_dst": int.from_bytes(frame[:6], "big"),
        "eth_src": int.from_bytes(frame[6:12], "big"),
        "eth_type": int.from_bytes(frame[12:14], "big"),
    }
    if fields["eth_type"] == ETH_IPV4:
        proto, at, size = frame[23], 34, 4
        names = "ipv4_src", "ipv4_dst"
        addresses = frame[26:30], frame[30:34]
    elif fields["eth_type"] == ETH_IPV6:
        proto, at, size = frame[20], 54, 16
        names = "ipv6_src", "ipv6_dst"
        addresses = frame[22:38], frame[38:54]
    else:
        return fields
    assert all(len(address) == size for address in addresses)
    fields |= {name: int.from_bytes(address, "big") for name, address in zip(names, addresses, strict=True)}
    fields["ip_proto"] = proto
    first, second = int.from_bytes(frame[at : at + 2], "big"), int.from_bytes(frame[at + 2 : at + 4], "big")
    if proto in (TCP, UDP, SCTP):
        name = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}[proto]
        fields |= {f"{name}_src": first, f"{name}_dst": second}
        if proto == TCP:
            fields["tcp_flags"] = frame[at + 13]
    elif proto in (ICMP, ICMPV6):
        name = "icmpv4" if proto == ICMP else "icmpv6"
        fields |= {f"{name}_type": frame[at], f"{name}_code": frame[at + 1]}
    return fields


class FakeBundle:
    """Takes effect when it is committed, and not before."""

    def __init__(self, switch: FakeSwitch) -> None:
        self.size = 0
        self._switch = switch
        self._changes: list[Change] = []
        self.is_refused = False
        self._is_over = False

    def add(self, changes: Sequence[Change]) -> None:
        assert not self._is_over
        if self not in self._switch.open_bundles:
            self._switch.open_bundles.append(self)
        self.size += len(changes)
        self._changes += changes
        now = self._switch.clock()
        self._switch.bundled |= {change.flow.key: now for change in changes if isinstance(change, Add)}

    def commit(self) -> Awaitable[None]:
        assert not self._is_over
        self.discard()
        return self._switch.commit(self._changes)

    def discard(self) -> None:
        self._is_over = True
        if self in self._switch.open_bundles:
            self._switch.open_bundles.remove(self)


def as_read(entry: Reported) -> Reported:
    """An entry in the form in which the adapter reports it: per-flow rules of TCP and UDP in theirs."""
    rule = held_rule(entry) if entry.table == Table.FLOW and entry.priority == Priority.FLOW_VERIFIED else None
    return entry if rule is None or rule.key.proto not in (TCP, UDP) else rule


class FakeSwitch:
    """Implements `SwitchChannel`; `send` puts a frame in at a port and hands what comes up to the events."""

    def __init__(self, dpid: int, events: SwitchEvents, ports: Sequence[int]) -> None:
        self.dpid = dpid
        self.tables: dict[EntryKey, Flow] = {}
        self.delivered: list[tuple[int, bytes]] = []
        self.bundled: dict[EntryKey, float] = {}
        self.probes: list[tuple[int, bytes]] = []
        self.flow_mods = 0
        self.looked_into: list[Flow] = []
        self.clock: Callable[[], float] = lambda: 0.0
        self.added: dict[EntryKey, float] = {}
        self._watches = Watches()
        self.closed: str | None = None
        self.waiting = 0
        self.is_behind = self.is_busy = False
        self.open_bundles: list[FakeBundle] = []
        self.is_full = False
        self.fragments_matched = False
        self.meters: dict[int, tuple[int, int]] = {}
        self.drops: dict[int, int] = {}
        self.counted: dict[EntryKey, tuple[int, int]] = {}
        self.packets: Counter[EntryKey] = Counter()
        self._events = events
        self.ports = [PortState(number, f"p{number}", up=True) for number in ports]

    def connect(self) -> bool:
        return self._events.connected(self, self.ports)

    # SwitchChannel

    def apply(self, changes: Sequence[Change]) -> None:
        self._watches.changes(changes)
        for change in changes:
            self.flow_mods += 1
            self._apply(change)

    def flush(self) -> None:
        """Everything is written at once here."""

    def install(self, direction: Verified, *, notify: bool, lease: int, idle: int) -> None:
        self.apply([Add(verified_flow(direction, notify=notify, lease=lease, idle=idle))])

    def packet_out(self, port: int, frame: bytes, vlan: int = 0) -> None:
        probe = int.from_bytes(frame[12:14], "big") == ETH_LLDP
        (self.probes if probe else self.delivered).append((port, tagged(frame, vlan)))

    def commit(self, changes: Sequence[Change]) -> Awaitable[None]:
        self.apply(changes)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(done.set_result, None)
        return done

    def bundle(self) -> FakeBundle:
        return FakeBundle(self)

    def match_fragments(self) -> None:
        self.fragments_matched = True

    async def barrier(self) -> None:
        await asyncio.sleep(0)

    def watch(self) -> AbstractContextManager[Written]:
        return self._watches.watch()

    async def read_tables(
        self, tables: Collection[Table] = tuple(Table), cookie: int = 0, mask: int = 0, *, brief: bool = False
    ) -> list[Reported]:
        """As they are when they are asked for; the answer comes later."""
        now = self.clock()
        found: list[Reported] = [
            Installed(
                flow.table,
                flow.priority,
                flow.match,
                flow,
                now - self.added.get(key, now),
                *self.counted.get(key, (0, 0)),
                cookie=flow.cookie,
                says=_SAYS.setdefault(flow, len(_SAYS) + 1),
            )
            for key, flow in self.tables.items()
            if flow.table in tables and flow.cookie & mask == cookie
        ]
        await self.answer()
        return [self._brief(entry) if brief else as_read(entry) for entry in found]

    def _brief(self, entry: Reported) -> Reported:
        """The same with those of sessions in their form."""
        if not isinstance(entry, Installed) or entry.flow is None:
            return as_read(entry)
        flow = entry.flow
        if not session_of(entry.table, entry.cookie):
            return as_read(entry)

        def read(*_: object) -> Installed:
            self.looked_into.append(flow)
            return entry

        body = reported(flow)
        held = read_binding(body, 0, len(body), 0.0, read)
        assert held is not None
        return held._replace(age=entry.age, packets=entry.packets, octets=entry.octets)

    async def answer(self) -> None:
        """The time that an answer takes; a test may let something happen meanwhile."""
        await asyncio.sleep(0)

    async def set_meters(
        self, meters: Mapping[int, tuple[int, int]], stale: Collection[int] = ()
    ) -> dict[int, MeterState]:
        wrong: dict[int, MeterState] = {
            meter: "altered" if meter in self.meters else "missing"
            for meter, limits in meters.items()
            if self.meters.get(meter) != limits
        }
        wrong |= dict.fromkeys(self.meters.keys() & set(stale), "stale")
        self.meters = {meter: limits for meter, limits in self.meters.items() if meter not in stale} | dict(meters)
        await self.answer()
        return wrong

    async def read_counts(self, metadata: int, mask: int) -> tuple[int, int]:
        """What a test has put into `counted`, of the per-flow rules that are there and fit."""
        packets = octets = 0
        for key, flow in self.tables.items():
            fields = {name: value for name, value, _ in flow.match}
            if flow.table == Table.FLOW and fields.get("metadata", 0) & mask == metadata:
                more = self.counted.get(key, (0, 0))
                packets, octets = packets + more[0], octets + more[1]
        await self.answer()
        return packets, octets

    async def read_heard(self, session: int) -> int:
        await self.answer()
        return sum(
            self.packets.get(key, 0)
            for key, flow in self.tables.items()
            if flow.table == Table.SOURCE and split_cookie(flow.cookie)[0] == session
        )

    async def read_meter_drops(self) -> dict[int, int]:
        return dict(self.drops)

    def close(self, reason: str) -> None:
        self.closed = reason
        self._events.disconnected(self, reason)

    # the data plane

    def _apply(self, change: Change) -> None:
        if isinstance(change, Add):
            self.tables[change.flow.key] = change.flow
            self.added[change.flow.key] = self.clock()
            self.packets.pop(change.flow.key, None)
        elif isinstance(change, Remove):
            self._remove((change.table, change.priority, change.match))
        else:
            assert isinstance(change, RemoveMatching), change
            for flow in list(self.tables.values()):
                if change.takes(flow.key, flow.cookie):
                    self._remove(flow.key)

    def _remove(self, key: EntryKey, reason: int = 2, packets: int = 1) -> None:
        flow = self.tables.pop(key, None)
        if flow is not None and flow.notify_removed and flow.table != Table.FLOW:
            counted = self.counted.pop(key, (0, 0))
            self._events.entry_removed(self, EntryRemoved(flow.table, flow.cookie, *counted))
        elif flow is not None and flow.notify_removed:
            if (gone := key_of(flow.match)) is not None:
                self._watches.flow(gone)
            fields = {name: value for name, value, _ in flow.match}
            self._events.flow_removed(
                self,
                FlowRemoved(
                    flow.cookie,
                    reason,
                    key_of(flow.match),
                    packets,
                    100 * packets,
                    flow.idle_timeout,
                    fields.get("metadata", 0),
                    fields.get("in_port", 0),
                    (fields["reg0"], fields["reg1"]) if "reg0" in fields and "reg1" in fields else None,
                ),
            )

    def expire(self, flow: Flow, reason: int = 0) -> None:
        """Let an entry time out."""
        self._remove(flow.key, reason)

    def send(self, port: int, frame: bytes, vlan: int = 0) -> Outcome:
        """A frame comes in, with a tag if `vlan` is not 0."""
        fields = fields_of(frame, port) | {"vlan_vid": VLAN_PRESENT | vlan if vlan else 0}
        outcome = Simulator(self.tables.values()).run(fields)
        self.packets.update(flow.key for flow in outcome.path)
        last = outcome.last
        if outcome.to_controller and last is not None:
            metadata = outcome.fields.get("metadata", 0)
            sent_up = tagged(frame, outcome.fields["vlan_vid"] & ~VLAN_PRESENT)
            self._events.packet_in(self, PacketIn(port, last.table, last.cookie, metadata, sent_up))
        self.delivered += [(out, tagged(frame, vlan)) for out, vlan in zip(outcome.ports, outcome.vlans, strict=True)]
        return outcome

    def take(self) -> list[tuple[int, bytes]]:
        """What came out since the last call."""
        delivered, self.delivered = self.delivered, []
        return delivered
