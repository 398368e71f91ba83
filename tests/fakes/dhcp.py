"""DHCP messages in frames, written by scapy: what hosts and servers send, and what they should not."""

from __future__ import annotations

from typing import Any

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import (
    DUID_LL,
    DHCP6_Advertise,
    DHCP6_Decline,
    DHCP6_Release,
    DHCP6_Renew,
    DHCP6_Reply,
    DHCP6_Request,
    DHCP6_Solicit,
    DHCP6OptClientId,
    DHCP6OptIA_NA,
    DHCP6OptIAAddress,
    DHCP6OptServerId,
)
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from fakes.frames import Host, mac

BROADCAST = "ff:ff:ff:ff:ff:ff"
ALL_SERVERS = "ff02::1:2"
ALL_SERVERS_MAC = "33:33:00:01:00:02"

_KINDS6 = {
    "solicit": DHCP6_Solicit,
    "advertise": DHCP6_Advertise,
    "request": DHCP6_Request,
    "renew": DHCP6_Renew,
    "reply": DHCP6_Reply,
    "release": DHCP6_Release,
    "decline": DHCP6_Decline,
}


def from_host(
    host: Host,
    kind: str,
    *options: tuple[str, Any],
    xid: int = 7,
    current: str = "0.0.0.0",  # noqa: S104  # no address
    chaddr: str | None = None,
    src: str | None = None,
    dst: str = "255.255.255.255",
    dst_mac: str = BROADCAST,
    giaddr: str = "0.0.0.0",  # noqa: S104  # no relay agent
    hops: int = 0,
) -> bytes:
    """A DHCPv4 message of a host. Where it says it has an address, it sends from there."""
    return bytes(
        Ether(src=host.mac, dst=dst_mac)
        / IP(src=src or current, dst=dst)
        / UDP(sport=68, dport=67)
        / BOOTP(op=1, xid=xid, ciaddr=current, chaddr=mac(chaddr or host.mac), giaddr=giaddr, hops=hops)
        / DHCP(options=[("message-type", kind), *options, "end"])
    )


def from_server(
    server: Host,
    to: Host,
    kind: str,
    address: str = "0.0.0.0",  # noqa: S104  # no address
    *,
    xid: int = 7,
    lease: int | None = 3600,
    server_id: str | None = None,
    dst_mac: str | None = None,
) -> bytes:
    """A DHCPv4 message of a server."""
    options: list[Any] = [("message-type", kind), ("server_id", server_id or server.ip)]
    if lease is not None:
        options.append(("lease_time", lease))
    return bytes(
        Ether(src=server.mac, dst=dst_mac or to.mac)
        / IP(src=server.ip, dst="255.255.255.255")
        / UDP(sport=67, dport=68)
        / BOOTP(op=2, xid=xid, yiaddr=address, chaddr=mac(to.mac))
        / DHCP(options=[*options, "end"])
    )


def link_local(host: Host) -> str:
    """The link-local address that a host in a test has: fe80:: and the last byte of its MAC."""
    return f"fe80::{host.mac[-2:]}"


def message6(kind: str, client: Host, addresses: dict[str, int], xid: int = 7, iaid: int = 1) -> Any:
    """A DHCPv6 message about addresses, with the seconds that each is valid."""
    inside = [DHCP6OptIAAddress(addr=address, preflft=valid, validlft=valid) for address, valid in addresses.items()]
    return (
        _KINDS6[kind](trid=xid)
        / DHCP6OptClientId(duid=DUID_LL(lladdr=client.mac))
        / DHCP6OptServerId(duid=DUID_LL(lladdr="02:00:00:00:00:03"))
        / DHCP6OptIA_NA(iaid=iaid, T1=1800, T2=2880, ianaopts=inside)
    )


def from_host6(host: Host, kind: str, *addresses: str, xid: int = 7, src: str | None = None, iaid: int = 1) -> bytes:
    """A DHCPv6 message of a host to all servers."""
    return bytes(
        Ether(src=host.mac, dst=ALL_SERVERS_MAC)
        / IPv6(src=src or link_local(host), dst=ALL_SERVERS)
        / UDP(sport=546, dport=547)
        / message6(kind, host, dict.fromkeys(addresses, 0), xid, iaid)
    )


def from_server6(server: Host, to: Host, kind: str, xid: int = 7, **addresses: int) -> bytes:
    """A DHCPv6 message of a server; addresses by keyword with their seconds, as `**{"2001:db8::70": 3600}`."""
    return bytes(
        Ether(src=server.mac, dst=to.mac)
        / IPv6(src=link_local(server), dst=link_local(to))
        / UDP(sport=547, dport=546)
        / message6(kind, to, addresses, xid)
    )
