"""Frames for tests, built field by field so that a test can also build wrong ones."""

from __future__ import annotations

import ipaddress
import struct

from zethane.net.flowkey import ETH_ARP, ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, TCP, UDP
from zethane.net.mac import parse_mac

SYN, ACK, SYN_ACK, FIN_ACK, RST = 0x02, 0x10, 0x12, 0x11, 0x04


def mac(text: str) -> bytes:
    return parse_mac(text).to_bytes(6, "big")


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def ethernet(src: str, dst: str, eth_type: int, payload: bytes) -> bytes:
    return (mac(dst) + mac(src) + struct.pack("!H", eth_type) + payload).ljust(60, b"\0")


def ip(src: str, dst: str, proto: int, payload: bytes) -> tuple[int, bytes]:
    """(EtherType, packet) of either family."""
    a, b = packed(src), packed(dst)
    if len(a) == 4:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, proto, 0)
        return ETH_IPV4, header + a + b + payload
    return ETH_IPV6, struct.pack("!IHBB", 0x60000000, len(payload), proto, 64) + a + b + payload


def tcp_segment(sport: int, dport: int, flags: int, data: bytes = b"") -> bytes:
    return struct.pack("!HHIIBBHHH", sport, dport, 1, 0, 0x50, flags, 1024, 0, 0) + data


class Host:
    """One end of a conversation in a test: its MAC, addresses, port, and the VLAN that it is tagged with there."""

    def __init__(self, port: int, mac_text: str, *addresses: str, vlan: int = 0) -> None:
        self.port = port
        self.mac = mac_text
        self.addresses = addresses
        self.vlan = vlan

    @property
    def ip(self) -> str:
        return self.addresses[0]

    def _send(self, to: Host, proto: int, payload: bytes) -> bytes:
        eth_type, packet = ip(self.ip, to.ip, proto, payload)
        return ethernet(self.mac, to.mac, eth_type, packet)

    def tcp(self, to: Host, sport: int, dport: int, flags: int = SYN, data: bytes = b"") -> bytes:
        return self._send(to, TCP, tcp_segment(sport, dport, flags, data))

    def udp(self, to: Host, sport: int, dport: int, data: bytes = b"x") -> bytes:
        return self._send(to, UDP, struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data)

    def echo(self, to: Host, *, reply: bool = False) -> bytes:
        if len(packed(self.ip)) == 4:
            return self._send(to, ICMP, struct.pack("!BBHHH", 0 if reply else 8, 0, 0, 1, 1) + b"ping")
        return self._send(to, ICMPV6, struct.pack("!BBHHH", 129 if reply else 128, 0, 0, 1, 1) + b"ping")

    def unreachable(self, to: Host, about: bytes) -> bytes:
        """An ICMP error that quotes the packet in the frame `about`."""
        return self._send(to, ICMP, struct.pack("!BBHI", 3, 3, 0, 0) + about[14:42])

    def arp(self, target: str, *, sender: str | None = None, sha: str | None = None, operation: int = 1) -> bytes:
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
        body += mac(sha or self.mac) + packed(sender or self.ip) + bytes(6) + packed(target)
        return ethernet(self.mac, "ff:ff:ff:ff:ff:ff", ETH_ARP, body)

    def solicitation(self, target: str, *, sender: str | None = None, hop_limit: int = 255) -> bytes:
        """A Neighbor Solicitation with the sender's own link-layer address, or without one as a probe."""
        t = packed(target)
        body = struct.pack("!BBHI", 135, 0, 0, 0) + t
        if sender != "::":
            body += b"\x01\x01" + mac(self.mac)
        group = str(ipaddress.ip_address(packed("ff02::1:ff00:0")[:13] + t[13:]))
        return self.icmpv6(sender or self.ip, group, body, hop_limit=hop_limit)

    def advertisement(self, target: str, *, tells: str | None = None) -> bytes:
        """A Neighbor Advertisement to all nodes."""
        body = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + packed(target) + b"\x02\x01" + mac(tells or self.mac)
        return self.icmpv6(self.ip, "ff02::1", body)

    def icmpv6(self, src: str, dst: str, body: bytes, *, hop_limit: int = 255) -> bytes:
        """An ICMPv6 message with its checksum, to a group's or a stranger's MAC."""
        a, b = packed(src), packed(dst)
        pseudo = a + b + struct.pack("!II", len(body), ICMPV6) + body
        total = sum(int.from_bytes(pseudo[at : at + 2], "big") for at in range(0, len(pseudo), 2))
        body = body[:2] + struct.pack("!H", -total % 0xFFFF) + body[4:]
        header = struct.pack("!IHBB", 0x60000000, len(body), ICMPV6, hop_limit) + a + b
        ethernet = b"\x33\x33" + b[12:] if b[0] == 0xFF else mac("02:00:00:00:00:99")
        return ethernet + mac(self.mac) + struct.pack("!H", ETH_IPV6) + header + body
