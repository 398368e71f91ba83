"""Groups and broadcasts: one packet in is not many packets out."""

from __future__ import annotations

from scapy.layers.inet import IP
from scapy.packet import Padding, Raw

from attack.frames import BROADCAST, echo, ether, udp
from attack.scenario import ATTACKS, Group
from attack.trial import Trial

group = Group("broadcast", ATTACKS)


def _group_mac(address: str) -> str:
    """The MAC address of an IPv4 group (RFC 1112 §6.4)."""
    parts = [int(part) for part in address.split(".")]
    return f"01:00:5e:{parts[1] & 0x7F:02x}:{parts[2]:02x}:{parts[3]:02x}"


@group.scenario(
    "broadcast-ping",
    reference="RFC 2644, CVE-1999-0513 (smurf)",
    tried="pings to the network's and to all networks' broadcast address, in the client's name and in the own",
    success="a ping reaches a host",
    covers=("amplification",),
    quick=True,
)
def smurf(trial: Trial) -> None:
    """Everybody would answer the client."""
    for attacker in trial.attackers:
        for source in (trial.ip(trial.cast.client), trial.ip(attacker)):
            for target in (trial.arena.broadcast_address(attacker), "255.255.255.255"):
                token = trial.mark(attacker, f"{source} → {target} by {attacker}")
                trial.send(attacker, [ether(trial.mac(attacker), BROADCAST) / echo(source, target, token)])


@group.scenario(
    "broadcast-amplifiers",
    reference="RFC 6762, CVE-2013-5211; US-CERT TA14-017A",
    tried="mDNS, SSDP, LLMNR, NetBIOS, WS-Discovery, RIP and IGMP to their groups and to everybody",
    success="a host receives one, and may answer",
    covers=("amplification",),
    quick=True,
)
def amplifiers(trial: Trial) -> None:
    """With the client as its source, where its answers would go."""
    asks = {
        "mDNS": ("224.0.0.251", 5353), "SSDP": ("239.255.255.250", 1900), "LLMNR": ("224.0.0.252", 5355),
        "WS-Discovery": ("239.255.255.250", 3702), "RIP": ("224.0.0.9", 520), "all hosts": ("224.0.0.1", 9),
        "NetBIOS": ("255.255.255.255", 137), "SNMP": ("255.255.255.255", 161),
    }  # fmt: skip
    for attacker in trial.attackers:
        for name, (address, port) in asks.items():
            mac = BROADCAST if address == "255.255.255.255" else _group_mac(address)
            for source in (trial.ip(attacker), trial.ip(trial.cast.client)):
                token = trial.mark(attacker, f"{name} from {source} by {attacker}")
                trial.send(attacker, [ether(trial.mac(attacker), mac) / udp(source, address, port, port, token)])
        token = trial.mark(attacker, f"IGMP by {attacker}")
        report = IP(src=trial.ip(attacker), dst="224.0.0.22", proto=2, ttl=1) / Raw(bytes(8)) / Padding(token)
        trial.send(attacker, [ether(trial.mac(attacker), _group_mac("224.0.0.22")) / report])


@group.scenario(
    "hole-196",
    reference="RFC 1122 §3.3.6, RFC 1812 §5.3.4; Hole 196",
    tried="an address of one host in a frame to everybody, and everybody's address in a frame to one host",
    success="a host receives either",
    covers=("amplification", "spoof"),
    quick=True,
)
def mixed(trial: Trial) -> None:
    """Layer 2 and layer 3 disagree about who is meant; as a permitted connection as well."""
    service = trial.cast.service
    for attacker in (*trial.attackers, service.source):
        own = trial.mac(attacker)
        for name in (service.target, trial.cast.victim):
            for label, mac in (("everybody's", BROADCAST), ("a group's", "01:00:5e:00:00:01")):
                token = trial.mark(attacker, f"{name}'s address, {label} frame, by {attacker}")
                datagram = udp(trial.ip(attacker), trial.ip(name), 50070, service.port, token)
                trial.send(attacker, [ether(own, mac) / datagram])
            token = trial.mark(attacker, f"everybody's address, {name}'s frame, by {attacker}")
            datagram = udp(trial.ip(attacker), "255.255.255.255", 50071, 53, token)
            trial.send(attacker, [ether(own, trial.mac(name)) / datagram])
