"""What the fake switch of FAUCET sends, read by os-ken, and what it takes for a host that has been learned."""

from __future__ import annotations

import socket
import struct
import threading

from os_ken.lib.packet import arp, ethernet, packet, vlan
from os_ken.ofproto import ofproto_v1_3_parser as parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from perf import wire
from perf.learning import COOKIE, PORTS, VLAN, LearningSwitch, packet_in


def test_a_packet_in_is_a_hosts_own_broadcast_in_the_vlan() -> None:
    for host in (0, 1, PORTS, 70_000):
        raw = packet_in(host)
        _, kind, length, xid = wire.HEADER.unpack_from(raw)
        assert length == len(raw)
        message = parser.OFPPacketIn.parser(ProtocolDesc(version=4), 4, kind, length, xid, bytearray(raw))
        assert (message.cookie, message.match["in_port"]) == (COOKIE, 1 + host % PORTS)
        frame = packet.Packet(message.data)
        mac = f"02:00:{0x100000 + host:08x}"
        assert frame.get_protocol(ethernet.ethernet).src.replace(":", "") == mac.replace(":", "")
        assert frame.get_protocol(vlan.vlan).vid == VLAN
        assert frame.get_protocol(arp.arp).src_mac == frame.get_protocol(ethernet.ethernet).src


def entry(header: int, host: int, command: int = 0) -> bytes:
    fields = struct.pack("!I", header) + (0x0200_0010_0000 + host).to_bytes(6, "big")
    match = struct.pack("!HH", 1, 4 + len(fields)) + fields + bytes(2)
    return wire.message(wire.FLOW_MOD, 1, bytes(17) + bytes([command]) + bytes(22) + match)


def test_a_host_is_learned_when_both_of_its_entries_are_there() -> None:
    sent = [entry(0x80000806, 5), entry(0x80000606, 6), entry(0x80000606, 5, command=3), entry(0x80000606, 5)]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                for one in sent:
                    connection.sendall(one)
                    connection.sendall(wire.message(wire.BARRIER_REQUEST, 9))
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        switch = LearningSwitch(server.getsockname()[1])
        while switch.flow_mods < len(sent):
            assert switch.read()
        switch.close()
        thread.join()
    assert switch.learned == 1
