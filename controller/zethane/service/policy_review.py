"""What becomes of live flows when the policy, or the hour, is another one: which stop, which go on, by which rule."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, SCTP, TCP, UDP
from zethane.pipeline.change import Change, Remove, RemoveMatching
from zethane.pipeline.fields import OBJECT_CLASS, RULE_MASK, SUBJECT_CLASS
from zethane.pipeline.flow import match
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import verified_flow
from zethane.service.concerned import Concerned
from zethane.service.flow_review import MAX_CARRIED, go_on
from zethane.service.flow_rules import directions
from zethane.service.flows import LiveFlow, RuleGroup
from zethane.service.relations import verdict_on
from zethane.service.state import State
from zethane.service.verdict import Group, Verdict

_PORT_NAMES = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}


class PolicyReview:
    """Holds the flows that are live against the policy in force."""

    def __init__(self, state: State) -> None:
        self._state = state

    def no_longer_allowed(
        self,
        rules: frozenset[int] | None = None,
        going_on: list[LiveFlow] | None = None,
        concerned: Concerned | None = None,
    ) -> list[Change]:
        """The removals for flows that the rule which opened them does not allow any more, or not for as long as their
        leases say; of all flows, or of those of some rules, or between some classes.

        All flows with the same classes, protocol, port and rule share their decision: one removal per direction
        takes them all, and where a rule has lost every one of its flows, a single removal does. A flow that some
        other rule allows comes back with its next packet; or goes on at once, and is added to `going_on`.
        """
        state = self._state
        stands: dict[int, dict[Group, float]] = defaultdict(dict)
        partly: set[int] = set()  # rules with flows that are not looked at
        # Each flow is counted to its group, which takes some 50 ns; those of groups that stand are not looked at.
        for (rule, group), ends in state.flows.groups().items():
            if rules is not None and rule not in rules:
                continue
            if concerned is not None and not concerned(group[0], group[1]):
                partly.add(rule)
                continue
            shared = state.policy.verdict(*group)
            until = shared.until if state.policy.stands(shared, group, rule) else -math.inf
            if shared.relations:
                until = math.nan  # each flow has its own answer
            if ends > until + 1.0:  # a lease is never shorter than a second
                until = -math.inf
            stands[rule][group] = until
        ending: set[RuleGroup] = set()
        asked: set[RuleGroup] = set()
        for rule, decided in stands.items():
            ending.update((rule, group) for group, until in decided.items() if until == -math.inf)
            asked.update((rule, group) for group, until in decided.items() if math.isnan(until))
        alone: list[Change] = []
        for flow in state.flows.of_groups(ending | asked) if ending or asked else ():
            verdict = self._verdict_now(flow)
            if (flow.rule, flow.group) in ending:
                self._end(flow, verdict, going_on)
            elif not self._goes_on(flow, verdict):
                alone += _rules_of(flow)
                self._end(flow, verdict, going_on)
        removals = (_removals(rule, decided, whole=rule not in partly) for rule, decided in stands.items())
        return [*alone, *chain.from_iterable(removals)]

    def _goes_on(self, flow: LiveFlow, verdict: Verdict) -> bool:
        """Whether nothing has to be done about a flow, with what is decided about it now."""
        return self._state.policy.stands(verdict, flow.group, flow.rule) and flow.ends <= verdict.until + 1.0

    def _verdict_now(self, flow: LiveFlow) -> Verdict:
        """What the policy says of a flow between its ends as they are now: an address outside may be in another
        network of the policy than when the flow was opened."""
        state = self._state
        subject, obj = state.party(flow.subject), state.party(flow.object)
        if subject is None or obj is None:
            return Verdict(False, 0, None, "")
        return verdict_on(state, flow.key, subject, obj)

    def _end(self, flow: LiveFlow, verdict: Verdict, going_on: list[LiveFlow] | None) -> None:
        """Close a flow whose rules go; or let it go on under the rule that allows it now, for as long as that does."""
        now = self._state.clock()
        allowed = verdict.allowed and verdict.until > now
        if going_on is not None and len(going_on) < MAX_CARRIED and allowed:
            flow.replace_rules()
            go_on(flow, verdict, now)
            going_on.append(flow)
        else:
            self._close(flow, remember=allowed)

    def _close(self, flow: LiveFlow, *, remember: bool) -> None:
        state = self._state
        subject = state.party(flow.subject)
        if subject is not None:
            subject.closes(flow.key.src)
        state.flows.close(flow, "policy-changed", state.clock())
        if remember:
            state.flows.remember(flow.afresh())


def _rules_of(flow: LiveFlow) -> Iterator[Change]:
    """The removals of one flow's own rules, whichever switch has them."""
    for direction in directions(flow):
        yield Remove(*verified_flow(direction, notify=True).key)


def _removals(rule: int, decided: dict[Group, float], *, whole: bool) -> list[Change]:
    """The removals of those groups of a rule's flows that are not allowed until any moment; `whole`: they are all."""
    gone = [group for group, until in decided.items() if until == -math.inf]
    if whole and len(gone) == len(decided):
        return [RemoveMatching(Table.FLOW, (), rule, RULE_MASK)]
    return [change for group in gone for change in _group_removals(rule, *group)]


def _group_removals(rule: int, subject_class: int, object_class: int, proto: int, port: int) -> list[Change]:
    """The removals of one group of flows, both directions and address families."""
    found: list[Change] = []
    for eth_type in (ETH_IPV4, ETH_IPV6):
        for sender, receiver, side in (
            (subject_class, object_class, "dst"),
            (object_class, subject_class, "src"),
        ):
            fields: dict[str, int] = {
                SUBJECT_CLASS: sender,
                OBJECT_CLASS: receiver,
                "eth_type": eth_type,
                "ip_proto": proto,
            }
            if name := _PORT_NAMES.get(proto):
                fields[f"{name}_{side}"] = port
            found.append(RemoveMatching(Table.FLOW, match(**fields), rule, RULE_MASK))
    return found
