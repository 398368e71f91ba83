"""One probe: does the other host answer, within the deadline?

Packets get lost while neighbours are looked up and flows are set up: the ones that do not retransmit by
themselves are sent again within the deadline.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
from collections.abc import Callable

from lab.agent.packets import (
    ICMP,
    ICMPV6,
    NONCE,
    SCTP,
    UDP_ANSWER,
    UDP_REQUEST,
    echo_request,
    is_echo_reply,
    is_sctp_answer,
    sctp_init,
    without_ip_header,
)
from lab.agent.serving import family

RETRIES = (0.0, 0.3, 0.8, 1.6)
"""Seconds after the start at which a request without an answer is sent again."""

_QUIET = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNREFUSED, errno.EPERM, errno.ENOBUFS})
"""What the kernel says about a network that lets nothing through: silence, not an error of the lab."""


async def probe(proto: str, source: str, target: str, port: int, timeout: float) -> tuple[bool, str]:
    """Whether the target answered, and in a word how it went. Raises ValueError for an unknown protocol."""
    probes = {"tcp": _tcp, "udp": _udp, "icmp": _icmp, "sctp": _sctp}
    if proto not in probes:
        raise ValueError(f"cannot probe protocol {proto}")
    try:
        return await asyncio.wait_for(probes[proto](source, target, port), timeout)
    except asyncio.TimeoutError:
        return False, "timeout"
    except (ConnectionError, asyncio.IncompleteReadError):
        return False, "reset"
    except OSError as error:
        if error.errno not in _QUIET:
            raise
        return False, errno.errorcode.get(error.errno or 0, "error").lower()


async def _tcp(source: str, target: str, port: int) -> tuple[bool, str]:
    nonce = secrets.token_bytes(NONCE)
    reader, writer = await asyncio.open_connection(target, port, local_addr=(source, 0))
    try:
        writer.write(nonce)
        await writer.drain()
        answer = await reader.readexactly(NONCE)
    finally:
        writer.close()
    return (True, "answered") if answer == nonce[::-1] else (False, "wrong answer")


async def _udp(source: str, target: str, port: int) -> tuple[bool, str]:
    nonce = secrets.token_bytes(NONCE)
    with socket.socket(family(target), socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        udp.bind((source, 0))
        udp.connect((target, port))
        return await _ask(udp, lambda: udp.send(UDP_REQUEST + nonce), lambda data: data == UDP_ANSWER + nonce)


async def _icmp(source: str, target: str, port: int) -> tuple[bool, str]:  # noqa: ARG001 - one signature for all
    version = 6 if ":" in target else 4
    nonce, identifier = secrets.token_bytes(NONCE), secrets.randbits(16)
    with socket.socket(family(target), socket.SOCK_RAW, ICMP if version == 4 else ICMPV6) as raw:
        raw.setblocking(False)
        raw.bind((source, 0))
        sequence = iter(range(1, 1 << 16))

        def ask() -> int:
            return raw.sendto(echo_request(version, identifier, next(sequence), nonce), (target, 0))

        def answers(data: bytes) -> bool:
            message = without_ip_header(data) if version == 4 else data
            return is_echo_reply(version, message, identifier, nonce)

        return await _ask(raw, ask, answers)


async def _sctp(source: str, target: str, port: int) -> tuple[bool, str]:
    own_port, tag = 49152 + secrets.randbelow(16384), secrets.randbits(32) | 1
    with socket.socket(family(target), socket.SOCK_RAW, SCTP) as raw:
        raw.setblocking(False)
        raw.bind((source, 0))

        def answers(data: bytes) -> bool:
            packet = without_ip_header(data) if raw.family == socket.AF_INET else data
            return is_sctp_answer(packet, own_port, port, tag)

        return await _ask(raw, lambda: raw.sendto(sctp_init(own_port, port, tag), (target, 0)), answers)


async def _ask(connection: socket.socket, ask: Callable[[], int], answers: Callable[[bytes], bool]) -> tuple[bool, str]:
    """Ask, again and again, until an answer comes; the caller sets the deadline."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for nth, _ in enumerate(RETRIES):
        # An error that an earlier attempt left behind is not about this one.
        try:
            ask()
        except OSError as error:
            if error.errno not in _QUIET:
                raise
        until = RETRIES[nth + 1] if nth + 1 < len(RETRIES) else float("inf")
        if await _answered(connection, answers, start + until):
            return True, "answered"
    return False, "timeout"


async def _answered(connection: socket.socket, answers: Callable[[bytes], bool], until: float) -> bool:
    """Whether an answer arrives before the loop's time `until`."""
    loop = asyncio.get_running_loop()
    while (left := until - loop.time()) > 0:
        try:
            wait = None if left == float("inf") else left
            if answers(await asyncio.wait_for(loop.sock_recv(connection, 2048), wait)):
                return True
        except asyncio.TimeoutError:  # noqa: PERF203 - one turn of the loop is one packet
            return False
        except OSError as error:
            if error.errno not in _QUIET:
                raise
    return False
