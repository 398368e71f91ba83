"""The peer: a minimal os-ken application, in its own process, as its users write them.

It reads the packet with os_ken.lib.packet and answers with one flow-mod for the exact 5-tuple; with `--deliver`
also with a packet-out, without which a real switch loses the packet. It knows no policy, no sessions, no log, no
way back: what Zethane does beyond that is Zethane's cost. os-ken's packet parser never returns for some packets
that any host can send, so it is given nothing but the benchmark's own.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from os_ken import cfg
from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.lib.packet import ethernet, ipv4, packet, tcp, udp
from os_ken.ofproto import ofproto_v1_3

_PRIORITY = 10
_IDLE = 30


class Settings:
    """What the command line asked for: os-ken makes the application itself, without arguments."""

    deliver = False


class Peer(app_manager.OSKenApp):  # type: ignore[misc]  # os-ken has no types
    """Forwards between port 1 and all others, flow by flow."""

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
        port = message.match["in_port"]
        wanted = _match(parser, port, packet.Packet(message.data))
        if wanted is None:
            return
        actions = [parser.OFPActionOutput(2 if port == 1 else 1)]
        self._add(datapath, _PRIORITY, wanted, actions, _IDLE)
        if Settings.deliver:
            datapath.send_msg(
                parser.OFPPacketOut(
                    datapath=datapath,
                    buffer_id=datapath.ofproto.OFP_NO_BUFFER,
                    in_port=port,
                    actions=actions,
                    data=message.data,
                )
            )

    def _add(self, datapath: Any, priority: int, match: Any, actions: list[Any], idle: int) -> None:
        ofp, parser = datapath.ofproto, datapath.ofproto_parser
        then = [parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions)]
        datapath.send_msg(
            parser.OFPFlowMod(datapath=datapath, priority=priority, match=match, instructions=then, idle_timeout=idle)
        )


def _match(parser: Any, port: int, frame: packet.Packet) -> Any:
    """The exact 5-tuple; None for what is neither TCP nor UDP over IPv4."""
    link, network = frame.get_protocol(ethernet.ethernet), frame.get_protocol(ipv4.ipv4)
    if network is None:
        return None
    fields = {
        "in_port": port,
        "eth_type": link.ethertype,
        "ip_proto": network.proto,
        "ipv4_src": network.src,
        "ipv4_dst": network.dst,
    }
    for name, kind in (("tcp", tcp.tcp), ("udp", udp.udp)):
        segment = frame.get_protocol(kind)
        if segment is not None:
            return parser.OFPMatch(**fields, **{f"{name}_src": segment.src_port, f"{name}_dst": segment.dst_port})
    return None


def main() -> int:
    """Serve switches on loopback until the process is ended."""
    options = argparse.ArgumentParser(prog="perf.peer")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--deliver", action="store_true")
    given = options.parse_args()
    Settings.deliver = given.deliver
    cfg.CONF([], project="os_ken")
    cfg.CONF.set_override("ofp_listen_host", "127.0.0.1")
    cfg.CONF.set_override("ofp_tcp_listen_port", given.port)
    app_manager.AppManager.run_apps(["os_ken.controller.ofp_handler", Peer.__module__])
    return 0


if __name__ == "__main__":
    # os-ken finds an application by its module's name, which `__main__` is not.
    from perf.peer import main as run

    sys.exit(run())
