"""The benchmarks keep working: what the generator sends is what a switch sends, and a whole run gives figures.

Nothing here looks at how fast anything was.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import openvswitch
from lab.ledger import ROOT, processes
from perf import wire
from perf.bystander import BYSTANDERS, FLOODER, bystander
from perf.command import NAMES, Loads, measure
from perf.fairness import FairnessLoad
from perf.first_packets import PacketLoad
from perf.machine import machine
from perf.measures import Measure, Result
from perf.policies import PolicyLoad
from perf.reflector import answers
from perf.replays import ReplayLoad
from perf.report import write_json
from perf.setups import SetupLoad, Setups
from perf.statistics import percentile
from perf.switch import LoadError, SwitchEnd
from zethane.adapters.openflow.hotpath import read_packet_in
from zethane.adapters.openflow.oxm import read_match
from zethane.net.flowkey import TCP, TCP_SYN, FlowKey, parse_frame
from zethane.pipeline.fields import parties
from zethane.pipeline.tables import Table


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


def test_ratios_are_taken_round_by_round(tmp_path: Path) -> None:
    setups = Setups(tmp_path, {}, SetupLoad())
    rounds = [(10.0, 5.0), (30.0, 10.0)]
    result = Result(setups, {"zethane": [{"rate": a} for a, _ in rounds], "os-ken": [{"rate": b} for _, b in rounds]})
    assert result.ratios(Measure("rate", "", "")) == [2.0, 3.0]


def test_bystanders_flows_are_none_of_the_flood_and_all_different() -> None:
    sequences = [bystander(number) for number in range(1000)]
    assert len(set(sequences)) == 1000
    assert {sequence % wire.CLIENTS for sequence in sequences} == set(range(BYSTANDERS))
    assert FLOODER not in range(BYSTANDERS)


@pytest.mark.perf
@pytest.mark.ovs
def test_a_short_run_measures_both_sides_and_leaves_nothing(tmp_path: Path) -> None:
    loads = Loads(
        SetupLoad(single=20, many=200, window=8),
        FairnessLoad(flows=20, burst=50),
        PacketLoad(count=10, interval=0.003),
        ReplayLoad(packets=2000, for_scapy=200),
        PolicyLoad(((10, 4), (20, 5)), (50, 10)),
    )
    told_on_the_way: list[str] = []
    results = measure(NAMES, 1, loads, told_on_the_way.append)
    assert [result.benchmark.name for result in results] == [*NAMES, "policy-large"]
    write_json(tmp_path / "figures.json", results, machine(), 1)
    told = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    expected = (
        ("setup", {"zethane", "os-ken", "limit"}),
        ("fairness", {"flood", "quiet"}),
        ("first-packet", {"zethane", "os-ken"}),
        ("replay", {"zethane", "scapy"}),
        ("policy", {"zethane", "pairwise"}),
        ("policy-large", {"zethane", "reading"}),
    )
    for name, sides in expected:
        median = told["benchmarks"][name]["median"]
        assert median.keys() == sides
        assert all(value > 0 for values in median.values() for value in values.values())
    assert told["benchmarks"]["first-packet"]["rounds"]["zethane"][0]["lost"] == 0
    run_id = told_on_the_way[0].removeprefix("run ")
    assert not [name for name in openvswitch.existing_bridges() if name.startswith(run_id)]
    assert processes(run_id) == []
    assert not (ROOT / run_id).exists()
