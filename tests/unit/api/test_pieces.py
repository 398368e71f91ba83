"""Long answers are made in pieces: whole and valid whatever is in them, and everything else comes between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
from fastapi.responses import StreamingResponse
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from zethane.api.exposition import SLICE, exposition
from zethane.api.pieces import CHUNK, Pieces
from zethane.service.metrics import Metric, gauge


async def body(answer: StreamingResponse) -> bytes:
    parts = cast(AsyncIterator[bytes], answer.body_iterator)
    return b"".join([part async for part in parts])


items = st.dictionaries(st.text(max_size=4), st.none() | st.integers(-9, 9) | st.text(max_size=6), max_size=3)


@pytest.fixture
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zethane.api.pieces.PIECE", 0.0)


@given(listed=st.lists(items, max_size=20))
async def test_a_list_is_the_json_of_its_items(listed: list[dict[str, Any]]) -> None:
    assert json.loads(await body(Pieces().listed("found", iter(listed)))) == {"found": listed}


@pytest.mark.usefixtures("_one_at_a_time")
@pytest.mark.parametrize("count", [0, 1, 2, 50])
async def test_it_is_so_in_however_many_pieces(count: int) -> None:
    listed = [{"number": number, "text": "ü \ud800"} for number in range(count)]
    assert json.loads(await body(Pieces().listed("found", listed))) == {"found": listed}


@pytest.mark.usefixtures("_one_at_a_time")
async def test_one_piece_is_made_between_two_turns_of_the_loop_however_many_ask() -> None:
    turns = made = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def views() -> Iterator[dict[str, int]]:
        nonlocal made
        for number in range(50):
            made += 1
            yield {"number": number}

    other = asyncio.get_running_loop().create_task(turn())
    pieces = Pieces()
    await asyncio.gather(*(body(pieces.listed("found", views())) for _ in range(4)))
    other.cancel()
    assert made == 200
    assert turns >= made


@pytest.mark.usefixtures("_one_at_a_time")
async def test_small_pieces_are_handed_on_together() -> None:
    answer = Pieces().text((b"x" * 1000 for _ in range(100)), "text/plain")
    parts = [len(part) async for part in cast(AsyncIterator[bytes], answer.body_iterator)]
    assert sum(parts) == 100_000
    assert all(CHUNK <= part < CHUNK + 1000 for part in parts[:-1])


def metrics() -> list[Metric]:
    labels = [{"switch": f"s{number}", "port": str(number)} for number in range(3 * SLICE + 1)]
    return [
        gauge("sessions", "Live sessions.", 3),
        Metric("denied", "Packets.", "counter", [(one, float(number)) for number, one in enumerate(labels)]),
        Metric("empty", "Nothing yet.", "counter", []),
    ]


class _Whole(Collector):
    def collect(self) -> list[Any]:
        sessions = GaugeMetricFamily("zethane_sessions", "Live sessions.", labels=[])
        denied = CounterMetricFamily("zethane_denied", "Packets.", labels=["port", "switch"])
        empty = CounterMetricFamily("zethane_empty", "Nothing yet.", labels=[])
        sessions.add_metric([], 3)
        for number in range(3 * SLICE + 1):
            denied.add_metric([str(number), f"s{number}"], number)
        return [denied, empty, sessions]


def test_metrics_in_slices_are_what_the_library_writes_at_once() -> None:
    registry = CollectorRegistry()
    registry.register(_Whole())
    text = b"".join(exposition(metrics()))
    assert text == generate_latest(registry)
    (denied,) = [one for one in text_string_to_metric_families(text.decode()) if one.name == "zethane_denied"]
    assert len(denied.samples) == 3 * SLICE + 1
