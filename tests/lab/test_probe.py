"""The probes: what they call allowed has exchanged data, what they call denied has not even arrived."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import openvswitch
from lab.network import PORTAL, LabNetwork
from lab.prober import Prober
from lab.processes import wait_for
from lab.shell import run
from lab.stream import UNDER_WAY, Stream
from lab.verdicts import Probe, probes_of
from zethane.policy.decide import Decision
from zethane.policy.matrix import Cell
from zethane.policy.service import Service

pytestmark = pytest.mark.lab

SERVICES = [Service.parse(text) for text in ("icmp", "tcp/443", "tcp/8000-8010", "udp/53", "sctp/5000")]


def cells(lab: LabNetwork, *, allowed: bool) -> list[Cell]:
    names = [name for name in lab.hosts if name != PORTAL]
    decision = Decision(allowed, None, "for the test")
    return [Cell(a, b, service, decision) for a in names for b in names if a != b for service in SERVICES]


def prober(lab: LabNetwork) -> Prober:
    return Prober([host for name, host in lab.hosts.items() if name != PORTAL], SERVICES)


def drop(lab: LabNetwork, match: str) -> None:
    run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", lab.bridge("s1"), f"priority=40000,{match},actions=drop"])
    run(["ovs-appctl", "revalidator/wait"])  # what the datapath has found before is held against it by then


def test_without_protection_everything_is_allowed(unprotected: LabNetwork):
    """All protocols, all sampled ports, both families, every ordered pair."""
    with prober(unprotected) as probing:
        verdicts = probing.measure(cells(unprotected, allowed=True))
    assert [verdict for verdict in verdicts if verdict.mismatch] == []
    assert {verdict.observed for verdict in verdicts} == {"allow"}
    assert len(verdicts) == 6 * len(SERVICES)


def test_what_the_switch_drops_is_denied_and_seen_as_not_arrived(unprotected: LabNetwork):
    """A rule in the switch against one port: that cell alone is a mismatch, and says where the packet ended."""
    drop(unprotected, "tcp,nw_dst=10.9.0.2,tp_dst=443")
    with prober(unprotected) as probing:
        verdicts = probing.measure(cells(unprotected, allowed=True))
    wrong = [verdict for verdict in verdicts if verdict.mismatch]
    assert [(v.cell.source, v.cell.target, str(v.cell.service)) for v in wrong] == [
        ("h1", "h2", "tcp/443"),
        ("h3", "h2", "tcp/443"),
    ]
    assert [list(verdict.details) for verdict in wrong] == [
        ["tcp/443 over IPv4: did not reach the target (timeout)"]
    ] * 2


def test_a_packet_that_arrives_unanswered_counts_as_passed_where_the_policy_denies(unprotected: LabNetwork):
    """Dropping the answers only is no protection: the cell is a mismatch that names family and port."""
    drop(unprotected, "udp,nw_src=10.9.0.2,tp_src=53")
    drop(unprotected, "udp6,ipv6_dst=2001:db8:9::2,tp_dst=53")
    denied = [cell for cell in cells(unprotected, allowed=False) if str(cell.service) == "udp/53"]
    with prober(unprotected) as probing:
        verdicts = probing.measure([cell for cell in denied if (cell.source, cell.target) == ("h1", "h2")])
    assert [verdict.observed for verdict in verdicts] == ["allow"]
    assert verdicts[0].details == ("udp/53 over IPv4: reached the target, but no answer came back (timeout)",)


def test_one_closed_port_of_a_range_makes_the_cell_denied(unprotected: LabNetwork):
    """A range is allowed when its lowest, a middle and its highest port are."""
    drop(unprotected, "tcp,nw_dst=10.9.0.3,tp_dst=8010")
    ranges = [cell for cell in cells(unprotected, allowed=True) if cell.service.low == 8000]
    with prober(unprotected) as probing:
        verdicts = probing.measure(ranges)
    assert {v.cell.target for v in verdicts if v.observed == "deny"} == {"h3"}


def test_arrivals_are_those_of_this_round_only(unprotected: LabNetwork):
    """After a rule closes, what arrived before is not held against it."""
    probes: list[Probe] = []
    with prober(unprotected) as probing:
        for cell in cells(unprotected, allowed=True):
            if (cell.source, cell.target, cell.service.proto) == ("h1", "h2", "icmp"):
                probes += probes_of(cell, probing.addresses, SERVICES)
        assert [seen.arrived for seen in probing.observe(probes)] == [True, True]
        drop(unprotected, "icmp,nw_dst=10.9.0.2")
        drop(unprotected, "icmp6,ipv6_dst=2001:db8:9::2,icmp_type=128")
        assert [seen.arrived for seen in probing.observe(probes)] == [False, False]


def test_ports_have_the_planned_numbers(unprotected: LabNetwork):
    """The controller knows a host's port from the same plan."""
    for host in unprotected.network.hosts.values():
        name = unprotected.port(host.switch, host.port)
        assert openvswitch.port_numbers([name]) == {name: host.port}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("proto", ["tcp", "udp", "icmp"])
