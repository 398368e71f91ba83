"""What was found in a capture, as JSON-ready values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from zethane.audit.record import rfc3339
from zethane.policy.decide import describe
from zethane.replay.flow import Count, Flow
from zethane.replay.replay import Replay
from zethane.replay.totals import OUTCOMES, Tally, Totals
from zethane.replay.verdict import Outcome
from zethane.replay.who import Who


def flow_view(flow: Flow) -> Mapping[str, Any]:
    """One flow: who to whom, by which rule or why not, and how much."""
    has_ports = flow.key.proto in (6, 17, 132)
    return {
        "from": _who(flow.subject),
        "to": _who(flow.object),
        "service": describe(flow.key.proto, flow.port),
        "source": str(ip_address(flow.key.src)),
        "destination": str(ip_address(flow.key.dst)),
        "protocol": flow.key.proto,
        "source_port": flow.key.sport if has_ports else None,
        "destination_port": flow.key.dport if has_ports else None,
        "decision": flow.verdict.outcome,
        "rule": flow.verdict.rule,
        "reason": flow.verdict.reason or None,
        "explanation": flow.verdict.text,
        "opening": flow.opening,
        "opening_seen": flow.is_opening_seen,
        "answered": flow.is_answered,
        "first": rfc3339(flow.first),
        "last": rfc3339(flow.last),
        **_count(flow.whole),
        "there": _count(flow.there),
        "back": _count(flow.back),
        "related": _count(flow.related),
        "dropped": {reason: _count(count) for reason, count in flow.hurdles},
    }


def _who(who: Who) -> Mapping[str, Any]:
    return {
        "address": who.address,
        "principal": None if who.party is None else who.text,
        "place": who.place,
        "attributed_by": who.source,
    }


def _count(count: Count) -> dict[str, int]:
    return {"packets": count.packets, "bytes": count.octets}


def tally_view(tally: Tally) -> dict[str, Any]:
    """JSON-ready."""
    some = tally.packets > 0
    return {
        "flows": tally.flows,
        "answered": tally.answered,
        "packets": tally.packets,
        "bytes": tally.octets,
        "first": rfc3339(tally.first) if some else None,
        "last": rfc3339(tally.last) if some else None,
    }


def replay_view(replay: Replay, name: str) -> Mapping[str, Any]:
    """Everything, JSON-ready."""
    totals = replay.totals
    broken = replay.broken
    return {
        "capture": {
            "name": name,
            "format": replay.format,
            "links": dict(replay.links),
            **{key: value for key, value in tally_view(totals.all).items() if key not in ("flows", "answered")},
            "broken": broken and {"position": broken.position, "cut": broken.cut, "message": broken.message},
            "packets_without_time": replay.untimed,
            "packets_with_two_tags": replay.tagged_twice,
            "flows_ended_early": replay.evicted,
        },
        "flows": {"all": totals.all.flows, **_outcomes(totals.outcomes)},
        "opening_not_seen": tally_view(totals.uncertain),
        "pairs": [
            {"from": source, "to": target, **_outcomes(found)}
            for (source, target), found in by_size(totals.pairs.items())
        ],
        "services": [
            {
                "from": row.source,
                "to": row.target,
                "service": row.service,
                "decision": row.outcome,
                "rule": row.rule,
                "reason": row.reason or None,
                **tally_view(tally),
            }
            for row, tally in sorted(totals.services.items(), key=lambda item: -item[1].flows)
        ],
        "rules": {rule: tally_view(tally) for rule, tally in sorted(totals.rules.items())},
        "unattributed": [
            {"address": row.address, "why": row.why, **tally_view(tally)}
            for row, tally in sorted(totals.unknown.items(), key=lambda item: -item[1].flows)
        ],
        **_whatever_the_policy(totals),
        "largest": [flow_view(flow) for flow in replay.largest],
    }


def _whatever_the_policy(totals: Totals) -> Mapping[str, Any]:
    """Packets about which no policy is asked."""
    asides: dict[str, list[Any]] = {"handled": [], "dropped": [], "unread": []}
    for aside, tally in sorted(totals.asides.items(), key=lambda item: -item[1].packets):
        asides[aside.fate.value].append({"reason": aside.reason, "what": aside.what or None, **tally_view(tally)})
    hurdles = [
        {"reason": reason, "decision": outcome, **tally_view(tally)}
        for (reason, outcome), tally in sorted(totals.hurdles.items())
    ]
    return {**asides, "dropped_of_flows": hurdles, "related": tally_view(totals.related)}


def _outcomes(found: Mapping[Outcome, Tally]) -> dict[str, Any]:
    return {outcome: tally_view(found.get(outcome) or Tally()) for outcome in OUTCOMES}


def by_size(
    pairs: Iterable[tuple[tuple[str, str], dict[Outcome, Tally]]],
) -> list[tuple[tuple[str, str], dict[Outcome, Tally]]]:
    """Pairs of places, those with the most flows first."""
    return sorted(pairs, key=lambda item: (-sum(tally.flows for tally in item[1].values()), item[0]))
