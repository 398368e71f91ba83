"""What the portal and the controller say to each other, and what clients say to the portal, as JSON."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StrictInt, StringConstraints

from zethane.errors import InputError, Problem
from zethane.identity.credential import MAX_NAME, MAX_SECRET, Credential
from zethane.identity.factor import plain_code
from zethane.identity.session import Endpoint, Session
from zethane.service.claims import MAX_TOKEN

MAX_BODY = 8 * 1024
"""Bytes of a request's body."""


def _check_address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("expected an IPv4 or IPv6 address") from None
    return text


Address = Annotated[str, StringConstraints(max_length=64), AfterValidator(_check_address)]
Port = Annotated[StrictInt, Field(ge=1, le=0xFFFF)]
Name = Annotated[str, StringConstraints(max_length=MAX_NAME)]
Secret = Annotated[SecretStr, Field(max_length=MAX_SECRET)]
Code = Annotated[SecretStr, Field(max_length=32)]
"""A one-time code or a recovery code, with or without spaces and dashes."""


class PortalModel(BaseModel):
    """What is said between the portal and the controller."""

    # Errors name the field and what was expected, never what was given: that may be a password.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Connection(PortalModel):
    """A live TCP connection to the portal, as its own end of it tells: never from a header."""

    remote: Address
    remote_port: Port
    local: Address
    local_port: Port


class Proof(PortalModel):
    """Who wants to log in, and what proves it."""

    user: Name | None = None
    workload: Name | None = None
    secret: Secret
    totp: Code | None = None

    def credential(self) -> Credential:
        """The credential. Raises InputError if it cannot be one."""
        if (self.user is None) == (self.workload is None):
            raise InputError([Problem("login", "expected either a user or a workload", key="user")])
        code = plain_code(self.totp.get_secret_value()) if self.totp is not None else None
        secret = self.secret.get_secret_value()
        if self.user is not None:
            return Credential("user", self.user, secret, code)
        return Credential("workload", self.workload or "", secret, code)


class Claim(PortalModel):
    """The token that a login, or the claim before, was answered with."""

    token: Annotated[SecretStr, Field(max_length=MAX_TOKEN)]


class PortalLogin(PortalModel):
    """A login that came in over a connection."""

    connection: Connection
    proof: Proof


class PortalClaim(PortalModel):
    """A claim that came in over a connection."""

    connection: Connection
    claim: Claim


class PortalRequest(PortalModel):
    """A logout or a question that came in over a connection."""

    connection: Connection


Locate = Callable[[Connection], Endpoint]
"""Where a connection to the portal comes from; raises an error where no switch carries it."""

Tell = Callable[[Session], dict[str, Any]]
"""A session as its owner is told of it."""
