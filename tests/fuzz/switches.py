"""Target: a switch that was taken over, against the policy administrator with sessions at other switches.

An input is a kind of event and an OpenFlow message, or what follows its header; the reader of the message is the real
one. Whatever it says, the sessions, flows and connections of others are as they were.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fakes.frames import Host
from fakes.site import ALICE, DB, PORTAL, TWO_SWITCHES, WEB, Site
from fuzz.frames import seed_frames
from fuzz.openflow import flow_removed, packet_in, seed_flow_removeds, seed_ports
from fuzz.target import Target
from zethane.adapters.openflow.decode import describe_error, read_port
from zethane.adapters.openflow.hotpath import read_flow_removed, read_packet_in
from zethane.errors import ChannelError
from zethane.net.flowkey import FlowKey, parse_frame
from zethane.pipeline.fields import PORTAL_NUMBER, Reason, cookie, parties
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import key_fields
from zethane.service.switch import PacketIn

LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
_OTHERS = (1, 2)
"""Numbers of the sessions that the switch does not have; db1, which it has, is 3."""

_TRAITOR = "s3"


class Scene:
    """The laptop at s1 has a flow to web1 at s2, which has a connection to the portal at s1; db1 is at s3."""

    def __init__(self) -> None:
        self.site = asyncio.run(self._build())
        self.before = self.state()

    async def _build(self) -> Site:
        site = await Site(TWO_SWITCHES).start()
        site.login(LAPTOP, ALICE, "s1")
        site.login(WEB1, WEB, "s2")
        site.login(DB1, DB, _TRAITOR)
        rule = site.store.numbers("rule")["staff-web"]
        first = PacketIn(4, Table.RULE, rule, parties(1, 2), LAPTOP.tcp(WEB1, 40000, 443))
        site.admin.packet_in(site.s1, first)
        why, to_portal = cookie(0, 0, Reason.PORTAL), parties(0, PORTAL_NUMBER)
        login = PacketIn(2, Table.RULE, why, to_portal, WEB1.tcp(PORTAL, 40000, 8080))
        site.admin.packet_in(site.switches["s2"], login)
        for switch in site.switches.values():
            switch.take()
        return site

    def state(self) -> dict[str, Any]:
        """All that belongs to others."""
        admin = self.site.admin
        flows = admin.state.flows
        packet = parse_frame(WEB1.tcp(PORTAL, 40000, 8080))
        assert packet is not None
        return {
            "sessions": {number: admin.state.sessions.by_number.get(number) for number in _OTHERS},
            "opened": [live.opened for live in admin.state.sessions if live.session.number in _OTHERS],
            "flows": {
                key: (flow.subject, flow.object, flow.alive) for key, flow in flows.by_key.items() if flow.subject != 3
            },
            "connection": admin.portal_access.locate(packet.key),
            "rules": {name: self._rules(name) for name in ("s1", "s2")},
        }

    def _rules(self, name: str) -> set[Any]:
        """The entries of another switch but those about db1, and paths: a switch may say that its links are down."""
        entries = self.site.switches[name].tables
        return {
            key
            for key, flow in entries.items()
            if flow.table != Table.FORWARD and 3 not in (flow.cookie >> 40, flow.cookie >> 16 & 0xFFFFFF)
        }

    async def report(self, kind: int, message: bytes) -> None:
        """The traitor reports something."""
        admin, traitor = self.site.admin, self.site.switches[_TRAITOR]
        if kind == 0 and (event := read_packet_in(message)) is not None:
            admin.packet_in(traitor, event)
        elif kind == 1 and (removed := read_flow_removed(message)) is not None:
            admin.flow_removed(traitor, removed)
        elif kind in (2, 3):
            self._port(message, removed=kind == 3)
        elif kind == 4:
            admin.refused(traitor, describe_error(message))
        await self.site.settle()

    def _port(self, message: bytes, *, removed: bool) -> None:
        try:
            port = read_port(message)
        except ChannelError:
            return
        if port is not None:
            self.site.admin.port_status(self.site.switches[_TRAITOR], port, removed=removed)


_scene: list[Scene] = []


def check_switch(data: bytes) -> None:
    """Nothing of others changes, and nothing comes out at their ports but what db1 may send and what logs in."""
    if not data:
        return
    scene = _scene.pop() if _scene else Scene()
    site = scene.site
    site.records.calls.clear()
    asyncio.run(scene.report(data[0] % 5, data[1:]))
    delivered = [(name, *sent) for name in ("s1", "s2") for sent in site.switches[name].take()]
    for name, port, frame in delivered:
        packet = parse_frame(frame)
        assert packet is not None
        if (name, port) == ("s1", 1):
            assert packet.key.dport == 8080, "only connections to the portal"
        else:
            assert packet.key.src == bytes((10, 0, 0, 14)), "only db1 is at this switch"
    new = [key for key, flow in site.admin.state.flows.by_key.items() if flow.subject == 3]
    now = scene.state()
    portal_rules = {name: _portal_rules(now["rules"][name] - scene.before["rules"][name]) for name in ("s1", "s2")}
    assert not portal_rules["s2"], portal_rules
    for name in ("s1", "s2"):
        now["rules"][name] = now["rules"][name] - portal_rules[name]
    assert now == scene.before
    changed = new or delivered or portal_rules["s1"] or data[0] % 5 in (2, 3)
    site.switches[_TRAITOR].take()
    if not changed:
        _scene.append(scene)


def _portal_rules(added: set[Any]) -> set[Any]:
    """Of new entries those of a connection to the portal: exact, and of no session."""
    tcp_to_portal = {"tcp_dst": 8080}
    found = set()
    for table, priority, wanted in added:
        fields = {name: value for name, value, _ in wanted}
        is_portal = fields.get("tcp_dst") == tcp_to_portal["tcp_dst"] or fields.get("tcp_src") == 8080
        if table == Table.FLOW and is_portal and {"ipv4_src", "ipv4_dst", "ip_proto"} <= fields.keys():
            found.add((table, priority, wanted))
    return found


def seed_switch() -> dict[str, bytes]:
    """What the switch may say, and what it may not: packets of others, with numbers of others."""
    syn = LAPTOP.tcp(WEB1, 40000, 443)
    key = parse_frame(syn)
    assert key is not None
    seeds = {f"packet-{name}": b"\0" + packet_in(frame) for name, frame in seed_frames().items()}
    seeds |= {
        "others-flow": b"\0" + packet_in(syn, metadata=parties(1, 2)),
        "others-answer": b"\0" + packet_in(WEB1.tcp(LAPTOP, 443, 40000, 0x12), metadata=parties(2, 1)),
        "others-error": b"\0" + packet_in(WEB1.unreachable(LAPTOP, syn), metadata=parties(2, 1)),
        "own-ping": b"\0" + packet_in(DB1.echo(WEB1), metadata=parties(3, 2)),
        "own-login": b"\0"
        + packet_in(DB1.tcp(PORTAL, 40001, 8080), cookie=int(Reason.PORTAL), metadata=parties(0, PORTAL_NUMBER)),
        "others-login": b"\0"
        + packet_in(WEB1.tcp(PORTAL, 40000, 8080, 0x10), cookie=int(Reason.PORTAL), metadata=parties(0, PORTAL_NUMBER)),
        "from-portal": b"\0"
        + packet_in(PORTAL.tcp(WEB1, 8080, 40000, 0x10), cookie=int(Reason.PORTAL), metadata=parties(PORTAL_NUMBER, 0)),
        "question": b"\0" + packet_in(DB1.arp(WEB1.ip), cookie=int(Reason.NEIGHBOUR)),
    }
    seeds |= {f"removed-{name}": b"\1" + message for name, message in seed_flow_removeds().items()}
    seeds["removed-others"] = b"\1" + flow_removed(_match(key.key), cookie(1, 2, 1))
    seeds |= {f"port-{kind}": bytes((kind,)) + seed_ports()["two"][:64] for kind in (2, 3)}
    return seeds | {"error": b"\4\0\5\0\1"}


def _match(key: FlowKey) -> bytes:
    from zethane.adapters.openflow import encode
    from zethane.pipeline.flow import match

    written = bytearray()
    encode._match(match(**key_fields(key))).serialize(written, 0)
    return bytes(written)


TARGETS = (Target("switch", check_switch, seed_switch, 512),)
