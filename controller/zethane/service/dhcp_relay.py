"""The way between hosts and the trusted DHCP servers: through the controller, one message at a time.

What a host asks goes to the servers' ports alone, what a server answers to the one host that asked.
"""

from __future__ import annotations

from zethane.audit.reason import DenyReason
from zethane.net import dhcp, dhcpv6
from zethane.net.datagram import Datagram, parse_datagram
from zethane.net.endpoint import Attachment
from zethane.net.flowkey import parse_frame
from zethane.pipeline.infrastructure import DHCP, Server
from zethane.service.dhcp_transactions import Key, Transaction
from zethane.service.journal import Denied
from zethane.service.leases import LeaseEnd
from zethane.service.leasing import Leasing
from zethane.service.points import Point
from zethane.service.state import State
from zethane.service.switch import PacketIn

_NOWHERE, _EVERYWHERE = bytes(4), b"\xff" * 4
_CLIENT_PORTS = frozenset((dhcp.CLIENT_PORT, dhcpv6.CLIENT_PORT))
_ASKS = frozenset((dhcp.Kind.DISCOVER, dhcp.Kind.REQUEST))
_ASKS6 = frozenset((dhcpv6.Kind.SOLICIT, dhcpv6.Kind.REQUEST, dhcpv6.Kind.RENEW, dhcpv6.Kind.REBIND))
_GIVES_UP = {dhcp.Kind.RELEASE: LeaseEnd.RELEASED, dhcp.Kind.DECLINE: LeaseEnd.DECLINED}
_GIVES_UP6 = {dhcpv6.Kind.RELEASE: LeaseEnd.RELEASED, dhcpv6.Kind.DECLINE: LeaseEnd.DECLINED}


