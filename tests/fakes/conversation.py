"""Frames that connection tracking accepts: with checksums, and TCP whose numbers follow each other."""

from __future__ import annotations

import struct

from fakes.frames import ACK, SYN, SYN_ACK, Host, ethernet, ip
from zethane.net.flowkey import ETH_IPV4, ICMP, ICMPV6, TCP, UDP

_HEADER = {ETH_IPV4: 20}
_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def checked(frame: bytes) -> bytes:
    """The frame with the checksums of its IP header and of what is in it."""
    eth_type = int.from_bytes(frame[12:14], "big")
    packet = bytearray(frame[14:])
    if eth_type == ETH_IPV4:
        length, at, proto = int.from_bytes(packet[2:4], "big"), 20, packet[9]
        packet[10:12] = bytes(2)
        packet[10:12] = struct.pack("!H", checksum(bytes(packet[:20])))
        addresses = packet[12:20]
    else:
        length, at, proto = 40 + int.from_bytes(packet[4:6], "big"), 40, packet[6]
        addresses = packet[8:40]
    payload = packet[at:length]
    place = _CHECKSUM_AT[proto]
    payload[place : place + 2] = bytes(2)
    pseudo = b"" if proto == ICMP else bytes(addresses) + struct.pack("!II", len(payload), proto)
    payload[place : place + 2] = struct.pack("!H", checksum(pseudo + bytes(payload)) or 0xFFFF)
    return frame[:14] + bytes(packet[:at]) + bytes(payload) + bytes(packet[length:])


def segment(source: Host, to: Host, ports: tuple[int, int], flags: int, seq: int, ack: int, data: bytes = b"") -> bytes:
    """A TCP segment."""
    header = struct.pack("!HHIIBBHHH", *ports, seq, ack if flags & ACK else 0, 0x50, flags, 1024, 0, 0)
    eth_type, packet = ip(source.ip, to.ip, TCP, header + data)
    return checked(ethernet(source.mac, to.mac, eth_type, packet))


class Conversation:
    """The segments of one TCP connection, in order."""

    def __init__(self, client: Host, server: Host, sport: int, dport: int, first: int = 1000) -> None:
        self.client, self.server = client, server
        self._ports = sport, dport
        self._first = {client: first, server: first + 4000}
        self._next = dict(self._first)

    def syn(self) -> bytes:
        """What opens it."""
        first = self._first[self.client]
        self._next[self.client] = first + 1
        return segment(self.client, self.server, self._ports, SYN, first, 0)

    def syn_ack(self) -> bytes:
        """The server's first."""
        first = self._first[self.server]
        self._next[self.server] = first + 1
        return segment(self.server, self.client, self._ports[::-1], SYN_ACK, first, self._next[self.client])

    def says(self, host: Host, data: bytes = b"", flags: int = ACK) -> bytes:
        """Data of one side, or an acknowledgement; with other flags, whatever they mean."""
        to, ports = (self.server, self._ports) if host is self.client else (self.client, self._ports[::-1])
        seq = self._next[host]
        self._next[host] += len(data)
        return segment(host, to, ports, flags, seq, self._next[to] if flags & ACK else 0, data)
