"""Devices of the running controller: who they are, where they are live, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from typing import Any

import structlog

from zethane.app.journal import LogJournal
from zethane.audit.reason import SessionEvent
from zethane.audit.record import rfc3339, rfc3339_or_none
from zethane.errors import CapacityError
from zethane.identity.directory import Device
from zethane.identity.posture import Posture, Report
from zethane.identity.proof import proven_device
from zethane.identity.session import Session
from zethane.identity.signals.keys import keys_of_session
from zethane.service.administrator import Administrator
from zethane.service.posture import Outcome, Postures, PostureStore
from zethane.service.session_index import SessionIndex

_log = structlog.get_logger("zethane.posture")


class Devices:
    """Devices and their postures, with an index of the live sessions by the words that others have for them."""

    def __init__(self, administrator: Administrator, store: PostureStore, journal: LogJournal) -> None:
        """Load what is known; nothing is known of sessions yet that are taken up later (`index`)."""
        self._administrator = administrator
        state = administrator.state
        self.index = SessionIndex(keys_of_session, self._session)
        self.postures = Postures(state, store, self._is_registered, self._on_device, self._look_again)
        self._proven = SessionIndex(_proven_names, self._session)
        """The sessions in which a device has proved itself, by its name."""
        self._names: tuple[Mapping[str, Device], list[str]] = ({}, [])
        """What is registered, and its names in order."""
        for index in (self.index, self._proven):
            journal.watch(index.note)

    def enter(self) -> None:
        """Index the sessions that were taken up again."""
        for index in (self.index, self._proven):
            index.add(live.session for live in self._administrator.state.sessions)

    def _session(self, number: int) -> Session | None:
        live = self._administrator.state.sessions.by_number.get(number)
        return live.session if live is not None else None

    @property
    def _registered(self) -> Mapping[str, Device]:
        """The devices of the identities as they are now."""
        directory = self._administrator.state.accounts.directory
        return directory.devices if directory is not None else {}

    def _is_registered(self, name: str) -> bool:
        return name in self._registered

    def _on_device(self, name: str) -> Iterable[int]:
        return self._proven.numbers(name)

    def _look_again(self, number: int, detail: str) -> None:
        live = self._administrator.state.sessions.by_number.get(number)
        if live is None:
            return
        try:
            self._administrator.life.look_again(live, SessionEvent.CHANGED, detail)
        except CapacityError as error:
            # No session rather than one that would be too good after a restart.
            _log.error("posture-unapplied", session=number, reason=str(error))
            self._administrator.life.end(live, SessionEvent.SIGNALLED, detail)

    # what the API asks

    def report(self, report: Report) -> Outcome:
        """Take a report. Raises UnknownDeviceError, ReportTimeError, CapacityError."""
        return self.postures.report(report)

    def all(self) -> Iterator[Mapping[str, Any]]:
        """Every device that the identities name, or that has proved itself, by name; made on the way."""
        registered = self._registered
        if self._names[0] is not registered:
            self._names = (registered, sorted(registered))
        others = sorted(name for name in self._proven.keys if name not in registered)
        return map(self._view, merge(self._names[1], others))

    def one(self, name: str) -> Mapping[str, Any] | None:
        """One device with each reporter's last report; None if nobody knows it."""
        if not self.postures.is_known(name):
            return None
        posture = self.postures.of(name)
        reports = [_report_view(report) for report in (posture or Posture(name)).reports]
        return {**self._view(name), "reports": reports}

    def _view(self, name: str) -> Mapping[str, Any]:
        entry = self._registered.get(name)
        facts = self.postures.facts(name)
        times = dict(facts.times) if facts is not None else {}
        return {
            "device": name,
            "registered": entry is not None,
            "disabled": entry is not None and entry.disabled,
            "owner": entry.owner if entry is not None else None,
            "mac": entry.mac if entry is not None else None,
            "groups": list(entry.groups) if entry is not None else [],
            "labels": dict(entry.labels) if entry is not None else {},
            "sessions": sorted(self._on_device(name)),
            "measured": rfc3339_or_none(facts.measured) if facts is not None else None,
            "posture": {
                attribute: {"value": value, "measured": rfc3339(times[attribute])}
                for attribute, value in (facts.posture if facts is not None else ())
            },
        }


def _proven_names(session: Session) -> tuple[str, ...]:
    device = proven_device(session.proofs)
    return (device.name,) if device is not None else ()


def _report_view(report: Report) -> Mapping[str, Any]:
    return {
        "reporter": report.reporter,
        "measured": rfc3339(report.measured),
        "received": rfc3339(report.received),
        "attributes": dict(report.attributes),
    }
