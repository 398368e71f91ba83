"""The topology of the benchmarks: one switch, clients that may open TCP and UDP to servers, all logged in.

The sessions are put into the store before the controller starts, as if it had been restarted: it takes them up the
way it always does, and no benchmark of set-ups waits for password hashes.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher

from perf import wire
from zethane.adapters.store.sqlite import SqliteStore
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Attachment, Session

LIFETIME = 3600.0
"""Seconds that the sessions last: longer than any run."""

TCP_SERVICE, UDP_SERVICE = 443, 9000

POLICY = f"""
version: 1
segments:
  clients: {{labels: {{role: client}}}}
  servers: {{labels: {{role: server}}}}
rules:
  - {{id: clients-servers, from: [clients], to: [servers], services: [tcp/{TCP_SERVICE}, udp/{UDP_SERVICE}]}}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one session is: its OpenFlow port, MAC and address, packed."""

    role: str
    port: int
    mac: bytes
    address: bytes


def places() -> list[Place]:
    """Where the hosts of the generated load are."""
    return [
        Place("client" if host.number <= wire.CLIENTS else "server", host.port, host.mac, host.ip)
        for host in wire.stations()
    ]


def write_topology(folder: Path, dpid: int, places: Collection[Place] = (), policy: str = POLICY) -> None:
    """Write policy.yaml, identities.yaml and network.yaml for a switch with this datapath id and these hosts."""
    folder.mkdir(parents=True)
    roles = {"client", "server", *(place.role for place in places)}
    crowded = [(port, cards) for port, cards in sorted(Counter(place.port for place in places).items()) if cards > 1]
    ports = ", ".join(f"{port}: {{macs: {cards}}}" for port, cards in crowded)
    (folder / "policy.yaml").write_text(policy, encoding="utf-8")
    (folder / "network.yaml").write_text(
        f'switches: {{s1: {{dpid: "{dpid:016x}", ports: {{{ports}}}}}}}\n', encoding="utf-8"
    )
    # Nobody logs in with it: the hash of a random secret is the safe thing to write.
    hashed = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(secrets.token_urlsafe())
    lines = [f'  {role}: {{labels: {{role: {role}}}, secret: "{hashed}"}}' for role in sorted(roles)]
    (folder / "identities.yaml").write_text("\n".join(("workloads:", *lines, "")), encoding="utf-8")


def write_sessions(state_dir: Path, dpid: int, places: Iterable[Place]) -> list[int]:
    """Store a live session for each place; their numbers."""
    state_dir.mkdir(parents=True, mode=0o700)
    store = SqliteStore(state_dir / "zethane.sqlite")
    try:
        sessions = [_session(store, dpid, place) for place in places]
        for session in sessions:
            store.save(session)
    finally:
        store.close()
    return [session.number for session in sessions]


def _session(store: SqliteStore, dpid: int, place: Place) -> Session:
    now = time.time()
    proof = Proof(
        "workload",
        place.role,
        "portal",
        now,
        ("pwd",),
        labels=(("role", place.role),),
        expires=now + LIFETIME,
        reauthenticate=now + LIFETIME,
    )
    return Session(
        number=store.new_number(lambda _: False),
        principal=acting((proof,)),
        attachment=Attachment(dpid, place.port, 0, int.from_bytes(place.mac, "big")),
        addresses=(place.address,),
        segment=f"{place.role}s",
        started=now,
        proofs=(proof,),
    )
