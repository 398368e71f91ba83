"""TCP: only a SYN that a rule allows opens a connection, and only its two ends have a part in it."""

from __future__ import annotations

from typing import Literal

from attack.evidence import everything
from attack.frames import ether, tcp, udp
from attack.honest import connected, sequence_numbers
from attack.scenario import ATTACKS, Group
from attack.trial import Trial
from lab.errors import LabError

group = Group("tcp", ATTACKS)


@group.scenario(
    "tcp-reverse-connection",
    reference="RFC 5382, RFC 9293 §3.5",
    tried="from the server's allowed port back to the client: SYN, SYN with ACK, datagrams; in a live connection too",
    success="a segment that is no answer reaches the client",
    covers=("reverse-connection",),
    quick=True,
)
def reverse(trial: Trial) -> None:
    """An answer is an answer to something."""
    service = trial.cast.service
    server, client = service.target, service.source
    head = ether(trial.mac(server), trial.mac(client))
    for address in trial.arena.host(client).addresses:
        version = address.version
        source, target = trial.ip(server, version), trial.ip(client, version)
        for flags in ("S", "SA", "A", "PA", "F", "SF"):
            token = trial.mark(server, f"{flags} to an idle port, IPv{version}")
            trial.send(server, [head / tcp(source, target, service.port, 50001, flags, token)])
        token = trial.mark(server, f"datagram from port 53, IPv{version}")
        trial.send(server, [head / udp(source, target, 53, 50001, token)])
        with connected(trial, service, version) as connection:
            token = trial.mark(server, f"S in a live connection, IPv{version}")
            trial.send(server, [head / tcp(source, target, service.port, connection.sport, "S", token)])
            token = trial.mark(server, f"S to the port next to it, IPv{version}")
            trial.send(server, [head / tcp(source, target, service.port, connection.sport + 1, "S", token)])


@group.scenario(
    "tcp-data-in-syn",
    reference="RFC 9293 §3.10.7.4, RFC 7413",
    tried="data and a Fast Open cookie in the SYN to what no rule opens",
    success="the data reaches the target",
    covers=("syn-data",),
    quick=True,
)
def data_in_syn(trial: Trial) -> None:
    """What is delivered before it is decided about."""
    victim = trial.cast.victim
    for attacker in trial.attackers:
        for port in (443, 4444):
            head = ether(trial.mac(attacker), trial.mac(victim))
            token = trial.mark(attacker, f"data to port {port} by {attacker}")
            trial.send(attacker, [head / tcp(trial.ip(attacker), trial.ip(victim), 50010, port, "S", token * 50)])
            token = trial.mark(attacker, f"Fast Open to port {port} by {attacker}")
            segment = tcp(trial.ip(attacker), trial.ip(victim), 50011, port, "S", token)
            segment["TCP"].options = [("TFO", (0x01020304, 0x05060708))]
            trial.send(attacker, [head / segment])


@group.scenario(
    "tcp-strange-flags",
    reference="RFC 9293 §3.10.7; hping3(8)",
    tried="all 64 combinations of the six classic flags to what no rule opens",
    success="a segment reaches the target",
    covers=("scan-null", "scan-xmas", "scan-fin", "scan-ack"),
    quick=True,
)
def strange_flags(trial: Trial) -> None:
    """No combination is so odd that nobody has thought of it."""
    victim = trial.cast.victim
    for attacker in trial.attackers:
        head = ether(trial.mac(attacker), trial.mac(victim))
        for number in range(64):
            token = trial.mark(attacker, f"flags {number:#04x} by {attacker}")
            segment = tcp(trial.ip(attacker), trial.ip(victim), 50020 + number, 443, "", token)
            segment["TCP"].flags = number
            trial.send(attacker, [head / segment])


