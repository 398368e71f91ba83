"""Sessions and times as the API shows them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from zethane.audit.record import rfc3339
from zethane.identity.session import Session
from zethane.net.mac import format_mac

_MOMENTS = frozenset(("since", "lease", "loaded", "confirmed", "attested"))


def session_view(session: Session) -> dict[str, Any]:
    """A session, JSON-ready; times in RFC 3339."""
    attachment = session.attachment
    return {
        "session": session.number,
        "principal": f"{session.principal.kind}:{session.principal.name}",
        "kind": session.principal.kind,
        "name": session.principal.name,
        "segment": session.segment,
        "mfa": session.principal.mfa,
        "methods": list(session.methods),
        "device": session.device,
        "dpid": f"{attachment.dpid:016x}",
        "port": attachment.port,
        "vlan": attachment.vlan,
        "mac": format_mac(attachment.mac),
        "addresses": [str(ipaddress.ip_address(address)) for address in session.addresses],
        "started": rfc3339(session.started),
        "expires": rfc3339(session.ends),
    }


def with_times(view: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of the facade with its moments as RFC 3339."""
    return {
        name: rfc3339(value) if name in _MOMENTS and isinstance(value, float) else value for name, value in view.items()
    }
