"""LLDP frames that probe the fabric (IEEE 802.1AB-2016): what one switch sends out of a trunk for another to report.

The three mandatory TLVs name switch and port for whoever listens; an organizationally specific one holds what the
controller goes by, under a keyed hash over the whole frame. A probe has one form and one length. What differs from
it anywhere is no probe, so there is nothing in a frame of somebody else's that has to be parsed.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

ETH_LLDP = 0x88CC

KEY_LENGTH = 32
NONCE_LENGTH = 16
MAC_LENGTH = 16
"""Bytes of HMAC-SHA256 (RFC 2104) that a probe carries: its first 128 bits (RFC 4868 §2.1)."""

_NEAREST_BRIDGE = bytes.fromhex("0180c200000e")
"""The destination that no bridge forwards (IEEE 802.1AB-2016 §7.1): a probe gets no further than one cable."""
_SOURCE = bytes.fromhex("027a65746801")
_OUI = bytes.fromhex("027a65")
"""Locally administered (IEEE 802-2014 §8.4), like the source address: nobody else's."""
_LOCAL_CHASSIS, _LOCAL_PORT = 7, 7
"""Subtypes of chassis id and port id: assigned locally (IEEE 802.1AB-2016 §8.5.2.2, §8.5.3.2)."""
_PROBE = 1
_HOLD = 120
"""The TTL of a probe in seconds, for other listeners (IEEE 802.1AB-2016 §8.5.4); the controller has its own."""


def _tlv(kind: int, length: int) -> int:
    """A TLV's first two bytes: 7 bits of type, 9 of length (IEEE 802.1AB-2016 §8.4)."""
    return kind << 9 | length


_HEAD = struct.Struct("!6s6sH HB16s HB8s HH")
_BODY = struct.Struct("!H3sB QI16sQ")
_END = bytes(2)
_AT_BODY = _HEAD.size
_AT_MAC = _HEAD.size + _BODY.size
PROBE_LENGTH = _AT_MAC + MAC_LENGTH + len(_END)
"""Bytes of a probe's frame; more than the least that Ethernet carries, so that nothing is padded."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe says: the switch and port that it was sent out of, a number used once, and when.

    `sent` is in milliseconds since the epoch, by the controller's clock.
    """

    dpid: int
    port: int
    nonce: bytes
    sent: int


def build_probe(probe: Probe, key: bytes) -> bytes:
    """The frame of a probe."""
    head = _HEAD.pack(
        _NEAREST_BRIDGE, _SOURCE, ETH_LLDP,
        _tlv(1, 17), _LOCAL_CHASSIS, b"%016x" % probe.dpid,
        _tlv(2, 9), _LOCAL_PORT, b"%08x" % probe.port,
        _tlv(3, 2), _HOLD,
    )  # fmt: skip  # a line per TLV
    length = _BODY.size - 2 + MAC_LENGTH
    body = _BODY.pack(_tlv(127, length), _OUI, _PROBE, probe.dpid, probe.port, probe.nonce, probe.sent)
    return head + body + _mac(head + body, key) + _END


def read_probe(frame: bytes, key: bytes) -> Probe | None:
    """The probe in a frame; None for everything that was not built with this key."""
    if len(frame) != PROBE_LENGTH or not hmac.compare_digest(frame[_AT_MAC:-2], _mac(frame[:_AT_MAC], key)):
        return None
    _, _, _, dpid, port, nonce, sent = _BODY.unpack_from(frame, _AT_BODY)
    probe = Probe(dpid, port, nonce, sent)
    # Whoever has the key built it; but it is a probe only in the one form that probes have.
    return probe if build_probe(probe, key) == frame else None


def _mac(data: bytes, key: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)[:MAC_LENGTH]
