"""Intent: what a switch should hold as the state is, apart from per-flow rules."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from zethane.pipeline.dns import dns_bindings
from zethane.pipeline.external import external_destinations, external_sources
from zethane.pipeline.flow import EntryKey, Flow
from zethane.pipeline.grants import connection_ends
from zethane.service.outside import Outside
from zethane.service.points import Point, binding_entries
from zethane.service.sessions import Live
from zethane.service.standing_entries import standing_entries
from zethane.service.state import State

Entries = dict[EntryKey, Flow]


def intended(state: State, point: Point) -> Entries:
    """Everything that a switch should hold now."""
    return {flow.key: flow for flow in intended_entries(state, point, state.clock())}


def intended_entries(state: State, point: Point, now: float, numbers: Collection[int] | None = None) -> Iterator[Flow]:
    """The same one by one, with the leases that are right at `now`; with `numbers`, of these sessions only. What
    changes meanwhile does no harm."""
    yield from common_entries(state, point)
    for live in bound_sessions(state, point):
        if numbers is None or live.session.number in numbers:
            yield from session_bindings(state, point, live, now)


def common_entries(state: State, point: Point) -> Iterator[Flow]:
    """What a switch should hold that is no session's."""
    yield from standing_entries(state.fabric, point, state.policy.flows)
    yield from outside_entries(state, point)
    for serving in state.serving.values():
        yield from dns_bindings(serving.server, point.number)


def bound_sessions(state: State, point: Point) -> Iterator[Live]:
    """The sessions of which a switch should hold bindings."""
    for number in sorted(point.local | point.remote):
        live = state.sessions.by_number.get(number)
        if live is not None:
            yield live


def session_bindings(state: State, point: Point, live: Live, now: float) -> Iterator[Flow]:
    """A session's bindings. An address that DHCP has leased ends with that lease, controller or not."""
    session, binding, leases = live.session, live.binding, state.leases
    bound = False
    for address in session.addresses:
        until = leases.until(address, session.attachment)
        ends = live.ends if until is None else min(live.ends, until)
        one = replace(binding, addresses=(address,), session_class=live.class_at(address))
        for flow in binding_entries(one, point, ends, now):
            yield flow
            bound = True
    if bound and state.policy.has_grants:
        yield from session_connections(state, point, live)


def session_connections(state: State, point: Point, live: Live) -> Iterator[Flow]:
    """What shows that connections of grants are a session's; its own switch reports what these entries had counted.

    It has no lease: where no packet is the session's, none belongs to its connections.
    """
    number, own = live.session.number, live.switch == point.number
    return connection_ends(number, state.fabric.tracking.epoch, f"session {number}", notify=own)


def outside_entries(state: State, point: Point) -> Iterator[Flow]:
    """What a switch should hold about the networks behind uplinks."""
    for outside in tuple(state.outside.values()):
        yield from _external(state, point, outside)


def _external(state: State, point: Point, outside: Outside) -> Iterator[Flow]:
    gateway, own = outside.gateway, state.fabric.own_prefixes
    yield from external_sources(gateway, outside.regions, own, point.number)
    yield from external_destinations(gateway, outside.regions, own)
    if state.policy.has_grants and outside.regions:
        yield from connection_ends(gateway.number, state.fabric.tracking.epoch, f"uplink {gateway.name}", notify=False)
