"""Plays a scenario's steps on a running network, and notes what the captures and the decision log say of each."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from attack.namespace import inside
from attack.scenario import NotHereError
from lab.agent.packets import NONCE, UDP_ANSWER, UDP_REQUEST
from lab.errors import LabError
from lab.network import PORTAL
from lab.processes import wait_for
from replay.craft import frame, octets, scan_packet
from replay.evidence import Evidence, History, body, matching, same
from replay.ground import Ground
from replay.scenario import Attempt, Scenario, Step, texts
from zethane.audit.record import connection
from zethane.document.duration import seconds
from zethane.net.flowkey import FlowKey, parse_frame
from zethane.net.mac import format_mac
from zethane.policy.service import PROTOCOLS

PATIENCE = 1.5
"""Seconds that a connection gets: a lost SYN is sent again after one."""
LONG_PATIENCE = 8.0
"""The same for one that is expected to be answered: a busy machine takes its time, and nothing is proved by haste."""
TOLD = 5.0
"""Seconds within which the decision log has what a step is expected to have caused."""
GAP = 0.002
"""Seconds between crafted packets: 500 a second are no flood to a switch that meters its ports."""
TURN = 0.1
"""Seconds before a packet from another cable than the last: an answer comes when what it answers has arrived."""
PARALLEL = 16
_CHUNK = 1400


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt.

    `sent` is how many of its packets came out of the sender's cable, `arrived` how many reached which host. `answered`
    is of real connections alone. `told` is what the decision log says: allow or deny, with the rule or the reason.
    """

    attempt: Attempt
    sent: int
    arrived: Mapping[str, int]
    answered: bool | None = None
    detail: str = ""
    told: tuple[str, ...] = ()
    rules: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()

    @property
    def reached(self) -> int:
        """How many packets arrived anywhere."""
        return sum(self.arrived.values())


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step and what came of it. `fault` says why it could not be done as the file says; empty for no fault."""

    step: Step
    outcomes: tuple[Outcome, ...] = ()
    fault: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class _Sent:
    """An attempt under way."""

    wanted: Callable[[bytes], bool]
    key: FlowKey | None
    card: str = ""
    answered: bool | None = None
    detail: str = ""
    bodies: list[bytes] = field(default_factory=list)


class Player:
    """Plays the steps of one scenario."""

    def __init__(self, ground: Ground, scenario: Scenario, set_clock: Callable[[str], None]) -> None:
        self.history = History(ground.owner, None if ground.protected else ground.card_bytes)
        self._ground = ground
        self._scenario = scenario
        self._set_clock = set_clock

    def play(self, step: Step) -> StepResult:
        """Play one step."""
        started = time.monotonic()
        since = self._ground.log_size()
        fault = ""
        under_way: dict[Attempt, _Sent] = {}
        try:
            under_way = self._do(step)
        except (LabError, NotHereError, LookupError, OSError) as error:
            fault = str(error)
        evidence = self._ground.collect()
        self.history.add(evidence, step.number)
        if evidence.missed:
            fault = fault or f"captures missed {evidence.missed} frames"
        told = self._told(step, since, under_way)
        outcomes = tuple(self._outcome(attempt, one, evidence, told) for attempt, one in under_way.items())
        return StepResult(step, outcomes, fault, time.monotonic() - started)

    def _do(self, step: Step) -> dict[Attempt, _Sent]:
        file = step.file
        match file.action:
            case "flow":
                return self._flows(step)
            case "scan":
                return self._packets(step)
            case "packets":
                with self._ground.still(self._involved(step)):
                    return self._packets(step)
            case "wait":
                time.sleep(seconds(file.wait or "1s"))
            case "at":
                self._set_clock(file.at or "")
            case action if self._ground.protected:
                self._session(action, file)
        return {}

    def _session(self, action: str, file: Any) -> None:
        """Without Zethane there are no sessions: nothing of this means anything there."""
        ground = self._ground
        for name in texts(getattr(file, action)):
            match action:
                case "login":
                    ground.log_in(name)
                case "logout":
                    ground.network.logout(name)
                case "revoke":
                    session = ground.sessions.get(name)
                    if session is None:
                        raise LabError(f"{name} has not logged in")
                    ground.api("DELETE", f"/sessions/{session.session}")
                case "block":
                    ground.api("POST", "/blocks", account=name, reason="scenario")
                case _:
                    ground.api("DELETE", f"/blocks/{name}")
        ground.settle()  # a barrier's reply comes some ms before the last packet

    # Real connections

    def _flows(self, step: Step) -> dict[Attempt, _Sent]:
        file = step.file.flow
        assert file is not None  # noqa: S101 - its action is flow
        payload = octets(file.payload)
        found = {attempt: self._flow(attempt, file.version) for attempt in step.attempts}
        with ExitStack() as stack:
            # Who has broken in needs nobody to tell them a card's address: ARP alone must not be what holds.
            for source, targets in self._peers(step.attempts).items():
                stack.enter_context(self._ground.knowing(source, *targets))
            answers = self._try(step, found, payload, file.version)
        for attempt, (answered, detail) in answers.items():
            found[attempt].answered, found[attempt].detail = answered, detail
        return found

    def _peers(self, attempts: Sequence[Attempt]) -> dict[str, list[str]]:
        """Whose cards each cable's host sends to."""
        found: dict[str, set[str]] = {}
        for attempt in attempts:
            source, target = self._ground.cable(attempt.source), self._ground.carrier(attempt.target)
            if target is not None and target != source:
                found.setdefault(source, set()).add(target)
        return {source: sorted(targets) for source, targets in found.items()}

    def _try(
        self, step: Step, found: Mapping[Attempt, _Sent], payload: bytes, version: int
    ) -> dict[Attempt, tuple[bool, str]]:
        """Connect all at once; whether each was answered, and in a word how it went."""
        times = {one: LONG_PATIENCE if step.expected[one] == "allow" else PATIENCE for one in step.attempts}
        if payload:
            with ThreadPoolExecutor(PARALLEL) as pool:
                made = {
                    one: pool.submit(self._carry, one, found[one], payload, version, limit)
                    for one, limit in times.items()
                }
            return {one: future.result() for one, future in made.items()}
        asked = {one: self._probe(one, version, limit) for one, limit in times.items()}
        told = {one: answer.result(times[one] + 30) for one, answer in asked.items()}
        return {one: (bool(answer["answered"]), str(answer["detail"])) for one, answer in told.items()}

    def _flow(self, attempt: Attempt, version: int) -> _Sent:
        service = attempt.service
        assert service is not None  # noqa: S101 - a flow's attempts have one
        source = socket.inet_pton(_family(version), self._ground.address(attempt.source, version))
        target = socket.inet_pton(_family(version), self._ground.address(attempt.target, version))
        proto = PROTOCOLS[service.proto][1 if service.proto == "icmp" and version == 6 else 0]
        key = FlowKey(source, target, proto, 8 if service.proto == "icmp" else 0, service.low)
        wanted = matching([key]) if service.proto != "icmp" else _echo(key)
        return _Sent(wanted, key)

    def _probe(self, attempt: Attempt, version: int, limit: float) -> Any:
        service = attempt.service
        assert service is not None  # noqa: S101 - a flow's attempts have one
        source, target = (self._ground.address(name, version) for name in (attempt.source, attempt.target))
        asked = {"proto": service.proto, "source": source, "target": target, "port": service.low}
        return self._ground.ask(attempt.source, **asked, timeout=limit)

    def _carry(self, attempt: Attempt, sent: _Sent, payload: bytes, version: int, limit: float) -> tuple[bool, str]:
        """A connection that carries something: it has, if the service has answered first."""
        service, key = attempt.service, sent.key
        assert service is not None  # noqa: S101 - a flow's attempts have one
        assert key is not None  # noqa: S101 - a flow has one
        source, target = (self._ground.address(name, version) for name in (attempt.source, attempt.target))
        kind = socket.SOCK_STREAM if service.proto == "tcp" else socket.SOCK_DGRAM

        def carry() -> tuple[bool, str]:
            with socket.socket(_family(version), kind) as made:
                made.settimeout(limit)
                made.bind((source, 0))
                try:
                    made.connect((target, service.low))
                    return _exchange(made, payload)
                except OSError as error:
                    return False, error.strerror or "timeout"

        return inside(self._ground.host(attempt.source).pid, carry)

    # Crafted packets

    def _involved(self, step: Step) -> set[str]:
        """The hosts between which packets go: their kernels know nothing of the conversations that are made up here."""
        named = {name for attempt in step.attempts for name in (attempt.source, attempt.target)}
        carriers = {self._ground.carrier(name) for name in named}
        return {name for name in carriers if name is not None and name != PORTAL}

    def _packets(self, step: Step) -> dict[Attempt, _Sent]:
        """Frames on the cables of their senders, in the order of the file."""
        found: dict[Attempt, _Sent] = {}
        scan, last = step.file.scan, None
        for number, attempt in enumerate(step.attempts):
            packet = attempt.packet or (scan_packet(scan, attempt, number) if scan else None)
            assert packet is not None  # noqa: S101 - either it is a packet's or a scan's
            made = frame(packet, self._ground.book)
            parsed = parse_frame(made)
            if attempt not in found:
                found[attempt] = _Sent(
                    same(()), parsed.key if parsed else None, format_mac(int.from_bytes(made[6:12], "big"))
                )
            found[attempt].bodies.append(body(made))
            cable = self._ground.cable(attempt.source)
            if last not in (None, cable):
                time.sleep(TURN)
            tap, last = self._ground.tap(cable), cable
            for _ in range(packet.count):
                tap.send([made])
                time.sleep(GAP)
        for sent in found.values():
            sent.wanted = same(sent.bodies)
        return found

    # What came of it

    def _outcome(self, attempt: Attempt, sent: _Sent, evidence: Evidence, told: Sequence[Mapping[str, Any]]) -> Outcome:
        cable = self._ground.cable(attempt.source)
        left = sum(sent.wanted(one) for _, one in evidence.sent.get(cable, ()))
        arrived = evidence.arrivals(sent.wanted, cable)
        records = [record for record in told if _is_about(record, sent)]
        return Outcome(
            attempt,
            left,
            dict(arrived),
            sent.answered,
            sent.detail,
            tuple(f"{text} x{count}" for text, count in Counter(map(_record_text, records)).items()),
            frozenset(str(one["rule"]) for one in records if one.get("rule") and one["decision"] == "allow"),
            frozenset(str(one["reason"]) for one in records if one["decision"] == "deny"),
        )

    def _told(self, step: Step, since: int, sent: Mapping[Attempt, _Sent]) -> list[Mapping[str, Any]]:
        """The decisions about a step's attempts. The log is written by a thread: what is expected is waited for."""

        def decisions() -> list[Mapping[str, Any]]:
            return [record for record in self._ground.records(since) if record["event"] == "decision"]

        def enough() -> list[Mapping[str, Any]] | None:
            found = decisions()
            about = [record for record in found if any(_is_about(record, one) for one in sent.values())]
            rules = {record.get("rule") for record in about if record["decision"] == "allow"}
            reasons = {record["reason"] for record in about if record["decision"] == "deny"}
            good = (step.rule is None or step.rule in rules) and (step.reason is None or step.reason in reasons)
            return found if good else None

        if not self._ground.protected or not sent:
            return []
        try:
            return wait_for("The decision log has nothing of it", enough, TOLD, str)
        except LabError:
            return decisions()


