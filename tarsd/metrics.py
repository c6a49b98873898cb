"""What a node counts, in Prometheus' text format.

Rules
1. Each node has a registry of its own: two nodes in one process (tests) never share a counter.
2. Labels are closed sets (routes, capabilities, results, states, worker names), so that the number of series is
   bounded. Never a person's text, a file name or an address.
3. What can be read when asked (members, queue, restarts, memory) is read when asked, by `Readings`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# First token: 10 ms is a cached prompt, 30 s a long prompt on an old PC. Calls: 1 ms is loopback.
FIRST_TOKEN_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
CALL_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)

# Otherwise each counter brings a second series, with the time when the process began to count.
disable_created_metrics()  # type: ignore[no-untyped-call]

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Readings:
    """Where to read, at the time of asking, what needs no counting."""

    members: Callable[[], Mapping[str, int]] = dict  # how many members are in each state
    queued: Callable[[], int] = int  # questions that wait for the engine
    running: Callable[[], int] = int
    worker_restarts: Callable[[], Mapping[str, int]] = dict  # by worker name
    worker_rss_bytes: Callable[[], Mapping[str, int]] = dict
    loop_lag_s: Callable[[], float] = float
    memory_cache: Callable[[], Mapping[tuple[str, str], int]] = dict  # searches by call and result (hit, miss)
    unwanted_datagrams: Callable[[], Mapping[str, int]] = dict  # by their fate


class Metrics:
    """The node's counters; every method is cheap and never raises for a value of its type."""

    def __init__(self, readings: Readings | None = None) -> None:
        self._registry = CollectorRegistry()
        self._questions = Counter("tarsd_questions", "Questions taken", registry=self._registry)
        self._answers = Counter("tarsd_answers", "Answers finished", ["route", "degraded"], registry=self._registry)
        self._first_token = Histogram(
            "tarsd_first_token_seconds",
            "Time from question to first token",
            buckets=FIRST_TOKEN_BUCKETS_S,
            registry=self._registry,
        )
        self._calls = Counter(
            "tarsd_calls", "Calls made, by capability and result", ["capability", "result"], registry=self._registry
        )
        self._call_seconds = Histogram(
            "tarsd_call_seconds",
            "Time to a call's end",
            ["capability"],
            buckets=CALL_BUCKETS_S,
            registry=self._registry,
        )
        self._of_calls: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._registry.register(_Reader(readings or Readings()))

    def question_asked(self) -> None:
        """Count a question."""
        self._questions.inc()

    def first_token(self, after_s: float) -> None:
        """Record how long a reader waited for the first token."""
        self._first_token.observe(after_s)

    def answered(self, route: str, *, degraded: bool) -> None:
        """Count a finished answer; `route` is "" where none was decided."""
        self._answers.labels(route or "none", "yes" if degraded else "no").inc()

    def call_finished(self, capability: str, result: str, seconds: float) -> None:
        """Count a call; `result` is "ok", "hedged", "moved", "overtaken" or the name of an error class."""
        key = (capability, result)
        if (series := self._of_calls.get(key)) is None:  # looking a series up by its labels costs more than to count
            series = self._of_calls[key] = (self._calls.labels(*key), self._call_seconds.labels(capability))
        series[0].inc()
        series[1].observe(seconds)

    def render(self) -> bytes:
        """Return everything as Prometheus' text format."""
        return generate_latest(self._registry)


class _Reader(Collector):
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        read = self._readings
        yield _by_label("tarsd_members", "Members by state", "state", read.members())
        yield _gauge("tarsd_queue", "Questions waiting for the engine", read.queued())
        yield _gauge("tarsd_running", "Questions being answered by the engine", read.running())
        yield _gauge("tarsd_rss_bytes", "Memory of the daemon itself", rss_bytes())
        yield _by_label("tarsd_worker_rss_bytes", "Memory of each worker", "worker", read.worker_rss_bytes())
        yield _gauge("tarsd_loop_lag_seconds", "95th percentile of the event loop's lag", read.loop_lag_s())
        restarts = CounterMetricFamily("tarsd_worker_restarts", "Restarts of each worker", labels=["worker"])
        for worker, count in read.worker_restarts().items():
            restarts.add_metric([worker], count)
        yield restarts
        cached = CounterMetricFamily(
            "tarsd_memory_cache", "Searches of the memory, by what the cache held", labels=["call", "result"]
        )
        for labels, count in read.memory_cache().items():
            cached.add_metric(labels, count)
        yield cached
        unwanted = CounterMetricFamily(
            "tarsd_unwanted_datagrams",
            "Datagrams that no peer had sealed, by their fate",
            labels=["fate"],
        )
        for fate, count in read.unwanted_datagrams().items():
            unwanted.add_metric([fate], count)
        yield unwanted


def rss_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _by_label(name: str, text: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
