"""Scans with nmap: they find nothing, and not one of their packets arrives."""

from __future__ import annotations

import re

from attack.evidence import everything
from attack.frames import ether, tcp
from attack.scenario import ATTACKS, Group, NotHereError
from attack.tools import addresses_token, run_tool, text_token
from attack.trial import Trial

group = Group("scans", ATTACKS)
_SUCCESS = "a probe reaches the target, or nmap tells a port's state"
_ANSWERED = re.compile(r"^(\d+/\w+) +(open|closed|unfiltered|closed\|filtered) ", re.MULTILINE)
_FAST = ("-n", "-Pn", "--send-ip", "-e", "eth0", "--max-retries", "0", "--initial-rtt-timeout", "100ms")
_ZOMBIE_PORT = 44000


def _ports(trial: Trial, target: str, proto: str) -> str:
    """Those that rules open at the target to others, and one that nobody opens."""
    offered = {permit.port for permit in trial.cast.permits if (permit.target, permit.proto) == (target, proto)}
    return ",".join(map(str, sorted({*offered, 4444})[:6]))


def _scan(trial: Trial, option: str, *more: str, proto: str = "tcp", version: int = 4) -> None:
    """From the stranger to the server, and from the insider to the victim."""
    for attacker, target in ((trial.cast.stranger, trial.cast.server), (trial.cast.insider, trial.cast.victim)):
        label = f"{attacker} → {target}, IPv{version}"
        token = trial.mark(attacker, label, text_token())
        family = ("-6",) if version == 6 else ()
        ports = ("-p", _ports(trial, target, proto))
        command = ["nmap", *family, *_FAST, option, *more, *ports, "--data-string", token.decode()]
        said = run_tool(trial, attacker, [*command, trial.ip(target, version)], seconds=20, knows=(target,))
        if not trial.arena.protected:
            continue  # what some scans can tell there depends on the target's system; that they arrive is enough
        trial.note(f"states, {label}", ", ".join(" ".join(found) for found in _ANSWERED.findall(said)))


def _register(name: str, option: str, what: str, item: str, reference: str, proto: str) -> None:
    @group.scenario(
        name,
        reference=reference,
        tried=f"nmap {option}: {what}, by the stranger on the server and by the insider on the victim",
        success=_SUCCESS,
        covers=(item,),
        judge=everything,
        tool="nmap",
    )
    def attack(trial: Trial) -> None:
        _scan(trial, option, proto=proto)


for _name, _option, _what, _item, _reference, _proto in (
    ("scan-syn", "-sS", "half-open connections", "scan-syn", "RFC 9293 §3.10.7", "tcp"),
    ("scan-fin", "-sF", "FIN alone, past filters that look for SYN", "scan-fin", "RFC 9293 §3.10.7.1", "tcp"),
    ("scan-null", "-sN", "no flag at all", "scan-null", "RFC 9293 §3.10.7.1", "tcp"),
    ("scan-xmas", "-sX", "FIN, PSH and URG", "scan-xmas", "RFC 9293 §3.10.7.1", "tcp"),
    ("scan-ack", "-sA", "ACK, through filters without memory", "scan-ack", "Maimon, Phrack 49-15", "tcp"),
    ("scan-window", "-sW", "ACK, and a look at the window of what comes back", "scan-window", "nmap(1)", "tcp"),
    ("scan-maimon", "-sM", "FIN and ACK", "scan-fin", "Maimon, Phrack 49-15", "tcp"),
    ("scan-udp", "-sU", "datagrams, and a look at the errors that come back", "scan-udp", "RFC 1122 §3.2.2.1", "udp"),
):
    _register(_name, _option, _what, _item, _reference, _proto)


@group.scenario(
    "scan-from-a-known-port",
    reference="RFC 5382, nmap(1) -g",
    tried="nmap -sS -g 53 and -g 443: half-open connections from ports that answers come from",
    success=_SUCCESS,
    covers=("scan-syn", "reverse-connection"),
    judge=everything,
    tool="nmap",
)
def known_port(trial: Trial) -> None:
    """Filters without memory let in what looks like an answer."""
    for port in ("53", "443"):
        attacker, target = trial.cast.insider, trial.cast.victim
        label = f"from port {port}"
        token = trial.mark(attacker, label, text_token())
        options = ["-g", port, "-p", _ports(trial, target, "tcp"), "--data-string", token.decode()]
        run_tool(trial, attacker, ["nmap", *_FAST, "-sS", *options, trial.ip(target)], seconds=20, knows=(target,))


@group.scenario(
    "scan-ipv6",
    reference="RFC 7707",
    tried="nmap -6 -sS: half-open connections over IPv6",
    success=_SUCCESS,
    covers=("scan-syn",),
    judge=everything,
    version=6,
    tool="nmap",
)
def scan6(trial: Trial) -> None:
    """The same in IPv6."""
    _scan(trial, "-sS", version=6)


@group.scenario(
    "scan-idle",
    reference="Sanfilippo, new tcp scan method (1998); nmap(1) -sI",
    tried="nmap -sI with the client as zombie; then by hand, SYNs to the server in the client's name",
    success="a probe reaches the zombie, or a SYN in its name the target",
    covers=("scan-idle", "spoof"),
    tool="nmap",
)
def idle(trial: Trial) -> None:
    """nmap gives up when it cannot reach the zombie: so the spoofed half is done by hand as well."""
    attacker, zombie, target = trial.cast.stranger, trial.cast.client, trial.cast.server
    source = trial.ip(attacker)
    trial.mark(attacker, "probe of the zombie", addresses_token(source, trial.ip(zombie)))
    command = ["nmap", *_FAST, "-sI", f"{trial.ip(zombie)}:{_ZOMBIE_PORT}", "-p", str(trial.cast.service.port)]
    run_tool(trial, attacker, [*command, trial.ip(target)], seconds=15, knows=(zombie, target))
    token = trial.mark(attacker, "in the zombie's name")
    segment = tcp(trial.ip(zombie), trial.ip(target), _ZOMBIE_PORT, trial.cast.service.port, "S", token)
    trial.send(attacker, [ether(trial.mac(attacker), trial.mac(target)) / segment])


@group.scenario(
    "scan-fragments",
    reference="RFC 1858; hping3(8) -f",
    tried="hping3 -f: SYN and ACK in fragments of 16 bytes",
    success="a fragment reaches the target",
    covers=("fragments4", "scan-syn"),
    tool="hping3",
)
def fragmented(trial: Trial) -> None:
    """Ports in one fragment, flags in the next; the marks are the addresses, which nobody else uses meanwhile."""
    for attacker, target in ((trial.cast.stranger, trial.cast.server), (trial.cast.insider, trial.cast.victim)):
        if trial.cast.denied(attacker, target, "tcp", 443):
            trial.mark(attacker, f"{attacker} → {target}", addresses_token(trial.ip(attacker), trial.ip(target)))
            for flag in ("-S", "-A"):
                command = ["hping3", "-f", flag, "-p", "443", "-c", "3", "-i", "u20000", "-q", trial.ip(target)]
                run_tool(trial, attacker, command, seconds=3, knows=(target,))
    if not trial.marks:
        raise NotHereError("a rule allows all of this")
