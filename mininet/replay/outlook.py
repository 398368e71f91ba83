"""What has to come of a flow's packets: by the policy's verdict, and by what was sent before. Pure.

Only what opens a connection may open a flow (a SYN alone, an echo request, anything without connections); a flow that
was never opened passes nothing, whatever its rule. Where silence was long, or a connection was over, a packet may find
its flow gone: of such packets nothing is expected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from replay.script import Line
from zethane.net.flowkey import ICMP, ICMPV6, TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, FlowKey
from zethane.pipeline.verified import FIN_IDLE, IDLE_TIMEOUTS, OTHER_IDLE_TIMEOUT
from zethane.replay.verdict import Verdict

MARGIN = 1.0
"""Seconds by which an entry's idle timeout may be early or late."""

Judged = Callable[[FlowKey], Verdict]
"""The policy's verdict for a flow that the sender of such a packet would open."""


@dataclass(slots=True)
class Way:
    """One direction: how many packets were sent, and how many of them have to arrive at least and at the most."""

    sent: int = 0
    least: int = 0
    most: int = 0


@dataclass(slots=True)
class Outlook:
    """A flow with what has to come of it. `key` is as its opener sends, or the first packet if none opened it."""

    key: FlowKey
    source: str
    target: str
    verdict: Verdict
    opened: bool = False
    there: Way = field(default_factory=Way)
    back: Way = field(default_factory=Way)
    last: float = 0.0
    ended: bool = False

    @property
    def text(self) -> str:
        """What was decided, in a word and its reason."""
        if self.verdict.outcome == "allow" and not self.opened:
            return "deny no-flow"
        if self.verdict.outcome == "allow":
            return f"allow {self.verdict.rule or self.verdict.text}"
        return f"deny {self.verdict.reason or self.verdict.text}"


class Outlooks:
    """Follows what is sent, and says of each packet whether it has to arrive."""

    def __init__(self, judged: Judged) -> None:
        self.by_key: dict[FlowKey, Outlook] = {}
        self._judged = judged

    def all(self) -> list[Outlook]:
        """The flows in the order in which they came up."""
        return list({id(one): one for one in self.by_key.values()}.values())

    def is_open(self, key: FlowKey) -> bool:
        """Whether the flow of a packet has been let through by now."""
        flow = self.by_key.get(key)
        return flow is not None and flow.opened

    def send(self, line: Line, now: float) -> bool | None:
        """A packet is sent at this moment (seconds): whether it has to arrive; None: it may or may not."""
        flow = self._flow(line)
        way = flow.there if line.key == flow.key else flow.back
        arrives = self._arrives(flow, line, now)
        way.sent += 1
        way.least += arrives is True
        way.most += arrives is not False
        flow.last = now
        if line.flags & (TCP_FIN | TCP_RST) and arrives is not False:
            flow.ended = True
        return arrives

    def _flow(self, line: Line) -> Outlook:
        flow = self.by_key.get(line.key)
        if flow is None:
            flow = Outlook(line.key, line.source, line.target, self._judged(line.key))
            self.by_key[line.key] = self.by_key[line.key.reverse()] = flow
        return flow

    def _arrives(self, flow: Outlook, line: Line, now: float) -> bool | None:
        if line.fragment:
            return False
        if flow.opened:
            return self._goes_on(flow, line, now)
        return self._may_open(flow, line)

    def _may_open(self, flow: Outlook, line: Line) -> bool:
        if not _opens(line):
            return False
        verdict = self._judged(line.key)
        if not flow.opened and verdict.outcome == "allow":
            flow.opened = True
            if line.key != flow.key:
                flow.key, flow.source, flow.target = line.key, line.source, line.target
                flow.there, flow.back = flow.back, flow.there
            flow.verdict = verdict
        return verdict.outcome == "allow"

    def _goes_on(self, flow: Outlook, line: Line, now: float) -> bool | None:
        forward = line.key == flow.key
        stray = line.flags & TCP_SYN and not line.flags & TCP_ACK and not (forward and _opens(line))
        if stray:
            return False
        idle = FIN_IDLE if flow.ended else IDLE_TIMEOUTS.get(line.key.proto, OTHER_IDLE_TIMEOUT)
        if forward and _opens(line):
            return True
        return True if now - flow.last < idle - MARGIN else None


def _opens(line: Line) -> bool:
    """Whether a packet may be the first of a flow."""
    if line.key.proto == TCP:
        return line.flags & (TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST) == TCP_SYN
    if line.key.proto in (ICMP, ICMPV6):
        return line.key.sport == 8
    return True
