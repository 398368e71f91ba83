"""The client against servers that are down, slow, or lie: only the right answer counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack

import pytest

from fakes.radius_server import SECRET, LyingServer, answer, radius_server, silent
from zethane.adapters.radius.client import Server, UdpRadiusClient
from zethane.adapters.radius.packet import read
from zethane.adapters.radius.peer import Patience
from zethane.audit.reason import LoginRefusal
from zethane.identity.session import Attachment
from zethane.service.radius import AccessRequest, RadiusError

REQUEST = AccessRequest("alice", Attachment(0x15, 3, 0, 0x02_00_00_00_00_15), "s1:3", "a-1", b"\x02\x01\x00\x04")
PATIENCE = Patience(timeout=0.15, attempts=2, dead_time=0.3)


class Clients(AsyncExitStack):
    """Makes clients and servers, and ends them."""

    async def server(self, behave=silent) -> LyingServer:
        return await self.enter_async_context(radius_server(behave))

    def client(self, *servers: LyingServer, patience: Patience = PATIENCE, **more) -> UdpRadiusClient:
        described = [Server(f"r{n}", "127.0.0.1", one.port, 9, SECRET) for n, one in enumerate(servers, 1)]
        self.totals = Counter()
        client = UdpRadiusClient(described, "nas", patience, self.totals, **more)
        self.callback(client.close)
        return client


@pytest.fixture
async def lab():
    async with Clients() as clients:
        yield clients


async def test_the_right_answer_is_taken_and_the_request_has_what_rfc_3580_asks_for(lab) -> None:
    server = await lab.server(lambda request: [answer(request, 2, b"\x0b\x07staff" + b"\x1b\x06\x00\x00\x00\x3c")])
    reply = await lab.client(server).authenticate(REQUEST)
    assert (reply.code, reply.server, reply.filter_ids, reply.session_timeout) == ("accept", "r1", ("staff",), 60.0)
    sent = dict(read(server.requests[0]).attributes)
    assert {number: value for number, value in sent.items() if number != 80} == {
        1: b"alice",
        32: b"nas",
        5: b"\x00\x00\x00\x03",
        87: b"s1:3",
        61: b"\x00\x00\x00\x0f",
        30: b"00-00-00-00-00-15",
        31: b"02-00-00-00-00-15",
        44: b"a-1",
        6: b"\x00\x00\x00\x02",
        12: (1400).to_bytes(4, "big"),
        79: b"\x02\x01\x00\x04",
    }
    assert next(iter(sent)) == 80, "the Message-Authenticator has to be first"


async def test_an_address_is_asked_for_as_a_call_check_and_signed_too(lab) -> None:
    server = await lab.server(lambda request: [answer(request, 3)])
    by_address = AccessRequest("02-00-00-00-00-15", REQUEST.attachment, "s1:3", "a-1")
    assert (await lab.client(server).authenticate(by_address)).code == "reject"
    sent = dict(read(server.requests[0]).attributes)
    assert (sent[6], 79 in sent, 80 in sent) == (b"\x00\x00\x00\x0a", False, True)


def _garbage(_: bytes) -> Iterable[bytes]:
    return (b"", b"\x02", bytes(20), b"\xff" * 4096, b"\x02\x01\xff\xff" + bytes(30))


LIES = {
    "wrong secret": (lambda request: [answer(request, secret=b"another")], "authenticator"),
    "wrong Message-Authenticator": (lambda request: [answer(request, signature=bytes(16))], "authenticator"),
    "no Message-Authenticator": (lambda request: [answer(request, signed=False)], "no-message-authenticator"),
    "wrong identifier": (lambda request: [answer(request, identifier=request[1] ^ 1)], "not-asked-for"),
    "answer to another request": (lambda request: [answer(request[:4] + bytes(16))], "authenticator"),
    "truncated": (lambda request: [answer(request)[:-1]], "length"),
    "oversized": (lambda request: [request[1:2] * 2 + b"\x10\x01" + bytes(4093)], "length"),
    "two Message-Authenticators": (
        lambda request: [answer(request, 2, b"\x50\x12" + bytes(16))],
        "duplicate-attribute",
    ),
    "attribute of no length": (lambda request: [answer(request, 2, b"\x0b\x00")], "attribute-length"),
    "attribute beyond the end": (lambda request: [answer(request, 2, b"\x0b\x30staff")], "attribute-length"),
    "two Session-Timeouts": (
        lambda request: [answer(request, 2, 2 * b"\x1b\x06\x00\x00\x00\x3c")],
        "duplicate-attribute",
    ),
    "Session-Timeout of two bytes": (lambda request: [answer(request, 2, b"\x1b\x04\x00\x3c")], "attribute-value"),
    "Filter-Id that is no text": (lambda request: [answer(request, 2, b"\x0b\x03\xff")], "attribute-value"),
    "EAP of another length": (lambda request: [answer(request, 11, b"\x4f\x06\x01\x01\x00\x09")], "eap-message"),
    "EAP in pieces apart": (
        lambda request: [answer(request, 11, b"\x4f\x04\x01\x01" + b"\x0b\x03a" + b"\x4f\x04\x00\x04")],
        "eap-message",
    ),
    "Proxy-State that was not sent": (lambda request: [answer(request, 2, b"\x21\x03x")], "authenticator"),
    "code of a request": (lambda request: [answer(request, 1)], "authenticator"),
    "code of accounting": (lambda request: [answer(request, 4)], "authenticator"),
    "code of nothing": (lambda request: [answer(request, 99)], "code"),
    "garbage": (_garbage, "length"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_no_answer_and_the_next_server_is_asked(lab, lie) -> None:
    behave, reason = LIES[lie]
    liar, honest = await lab.server(behave), await lab.server(lambda request: [answer(request, 3)])
    client = lab.client(liar, honest)
    reply = await client.authenticate(REQUEST)
    assert (reply.code, reply.server) == ("reject", "r2")
    assert client.peers[0].counters[f"invalid-{reason}"] >= 1, client.peers[0].counters
    assert client.peers[0].dead_until is not None
    assert lab.totals["radius_invalid_answers"] >= 1
    assert len(liar.requests) == PATIENCE.attempts
    assert len(set(liar.requests)) == 1, "what is sent again is the same"


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_before_the_truth_does_not_keep_it_away(lab, lie) -> None:
    behave, _ = LIES[lie]
    server = await lab.server(lambda request: [*behave(request), answer(request, 2)])
    client = lab.client(server)
    assert (await client.authenticate(REQUEST)).code == "accept"
    assert client.peers[0].dead_until is None


async def test_only_lies_are_an_invalid_answer_and_silence_is_none(lab) -> None:
    liar, mute = await lab.server(lambda request: [answer(request, secret=b"x")]), await lab.server()
    with pytest.raises(RadiusError) as refused:
        await lab.client(liar, mute).authenticate(REQUEST)
    assert refused.value.reason is LoginRefusal.INVALID_ANSWER
    with pytest.raises(RadiusError) as unanswered:
        await lab.client(mute).authenticate(REQUEST)
    assert unanswered.value.reason is LoginRefusal.NOT_ANSWERED


async def test_an_answer_from_another_port_is_none(lab) -> None:
    async with radius_server() as other:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        server = await lab.server()
        client = lab.client(server)

        def elsewhere(request: bytes) -> Iterable[bytes]:
            source = client.peers[0]._sources[0].transport.get_extra_info("sockname")
            transport.sendto(answer(request), ("127.0.0.1", source[1]))
            return ()

        server.behave(elsewhere)
        with pytest.raises(RadiusError):
            await client.authenticate(REQUEST)
        transport.close()
        assert client.peers[0].counters["invalid-source"] >= 1
        assert other.requests == []


async def test_a_dead_server_is_left_alone_until_its_time_is_over_and_asked_by_one_first(lab) -> None:
    first, second = await lab.server(), await lab.server(lambda request: [answer(request)])
    client = lab.client(first, second)
    assert (await client.authenticate(REQUEST)).server == "r2"
    asked = len(first.requests)
    assert (await client.authenticate(REQUEST)).server == "r2"
    assert len(first.requests) == asked, "it is dead"
    client.peers[0].dead_until = asyncio.get_running_loop().time()
    replies = await asyncio.gather(*(client.authenticate(REQUEST) for _ in range(20)))
    assert {reply.server for reply in replies} == {"r2"}
    assert len(set(first.requests)) == 2, "one has found out for all"
    first.behave(lambda request: [answer(request)])
    client.peers[0].dead_until = asyncio.get_running_loop().time()
    assert (await client.authenticate(REQUEST)).server == "r1"
    assert (await client.authenticate(REQUEST)).server == "r1"


async def test_when_all_are_dead_the_one_that_has_been_for_longest_is_asked(lab) -> None:
    first, second = await lab.server(), await lab.server()
    client = lab.client(first, second, patience=Patience(0.1, 1, 60.0))
    with pytest.raises(RadiusError):
        await client.authenticate(REQUEST)
    first.behave(lambda request: [answer(request)])
    assert (await client.authenticate(REQUEST)).server == "r1"


async def test_an_exchange_stays_with_its_server(lab) -> None:
    first, second = await lab.server(lambda request: [answer(request)]), await lab.server()
    client = lab.client(first, second)
    going_on = AccessRequest("alice", REQUEST.attachment, "s1:3", "a-1", b"\x02\x01\x00\x04", b"state", "r2")
    with pytest.raises(RadiusError) as unanswered:
        await client.authenticate(going_on)
    assert unanswered.value.reason is LoginRefusal.NOT_ANSWERED
    assert first.requests == []
    assert dict(read(second.requests[0]).attributes)[24] == b"state"


async def test_a_thousand_at_once_are_all_answered_each_with_its_own(lab) -> None:
    def echo(request: bytes) -> Iterable[bytes]:
        name = dict(read(request).attributes)[1]
        return [answer(request, 2, bytes([1, len(name) + 2]) + name)]

    server = await lab.server(echo)
    client = lab.client(server, patience=Patience(5.0, 3, 60.0))
    requests = [AccessRequest(f"user{n}", REQUEST.attachment, "s1:3", f"a-{n}") for n in range(1000)]
    replies = await asyncio.gather(*(client.authenticate(one) for one in requests))
    assert [reply.user_name for reply in replies] == [one.user_name for one in requests]
    assert len(client.peers[0]._sources) <= 8


async def test_more_than_may_wait_are_refused_and_counted(lab) -> None:
    client = lab.client(await lab.server(), waiting=3)
    results = await asyncio.gather(*(client.authenticate(REQUEST) for _ in range(5)), return_exceptions=True)
    reasons = [result.reason for result in results if isinstance(result, RadiusError)]
    assert sorted(reasons) == sorted([LoginRefusal.NOT_ANSWERED] * 3 + [LoginRefusal.BUSY] * 2)
    assert lab.totals["radius_requests_refused"] == 2


async def test_what_fits_into_no_packet_is_not_sent(lab) -> None:
    server = await lab.server()
    client = lab.client(server)
    for request in (
        AccessRequest("x" * 254, REQUEST.attachment, "s1:3", "a-1"),
        AccessRequest("", REQUEST.attachment, "s1:3", "a-1"),
        AccessRequest("x", REQUEST.attachment, "s1:3", "a-1", bytes(4000)),
        AccessRequest("x", REQUEST.attachment, "s1:3", "a-1", bytes(4), bytes(254)),
    ):
        with pytest.raises(RadiusError) as refused:
            await client.authenticate(request)
        assert refused.value.reason is LoginRefusal.REJECTED
    assert server.requests == []


async def test_a_long_eap_packet_goes_in_pieces_and_comes_back_whole(lab) -> None:
    eap = b"\x02\x01\x04\x00" + bytes(range(256)) * 4
    eap = eap[:1024]

    def echo(request: bytes) -> Iterable[bytes]:
        pieces = [value for number, value in read(request).attributes if number == 79]
        return [answer(request, 11, b"".join(bytes([79, len(piece) + 2]) + piece for piece in pieces) + b"\x18\x03s")]

    client = lab.client(await lab.server(echo))
    reply = await client.authenticate(AccessRequest("alice", REQUEST.attachment, "s1:3", "a-1", eap))
    assert (reply.eap, reply.state, reply.code) == (eap, b"s", "challenge")


async def test_a_server_may_have_an_ipv6_address_and_a_name_that_leads_nowhere_is_a_server_that_is_down() -> None:
    async with radius_server(lambda request: [answer(request)], "::1") as server:
        servers = [
            Server("lost", "no-such-host.invalid", 1812, 1813, SECRET),
            Server("six", "::1", server.port, 9, SECRET),
        ]
        client = UdpRadiusClient(servers, "nas", PATIENCE)
        assert (await client.authenticate(REQUEST)).server == "six"
        assert client.peers[0].dead_until is not None
        client.close()


async def test_secrets_are_in_no_repr(lab) -> None:
    client = lab.client(await lab.server())
    described = [repr(Server("r", "h", 1, 2, SECRET)), repr(client), *map(repr, client.peers)]
    assert not any(SECRET.decode() in text for text in described)
