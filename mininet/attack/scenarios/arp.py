"""ARP: the controller answers it, and no host's ARP reaches another."""

from __future__ import annotations

from attack.frames import BROADCAST, NOBODY, arp, ether
from attack.scenario import ATTACKS, Group
from attack.trial import Trial

group = Group("arp", ATTACKS)
_SUCCESS = "the forged message reaches a host, which may believe it"
_RARP = 0x8035


def _poison(trial: Trial, kind: str, operation: int, spa: str, tha: str, tpa: str, dst: str) -> None:
    """The same message from a stranger and from a host that is logged in, both with their own card."""
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"{kind} by {attacker}")
        own = trial.mac(attacker)
        trial.send(attacker, [ether(own, dst) / arp(operation, own, spa, tha, tpa, token)] * 2)


@group.scenario(
    "arp-request",
    reference="RFC 826, CVE-1999-0667",
    tried="a who-has to everybody in which the server's address is said to be at the attacker's card",
    success=_SUCCESS,
    covers=("arp",),
    quick=True,
)
def request(trial: Trial) -> None:
    """Hosts learn from what is asked as well."""
    _poison(trial, "request", 1, trial.ip(trial.cast.server), NOBODY, trial.ip(trial.cast.client), BROADCAST)


@group.scenario(
    "arp-reply",
    reference="RFC 826, CVE-1999-0667",
    tried="answers that nobody asked for: the server is at the attacker's card; to the client, to everybody",
    success=_SUCCESS,
    covers=("arp",),
    quick=True,
)
def reply(trial: Trial) -> None:
    """The usual poisoning."""
    server, client = trial.cast.server, trial.cast.client
    for kind, dst in (("to the client", trial.mac(client)), ("to all", BROADCAST)):
        _poison(trial, kind, 2, trial.ip(server), trial.mac(client), trial.ip(client), dst)


@group.scenario(
    "arp-gratuitous",
    reference="RFC 5227 §3",
    tried="announcements of the server's address, as request and as reply",
    success=_SUCCESS,
    covers=("arp",),
    quick=True,
)
def gratuitous(trial: Trial) -> None:
    """Sender and target are the same address."""
    address = trial.ip(trial.cast.server)
    for operation, kind in ((1, "request"), (2, "reply")):
        _poison(trial, kind, operation, address, NOBODY, address, BROADCAST)


@group.scenario(
    "arp-probe",
    reference="RFC 5227 §2.1.1",
    tried="probes for addresses in use, and for all zeros: their owners would give them up",
    success="the probe reaches the owner of the address",
    covers=("arp",),
)
def probe(trial: Trial) -> None:
    """From nobody's address."""
    for target in (trial.ip(trial.cast.client), "0.0.0.0"):  # noqa: S104 - an address in a message
        _poison(trial, f"probe for {target}", 1, "0.0.0.0", NOBODY, target, BROADCAST)  # noqa: S104


@group.scenario(
    "arp-sender-differs",
    reference="RFC 826",
    tried="messages whose sender inside is the server's card while the frame's is the attacker's, and the reverse",
    success=_SUCCESS,
    covers=("arp", "spoof"),
)
def sender_differs(trial: Trial) -> None:
    """A switch that looks at one of the two only is fooled by the other."""
    server, client, attacker = trial.cast.server, trial.cast.client, trial.cast.insider
    own, its = trial.mac(attacker), trial.mac(server)
    for frame, inside in ((own, its), (its, own), (its, its)):
        for operation in (1, 2):
            token = trial.mark(attacker, f"operation {operation}, frame {frame}, inside {inside}")
            message = arp(operation, inside, trial.ip(server), trial.mac(client), trial.ip(client), token)
            trial.send(attacker, [ether(frame, trial.mac(client)) / message])


@group.scenario(
    "rarp",
    reference="RFC 903",
    tried="RARP requests and replies, to everybody and to the client",
    success="a host receives RARP",
    covers=("rarp",),
    quick=True,
)
def rarp(trial: Trial) -> None:
    """Operations 3 and 4 under their own EtherType."""
    attacker, client = trial.cast.stranger, trial.cast.client
    own = trial.mac(attacker)
    for operation in (3, 4):
        for dst in (BROADCAST, trial.mac(client)):
            token = trial.mark(attacker, f"operation {operation} to {dst}")
            message = arp(operation, own, trial.ip(trial.cast.server), trial.mac(client), trial.ip(client), token)
            trial.send(attacker, [ether(own, dst, type=_RARP) / message])
