"""The lists that python-openstackclient prints with `-f json`, by the names of their columns.

Columns that are not known here are of no account: the client has more of them from version to version.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from zethane.net.prefix import MAX_TEXT

MAX_LIST = 4096

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Word = Annotated[str, StringConstraints(max_length=255)]
AddressText = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class Row(BaseModel):
    """One entry of a list."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class RuleRow(Row):
    """`openstack security group rule list`; of older versions with `--long`.

    The client prints `0.0.0.0/0` or `::/0` in `IP Range` where there is no prefix, even beside a remote group.
    """

    id: Annotated[Identifier, Field(alias="ID")]
    protocol: Annotated[Word | None, Field(alias="IP Protocol")]
    family: Annotated[Literal["IPv4", "IPv6"], Field(alias="Ethertype")]
    prefix: Annotated[AddressText | None, Field(alias="IP Range")]
    ports: Annotated[Annotated[str, StringConstraints(max_length=64)] | None, Field(alias="Port Range")]
    direction: Annotated[Literal["ingress", "egress"], Field(alias="Direction")]
    remote_group: Annotated[Identifier | None, Field(alias="Remote Security Group")]
    remote_addresses: Annotated[Identifier | None, Field(alias="Remote Address Group")] = None
    group: Annotated[Identifier, Field(alias="Security Group")]


class GroupRow(Row):
    """`openstack security group list`."""

    id: Annotated[Identifier, Field(alias="ID")]
    name: Annotated[Word, Field(alias="Name")]


class AddressGroupRow(Row):
    """`openstack address group list`."""

    id: Annotated[Identifier, Field(alias="ID")]
    addresses: Annotated[tuple[AddressText, ...], Field(alias="Addresses", max_length=MAX_LIST)]


class FixedAddress(Row):
    """One address of a port."""

    address: Annotated[AddressText, Field(alias="ip_address")]


class PortRow(Row):
    """`openstack port list --long`."""

    id: Annotated[Identifier, Field(alias="ID")]
    name: Annotated[Word | None, Field(alias="Name")] = None
    addresses: Annotated[tuple[FixedAddress, ...], Field(alias="Fixed IP Addresses", max_length=MAX_LIST)]
    groups: Annotated[tuple[Identifier, ...], Field(alias="Security Groups", max_length=MAX_LIST)]
    owner: Annotated[Word | None, Field(alias="Device Owner")] = None


class ServerRow(Row):
    """`openstack server list`; with `-c "Security Groups"` it says the names of groups, too."""

    id: Annotated[Identifier, Field(alias="ID")]
    name: Annotated[Word, Field(alias="Name")]
    networks: Annotated[
        dict[Word, Annotated[tuple[AddressText, ...], Field(max_length=MAX_LIST)]],
        Field(alias="Networks", max_length=MAX_LIST),
    ] = Field(default_factory=dict)
    groups: Annotated[tuple[Word, ...] | None, Field(alias="Security Groups", max_length=MAX_LIST)] = None
