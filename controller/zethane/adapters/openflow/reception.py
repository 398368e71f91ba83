"""Switches that connect while the controller starts: greeted at once, and kept until it is there.

Open vSwitch tries to connect once a second at the most, and gives up what has not greeted it within a second. A start
takes some seconds, so that it would mostly come too late for one try, and wait for the next. Whoever is greeted waits
for what the controller asks. Nothing is read or decided here, and nothing opens.

It needs nothing of the rest of the controller: it begins before that is imported.
"""

from __future__ import annotations

import ipaddress
import selectors
import socket
import struct
import threading

MAX_WAITING = 256
"""Switches that are greeted; more wait without it, as do all where there is TLS."""

BACKLOG = 1024
"""Connections that the kernel keeps before they are accepted."""

HELLO = struct.pack("!BBHI", 4, 0, 8, 0)
"""Our version only, without elements: OpenFlow 1.3.5 §6.3.1 falls back to the header's version."""


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Reception:
    """Listens on an address, in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        """Listen and begin. Raises OSError where nobody can listen there; `host` is an address of loopback."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening: socket.socket | None = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._listening.setblocking(False)
        self._greeted: list[socket.socket] = []
        self._told_to_end, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._receive, args=(self._listening,), name="reception", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens; 0 if it has ended."""
        return int(self._listening.getsockname()[1]) if self._listening is not None else 0

    def hand_over(self) -> tuple[socket.socket, list[socket.socket]] | None:
        """End, and let somebody else have the listening socket and those who were greeted; None if it has ended."""
        self._end.close()
        self._thread.join()
        listening, self._listening = self._listening, None
        greeted, self._greeted = self._greeted, []
        return (listening, greeted) if listening is not None else None

    def close(self) -> None:
        """End, and hang up on those that nobody has taken over."""
        if (left := self.hand_over()) is not None:
            listening, greeted = left
            for one in (listening, *greeted):
                one.close()

    def _receive(self, listening: socket.socket) -> None:
        with self._told_to_end, selectors.DefaultSelector() as ready:
            ready.register(listening, selectors.EVENT_READ)
            ready.register(self._told_to_end, selectors.EVENT_READ)
            while len(self._greeted) < MAX_WAITING:
                if any(key.fileobj is self._told_to_end for key, _ in ready.select()):
                    return
                try:
                    connection, _ = listening.accept()
                except (BlockingIOError, ConnectionError):
                    continue  # whoever it was has gone
                except OSError:
                    return  # no room for more: who comes now waits for the listener
                self._greet(connection)

    def _greet(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            connection.send(HELLO)  # the first bytes: there is room
        except OSError:
            connection.close()  # gone as well
            return
        self._greeted.append(connection)


def receive(host: str, port: int) -> Reception | None:
    """Begin where that is of use: at an address of loopback that is free. Whoever listens later says what is wrong
    with any other."""
    try:
        ipaddress.ip_address(host)
        return Reception(host, port) if is_loopback(host) else None
    except (ValueError, OSError):
        return None
