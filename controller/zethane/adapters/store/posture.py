"""What is known of devices, in the store: a table of its own, on the connection of the store."""

from __future__ import annotations

import json
import sqlite3

import structlog

from zethane.adapters.store.connection import SharedConnection
from zethane.errors import CapacityError
from zethane.identity.posture import Posture, Report, check_attributes

_log = structlog.get_logger("zethane.store")


class PostureTable:
    """Implements `service.posture.PostureStore` over a connection that somebody else opens and closes."""

    _db: SharedConnection

    def postures(self) -> list[Posture]:
        """Everything that was saved. What cannot be read is logged: nothing is known of that device then."""
        rows = self._db.execute("SELECT device, body FROM posture ORDER BY device").fetchall()
        return [posture for posture in (_read(device, body) for device, body in rows) if posture is not None]

    def save_posture(self, posture: Posture) -> None:
        """Keep what is known of a device. Raises CapacityError if it cannot be written."""
        body = json.dumps([_value(report) for report in posture.reports])
        try:
            self._db.execute("INSERT OR REPLACE INTO posture VALUES (?, ?)", (posture.device, body))
        except sqlite3.OperationalError as error:
            raise CapacityError(f"the store cannot be written: {error}") from error


def _value(report: Report) -> dict[str, object]:
    return {
        "reporter": report.reporter,
        "measured": report.measured,
        "received": report.received,
        "attributes": dict(report.attributes),
    }


def _read(device: str, body: str) -> Posture | None:
    try:
        return Posture(
            device,
            tuple(
                Report(
                    device,
                    str(one["reporter"]),
                    float(one["measured"]),
                    float(one["received"]),
                    check_attributes(one["attributes"]),
                )
                for one in json.loads(body)
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        _log.error("posture-unreadable", device=device, reason=type(error).__name__)
        return None
