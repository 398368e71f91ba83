"""Every counter and gauge of the controller, with its labels, as the API shows them.

Labels are switches, ports and reasons, which are all bounded: nothing that a host can choose is a label.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from zethane.pipeline.fields import split_meter
from zethane.service.state import State

Labels = Mapping[str, str]

HELP: Mapping[str, str] = {
    "allowed": "Flows verified and let through.",
    "flows_deferred": "UDP flows let through without rules, which are written when they go on.",
    "flows_tested": "Times that a flow without an idle timeout was given one for a moment.",
    "flows_ended": "Flows that have ended.",
    "reinstalled": "Per-flow rules written again for flows that went on.",
    "related": "ICMP errors about live flows, delivered.",
    "not_sent_back": "Packets that would have gone out where they came in.",
    "neighbour_answered": "ARP and ND questions answered.",
    "neighbour_unanswered": "ARP and ND questions about hosts that the asker may not know.",
    "neighbour_ignored": "ARP and ND messages that are no questions.",
    "packet_ins": "Packets that switches sent up and that were handled.",
    "packet_ins_early": "Packets that came up before their switch was reconciled, not looked at.",
    "ports_ignored": "Ports of switches beyond the number that is used.",
    "sessions_ended": "Sessions that have ended, for whatever reason.",
    "switch_errors": "Error messages of switches.",
    "switches_refused": "Connections of switches that are unknown or connected already.",
    "dhcp_requests": "DHCP requests passed on to a server.",
    "dhcp_answers": "DHCP answers passed on to a client.",
    "dhcp_unasked": "DHCP answers that nobody asked for.",
    "granted_packets": "Packets that sessions have sent in such connections, as far as they have been logged.",
    "granted_bytes": "Bytes of the frames of those packets.",
    "dhcp_leases_granted": "DHCP leases that began.",
    "dhcp_leases_renewed": "DHCP leases that were renewed.",
    "dhcp_leases_ended": "DHCP leases that ended.",
    "probes_sent": "Link probes sent out of trunk ports.",
    "probes_confirmed": "Link probes that arrived where they should.",
    "probes_relayed": "Link probes that somebody has carried to a port with hosts.",
    "addresses_bound": "Addresses that sessions got by using them.",
    "addresses_released": "Addresses that sessions have lost.",
    "eapol_received": "EAPOL frames of hosts.",
    "eapol_sent": "EAPOL frames sent to hosts.",
    "eapol_ignored": "EAPOL frames that nobody waited for.",
    "eapol_no_room": "Hosts whose port had no room for one more authentication.",
    "dot1x_requests": "Questions to RADIUS servers about hosts below IP, each round of EAP one.",
    "dot1x_accepted": "Authentications below IP that a session came of.",
    "dot1x_refused": "Authentications below IP that none came of.",
    "dot1x_unanswered": "Hosts that have not answered an EAP request.",
    "radius_requests": "Requests sent to RADIUS servers, counted once however often they were sent.",
    "radius_retransmissions": "Requests sent to RADIUS servers again.",
    "radius_timeouts": "Requests that a RADIUS server has not answered.",
    "radius_invalid_answers": "Datagrams from a RADIUS server's side that were no valid answer.",
    "radius_deaths": "Times that a RADIUS server was given up for its dead time.",
    "radius_accounting_records": "Accounting records that a RADIUS server has confirmed.",
    "radius_accounting_dropped": "Accounting records that were dropped because too many waited.",
    "radius_authorizations": "Disconnect and CoA requests carried out.",
    "radius_authorizations_refused": "Disconnect and CoA requests refused with a cause.",
    "radius_authorizations_repeated": "Disconnect and CoA requests that came again, and were answered as before.",
    "radius_authorizations_dropped": "Datagrams that were no Disconnect or CoA request of a client, or not of now.",
    "radius_authorizations_failed": "Disconnect and CoA requests that could not be handled.",
    "radius_requests_refused": "Authentications that found too many others waiting for RADIUS servers.",
    "expression_errors": "Times that a rule's expression had no answer, which denies.",
    "attestations": "Times that a switch's tables were read back and held against what is intended.",
    "attested_pieces": "Pieces of a large number of per-flow rules that were read back.",
    "attestations_abandoned": "Readings given up because too much was sent meanwhile.",
    "foreign_rules": "Entries of others, removed from the pipeline's tables.",
    "missing_rules": "Entries that were gone, written again.",
    "altered_rules": "Entries that somebody had changed, written again.",
    "leases_corrected": "Entries of sessions that would have ended some seconds too early or too late, written again.",
    "idle_unread": "Times that a switch did not say whether a host is silent.",
    "signals": "Security events of transmitters that were taken.",
    "signals_refused": "Tokens of transmitters that were refused.",
    "signals_repeated": "Security events that had been taken before, and changed nothing.",
    "signals_unknown": "Security events of a type that has no effect here.",
    "signals_verified": "Verification events of streams.",
    "signals_without_effect": "Security events whose subject was nobody's here.",
    "posture_reports": "Reports on devices that were taken.",
    "posture_refused": "Reports on devices by who may not tell that.",
    "posture_late": "Reports on devices that were not newer than what was known.",
    "granted": "Connections that switches have let in by themselves, as far as they told.",
    "granted_odd": "Those of them whose first packet the controller would have refused: options, extensions, SNAP.",
    "grants_unanswered": "Answers of grants' services without a connection: there may have been no room for it.",
    "grants_verified": "Packets of grants for whose connections switches had no room, to be verified as flows.",
    "grant_records_dropped": "Copies of such connections' packets that found the queue of their port full.",
    "grant_records_refused": "Copies that did not fit the sessions that are there.",
    "repaired_meters": "Meters that were gone or changed, made again.",
}
"""What the plain counters count. One that is missing here is shown by its name."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A counter or gauge with a value for each combination of its labels."""

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    samples: Iterable[tuple[Labels, float]]
    """To be looked at once: what is many is made on the way."""


