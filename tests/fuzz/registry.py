"""Every target, by name."""

from __future__ import annotations

from fuzz import applications, documents, frames, openflow
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target for module in (frames, openflow, documents, applications) for target in module.TARGETS
}
