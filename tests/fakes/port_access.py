"""A site whose ports authenticate hosts below IP, with a RADIUS server whose answers the test gives."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fakes.eapol import answers
from fakes.frames import Host
from fakes.records import MemoryStore, Records
from fakes.site import Site
from zethane.audit.reason import LoginRefusal, SessionEvent
from zethane.identity.directory import Directory, parse_identities
from zethane.identity.proof import Proof
from zethane.identity.session import Attachment, Session
from zethane.identity.sources.file import parse_sources
from zethane.net.eapol import Eap, parse_frame, success
from zethane.service.administrator import Administrator
from zethane.service.dot1x import PortAccess
from zethane.service.dot1x_proof import Prover
from zethane.service.dot1x_sessions import AccessSessions
from zethane.service.eap_exchange import Timers
from zethane.service.radius import AccessReply, AccessRequest, RadiusError

NETWORK = """
switches:
  s1:
    ports:
      2: {dot1x: true}
      3: {dot1x: true, mab: true, macs: 3}
      4: {mab: true}
      5: {dot1x: true, vlans: [20, 30]}
      6: {}
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
"""

POLICY = """
version: 1
segments:
  staff: {groups: [staff]}
  printers: {labels: {kind: printer}}
  guests: {groups: [guests], vlan: 20}
rules:
  - {id: print, from: [staff], to: [printers], services: [tcp/631]}
"""

IDENTITIES = """
users: {alice: {groups: [staff]}, eve: {groups: [staff], disabled: true}}
devices:
  printer: {mac: "02:00:00:00:00:22", labels: {kind: printer}}
  scanner: {mac: "02:00:00:00:00:23", labels: {kind: printer}, disabled: true}
  alice-laptop: {groups: [staff], dns: laptop.example.org}
"""

SOURCES = """
radius:
  servers: {main: {host: 127.0.0.1, secret: shared}}
  labels: {"print-vlan": {kind: printer}}
"""

TIMERS = Timers(tx_period=30, quiet_period=60, max_requests=2)


def reply(code: str, eap: bytes | None = None, **changes: Any) -> AccessReply:
    found = AccessReply(
        code,  # type: ignore[arg-type]
        "main", eap, None, None, (), None, None, "default", None, (),
    )  # fmt: skip
    return replace(found, **changes)


def accept(identifier: int = 9, user: str | None = "alice", **changes: Any) -> AccessReply:
    return reply("accept", success(identifier), user_name=user, **changes)


@dataclass
class Asked:
    """A question to the server, which waits for its answer."""

    request: AccessRequest
    answer: asyncio.Future[AccessReply]


class FakeRadius:
    """Implements `RadiusClient`."""

    def __init__(self) -> None:
        self.asked: deque[Asked] = deque()

    def leave(self) -> None:
        """It answers nothing more."""
        for asked in self.asked:
            asked.answer.set_exception(RadiusError("away", LoginRefusal.NOT_ANSWERED))

    async def authenticate(self, request: AccessRequest) -> AccessReply:
        asked = Asked(request, asyncio.get_running_loop().create_future())
        self.asked.append(asked)
        return await asked.answer


class WatchedRecords(Records):
    """Records that tell the authenticator of sessions, as the journal does."""

    access: PortAccess | None = None

    def session(self, event: SessionEvent, session: Session, detail: str, now: float) -> None:
        self.calls.append(("session", (event, session, detail, now)))
        if self.access is not None:
            self.access.session_event(event, session, detail, now)


class Facade:
    """What the authenticator knows of the running controller, over a site's administrator."""

    def __init__(self, admin: Administrator, directory: Directory) -> None:
        self._admin = admin
        self._directory = directory

    def start_session(self, attachment: Attachment, proof: Proof, address: bytes | None = None) -> Session:
        return self._admin.start_session(attachment, proof, address, self._directory.device_at(attachment.mac))

    def session_of(self, attachment: Attachment) -> Session | None:
        live = self._admin.state.sessions.at(attachment)
        return live.session if live else None

    def end_session(self, number: int, reason: SessionEvent) -> bool:
        return self._admin.end_session(number, reason)

    def change_proof(
        self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent, detail: str = ""
    ) -> bool:
        return self._admin.change_proof(number, proof, changed, reason, detail)


def authenticate_at(
    site: Site, radius: FakeRadius | None, refused: Callable[..., None], directory: Directory
) -> PortAccess:
    """Give a site's administrator an authenticator."""
    settings = parse_sources(SOURCES, "sources.yaml").settings.radius if radius is not None else None
    prover = Prover(lambda: directory, lambda: site.state.policy, settings)
    facade = Facade(site.admin, directory)
    sessions = AccessSessions(site.state, facade, prover, refused, site.admin.use_address)
    access = PortAccess(site.state, sessions, prover, radius, TIMERS, site._spawn)
    site.admin.port_access = access
    return access


class AccessSite(Site):
    """The site of the other tests with an authenticator."""

    def __init__(
        self, *, radius: bool = True, store: MemoryStore | None = None, network: str = NETWORK, **limits: Any
    ) -> None:
        super().__init__(network, POLICY, store, **limits)
        self.records = self.state.journal = WatchedRecords()
        self.radius = FakeRadius()
        self.refused: list[tuple[Attachment, str, str, str]] = []
        directory = parse_identities(IDENTITIES, "identities.yaml")
        self.access = authenticate_at(
            self,
            self.radius if radius else None,
            lambda where, account, why, explanation: self.refused.append((where, account, why.value, explanation)),
            directory,
        )
        self.records.access = self.access

    def session_of(self, attachment: Attachment) -> Session | None:
        live = self.state.sessions.at(attachment)
        return live.session if live else None

    # what tests do

    def send(self, host: Host, frame: bytes) -> None:
        self.s1.send(host.port, frame, host.vlan)

    def told(self) -> list[tuple[int, Eap]]:
        """The EAP packets that came out since the last call, with their ports; nothing else may come out."""
        found = []
        for port, frame in self.s1.take():
            untagged = frame[:12] + frame[16:] if frame[12:14] == b"\x81\0" else frame
            read = parse_frame(untagged)
            assert read is not None, frame.hex()
            assert read.eap is not None
            found.append((port, read.eap))
        return found

    async def asked(self) -> AccessRequest:
        """The server's next question, once it is there."""
        await asyncio.sleep(0)
        return self.radius.asked[0].request

    async def answer(self, answer: AccessReply | RadiusError) -> None:
        """The server answers the oldest question."""
        await asyncio.sleep(0)
        waiting = self.radius.asked.popleft().answer
        if isinstance(answer, RadiusError):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)
        for _ in range(3):
            await asyncio.sleep(0)

    async def later(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.admin.tick(self.now)
        for _ in range(3):
            await asyncio.sleep(0)

    async def login(self, host: Host, answer: AccessReply | None = None, identity: bytes = b"alice") -> Session | None:  # type: ignore[override]
        """A whole exchange: identity, one challenge of EAP-TLS, and the server's last word."""
        from fakes.eapol import start

        self.send(host, start(host))
        ((_, request),) = self.told()[-1:]
        self.send(host, answers(host, request.identifier, 1, identity))
        await self.answer(reply("challenge", b"\1\7\0\6\x0d\0", state=b"s"))
        self.send(host, answers(host, 7, 13, b"\0"))
        await self.answer(answer or accept())
        return self.session_of(self.endpoint(host).attachment)

    async def stop(self) -> None:
        """Nobody answers what is still asked."""
        for task in self._tasks:
            task.cancel()  # type: ignore[attr-defined]
        await asyncio.gather(*self._tasks, return_exceptions=True)
