"""Networks outside on real Open vSwitch: when the last packet was, and what cannot be claimed from there."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.prober import Agent
from lab.stream import Stream
from labsite import SETTLED, TOPOLOGIES, Site, running

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("switches")]

BRANCH = (TOPOLOGIES / "branch" / "policy.yaml").read_text(encoding="utf-8")
RULES = """
rules:
  - {id: out, from: [staff], to: {networks: [198.51.100.0/24, "2001:db8:ffff:1::/64"]}, services: [udp/5000]}
  - {id: in, from: {networks: [203.0.113.0/28, "2001:db8:ffff:2::/64"]}, to: [files], services: [udp/5000, tcp/443]}
"""
POLICY = BRANCH[: BRANCH.index("services:")] + RULES
"""The segments are those of the branch office."""

SPOOF = """
import json, sys
from scapy.all import Ether, IP, IPv6, TCP, sendp
mac, frames = sys.argv[1], json.loads(sys.argv[2])
for source, target, port in frames:
    ip = IPv6(src=source, dst=target) if ":" in source else IP(src=source, dst=target)
    sendp(Ether(dst=mac) / ip / TCP(sport=40000, dport=port, flags="S"), iface="eth0", verbose=False)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The branch office with a policy that a test may change."""
    copy = tmp_path / "topology"
    shutil.copytree(TOPOLOGIES / "branch", copy)
    (copy / "policy.yaml").write_text(POLICY, encoding="utf-8")
    return copy


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    with running(folder, login=("laptop", "files")) as running_site:
        yield running_site


def assert_cut(stream: Stream, moment: float) -> None:
    """Nothing sent after `moment` plus the switch's cache arrives, however much is sent."""
    stream.wait_sent(200)
    assert [packet for packet in stream.received if packet.sent > moment + SETTLED] == []


@pytest.mark.parametrize("version", [4, 6])
def test_flows_in_both_directions_stop_with_the_session(site: Site, version: int, record_property) -> None:
    """The end inside is logged out; the other flow is not touched."""
    inside, outside = site.network.hosts, site.network.outside
    with (
        Stream(inside["laptop"], outside["www"], "udp", 5000, version=version) as out,
        Stream(outside["partner"], inside["files"], "udp", 5000, version=version) as coming,
    ):
        for stream in (out, coming):
            stream.wait_received(50)
        flows = {flow["rule"]: flow for flow in site.get("/flows")["flows"]}
        assert flows["out"]["object_principal"].startswith("network:")
        assert flows["in"]["subject_principal"].startswith("network:")
        moment = site.end("laptop")
        assert_cut(out, moment)
        record_property("last_packet_after_s", (out.last_received or moment) - moment)
        coming.wait_received(50)
        moment = site.end("files")
        assert_cut(coming, moment)
        record_property("last_packet_after_s", (coming.last_received or moment) - moment)
    record = site.wait_record("flow_end", reason="session-revoked", rule="in")
    assert record["subject"]["uplink"] == "wan"
    assert record["packets"] > 0


def test_another_policy_cuts_flows_with_the_outside_and_no_others(site: Site, folder: Path) -> None:
    inside, outside = site.network.hosts, site.network.outside
    with (
        Stream(inside["laptop"], outside["www"], "udp", 5000) as kept,
        Stream(outside["partner"], inside["files"], "udp", 5000) as cut,
    ):
        for stream in (kept, cut):
            stream.wait_received(50)
        since = time.monotonic()
        (folder / "policy.yaml").write_text(POLICY.replace("udp/5000, tcp/443", "tcp/443"), encoding="utf-8")
        site.wait_record("flow_end", reason="policy-changed")
        assert_cut(cut, time.monotonic())
        kept.wait_received(100)
        kept.stop()
        assert kept.missing(since) == []


def test_nobody_outside_claims_an_address_of_this_network(site: Site) -> None:
    """From the router's own port and card, which may speak for the partner, and do: that is seen to arrive."""
    router, files = site.network.routers["wan"], site.network.network.hosts["files"]
    lies = ["10.20.0.21", "10.20.0.99", "10.20.0.1", "2001:db8:20::21", "198.51.100.80", "192.0.2.1"]
    agent = Agent(site.network.hosts["files"])
    try:
        agent.ask("forget").result(20)
        frames = [(source, "2001:db8:20::11" if ":" in source else "10.20.0.11", 443) for source in lies]
        honest = ("203.0.113.10", "10.20.0.11", 443)
        mac = ":".join(f"{byte:02x}" for byte in files.mac.to_bytes(6, "big"))
        command = [sys.executable, "-c", SPOOF, mac, json.dumps([*frames, honest])]
        done = router.run(command, timeout=60)
        assert done.returncode == 0, done.stderr
        site.wait_record("decision", decision="allow", rule="in")
        for source in lies[:4]:
            site.wait_record("decision", reason="external-spoof", source=source)
        seen = {entry[1] for entry in agent.ask("seen").result(20)["seen"]}
    finally:
        agent.close()
    assert seen == {"203.0.113.10"}
