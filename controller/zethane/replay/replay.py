"""A capture held against a policy: each flow with its verdict, and what is added up over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from zethane.policy.model import Policy
from zethane.policy.seen import Seen
from zethane.replay.attribution import Attribution
from zethane.replay.capture import Broken, Capture
from zethane.replay.flow import Count, Flow
from zethane.replay.link import link_name
from zethane.replay.meter import Meter, Tell
from zethane.replay.packet import Aside
from zethane.replay.table import MAX_FLOWS, Table
from zethane.replay.totals import Largest, Totals
from zethane.replay.verdict import Judge

BATCH = 4096
"""Packets after which flows that have ended are handed on."""

MAX_LISTED = 20


@dataclass(frozen=True, slots=True)
class Replay:
    """What a capture holds, and what the policy says of it.

    `links` counts interfaces by the name of their link type. `broken` tells where and why reading ended, None: at the
    end. `evicted` is the number of flows that were told before they had ended, for want of room: what came of them
    afterwards counts as another flow. `untimed` packets have no time of their own, `tagged_twice` ones two VLAN tags.
    """

    format: str
    links: Mapping[str, int]
    totals: Totals
    largest: tuple[Flow, ...]
    broken: Broken | None = None
    evicted: int = 0
    untimed: int = 0
    tagged_twice: int = 0


class Observation:
    """The flows of a capture under a policy, in the order in which they end. Used once.

    `room` is how many flows may be under way at once; `now` the moment at which the policy is asked, None: that of each
    flow's first packet. `put_aside` gets packets of no flow.
    """

    def __init__(
        self,
        capture: Capture,
        policy: Policy,
        attribution: Attribution,
        *,
        now: float | None = None,
        room: int = MAX_FLOWS,
        put_aside: Tell | None = None,
    ) -> None:
        self.capture = capture
        self._ended: list[Flow] = []
        self._table = Table(Judge(policy, now), attribution, self._ended.append, room)
        self._meter = Meter(self._table, put_aside or _ignore)

    def __iter__(self) -> Iterator[Flow]:
        records = self.capture.records()
        for record in records:
            # A record is there until the next one is asked for.
            self._meter.run(chain((record,), islice(records, BATCH)))
            yield from self._drain()
        self._meter.finish()
        self._table.finish()
        yield from self._drain()

    def _drain(self) -> Iterator[Flow]:
        ended = self._ended[:]
        self._ended.clear()
        return iter(ended)

    @property
    def evicted(self) -> int:
        """How many flows were told before they had ended."""
        return self._table.evicted

    @property
    def tagged_twice(self) -> int:
        """How many packets had two VLAN tags."""
        return self._meter.tagged_twice


def _ignore(aside: Aside, count: Count, when: float) -> None:
    del aside, count, when


def replay(
    capture: Capture,
    policy: Policy,
    attribution: Attribution,
    *,
    now: float | None = None,
    room: int = MAX_FLOWS,
    listed: int = MAX_LISTED,
    tell: Callable[[Flow], None] | None = None,
) -> Replay:
    """Decide every flow of a capture. `tell` gets each; the result holds the `listed` largest that do not pass, or all.

    `room` and `now` are as in Observation.
    """
    totals, largest = Totals(), Largest(listed)
    observed = Observation(capture, policy, attribution, now=now, room=room, put_aside=totals.put_aside)
    for flow in observed:
        totals.add(flow)
        largest.add(flow)
        if tell is not None:
            tell(flow)
    links: dict[str, int] = {}
    for link, number in capture.links.items():
        links[link_name(link)] = links.get(link_name(link), 0) + number
    return Replay(
        capture.format,
        links,
        totals,
        tuple(largest),
        capture.broken,
        observed.evicted,
        capture.untimed,
        observed.tagged_twice,
    )


def seen_in(
    capture: Capture,
    policy: Policy,
    attribution: Attribution,
    *,
    now: float | None = None,
    room: int = MAX_FLOWS,
    answered: bool = False,
) -> Iterator[Seen]:
    """The flows of a capture as traffic that was seen: what a policy is held against, or made from.

    Nobody decided when they were seen: `allowed` and `rule` are None. Flows with a part of the network itself, such as
    the portal, are left out: no policy is about them. An end that could not be attributed is None, and `source` or
    `target` is its address. With `answered` flows that got no answer, or a refusal, are left out: scans, and what did
    not work.
    """
    for flow in Observation(capture, policy, attribution, now=now, room=room):
        if flow.subject.standing in ("portal", "dns") or flow.object.standing in ("portal", "dns"):
            continue
        if answered and not flow.is_answered:
            continue
        count = flow.whole
        yield Seen(
            flow.subject.party,
            flow.object.party,
            flow.key.proto,
            flow.port,
            flow.subject.text,
            flow.object.text,
            1,
            count.packets,
            count.octets,
            flow.first,
            flow.last,
        )
