"""Crafted frames, built with scapy from the fields of a scenario's file. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6Unknown, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from replay.scenario import Attempt
from replay.schema import PacketFile, PayloadFile, ScanFile, TcpFile, UdpFile

_SCANS = {"syn": "S", "ack": "A", "fin": "F", "null": "", "xmas": "FPU"}
_FILLER = b"zethane "
EXPERIMENT = 253
"""The protocol of a packet of which nothing else is said (RFC 3692)."""


@dataclass(frozen=True, slots=True)
class Book:
    """Where names lead: the MAC address of the card, and an address of an IP version. Both raise LookupError.

    `mac` takes whoever wants to send there as well, for what is outside is behind a router.
    """

    mac: Callable[[str], str]
    ip: Callable[[str, int], str]


def octets(payload: PayloadFile | None) -> bytes:
    """What a payload stands for."""
    if payload is None:
        return b""
    if payload.text is not None:
        return payload.text.encode()
    if payload.hex is not None:
        return bytes.fromhex(payload.hex)
    size = payload.size or 0
    return (_FILLER * (size // len(_FILLER) + 1))[:size]


def frame(packet: PacketFile, book: Book) -> bytes:
    """The frame of a packet, with right lengths and checksums. Raises LookupError for a name without an address."""
    return bytes(_ether(packet, book) / _inside(packet, book))


def _ether(packet: PacketFile, book: Book) -> Any:
    given = packet.ether
    arp = packet.arp is not None and packet.arp.op == "request" and given.dst is None
    header = Ether(
        src=_mac(given.src or packet.from_, book),
        dst="ff:ff:ff:ff:ff:ff" if arp else _mac(given.dst or packet.to, book),
    )
    if given.vlan is not None:
        header /= Dot1Q(vlan=given.vlan)
    if given.type is not None:
        header.lastlayer().type = given.type
    return header


def _inside(packet: PacketFile, book: Book) -> Any:
    if packet.arp is not None:
        return _arp(packet, book)
    data = octets(packet.payload)
    transport = _transport(packet, data)
    src = _ip(packet.ip.src or packet.from_, packet.version, book)
    dst = _ip(packet.ip.dst or packet.to, packet.version, book)
    return _network(packet, src, dst, transport)


def _arp(packet: PacketFile, book: Book) -> Any:
    arp = packet.arp
    assert arp is not None  # noqa: S101 - the caller has looked
    request = arp.op == "request"
    return ARP(
        op=1 if request else 2,
        hwsrc=_mac(arp.sha or packet.from_, book),
        psrc=_ip(arp.spa or packet.from_, 4, book),
        hwdst="00:00:00:00:00:00" if request and arp.tha is None else _mac(arp.tha or packet.to, book),
        pdst=_ip(arp.tpa or packet.to, 4, book),
    )


def _network(packet: PacketFile, src: str, dst: str, transport: Any) -> Any:
    given = packet.ip
    known = any(one is not None for one in (packet.tcp, packet.udp, packet.icmp))
    proto = given.proto if given.proto is not None or known else EXPERIMENT
    if packet.version == 4:
        fields: dict[str, Any] = {} if proto is None else {"proto": proto}
        flags = "MF" if given.more else 0
        header = IP(src=src, dst=dst, ttl=given.ttl, id=given.id or 1, frag=given.fragment, flags=flags, **fields)
        return header / transport
    fields = {} if proto is None else {"nh": proto}
    if not given.fragment and not given.more:
        return IPv6(src=src, dst=dst, hlim=given.ttl, **fields) / transport
    behind = IPv6ExtHdrFragment(offset=given.fragment, m=int(given.more), id=given.id or 1, **fields)
    return IPv6(src=src, dst=dst, hlim=given.ttl) / behind / transport


def _transport(packet: PacketFile, data: bytes) -> Any:
    if packet.tcp is not None:
        given = packet.tcp
        return TCP(**given.model_dump()) / Raw(data)
    if packet.udp is not None:
        return UDP(**packet.udp.model_dump()) / Raw(data)
    if packet.icmp is None:
        return Raw(data)
    icmp = packet.icmp
    if packet.version == 4:
        kind = icmp.type if icmp.type is not None else 8 if icmp.kind == "echo" else 0
        return ICMP(type=kind, code=icmp.code, id=icmp.id, seq=icmp.seq) / Raw(data)
    if icmp.type is not None:
        return ICMPv6Unknown(type=icmp.type, code=icmp.code, msgbody=data)
    kind6 = ICMPv6EchoRequest if icmp.kind == "echo" else ICMPv6EchoReply
    return kind6(code=icmp.code, id=icmp.id, seq=icmp.seq, data=data)


def _mac(text: str, book: Book) -> str:
    return text if len(text) == 17 and text.count(":") == 5 else book.mac(text)


def _ip(text: str, version: int, book: Book) -> str:
    return book.ip(text, version)


def scan_packet(scan: ScanFile, attempt: Attempt, number: int) -> PacketFile:
    """The packet that a scan sends for one attempt; `number` tells it from the others."""
    service = attempt.service
    assert service is not None  # noqa: S101 - a scan's attempts have one
    sport = scan.source_port or 32768 + number % 28000
    fields: dict[str, Any] = {"from": attempt.source, "to": attempt.target, "version": scan.version}
    if service.proto == "tcp":
        fields["tcp"] = TcpFile(sport=sport, dport=service.low, flags=_SCANS[scan.tcp])
    elif service.proto == "udp":
        fields["udp"] = UdpFile(sport=sport, dport=service.low)
    else:
        fields["icmp"] = {"kind": "echo", "id": number % 65536}
    return PacketFile(**fields, payload=scan.payload)


def scan_packets(scan: ScanFile, attempts: tuple[Attempt, ...]) -> Iterator[tuple[Attempt, PacketFile]]:
    """Every attempt of a scan with its packet."""
    for number, attempt in enumerate(attempts):
        yield attempt, scan_packet(scan, attempt, number)
