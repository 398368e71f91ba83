"""The compiled half of the hot path, where it was built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from zethane.adapters.openflow.channel import Channel, FastPath
from zethane.native import HOT_PATH, native
from zethane.service.flows import LiveFlow
from zethane.service.state import State


class Lines(Protocol):
    """A journal that takes records which are lines already."""

    flow_watchers: list[Callable[[LiveFlow], None]]

    def write_lines(self, text: bytes, count: int) -> None:
        """So many records."""


def compiled_path(state: State, journal: Lines) -> FastPath | None:
    """The compiled path for all connections; None where it was not built, or Python alone is wanted."""
    module = native(HOT_PATH)
    return cast("FastPath", module.FastPath(state, journal, Channel)) if module is not None else None
