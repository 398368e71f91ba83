"""Every target, by name."""

from __future__ import annotations

from fuzz import (
    applications,
    captures,
    compiled,
    documents,
    frames,
    logs,
    openflow,
    openid,
    radius,
    services,
    signals,
    switches,
    workloads,
)
from fuzz.target import Target

_MODULES = (
    frames,
    services,
    openflow,
    switches,
    compiled,
    documents,
    applications,
    openid,
    workloads,
    signals,
    radius,
    captures,
    logs,
)

TARGETS: dict[str, Target] = {target.name: target for module in _MODULES for target in module.TARGETS}