def metrics_of(state: State) -> Iterator[Metric]:
    """Everything that the state counts."""
    points = state.fabric.points.values()
    yield from _plain(state.counters)
    yield Metric("denied", "Packets not let through.", "counter", _denied(state.denials.denied))
    yield Metric("staged", _STAGED, "counter", list(_staged(state.counters)))
    yield total("denied_unlogged", "Denied packets that the rate limit left out of the log.", state.denials.suppressed)
    yield Metric("meter_dropped", "Packets that a switch's meter left out.", "counter", _meters(state))
    yield Metric(
        "packet_ins_dropped",
        "Packets that found the queue of their port full.",
        "counter",
        (
            ({"switch": point.switch.name, "port": str(port)}, float(dropped))
            for point in points
            for port, dropped in sorted(point.queue_drops.items())
        ),
    )
    yield Metric(
        "packet_ins_waiting",
        "Packets that wait for their turn.",
        "gauge",
        [({"switch": point.switch.name}, float(point.channel.waiting)) for point in points if point.channel],
    )
    yield Metric(
        "switch_ready",
        "Whether a switch is connected and has its tables.",
        "gauge",
        [({"switch": point.switch.name}, float(point.ready)) for point in points],
    )
    yield Metric(
        "uplink_flows",
        "Live flows of an uplink.",
        "gauge",
        [({"uplink": one.gateway.name}, float(one.opened)) for one in state.outside.values()],
    )
    yield Metric(
        "switch_flows",
        "Live flows whose rules a switch holds, two entries each.",
        "gauge",
        [({"switch": point.switch.name}, float(state.flows.at(point.switch.dpid))) for point in points],
    )
    yield Metric(
        "switch_flows_timed",
        "Those of them whose entries can expire by themselves.",
        "gauge",
        [({"switch": point.switch.name}, float(state.flows.timed_at(point.switch.dpid))) for point in points],
    )
    yield gauge("sessions", "Live sessions.", len(state.sessions))
    yield gauge("flows", "Live flows.", len(state.flows))


def gauge(name: str, text: str, value: float) -> Metric:
    """A gauge without labels."""
    return Metric(name, text, "gauge", [({}, float(value))])


def total(name: str, text: str, value: float) -> Metric:
    """A counter without labels."""
    return Metric(name, text, "counter", [({}, float(value))])


def _plain(counters: Counter[str]) -> Iterator[Metric]:
    """The counters without labels; those that others above say with labels are left out."""
    for name in sorted(HELP.keys() | counters.keys()):
        if not name.startswith(("denied_", "staged_")) and name not in ("packet_ins_dropped", "suppressed"):
            yield total(name, HELP.get(name, name.replace("_", " ")), counters[name])


_STAGED = "Logged decisions that would be the other way round if nothing were staged, by what they would be."


def _staged(counters: Mapping[str, int]) -> Iterable[tuple[Labels, float]]:
    return (({"would": decision}, float(counters.get(f"staged_{decision}", 0))) for decision in ("allow", "deny"))


def _denied(denied: Mapping[tuple[str, int, str], int]) -> Iterable[tuple[Labels, float]]:
    for (switch, port, reason), number in tuple(denied.items()):  # more may come on the way
        yield {"switch": switch, "port": str(port), "reason": reason}, float(number)


def _meters(state: State) -> Iterable[tuple[Labels, float]]:
    """What the meters have left out, those of ports and the fabric's."""
    for point in state.fabric.points.values():
        found: dict[tuple[str, str], float] = defaultdict(float)
        for meter, dropped in sorted(point.dropped.items()):
            kind, port = split_meter(meter)
            found["fabric" if port is None else str(port), kind] += dropped
        for (place, kind), total in found.items():
            yield {"switch": point.switch.name, "port": place, "meter": kind}, total
