"""Where a host is: it changes by a login, and by nothing that a packet says."""

from __future__ import annotations

import os
import time

from scapy.packet import Raw

from attack.evidence import everything
from attack.frames import ether, tcp, udp
from attack.scenario import ATTACKS, Group, NotHereError
from attack.trial import Trial
from lab.stream import Stream

group = Group("location", ATTACKS)
_LEARNED = 200


def _stolen(trial: Trial, attacker: str, owner: str) -> int:
    """Frames for the owner's card that have reached the attacker."""
    card = bytes.fromhex(trial.mac(owner).replace(":", ""))
    return sum(frame[:6] == card for frame in trial.arena.tap(attacker).peek())


@group.scenario(
    "location-hijack",
    reference="Hong et al., Poisoning Network Visibility (NDSS 2015) §4.1",
    tried="frames with the client's card and address from two other ports, while the client talks to a server",
    success="one reaches the server, or what is meant for the client reaches the attacker",
    covers=("hijack", "spoof"),
    judge=everything,
)
def hijack(trial: Trial) -> None:
    """A controller that learns locations from packets sends the client's traffic to the attacker."""
    permit = trial.permit("icmp")
    client, server = permit.source, permit.target
    hosts = trial.arena.network.hosts
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"in the client's name by {attacker}")
        frame = ether(trial.mac(client), trial.mac(server)) / udp(trial.ip(client), trial.ip(server), 50080, 9, token)
        with Stream(hosts[client], hosts[server], "icmp", interval=0.005) as stream:
            stream.wait_received(5)
            for _ in range(_LEARNED):
                trial.send(attacker, [frame], gap=0.002)
            stolen = _stolen(trial, attacker, client)
            over = time.monotonic()
            if trial.arena.protected:
                stream.wait_received(5)  # the answers to all that was sent until now have come before these
            stream.stop()
            lost = len(stream.missing(until=over))
        trial.note(f"the client's frames at {attacker}", f"{stolen} frames" if stolen else "")
        if trial.arena.protected:
            trial.note(f"the client's pings with {attacker}", f"{lost} of {len(stream.sent)} lost" if lost else "")


@group.scenario(
    "port-probing",
    reference="Skowyra et al., Effective Topology Tampering Attacks (DSN 2018)",
    tried="the moment when a host's cable is unplugged: its card and address taken over at another port at once",
    success="a frame in its name reaches a server",
    covers=("port-probing", "hijack"),
    judge=everything,
)
def port_probing(trial: Trial) -> None:
    """The owner comes back afterwards, and has to log in again."""
    permit = trial.permit("tcp", password_only=True)
    owner, server = permit.source, permit.target
    arena = trial.arena
    for attacker in trial.attackers:
        if attacker == owner:
            raise NotHereError("only the insider logs in without a second factor")
        arena.network.set_port(owner, up=False)
        try:
            token = trial.mark(attacker, f"as {owner}, unplugged, by {attacker}")
            head = ether(trial.mac(owner), trial.mac(server))
            segments = [
                tcp(trial.ip(owner), trial.ip(server), 50090 + number, permit.port, "S", token) for number in range(30)
            ]
            trial.send(attacker, [head / segment for segment in segments], gap=0.02)
        finally:
            arena.network.set_port(owner, up=True)
        if arena.protected:
            arena.log_in_when_up(owner)


@group.scenario(
    "port-amnesia",
    reference="Skowyra et al., Effective Topology Tampering Attacks (DSN 2018)",
    tried="an attacker's own port goes down and up, so that its kind is forgotten; then LLDP, and frames as the client",
    success="a frame reaches a host, or the controller believes in a link",
    covers=("port-probing", "lldp-injection"),
    judge=everything,
)
def amnesia(trial: Trial) -> None:
    """A port that has just come up is an edge port as it was."""
    arena, attacker = trial.arena, trial.cast.stranger
    links = arena.links()
    arena.network.set_port(attacker, up=False)
    arena.settle()
    arena.network.set_port(attacker, up=True)
    service = trial.cast.service
    token = trial.mark(attacker, "as the client")
    segment = tcp(trial.ip(service.source), trial.ip(service.target), 50095, service.port, "S", token)
    frames = [ether(trial.mac(service.source), trial.mac(service.target)) / segment]
    token = trial.mark(attacker, "LLDP")
    frames += [ether(trial.mac(attacker), trial.mac(trial.cast.victim), type=0x88CC) / Raw(bytes(10) + token)]
    arena.settle()
    trial.send(attacker, frames * 10, gap=0.02)
    arena.settle()
    if arena.protected:
        trial.note("links", arena.links_believed(links))


@group.scenario(
    "port-reuse",
    reference="IEEE 802.1X-2020 §5.4; RFC 2827",
    tried="a second host behind a logged-in host's port, with the first's card, its address, and after its logout both",
    success="a frame of the second host reaches a server",
    covers=("port-reuse", "spoof"),
)
def second_host(trial: Trial) -> None:
    """A hub or a socket in the wall: two hosts, one port."""
    permit = trial.permit("tcp", password_only=True)
    first, server = permit.source, permit.target
    card = ":".join(f"{byte:02x}" for byte in b"\x02" + os.urandom(5))
    free = trial.arena.free_address(first)
    target = trial.ip(server)
    for label, mac, address in (
        ("own card, own address", card, free),
        ("own card, the first's address", card, trial.ip(first)),
        ("the first's card, own address", trial.mac(first), free),
    ):
        token = trial.mark(first, label)
        for flags in ("S", "A"):
            trial.send(first, [ether(mac, trial.mac(server)) / tcp(address, target, 50096, permit.port, flags, token)])
    if trial.arena.protected:
        trial.arena.network.logout(first)
        trial.arena.settle()
    token = trial.mark(first, "both of the first's after its logout")
    segment = tcp(trial.ip(first), target, 50097, permit.port, "S", token)
    trial.send(first, [ether(trial.mac(first), trial.mac(server)) / segment] * 5, gap=0.02)
    trial.arena.settle()
    if trial.arena.protected:
        trial.arena.log_in(first)
