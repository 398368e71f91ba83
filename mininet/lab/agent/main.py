"""Commands in, answers out, until standard input ends."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from lab.agent.probing import probe
from lab.agent.serving import Arrivals, Services

PARALLEL = 24
"""Probes of one host at a time: more would be a flood to a switch that meters its ports."""
_LIMIT = 1 << 20


class Agent:
    """Answers commands. Every command gets one answer, an error among them."""

    def __init__(self) -> None:
        self._services = Services()
        self._arrivals = Arrivals()
        self._writing = asyncio.Lock()
        self._slots = asyncio.Semaphore(PARALLEL)

    async def answer(self, line: bytes) -> None:
        """Do what a line asks for and write the answer."""
        command = json.loads(line)
        try:
            result = await self._do(command)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked has to know
            result = {"error": f"{type(error).__name__}: {error}"}
        async with self._writing:
            await _write(json.dumps({"id": command["id"]} | result) + "\n")

    async def _do(self, command: dict[str, Any]) -> dict[str, Any]:
        match command["do"]:
            case "serve":
                services = [(proto, port) for proto, port in command["services"]]
                return {"failed": await self._services.serve(command["addresses"], services)}
            case "probe":
                async with self._slots:
                    answered, detail = await probe(
                        command["proto"], command["source"], command["target"], command["port"], command["timeout"]
                    )
                return {"answered": answered, "detail": detail}
            case "seen":
                self._arrivals.drain()
                return {"seen": sorted(self._arrivals.seen)}
            case "forget":
                self._arrivals.forget()
                return {}
            case other:
                raise ValueError(f"unknown command {other}")


async def _write(text: str) -> None:
    """Write a line. A long answer may fill the pipe: the probes must not wait for whoever reads it."""
    await asyncio.get_running_loop().run_in_executor(None, _write_all, text.encode())


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


async def run() -> None:
    """Serve standard input until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LIMIT)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    agent = Agent()
    running: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.create_task(agent.answer(line))
        running.add(task)
        task.add_done_callback(running.discard)
