"""Sessions and times as the API shows them."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from typing import Any

from zethane.audit.record import rfc3339, rfc3339_or_none
from zethane.identity.proof import Proof
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
        "aal": session.aal,
        "methods": list(session.methods),
        "device": session.device,
        "proofs": [proof_view(proof) for proof in session.proofs],
        "dpid": f"{attachment.dpid:016x}",
        "port": attachment.port,
        "vlan": attachment.vlan,
        "mac": format_mac(attachment.mac),
        "addresses": [str(ipaddress.ip_address(address)) for address in session.addresses],
        "started": rfc3339(session.started),
        "authenticated": rfc3339_or_none(session.proofs[0].at if session.proofs else math.inf),
        "expires": rfc3339_or_none(session.ends),
    }


def proof_view(proof: Proof) -> dict[str, Any]:
    """One proof of a session: who, how, how strongly, when, and what ends it when; `idle` in seconds."""
    return {
        "account": proof.account,
        "method": proof.method,
        "amr": list(proof.amr),
        "aal": proof.aal,
        "issuer": proof.issuer or None,
        "at": rfc3339(proof.at),
        "mfa_at": rfc3339_or_none(proof.mfa_at),
        "expires": rfc3339_or_none(proof.expires),
        "reauthenticate": rfc3339_or_none(proof.reauthenticate),
        "ends": rfc3339_or_none(proof.ends),
        "idle": None if proof.idle == math.inf else proof.idle,
    }


def with_times(view: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of the facade with its moments as RFC 3339."""
    return {
        name: rfc3339(value) if name in _MOMENTS and isinstance(value, float) else value for name, value in view.items()
    }
