"""Frames that are neither IP nor ARP, and frames of strange sizes."""

from __future__ import annotations

import os

from scapy.layers.l2 import LLC, SNAP, Dot3
from scapy.packet import Raw

from attack.frames import BROADCAST, ether, udp
from attack.scenario import ATTACKS, Granted, Group
from attack.trial import Trial

group = Group("layer2", ATTACKS)
_ETHERTYPES = {
    0x0101: "experimental", 0x22F0: "AVTP", 0x6003: "DECnet", 0x8137: "IPX", 0x8847: "MPLS",
    0x8863: "PPPoE discovery", 0x8864: "PPPoE session", 0x888E: "EAPOL", 0x88E5: "MACsec", 0x88F7: "PTP",
    0x8902: "CFM", 0x894F: "NSH", 0x9000: "loopback", 0xFFFF: "reserved",
}  # fmt: skip
_JUMBO = 9000


@group.scenario(
    "ethertypes",
    reference="IEEE 802.3, CVE-2020-35498",
    tried="frames with fourteen EtherTypes that are neither IP nor ARP, from a stranger and from one logged in",
    success="any of them reaches a host",
    covers=("ethertypes",),
    quick=True,
)
def ethertypes(trial: Trial) -> None:
    """Deny is what is left for a type that nobody thought of."""
    server = trial.cast.server
    for attacker in trial.attackers:
        for number, name in _ETHERTYPES.items():
            token = trial.mark(attacker, f"{name} by {attacker}")
            head = ether(trial.mac(attacker), trial.mac(server), type=number)
            trial.send(attacker, [head / Raw(bytes(4) + token + bytes(34))])


@group.scenario(
    "llc-snap",
    reference="IEEE 802.2",
    tried="frames with a length instead of an EtherType: LLC, NetBIOS, and IP inside SNAP",
    success="any of them reaches a host",
    covers=("llc",),
    quick=True,
    granted=Granted("Open vSwitch takes IP out of SNAP, and cannot match that it was there", "SNAP to server"),
)
def llc(trial: Trial) -> None:
    """Some hosts take IP out of SNAP (RFC 1042), past filters that look at EtherTypes."""
    attacker, server = trial.cast.insider, trial.cast.server
    for label, head in {
        "LLC": LLC(dsap=0x42, ssap=0x42, ctrl=3),
        "NetBIOS": LLC(dsap=0xF0, ssap=0xF0, ctrl=3),
        "SNAP": LLC() / SNAP(OUI=0, code=0x0800),
    }.items():
        for where, dst in (("server", trial.mac(server)), ("all", BROADCAST)):
            token = trial.mark(attacker, f"{label} to {where}")
            inner = udp(trial.ip(attacker), trial.ip(server), 40004, 53, token)
            trial.send(attacker, [Dot3(src=trial.mac(attacker), dst=dst) / head / inner])


@group.scenario(
    "jumbo",
    reference="IEEE 802.3",
    tried=f"frames of up to {_JUMBO} bytes, where every cable could carry them",
    success="a frame reaches a host that its sender may not talk to",
    covers=("jumbo",),
)
def jumbo(trial: Trial) -> None:
    """Longer than any buffer for 1500 bytes."""
    victim = trial.cast.victim
    with trial.arena.mtu(_JUMBO):
        for attacker in trial.attackers:
            for size in (1600, 4000, _JUMBO):
                token = trial.mark(attacker, f"{size} bytes by {attacker}")
                payload = token + os.urandom(size - 28 - len(token))
                datagram = udp(trial.ip(attacker), trial.ip(victim), 40005, 53, payload)
                trial.send(attacker, [ether(trial.mac(attacker), trial.mac(victim)) / datagram])
        trial.arena.settle()


@group.scenario(
    "runt",
    reference="IEEE 802.3 §3.2.8, CVE-2020-35498",
    tried="frames that end within their headers: IPv4, IPv6, TCP, UDP and ARP cut short",
    success="any of them reaches a host",
    covers=("runt",),
)
def runt(trial: Trial) -> None:
    """The mark is the source MAC's last bytes and what of the packet is there: nothing else has room."""
    attacker, server = trial.cast.stranger, trial.cast.server
    whole = {
        "IPv4": bytes(udp(trial.ip(attacker), trial.ip(server), 40006, 53, b"x" * 8)),
        "ARP": bytes.fromhex("0001080006040001"),
        "IPv6": b"\x60" + bytes(40),
    }
    types = {"IPv4": 0x0800, "ARP": 0x0806, "IPv6": 0x86DD}
    for name, packet in whole.items():
        for size in (0, 1, 4, 10, 19):
            unique = b"\x02" + os.urandom(5)
            trial.mark(attacker, f"{name} of {size} bytes", unique)
            mac = ":".join(f"{byte:02x}" for byte in unique)
            trial.send(attacker, [bytes(ether(mac, trial.mac(server), type=types[name])) + packet[:size]])
