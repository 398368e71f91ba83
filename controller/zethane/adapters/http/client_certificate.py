"""What a client has presented in its TLS handshake."""

from __future__ import annotations

import ssl

from zethane.identity.certificates import MAX_CERTIFICATE, MAX_CHAIN, MAX_TOTAL

STATE = "client_certificates"
"""Where a connection keeps what its client presented: DER, its own certificate first."""


def presented(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates of the handshake; none if there was none, or if it was not made on this connection.

    A resumed TLS session (RFC 8446 §2.2) shows the certificate of an earlier handshake: it proves nothing now.
    """
    leaf = connection.getpeercert(binary_form=True)
    if leaf is None or connection.session_reused:
        return ()
    return tuple(_bounded([leaf, *(one for one in _chain(connection) if one != leaf)]))


def _chain(connection: ssl.SSLObject) -> list[bytes]:
    """All that the client sent. Python tells since 3.13, and before that the object beneath does."""
    for holder in (connection, getattr(connection, "_sslobj", None)):
        tell = getattr(holder, "get_unverified_chain", None)
        if tell is not None:
            return [one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in tell()]
    return []


def _bounded(chain: list[bytes]) -> list[bytes]:
    """As many of them as the controller takes. What is too large by itself is for it to refuse."""
    taken: list[bytes] = []
    for one in chain[:MAX_CHAIN]:
        if len(one) > MAX_CERTIFICATE or sum(map(len, taken)) + len(one) > MAX_TOTAL:
            break
        taken.append(one)
    return taken
