"""ARP (RFC 826) and Neighbor Discovery (RFC 4861): questions and statements read from frames, answers built."""

from __future__ import annotations

import struct
from typing import NamedTuple

from zethane.net.flowkey import ETH_ARP, ETH_IPV6
from zethane.net.nd import (
    ALL_NODES,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    NONCE,
    SOURCE_LINK_LAYER,
    TARGET_LINK_LAYER,
    Message,
    build_message,
    parse_message,
    parse_options,
    solicited_node,
)

_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_ETHERNET_IPV4 = (1, 0x0800, 6, 4)
_ARP_REQUEST, _ARP_REPLY = 1, 2
_UNSPECIFIED = {4: bytes(4), 16: bytes(16)}
_MULTICAST = 0xE0, 0xFF
"""First bytes of the first IPv4 address, and of every IPv6 address, that is a group's or reserved."""
_MAX_OPTIONS = 4
"""More options than this no solicitation has a use for."""
_MIN_FRAME = 60
_SOLICITED, _OVERRIDE = 0x40000000, 0x20000000


class Question(NamedTuple):
    """Somebody asks who has `target`. `sender` is the address it asks from, all zeros for a probe."""

    mac: bytes
    sender: bytes
    target: bytes

    @property
    def is_probe(self) -> bool:
        """Whether the asker has no address yet (RFC 5227 §1.1, RFC 4862 §5.4)."""
        return self.sender == _UNSPECIFIED[len(self.sender)]

    @property
    def is_announcement(self) -> bool:
        """Whether it asks for its own address: it wants to tell, not to know (RFC 5227 §3)."""
        return self.sender == self.target


class Statement(NamedTuple):
    """Somebody says that `address` is at its own MAC."""

    mac: bytes
    address: bytes


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
        message = parse_message(frame)
        return None if message is None or message.kind != NEIGHBOUR_SOLICITATION else _nd_question(message)
    return None


def parse_statement(frame: bytes) -> Statement | None:
    """What an ARP reply or Neighbor Advertisement says of its own sender; None for anything else, as a lie is."""
    if len(frame) < 42:
        return None
    if frame[12] << 8 | frame[13] == ETH_ARP:
        *kind, operation, sha, spa, _tha, _tpa = _ARP.unpack_from(frame, 14)
        honest = tuple(kind) == _ARP_ETHERNET_IPV4 and operation == _ARP_REPLY and sha == frame[6:12]
        return Statement(sha, spa) if honest else None
    message = parse_message(frame)
    if message is None or message.kind != NEIGHBOUR_ADVERTISEMENT:
        return None
    options = parse_options(message.body, 24, _MAX_OPTIONS)
    if options is None or any(option != (TARGET_LINK_LAYER, message.mac) for option in options):
        return None
    return Statement(message.mac, message.body[8:24])


def _arp_question(frame: bytes) -> Question | None:
    *kind, operation, sha, spa, _tha, tpa = _ARP.unpack_from(frame, 14)
    if tuple(kind) != _ARP_ETHERNET_IPV4 or operation != _ARP_REQUEST or sha != frame[6:12]:
        return None
    return None if _is_group(spa) or _is_group(tpa) else Question(sha, spa, tpa)


def _nd_question(message: Message) -> Question | None:
    """A valid solicitation (RFC 4861 §7.1.1), at the address where one is sent."""
    question = Question(message.mac, message.source, message.body[8:24])
    options = parse_options(message.body, 24, _MAX_OPTIONS)
    if options is None or _is_group(question.sender) or _is_group(question.target):
        return None
    for option in options:
        tells_mac = option == (SOURCE_LINK_LAYER, message.mac) and not question.is_probe
        if not tells_mac and option.kind != NONCE:
            return None
    places = (
        {solicited_node(question.target)} if question.is_probe else {solicited_node(question.target), question.target}
    )
    return question if message.destination in places else None


def _is_group(address: bytes) -> bool:
    return address[0] >= (_MULTICAST[0] if len(address) == 4 else _MULTICAST[1])


def build_answer(question: Question, target_mac: bytes) -> bytes:
    """The frame that tells the asker that `target` is at `target_mac`.

    For a probe it says that the address is taken; it goes to the asker alone all the same.
    """
    frame = _arp_reply(question, target_mac) if len(question.target) == 4 else _advert(question, target_mac)
    return frame.ljust(_MIN_FRAME, b"\0")


def _arp_reply(question: Question, target_mac: bytes) -> bytes:
    body = _ARP.pack(*_ARP_ETHERNET_IPV4, _ARP_REPLY, target_mac, question.target, question.mac, question.sender)
    return question.mac + target_mac + struct.pack("!H", ETH_ARP) + body


def _advert(question: Question, target_mac: bytes) -> bytes:
    # RFC 4861 §7.2.4: a probe has no address to answer to, so all nodes are told, and nobody is said to have asked.
    # The frame has the asker's MAC (RFC 6085).
    flags = _OVERRIDE if question.is_probe else _OVERRIDE | _SOLICITED
    destination = ALL_NODES if question.is_probe else question.sender
    body = struct.pack("!BBHI", NEIGHBOUR_ADVERTISEMENT, 0, 0, flags) + question.target
    body += bytes((TARGET_LINK_LAYER, 1)) + target_mac
    return build_message(question.mac, target_mac, question.target, destination, body)
