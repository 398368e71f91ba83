"""Why a flow to a DNS server of the infrastructure may or may not be opened, as `explain` says it of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zethane.pipeline.dns import PORT
from zethane.pipeline.infrastructure import Server
from zethane.policy.explain import NOBODY
from zethane.policy.principal import Party, Principal
from zethane.policy.service import Service
from zethane.service.policy_in_force import DNS_RULE


def explain_dns(server: Server, subject: Party, service: Service) -> Mapping[str, Any]:
    """The decision, in the words of `policy.explain`. No rule of the policy is about it."""
    is_dns = service.proto in ("udp", "tcp") and service.low == service.high == PORT
    if not isinstance(subject, Principal):
        reason = "the subject is not authenticated"
    elif is_dns:
        reason = "DNS servers of the infrastructure answer every live session, whatever the policy says"
    else:
        reason = f"{server.name} is a DNS server of the infrastructure and answers udp/{PORT} and tcp/{PORT} alone"
    allowed = isinstance(subject, Principal) and is_dns
    source = f"{subject.kind}:{subject.name}" if isinstance(subject, Principal) else None
    return {
        "decision": "allow" if allowed else "deny",
        "rule": DNS_RULE if allowed else None,
        "reason": reason,
        "service": str(service),
        "place": None,
        "lacking": None,
        "from": {**NOBODY, "principal": source, "segments": []},
        "to": {**NOBODY, "principal": f"server:{server.name}", "segments": []},
        "considered": [],
    }
