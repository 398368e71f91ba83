"""Bytes of the probes: ICMP echo, SCTP INIT, and what of a probe a packet shows. Pure."""

from __future__ import annotations

import ipaddress
import struct

UDP_REQUEST = b"lab?"
UDP_ANSWER = b"lab!"
NONCE = 16
"""Bytes of the nonce in a request, which the answer repeats."""

ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
_SYN, _ACK = 0x02, 0x10
_INIT, _INIT_ACK = 1, 2

Arrival = tuple[str, str, str, int]
"""Protocol, source, target and port of a packet that opens something; port 0 for ICMP."""


def internet_checksum(data: bytes) -> int:
    """The ones' complement sum of RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC32C = _crc32c_table()


def crc32c(data: bytes) -> int:
    """The CRC of RFC 9260, appendix A."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC32C[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def echo_request(version: int, identifier: int, sequence: int, nonce: bytes) -> bytes:
    """An echo request: RFC 792, or RFC 4443 §4.1, whose checksum the kernel fills in."""
    kind = 8 if version == 4 else 128
    head = struct.pack(">BBHHH", kind, 0, 0, identifier, sequence)
    checksum = internet_checksum(head + nonce) if version == 4 else 0
    return struct.pack(">BBHHH", kind, 0, checksum, identifier, sequence) + nonce


def is_echo_reply(version: int, message: bytes, identifier: int, nonce: bytes) -> bool:
    """Whether an ICMP message (without IP header) answers the request with this identifier and nonce."""
    if len(message) < 8 + NONCE:
        return False
    kind, _, _, its_identifier, _ = struct.unpack_from(">BBHHH", message)
    return kind == (0 if version == 4 else 129) and its_identifier == identifier and message[8 : 8 + NONCE] == nonce


def sctp_packet(source_port: int, target_port: int, tag: int, kind: int, own_tag: int) -> bytes:
    """A packet with one INIT (kind 1) or INIT ACK (kind 2) chunk (RFC 9260 §3.3.2, §3.3.3)."""
    chunk = struct.pack(">BBHIIHHI", kind, 0, 20, own_tag, 65536, 1, 1, own_tag)
    head = struct.pack(">HHI", source_port, target_port, tag)
    checksum = struct.pack("<I", crc32c(head + b"\0\0\0\0" + chunk))
    return head + checksum + chunk


def sctp_init(source_port: int, target_port: int, own_tag: int) -> bytes:
    """The packet that opens an association."""
    return sctp_packet(source_port, target_port, 0, _INIT, own_tag)


def sctp_answer(packet: bytes, own_tag: int) -> bytes | None:
    """The INIT ACK to an INIT; None for any other packet."""
    if len(packet) < 32 or packet[12] != _INIT:
        return None
    source_port, target_port = struct.unpack_from(">HH", packet)
    (tag,) = struct.unpack_from(">I", packet, 16)
    return sctp_packet(target_port, source_port, tag, _INIT_ACK, own_tag)


def is_sctp_answer(packet: bytes, source_port: int, target_port: int, own_tag: int) -> bool:
    """Whether a packet is the INIT ACK to our INIT from `source_port` to `target_port`."""
    if len(packet) < 32 or packet[12] != _INIT_ACK:
        return False
    return struct.unpack_from(">HHI", packet) == (target_port, source_port, own_tag)


def without_ip_header(packet: bytes) -> bytes:
    """What follows the IPv4 header of a packet from a raw socket."""
    return packet[(packet[0] & 0x0F) * 4 :] if packet else b""


def arrival(packet: bytes) -> Arrival | None:
    """What an IP packet opens: a TCP SYN, a UDP request of the lab, an echo request, an SCTP INIT."""
    if len(packet) < 20:
        return None
    version = packet[0] >> 4
    if version == 4:
        size = (packet[0] & 0x0F) * 4
        protocol, source, target = packet[9], packet[12:16], packet[16:20]
    elif version == 6 and len(packet) >= 40:
        size, protocol, source, target = 40, packet[6], packet[8:24], packet[24:40]
    else:
        return None
    opened = _opened(protocol, packet[size:])
    if opened is None:
        return None
    return opened[0], str(ipaddress.ip_address(source)), str(ipaddress.ip_address(target)), opened[1]


def _opened(protocol: int, data: bytes) -> tuple[str, int] | None:
    if len(data) < 8:
        return None
    port = int.from_bytes(data[2:4], "big")
    if protocol == TCP and len(data) >= 20 and data[13] & (_SYN | _ACK) == _SYN:
        return "tcp", port
    if protocol == UDP and data[8:12] == UDP_REQUEST:
        return "udp", port
    if protocol == SCTP and len(data) > 12 and data[12] == _INIT:
        return "sctp", port
    if (protocol == ICMP and data[0] == 8) or (protocol == ICMPV6 and data[0] == 128):
        return "icmp", 0
    return None
