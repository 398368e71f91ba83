"""A site whose switches are connected by channels, fed with bytes: compiled, or in Python alone."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from fakes.frames import Host
from fakes.site import ALICE, BOB, DB, TWO_SWITCHES, WEB, Site
from zethane.adapters.audit_log import _line
from zethane.adapters.openflow import channel, compiled, writer
from zethane.adapters.openflow.channel import Channel
from zethane.adapters.openflow.hotpath import pure_read_packet_in
from zethane.adapters.openflow.intake import TurnLimits
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.adapters.openflow.output import PureOutput
from zethane.app.journal import LogJournal
from zethane.pipeline.fields import parties
from zethane.pipeline.tables import Table
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import Principal
from zethane.service import adoption, verification
from zethane.service.deferral import PureDeferral
from zethane.service.flows import PureFlowTable, PureLiveFlow
from zethane.service.state import Limits
from zethane.service.written import Written

LAPTOP = Host(2, "02:00:00:00:00:02", "10.0.0.21", "2001:db8::21")
PHONE = Host(3, "02:00:00:00:00:03", "10.0.0.22", "2001:db8::22")
WEB1 = Host(4, "02:00:00:00:00:04", "10.0.0.11", "2001:db8::11")
DB1 = Host(5, "02:00:00:00:00:05", "10.0.0.31", "2001:db8::31", vlan=0)
HOSTS = (LAPTOP, PHONE, WEB1, DB1)
"""Sessions 1 to 4; the last is at the other switch."""

POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
  - {id: staff-web, from: [staff], to: [web], services: [tcp/443, udp/443, sctp/443]}
  - {id: "web-db", from: [web], to: [db], services: [tcp/5432]}
  - {id: staff-db, from: [staff], to: [db], services: [tcp/443, udp/53]}
  - {id: strong, from: [staff], to: [web], services: [tcp/53], when: {mfa: true}}
  - {id: ping, from: [any], to: [web, db], services: [icmp]}
  - {id: no-ssh, from: [any], to: [db], services: [tcp/22], action: deny}
"""


class Log:
    """The decision log's lines."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, make: Any) -> None:
        self.text += _line(make)

    def write_lines(self, text: bytes, count: int) -> None:
        assert text.count(b"\n") == count
        self.text += text


def _without_nonces(written: bytes) -> bytes:
    """What was written, without what is in probes of links: random numbers and their proof."""
    return b"".join(one[:60] if one[1] == 13 and one[52:54] == b"\x88\xcc" else one for one in messages(written))


class Sink:
    """A transport that keeps what is written to it, and answers barriers and bundles unless it is `held`."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False
        self.reading = True
        self.held = False
        self.unwritten = 0
        self.link: Channel | None = None
        self._answers = b""

    def write(self, data: bytes) -> None:
        self.written += data
        for one in messages(data):
            if one[1] == 20:
                self._answers += message(21, b"")[:4] + one[4:8]
            elif one[1] == 4 and one[8:16] == struct.pack("!II", 0x4F4E4600, 2300):
                step = int.from_bytes(one[20:22], "big") + 1
                body = one[8:20] + step.to_bytes(2, "big") + one[22:24]
                self._answers += message(4, body)[:4] + one[4:8] + body
        self.answer()

    def answer(self) -> None:
        """Let the answers come with the next turn of the event loop."""
        if self._answers and not self.held and self.link is not None:
            asyncio.get_running_loop().call_soon(self.link.data_received, self._answers)
            self._answers = b""

    def get_write_buffer_size(self) -> int:
        return self.unwritten

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@contextmanager
def pure() -> Iterator[None]:
    """Everything in Python within."""
    with (
        patch.object(verification, "LiveFlow", PureLiveFlow),
        patch.object(adoption, "LiveFlow", PureLiveFlow),
        patch.object(writer, "Output", PureOutput),
        patch.object(channel, "read_packet_in", pure_read_packet_in),
    ):
        yield


Member = tuple[Host, Principal, str]
"""A host, who is logged in there, and at which switch."""

MEMBERS = tuple(
    (host, who, "s2" if host is DB1 else "s1") for host, who in zip(HOSTS, (ALICE, BOB, WEB, DB), strict=True)
)


