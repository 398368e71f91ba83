"""Tools that attackers use, against neighbours and DHCP: arpspoof, thc-ipv6, dhcpstarv."""

from __future__ import annotations

import ipaddress

from attack.scenario import ATTACKS, Group
from attack.tools import addresses_token, run_tool
from attack.trial import Trial

group = Group("tools", ATTACKS)
_SECONDS = 2.5


def _hex(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


@group.scenario(
    "arpspoof",
    reference="dsniff; CVE-1999-0667",
    tried="arpspoof -r: client and server are each told that the other is at the attacker's card",
    success="either is told so",
    covers=("arp",),
    tool="arpspoof",
)
def arpspoof(trial: Trial) -> None:
    """The mark is what the messages say: this address is at this card."""
    client, server = trial.cast.client, trial.cast.server
    for attacker in trial.attackers:
        for liar in (server, client):
            claim = _hex(trial.mac(attacker)) + ipaddress.ip_address(trial.ip(liar)).packed
            trial.mark(attacker, f"{liar} is at {attacker}", claim)
        command = ["arpspoof", "-i", "eth0", "-t", trial.ip(client), "-r", trial.ip(server)]
        run_tool(trial, attacker, command, seconds=_SECONDS, knows=(client, server))


@group.scenario(
    "thc-fake-router",
    reference="thc-ipv6; RFC 6104, RFC 7113",
    tried="atk6-fake_router6, plain and with -H, -F and -D, which hide the advertisement behind other headers",
    success="a host receives the prefix",
    covers=("ra", "ra-hidden"),
    version=6,
    tool="atk6-fake_router6",
)
def fake_router(trial: Trial) -> None:
    """The mark is the router's address, one for every variant: fragments may cut the prefix in two."""
    attacker = trial.cast.stranger
    for number, option in enumerate(("", "-H", "-F", "-D")):
        router = f"fe80::bad{number}:6660"
        trial.mark(attacker, f"fake_router6 {option}".strip(), addresses_token(router, "ff02::1"))
        announced = ["eth0", f"2001:db8:bad{number}::/64", "2001:db8:bad::53", router]
        options = [option] if option else []
        run_tool(trial, attacker, ["atk6-fake_router6", *options, *announced], seconds=_SECONDS)


@group.scenario(
    "thc-fake-advertise",
    reference="thc-ipv6; RFC 3756 §4.1.1",
    tried="atk6-fake_advertise6: a free address is at the attacker's card; to everybody and to the client",
    success="a host is told so",
    covers=("nd",),
    version=6,
    tool="atk6-fake_advertise6",
)
def fake_advertise(trial: Trial) -> None:
    """The mark is the pair of addresses of its packets, which the server itself never sends."""
    attacker, client, server = trial.cast.insider, trial.cast.client, trial.cast.server
    liar = trial.arena.unused_ipv6(server)
    for target in ("ff02::1", trial.ip(client, 6)):
        trial.mark(attacker, f"to {target}", addresses_token(liar, target))
        command = ["atk6-fake_advertise6", "-n", "3", "-w", "1", "eth0", liar, target, trial.mac(attacker)]
        run_tool(trial, attacker, command, seconds=_SECONDS + 1.5, knows=(client, server))


@group.scenario(
    "thc-flood-router",
    reference="thc-ipv6; CVE-2010-4669, CVE-2010-4670",
    tried="atk6-flood_router26: as many advertisements as the tool can send in a moment, from random routers",
    success="an advertisement reaches a host; the controller or the honest pair suffer",
    covers=("ra", "packet-in-flood"),
    version=6,
    tool="atk6-flood_router26",
)
def flood_router(trial: Trial) -> None:
    """The mark is what all of them share: length and hop limit of the IPv6 header, cards and routers being random."""
    attacker = trial.cast.stranger
    trial.mark(attacker, "flood_router26", bytes.fromhex("86dd6000000005983afffe80"))
    run_tool(trial, attacker, ["atk6-flood_router26", "eth0"], seconds=0.3)


@group.scenario(
    "dhcpstarv",
    reference="dhcpstarv; RFC 2131 §7",
    tried="dhcpstarv: requests for all addresses of a server",
    success="a host receives one of them",
    covers=("dhcp-starvation",),
    tool="dhcpstarv",
)
def dhcpstarv(trial: Trial) -> None:
    """The mark is how its requests begin: from nobody, to everybody, from port 68 to 67."""
    attacker = trial.cast.stranger
    token = bytes(4) + b"\xff" * 4 + bytes((0, 68, 0, 67))
    trial.mark(attacker, "requests", token)
    run_tool(trial, attacker, ["dhcpstarv", "-i", "eth0"], seconds=_SECONDS)
