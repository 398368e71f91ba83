"""Flow rules: the entries of live flows on the switches at their ends."""

from __future__ import annotations

from collections.abc import Iterator

from zethane.pipeline.bindings import flow_lease
from zethane.pipeline.flow import Flow
from zethane.pipeline.verified import FIN_IDLE, Verified, both_directions, verified_flow
from zethane.service.flows import LiveFlow
from zethane.service.points import Point
from zethane.service.state import State


def directions(flow: LiveFlow) -> tuple[Verified, Verified]:
    """Both directions of a live flow, as it is now."""
    return both_directions(flow.key, flow.subject, flow.object, flow.subject_class, flow.object_class, flow.rule)


def flow_rules(state: State, flow: LiveFlow) -> Iterator[tuple[Point, Flow]]:
    """A live flow's rules, with the switch that each is for; none if one of its ends is gone."""
    subject, obj = state.party(flow.subject), state.party(flow.object)
    if subject is None or obj is None:
        return
    own, far = state.point_of(subject), state.point_of(obj)
    lease = flow_lease(flow.ends, state.clock())
    for direction in directions(flow):
        yield own, verified_flow(direction, notify=True, lease=lease, idle=flow.idle_timeout)
        if far is not own:
            yield far, verified_flow(direction, notify=False, lease=lease, idle=flow.idle_timeout)


def let_run_out(state: State, flow: LiveFlow) -> None:
    """A flow has ended at its subject's switch: what its object's still holds goes when it is silent.

    Where its rules have an idle timeout they do so by themselves.
    """
    subject, obj = state.party(flow.subject), state.party(flow.object)
    if flow.idle_timeout or subject is None or obj is None:
        return
    far = state.point_of(obj)
    if far is not state.point_of(subject) and far.ready and far.channel is not None:
        for direction in directions(flow):
            far.channel.install(direction, notify=False, lease=0, idle=FIN_IDLE)