class HotSite:
    """Two switches with four sessions, and a third between them. `fast` says whether the compiled path is in use."""

    def __init__(
        self,
        *,
        fast: bool,
        policy: str = POLICY,
        network: str = TWO_SWITCHES,
        members: Sequence[Member] = MEMBERS,
        **limits: Any,
    ) -> None:
        self._fast = fast
        self._members = members
        self.site = Site(network, policy)
        self.site.state.limits = Limits(**limits)
        if not fast:
            self.site.state.flows, self.site.state.deferral = PureFlowTable(), PureDeferral()
        self.log = Log()
        self.sinks: dict[str, Sink] = {}
        self.channels: dict[str, Channel] = {}
        self.waiting: list[asyncio.Task[None]] = []
        self.told: list[Written] = []

    async def start(self) -> HotSite:
        site = self.site
        await site.start()
        for member in self._members:
            self.log_in(*member)
        await site.settle()
        self.state = state = site.state
        state.journal = LogJournal(self.log, state.fabric, lambda: site.now)  # type: ignore[arg-type]
        fast = compiled.compiled_path(state, state.journal) if self._fast else None
        assert (fast is not None) == self._fast
        self.fast: Any = fast
        if fast is not None:
            site.admin.aging.plain = fast.end_silent
        for name, switch in site.switches.items():
            self.sinks[name] = Sink()
            # Turns end by packets alone: where they end by time, barriers come in other places.
            limits = ChannelLimits(turn=TurnLimits(seconds=3600.0, later=3600.0))
            made = self.channels[name] = Channel(site.admin, limits, None, fast)
            made._attach(self.sinks[name])  # type: ignore[arg-type]
            self.sinks[name].link = made
            made.dpid, made._accepted = switch.dpid, True
            state.fabric.points[switch.dpid].channel = made
        return self

    def log_in(self, host: Host, who: Principal, switch: str) -> None:
        """Log a host in, with all of its addresses."""
        number = self.site.login(host, who, switch).number
        for address in host.addresses[1:]:
            self.site.admin.claim_address(self.site.endpoint(host, switch, address), number)

    async def hold(self, held: bool) -> None:
        """Let no switch answer, or all again."""
        for sink in self.sinks.values():
            sink.held = held
            sink.answer()
        if not held:
            while self.waiting:
                await self.waiting.pop(0)
            await self.site.settle()

    async def use_policy(self, text: str, staged: Policy | None = None) -> None:
        """Put a policy in force; where answers are held, that is not over with this."""
        using = self.site.admin.use_policy(parse_policy(text, "policy.yaml"), staged)
        self.waiting.append(asyncio.get_running_loop().create_task(using))
        if not self.sinks["s1"].held:
            await self.hold(False)
        else:
            await self.go_on()

    async def go_on(self) -> None:
        """Let what was begun go on, as far as it can while answers are held."""
        if not self.sinks["s1"].held:
            await self.site.settle()
            return
        for _ in range(20):
            await asyncio.sleep(0)

    def feed(self, switch: str, data: bytes) -> None:
        """Something is read from a switch, and whatever waits has its turn."""
        link = self.channels[switch]
        link.data_received(data)
        while link._intake:
            link._intake._another_turn()
        for one in self.channels.values():
            one._flush()

    def view(self) -> dict[str, Any]:
        """All that may not differ."""
        state = self.state
        numbers = (*range(1, len(self._members) + 5), *state.outside, *state.serving)
        return {
            "written": {name: _without_nonces(sink.written) for name, sink in self.sinks.items()},
            "closed": {name: link._closed_for for name, link in self.channels.items()},
            "log": self.log.text,
            "counters": {name: count for name, count in state.counters.items() if count},
            "flows": [
                (flow.key, flow.subject, flow.object, flow.rule, *flow.group, *flow.counts, flow.told, flow.alive,
                 flow.started, flow.installed, flow.ends, flow.idle_timeout, flow.replaced)
                for flow in state.flows.by_key.values()
            ],
            "opened": {number: live.opened for number, live in state.sessions.by_number.items()},
            "of": {number: [flow.key for flow in state.flows.of_session(number)] for number in numbers},
            "at": [(state.flows.at(dpid), state.flows.timed_at(dpid)) for dpid in state.fabric.points],
            "told": [written._flows for written in self.told],
            "closing": [state.flows.is_closing(number) for number in numbers],
        }  # fmt: skip


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("!BBHI", 4, kind, 8 + len(body), 0) + body


def packet_in(
    rule: int, subject: int, obj: int, port: int, frame: bytes, *, metadata: int | None = None, table: int = Table.RULE
) -> bytes:
    """What Open vSwitch sends for a packet that a rule of the policy lets come up."""
    fields = struct.pack("!IIIQ", 0x80000004, port, 0x80000408, parties(subject, obj) if metadata is None else metadata)
    fields += struct.pack("!IIIIII", 0x00010004, 1, 0x00010204, 2, 0x00010404, 1)
    length = 4 + len(fields)
    head = struct.pack("!IHBBQHH", 0xFFFFFFFF, len(frame), 1, table, rule, 1, length)
    return message(10, head + fields + bytes(-length % 8 + 2) + frame)


def flow_removed(
    flow_mod: bytes, reason: int, packets: int, octets: int, *, idle: int | None = None, table: int = Table.FLOW
) -> bytes:
    """What a switch reports of an entry that this flow-mod has made, when it is gone."""
    cookie, idle_timeout, hard = struct.unpack_from("!Q10xHH", flow_mod, 8)
    length = struct.unpack_from("!H", flow_mod, 50)[0]
    match = flow_mod[48 : 48 + (length + 7) // 8 * 8]
    idle_timeout = idle_timeout if idle is None else idle
    head = struct.pack("!QHBBIIHHQQ", cookie, 200, reason, table, 1, 0, idle_timeout, hard, packets, octets)
    return message(11, head + match)


def messages(written: bytes) -> list[bytes]:
    """What was written, message by message."""
    found, at = [], 0
    while at < len(written):
        size = int.from_bytes(written[at + 2 : at + 4], "big")
        found.append(written[at : at + size])
        at += size
    return found
