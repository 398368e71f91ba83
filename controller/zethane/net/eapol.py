"""EAPOL frames (IEEE 802.1X-2020 §11) and the EAP packets in them (RFC 3748 §4): read from untagged frames, and built.

Only what an authenticator that passes EAP through has to know is read: the code, the identifier, the type, and the
identity that is told first. What a method says is between the supplicant and its server.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

ETH_EAPOL = 0x888E
"""The EtherType (IEEE 802.1X-2020 §11.1.4)."""

PAE_GROUP = bytes.fromhex("0180c2000003")
"""The group address that no bridge forwards (IEEE 802.1X-2020 §11.1.1)."""

MAX_EAP = 1500
"""Bytes of an EAP packet: what a frame of Ethernet may carry, more or less; and a RADIUS packet, in pieces."""

MAX_IDENTITY = 253
"""Bytes of an identity: a User-Name of RADIUS holds no more (RFC 2865 §5.1)."""

_VERSION = 2
"""What supplicants of every age take (IEEE 802.1X-2020 §11.3.1; 3 adds what is not used here)."""

_HEAD = struct.Struct("!6s6sHBBH")
_EAP = struct.Struct("!BBH")
_MIN_FRAME = 60


class FrameType(IntEnum):
    """Packet types of EAPOL (IEEE 802.1X-2020 table 11-3) that supplicants send an authenticator without MACsec."""

    EAP = 0
    START = 1
    LOGOFF = 2


class Code(IntEnum):
    """EAP codes (RFC 3748 §4)."""

    REQUEST = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


class Method(IntEnum):
    """EAP types (RFC 3748 §5; RFC 5216, RFC 5281, draft-josefsson-pppext-eap-tls-eap) that are told apart."""

    IDENTITY = 1
    NAK = 3
    MD5 = 4
    TLS = 13
    TTLS = 21
    PEAP = 25


class Eap(NamedTuple):
    """An EAP packet. `method` is the type of a request or response, None for the others; `data` what follows it.

    `packet` is all of it, without padding.
    """

    code: Code
    identifier: int
    method: int | None
    data: bytes
    packet: bytes

    @property
    def identity(self) -> str | None:
        """The identity that a response tells (RFC 3748 §5.1); None if it is no text, too long, empty or another type.

        What comes after a NUL is not displayed to anybody, and not part of it.
        """
        if self.code != Code.RESPONSE or self.method != Method.IDENTITY:
            return None
        told = self.data.split(b"\0", 1)[0]
        if not 0 < len(told) <= MAX_IDENTITY:
            return None
        try:
            text = told.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return text if text.isprintable() else None


class Frame(NamedTuple):
    """An EAPOL frame of a supplicant. `eap` is there if and only if its type is EAP."""

    mac: bytes
    destination: bytes
    kind: FrameType
    eap: Eap | None


def parse_frame(frame: bytes) -> Frame | None:
    """The EAPOL frame in an untagged frame; None for anything else, and for types that no supplicant needs here.

    Later versions are read like ours (IEEE 802.1X-2020 §11.4), padding is left alone.
    """
    if len(frame) < _HEAD.size:
        return None
    destination, source, eth_type, version, kind, length = _HEAD.unpack_from(frame)
    body = frame[_HEAD.size : _HEAD.size + length]
    if eth_type != ETH_EAPOL or version == 0 or len(body) < length or source[0] & 1:
        return None
    if kind in (FrameType.START, FrameType.LOGOFF):
        return Frame(source, destination, FrameType(kind), None)
    eap = parse_eap(body) if kind == FrameType.EAP else None
    return None if eap is None else Frame(source, destination, FrameType.EAP, eap)


def parse_eap(data: bytes) -> Eap | None:
    """The EAP packet at the beginning of some bytes, behind which there may be padding (RFC 3748 §4); or None."""
    if len(data) < _EAP.size:
        return None
    code, identifier, length = _EAP.unpack_from(data)
    if not _EAP.size <= length <= min(len(data), MAX_EAP) or code not in set(Code):
        return None
    packet = data[:length]
    if code in (Code.SUCCESS, Code.FAILURE):
        return Eap(Code(code), identifier, None, b"", packet) if length == _EAP.size else None
    if length == _EAP.size:
        return None
    return Eap(Code(code), identifier, packet[4], packet[5:], packet)


def build_frame(destination: bytes, source: bytes, packet: bytes) -> bytes:
    """The frame that carries an EAP packet, without a tag."""
    head = _HEAD.pack(destination, source, ETH_EAPOL, _VERSION, FrameType.EAP, len(packet))
    return (head + packet).ljust(_MIN_FRAME, b"\0")


def identity_request(identifier: int) -> bytes:
    """The EAP packet that asks who is there (RFC 3748 §5.1)."""
    return _EAP.pack(Code.REQUEST, identifier, _EAP.size + 1) + bytes((Method.IDENTITY,))


def success(identifier: int) -> bytes:
    """EAP-Success (RFC 3748 §4.2); the identifier is that of the response which it answers."""
    return _EAP.pack(Code.SUCCESS, identifier, _EAP.size)


def failure(identifier: int) -> bytes:
    """EAP-Failure, likewise."""
    return _EAP.pack(Code.FAILURE, identifier, _EAP.size)
