"""Tunnels: a host that may do one small thing carries other things in it, or under its name."""

from __future__ import annotations

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, GRE
from scapy.packet import Padding, Raw

from attack.frames import BROADCAST, NOBODY, echo, ether, tcp, udp
from attack.scenario import ATTACKS, Group
from attack.trial import Trial

group = Group("tunnels", ATTACKS)


@group.scenario(
    "tunnel-icmp",
    reference="Loki, Phrack 49-6; ptunnel",
    tried="echo requests and replies with data, as a host that may ping one other: beyond it, back from it, unasked",
    success="data reaches a host that may not be pinged, or one that has not asked",
    covers=("tunnel-icmp",),
    quick=True,
)
def icmp(trial: Trial) -> None:
    """What is inside a permitted ping is between the two; nothing else comes of it."""
    permit = trial.permit("icmp")
    source, target = permit.source, permit.target
    others = [
        name for name in (trial.cast.victim, trial.cast.insider, trial.cast.stranger)
        if name not in (source, target) and trial.cast.denied(source, name, "icmp")
    ]  # fmt: skip
    for address in trial.arena.host(source).addresses:
        version = address.version
        own, peer = trial.ip(source, version), trial.ip(target, version)
        for other in others:
            for reply in (False, True):
                label = f"{'reply' if reply else 'request'} to {other}, IPv{version}"
                token = trial.mark(source, label)
                packet = echo(own, trial.ip(other, version), token * 40, reply=reply)
                trial.send(source, [ether(trial.mac(source), trial.mac(other)) / packet])
        token = trial.mark(source, f"a reply that nobody asked for, IPv{version}")
        trial.send(source, [ether(trial.mac(source), trial.mac(target)) / echo(own, peer, token, reply=True)])
        if trial.cast.denied(target, source, "icmp"):
            token = trial.mark(target, f"a request from the other end, IPv{version}")
            trial.send(target, [ether(trial.mac(target), trial.mac(source)) / echo(peer, own, token)])


@group.scenario(
    "tunnel-dns",
    reference="iodine; RFC 1035",
    tried="data as DNS, as a host that may ask one server: to others, to other ports, back without a question",
    success="data reaches a host or a port that no rule opens",
    covers=("tunnel-dns",),
    quick=True,
)
def dns(trial: Trial) -> None:
    """What the server does with a permitted question is up to the server."""
    permit = trial.permit("udp")
    source, target = permit.source, permit.target
    others = [name for name in (trial.cast.victim, trial.cast.stranger) if name not in (source, target)]
    for address in trial.arena.host(source).addresses:
        version = address.version
        own, peer = trial.ip(source, version), trial.ip(target, version)
        for other in others:
            if trial.cast.denied(source, other, "udp", permit.port):
                token = trial.mark(source, f"to {other}, IPv{version}")
                datagram = udp(own, trial.ip(other, version), 50050, permit.port, token * 20)
                trial.send(source, [ether(trial.mac(source), trial.mac(other)) / datagram])
        head = ether(trial.mac(source), trial.mac(target))
        for label, sport, dport in (("to another port", 50051, 9), ("from the server's port", permit.port, 50052)):
            token = trial.mark(source, f"{label}, IPv{version}")
            trial.send(source, [head / udp(own, peer, sport, dport, token)])
        trial.send(source, [head / udp(own, peer, 50053, permit.port, b"a question that may be asked")])
        trial.arena.settle()
        back = ether(trial.mac(target), trial.mac(source))
        for label, dport in (("without a question", 50054), ("to the port next to the asker's", 50052)):
            token = trial.mark(target, f"an answer {label}, IPv{version}")
            trial.send(target, [back / udp(peer, own, permit.port, dport, token)])


@group.scenario(
    "tunnel-arp",
    reference="RFC 826; arptunnel",
    tried="data in addresses of ARP and behind it, between two hosts that may not talk, past the controller's answers",
    success="the data reaches another host",
    covers=("tunnel-arp",),
    quick=True,
)
def arp(trial: Trial) -> None:
    """The mark itself is the sender's address inside, and then the padding."""
    victim = trial.cast.victim
    for attacker in trial.attackers:
        own = trial.mac(attacker)
        for dst in (BROADCAST, trial.mac(victim)):
            for operation in (1, 2, 8, 9):
                token = trial.mark(attacker, f"operation {operation} to {dst} by {attacker}, addresses")
                inside = ":".join(f"{byte:02x}" for byte in token[:6])
                data = ARP(op=operation, hwsrc=inside, hwdst=NOBODY, pdst=trial.ip(victim))
                message = bytes(data)[:14] + token[6:8] + bytes(2) + bytes(data)[18:]
                trial.send(attacker, [bytes(ether(own, dst, type=0x0806)) + message])
                token = trial.mark(attacker, f"operation {operation} to {dst} by {attacker}, padding")
                whole = ARP(op=operation, hwsrc=own, psrc=trial.ip(attacker), pdst=trial.ip(victim))
                trial.send(attacker, [ether(own, dst) / whole / Padding(token * 20)])


@group.scenario(
    "tunnel-ip",
    reference="RFC 2003, RFC 2473, RFC 2784, RFC 4213, RFC 7348",
    tried="a permitted connection's packets inside IP in IP, 6in4, GRE and VXLAN, in the attacker's own name",
    success="a tunnelled packet reaches a host",
    covers=("tunnel-icmp",),
    quick=True,
)
def ip(trial: Trial) -> None:
    """The inner addresses are those of the honest pair."""
    service = trial.cast.service
    inner4 = tcp(trial.ip(service.source), trial.ip(service.target), 50060, service.port, "S", b"")
    for attacker in trial.attackers:
        outer = IP(src=trial.ip(attacker), dst=trial.ip(service.target))
        shapes = {
            "IP in IP": outer / inner4,
            "GRE": outer / GRE() / inner4,
            "VXLAN": outer / UDP(sport=50061, dport=4789) / Raw(bytes((8, 0, 0, 0, 0, 0, 1, 0))) / Raw(bytes(inner4)),
            "6in4": outer / IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=1, dport=2),
        }
        for name, packet in shapes.items():
            token = trial.mark(attacker, f"{name} by {attacker}")
            trial.send(attacker, [ether(trial.mac(attacker), trial.mac(service.target)) / packet / Padding(token)])
