"""Of ICMP and ICMPv6 only echo passes, and errors about a live flow: whatever the policy allows."""

from __future__ import annotations

import struct

import pytest

from fakes.frames import Host
from fakes.site import ALICE, BOB, Site
from zethane.net.flowkey import ICMP, ICMPV6

EVERYTHING = """
version: 1
segments: {all: {groups: [staff]}}
rules: [{id: all, from: [any], to: [any], services: [any, icmp]}]
"""
ECHO = {4: 8, 6: 128}
ERRORS = {4: {3, 11, 12}, 6: {1, 2, 3, 4}}


@pytest.mark.parametrize("family", [4, 6])
async def test_no_other_type_or_code_passes(family: int) -> None:
    site = await Site(policy=EVERYTHING).start()
    address, proto = ("10.0.0.", ICMP) if family == 4 else ("2001:db8::", ICMPV6)
    one, two = Host(2, "02:00:00:00:00:21", f"{address}21"), Host(3, "02:00:00:00:00:22", f"{address}22")
    site.login(one, ALICE)
    site.login(two, BOB)
    passed = set()
    for kind in range(256):
        for code in (0, 1, 255):
            site.s1.send(2, one._send(two, proto, struct.pack("!BBHI", kind, code, 0, 0) + bytes(48)))
            passed |= {(kind, code) for port, _ in site.s1.take() if port == 3}
    assert passed == {(ECHO[family], 0)}
    reasons = set(site.records.reasons())
    assert reasons <= {"malformed", "no-flow", "router-spoof", "neighbour-spoof"}
    assert "malformed" in reasons
    assert site.state.counters["denied_malformed"] > 100


@pytest.mark.parametrize("family", [4, 6])
async def test_with_a_live_flow_its_answers_pass_and_nothing_else_does(family: int) -> None:
    site = await Site(policy=EVERYTHING).start()
    address, proto = ("10.0.0.", ICMP) if family == 4 else ("2001:db8::", ICMPV6)
    one, two = Host(2, "02:00:00:00:00:21", f"{address}21"), Host(3, "02:00:00:00:00:22", f"{address}22")
    site.login(one, ALICE)
    site.login(two, BOB)
    question = one.echo(two)
    site.s1.send(2, question)
    site.s1.take()
    passed = set()
    for kind in range(256):
        site.s1.send(3, two._send(one, proto, struct.pack("!BBHI", kind, 0, 0, 0) + question[14:].rstrip(b"\0")))
        passed |= {kind for port, _ in site.s1.take() if port == 2}
    assert passed == ERRORS[family] | {ECHO[family], {4: 0, 6: 129}[family]}
