"""A capture decided by one side, in a process of its own: by `zethane replay`, or the same job by scapy's dissection.

What is timed goes from opening the capture to the sums; starting Python and reading the policy are left out.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zethane.app.topology import load_topology
from zethane.net.flowkey import ICMP as ICMP_NUMBER
from zethane.net.flowkey import ICMPV6, TCP, UDP, FlowKey
from zethane.policy.model import Policy
from zethane.replay.attribution import Attribution
from zethane.replay.capture import Capture
from zethane.replay.flow import Flow
from zethane.replay.given import attribution_of
from zethane.replay.replay import replay
from zethane.replay.source import open_source
from zethane.replay.table import Table
from zethane.replay.totals import Totals
from zethane.replay.verdict import Judge

_ECHO = {8: (8, 0), 0: (0, 8), 128: (8, 0), 129: (0, 8)}


def by_zethane(file: str, policy: Policy, attribution: Attribution) -> Totals:
    """What `zethane replay` does."""
    with open_source(file) as source:
        return replay(Capture(source), policy, attribution).totals


def by_scapy(file: str, policy: Policy, attribution: Attribution) -> Totals:
    """The same flows and verdicts, from packets that scapy has dissected."""
    from scapy.utils import PcapReader

    totals = Totals()
    ended: list[Flow] = []
    table = Table(Judge(policy), attribution, ended.append)
    with PcapReader(file) as packets:
        for packet in packets:
            key, flags, sequence = _dissected(packet)
            src, dst = (bytes.fromhex(mac.replace(":", "")) for mac in (packet.src, packet.dst))
            when = float(packet.time)
            way = table.way_of(key, flags, sequence, src, dst, when)
            way.packets += 1
            way.octets += packet.wirelen
            way.last = when
    table.finish()
    for flow in ended:
        totals.add(flow)
    return totals


def _dissected(packet: Any) -> tuple[FlowKey, int, int]:
    """The key, TCP's flags and sequence number of one of the packets that the benchmark's captures have."""
    from ipaddress import ip_address

    from scapy.layers import inet, inet6

    network = packet.getlayer(inet.IP) or packet.getlayer(inet6.IPv6)
    src, dst = (ip_address(address).packed for address in (network.src, network.dst))
    segment = packet.getlayer(inet.TCP)
    if segment is not None:
        return FlowKey(src, dst, TCP, segment.sport, segment.dport), int(segment.flags), segment.seq
    datagram = packet.getlayer(inet.UDP)
    if datagram is not None:
        return FlowKey(src, dst, UDP, datagram.sport, datagram.dport), 0, 0
    proto = ICMP_NUMBER if len(src) == 4 else ICMPV6
    return FlowKey(src, dst, proto, *_ECHO[network.payload.type]), 0, 0


def told(totals: Totals) -> Mapping[str, Any]:
    """What both sides have to agree on."""
    outcomes: dict[str, list[int]] = {
        outcome: [tally.flows, tally.packets, tally.octets] for outcome, tally in totals.outcomes.items()
    }
    return {**outcomes, "pairs": sorted(_pairs(totals))}


def _pairs(totals: Totals) -> Iterator[str]:
    for pair, found in totals.pairs.items():
        for outcome, tally in found.items():
            yield f"{pair} {outcome} {tally.flows} {tally.packets} {tally.octets}"


SIDES = {"zethane": by_zethane, "scapy": by_scapy}


def main() -> None:
    """Print the figures of one turn as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=SIDES, required=True)
    parser.add_argument("--capture", required=True)
    parser.add_argument("--topology", type=Path, required=True)
    given = parser.parse_args()
    topology = load_topology(given.topology)
    attribution = attribution_of(topology)
    if given.side == "scapy":
        import scapy.layers.all  # noqa: F401  # what it dissects by: loading it is no part of the job
    gc.disable()  # as the command does, and for both
    wall, cpu = time.perf_counter(), time.process_time()
    totals = SIDES[given.side](given.capture, topology.policy, attribution)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    packets = totals.all.packets
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"rate": packets / wall, "cpu": packets / cpu, "memory": memory, "packets": packets}
    print(json.dumps({**figures, "flows": totals.all.flows, "told": told(totals)}))


if __name__ == "__main__":
    main()
