"""A site in memory with a large policy and many sessions, whose one switch reads what is written over loopback."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
import time
from collections.abc import Awaitable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fakes.records import MemoryStore, Records
from perf.topology import LIFETIME
from zethane.adapters.openflow import encode
from zethane.app.runtime import NEVER, YOUNG
from zethane.audit.reason import SessionEvent
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Attachment, Session
from zethane.network.load import parse_network
from zethane.pipeline.change import Change
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.service.administrator import Administrator
from zethane.service.points import Fabric
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.state import Limits, State
from zethane.service.switch import PortState

PORTS = 48
ADDRESS, MAC = 0x0A40_0000, 0x0200_0A00_0000
NETWORK = {"switches": {"s1": {"ports": {number: {"macs": 1024} for number in range(1, PORTS + 1)}}}}


class Wire:
    """What the administrator writes to: as bundles and flow-mods, over loopback, to somebody who reads it all."""

    def __init__(self, dpid: int) -> None:
        self.dpid = dpid
        self.flow_mods = self.octets = 0
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._out = socket.create_connection(listener.getsockname())
            reader, _ = listener.accept()
        self._reader = threading.Thread(target=_drain, args=(reader,), daemon=True)
        self._reader.start()

    def apply(self, changes: Sequence[Change]) -> None:
        """Changes one by one."""
        self.write(b"".join(encode.flow_mod(change, 1) for change in changes), len(changes))

    def commit(self, changes: Sequence[Change]) -> Awaitable[None]:
        """Changes as a bundle, as far as its commit."""
        adds = b"".join(encode.bundle_add(1, change, 1) for change in changes)
        self.write(encode.bundle_control(1, 0, 1) + adds + encode.bundle_control(1, 4, 1), len(changes))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    is_busy = False

    def bundle(self) -> OpenBundle:
        """A bundle that is written little by little."""
        return OpenBundle(self)

    def flush(self) -> None:
        """Everything is written at once."""

    def write(self, message: bytes, flow_mods: int) -> None:
        """Write messages with so many flow-mods."""
        self._out.sendall(message)
        self.flow_mods += flow_mods
        self.octets += len(message)

    def close(self) -> None:
        """End the connection."""
        self._out.close()
        self._reader.join(timeout=5.0)


def _drain(reader: socket.socket) -> None:
    with reader:
        while reader.recv(1 << 18):
            pass


class OpenBundle:
    """One that is written little by little, as far as its commit."""

    is_refused = False

    def __init__(self, wire: Wire) -> None:
        self.size = 0
        self._wire = wire
        wire.write(encode.bundle_control(1, 0, 1), 0)

    def add(self, changes: Sequence[Change]) -> None:
        """Changes more."""
        self.size += len(changes)
        bodies = encode.bodies.of(changes)
        self._wire.write(b"".join(encode.bundle_member(1, body, 1) for body in bodies), len(bodies))

    def commit(self) -> Awaitable[None]:
        """All of them take effect."""
        return self._wire.commit(())

    def discard(self) -> None:
        """None of them does."""
        self._wire.write(encode.bundle_control(1, 6, 1), 0)


class LargeSite:
    """One controller with a policy of plain values and as many sessions, spread over its segments."""

    def __init__(self, file: dict[str, Any], sessions: int) -> None:
        self.file = file
        self.now = time.time()
        self.store = MemoryStore()
        policy = PolicyInForce(read(file), self.store, self.now)
        fabric = Fabric(parse_network(json.dumps(NETWORK), "network.yaml"))
        self.state = State(lambda: self.now, Records(), fabric, policy, Limits())
        self.administrator = Administrator(self.state, self.store, self.store, self._spawn)
        (point,) = fabric.points.values()
        point.ports = {number: PortState(number, f"p{number}", up=True) for number in range(1, PORTS + 1)}
        self._segments = list(file["segments"])
        self.administrator.restore([self.session(number, point.switch.dpid) for number in range(1, sessions + 1)])
        if len(self.state.sessions) != sessions:
            raise ValueError(f"{len(self.state.sessions)} sessions of {sessions} were taken up")
        self.store.last = sessions
        self.wire = Wire(point.switch.dpid)
        point.channel, point.ready = self.wire, True  # type: ignore[assignment]  # as much of one as is used here

    def _spawn(self, work: Coroutine[Any, Any, None]) -> object:
        return asyncio.get_running_loop().create_task(work)

    def proof(self, number: int) -> Proof:
        """What the principal of a session has proved, without a second factor."""
        labels = (("segment", self._segments[number % len(self._segments)]),)
        ends = self.now + LIFETIME
        return Proof(
            "workload", f"w{number}", "portal", self.now, ("pwd",), labels=labels, expires=ends, reauthenticate=ends
        )

    def place(self, number: int, dpid: int) -> Attachment:
        """Where it is."""
        return Attachment(dpid, 1 + number % PORTS, 0, MAC | number)

    def session(self, number: int, dpid: int) -> Session:
        """One of those that are there."""
        proof = self.proof(number)
        return Session(
            number, acting((proof,)), self.place(number, dpid), (address(number),), "", self.now, proofs=(proof,)
        )

    def start(self, number: int) -> int:
        """Let one more begin; its number."""
        return self.administrator.start_session(
            self.place(number, self.wire.dpid), self.proof(number), address(number), None
        ).number

    def prove_more(self, number: int) -> None:
        """Let one prove a second factor: its class is another one where rules ask for that."""
        (proof,) = self.state.sessions.by_number[number].session.proofs
        proved = replace(proof, amr=("pwd", "otp"), aal=2, mfa_at=self.now)
        self.administrator.change_proof(number, proof, proved, SessionEvent.REAUTHENTICATED, "")

    def end(self, number: int) -> None:
        """Let one end."""
        self.administrator.end_session(number, SessionEvent.LOGOUT)


def read(file: dict[str, Any]) -> Policy:
    """The policy that plain values stand for."""
    return parse_policy(json.dumps(file), "policy.yaml")


def address(number: int) -> bytes:
    """The address of a session."""
    return (ADDRESS + number).to_bytes(4, "big")


def edited(file: dict[str, Any], count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each of so many rules the file with it changed, then with one more, then without that; then it asks for
    something, then not. What is as it was is the same object."""
    for place in _places(file["rules"], count):
        rule = {**file["rules"][place], "services": ["tcp/4001"]}
        changed = _with(file, place, rule)
        yield "changed", changed
        yield "added", _with(file, place, {**rule, "id": f"{rule['id']}-more"}, rule)
        yield "removed", changed
        yield "asking", _with(file, place, {**rule, "when": {"aal": 2}})
        yield "asked", changed
        file = changed


def _with(file: dict[str, Any], place: int, *rules: dict[str, Any]) -> dict[str, Any]:
    """The file with these rules in the place of one."""
    return {**file, "rules": [*file["rules"][:place], *rules, *file["rules"][place + 1 :]]}


def _places(rules: Sequence[dict[str, Any]], count: int) -> list[int]:
    """Where rules about segments are, from the middle of a file on: none about one's segments, as far as there are as
    many segments."""
    half = len(rules) // 2
    about = {place: {*rules[place]["from"], *rules[place]["to"]} for place in (*range(half, len(rules)), *range(half))}
    found: list[int] = []
    left: list[int] = []
    for place, segments in about.items():
        if "any" in segments:
            continue
        if any(segments & about[other] for other in found):
            left.append(place)
        else:
            found.append(place)
        if len(found) == count:
            break
    return [*found, *left][:count]


@contextmanager
def collected_as_in_the_controller() -> Iterator[None]:
    """Garbage is looked for as the controller does it: what is there is left alone."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, NEVER, NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
