"""Metrics as Prometheus reads them (text format 0.0.4), a few samples at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from zethane.service.metrics import Labels, Metric

MetricFamily = CounterMetricFamily | GaugeMetricFamily

SLICE = 16
"""Samples that are written in one go."""

_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
"""What no metric's name may hold."""


def exposition(metrics: Iterable[Metric]) -> Iterator[bytes]:
    """The counters and gauges as they are when they are come to, by name."""
    found: list[Metric] = []
    for metric in metrics:
        found.append(metric)
        yield b""  # here something else may have its turn, as everywhere between two parts
    for metric in sorted(found, key=lambda one: one.name):
        samples = iter(metric.samples)
        yield _text(metric, list(islice(samples, SLICE)))
        while more := list(islice(samples, SLICE)):
            # What it is, and what it counts, is said once.
            yield b"".join(line for line in _text(metric, more).splitlines(keepends=True) if line[:1] != b"#")


class _One(Collector):
    """A part of a metric, for the library to write."""

    def __init__(self, family: MetricFamily) -> None:
        self._family = family

    def collect(self) -> list[MetricFamily]:
        return [self._family]


def _text(metric: Metric, samples: Sequence[tuple[Labels, float]]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_One(_family(metric, samples)))
    text: bytes = generate_latest(registry)
    return text


def _family(metric: Metric, samples: Sequence[tuple[Labels, float]]) -> MetricFamily:
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    names = sorted({name for labels, _ in samples for name in labels})
    family = make("zethane_" + _NO_NAME.sub("_", metric.name), metric.help, labels=names)
    for labels, value in samples:
        family.add_metric([labels.get(name, "") for name in names], value)
    return family
