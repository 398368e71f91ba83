"""Reads a scenario: its file, held against its topology, with every attempt that its steps make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path

from replay.scenario import Answer, Attempt, Containment, Scenario, Step, texts
from replay.schema import MAX_STEPS, ExpectFile, FlowFile, PacketFile, ScanFile, ScenarioFile, StepFile
from zethane.app.files import read_text
from zethane.app.topology import POLICY_FILE, Topology, load_topology
from zethane.document import Document, Findings, closest, parse, quote
from zethane.errors import InputError, Problem
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.schema import PolicyFile
from zethane.policy.service import Service

MAX_ATTEMPTS = 5000
"""Connections or packets of one step."""
MAX_FLOWS = 200
"""Real connections of one step: each of those that nobody answers takes its time."""

OUTSIDE, ANY = "outside", "any"
"""Whoever is behind an uplink; everybody."""


def load_scenario(path: Path) -> Scenario:
    """Read a scenario and its topology. Raises InputError with everything that is wrong in whichever is wrong first."""
    return parse_scenario(read_text(path), path)


def parse_scenario(text: str, path: Path) -> Scenario:
    """The same for the text of a file: what it names is looked for from the folder of `path`."""
    document = parse(text, str(path), ScenarioFile)
    folder = path.parent / document.value.topology
    topology = load_topology(folder)
    policy_file = path.parent / document.value.policy if document.value.policy else folder / POLICY_FILE
    policy_text = read_text(policy_file)
    policy = parse_policy(policy_text, str(policy_file))
    topology = Topology(folder, policy, topology.directory, topology.network, topology.sources)
    if errors := topology.check().errors:
        raise InputError(errors)
    if topology.network is None:
        raise InputError([Problem(str(folder), "expected a network.yaml: a scenario is played in a lab")])
    findings = Findings(document)
    reader = _Reader(document, topology, findings)
    steps = tuple(reader.steps())
    contained = tuple(reader.contained())
    logins = reader.logins()
    findings.raise_any()
    return Scenario(
        path, document, topology, parse(policy_text, str(policy_file), PolicyFile), steps, contained, logins
    )


class _Reader:
    """Reads the parts of a scenario and notes what does not fit its topology."""

    def __init__(self, document: Document[ScenarioFile], topology: Topology, findings: Findings) -> None:
        self._file = document.value
        self._topology = topology
        self._policy: Policy = topology.policy
        self._findings = findings
        network = topology.network
        self._servers = frozenset(network.infrastructure) if network else frozenset()
        self._routers = frozenset(network.uplinks) if network else frozenset()
        self._inside = frozenset(topology.hosts)
        self._outside = frozenset(topology.external_hosts)
        self._known = self._inside | self._outside | self._servers | self._routers

    def logins(self) -> tuple[str, ...] | None:
        """Who logs in first; None for all that can."""
        if self._file.login is not None:
            for index, name in enumerate(self._file.login):
                self._loginable(name, "login", index)
        return self._file.login

    def _loginable(self, name: str, *path: str | int) -> None:
        host = self._topology.hosts.get(name)
        if host is None:
            self._findings.add(f"no host is named {quote(name)}{closest(name, self._inside)}", *path)
        elif host.login is None:
            self._findings.add(f"expected a host that can log in; {name} has no login in network.yaml", *path)

    # Steps

    def steps(self) -> Iterator[Step]:
        """The steps with their attempts."""
        for index, file in enumerate(self._file.steps):
            path = ("steps", index, file.action)
            if file.flow is not None:
                self._openers(file.flow, path)
                yield self._step(index, file, list(self._pairs(file.flow, path, MAX_FLOWS)))
            elif file.scan is not None:
                yield self._step(index, file, list(self._pairs(file.scan, path, MAX_ATTEMPTS)))
            elif file.packets is not None:
                packets = enumerate(file.packets)
                yield self._step(index, file, [self._packet(one, (*path, number)) for number, one in packets])
            else:
                self._named(file, path)
                yield Step(index + 1, file)

    def _openers(self, file: FlowFile, path: tuple[str | int, ...]) -> None:
        """Find senders of connections that have nobody to open them."""
        for place, name in self._places(file.from_, (*path, "from")):
            if name in self._servers | self._routers:
                self._findings.add(f"expected packets or a scan: {name} opens no connections by itself", *place)

    def _named(self, file: StepFile, path: tuple[str | int, ...]) -> None:
        for value in (file.login, file.logout, file.revoke):
            for place, name in self._places(value, path):
                self._loginable(name, *place)

    @staticmethod
    def _places(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Each text of a text or a list, with where it stands."""
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, tuple):
            for index, name in enumerate(value):
                yield (*path, index), name

    def _pairs(self, file: FlowFile | ScanFile, path: tuple[str | int, ...], most: int) -> Iterator[Attempt]:
        sources = [name for place, name in self._places(file.from_, (*path, "from")) if self._sender(name, place)]
        targets = [name for place, name in self._places(file.to, (*path, "to")) if self._receiver(name, place)]
        services = list(self._services(file, path))
        pairs = [(source, target) for source in sources for target in targets if source != target]
        if len(pairs) * len(services) > most:
            self._findings.add(f"expected at most {most} attempts, found {len(pairs) * len(services)}", *path)
            return
        for source, target in pairs:
            for service in services:
                yield Attempt(source, target, str(service), service)

    def _services(self, file: FlowFile | ScanFile, path: tuple[str | int, ...]) -> Iterator[Service]:
        """Single ports: those of ranges one by one."""
        for place, text in self._places(file.service, (*path, "service")):
            named = self._policy.services.get(text)
            try:
                found = named.services if named is not None else (Service.parse(text),)
            except ValueError as error:
                near = closest(text, self._policy.services)
                self._findings.add(f"{error}, or a name from the policy's services; found {quote(text)}{near}", *place)
                continue
            for service in found:
                allowed = ("tcp", "udp", "icmp", "sctp") if isinstance(file, FlowFile) else ("tcp", "udp", "icmp")
                if service.proto not in allowed or (service.whole and service.proto != "icmp"):
                    self._findings.add(f"expected ports of {', '.join(allowed)}, or icmp", *place)
                elif service.proto == "icmp":
                    yield service
                else:
                    ports = range(service.low, min(service.high, service.low + MAX_ATTEMPTS) + 1)
                    yield from (Service(service.proto, port, port) for port in ports)
        if isinstance(file, FlowFile) and file.payload and "icmp" in texts(file.service):
            self._findings.add("expected tcp or udp with a payload; packets may carry one in icmp", *path, "payload")

    def _sender(self, name: str, path: tuple[str | int, ...]) -> bool:
        if name in self._known:
            return True
        self._findings.add(f"no host is named {quote(name)}{closest(name, self._known)}", *path)
        return False

    def _receiver(self, name: str, path: tuple[str | int, ...]) -> bool:
        return _is_address(name) or self._sender(name, path)

    def _packet(self, file: PacketFile, path: tuple[str | int, ...]) -> Attempt:
        self._sender(file.from_, (*path, "from"))
        self._receiver(file.to, (*path, "to"))
        names = {
            ("ether", "src"): file.ether.src,
            ("ether", "dst"): file.ether.dst,
            ("ip", "src"): file.ip.src,
            ("ip", "dst"): file.ip.dst,
        }
        if file.arp is not None:
            names |= {("arp", key): getattr(file.arp, key) for key in ("sha", "spa", "tha", "tpa")}
        for place, name in names.items():
            if name is not None and not _is_mac(name):
                self._receiver(name, (*path, *place))
        version = 4 if file.arp is not None else file.version
        addresses = {"to": file.to, "ip.src": file.ip.src, "ip.dst": file.ip.dst}
        for key, name in addresses.items():
            if name is not None and _is_address(name) and ip_address(name).version != version:
                self._findings.add(f"expected an IPv{version} address, found {quote(name)}", *path, *key.split("."))
        return Attempt(file.from_, file.to, _what(file), _service(file), file)

    def _step(self, index: int, file: StepFile, attempts: list[Attempt]) -> Step:
        expect = file.expect
        if not isinstance(expect, ExpectFile):
            answer: Answer = expect or "deny"
            return Step(index + 1, file, tuple(attempts), dict.fromkeys(attempts, answer))
        reason = None if expect.reason is None else expect.reason.value
        if expect.only is None:
            expected: dict[Attempt, Answer] = dict.fromkeys(attempts, expect.decision or "deny")
        else:
            named = {" ".join(text.replace("->", " -> ").split()): n for n, text in enumerate(expect.only)}
            known = {str(attempt) for attempt in attempts}
            for text, number in named.items():
                if text not in known:
                    message = f"expected an attempt of this step, found {quote(text)}{closest(text, known)}"
                    self._findings.add(message, "steps", index, "expect", "only", number)
            expected = {attempt: "allow" if str(attempt) in named else "deny" for attempt in attempts}
        if expect.rule is not None and expect.rule not in {rule.id for rule in self._policy.rules}:
            near = closest(expect.rule, [rule.id for rule in self._policy.rules])
            self._findings.add(f"no rule is named {quote(expect.rule)}{near}", "steps", index, "expect", "rule")
        return Step(index + 1, file, tuple(attempts), expected, expect.rule, reason)

    # Containment

    def contained(self) -> Iterator[Containment]:
        """The statements, with segments as their hosts."""
        for index, file in enumerate(self._file.contained):
            path = ("contained", index)
            sources = self._parties(file.from_, (*path, "from"))
            if file.never is not None:
                never = self._parties(file.never, (*path, "never"))
                who = "nobody" if file.from_ == ANY else f"nothing of {_listed(file.from_)}"
                text = f"{who} reached {_listed(file.never)}"
            else:
                only = self._parties(file.only, (*path, "only"))
                never = self._known - only
                text = f"{_listed(file.from_)} reached {f'{_listed(file.only)} alone' if file.only else 'nobody'}"
            after, before = (self._numbered(name, path) for name in (file.after, file.before))
            text += "".join(
                f", {word} “{name}”" for word, name in (("after", file.after), ("before", file.before)) if name
            )
            yield Containment(text, sources, never, (after or 0) + 1, (before or MAX_STEPS + 1) - 1)

    def _numbered(self, name: str | None, path: tuple[str | int, ...]) -> int | None:
        """The number of the step of this name."""
        named = {step.name: number for number, step in enumerate(self._file.steps, 1) if step.name}
        if name is not None and name not in named:
            self._findings.add(f"no step is named {quote(name)}{closest(name, named)}", *path)
        return named.get(name) if name is not None else None

    def _parties(self, value: object, path: tuple[str | int, ...]) -> frozenset[str]:
        found: set[str] = set()
        for place, name in self._places(value, path):
            found |= self._party(name, place)
        return frozenset(found)

    def _party(self, name: str, path: tuple[str | int, ...]) -> frozenset[str]:
        """The hosts that a name means: a host goes before a segment of the same name."""
        if name == ANY:
            return self._known
        if name == OUTSIDE:
            return self._outside | self._routers
        if name in self._known:
            return frozenset((name,))
        if name in self._policy.segments:
            members = self._topology.principals().items()
            segments_of = self._policy.segments_of
            return frozenset(host for host, who in members if who is not None and name in segments_of(who))
        known = (*self._known, *self._policy.segments, OUTSIDE, ANY)
        self._findings.add(f"no host or segment is named {quote(name)}{closest(name, known)}", *path)
        return frozenset()


