"""What the Python generators send is what a switch sends, and what they accept is a whole set-up."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabError
from perf import wire
from perf.bystander import BYSTANDERS, FLOODER, bystander
from perf.keeper import _in_order
from perf.reflector import answers
from perf.site import Site
from perf.statistics import percentile, ratio_in_turns
from perf.switch import LoadError, SwitchEnd
from zethane.adapters.openflow.held import read_held_rule
from zethane.adapters.openflow.hotpath import read_packet_in, write_verified
from zethane.adapters.openflow.oxm import read_match
from zethane.net.flowkey import TCP, TCP_SYN, FlowKey, parse_frame
from zethane.pipeline.fields import parties
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import Verified


@pytest.fixture
def wires() -> Iterator[tuple[socket.socket, SwitchEnd]]:
    """A controller's socket, past the hello, and the fake switch at its other end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        switch = SwitchEnd(theirs, "limit")
        assert ours.recv(8) == wire.message(wire.HELLO, 1)
        yield ours, switch


@pytest.mark.parametrize("sequence", [0, 63, 64, 1023, 1024, wire.MAX_FLOWS - 1])
def test_the_generators_packet_ins_are_what_the_controller_reads(sequence: int) -> None:
    flow = wire.NewFlow(sequence)
    event = read_packet_in(flow.from_pipeline(7))
    assert event is not None
    assert (event.port, event.table, event.cookie) == (flow.client.port, Table.RULE, 7)
    assert event.metadata == parties(flow.client.number, flow.server.number)
    packet = parse_frame(event.frame)
    assert packet is not None
    assert packet.key == FlowKey(flow.client.ip, flow.server.ip, TCP, flow.source_port, wire.SERVICE_PORT)
    assert packet.flags == TCP_SYN


def test_a_packet_ins_match_holds_what_the_pipeline_worked_out() -> None:
    message = wire.NewFlow(0).from_pipeline(7)
    found, _ = read_match(message, 24, len(message))
    assert {name for name, _, _ in found} == {"in_port", "metadata", "reg0", "reg1", "reg2", "reg3"}


def test_no_two_flows_are_the_same() -> None:
    flows = [wire.NewFlow(sequence) for sequence in range(5000)]
    assert len({(flow.client.port, flow.server.port, flow.source_port) for flow in flows}) == len(flows)
    assert wire.NewFlow(wire.MAX_FLOWS - 1).source_port < 0x10000


def test_a_flow_is_set_up_with_both_directions_and_its_packet(wires: tuple[socket.socket, SwitchEnd]) -> None:
    controller, switch = wires
    mods, head = answers()
    whole = mods + head + wire.NewFlow(0).frame
    controller.sendall(whole[: len(mods) + 3])
    switch.receive()
    assert switch.completed == 0
    controller.sendall(whole[len(mods) + 3 :])
    switch.receive()
    assert switch.completed == 1


def test_a_packet_of_another_flow_ends_the_run(wires: tuple[socket.socket, SwitchEnd]) -> None:
    controller, switch = wires
    mods, head = answers()
    controller.sendall(mods + head + wire.NewFlow(1).frame)
    with pytest.raises(LoadError, match="flow 1 came out, that of flow 0 was due"):
        switch.receive()


def test_a_controller_that_hangs_up_ends_the_run(wires: tuple[socket.socket, SwitchEnd]) -> None:
    controller, switch = wires
    controller.shutdown(socket.SHUT_RDWR)
    with pytest.raises(LoadError, match="closed the connection"):
        switch.receive()


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 50), percentile(values, 99), percentile([7.0], 99)) == (50, 99, 7)
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_what_the_machine_does_to_both_is_no_part_of_their_ratio() -> None:
    moods = (1.0, 1.0, 3.0, 0.5, 2.0, 1.0, 4.0)
    large, small = [11.0 * mood for mood in moods], [10.0 * mood for mood in moods]
    assert ratio_in_turns(large, small) == pytest.approx(1.1)
    small[0] *= 100  # a moment that only one of them met
    assert ratio_in_turns(large, small) == pytest.approx(1.1)
    with pytest.raises(ValueError, match="shorter"):
        ratio_in_turns([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="no median"):
        ratio_in_turns([], [])


def test_bystanders_flows_are_none_of_the_flood_and_all_different() -> None:
    sequences = [bystander(number) for number in range(1000)]
    assert len(set(sequences)) == 1000
    assert {sequence % wire.CLIENTS for sequence in sequences} == set(range(BYSTANDERS))
    assert FLOODER not in range(BYSTANDERS)


@pytest.mark.parametrize("size", [4, 16])
def test_a_fake_switch_reports_per_flow_rules_in_the_order_of_open_vswitch(size: int) -> None:
    """In that order alone they are told by a few numbers, as those of a real switch."""
    direction = Verified(FlowKey(bytes(size), bytes(size - 1) + b"\1", 6, 40000, 443), 5, 9, 2, 3, 7)
    written = write_verified(direction, 0, notify=True, lease=0, idle=300)
    rest = _in_order(written[48:])
    entry = struct.pack("!HBxIIHHHH4xQQQ", 48 + len(rest), Table.FLOW, 1, 0, Priority.FLOW_VERIFIED, 300, 0, 1, 7, 0, 0)
    rule = read_held_rule(entry + rest, 0, 48 + len(rest))
    assert rule is not None
    assert (rule.key, *rule[1:5]) == (direction.key, 5, 9, 2, 3)


def test_with_a_session_for_each_switch_every_other_switch_has_a_client_and_a_server() -> None:
    """One at each would make every flow one between two switches."""
    site = Site(100, 100)
    places = [(session.attachment, site.is_server(index)) for index, session in enumerate(site._live(0.0))]
    assert [(place.dpid - wire.DPID, place.port, is_server) for place, is_server in places[:4]] == [
        (0, 1, False), (0, 2, True), (1, 1, False), (1, 2, True),
    ]  # fmt: skip
    assert (site.occupied, site.zones, places[-1][0].dpid - wire.DPID) == (50, 50, 49)


@pytest.mark.parametrize(("switches", "sessions"), [(10, 105), (5, 5)])
def test_a_site_whose_switches_cannot_have_as_many_is_refused(switches: int, sessions: int, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="evenly"):
        Site(switches, sessions).write(tmp_path)
