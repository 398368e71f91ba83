"""Flows with networks outside and with DNS servers, when the session at their other end changes."""

from __future__ import annotations

from dataclasses import replace

from fakes.frames import ACK, Host
from fakes.site import Site
from zethane.audit.reason import SessionEvent
from zethane.policy.principal import Principal

NETWORK = """
switches: {s1: {}, s2: {}}
links: [["s1:9", "s2:9"]]
portal: {switch: s1, port: 1, ip: 10.0.0.254/24, mac: "02:00:00:00:00:fe"}
infrastructure:
  names: {switch: s1, port: 3, ip: 10.0.0.3/24, mac: "02:00:00:00:00:03", serves: [dns]}
uplinks:
  wan: {switch: s1, port: 8, mac: "02:00:00:00:00:01", ip: 10.0.0.1/24, networks: [0.0.0.0/0]}
"""
POLICY = """
version: 1
segments: {staff: {groups: [staff]}, guests: {groups: [guests]}}
rules:
  - {id: page, from: [staff, guests], to: {networks: [198.51.100.0/24]}, services: [tcp/443]}
  - {id: shell, from: [staff], to: {networks: [198.51.100.0/24]}, services: [tcp/22]}
  - {id: partners, from: {networks: [203.0.113.0/24]}, to: [staff], services: [tcp/8443]}
  - {id: everybody, from: {networks: [203.0.113.0/24]}, to: [staff, guests], services: [tcp/8080]}
"""
LAPTOP = Host(2, "02:00:00:00:00:21", "10.0.0.21")
NAMES = Host(3, "02:00:00:00:00:03", "10.0.0.3")
WWW = Host(8, "02:00:00:00:00:01", "198.51.100.80")
PARTNER = Host(8, "02:00:00:00:00:01", "203.0.113.10")
ALICE = Principal("user", "alice", frozenset({"staff"}))


async def test_flows_outside_and_to_dns_go_on_if_the_new_standing_allows_them() -> None:
    site = await Site(NETWORK, POLICY).start()
    session = site.login(LAPTOP, ALICE, "s2")
    s1, s2 = site.s1, site.switches["s2"]
    s2.send(2, LAPTOP.tcp(WWW, 40000, 443))
    s2.send(2, LAPTOP.tcp(WWW, 40001, 22))
    s2.send(2, LAPTOP.udp(NAMES, 5000, 53))
    s1.send(8, PARTNER.tcp(LAPTOP, 41000, 8443))
    s1.send(8, PARTNER.tcp(LAPTOP, 41001, 8080))
    assert len(site.state.flows) == 5
    asked = site.state.counters["packet_ins"]

    guest = replace(session.proofs[0], groups=frozenset({"guests"}))
    assert site.admin.change_proof(session.number, session.proofs[0], guest, SessionEvent.CHANGED, "")

    assert s2.send(2, LAPTOP.tcp(WWW, 40000, 443, ACK)).ports == [9]
    assert s2.send(2, LAPTOP.udp(NAMES, 5000, 53)).ports == [9]
    assert s1.send(8, PARTNER.tcp(LAPTOP, 41001, 8080, ACK)).ports == [9]
    assert s1.send(8, WWW.tcp(LAPTOP, 443, 40000, ACK)).ports == [9]
    assert site.state.counters["packet_ins"] == asked
    assert s2.send(2, LAPTOP.tcp(WWW, 40001, 22, ACK)).ports == []
    assert s1.send(8, PARTNER.tcp(LAPTOP, 41000, 8443, ACK)).ports == []
    ended = {arguments[0].key.dport for arguments in site.records.of("flow_ended")}
    assert ended == {22, 8443}
    uplink = next(iter(site.state.outside.values()))
    assert uplink.opened == 1, "what was cut counts no more"