def test_a_stream_loses_nothing_until_it_is_cut(unprotected: LabNetwork, proto: str, version: int):
    """All packets before the cut arrive, none after it: the stream can prove both.

    A switch on a busy machine is behind, and what it has not forwarded yet goes with the port: no packet may be missing
    before the last that has arrived.
    """
    with Stream(unprotected.host("h1"), unprotected.host("h2"), proto, 5000, version=version) as stream:
        stream.wait_received(50)
        unprotected.set_port("h2", up=False)
        cut = time.monotonic()
        stream.wait_sent(100)
        stream.stop()
        assert stream.received_after(cut + 0.05) == []
        last = max(packet.number for packet in stream.received)
        assert stream.missing(0.0, stream.sent[last]) == []
        assert stream.missing(cut + 0.05)


def test_what_is_under_way_when_a_stream_ends_is_not_lost(unprotected: LabNetwork, monkeypatch: pytest.MonkeyPatch):
    """A receiver that is held up until the sender has ended gets all that was sent."""
    with Stream(unprotected.host("h1"), unprotected.host("h2"), "udp", 5001) as stream:
        stream.wait_received(20)
        receiver, sender = stream._processes
        receiver.send_signal(signal.SIGSTOP)
        stream.wait_sent(40)
        told_to_end = threading.Event()
        end = receiver.stdin.close
        monkeypatch.setattr(receiver, "stdin", SimpleNamespace(closed=False, close=lambda: (end(), told_to_end.set())))

        def go_on() -> None:
            sender.wait()
            told_to_end.wait(UNDER_WAY / 2)  # it should not be
            receiver.send_signal(signal.SIGCONT)

        going_on = threading.Thread(target=go_on)
        going_on.start()
        stream.stop()
        going_on.join()
        monkeypatch.undo()
        assert stream.missing() == []
        assert len(stream.received) == len(stream.sent) > 40


def test_a_datagram_arrives_when_the_kernel_has_it_not_when_the_host_reads_it(unprotected: LabNetwork):
    """A receiver that is held up says of what waited for it that it was there before."""
    with Stream(unprotected.host("h1"), unprotected.host("h2"), "udp", 5002) as stream:
        stream.wait_received(20)
        receiver = stream._processes[0]
        receiver.send_signal(signal.SIGSTOP)
        stream.wait_sent(20)
        before = len(stream.received)
        sockets = Path(f"/proc/{receiver.pid}/net/udp")
        wait_for("no datagram waits", lambda: holds_datagrams(sockets.read_text()) or None, 10, sockets.read_text)
        moment = time.monotonic()
        receiver.send_signal(signal.SIGCONT)
        stream.wait_received(40)
        held = stream.received[before]
        assert held.sent < held.received < moment


def holds_datagrams(sockets: str) -> bool:
    """Whether datagrams wait in a socket of a namespace: `rx_queue` of its /proc/net/udp."""
    return any(int(line.split()[4].partition(":")[2], 16) for line in sockets.splitlines()[1:])
