"""Servers of the infrastructure as the hot path sees them: like a session without a lease that opens nothing."""

from __future__ import annotations

from zethane.identity.session import Session
from zethane.pipeline.fields import DNS_CLASS
from zethane.pipeline.infrastructure import Server
from zethane.policy.principal import Principal
from zethane.service.sessions import Live


class Serving(Live):
    """A server that sessions may use. It never is in the table of sessions: nobody logs in or out there."""

    __slots__ = ("server",)

    def __init__(self, server: Server) -> None:
        principal = Principal("server", server.name)
        party = Session(server.number, principal, server.attachment, server.addresses, server.name, 0.0)
        super().__init__(party, DNS_CLASS, server.switch, server.attachment.mac.to_bytes(6, "big"))
        self.server = server
