"""What a fabric holds when nobody talks: the product's own intended entries for switches of any number of endpoints.

Each edge switch hangs on two core switches. Sessions are taken up as after a restart, by the same code.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from fakes.records import MemoryStore, Records
from perf.topology import LIFETIME
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Attachment, Session
from zethane.network.load import parse_network
from zethane.pipeline.tables import Table
from zethane.policy.load import parse_policy
from zethane.service.administrator import Administrator
from zethane.service.intent import intended
from zethane.service.points import Fabric
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.state import Limits, State

EDGES, CORES, PORTS = 8, 2, 48
"""Edge switches where nothing else is said, core switches, and ports with hosts of each edge switch: several may be
behind one of them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A site: endpoints in segments, and rules between segments.

    If it is `spread`, members of every segment are at every edge switch; if not, each segment is at two neighbours.
    """

    endpoints: int
    segments: int
    rules: int
    spread: bool
    edges: int = EDGES

    def pairs(self) -> list[tuple[int, int]]:
        """From and to of each rule: to the next segment first, then to the one after it, and so on."""
        return [(n % self.segments, (n + 1 + n // self.segments) % self.segments) for n in range(self.rules)]

    def place(self, index: int) -> tuple[int, int, int]:
        """Segment, edge switch and port of an endpoint, counted from 0, 0 and 1."""
        segment, turn = index % self.segments, index // self.segments
        edge = turn + segment if self.spread else segment * self.edges // self.segments + turn % 2
        return segment, edge % self.edges, 1 + turn // self.edges % PORTS

    def attached_or_reachable(self) -> int:
        """How many endpoints the fullest edge switch has, or has somebody who may have flows with."""
        return max(self._concerned(edge) for edge in range(self.edges))

    def _concerned(self, edge: int) -> int:
        here = {segment for segment, where, _ in self._places() if where == edge}
        reached = {other for pair in self.pairs() for one, other in (pair, pair[::-1]) if one in here}
        return sum(where == edge or segment in reached for segment, where, _ in self._places())

    def pairs_at_an_edge(self) -> int:
        """The entries of a list of pairs of addresses at the fullest edge switch, for one direction.

        Every endpoint there has one for every address that it may open flows to, and for each service of that.
        """
        members = Counter(segment for segment, _, _ in self._places())
        rules = Counter(self.pairs())
        found = []
        for edge in range(self.edges):
            here = Counter(segment for segment, where, _ in self._places() if where == edge)
            found.append(sum(here[a] * (members[b] - (a == b)) * count for (a, b), count in rules.items()))
        return max(found)

    def _places(self) -> Iterator[tuple[int, int, int]]:
        return map(self.place, range(self.endpoints))


@dataclass(frozen=True, slots=True)
class Standing:
    """Entries of the fullest edge and core switch, by table, and how long it took to have them.

    `seconds` are of processor time, to take up the sessions and make all entries of all switches.
    """

    edge: Counter[Table]
    core: Counter[Table]
    seconds: float


def stand(site: Layout) -> Standing:
    """Build the site in memory, and count."""
    store = MemoryStore()
    now = time.time()
    policy = PolicyInForce(parse_policy(_policy(site), "policy.yaml"), store, now)
    state = State(lambda: now, Records(), Fabric(parse_network(_network(site), "network.yaml")), policy, Limits())
    administrator = Administrator(state, store, store, _never)
    sessions = list(_sessions(site, state.fabric, now))
    started = time.process_time()
    administrator.restore(sessions)
    if len(state.sessions) != site.endpoints:
        raise ValueError(f"{len(state.sessions)} sessions of {site.endpoints} were taken up")
    found: dict[str, list[Counter[Table]]] = {"e": [], "c": []}
    for point in state.fabric.points.values():
        roles = {number: point.switch.role(number) for number in range(1, PORTS + CORES + site.edges + 1)}
        is_edge = point.switch.name.startswith("e")
        trunks = {number for number, role in roles.items() if role == "trunk"}
        point.standing = frozenset(trunks | set(range(1, PORTS + 1)) if is_edge else trunks)
        found[point.switch.name[0]].append(Counter(flow.table for flow in intended(state, point).values()))
    seconds = time.process_time() - started
    edge, core = (max(found[kind], key=Counter.total) for kind in "ec")
    return Standing(edge, core, seconds)


def _never(work: Coroutine[Any, Any, None]) -> None:
    """No switch is connected, so nothing has to be waited for."""
    work.close()


def _network(site: Layout) -> str:
    cards = max(Counter(site.place(index)[1:] for index in range(site.endpoints)).values())
    ports = {number: {"macs": cards} for number in range(1, PORTS + 1)} if cards > 1 else {}
    switches = {f"e{edge + 1}": {"ports": ports} for edge in range(site.edges)}
    switches |= {f"c{core + 1}": {} for core in range(CORES)}
    links = [
        [f"e{edge + 1}:{PORTS + 1 + core}", f"c{core + 1}:{edge + 1}"]
        for edge in range(site.edges)
        for core in range(CORES)
    ]
    return json.dumps({"switches": switches, "links": links})


def _policy(site: Layout) -> str:
    segments = {f"seg{number}": {"labels": {"segment": f"seg{number}"}} for number in range(site.segments)}
    rules = [
        {"id": f"r{n}", "from": [f"seg{one}"], "to": [f"seg{other}"], "services": [f"tcp/{1000 + n}"]}
        for n, (one, other) in enumerate(site.pairs())
    ]
    return json.dumps({"version": 1, "segments": segments, "rules": rules})


def _sessions(site: Layout, fabric: Fabric, now: float) -> Iterator[Session]:
    edges = [fabric.by_name[f"e{edge + 1}"].switch.dpid for edge in range(site.edges)]
    ends = now + LIFETIME
    proofs = []
    for number in range(site.segments):
        name, labels = f"seg{number}", (("segment", f"seg{number}"),)
        proofs.append(
            Proof("workload", name, "portal", now, ("pwd",), labels=labels, expires=ends, reauthenticate=ends)
        )
    for index in range(site.endpoints):
        segment, edge, port = site.place(index)
        yield Session(
            number=index + 1,
            principal=acting((proofs[segment],)),
            attachment=Attachment(edges[edge], port, 0, 0x0200_0A00_0000 | index + 1),
            addresses=((0x0A40_0000 + index + 1).to_bytes(4, "big"),),
            segment=f"seg{segment}",
            started=now,
            proofs=(proofs[segment],),
        )
