"""Run in a network namespace: listens at addresses and ports, and tries flows when told.

A line of JSON in, a line out: first `{"listen": [ADDRESS, …], "ports": [PORT, …]}` for `ready`, then lists of
`[source, target, "tcp" | "udp" | "icmp", port]` for lists of whether each was answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import Any

WITHIN = 2.0
"""Seconds after which a flow counts as not answered."""


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(data, addr)


class _Once(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002 - asyncio's
        if not self.answered.done():
            self.answered.set_result(None)


async def _serve(addresses: list[str], ports: list[int]) -> list[object]:
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    kept: list[object] = []
    for address in addresses:
        for port in ports:
            kept.append(await asyncio.start_server(accept, address, port))
            # One for each address: an answer comes from the one that was asked.
            kept.append(await asyncio.get_running_loop().create_datagram_endpoint(_Echo, local_addr=(address, port)))
    return kept


async def _connect(source: str, target: str, port: int) -> None:
    _, writer = await asyncio.open_connection(target, port, local_addr=(source, 0))
    writer.close()


async def _datagram(source: str, target: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    ends: dict[str, Any] = {"local_addr": (source, 0), "remote_addr": (target, port)}
    transport, protocol = await loop.create_datagram_endpoint(_Once, **ends)
    try:
        transport.sendto(b"x")
        await protocol.answered
    finally:
        transport.close()


async def _ping(source: str, target: str) -> None:
    silent = asyncio.subprocess.DEVNULL
    command = ("ping", "-n", "-q", "-c", "1", "-W", str(int(WITHIN)), "-I", source, target)
    ping = await asyncio.create_subprocess_exec(*command, stdout=silent, stderr=silent)
    if await ping.wait() != 0:
        raise OSError("no answer")


async def _attempt(source: str, target: str, proto: str, port: int) -> bool:
    work: Coroutine[Any, Any, None]
    if proto == "icmp":
        return await _answered(_ping(source, target), 2 * WITHIN)  # it has its own end
    work = _connect(source, target, port) if proto == "tcp" else _datagram(source, target, port)
    return await _answered(work, WITHIN)


async def _answered(work: Coroutine[Any, Any, None], within: float) -> bool:
    try:
        await asyncio.wait_for(work, within)
    except (OSError, asyncio.TimeoutError):
        return False
    return True


async def _main() -> None:
    loop = asyncio.get_running_loop()
    given = json.loads(sys.stdin.readline())
    kept = await _serve(given["listen"], given["ports"])
    print("ready", flush=True)
    while kept and (line := await loop.run_in_executor(None, sys.stdin.readline)):
        answers = await asyncio.gather(*(_attempt(*flow) for flow in json.loads(line)))
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
