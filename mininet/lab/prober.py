"""Drives one agent per host: starts them, has them serve, probes, and collects what arrived."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.errors import LabError
from lab.host import RunningHost
from lab.processes import stop
from lab.verdicts import Concerns, Observation, Probe, Verdict, all_addresses, judge, probes_of, sampled_ports
from zethane.policy.matrix import Cell
from zethane.policy.service import Service

DEADLINE = 2.5
"""Seconds that a probe may take: one lost packet is made up for, a flood of denied cells still ends soon."""
_AGENT_TIMEOUT = 120.0
_AGENT = "import sys; sys.path.insert(0, sys.argv[1]); import asyncio, lab.agent.main as m; asyncio.run(m.run())"


class Agent:
    """One agent process; questions may be asked from one thread, answers come as futures."""

    def __init__(self, host: RunningHost) -> None:
        self.name = host.name
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._next = 0
        folder = str(Path(__file__).resolve().parents[1])
        self._process: subprocess.Popen[bytes] = host.popen(
            [sys.executable, "-I", "-S", "-c", _AGENT, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read, name=f"agent {host.name}", daemon=True)
        self._reader.start()

    def ask(self, do: str, **arguments: Any) -> Future[dict[str, Any]]:
        """Send a command; the future brings the answer, or LabError."""
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            self._next += 1
            number = self._next
            self._waiting[number] = answer
        assert self._process.stdin is not None  # noqa: S101 - it was asked for as a pipe
        try:
            self._process.stdin.write(json.dumps({"id": number, "do": do} | arguments).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise LabError(f"the agent in {self.name} is gone: {error}") from None
        return answer

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for as a pipe
        for line in self._process.stdout:
            told = json.loads(line)
            with self._lock:
                answer = self._waiting.pop(told["id"])
            if "error" in told:
                answer.set_exception(LabError(f"the agent in {self.name} failed: {told['error']}"))
            else:
                answer.set_result(told)
        self._abandon()

    def _abandon(self) -> None:
        """The agent has ended: nobody may wait for it."""
        with self._lock:
            left, self._waiting = list(self._waiting.values()), {}
        for answer in left:
            answer.set_exception(LabError(f"the agent in {self.name} ended before it answered"))

    def close(self) -> None:
        """End the process and its reader."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.terminate()
        self._reader.join(5)
        stop(self._process)


class Prober:
    """The agents of all hosts; a context manager."""

    def __init__(
        self, hosts: Iterable[RunningHost], services: Sequence[Service], concerns: Concerns = all_addresses
    ) -> None:
        self.services = tuple(services)
        self._concerns = concerns
        self._hosts = tuple(hosts)
        self.addresses = {host.name: host.addresses for host in self._hosts}
        self._agents: dict[str, Agent] = {}

    def __enter__(self) -> Prober:
        try:
            for host in self._hosts:
                self._agents[host.name] = Agent(host)
            self._serve()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all agents."""
        for agent in self._agents.values():
            agent.close()
        self._agents.clear()

    def _serve(self) -> None:
        """Have every host serve all that will be asked for, so that silence is the network's."""
        wanted = sorted(
            {
                (service.proto, port)
                for service in self.services
                if service.proto != "icmp"
                for port in sampled_ports(service, self.services)
            }
        )
        asked = [
            (agent, agent.ask("serve", addresses=[str(ip) for ip in self.addresses[name]], services=wanted))
            for name, agent in self._agents.items()
        ]
        for agent, answer in asked:
            failed = _result(answer)["failed"]
            if failed:
                raise LabError(f"{agent.name} cannot serve {'; '.join(failed[:5])}")

    def observe(self, probes: Sequence[Probe], done: Callable[[], None] | None = None) -> list[Observation]:
        """Send all probes at once, as far as the agents allow, and wait for the answers. Raises LabError."""
        for answer in [agent.ask("forget") for agent in self._agents.values()]:
            _result(answer)
        asked = {number: self._ask(probe) for number, probe in _spread(probes)}
        if done is not None:
            for answer in asked.values():
                answer.add_done_callback(lambda _: done())
        answers = [_result(asked[number]) for number in range(len(probes))]
        seen = self._seen()
        return [
            Observation(probe, told["answered"], _key(probe) in seen, told["detail"])
            for probe, told in zip(probes, answers, strict=True)
        ]

    def _ask(self, probe: Probe) -> Future[dict[str, Any]]:
        return self._agents[probe.source].ask(
            "probe",
            proto=probe.proto,
            source=str(probe.source_address),
            target=str(probe.target_address),
            port=probe.port,
            timeout=DEADLINE,
        )

    def _seen(self) -> set[tuple[str, str, str, int]]:
        """Every opening packet that reached the host it was meant for."""
        asked = {name: agent.ask("seen") for name, agent in self._agents.items()}
        seen = set()
        for name, answer in asked.items():
            own = {str(ip) for ip in self.addresses[name]}
            seen |= {tuple(entry) for entry in _result(answer)["seen"] if entry[2] in own}
        return seen

    def count(self, cells: Sequence[Cell]) -> int:
        """How many probes `measure` will send for these cells."""
        return sum(len(self._probes_of(cell)) for cell in cells)

    def _probes_of(self, cell: Cell) -> tuple[Probe, ...]:
        return probes_of(cell, self.addresses, self.services, self._concerns)

    def measure(self, cells: Sequence[Cell], done: Callable[[], None] | None = None) -> list[Verdict]:
        """The verdicts on cells. `done` is called, from other threads, for every probe that is answered.

        A cell that is wrongly denied is asked once more and, if it is allowed then, marked as flaky; one that
        is wrongly allowed stays so.
        """
        probes = [self._probes_of(cell) for cell in cells]
        verdicts = self._judge(cells, probes, done)
        doubtful = [n for n, verdict in enumerate(verdicts) if verdict.mismatch and verdict.expected == "allow"]
        if doubtful:
            again = self._judge([cells[n] for n in doubtful], [probes[n] for n in doubtful], None)
            for number, verdict in zip(doubtful, again, strict=True):
                flaky = not verdict.mismatch
                verdicts[number] = Verdict(verdict.cell, verdict.observed, verdict.details, flaky)
        return verdicts

    def _judge(
        self,
        cells: Sequence[Cell],
        probes: Sequence[Sequence[Probe]],
        done: Callable[[], None] | None,
    ) -> list[Verdict]:
        flat = [probe for group in probes for probe in group]
        observations = iter(self.observe(flat, done))
        return [judge(cell, [next(observations) for _ in group]) for cell, group in zip(cells, probes, strict=True)]


def _spread(probes: Sequence[Probe]) -> list[tuple[int, Probe]]:
    """Numbered probes in an order in which no target is asked by all at the same time."""
    targets = sorted({probe.target for probe in probes})
    position = {name: number for number, name in enumerate(targets)}
    turn = {name: number for number, name in enumerate(sorted({probe.source for probe in probes}))}
    size = max(len(targets), 1)
    return sorted(enumerate(probes), key=lambda item: (position[item[1].target] - turn[item[1].source]) % size)


def _key(probe: Probe) -> tuple[str, str, str, int]:
    return probe.proto, str(probe.source_address), str(probe.target_address), probe.port


def _result(answer: Future[dict[str, Any]]) -> Mapping[str, Any]:
    try:
        return answer.result(_AGENT_TIMEOUT)
    except FutureTimeoutError:
        raise LabError(f"an agent did not answer within {_AGENT_TIMEOUT:g} s") from None
