"""What is in front of a packet on each kind of link: from there to an EtherType and where the network header begins.

Link types are numbered as in https://www.tcpdump.org/linktypes.html.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6

NULL, ETHERNET, RAW, LOOP, COOKED, IPV4, IPV6, COOKED2 = 0, 1, 101, 108, 113, 228, 229, 276
_BSD_RAW = (12, 14)
"""What some systems write for LINKTYPE_RAW."""

_NAMES = {
    NULL: "BSD loopback",
    ETHERNET: "Ethernet",
    RAW: "raw IP",
    LOOP: "OpenBSD loopback",
    COOKED: "Linux cooked",
    IPV4: "raw IPv4",
    IPV6: "raw IPv6",
    COOKED2: "Linux cooked v2",
    3: "AX.25",
    6: "Token Ring",
    8: "SLIP",
    9: "PPP",
    10: "FDDI",
    50: "PPP in HDLC",
    51: "PPPoE",
    104: "Cisco HDLC",
    105: "IEEE 802.11",
    107: "Frame Relay",
    117: "OpenBSD pflog",
    119: "IEEE 802.11 with Prism header",
    127: "IEEE 802.11 with radiotap header",
    147: "private use 0",
    148: "private use 1",
    187: "Bluetooth HCI",
    189: "USB in Linux",
    195: "IEEE 802.15.4",
    197: "ERF",
    201: "Bluetooth HCI with direction",
    220: "USB in Linux, padded",
    227: "CAN",
    239: "nflog",
    249: "USBPcap",
    252: "Wireshark's upper PDU",
    253: "netlink",
}

ETH_VLAN, ETH_SERVICE_VLAN, ETH_OLD_VLAN = 0x8100, 0x88A8, 0x9100
TAGS = frozenset((ETH_VLAN, ETH_SERVICE_VLAN, ETH_OLD_VLAN))
MAX_TAGS = 2
_FIRST_ETHER_TYPE = 0x0600
"""Below it stands the length of an IEEE 802.3 frame (IEEE 802.3-2022 §3.2.6)."""

LLC = 0
"""In the place of an EtherType: a frame of IEEE 802.3 with LLC."""

_INET, _INET6 = 2, frozenset((10, 23, 24, 28, 30))
"""AF_INET, and AF_INET6 of Linux, of Windows and of the BSDs."""
_COOKED = struct.Struct("!HHH8sH")
_COOKED2 = struct.Struct("!HHIHBB8s")
_ARPHRD_ETHER, _SENT_TO_ALL, _SENT_TO_GROUP = 1, 1, 2


class Framed(NamedTuple):
    """A packet without its link's header: it begins at `at`, which is not beyond what was captured.

    MAC addresses are empty where the link tells none. `tags` are VLAN ids from the outside; `group` says that it was
    sent to more than one station.
    """

    eth_dst: bytes
    eth_src: bytes
    eth_type: int
    at: int
    tags: tuple[int, ...]
    group: bool


def link_name(link: int) -> str:
    """The name of a link type, or its number."""
    return _NAMES.get(link, f"link type {link}")


def is_read(link: int) -> bool:
    """Whether packets of this link type are understood."""
    return link in _READERS


def header_length(link: int) -> int | None:
    """Bytes in front of an IP packet without tags; None where that is not always the same."""
    return _LENGTHS.get(link)


def unframe(link: int, data: bytes, at: int, end: int) -> Framed | None:
    """Take the header of a link off; `data[at:end]` is what was captured. None if that is too short for it."""
    return _READERS[link](data, at, end)


def _ethernet(data: bytes, at: int, end: int) -> Framed | None:
    if end < at + 14:
        return None
    eth_type = data[at + 12] << 8 | data[at + 13]
    group = bool(data[at] & 1)
    return _tagged(data, at + 14, end, data[at : at + 6], data[at + 6 : at + 12], eth_type, group)


def _tagged(
    data: bytes, at: int, end: int, eth_dst: bytes, eth_src: bytes, eth_type: int, group: bool
) -> Framed | None:
    tags: tuple[int, ...] = ()
    while eth_type in TAGS and len(tags) < MAX_TAGS:
        if end < at + 4:
            return None
        tags = (*tags, (data[at] << 8 | data[at + 1]) & 0xFFF)
        eth_type = data[at + 2] << 8 | data[at + 3]
        at += 4
    return Framed(eth_dst, eth_src, eth_type if eth_type >= _FIRST_ETHER_TYPE else LLC, at, tags, group)


def _cooked(data: bytes, at: int, end: int) -> Framed | None:
    if end < at + 16:
        return None
    way, hardware, length, address, eth_type = _COOKED.unpack_from(data, at)
    return _from_cooked(data, at + 16, end, way, hardware, length, address, eth_type)


def _cooked2(data: bytes, at: int, end: int) -> Framed | None:
    if end < at + 20:
        return None
    eth_type, _, _, hardware, way, length, address = _COOKED2.unpack_from(data, at)
    return _from_cooked(data, at + 20, end, way, hardware, length, address, eth_type)


def _from_cooked(
    data: bytes, at: int, end: int, way: int, hardware: int, length: int, address: bytes, eth_type: int
) -> Framed | None:
    eth_src = address[:6] if (hardware, length) == (_ARPHRD_ETHER, 6) else b""
    return _tagged(data, at, end, b"", eth_src, eth_type, way in (_SENT_TO_ALL, _SENT_TO_GROUP))


def _raw(data: bytes, at: int, end: int) -> Framed | None:
    if end < at + 1:
        return None
    eth_type = {4: ETH_IPV4, 6: ETH_IPV6}.get(data[at] >> 4, LLC)
    return Framed(b"", b"", eth_type, at, (), False)


def _null(data: bytes, at: int, end: int) -> Framed | None:
    """The family's number is in the byte order of the machine that captured, which nobody knows."""
    if end < at + 4:
        return None
    family = min(int.from_bytes(data[at : at + 4], "little"), int.from_bytes(data[at : at + 4], "big"))
    eth_type = ETH_IPV4 if family == _INET else ETH_IPV6 if family in _INET6 else LLC
    return Framed(b"", b"", eth_type, at + 4, (), False)


_READERS = {
    ETHERNET: _ethernet,
    COOKED: _cooked,
    COOKED2: _cooked2,
    NULL: _null,
    LOOP: _null,
    **dict.fromkeys((RAW, *_BSD_RAW, IPV4, IPV6), _raw),
}
_LENGTHS = {ETHERNET: 14, COOKED: 16, COOKED2: 20, NULL: 4, LOOP: 4, **dict.fromkeys((RAW, *_BSD_RAW, IPV4, IPV6), 0)}
