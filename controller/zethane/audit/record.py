"""Records of the decision log, as JSON-ready mappings. Every record has `time` (RFC 3339, UTC) and `event`."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from zethane.audit.reason import SessionEvent
from zethane.identity.proof import Proof
from zethane.identity.session import Session
from zethane.net.flowkey import ETH_ARP, ICMP, ICMPV6, SCTP, TCP, UDP, FlowKey
from zethane.net.mac import format_mac
from zethane.policy.principal import DeviceFacts, Principal

Record = Mapping[str, Any]

_PROTOCOLS = {TCP: "tcp", UDP: "udp", SCTP: "sctp", ICMP: "icmp", ICMPV6: "icmp", ETH_ARP: "arp"}


def rfc3339(moment: float) -> str:
    """A moment in seconds since the epoch, with milliseconds (RFC 3339 §5.6)."""
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rfc3339_or_none(moment: float | None) -> str | None:
    """The same; None where there is no such moment, as of what never was or has no end."""
    return rfc3339(moment) if moment is not None and math.isfinite(moment) else None


def head(event: str, now: float) -> dict[str, Any]:
    """What every record begins with."""
    return {"time": rfc3339(now), "event": event}


def party(session: Session | None) -> dict[str, Any] | None:
    """Subject or object of a decision; None if nobody is known there."""
    if session is None:
        return None
    principal = f"{session.principal.kind}:{session.principal.name}"
    if session.principal.kind == "network":  # nobody has logged in there: its segment is the uplink's name
        return {"session": None, "principal": principal, "segment": None, "uplink": session.segment}
    if session.principal.kind == "server":
        return {"session": None, "principal": principal, "segment": None}
    return {"session": session.number, "principal": principal, "segment": session.segment}


def place(switch: str, port: int, mac: bytes | int | None) -> dict[str, Any]:
    """Where something is attached."""
    number = int.from_bytes(mac, "big") if isinstance(mac, bytes) else mac
    return {"switch": switch, "port": port, "mac": None if number is None else format_mac(number)}


def connection(key: FlowKey | None) -> dict[str, Any]:
    """The 5-tuple as text, and the service that it opens."""
    if key is None:
        return dict.fromkeys(("source", "destination", "protocol", "source_port", "destination_port", "service"))
    protocol = _PROTOCOLS.get(key.proto, str(key.proto))
    ports = protocol in ("tcp", "udp", "sctp")
    return {
        "source": str(ipaddress.ip_address(key.src)),
        "destination": str(ipaddress.ip_address(key.dst)),
        "protocol": protocol,
        "source_port": key.sport if ports else None,
        "destination_port": key.dport if ports else None,
        "service": f"{protocol}/{key.dport}" if ports else protocol,
    }


def session_event(what: SessionEvent, session: Session, switch: str, detail: str, now: float) -> dict[str, Any]:
    """A session started, changed or ended. `detail` says more where there is more."""
    return {
        **head("session", now),
        "reason": what.value,
        "detail": detail or None,
        "subject": party(session),
        **place(switch, session.attachment.port, session.attachment.mac),
        "vlan": session.attachment.vlan or None,
        "addresses": [str(ipaddress.ip_address(address)) for address in session.addresses],
        "methods": list(session.methods),
        "mfa": session.principal.mfa,
        "aal": session.aal,
        "proofs": [_proof(proof) for proof in session.proofs],
        "device": session.device,
        "facts": facts(session.principal),
        "ends": rfc3339_or_none(session.ends),
    }


def facts(principal: Principal) -> dict[str, Any]:
    """What policy looks at of a principal, besides its name and address. `audit.recorded` reads it back."""
    return {
        "groups": sorted(principal.groups),
        "labels": dict(principal.labels),
        "mfa": principal.mfa,
        "mfa_at": rfc3339_or_none(principal.mfa_at),
        "aal": principal.aal,
        "device": None if principal.device is None else _device(principal.device),
    }


def _device(device: DeviceFacts) -> dict[str, Any]:
    return {
        "name": device.name,
        "groups": sorted(device.groups),
        "labels": dict(device.labels),
        "posture": dict(device.posture),
        "measured": rfc3339_or_none(device.measured),
        "times": {name: rfc3339(moment) for name, moment in device.times},
    }


def _proof(proof: Proof) -> dict[str, Any]:
    """Who has proved itself, how, how strongly, when, and by whose word. No more: the rest is what others know."""
    return {
        "principal": proof.account,
        "method": proof.method,
        "aal": proof.aal,
        "issuer": proof.issuer or None,
        "at": rfc3339(proof.at),
        "ends": rfc3339_or_none(proof.ends),
    }