def _listed(value: object) -> str:
    return ", ".join(texts(value)) if value else ""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_mac(text: str) -> bool:
    return len(text) == 17 and text.count(":") == 5


def _what(file: PacketFile) -> str:
    """What a crafted packet is, in a word or two."""
    if file.tcp is not None:
        return f"tcp/{file.tcp.dport}"
    if file.udp is not None:
        return f"udp/{file.udp.dport}"
    if file.icmp is not None:
        return "icmp" if file.icmp.kind == "echo" else f"icmp:{file.icmp.kind or file.icmp.type}"
    if file.arp is not None:
        return f"arp:{file.arp.op}"
    return f"ip:{file.ip.proto if file.ip.proto is not None else 253}"


def _service(file: PacketFile) -> Service | None:
    """The service that somebody would have to listen at."""
    if file.tcp is not None and file.tcp.dport:
        return Service("tcp", file.tcp.dport, file.tcp.dport)
    if file.udp is not None and file.udp.dport:
        return Service("udp", file.udp.dport, file.udp.dport)
    return None


def scenario_files(paths: Iterable[Path]) -> list[Path]:
    """These files, and those in these folders that end in .yaml. Raises InputError for what is neither."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.yaml"))
            if not inside:
                raise InputError([Problem(str(path), "expected scenarios, files that end in .yaml")])
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise InputError([Problem(str(path), "expected the file of a scenario, or a folder of them")])
    return found
