"""Fragments: a later one has no ports, and may overwrite those of the first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Padding, Raw

from attack.frames import Packet, ether, udp
from attack.scenario import ATTACKS, Group
from attack.trial import Trial

group = Group("fragments", ATTACKS)
_TCP, _UDP = 6, 17
_IDENT = 0x5A5A


def _fragment(src: str, dst: str, proto: int, offset: int, more: int, part: bytes) -> Packet:
    """One fragment; `offset` in units of 8 bytes, as both versions count."""
    if ":" in src:
        return IPv6(src=src, dst=dst) / IPv6ExtHdrFragment(nh=proto, offset=offset, m=more, id=_IDENT) / Raw(part)
    return IP(src=src, dst=dst, proto=proto, frag=offset, flags="MF" if more else 0, id=_IDENT) / Raw(part)


def _segment(sport: int, dport: int, flags: str = "S") -> bytes:
    return bytes(TCP(sport=sport, dport=dport, flags=flags, seq=1000))


def _shapes(open_port: int, shut_port: int) -> Iterator[tuple[str, int, list[tuple[int, int, bytes]]]]:
    """Name, protocol, and fragments as (offset, more, bytes)."""
    allowed, denied = _segment(40100, open_port), _segment(40100, shut_port)
    yield "tiny", _TCP, [(0, 1, denied[:8]), (1, 0, denied[8:] + b"tiny")]
    yield "overlapping flags", _TCP, [(0, 1, _segment(40100, open_port, "A")), (1, 0, denied[8:])]
    yield "overlapping ports", _TCP, [(0, 1, allowed + bytes(4)), (0, 1, denied + bytes(4)), (3, 0, b"last")]
    yield "later alone", _TCP, [(3, 0, b"late and alone")]
    yield "later of UDP", _UDP, [(2, 0, b"no header here")]
    yield "atomic", _TCP, [(0, 0, denied)] if open_port == shut_port else [(0, 1, denied + bytes(4))]
    yield "very last", _UDP, [(8100, 0, b"ping of death" * 100)]


@group.scenario(
    "fragments-ipv4",
    reference="RFC 1858, RFC 3128, CVE-1999-0015, CVE-2018-5391",
    tried="tiny, overlapping, later, lone and last fragments, from both attackers to the server and the victim",
    success="any fragment reaches a host",
    covers=("fragments4",),
    quick=True,
    version=4,
)
def fragments4(trial: Trial) -> None:
    """IPv4."""
    _fragments(trial, 4)


@group.scenario(
    "fragments-ipv6",
    reference="RFC 5722, RFC 6946, RFC 8200 §4.5",
    tried="tiny, overlapping, later, lone and atomic fragments, from both attackers to the server and the victim",
    success="any fragment reaches a host",
    covers=("fragments6",),
    quick=True,
    version=6,
)
def fragments6(trial: Trial) -> None:
    """IPv6."""
    _fragments(trial, 6)


def _fragments(trial: Trial, version: Literal[4, 6]) -> None:
    open_port = trial.cast.service.port
    for attacker in trial.attackers:
        for target in (trial.cast.server, trial.cast.victim):
            head = ether(trial.mac(attacker), trial.mac(target))
            for name, proto, parts in _shapes(open_port, 22):
                for number, (offset, more, part) in enumerate(parts):
                    token = trial.mark(attacker, f"{name}, part {number + 1}, from {attacker} to {target}")
                    whole = _fragment(trial.ip(attacker, version), trial.ip(target, version), proto, offset, more, part)
                    trial.send(attacker, [head / whole / Padding(token)])


@group.scenario(
    "fragments-in-a-live-flow",
    reference="RFC 1858, RFC 8200 §4.5",
    tried="later and overlapping fragments with the addresses of a flow that the switch lets through",
    success="a fragment behind the first reaches the other end",
    covers=("fragments4", "fragments6"),
)
def in_a_flow(trial: Trial) -> None:
    """The permitted datagram itself goes through, and has no mark."""
    permit = trial.permit("udp")
    for address in trial.arena.host(permit.source).addresses:
        version = address.version
        source, target = trial.ip(permit.source, version), trial.ip(permit.target, version)
        head = ether(trial.mac(permit.source), trial.mac(permit.target))
        trial.send(permit.source, [head / udp(source, target, 40101, permit.port, b"opens the flow")])
        trial.arena.settle()
        denied = bytes(UDP(sport=40101, dport=9, len=32)) + bytes(16)
        for label, offset, more, part in (
            ("later", 2, 0, b"behind the first"),
            ("in between", 2, 1, b"behind the first"),
            ("overlapping the ports", 0, 1, denied),
        ):
            token = trial.mark(permit.source, f"{label}, IPv{version}")
            trial.send(permit.source, [head / _fragment(source, target, _UDP, offset, more, part) / Padding(token)])
