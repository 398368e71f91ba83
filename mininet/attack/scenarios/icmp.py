"""ICMP errors: only the two ends of a flow may send them, to each other and about that flow."""

from __future__ import annotations

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6
from scapy.packet import Padding, Raw

from attack.evidence import everything
from attack.frames import Packet, ether, tcp
from attack.honest import connected
from attack.scenario import ATTACKS, Group
from attack.trial import Trial

group = Group("icmp", ATTACKS)
_LINK_LOCAL = "fe80::bad"


def _errors(version: int, gateway: str) -> dict[str, Packet]:
    if version == 6:
        return {
            "unreachable": ICMPv6DestUnreach(code=4),
            "too big": ICMPv6PacketTooBig(mtu=1280),
            "time exceeded": ICMPv6TimeExceeded(),
        }
    return {
        "port unreachable": ICMP(type=3, code=3),
        "fragmentation needed": ICMP(type=3, code=4, nexthopmtu=68),
        "source quench": ICMP(type=4),
        "redirect": ICMP(type=5, code=1, gw=gateway),
        "time exceeded": ICMP(type=11),
        "parameter problem": ICMP(type=12),
    }


def _inject(trial: Trial, version: int) -> None:
    """Errors that quote a live connection exactly, to its client, in everybody's name."""
    service = trial.cast.service
    client, server = service.source, service.target
    source, target = trial.ip(client, version), trial.ip(server, version)
    with connected(trial, service, version) as connection:
        quoted = bytes(tcp(source, target, connection.sport, connection.dport, "A", b""))
        for attacker in trial.attackers:
            own = trial.ip(attacker, version)
            for name, error in _errors(version, own).items():
                for claimed in (own, target, _LINK_LOCAL if version == 6 else "10.1.0.1"):
                    token = trial.mark(attacker, f"{name} from {claimed} by {attacker}")
                    kind = IPv6 if version == 6 else IP
                    packet = kind(src=claimed, dst=source) / error / Raw(quoted) / Padding(token)
                    trial.send(attacker, [ether(trial.mac(attacker), trial.mac(client)) / packet])
        trial.note("the connection", connection.fault() if trial.arena.protected else "not looked at")


@group.scenario(
    "icmp-errors-ipv4",
    reference="RFC 5927, CVE-2004-0790, CVE-2004-1060",
    tried="unreachable, fragmentation needed, quench, redirect and others that quote another's live connection exactly",
    success="an error reaches the client, or its connection breaks",
    covers=("icmp-error", "redirect"),
    judge=everything,
    quick=True,
    version=4,
)
def errors4(trial: Trial) -> None:
    """IPv4."""
    _inject(trial, 4)


@group.scenario(
    "icmp-errors-ipv6",
    reference="RFC 5927, RFC 8021",
    tried="unreachable, too big and time exceeded that quote another's live connection exactly",
    success="an error reaches the client, or its connection breaks",
    covers=("icmp-error",),
    judge=everything,
    quick=True,
    version=6,
)
def errors6(trial: Trial) -> None:
    """IPv6."""
    _inject(trial, 6)


@group.scenario(
    "icmp-errors-about-nothing",
    reference="RFC 1122 §3.2.2.1",
    tried="from a permitted peer: errors that quote another's connection, or none, and errors that quote errors",
    success="one reaches the client",
    covers=("icmp-error",),
    quick=True,
)
def about_nothing(trial: Trial) -> None:
    """The server may send errors to its client, about their own flow only."""
    service = trial.cast.service
    client, server = service.source, service.target
    source, target = trial.ip(client), trial.ip(server)
    quotes = {
        "a port that is not in use": bytes(tcp(source, target, 50040, service.port, "A", b"")),
        "the client and a stranger": bytes(tcp(source, trial.ip(trial.cast.victim), 50041, 443, "A", b"")),
        "nobody's packet": bytes(tcp("10.9.9.9", "10.9.9.8", 1, 2, "A", b"")),
        "an error": bytes(IP(src=source, dst=target) / ICMP(type=3, code=1) / Raw(bytes(28))),
        "nothing": b"",
    }
    with connected(trial, service):
        for name, quoted in quotes.items():
            token = trial.mark(server, f"about {name}")
            packet = IP(src=target, dst=source) / ICMP(type=3, code=1) / Raw(quoted) / Padding(token)
            trial.send(server, [ether(trial.mac(server), trial.mac(client)) / packet])


@group.scenario(
    "icmp-other-types",
    reference="RFC 792, RFC 950, RFC 1256, RFC 4620",
    tried="timestamp, address mask, information, router discovery and node information, where echo is allowed",
    success="a message that is not an echo reaches the target",
    covers=("tunnel-icmp", "ra"),
    quick=True,
)
def other_types(trial: Trial) -> None:
    """`icmp` in a rule means echo."""
    permit = trial.permit("icmp")
    head = ether(trial.mac(permit.source), trial.mac(permit.target))
    for number in (9, 10, 13, 14, 15, 16, 17, 18, 30, 42, 253):
        token = trial.mark(permit.source, f"ICMP type {number}")
        packet = IP(src=trial.ip(permit.source), dst=trial.ip(permit.target)) / ICMP(type=number) / Raw(token)
        trial.send(permit.source, [head / packet])
    for code in (1, 255):
        token = trial.mark(permit.source, f"echo with code {code}")
        packet = IP(src=trial.ip(permit.source), dst=trial.ip(permit.target)) / ICMP(type=8, code=code) / Raw(token)
        trial.send(permit.source, [head / packet])
    for address in trial.arena.host(permit.source).addresses:
        if address.version == 6:
            for number in (100, 130, 131, 138, 139, 140, 141, 142, 148, 151, 160, 200, 255):
                token = trial.mark(permit.source, f"ICMPv6 type {number}")
                raw = IPv6(src=trial.ip(permit.source, 6), dst=trial.ip(permit.target, 6), nh=58, hlim=255)
                trial.send(permit.source, [head / raw / Raw(bytes((number, 0, 0, 0)) + bytes(4) + token)])
