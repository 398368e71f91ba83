"""Who has reached whom, as captures show it."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

import pytest

from attack.frames import arp, echo, ether, ip, tcp, udp
from replay.craft import Book, frame
from replay.evidence import Evidence, History, body, matching, same
from replay.scenario import Containment
from replay.schema import PacketFile
from zethane.net.flowkey import FlowKey, parse_frame

MACS = {name: f"02:00:00:00:00:0{number}" for number, name in enumerate("abc", 1)}
IPS = {name: f"10.0.0.{number}" for number, name in enumerate("abc", 1)}
BOOK = Book(lambda name: MACS[name], lambda name, version: IPS[name] if version == 4 else f"2001:db8::{IPS[name][-1]}")


def own(host: str, frame: bytes, sent: bool) -> str:  # noqa: ARG001 - as History asks
    return host


def history(*sent: tuple[str, str, bytes]) -> History:
    """Frames that went from a host to a host, in this order; to "" means that they got lost."""
    found = History(own)
    for moment, (source, target, one) in enumerate(sent):
        received: Mapping[str, list[tuple[float, bytes]]] = {target: [(moment + 0.5, one)]} if target else {}
        found.add(Evidence({source: [(float(moment), one)]}, received))
    return found


def reached(found: History) -> set[tuple[str, str, int]]:
    return {(one.source, one.target, one.packets) for one in found.reached()}


def between(source: str, target: str, inner: object) -> bytes:
    return bytes(ether(MACS[source], MACS[target]) / inner)


def segment(source: str, target: str, sport: int, dport: int, flags: str) -> bytes:
    return between(source, target, tcp(IPS[source], IPS[target], sport, dport, flags, b""))


def test_who_answers_has_reached_nobody() -> None:
    found = history(
        ("a", "b", segment("a", "b", 4000, 80, "S")),
        ("b", "a", segment("b", "a", 80, 4000, "SA")),
        ("a", "b", segment("a", "b", 4000, 80, "A")),
        ("b", "a", between("b", "a", echo(IPS["b"], IPS["a"], b"", reply=True))),
    )
    assert reached(found) == {("a", "b", 2), ("b", "a", 1)}


def test_a_connection_back_from_the_services_port_is_no_answer() -> None:
    found = history(
        ("a", "b", segment("a", "b", 4000, 80, "S")),
        ("b", "a", segment("b", "a", 80, 4000, "S")),
    )
    assert reached(found) == {("a", "b", 1), ("b", "a", 1)}


def test_what_did_not_arrive_opens_nothing_for_an_answer() -> None:
    found = history(
        ("a", "", segment("a", "b", 4000, 80, "S")),
        ("b", "a", segment("b", "a", 80, 4000, "SA")),
    )
    assert reached(found) == {("b", "a", 1)}


def test_a_frame_is_its_cables_whatever_name_it_has() -> None:
    forged = bytes(ether(MACS["b"], MACS["c"]) / udp(IPS["b"], IPS["c"], 1, 2, b"x"))
    assert reached(history(("a", "c", forged))) == {("a", "c", 1)}


def test_what_the_network_itself_makes_is_nobodys() -> None:
    found = History(own)
    found.add(Evidence({}, {"a": [(1.0, segment("b", "a", 1, 2, "S"))]}))
    assert reached(found) == set()


def test_questions_for_neighbours_carry_nothing() -> None:
    question = between("a", "b", arp(1, MACS["a"], IPS["a"], "00:00:00:00:00:00", IPS["b"], b""))
    assert reached(history(("a", "b", question))) == set()


def test_errors_about_a_conversation_are_part_of_it() -> None:
    from scapy.layers.inet import ICMP

    first = segment("a", "b", 4000, 80, "S")
    error = between("b", "a", ip(IPS["b"], IPS["a"]) / ICMP(type=3, code=3) / first[14:])
    assert reached(history(("a", "b", first), ("b", "a", error))) == {("a", "b", 1)}
    assert reached(history(("b", "a", error))) == {("b", "a", 1)}


def test_what_is_flooded_reaches_whom_it_is_for() -> None:
    found = History(own, lambda host: bytes.fromhex(MACS[host].replace(":", "")))
    one = segment("a", "b", 4000, 80, "S")
    found.add(Evidence({"a": [(0.0, one)]}, {"b": [(1.0, one)], "c": [(1.0, one)]}))
    assert reached(found) == {("a", "b", 1)}


def test_a_statement_is_broken_by_whoever_was_reached_against_it() -> None:
    found = history(("a", "b", segment("a", "b", 4000, 80, "S")), ("a", "c", segment("a", "c", 4000, 80, "S")))
    statement = Containment("", frozenset("a"), frozenset("c"))
    assert [(one.source, one.target) for one in found.broken(statement)] == [("a", "c")]
    assert found.broken(Containment("", frozenset("b"), frozenset("ac"))) == []


def test_arrivals_are_counted_where_they_arrive_and_not_at_their_sender() -> None:
    one, other = segment("a", "b", 4000, 80, "S"), segment("a", "b", 4000, 81, "S")
    tagged = one[:12] + b"\x81\x00\x00\x07" + one[12:]
    evidence = Evidence({}, {"b": [(0.0, tagged), (1.0, one)], "c": [(0.0, other)], "a": [(0.0, one)]})
    assert evidence.arrivals(same([body(one)]), "a") == {"b": 2}
    packet = parse_frame(other)
    assert packet is not None
    assert evidence.arrivals(matching([packet.key._replace(sport=0)]), "a") == {"c": 1}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tcp": {"dport": 22}}, ("10.0.0.1", "10.0.0.2", 6, 40000, 22)),
        ({"udp": {"dport": 53, "sport": 7}, "version": 6}, ("2001:db8::1", "2001:db8::2", 17, 7, 53)),
        ({"icmp": {"kind": "echo"}}, ("10.0.0.1", "10.0.0.2", 1, 8, 0)),
        ({"icmp": {"kind": "reply"}, "version": 6}, ("2001:db8::1", "2001:db8::2", 58, 0, 8)),
        ({"ip": {"src": "c"}, "tcp": {"dport": 22, "flags": "A"}}, ("10.0.0.3", "10.0.0.2", 6, 40000, 22)),
        ({}, ("10.0.0.1", "10.0.0.2", 253, 0, 0)),
    ],
)
def test_crafted_frames_are_what_was_asked_for(
    fields: dict[str, object], expected: tuple[str, str, int, int, int]
) -> None:
    made = frame(PacketFile.model_validate({"from": "a", "to": "b"} | fields, strict=False), BOOK)
    source, target, *rest = expected
    parsed = parse_frame(made)
    assert parsed is not None
    assert parsed.key == FlowKey(ip_address(source).packed, ip_address(target).packed, *rest)
    assert made[:12] == bytes.fromhex("020000000002020000000001")


def test_crafted_frames_can_lie_and_break() -> None:
    lie = PacketFile.model_validate({"from": "a", "to": "b", "arp": {"op": "reply", "spa": "c"}})
    assert frame(lie, BOOK)[28:32] == ip_address(IPS["c"]).packed
    tag = PacketFile.model_validate({"from": "a", "to": "b", "ether": {"vlan": 9, "type": 0x88B5}})
    assert frame(tag, BOOK)[12:18] == bytes.fromhex("8100000988b5")
    piece = PacketFile.model_validate({"from": "a", "to": "b", "ip": {"fragment": 3}, "udp": {"dport": 9}})
    assert frame(piece, BOOK)[20:22] == b"\x00\x03"
    assert parse_frame(frame(piece, BOOK)) is None
