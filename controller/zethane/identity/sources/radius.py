"""The sections `radius` and `dot1x`: RADIUS servers (RFC 2865, 2866, 5176), and the authenticator of IEEE 802.1X."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zethane.document import Model
from zethane.document.duration import Duration
from zethane.identity.sources.common import HostName, Listen, Port, SourceName, WithSecret
from zethane.policy.schema import LabelKey, LabelValue, Name


class RadiusServer(WithSecret):
    """One server; servers are asked in the order of the file."""

    host: HostName
    auth_port: Port = 1812
    acct_port: Port = 1813


class RadiusClient(WithSecret):
    """Who may send Disconnect and CoA requests."""

    host: HostName


class DynamicAuthorization(Model):
    """Where Disconnect and CoA requests are taken (RFC 5176 §2.1 gives it port 3799)."""

    listen: Listen = "127.0.0.1:3799"
    clients: Annotated[dict[SourceName, RadiusClient], Field(min_length=1, max_length=16)]


class Radius(Model):
    """All about RADIUS. `groups` maps values of Filter-Id to groups; without it a Filter-Id is the group's name."""

    servers: Annotated[dict[SourceName, RadiusServer], Field(min_length=1, max_length=16)]
    timeout: Duration = "3s"
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    dead_time: Duration = "60s"
    nas_identifier: Annotated[str, Field(min_length=1, max_length=63)] = "zethane"
    accounting: bool = True
    interim: Duration = "5m"
    dynamic_authorization: DynamicAuthorization | None = None
    groups: Annotated[dict[str, Name], Field(max_length=1024)] | None = None
    labels: Annotated[dict[str, dict[LabelKey, LabelValue]], Field(max_length=1024)] | None = None


class Dot1x(Model):
    """The authenticator's timers (IEEE 802.1X-2020 §8). Which ports use it, network.yaml says."""

    tx_period: Duration = "30s"
    quiet_period: Duration = "60s"
    max_requests: Annotated[int, Field(ge=1, le=10)] = 2
    reauthenticate: Duration | None = None
