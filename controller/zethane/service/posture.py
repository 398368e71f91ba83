"""What is known of devices: reports come in, sessions on the device stand as it follows, at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog

from zethane.errors import CapacityError, ZethaneError
from zethane.identity.posture import SKEW, Posture, Report
from zethane.policy.principal import DeviceFacts
from zethane.service.state import State

MAX_DEVICES = 40_000
"""Devices of which something is known."""

_log = structlog.get_logger("zethane.posture")

LookAgain = Callable[[int, str], None]
"""Puts in force what follows for a session, by its number, from what is known of its device now; with a detail."""

OnDevice = Callable[[str], Iterable[int]]
"""The live sessions in which a device of this name has proved itself."""


class PostureStore(Protocol):
    """What is known of devices and outlives the controller."""

    def postures(self) -> list[Posture]:
        """Everything that was saved."""

    def save_posture(self, posture: Posture) -> None:
        """Keep what is known of a device. Raises CapacityError."""


class UnknownDeviceError(ZethaneError):
    """Neither the identities nor a live session know a device of this name."""


class ReportTimeError(ZethaneError):
    """What was measured was measured in the future."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a report was taken; if not, there is one at least as new, of the time `measured`."""

    taken: bool
    measured: float


class Postures:
    """All that is known of devices. `registered` tells whether the identities name a device."""

    def __init__(
        self,
        state: State,
        store: PostureStore,
        registered: Callable[[str], bool],
        on_device: OnDevice,
        look_again: LookAgain,
    ) -> None:
        self._state = state
        self._store = store
        self._registered = registered
        self._on_device = on_device
        self._look_again = look_again
        self._known = {posture.device: posture for posture in store.postures()}
        self._state.postures.update({name: posture.facts() for name, posture in self._known.items()})

    def of(self, device: str) -> Posture | None:
        """The reports about a device."""
        return self._known.get(device)

    def facts(self, device: str) -> DeviceFacts | None:
        """What counts of a device; None if nothing is known."""
        return self._state.postures.get(device)

    def is_known(self, device: str) -> bool:
        """Whether the identities or a live session know a device of this name."""
        return self._registered(device) or any(True for _ in self._on_device(device))

    def report(self, report: Report) -> Outcome:
        """Take a report, unless there is one of the same reporter that is at least as new.

        Raises UnknownDeviceError, ReportTimeError, CapacityError; then nothing has changed.
        """
        now = self._state.clock()
        if report.measured > now + SKEW:
            raise ReportTimeError("expected a time of measurement that is not in the future")
        if not self.is_known(report.device):
            raise UnknownDeviceError("no device of this name is known")
        before = self._known.get(report.device, Posture(report.device))
        last = before.of(report.reporter)
        if last is not None and last.measured >= report.measured:
            self._state.counters["posture_late"] += 1
            return Outcome(False, last.measured)
        if report.device not in self._known and len(self._known) >= MAX_DEVICES:
            raise CapacityError(f"something is known of {MAX_DEVICES} devices already")
        posture = before.with_report(report)
        self._store.save_posture(posture)
        self._known[report.device] = posture
        self._state.counters["posture_reports"] += 1
        self._use(posture, report.reporter)
        return Outcome(True, report.measured)

    def refused(self) -> None:
        """Somebody has reported what is not theirs to report."""
        self._state.counters["posture_refused"] += 1

    def _use(self, posture: Posture, reporter: str) -> None:
        before, facts = self._state.postures.get(posture.device), posture.facts()
        self._state.postures[posture.device] = facts
        if before is None or before.posture != facts.posture:
            _log.info("posture-changed", device=posture.device, reporter=reporter)
        for number in tuple(self._on_device(posture.device)):
            self._look_again(number, f"posture of {posture.device}, by {reporter}")
