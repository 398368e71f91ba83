"""DHCP (RFC 2131, RFC 8415): hosts are no servers, and speak for no other host."""

from __future__ import annotations

import os

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import (
    DUID_LL,
    DHCP6_Advertise,
    DHCP6_Decline,
    DHCP6_Release,
    DHCP6_Reply,
    DHCP6_Solicit,
    DHCP6OptClientId,
    DHCP6OptDNSServers,
    DHCP6OptServerId,
)
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from attack.frames import BROADCAST, Packet, ether
from attack.scenario import ATTACKS, Group
from attack.trial import Trial

group = Group("dhcp", ATTACKS)
_SERVER, _CLIENT = 67, 68
_SERVER6, _CLIENT6 = 547, 546
_ALL = "255.255.255.255"
_SERVERS6, _SERVERS6_MAC = "ff02::1:2", "33:33:00:01:00:02"
_STARVING = 200


def _message(kind: str, chaddr: str, token: bytes, **fields: str) -> Packet:
    """A DHCP message with the token as its client identifier, as RFC 2132 §9.14 lets anybody choose it."""
    mac = bytes.fromhex(chaddr.replace(":", ""))
    options = [
        ("message-type", kind),
        ("client_id", token),
        ("router", "10.1.0.66"),
        ("name_server", "10.1.0.66"),
        "end",
    ]
    return BOOTP(op=2 if kind in ("offer", "ack", "nak") else 1, chaddr=mac, **fields) / DHCP(options=options)


@group.scenario(
    "dhcp-rogue-server",
    reference="RFC 2131 §7, RFC 3118",
    tried="OFFER, ACK and NAK with the attacker as router and resolver; to everybody and to the client",
    success="a host receives one",
    covers=("dhcp-server",),
    quick=True,
)
def rogue_server(trial: Trial) -> None:
    """Whoever answers first is believed."""
    client = trial.cast.client
    for attacker in trial.attackers:
        for kind in ("offer", "ack", "nak"):
            for where, dst, dst_mac in (("to all", _ALL, BROADCAST), ("", trial.ip(client), trial.mac(client))):
                token = trial.mark(attacker, f"{kind} {where or 'to the client'} by {attacker}")
                message = _message(kind, trial.mac(client), token, yiaddr="10.1.0.199", siaddr=trial.ip(attacker))
                datagram = IP(src=trial.ip(attacker), dst=dst) / UDP(sport=_SERVER, dport=_CLIENT) / message
                trial.send(attacker, [ether(trial.mac(attacker), dst_mac) / datagram])


@group.scenario(
    "dhcp6-rogue-server",
    reference="RFC 8415 §22, RFC 7610",
    tried="ADVERTISE and REPLY of a DHCPv6 server that gives itself as resolver",
    success="a host receives one",
    covers=("dhcp-server",),
    quick=True,
    version=6,
)
def rogue_server6(trial: Trial) -> None:
    """From the attacker's own address and from a link-local one."""
    client = trial.cast.client
    for attacker in trial.attackers:
        for kind in (DHCP6_Advertise, DHCP6_Reply):
            for source in (trial.ip(attacker, 6), "fe80::bad"):
                token = trial.mark(attacker, f"{kind.__name__} from {source} by {attacker}")
                server_id = DHCP6OptServerId(duid=DUID_LL(lladdr=trial.mac(attacker)))
                message = kind() / server_id / DHCP6OptDNSServers(dnsservers=["2001:db8:bad::53"]) / Raw(token)
                datagram = IPv6(src=source, dst=trial.ip(client, 6)) / UDP(sport=_SERVER6, dport=_CLIENT6) / message
                trial.send(attacker, [ether(trial.mac(attacker), trial.mac(client)) / datagram])


@group.scenario(
    "dhcp-starvation",
    reference="RFC 2131 §7; dhcpstarv",
    tried=f"{_STARVING} DISCOVERs, each for another card, from one port",
    success="a host receives any of those for a card that is not the sender's",
    covers=("dhcp-starvation",),
)
def starvation(trial: Trial) -> None:
    """The mark is in every message; the cards are random inside, and in half of them in the frame as well."""
    for attacker in trial.attackers:
        for forged in (False, True):
            token = trial.mark(attacker, f"by {attacker}, {'frames forged as well' if forged else 'own frames'}")
            frames = []
            for _ in range(_STARVING // 4):
                chaddr = ":".join(f"{byte:02x}" for byte in b"\x02" + os.urandom(5))
                datagram = IP(src="0.0.0.0", dst=_ALL) / UDP(sport=_CLIENT, dport=_SERVER)  # noqa: S104 - RFC 2131 §4.1
                frames.append(
                    ether(chaddr if forged else trial.mac(attacker), BROADCAST)
                    / datagram
                    / _message("discover", chaddr, token)
                )
            trial.send(attacker, frames)


@group.scenario(
    "dhcp-release-decline",
    reference="RFC 2131 §4.4.6, §4.4.4",
    tried="RELEASE and DECLINE of the client's address by others, with the client's card inside and in the frame",
    success="a host receives one",
    covers=("dhcp-release", "dhcp-decline"),
)
def release(trial: Trial) -> None:
    """A server that believes it gives the client's address to somebody else."""
    client, server = trial.cast.client, trial.cast.server
    for attacker in trial.attackers:
        for kind in ("release", "decline"):
            for mac in (trial.mac(attacker), trial.mac(client)):
                for dst, dst_mac in ((_ALL, BROADCAST), (trial.ip(server), trial.mac(server))):
                    token = trial.mark(attacker, f"{kind} by {attacker} from {mac} to {dst}")
                    message = _message(kind, trial.mac(client), token, ciaddr=trial.ip(client))
                    datagram = IP(src=trial.ip(client), dst=dst) / UDP(sport=_CLIENT, dport=_SERVER) / message
                    trial.send(attacker, [ether(mac, dst_mac) / datagram])


@group.scenario(
    "dhcp6-starvation-release",
    reference="RFC 8415 §18.2",
    tried="SOLICIT, RELEASE and DECLINE with foreign identifiers, to all servers and relays",
    success="a host receives one",
    covers=("dhcp-starvation", "dhcp-release", "dhcp-decline"),
    version=6,
)
def starvation6(trial: Trial) -> None:
    """DHCPv6 clients speak to a group."""
    for attacker in trial.attackers:
        for kind in (DHCP6_Solicit, DHCP6_Release, DHCP6_Decline):
            token = trial.mark(attacker, f"{kind.__name__} by {attacker}")
            client_id = DHCP6OptClientId(duid=DUID_LL(lladdr=trial.mac(trial.cast.client)))
            datagram = IPv6(src="fe80::bad", dst=_SERVERS6) / UDP(sport=_CLIENT6, dport=_SERVER6)
            trial.send(
                attacker, [ether(trial.mac(attacker), _SERVERS6_MAC) / datagram / kind() / client_id / Raw(token)] * 20
            )
