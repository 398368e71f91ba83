"""ARP (RFC 826) and Neighbor Discovery (RFC 4861): questions read from frames, answers built."""

from __future__ import annotations

import struct
from typing import NamedTuple

from zethane.net.flowkey import ETH_ARP, ETH_IPV6, ICMPV6

_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_ETHERNET_IPV4 = (1, 0x0800, 6, 4)
_ARP_REQUEST, _ARP_REPLY = 1, 2
_ND_SOLICIT, _ND_ADVERT = 135, 136
_SOURCE_LINK_LAYER, _TARGET_LINK_LAYER = 1, 2
_HOP_LIMIT = 255
_UNSPECIFIED = {4: bytes(4), 16: bytes(16)}
_MIN_FRAME = 60


class Question(NamedTuple):
    """Somebody asks who has `target`. `sender` is the address it asks from, all zeros for a probe."""

    mac: bytes
    sender: bytes
    target: bytes

    @property
    def is_probe(self) -> bool:
        """Whether the asker has no address yet (RFC 5227 §1.1, RFC 4862 §5.4)."""
        return self.sender == _UNSPECIFIED[len(self.sender)]


def parse_question(frame: bytes) -> Question | None:
    """The question in an untagged ARP request or Neighbor Solicitation; None for anything else.

    The sender's hardware address inside has to be the frame's own source: they differ only in lies.
    """
    if len(frame) < 42:
        return None
    eth_type = frame[12] << 8 | frame[13]
    if eth_type == ETH_ARP:
        return _arp_question(frame)
    if eth_type == ETH_IPV6:
        return _nd_question(frame)
    return None


def _arp_question(frame: bytes) -> Question | None:
    *kind, operation, sha, spa, _tha, tpa = _ARP.unpack_from(frame, 14)
    if tuple(kind) != _ARP_ETHERNET_IPV4 or operation != _ARP_REQUEST or sha != frame[6:12]:
        return None
    return Question(sha, spa, tpa)


def _nd_question(frame: bytes) -> Question | None:
    # Ethernet 14, IPv6 40, NS 24: RFC 4861 §7.1.1 asks for hop limit 255, code 0 and length 24 or more.
    if len(frame) < 78 or frame[20] != ICMPV6 or frame[21] != _HOP_LIMIT:
        return None
    length = frame[18] << 8 | frame[19]
    if frame[54] != _ND_SOLICIT or frame[55] or length < 24 or len(frame) < 54 + length:
        return None
    source, target = frame[22:38], frame[62:78]
    option = frame[78 : 54 + length]
    if option and not _is_own_link_layer(option, frame[6:12]):
        return None
    return Question(frame[6:12], source, target)


def _is_own_link_layer(option: bytes, mac: bytes) -> bool:
    """Whether the options are exactly one Source Link-Layer Address that tells the truth, or a nonce."""
    nonce = 14
    at = 0
    for _ in range(4):  # more options than this no solicitation has a use for
        if at == len(option):
            return True
        if len(option) < at + 8 or not option[at + 1]:
            return False
        if option[at] == _SOURCE_LINK_LAYER:
            if option[at + 1] != 1 or option[at + 2 : at + 8] != mac:
                return False
        elif option[at] != nonce:
            return False
        at += option[at + 1] * 8
    return at == len(option)


def build_answer(question: Question, target_mac: bytes) -> bytes:
    """The frame that tells the asker that `target` is at `target_mac`."""
    frame = _arp_reply(question, target_mac) if len(question.target) == 4 else _advert(question, target_mac)
    return frame.ljust(_MIN_FRAME, b"\0")


def _arp_reply(question: Question, target_mac: bytes) -> bytes:
    body = _ARP.pack(*_ARP_ETHERNET_IPV4, _ARP_REPLY, target_mac, question.target, question.mac, question.sender)
    return question.mac + target_mac + struct.pack("!H", ETH_ARP) + body


def _advert(question: Question, target_mac: bytes) -> bytes:
    solicited_override = 0x60000000
    body = struct.pack("!BBHI", _ND_ADVERT, 0, 0, solicited_override) + question.target
    body += bytes((_TARGET_LINK_LAYER, 1)) + target_mac
    pseudo = question.target + question.sender + struct.pack("!II", len(body), ICMPV6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 0x60000000, len(body), ICMPV6, _HOP_LIMIT)
    ethernet = question.mac + target_mac + struct.pack("!H", ETH_IPV6)
    return ethernet + header + question.target + question.sender + body


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
