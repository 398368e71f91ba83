"""What somebody outside sends through the router of an uplink in the name of this network."""

from __future__ import annotations

from typing import Literal

from attack.frames import ether, tcp, udp
from attack.scenario import ATTACKS, Group
from attack.trial import Trial

group = Group("outside", ATTACKS)


def _register(version: Literal[4, 6]) -> None:
    @group.scenario(
        f"outside-spoof-ipv{version}",
        reference="RFC 2827, RFC 3704",
        tried=f"from an uplink's port, IPv{version} addresses of the client, of the portal and of the router itself",
        success="a frame with any of these sources reaches the server",
        covers=("spoof",),
        version=version,
    )
    def attack(trial: Trial) -> None:
        service = trial.cast.service
        router, target = trial.arena.router, trial.ip(service.target, version)
        for whose in (service.source, "portal", router):
            token = trial.mark(router, f"{whose}'s address")
            address = trial.ip(whose, version)
            trial.send(
                router,
                [
                    ether(trial.mac(router), trial.mac(service.target))
                    / tcp(address, target, 41001, port, flags, token)
                    for port, flags in ((service.port, "S"), (service.port, "A"), (22, "S"))
                ]
                + [ether(trial.mac(router), trial.mac(service.target)) / udp(address, target, 41001, 53, token)],
            )


for _version in (4, 6):
    _register(_version)
