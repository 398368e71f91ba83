"""EAPOL frames of supplicants for tests, built field by field so that a test can also build wrong ones."""

from __future__ import annotations

import struct

from fakes.frames import Host, ethernet

PAE_GROUP = "01:80:c2:00:00:03"
EAP, START, LOGOFF = 0, 1, 2
RESPONSE, IDENTITY = 2, 1


def eap(code: int, identifier: int, data: bytes = b"") -> bytes:
    """An EAP packet; `data` begins with the type where there is one."""
    return struct.pack("!BBH", code, identifier, 4 + len(data)) + data


def response(identifier: int, method: int, data: bytes = b"") -> bytes:
    return eap(RESPONSE, identifier, bytes((method,)) + data)


def eapol(host: Host, kind: int, body: bytes = b"", *, version: int = 2, to: str = PAE_GROUP) -> bytes:
    return ethernet(host.mac, to, 0x888E, struct.pack("!BBH", version, kind, len(body)) + body)


def start(host: Host) -> bytes:
    return eapol(host, START)


def logoff(host: Host) -> bytes:
    return eapol(host, LOGOFF)


def answers(host: Host, identifier: int, method: int, data: bytes = b"") -> bytes:
    """The frame of a response."""
    return eapol(host, EAP, response(identifier, method, data))