def _family(version: int) -> socket.AddressFamily:
    return socket.AF_INET6 if version == 6 else socket.AF_INET


def _echo(key: FlowKey) -> Callable[[bytes], bool]:
    wanted = key._replace(sport=8, dport=0)

    def matches(one: bytes) -> bool:
        packet = parse_frame(one)
        return packet is not None and packet.key == wanted

    return matches


def _exchange(made: socket.socket, payload: bytes) -> tuple[bool, str]:
    """Ask as the lab's services expect it, and send the payload as well; whether the service has answered."""
    nonce = os.urandom(NONCE)
    if made.type == socket.SOCK_STREAM:
        made.sendall(nonce)
        answer = made.recv(NONCE, socket.MSG_WAITALL)
        # The service closes behind its answer: with the payload unread before it, that would reset the connection, and
        # the answer would be lost. What arrives of the payload the captures tell.
        with suppress(ConnectionError):
            made.sendall(payload)
        return answer == nonce[::-1], "answered"
    for start in range(0, len(payload), _CHUNK):
        made.send(payload[start : start + _CHUNK])
    made.send(UDP_REQUEST + nonce)
    return made.recv(2048) == UDP_ANSWER + nonce, "answered"


def _is_about(record: Mapping[str, Any], sent: _Sent) -> bool:
    """Whether a decision is about a packet of an attempt; a frame that has no key is known by its card alone."""
    key = sent.key
    if key is None:
        return record["protocol"] in (None, "arp") and record["mac"] == sent.card
    wanted = connection(key)
    if key.sport == 0:
        wanted.pop("source_port")
    return all(record.get(name) == value for name, value in wanted.items())


def _record_text(record: Mapping[str, Any]) -> str:
    what = record["rule"] if record["decision"] == "allow" else record["reason"]
    return f"{record['decision']} {what}"
