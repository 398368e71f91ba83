"""Who plays which part in a topology: worked out from its policy, so that any topology can be attacked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from attack.scenario import NotHereError
from zethane.app.topology import Topology
from zethane.policy.matrix import Cell, matrix

_DISCARD = 9
"""The port to use where all are allowed (RFC 863)."""


@dataclass(frozen=True, slots=True)
class Permit:
    """A pair of hosts and a service that a rule lets the first open to the second; port 0 for ICMP."""

    source: str
    target: str
    proto: str
    port: int


@dataclass(frozen=True, slots=True)
class Cast:
    """The parts.

    `client` may open `service` to `server`; they are the honest ones. `insider` is logged in and may do little; the
    insider may open nothing to the `victim`, which is logged in as well. `stranger` never logs in.
    `passwords_only` are the hosts that log in without a second factor.
    """

    client: str
    server: str
    service: Permit
    insider: str
    victim: str
    stranger: str
    permits: tuple[Permit, ...]
    passwords_only: frozenset[str] = frozenset()

    def permit(self, proto: str, *, source: str | None = None, password_only: bool = False) -> Permit:
        """A permitted pair, the honest ones first. Raises NotHereError.

        With `password_only`, the first of them may log in again at once: a one-time code would have to be waited for.
        """
        for permit in self.permits:
            fits = not password_only or permit.source in self.passwords_only
            if permit.proto == proto and source in (None, permit.source) and fits:
                return permit
        who = f"{source} may open to nobody" if source else "no such host may open to another"
        raise NotHereError(f"{who} over {proto}")

    def denied(self, source: str, target: str, proto: str, port: int = 0) -> bool:
        """Whether no rule lets `source` open this to `target`."""
        return Permit(source, target, proto, port) not in self.permits


def choose(topology: Topology) -> Cast:
    """The cast of a topology. Raises NotHereError for a topology with too few hosts or rules.

    Who is behind a tag has no part: the legacy switch there takes what a host sends apart before Zethane sees it, and
    without Zethane it keeps the host apart from the others.
    """
    hosts = [name for name, host in topology.hosts.items() if not host.vlan]
    cells = matrix(topology.policy, {name: who for name, who in topology.principals().items() if name in hosts})
    permits = [permit for cell in cells if cell.decision.allowed for permit in _permits(cell)]
    strangers = [name for name in hosts if topology.hosts[name].login is None]
    if not strangers:
        raise NotHereError("every host logs in: there is no stranger")
    service = _service(topology, permits)
    others = [name for name in hosts if name not in (*strangers, service.source, service.target)]
    insider = _insider(others, service.target, permits)
    candidates = [name for name in hosts if name not in (*strangers, insider)]
    victim = _victim(topology, candidates, others, insider, permits)
    honest = (service.source, service.target)
    ordered = sorted(permits, key=lambda permit: (permit.source, permit.target) != honest)
    hosts_in = ((name, host.login) for name, host in topology.hosts.items())
    passwords_only = frozenset(name for name, who in hosts_in if who and who.via == "portal" and not who.totp)
    return Cast(service.source, service.target, service, insider, victim, strangers[0], tuple(ordered), passwords_only)


def _permits(cell: Cell) -> Iterable[Permit]:
    service = cell.service
    if service.proto == "icmp":
        yield Permit(cell.source, cell.target, "icmp", 0)
    else:
        yield Permit(cell.source, cell.target, service.proto, _DISCARD if service.whole else service.low)


def _service(topology: Topology, permits: Sequence[Permit]) -> Permit:
    """A TCP service, best between hosts of different switches that may also use UDP and ping."""

    def merit(permit: Permit) -> tuple[int, bool]:
        protos = {one.proto for one in permits if (one.source, one.target) == (permit.source, permit.target)}
        apart = topology.hosts[permit.source].switch != topology.hosts[permit.target].switch
        return len(protos), apart

    offered = [permit for permit in permits if permit.proto == "tcp"]
    if not offered:
        raise NotHereError("no rule allows a TCP service between two hosts")
    return max(offered, key=merit)


def _insider(others: Sequence[str], server: str, permits: Sequence[Permit]) -> str:
    """Who may open something, but as little as possible; best something to the server."""
    rights = {name: [permit for permit in permits if permit.source == name] for name in others}
    able = [name for name in others if rights[name]]
    if not able:
        raise NotHereError("nobody but the client may open anything: there is no insider")
    return min(able, key=lambda name: (all(permit.target != server for permit in rights[name]), len(rights[name])))


def _victim(
    topology: Topology, candidates: Sequence[str], others: Sequence[str], insider: str, permits: Sequence[Permit]
) -> str:
    """Whom the insider may not reach; best a third party: a server elsewhere that may not reach the insider either."""
    reached = {permit.target for permit in permits if permit.source == insider}
    reaching = {permit.source for permit in permits if permit.target == insider}
    apart = [name for name in candidates if name not in reached]
    if not apart:
        raise NotHereError(f"{insider} may reach every host: there is no victim")
    served = {permit.target for permit in permits}
    here = topology.hosts[insider].switch

    def merit(name: str) -> tuple[bool, bool, bool, bool]:
        return name in others, name not in reaching, name in served, topology.hosts[name].switch != here

    return max(apart, key=merit)
