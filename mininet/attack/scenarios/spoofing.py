"""Addresses that belong to somebody else, in every combination of the fields that a session is bound to."""

from __future__ import annotations

import itertools
from typing import Literal

from attack.frames import echo, ether, tcp, udp
from attack.scenario import ATTACKS, Group
from attack.trial import Trial

group = Group("spoofing", ATTACKS)
_FREE_MAC = "02:00:5e:10:00:99"


def _spoof(trial: Trial, attacker: str, version: int) -> None:
    """Every mix of own, the client's and nobody's MAC and address, but for the attacker's own two."""
    service = trial.cast.service
    client, server = service.source, service.target
    free = trial.arena.free_address(server) if version == 4 else trial.arena.unused_ipv6(server)
    macs = {"own": trial.mac(attacker), "client's": trial.mac(client), "a free": _FREE_MAC}
    addresses = {"own": trial.ip(attacker, version), "client's": trial.ip(client, version), "a free": free}
    target = trial.ip(server, version)
    for (whose_mac, mac), (whose, address) in itertools.product(macs.items(), addresses.items()):
        if whose_mac == whose == "own" and attacker == trial.cast.insider:
            continue  # that is no lie, and a rule may allow it
        token = trial.mark(attacker, f"{whose_mac} MAC, {whose} address")
        trial.send(
            attacker,
            [
                ether(mac, trial.mac(server)) / tcp(address, target, 40001, service.port, "S", token),
                ether(mac, trial.mac(server)) / tcp(address, target, 40001, service.port, "A", token),
                ether(mac, trial.mac(server)) / udp(address, target, 40001, service.port, token),
                ether(mac, trial.mac(server)) / echo(address, target, token),
            ],
        )


def _register(who: Literal["stranger", "insider"], version: Literal[4, 6]) -> None:
    state = "not logged in" if who == "stranger" else "logged in"

    @group.scenario(
        f"spoof-ipv{version}-{who}",
        reference="RFC 2827, RFC 7513",
        tried=f"as a host that is {state}, every mix of own, the client's and a free MAC and IPv{version} address",
        success="a frame with any of these sources reaches the server",
        covers=("spoof",),
        quick=True,
        version=version,
    )
    def attack(trial: Trial) -> None:
        _spoof(trial, getattr(trial.cast, who), version)


for _version in (4, 6):
    _register("stranger", _version)
    _register("insider", _version)


@group.scenario(
    "spoof-portal",
    reference="NIST SP 800-207 §2.1",
    tried="frames with the portal's MAC and address as their source, from its port for HTTP, to a host",
    success="a host receives what looks like the portal",
    covers=("spoof",),
    quick=True,
)
def spoof_portal(trial: Trial) -> None:
    """Whoever is the portal for a host is given its password."""
    client = trial.cast.client
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"from {attacker}")
        port = trial.arena.portal_port
        segment = tcp(trial.ip("portal"), trial.ip(client), port, 40002, "PA", token)
        trial.send(attacker, [ether(trial.mac("portal"), trial.mac(client)) / segment])