@group.scenario(
    "tcp-ended-flow",
    reference="RFC 9293 §3.6; OpenZiti 4322, Calico 6399",
    tried="segments of a connection that both ends have closed, and of one whose client has logged out and in again",
    success="a segment of the old connection reaches the server",
    covers=("ended-flow",),
)
def ended(trial: Trial) -> None:
    """The rules of a flow end with it; and what a session has opened with the session."""
    permit = trial.permit("tcp", password_only=True)
    head = ether(trial.mac(permit.source), trial.mac(permit.target))
    source, target = trial.ip(permit.source), trial.ip(permit.target)
    with connected(trial, permit) as connection:
        port = connection.sport
        if trial.arena.protected:
            trial.arena.network.logout(permit.source)
            trial.arena.settle()
        token = trial.mark(permit.source, "after the logout")
        trial.send(permit.source, [head / tcp(source, target, port, permit.port, "PA", token, 2000, 1)] * 3)
    trial.arena.settle()
    if trial.arena.protected:
        trial.arena.log_in(permit.source)
    token = trial.mark(permit.source, "after a new login")
    trial.send(permit.source, [head / tcp(source, target, port, permit.port, "PA", token, 2000, 1)] * 3)
    with connected(trial, permit) as connection:
        port = connection.sport
        fault = connection.fault()
    if fault:
        raise LabError(f"the connection that was to end by itself did not work: {fault}")
    trial.arena.wait_no_flow(permit, port)
    token = trial.mark(permit.source, "after both ends have closed it")
    trial.send(permit.source, [head / tcp(source, target, port, permit.port, "PA", token, 2000, 1)] * 3)


def _register(version: Literal[4, 6]) -> None:
    @group.scenario(
        f"tcp-injection-ipv{version}",
        reference="RFC 5961, CVE-2004-0230",
        tried="RST, data and FIN with the true sequence numbers of others' connection, in the name of either end",
        success="a segment reaches either end, or the connection breaks",
        covers=("rst",),
        judge=everything,
        quick=True,
        version=version,
    )
    def attack(trial: Trial) -> None:
        _inject(trial, version)


def _inject(trial: Trial, version: Literal[4, 6]) -> None:
    service = trial.cast.service
    client, server = service.source, service.target
    with connected(trial, service, version) as connection:
        trial.arena.settle()
        frames = trial.arena.tap(server).peek()
        sequence, acknowledged = sequence_numbers(frames, connection.sport, connection.dport)
        ends = (
            (client, server, connection.sport, connection.dport, sequence, acknowledged),
            (server, client, connection.dport, connection.sport, acknowledged, sequence),
        )
        for attacker in trial.attackers:
            for source, target, sport, dport, seq, ack in ends:
                for mac in (trial.mac(attacker), trial.mac(source)):
                    token = trial.mark(attacker, f"as {source} with card {mac} by {attacker}")
                    head = ether(mac, trial.mac(target))
                    addresses = trial.ip(source, version), trial.ip(target, version)
                    segments = [
                        tcp(*addresses, sport, dport, flags, token, seq, ack) for flags in ("R", "RA", "PA", "FA")
                    ]
                    trial.arena.neutral()
                    trial.send(attacker, [head / segment for segment in segments])
        trial.arena.settle()
        trial.note("the connection", connection.fault())


for _version in (4, 6):
    _register(_version)


@group.scenario(
    "tcp-portal-as-a-way-through",
    reference="RFC 2979",
    tried="as the portal's port number: segments to other hosts from and to the TCP port that everybody may reach",
    success="a segment reaches a host",
    covers=("reverse-connection", "spoof"),
    quick=True,
)
def past_the_portal(trial: Trial) -> None:
    """What is open to strangers is open at the portal's address alone, and not on its card for other addresses."""
    port = trial.arena.portal_port
    attacker, victim = trial.cast.stranger, trial.cast.victim
    own, its = trial.ip(attacker), trial.ip(victim)
    for flags in ("S", "SA", "A"):
        for sport, dport in ((port, 50030), (50030, port)):
            token = trial.mark(attacker, f"{flags} from {sport} to {dport}")
            trial.send(
                attacker, [ether(trial.mac(attacker), trial.mac(victim)) / tcp(own, its, sport, dport, flags, token)]
            )
    for mac, address, label in (
        (trial.mac("portal"), its, "the portal's card, the victim's address"),
        (trial.mac(victim), trial.ip("portal"), "the victim's card, the portal's address"),
    ):
        token = trial.mark(attacker, label)
        trial.send(attacker, [ether(trial.mac(attacker), mac) / tcp(own, address, 50031, port, "S", token)] * 2)
