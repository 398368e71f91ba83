"""The other peer: an os-ken application that does Zethane's job for a new flow, as a competent user would write it.

It reads the packet with os_ken.lib.packet, looks both ends up by address and holds port and MAC against what is known
of the sender, looks the decision up, counts against a quota, writes one flow-mod for each direction of the exact
5-tuple, delivers the packet by a packet-out, and writes a line of JSON for the decision. What it leaves out is in its
favour: renewal and revocation, tables that check anything before it is asked, IPv6, ICMP errors, counters of flows, a
bound on what a host may cost, the way to other switches, adoption after a restart, an API.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from os_ken import cfg
from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.lib.packet import ethernet, ipv4, packet, tcp, udp
from os_ken.ofproto import ofproto_v1_3

_PRIORITY = 10
_IDLE = 300
_QUOTA = 4096


@dataclass(slots=True)
class Identity:
    """Who is at an address, where, and how many flows it has."""

    name: str
    segment: str
    dpid: int
    port: int
    mac: str
    flows: int = 0


class Site:
    """What the command line named: os-ken makes the application itself, without arguments."""

    identities: dict[str, Identity]
    rules: dict[tuple[str, str, int, int], str]
    log: TextIO


class SameJob(app_manager.OSKenApp):  # type: ignore[misc]  # os-ken has no types
    """Lets flows through that a rule allows."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]  # noqa: RUF012  # os-ken reads a class attribute of this name

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)  # type: ignore[untyped-decorator]  # os-ken
    def connected(self, event: Any) -> None:
        """Everything that no entry takes comes up."""
        datapath = event.msg.datapath
        ofp, parser = datapath.ofproto, datapath.ofproto_parser
        up = [parser.OFPActionOutput(ofp.OFPP_CONTROLLER, ofp.OFPCML_NO_BUFFER)]
        self._add(datapath, 0, parser.OFPMatch(), up, 0)

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]  # os-ken has no types
    def packet_in(self, event: Any) -> None:
        """One new flow."""
        message = event.msg
        datapath = message.datapath
        parser = datapath.ofproto_parser
        frame = packet.Packet(message.data)
        link, network = frame.get_protocol(ethernet.ethernet), frame.get_protocol(ipv4.ipv4)
        segment = frame.get_protocol(tcp.tcp) or frame.get_protocol(udp.udp)
        if network is None or segment is None:
            return
        port = message.match["in_port"]
        subject, target = Site.identities.get(network.src), Site.identities.get(network.dst)
        rule, reason = None, "unauthenticated"
        if subject is not None and target is not None:
            rule, reason = self._decide(datapath.id, port, link.src, subject, target, network.proto, segment.dst_port)
        self._tell(datapath.id, port, network, segment, subject, target, rule, reason)
        if rule is None or subject is None or target is None:
            return
        subject.flows += 1
        kind = "tcp" if network.proto == 6 else "udp"
        there = parser.OFPMatch(
            in_port=port, eth_type=0x0800, ip_proto=network.proto, ipv4_src=network.src, ipv4_dst=network.dst,
            **{f"{kind}_src": segment.src_port, f"{kind}_dst": segment.dst_port},
        )  # fmt: skip
        back = parser.OFPMatch(
            in_port=target.port, eth_type=0x0800, ip_proto=network.proto, ipv4_src=network.dst, ipv4_dst=network.src,
            **{f"{kind}_src": segment.dst_port, f"{kind}_dst": segment.src_port},
        )  # fmt: skip
        out = [parser.OFPActionOutput(target.port)]
        self._add(datapath, _PRIORITY, back, [parser.OFPActionOutput(port)], _IDLE)
        self._add(datapath, _PRIORITY, there, out, _IDLE)
        datapath.send_msg(
            parser.OFPPacketOut(
                datapath=datapath,
                buffer_id=datapath.ofproto.OFP_NO_BUFFER,
                in_port=port,
                actions=out,
                data=message.data,
            )
        )

    @staticmethod
    def _decide(
        dpid: int, port: int, mac: str, subject: Identity, target: Identity, proto: int, service: int
    ) -> tuple[str | None, str]:
        if (subject.dpid, subject.port, subject.mac) != (dpid, port, mac) or target.dpid != dpid:
            return None, "spoofed"
        rule = Site.rules.get((subject.segment, target.segment, proto, service))
        if rule is None:
            return None, "no-rule"
        return (rule, "rule") if subject.flows < _QUOTA else (None, "quota")

    @staticmethod
    def _tell(
        dpid: int, port: int, network: Any, segment: Any, subject: Identity | None, target: Identity | None,
        rule: str | None, reason: str,
    ) -> None:  # fmt: skip
        record = {
            "time": time.time(),
            "event": "decision",
            "decision": "allow" if rule else "deny",
            "rule": rule,
            "reason": reason,
            "subject": subject and subject.name,
            "object": target and target.name,
            "switch": dpid,
            "port": port,
            "source": network.src,
            "source_port": segment.src_port,
            "destination": network.dst,
            "destination_port": segment.dst_port,
            "protocol": network.proto,
        }
        Site.log.write(json.dumps(record) + "\n")

    def _add(self, datapath: Any, priority: int, match: Any, actions: list[Any], idle: int) -> None:
        ofp, parser = datapath.ofproto, datapath.ofproto_parser
        then = [parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions)]
        datapath.send_msg(
            parser.OFPFlowMod(datapath=datapath, priority=priority, match=match, instructions=then, idle_timeout=idle)
        )


def main() -> int:
    """Serve switches on loopback until the process is ended."""
    options = argparse.ArgumentParser(prog="perf.same_job")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--site", type=Path, required=True, help="JSON: identities by address, and rules")
    options.add_argument("--log", type=Path, required=True)
    given = options.parse_args()
    told = json.loads(given.site.read_text(encoding="utf-8"))
    Site.identities = {address: Identity(**one) for address, one in told["identities"].items()}
    Site.rules = {(one[0], one[1], one[2], one[3]): one[4] for one in told["rules"]}
    cfg.CONF([], project="os_ken")
    cfg.CONF.set_override("ofp_listen_host", "127.0.0.1")
    cfg.CONF.set_override("ofp_tcp_listen_port", given.port)
    with given.log.open("w", encoding="utf-8", buffering=1) as Site.log:
        app_manager.AppManager.run_apps(["os_ken.controller.ofp_handler", SameJob.__module__])
    return 0


if __name__ == "__main__":
    # os-ken finds an application by its module's name, which `__main__` is not.
    from perf.same_job import main as run

    sys.exit(run())
