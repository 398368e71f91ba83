"""What `zethane login` and `logout` say to the portal. Uses http.client: it takes a few milliseconds to load."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from zethane.errors import AuthenticationError, InputError, Problem, ZethaneError

CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 30.0
"""Seconds; a password is slow to check, and others may be waiting."""

MAX_ANSWER = 64 * 1024
"""Bytes of an answer."""


class PortalError(ZethaneError):
    """The portal cannot be reached, or does not answer as one."""


@dataclass(frozen=True)
class Certificate:
    """What a client proves itself with: PEM files, the certificate with those between it and its CA."""

    file: Path
    key: Path


class PortalClient:
    """One portal address. Every request is a connection of its own: a host's address may change in between."""

    def __init__(self, url: str, ca: Path | None = None, certificate: Certificate | None = None) -> None:
        self._url = url
        self._parts = _split(url)
        self._tls = _context(ca, certificate) if self._parts.scheme == "https" else None
        if certificate is not None and self._tls is None:
            raise InputError([Problem("--portal", f"expected https for a certificate, found {url!r}")])

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request. Raises AuthenticationError if it is a refusal, or PortalError."""
        try:
            status, text = self._exchange(path, json.dumps(body).encode("utf-8"))
        except ssl.SSLError as error:
            raise PortalError(f"{self._url}: no secure connection: {error.reason or error}") from None
        except (OSError, http.client.HTTPException) as error:
            raise PortalError(f"{self._url}: {_why(error)}") from None
        answer = self._parse(text)
        if status == http.client.OK:
            return answer
        raise AuthenticationError(str(answer.get("detail") or f"the portal answered with status {status}"))

    def _exchange(self, path: str, body: bytes) -> tuple[int, bytes]:
        host, port = self._parts.hostname or "", self._parts.port
        connection: http.client.HTTPConnection
        if self._tls is not None:
            connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_TIMEOUT, context=self._tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_TIMEOUT)
        try:
            connection.connect()
            connection.sock.settimeout(ANSWER_TIMEOUT)
            headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            return response.status, response.read(MAX_ANSWER + 1)
        finally:
            connection.close()

    def _parse(self, text: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(text) if len(text) <= MAX_ANSWER else None
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise PortalError(f"{self._url}: the answer is not a portal's")
        return answer


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.path not in ("", "/") or parts.query or parts.username is not None:
        raise InputError([Problem("--portal", f"expected http://ADDRESS:PORT, found {url!r}")])
    return parts


def _context(ca: Path | None, certificate: Certificate | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise InputError([Problem(str(ca), f"expected certificates in PEM: {error}")]) from None
    if certificate is not None:
        try:
            # Without a password here, OpenSSL would ask for a key's on the terminal.
            context.load_cert_chain(certificate.file, certificate.key, password="")
        except (OSError, ssl.SSLError) as error:
            message = f"cannot be used as a client's certificate, with {certificate.key}: {error}"
            raise InputError([Problem(str(certificate.file), message)]) from None
    return context


def _why(error: Exception) -> str:
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, http.client.HTTPException):
        return "the answer is not a portal's"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
