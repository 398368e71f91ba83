"""A site of any size for the load generator: switches, segments, rules, and everybody logged in already.

It is laid out as load.c expects it. Sessions come from the store, as after a restart of the controller: it takes them
up the way it always does, and no benchmark waits for password hashes.
"""

from __future__ import annotations

import json
import math
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher

from lab.errors import LabError
from lab.processes import Controller, tail
from perf import wire
from perf.topology import LIFETIME, TCP_SERVICE
from zethane.adapters.store.sqlite import SqliteStore, _text
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Attachment, Session

SEGMENTS = 8
"""Segments of clients, and as many of servers."""

MAX_PORTS = 512
"""Ports of a switch that has hosts; with more sessions several are at one port, behind an access point say."""

START_TIMEOUT = 300.0
"""Seconds within which the controller has to listen."""

_BRANCHES = 10


@dataclass(frozen=True, slots=True)
class Site:
    """So many switches, and so many sessions spread over them evenly."""

    switches: int
    sessions: int

    @property
    def per_switch(self) -> int:
        """Sessions of each switch."""
        return self.sessions // self.switches

    @property
    def ports(self) -> int:
        """Edge ports of each switch."""
        return min(self.per_switch, MAX_PORTS)

    def is_server(self, index: int) -> bool:
        """Whether the session at this position answers: the last fifth of a switch, or of all switches."""
        if self.per_switch == 1:
            return index >= self.switches - self.switches // 5
        return index % self.per_switch >= self.per_switch - max(1, self.per_switch // 5)

    def write(self, folder: Path) -> None:
        """Write `topology` and `state` into a folder. Raises LabError if the sizes do not fit."""
        if self.sessions % self.switches:
            raise LabError(f"{self.sessions} sessions cannot be spread over {self.switches} switches evenly")
        topology, state = folder / "topology", folder / "state"
        topology.mkdir(parents=True)
        state.mkdir(mode=0o700)
        (topology / "policy.yaml").write_text(policy(), encoding="utf-8")
        (topology / "network.yaml").write_text(self._network(), encoding="utf-8")
        # Nobody logs in with it: the hash of a random secret is the safe thing to write.
        hashed = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(secrets.token_urlsafe())
        lines = [f'  {name}: {{labels: {{segment: {name}}}, secret: "{hashed}"}}' for name in names()]
        (topology / "identities.yaml").write_text("\n".join(("workloads:", *lines, "")), encoding="utf-8")
        self._sessions(state / "zethane.sqlite")

    def _network(self) -> str:
        """Switch i hangs on switch (i - 1) / 10: its first trunk leads up, the ten after it down."""
        trunk = self.ports + 1
        macs = math.ceil(self.per_switch / self.ports)
        ports = ", ".join(f"{port}: {{macs: {macs}}}" for port in range(1, trunk)) if macs > 1 else ""
        lines = ["switches:"]
        lines += (
            f'  s{index + 1}: {{dpid: "{wire.DPID + index:016x}", ports: {{{ports}}}}}'
            for index in range(self.switches)
        )
        if self.switches > 1:
            lines.append("links:")
        for index in range(1, self.switches):
            above, branch = divmod(index - 1, _BRANCHES)
            lines.append(f"  - ['s{above + 1}:{trunk + 1 + branch}', 's{index + 1}:{trunk}']")
        return "\n".join((*lines, ""))

    def _sessions(self, file: Path) -> None:
        """One transaction for all of them: a hundred thousand in some seconds."""
        store = SqliteStore(file)
        try:
            now = time.time()
            proofs = {name: _proof(name, now) for name in names()}
            rows = (
                (session.number, _text(session))
                for session in (self._session(i, proofs, now) for i in range(self.sessions))
            )
            store._db.execute("BEGIN")
            store._db.executemany("INSERT INTO sessions VALUES (?, ?)", rows)
            store._db.execute("INSERT OR REPLACE INTO meta VALUES ('next_session', ?)", (self.sessions + 256,))
            store._db.execute("COMMIT")
        finally:
            store.close()

    def _session(self, index: int, proofs: Mapping[str, Proof], now: float) -> Session:
        proof = proofs[f"{'server' if self.is_server(index) else 'client'}{index % SEGMENTS}"]
        port = 1 + index % self.per_switch % self.ports
        mac = 0x0200_0A00_0000 | index + 1
        return Session(
            number=index + 1,
            principal=acting((proof,)),
            attachment=Attachment(wire.DPID + index // self.per_switch, port, 0, mac),
            addresses=((0x0A40_0000 + index + 1).to_bytes(4, "big"),),
            segment=proof.name,
            started=now,
            proofs=(proof,),
        )


def names() -> list[str]:
    """The workloads, which are also the names of their segments."""
    return [f"{kind}{number}" for kind in ("client", "server") for number in range(SEGMENTS)]


def policy() -> str:
    """Every segment of clients may use every segment of servers, each by a rule of its own; and more rules."""
    segments = {name: {"labels": {"segment": name}} for name in names()}
    pairs = [(a, b) for a in names()[:SEGMENTS] for b in names()[SEGMENTS:]]
    rules = [
        *({"id": f"{a}-{b}", "from": [a], "to": [b], "services": [f"tcp/{TCP_SERVICE}"]} for a, b in pairs),
        *({"id": f"{a}-{b}-dns", "from": [a], "to": [b], "services": ["udp/53", "tcp/53"]} for a, b in pairs[::3]),
        {"id": "no-telnet", "from": ["any"], "to": ["any"], "services": ["tcp/23"], "action": "deny"},
    ]
    return json.dumps({"version": 1, "segments": segments, "rules": rules}, indent=1)


def _proof(name: str, now: float) -> Proof:
    ends = now + LIFETIME
    labels = (("segment", name),)
    return Proof("workload", name, "portal", now, ("pwd",), labels=labels, expires=ends, reauthenticate=ends)


class SiteController(Controller):
    """`zethane run`, and the seconds that it took until it listened."""

    started = 0.0


@contextmanager
def zethane(site: Site, folder: Path, tagged: Mapping[str, str], made: Path | None = None) -> Iterator[SiteController]:
    """`zethane run` with everybody's sessions; decision log, store and APIs are on. Raises LabError.

    `made` is a folder that was written before, which is copied.
    """
    if made is None:
        site.write(folder)
    else:
        shutil.copytree(made, folder)
    controller = SiteController(folder / "topology", folder / "state", tagged)
    begun = time.perf_counter()
    controller.start()
    try:
        controller.wait_listening(START_TIMEOUT)
        controller.started = time.perf_counter() - begun
        yield controller
        controller.require_alive()
    except LabError as error:
        raise LabError(f"{error}. {tail(controller.log)}") from None
    finally:
        controller.stop()


def memory(pid: int) -> float:
    """The MiB that a process has had in memory at the most; 0 if it is not there."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) / 1024 if found else 0.0
