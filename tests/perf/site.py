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
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import product
from pathlib import Path

from argon2 import PasswordHasher

from lab.errors import LabError
from lab.processes import Controller, tail
from perf import wire
from perf.same_job import Identity
from perf.topology import LIFETIME, TCP_SERVICE
from zethane.adapters.store.sqlite import SqliteStore, _text
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Attachment, Session
from zethane.net.flowkey import TCP

SEGMENTS, ZONE_SEGMENTS = 8, 1
"""Segments of clients, and as many of servers: where there is one zone, and of each zone where there are more."""

PORTS, MAX_MACS = 48, 1000
"""Ports of a switch that have hosts, as long as a port then has no more than so many."""

ZONE = 10
"""Switches of a zone, where flows are between switches."""

START_TIMEOUT = 300.0
"""Seconds within which the controller has to listen."""

_BRANCHES = 10


@dataclass(frozen=True, slots=True)
class Site:
    """So many switches, and so many sessions spread over them evenly, two or more at each that has any.

    With one for each switch, every flow would be between two switches, which is twice the work of one within a switch.
    Everybody talks to servers of the same zone: that is the switch, or with `across` ten switches.
    """

    switches: int
    sessions: int
    across: bool = False

    @property
    def per_switch(self) -> int:
        """Sessions of each switch that has any."""
        return max(2, self.sessions // self.switches)

    @property
    def occupied(self) -> int:
        """Switches that have sessions: the first ones."""
        return self.sessions // self.per_switch

    @property
    def ports(self) -> int:
        """Edge ports of each switch."""
        return min(self.per_switch, max(PORTS, math.ceil(self.per_switch / MAX_MACS)))

    def port(self, index: int) -> int:
        """The port of the session at this position: the last fifth of them have servers."""
        place, servers, for_servers = index % self.per_switch, max(1, self.per_switch // 5), max(1, self.ports // 5)
        if self.is_server(index):
            return 1 + self.ports - for_servers + (place - (self.per_switch - servers)) % for_servers
        return 1 + place % (self.ports - for_servers)

    @property
    def zones(self) -> int:
        """Parts of the site whose hosts have nothing to do with those of others."""
        return math.ceil(self.occupied / ZONE) if self.across else self.occupied

    def segments(self, zone: int) -> tuple[list[str], list[str]]:
        """Segments of clients and of servers of a zone; they are also the names of the workloads."""
        count = SEGMENTS if self.zones == 1 else ZONE_SEGMENTS
        clients, servers = ([f"z{zone}-{kind}{number}" for number in range(count)] for kind in ("client", "server"))
        return clients, servers

    def names(self) -> list[str]:
        """All segments."""
        return [name for zone in range(self.zones) for part in self.segments(zone) for name in part]

    def pairs(self) -> list[tuple[str, str]]:
        """Every segment of clients with every segment of servers of its zone."""
        return [pair for zone in range(self.zones) for pair in product(*self.segments(zone))]

    def is_server(self, index: int) -> bool:
        """Whether the session at this position answers: the last fifth of a switch."""
        return index % self.per_switch >= self.per_switch - max(1, self.per_switch // 5)

    def write(self, folder: Path) -> None:
        """Write `topology` and `state` into a folder. Raises LabError if the sizes do not fit."""
        if self.sessions % self.switches or self.sessions % self.per_switch:
            raise LabError(
                f"{self.sessions} sessions cannot be spread over {self.switches} switches evenly, two or more at each"
            )
        topology, state = folder / "topology", folder / "state"
        topology.mkdir(parents=True)
        state.mkdir(mode=0o700)
        (topology / "policy.yaml").write_text(self._policy(), encoding="utf-8")
        (topology / "network.yaml").write_text(self._network(), encoding="utf-8")
        # Nobody logs in with it: the hash of a random secret is the safe thing to write.
        hashed = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(secrets.token_urlsafe())
        lines = [f'  {name}: {{labels: {{segment: {name}}}, secret: "{hashed}"}}' for name in self.names()]
        (topology / "identities.yaml").write_text("\n".join(("workloads:", *lines, "")), encoding="utf-8")
        self._sessions(state / "zethane.sqlite")

    def identities(self) -> dict[str, Identity]:
        """Who is where, by address, for a peer that knows identities."""
        return {
            str(IPv4Address(session.addresses[0])): Identity(
                f"workload:{session.principal.name}",
                session.segment,
                session.attachment.dpid,
                session.attachment.port,
                session.attachment.mac.to_bytes(6, "big").hex(":"),
            )
            for session in self._live(time.time())
        }

    def rules(self) -> list[tuple[str, str, int, int, str]]:
        """The rules of the policy for such a peer: from, to, protocol, port, name."""
        return [(a, b, TCP, TCP_SERVICE, f"{a}-{b}") for a, b in self.pairs()]

    def _policy(self) -> str:
        """A rule of its own for each pair that may talk, others that nobody uses here, and a deny."""
        segments = {name: {"labels": {"segment": name}} for name in self.names()}
        pairs = self.pairs()
        rules = [
            *({"id": f"{a}-{b}", "from": [a], "to": [b], "services": [f"tcp/{TCP_SERVICE}"]} for a, b in pairs),
            *({"id": f"{a}-{b}-dns", "from": [a], "to": [b], "services": ["udp/53", "tcp/53"]} for a, b in pairs[::3]),
            {"id": "no-telnet", "from": ["any"], "to": ["any"], "services": ["tcp/23"], "action": "deny"},
        ]
        return json.dumps({"version": 1, "segments": segments, "rules": rules}, indent=1)

    def _network(self) -> str:
        """Switch i hangs on switch (i - 1) / 10: its first trunk leads up, the ten after it down."""
        trunk = self.ports + 1
        macs = max(Counter(self.port(index) for index in range(self.per_switch)).values())
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
            rows = ((session.number, _text(session)) for session in self._live(time.time()))
            store._db.execute("BEGIN")
            store._db.executemany("INSERT INTO sessions VALUES (?, ?)", rows)
            store._db.execute("INSERT OR REPLACE INTO meta VALUES ('next_session', ?)", (self.sessions + 256,))
            store._db.execute("COMMIT")
        finally:
            store.close()

    def _live(self, now: float) -> Iterator[Session]:
        proofs = {name: _proof(name, now) for name in self.names()}
        return (self._session(index, proofs, now) for index in range(self.sessions))

    def _session(self, index: int, proofs: Mapping[str, Proof], now: float) -> Session:
        switch = index // self.per_switch
        zone = 0 if self.zones == 1 else switch // (ZONE if self.across else 1)
        part = self.segments(zone)[self.is_server(index)]
        proof = proofs[part[index % len(part)]]
        mac = 0x0200_0A00_0000 | index + 1
        return Session(
            number=index + 1,
            principal=acting((proof,)),
            attachment=Attachment(wire.DPID + switch, self.port(index), 0, mac),
            addresses=((0x0A40_0000 + index + 1).to_bytes(4, "big"),),
            segment=proof.name,
            started=now,
            proofs=(proof,),
        )


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
