"""ARP and Neighbor Discovery: questions believed only as far as they can be checked, answers to the byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from fakes.frames import Host, mac, packed
from zethane.net.neighbour import Question, Statement, build_answer, parse_question, parse_statement

ASKER = Host(1, "02:00:00:00:00:21", "10.0.0.21", "2001:db8::21")
ASKER6 = Host(1, "02:00:00:00:00:21", "2001:db8::21")
MAC, TARGET_MAC = mac("02:00:00:00:00:21"), mac("02:00:00:00:00:11")
ARP_QUESTION = ASKER.arp("10.0.0.11")
ND_QUESTION = ASKER6.solicitation("2001:db8::11")


def test_an_arp_request_is_a_question() -> None:
    assert parse_question(ARP_QUESTION) == Question(MAC, packed("10.0.0.21"), packed("10.0.0.11"))


def test_a_neighbor_solicitation_is_a_question() -> None:
    assert parse_question(ND_QUESTION) == Question(MAC, packed("2001:db8::21"), packed("2001:db8::11"))


@pytest.mark.parametrize(
    "frame",
    [
        ASKER.arp("10.0.0.11", sender="0.0.0.0"),  # noqa: S104  # an unspecified sender, nothing is bound to it
        ASKER6.solicitation("2001:db8::11", sender="::"),
    ],
)
def test_a_question_without_a_sender_is_a_probe(frame: bytes) -> None:
    question = parse_question(frame)
    assert question is not None
    assert question.is_probe


def changed(frame: bytes, at: int, value: bytes) -> bytes:
    return frame[:at] + value + frame[at + len(value) :]


OWN, NONCE = b"\x01\x01" + MAC, b"\x0e\x01" + b"nonce!"
GROUP = "ff02::1:ff00:11"


def question_for(target: str, *options: bytes) -> bytes:
    return struct.pack("!BBHI", 135, 0, 0, 0) + packed(target) + b"".join(options)


def with_options(*options: bytes, sender: str = "2001:db8::21", to: str = GROUP, target: str = "2001:db8::11") -> bytes:
    return ASKER6.icmpv6(sender, to, question_for(target, *options))


REFUSED = {
    "arp reply": ASKER.arp("10.0.0.11", operation=2),
    "arp with another's hardware address": ASKER.arp("10.0.0.11", sha="02:00:00:00:00:99"),
    "rarp": ASKER.arp("10.0.0.11", operation=3),
    "arp for another hardware": changed(ARP_QUESTION, 14, b"\0\x06"),
    "arp for another protocol": changed(ARP_QUESTION, 16, b"\x86\xdd"),
    "arp with long addresses": changed(ARP_QUESTION, 18, b"\x08\x04"),
    "hop limit 254": ASKER6.solicitation("2001:db8::11", hop_limit=254),
    "code 1": changed(ND_QUESTION, 55, b"\1"),
    "advertisement": changed(ND_QUESTION, 54, b"\x88"),
    "router advertisement": changed(ND_QUESTION, 54, b"\x86"),
    "hidden behind an extension header": changed(ND_QUESTION, 20, b"\0"),
    "another's link-layer address": changed(ND_QUESTION, 80, mac("02:00:00:00:00:99")),
    "target link-layer option": changed(ND_QUESTION, 78, b"\2"),
    "option of length zero": changed(ND_QUESTION, 79, b"\0"),
    "option beyond the packet": changed(ND_QUESTION, 79, b"\2"),
    "payload length too short": changed(ND_QUESTION, 18, struct.pack("!H", 23)),
    "payload length beyond the frame": changed(ND_QUESTION, 18, struct.pack("!H", 33)),
    "wrong checksum": changed(ND_QUESTION, 56, bytes((ND_QUESTION[56] ^ 1,))),
    "probe that tells a MAC": with_options(OWN, sender="::"),
    "probe to its target alone": with_options(NONCE, sender="::", to="2001:db8::11"),
    "to all nodes": with_options(OWN, to="ff02::1"),
    "to another's group": with_options(OWN, to="ff02::1:ff00:12"),
    "to another host": with_options(OWN, to="2001:db8::12"),
    "for a group": with_options(OWN, target="ff02::11"),
    "from a group": with_options(OWN, sender="ff02::21"),
    "arp for a group": ASKER.arp("224.0.0.11"),
    "arp from a group": ASKER.arp("10.0.0.11", sender="239.0.0.1"),
    "the length of the option of another": with_options(b"\x01\x02" + MAC + bytes(8)),
    "ipv4": changed(ARP_QUESTION, 12, b"\x08\x00"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_honest_question_is_refused(name: str) -> None:
    assert parse_question(REFUSED[name]) is None


def test_a_nonce_and_the_own_link_layer_address_are_accepted_together() -> None:
    """RFC 3971 §5.3.2: secure and optimistic solicitations carry a nonce."""
    assert parse_question(with_options(OWN, NONCE)) == parse_question(ND_QUESTION)


def test_no_more_options_are_read_than_a_solicitation_has_use_for() -> None:
    assert parse_question(with_options(OWN, NONCE, NONCE, NONCE)) is not None
    assert parse_question(with_options(OWN, NONCE, NONCE, NONCE, NONCE)) is None


def test_a_question_to_the_target_alone_is_a_question() -> None:
    """Unreachability detection asks like this (RFC 4861 §7.3)."""
    assert parse_question(with_options(OWN, to="2001:db8::11")) == parse_question(ND_QUESTION)


STATEMENTS = {
    "arp reply": (ASKER.arp("10.0.0.11", operation=2), Statement(MAC, packed("10.0.0.21"))),
    "advertisement": (ASKER6.advertisement("2001:db8::21"), Statement(MAC, packed("2001:db8::21"))),
}
LIES = {
    "a question": ARP_QUESTION,
    "a solicitation": ND_QUESTION,
    "arp reply with another's hardware address": ASKER.arp("10.0.0.11", operation=2, sha="02:00:00:00:00:99"),
    "advertisement with another's link-layer address": ASKER6.advertisement("2001:db8::21", tells="02:00:00:00:00:99"),
    "advertisement with a source link-layer address": ASKER6.icmpv6(
        "2001:db8::21", "ff02::1", struct.pack("!BBHI", 136, 0, 0, 0) + packed("2001:db8::21") + OWN
    ),
    "advertisement from far away": ASKER6.icmpv6(
        "2001:db8::21", "ff02::1", struct.pack("!BBHI", 136, 0, 0, 0) + packed("2001:db8::21"), hop_limit=64
    ),
    "rarp": ASKER.arp("10.0.0.11", operation=3),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_names_an_address_and_the_sender(name: str) -> None:
    frame, wanted = STATEMENTS[name]
    assert parse_statement(frame) == wanted


@pytest.mark.parametrize("name", LIES)
def test_what_speaks_for_another_mac_is_no_statement(name: str) -> None:
    assert parse_statement(LIES[name]) is None


@pytest.mark.parametrize("frame", [ARP_QUESTION[:42], ND_QUESTION])
def test_a_truncated_question_is_none(frame: bytes) -> None:
    assert parse_question(frame) is not None
    assert all(parse_question(frame[:length]) is None for length in range(len(frame)))


@given(st.binary(max_size=120))
def test_no_bytes_raise(data: bytes) -> None:
    question, statement = parse_question(data), parse_statement(data)
    assert question is None or question.mac == data[6:12]
    assert statement is None or statement.mac == data[6:12]


@given(
    st.sampled_from((ARP_QUESTION, ND_QUESTION)),
    st.lists(st.tuples(st.integers(0, 85), st.integers(0, 255)), max_size=6),
)
def test_no_change_to_a_question_makes_it_raise_or_believe_a_lie(frame: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(frame)
    for at, value in changes:
        if at < len(data):
            data[at] = value
    question = parse_question(bytes(data))
    assert question is None or question.mac == data[6:12]


def test_the_arp_answer_to_the_byte() -> None:
    question = Question(MAC, packed("10.0.0.21"), packed("10.0.0.11"))
    assert build_answer(question, TARGET_MAC).hex() == (
        "020000000021" "020000000011" "0806"
        "0001" "0800" "06" "04" "0002"
        "020000000011" "0a00000b" "020000000021" "0a000015"
        + "00" * 18
    )  # fmt: skip  # a line per structure


def test_the_arp_answer_as_another_implementation_writes_it() -> None:
    question = Question(MAC, packed("10.0.0.21"), packed("10.0.0.11"))
    there, here = "02:00:00:00:00:21", "02:00:00:00:00:11"
    wanted = Ether(dst=there, src=here) / ARP(op=2, hwsrc=here, psrc="10.0.0.11", hwdst=there, pdst="10.0.0.21")
    assert build_answer(question, TARGET_MAC) == bytes(wanted).ljust(60, b"\0")


ADDRESSES = st.binary(min_size=16, max_size=16)
ASKERS = ADDRESSES.filter(any)
MACS = st.binary(min_size=6, max_size=6)


@given(MACS, ADDRESSES, ADDRESSES, MACS)
@example(MAC, bytes(16), packed("fe80::1"), TARGET_MAC)
def test_the_advertisement_as_another_implementation_writes_it(
    asker: bytes, sender: bytes, target: bytes, target_mac: bytes
) -> None:
    """Checksum included (RFC 4443 §2.3). A probe is answered to all nodes, unsolicited (RFC 4861 §7.2.4)."""
    written = build_answer(Question(asker, sender, target), target_mac)
    wanted = (
        Ether(dst=asker, src=target_mac)
        / IPv6(src=_text(target), dst=_text(sender) if any(sender) else "ff02::1", hlim=255)
        / ICMPv6ND_NA(R=0, S=int(any(sender)), O=1, tgt=_text(target))
        / ICMPv6NDOptDstLLAddr(lladdr=":".join(f"{byte:02x}" for byte in target_mac))
    )
    assert written == bytes(wanted)


def _text(address: bytes) -> str:
    return ":".join(f"{address[at]:02x}{address[at + 1]:02x}" for at in range(0, 16, 2))


@given(MACS, ASKERS, ADDRESSES, MACS)
def test_the_advertisement_sums_to_all_ones(asker: bytes, sender: bytes, target: bytes, target_mac: bytes) -> None:
    """RFC 1071: the sum over pseudo-header and message, checksum included, is all ones."""
    message = build_answer(Question(asker, sender, target), target_mac)[54:86]
    pseudo = target + sender + struct.pack("!II", len(message), 58) + message
    summed = sum(int.from_bytes(pseudo[at : at + 2], "big") for at in range(0, len(pseudo), 2))
    assert summed % 0xFFFF == 0
    assert summed > 0
