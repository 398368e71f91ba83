"""Frames, built with scapy: the same few shapes for IPv4 and IPv6. Pure."""

from __future__ import annotations

import logging
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Padding, Raw

# What attacks send is wrong on purpose: scapy would warn of it in the midst of the progress bar. Each of its loggers
# has a level of its own once Mininet is there: Mininet makes its class that of all loggers.
for _name in ("scapy", "scapy.runtime", "scapy.loading"):
    logging.getLogger(_name).setLevel(logging.ERROR)

BROADCAST = "ff:ff:ff:ff:ff:ff"
NOBODY = "00:00:00:00:00:00"

Packet = Any
"""What scapy makes: `/` puts one in front of another, bytes() gives its bytes."""


def ip(src: str, dst: str, **fields: Any) -> Packet:
    """An IP header of the version that the addresses have. `ttl` is the hop limit as well."""
    if ":" in src:
        if "ttl" in fields:
            fields["hlim"] = fields.pop("ttl")
        return IPv6(src=src, dst=dst, **fields)
    return IP(src=src, dst=dst, **fields)


def ether(src: str, dst: str, **fields: Any) -> Packet:
    """An Ethernet header."""
    return Ether(src=src, dst=dst, **fields)


def echo(src: str, dst: str, payload: bytes, *, reply: bool = False, ident: int = 77) -> Packet:
    """An ICMP or ICMPv6 echo with its IP header."""
    if ":" in src:
        kind = ICMPv6EchoReply if reply else ICMPv6EchoRequest
        return IPv6(src=src, dst=dst) / kind(id=ident, seq=1, data=payload)
    return IP(src=src, dst=dst) / ICMP(type=0 if reply else 8, id=ident, seq=1) / Raw(payload)


def udp(src: str, dst: str, sport: int, dport: int, payload: bytes) -> Packet:
    """A UDP datagram with its IP header."""
    return ip(src, dst) / UDP(sport=sport, dport=dport) / Raw(payload)


def tcp(
    src: str, dst: str, sport: int, dport: int, flags: str, payload: bytes, seq: int = 1000, ack: int = 0
) -> Packet:
    """A TCP segment with its IP header; `flags` as scapy writes them: S, SA, F, FPU and so on."""
    return ip(src, dst) / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack) / Raw(payload)


def arp(operation: int, sha: str, spa: str, tha: str, tpa: str, token: bytes) -> Packet:
    """An ARP message (RFC 826) with the token in the padding behind it."""
    return ARP(op=operation, hwsrc=sha, psrc=spa, hwdst=tha, pdst=tpa) / Padding(token)
