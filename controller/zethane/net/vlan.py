"""802.1Q tags in frames (IEEE 802.1Q-2022 §9.5)."""

from __future__ import annotations

import struct

ETH_VLAN = 0x8100
_ADDRESSES = 12
_VLAN_ID = 0xFFF
_TAG = struct.Struct("!HH")


def tagged(frame: bytes, vlan: int) -> bytes:
    """The frame with a tag of this VLAN, of priority 0, behind its addresses; as it is for VLAN 0."""
    if not vlan:
        return frame
    return frame[:_ADDRESSES] + _TAG.pack(ETH_VLAN, vlan) + frame[_ADDRESSES:]


def untagged(frame: bytes) -> tuple[int, bytes]:
    """The VLAN of a frame's outer tag, and the frame without it; 0 and the frame as it is if it is in no VLAN."""
    if len(frame) < _ADDRESSES + _TAG.size:
        return 0, frame
    eth_type, control = _TAG.unpack_from(frame, _ADDRESSES)
    vlan = control & _VLAN_ID
    if eth_type != ETH_VLAN or not vlan:  # a priority tag names no VLAN (IEEE 802.1Q-2022 §6.9)
        return 0, frame
    return vlan, frame[:_ADDRESSES] + frame[_ADDRESSES + _TAG.size :]