class DhcpRelay:
    """Carries messages, and learns the leases from them."""

    def __init__(self, state: State, leasing: Leasing) -> None:
        self._state = state
        self._leasing = leasing

    def packet_in(self, point: Point, event: PacketIn) -> None:
        """A message of a host or a server; or of a host that plays the server."""
        packet, datagram = parse_frame(event.frame), parse_datagram(event.frame)
        sender = Attachment(point.switch.dpid, event.port, event.vlan, int.from_bytes(event.frame[6:12], "big"))
        server = self._state.fabric.server_at(point.switch.dpid, event.port)
        refusal: DenyReason | None
        if server is not None and DHCP in server.serves:
            refusal = DenyReason.MALFORMED if datagram is None else self._from_server(server, sender, datagram)
        elif packet is not None and packet.key.dport in _CLIENT_PORTS:
            refusal = DenyReason.ROGUE_SERVER
        elif datagram is None or not point.is_edge(event.port):
            refusal = DenyReason.MALFORMED
        else:
            refusal = self._from_client(sender, datagram)
        if refusal is not None:
            live = self._state.sessions.at(sender)
            key, session = packet.key if packet else None, live.session if live else None
            what = Denied(refusal, point.switch.name, event.port, key, event.frame[6:12], session, None)
            self._state.deny(what)

    # from hosts

    def _from_client(self, sender: Attachment, datagram: Datagram) -> DenyReason | None:
        """Pass a host's message on; or why not."""
        if not self._leasing.is_a_host(sender):
            return DenyReason.DHCP_SPOOF
        return self._ask(sender, datagram) if len(datagram.src) == 4 else self._ask6(sender, datagram)

    def _ask(self, sender: Attachment, datagram: Datagram) -> DenyReason | None:
        message = dhcp.parse_message(datagram.payload)
        if message is None or not message.from_client:
            return DenyReason.MALFORMED
        if not self._is_true(sender, message, datagram):
            return DenyReason.DHCP_SPOOF
        wanted = () if message.wanted is None else (message.wanted,)
        asks = message.kind in _ASKS
        renews = message.kind == dhcp.Kind.REQUEST and any(
            self._leasing.is_renewal(sender, address, message.client) for address in wanted
        )
        refusal = self._leasing.admit(
            sender,
            Key(4, message.xid, message.mac),
            Transaction(sender, b"", wanted, message.client, asks=asks),
            more=int(asks and not renews),
        )
        refusal = refusal or self._send_up(datagram, to_all=datagram.dst == _EVERYWHERE)
        if refusal is None and message.kind in _GIVES_UP:
            self._leasing.take(sender, wanted, _GIVES_UP[message.kind])
        return refusal

    def _is_true(self, sender: Attachment, message: dhcp.Message, datagram: Datagram) -> bool:
        """Whether a host speaks for itself: of its own card, from and about addresses that are not somebody else's."""
        leasing, wanted = self._leasing, message.wanted
        if message.relayed or message.mac != datagram.eth_src or leasing.is_elsewhere(sender):
            return False
        if datagram.src not in (_NOWHERE, message.current):
            return False
        if message.kind in _GIVES_UP:
            return wanted is not None and leasing.has_lease(sender, wanted)
        if message.kind == dhcp.Kind.INFORM:
            return wanted is not None and leasing.has(sender, wanted)
        # Another host's address in option 50 is for the server to refuse (RFC 2131 §3.2).
        return message.current is None or leasing.may_have(sender, message.current)

    def _ask6(self, sender: Attachment, datagram: Datagram) -> DenyReason | None:
        message = dhcpv6.parse_message(datagram.payload)
        if message is None or not message.from_client:
            return DenyReason.MALFORMED
        leasing, client = self._leasing, message.client or b""
        wanted = tuple(leased.address for leased in message.leases)
        gives_up = message.kind in _GIVES_UP6
        if (
            message.relayed
            or not leasing.is_own_link_local(sender, datagram.src)
            or (gives_up and not (wanted and all(leasing.has_lease(sender, address) for address in wanted)))
        ):
            return DenyReason.DHCP_SPOOF
        asks = message.kind in _ASKS6
        new = (
            message.kind == dhcpv6.Kind.SOLICIT
            or not any(leasing.is_renewal(sender, leased.address, client + one.identity) for leased in one.leases)
            for one in message.associations
        )
        refusal = leasing.admit(
            sender,
            Key(16, message.xid, client),
            Transaction(sender, datagram.src, wanted, client, asks=asks),
            more=sum(new) if asks else 0,
        )
        refusal = refusal or self._send_up(datagram, to_all=datagram.dst == dhcpv6.ALL_SERVERS)
        if refusal is None and gives_up:
            leasing.take(sender, wanted, _GIVES_UP6[message.kind])
        return refusal

    def _send_up(self, datagram: Datagram, *, to_all: bool) -> DenyReason | None:
        """Deliver a host's message to the servers that it is for, and to nobody else."""
        servers = self._state.fabric.serving(DHCP)
        if not to_all:
            servers = [server for server in servers if datagram.dst in server.addresses]
        if not servers:
            return DenyReason.UNKNOWN_DESTINATION
        for server in servers:
            channel = self._state.fabric.by_number[server.switch].channel
            if channel is not None:
                channel.packet_out(server.attachment.port, datagram.frame)
        self._state.counters["dhcp_requests"] += 1
        return None

    # from servers

    def _from_server(self, server: Server, sender: Attachment, datagram: Datagram) -> DenyReason | None:
        """Pass a server's answer on to who has asked; or why not."""
        own = datagram.src in server.addresses or (len(datagram.src) == 16 and datagram.src.startswith(b"\xfe\x80"))
        if not own or sender.mac != server.attachment.mac:
            return DenyReason.ROGUE_SERVER
        return self._answer(server, datagram) if len(datagram.src) == 4 else self._answer6(datagram)

    def _answer(self, server: Server, datagram: Datagram) -> DenyReason | None:
        message = dhcp.parse_message(datagram.payload)
        if message is None or message.from_client or message.relayed or message.server not in server.addresses:
            return DenyReason.MALFORMED
        found = self._asked(Key(4, message.xid, message.mac))
        if found is None:
            return None
        offered = message.offered
        if offered is not None and not self._leasing.may_have(found.attachment, offered):
            return DenyReason.ADDRESS_IN_USE
        if message.kind == dhcp.Kind.ACK and found.asks and offered is not None and message.lease:
            self._leasing.grant(found.attachment, offered, message.lease, found.client)
        elif message.kind == dhcp.Kind.NAK:
            self._leasing.take(found.attachment, found.wanted, LeaseEnd.REFUSED)
        self._send_down(found.attachment, datagram)
        return None

    def _answer6(self, datagram: Datagram) -> DenyReason | None:
        message = dhcpv6.parse_message(datagram.payload)
        if message is None or message.from_client or message.relayed:
            return DenyReason.MALFORMED
        found = self._asked(Key(16, message.xid, message.client or b""))
        if found is None or found.source != datagram.dst:
            return None
        if not all(self._leasing.may_have(found.attachment, leased.address) for leased in message.leases):
            return DenyReason.ADDRESS_IN_USE
        if message.kind == dhcpv6.Kind.REPLY and found.asks:
            for one in message.associations:
                for leased in one.leases:
                    if leased.valid:
                        self._leasing.grant(found.attachment, leased.address, leased.valid, found.client + one.identity)
            gone = tuple(leased.address for leased in message.leases if not leased.valid)
            self._leasing.take(found.attachment, gone, LeaseEnd.REFUSED)
        self._send_down(found.attachment, datagram)
        return None

    def _asked(self, key: Key) -> Transaction | None:
        """The transaction that an answer belongs to. An answer that nobody waits for goes nowhere."""
        found = self._leasing.transactions.find(key, self._state.clock())
        if found is None:
            self._state.counters["dhcp_unasked"] += 1
        return found

    def _send_down(self, to: Attachment, datagram: Datagram) -> None:
        """Deliver a server's answer to the card that asked, whatever MAC the server has put there."""
        channel = self._state.fabric.points[to.dpid].channel
        if channel is not None:
            channel.packet_out(to.port, to.mac.to_bytes(6, "big") + datagram.frame[6:], to.vlan)
        self._state.counters["dhcp_answers"] += 1
