"""Discovery: probes every trunk, and says which links are there (IEEE 802.1AB between switches only).

A probe is good if its keyed hash holds, its nonce is one that is on its way from the port that it names and has not
arrived yet, and it took no longer than a probe may. Everything else that looks like LLDP is an alarm: on a trunk
somebody forges or replays, on a port with hosts somebody relays or injects. No link ever begins at a port with hosts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zethane.audit.reason import DenyReason
from zethane.net.lldp import KEY_LENGTH, NONCE_LENGTH, Probe, build_probe, read_probe
from zethane.pipeline.fabric import FabricLink
from zethane.service.journal import Denied
from zethane.service.links import Contradiction, End, Heard, ends
from zethane.service.points import Point
from zethane.service.state import State
from zethane.service.switch import PacketIn

PATIENCE = 3
"""Probes in a row that must fail to arrive before a link is not there any more, and intervals without a contradiction
before it is believed again."""

SWEEP_INTERVAL = 0.5
"""Seconds between looks at what is due."""


@dataclass(slots=True)
class _OnItsWay:
    """A probe that has been sent and has not arrived."""

    sender: End
    sent: float
    stamp: int


class Discovery:
    """Sends probes and judges what comes back."""

    def __init__(self, state: State, links_changed: Callable[[], None]) -> None:
        self._state = state
        self._links_changed = links_changed
        # For this run alone: nothing that was sent before it may arrive in it.
        self._key = secrets.token_bytes(KEY_LENGTH)
        self._on_their_way: dict[bytes, _OnItsWay] = {}
        self._due: dict[End, float] = {}
        self._missed: dict[End, int] = {}
        self._since: dict[FabricLink, float] = {}
        self._told: dict[FabricLink, str] = {}
        self._sweep_due = 0.0

    # sending

    def switch_ready(self, point: Point) -> None:
        """A switch has its tables: ask at once what its trunks lead to."""
        for port in self._trunks(point):
            self._send(point, port, self._state.clock())

    def port_up(self, point: Point, port: int) -> None:
        """A port has come up."""
        if point.ready and point.switch.role(port) == "trunk":
            self._send(point, port, self._state.clock())

    def port_down(self, point: Point, port: int) -> None:
        """A port went down, or is gone: so is the link at it. That is told at once, as it may be confirmed again before
        anybody looks. Paths are worked out anew by whoever calls this."""
        end, now = (point.number, port), self._state.clock()
        told = [link for link in self._state.fabric.links.at((end,)) if link in self._told]
        self._state.fabric.links.port_down(end)
        for link in told:
            if link in self._state.fabric.links.declared:
                before, self._told[link] = self._told[link], self._state_of(link, now)
                self._tell_state(link, self._told[link], before, now)
            else:
                del self._told[link]
                self._lost(link, now)
        self._due.pop(end, None)
        self._missed.pop(end, None)
        for nonce in [nonce for nonce, probe in self._on_their_way.items() if probe.sender == end]:
            del self._on_their_way[nonce]

    def _trunks(self, point: Point) -> list[int]:
        return [number for number, port in point.ports.items() if port.up and point.switch.role(number) == "trunk"]

    def _send(self, point: Point, port: int, now: float) -> None:
        if point.channel is None:
            return
        probe = Probe(point.switch.dpid, port, secrets.token_bytes(NONCE_LENGTH), int(now * 1000))
        sender = (point.number, port)
        self._on_their_way[probe.nonce] = _OnItsWay(sender, now, probe.sent)
        self._due[sender] = now + self._state.limits.probe_interval
        point.channel.packet_out(port, build_probe(probe, self._key))
        self._state.counters["probes_sent"] += 1

    def tick(self, now: float) -> None:
        """Send what is due, count what did not arrive, and take back what no longer holds."""
        if 0 < self._sweep_due - now <= SWEEP_INTERVAL:
            return
        self._sweep_due = now + SWEEP_INTERVAL
        self._expire(now)
        for point in self._state.fabric.points.values():
            for port in self._trunks(point) if point.ready else ():
                # Due, or the clock has been set back.
                if not 0 < self._due.get((point.number, port), 0.0) - now <= self._state.limits.probe_interval:
                    self._send(point, port, now)
        self._state.fabric.links.forget_contradictions(now - PATIENCE * self._state.limits.probe_interval)
        self._changed(now)

    def _expire(self, now: float) -> None:
        """Probes that are too old; they are in the order in which they were sent."""
        while self._on_their_way:
            nonce, probe = next(iter(self._on_their_way.items()))
            if now - probe.sent <= self._state.limits.probe_age:
                return
            del self._on_their_way[nonce]
            self._miss(probe)

    def _miss(self, probe: _OnItsWay) -> None:
        """A probe did not arrive where the ones before it did.

        That says something only if the switch at the other end could have reported it, and no later one has arrived:
        those of a start, when the other end was not there yet, are found missing behind the one that was in time.
        """
        links, sender = self._state.fabric.links, probe.sender
        sighting = links.sighting(sender)
        if (
            sighting is None
            or probe.sent < sighting.when <= self._state.clock()  # or the clock has been set back since
            or not self._is_ready(sender)
            or not self._is_ready(sighting.at)
        ):
            return
        self._missed[sender] = self._missed.get(sender, 0) + 1
        if self._missed[sender] >= PATIENCE:
            del self._missed[sender]
            links.lost(sender)

    def _is_ready(self, end: End) -> bool:
        return self._state.fabric.by_number[end[0]].ready

    # receiving

    def packet_in(self, point: Point, event: PacketIn) -> None:
        """An LLDP frame came in."""
        now = self._state.clock()
        probe = read_probe(event.frame, self._key)
        if point.switch.role(event.port) != "trunk":
            self._on_edge(point, event, probe)
        elif probe is None:
            self._deny(point, event, DenyReason.LLDP_FORGED)
        else:
            self._arrived(point, event, probe, now)

    def _on_edge(self, point: Point, event: PacketIn, probe: Probe | None) -> None:
        self._deny(point, event, DenyReason.LLDP_ON_EDGE)
        if probe is None:
            return
        # Somebody carries frames from a trunk to here. The probe is used up, and its sender has missed one.
        sent = self._on_their_way.pop(probe.nonce, None)
        if sent is not None:
            self._miss(sent)
        self._state.counters["probes_relayed"] += 1
        sender = self._state.fabric.points.get(probe.dpid)
        name = sender.switch.name if sender else f"{probe.dpid:016x}"
        what = f"a probe of {name}:{probe.port} came in at port {event.port}, which has hosts"
        self._state.journal.switch("probe-on-edge", point.switch.name, what, self._state.clock())

    def _arrived(self, point: Point, event: PacketIn, probe: Probe, now: float) -> None:
        sent = self._on_their_way.pop(probe.nonce, None)
        if sent is None or not self._is_as_sent(probe, sent):
            self._deny(point, event, DenyReason.LLDP_UNEXPECTED)
            return
        if self._is_good(sent, (point.number, event.port), now):
            self._missed.pop(sent.sender, None)
            self._state.counters["probes_confirmed"] += 1
            if self._state.fabric.links.sighting((point.number, event.port)) is None:
                # The other direction is open still: its last probe came before this switch was ready, or never will.
                self._send(point, event.port, now)
            self._changed_at((sent.sender, (point.number, event.port)), now)
        else:
            self._miss(sent)
            self._deny(point, event, DenyReason.LLDP_UNEXPECTED)
            self._changed(now)

    def _is_good(self, sent: _OnItsWay, receiver: End, now: float) -> bool:
        """Whether a probe came in time, from another switch, and over a link that may be there."""
        timely = 0 <= now - sent.sent <= self._state.limits.probe_age
        if not timely or sent.sender[0] == receiver[0]:
            return False
        return self._state.fabric.links.heard(sent.sender, receiver, now) is Heard.CONFIRMED

    def _is_as_sent(self, probe: Probe, sent: _OnItsWay) -> bool:
        sender = self._state.fabric.points.get(probe.dpid)
        return sender is not None and (sender.number, probe.port) == sent.sender and probe.sent == sent.stamp

    def _deny(self, point: Point, event: PacketIn, reason: DenyReason) -> None:
        self._state.deny(Denied(reason, point.switch.name, event.port, None, event.frame[6:12], None, None))

    # what is known

    def _changed(self, now: float) -> None:
        """Tell of every link whose state is another than before; paths follow."""
        states = {link: self._state_of(link, now) for link in self._links()}
        if states == self._told:
            return
        before, self._told = self._told, states
        for link in before.keys() - states.keys():
            self._lost(link, now)
        for link, state in states.items():
            self._tell_state(link, state, before.get(link), now)
        self._links_changed()

    def _changed_at(self, changed: Iterable[End], now: float) -> None:
        """The same where a good probe has passed between these ends: no other link has changed, and none is lost.

        So a probe costs the same in a fabric of any size.
        """
        found = {link: self._state_of(link, now) for link in self._state.fabric.links.at(changed)}
        if all(self._told.get(link) == state for link, state in found.items()):
            return
        for link, state in found.items():
            self._tell_state(link, state, self._told.get(link), now)
        self._told |= found
        self._links_changed()

    def _lost(self, link: FabricLink, now: float) -> None:
        self._since.pop(link, None)
        self._tell("link-lost", link, "", now)

    def _tell_state(self, link: FabricLink, state: str, before: str | None, now: float) -> None:
        if before is None and link not in self._state.fabric.links.declared:
            self._tell("link-discovered", link, "", now)
        elif state != (before or "waiting"):
            self._tell(f"link-{state}", link, self._detail(link), now)

    def _tell(self, what: str, link: FabricLink, detail: str, now: float) -> None:
        a, b = (self._name(end) for end in ends(link))
        switch = self._state.fabric.by_number[link.a].switch.name
        self._state.journal.switch(what, switch, f"{a} - {b}" + (f": {detail}" if detail else ""), now)

    def _links(self) -> Iterator[FabricLink]:
        links = self._state.fabric.links
        yield from links.declared
        yield from links.discovered()

    def _state_of(self, link: FabricLink, now: float) -> str:
        fabric = self._state.fabric
        if not fabric.is_up(link):
            self._since.pop(link, None)
            return "down"
        if not all(self._is_ready(end) for end in ends(link)):
            self._since.pop(link, None)
            return "away"
        if fabric.links.contradiction(link) is not None:
            return "contradicted"
        if fabric.links.confirmed(link) is not None:
            return "confirmed"
        since = self._since.setdefault(link, now)
        return "unconfirmed" if now - since > PATIENCE * self._state.limits.probe_interval else "waiting"

    def _detail(self, link: FabricLink) -> str:
        found = self._state.fabric.links.contradiction(link)
        return "" if found is None else self._contradicts(found)

    def _contradicts(self, found: Contradiction) -> str:
        return f"a probe of {self._name(found.sender)} came in at {self._name(found.receiver)}"

    def _name(self, end: End) -> str:
        return f"{self._state.fabric.by_number[end[0]].switch.name}:{end[1]}"

    def view(self) -> list[Mapping[str, Any]]:
        """Every link with its state, for operators."""
        now = self._state.clock()
        links = self._state.fabric.links
        used = self._state.fabric.used
        return [
            {
                "a": self._name(ends(link)[0]),
                "b": self._name(ends(link)[1]),
                "origin": "declared" if link in links.declared else "discovered",
                "state": self._state_of(link, now),
                "used": link in used,
                "confirmed": links.confirmed(link),
                "detail": self._detail(link) or None,
            }
            for link in self._links()
        ]

    def doubtful(self) -> int:
        """How many links are not as declared, or could not be confirmed in time."""
        now = self._state.clock()
        return sum(self._state_of(link, now) in ("contradicted", "unconfirmed") for link in self._links())
