"""What followed sessions have carried, kept beside the store: a restart of the controller takes nothing back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import structlog

from zethane.app.files import read_text
from zethane.errors import InputError
from zethane.service.counts import Counts
from zethane.service.usage import Carried

_log = structlog.get_logger("zethane.radius")


class UsageFile:
    """One JSON file: session numbers with the counters of `Carried`. Written whole or not at all."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._written: Mapping[int, Carried] = {}

    def load(self) -> dict[int, Carried]:
        """What was saved; nothing if there is no such file, or none that makes sense."""
        if not self._file.exists():
            return {}
        try:
            content = json.loads(read_text(self._file))
            return {int(number): Carried(Counts(*ended), Counts(*told)) for number, (ended, told) in content.items()}
        except (InputError, ValueError, TypeError, AttributeError) as error:
            _log.warning("usage-unreadable", file=str(self._file), reason=str(error))
            return {}

    def save(self, carried: Mapping[int, Carried]) -> None:
        """Write what has changed since the last time, if anything. Raises OSError."""
        if carried == self._written:
            return
        content = {number: (one.ended.all, one.told.all) for number, one in carried.items()}
        fresh = self._file.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        fresh.replace(self._file)
        self._written = carried
