"""What a stress run saw, and the verdict on it, as pure functions.

Rules
1. An error is a question or document without its end: an `error` event, a cut stream, or silence. A degraded answer is
   counted and told, and is no error: it is what is promised while a node is away.
2. What was asked of a node while that node itself was killed or frozen is excused: nobody sits at such a PC. An answer
   that was cut in its middle by a fault, where no other node has a model to go on with, is told as cut.
3. The memory of a restarted process is a new series: the slope is taken over each node's longest life.
4. "RAM stable" needs the whole 95 % interval of the slope below the limit. What is too short to tell is "undecided".
"""

from __future__ import annotations

from collections import Counter

import msgspec

from bench.harness import Row
from bench.samples import SAMPLE_S, Sample
from bench.stats import Growth, growth, percentile

RSS_LIMIT_MIB_PER_HOUR = 1.0
FILES_LIMIT_PER_HOUR = 1.0
TASKS_LIMIT_PER_HOUR = 1.0


FAULTS = ("kill", "freeze", "worker")


class Event(msgspec.Struct, kw_only=True):
    """One thing that happened: a question, an ingest or a fault."""

    at_s: float
    kind: str
    node: str
    ok: bool = True
    degraded: bool = False
    cut: bool = False  # by a fault, in mid-answer
    first_token_s: float = 0.0
    total_s: float = 0.0
    detail: str = ""


class Record(msgspec.Struct, kw_only=True):
    """Everything a run saw, as it is written to stress.json."""

    seconds: float
    events: list[Event]
    samples: list[Sample]


def rows_of(record: Record) -> list[Row]:
    """Return the verdict: errors, latencies, faults, and the growth of each node's memory."""
    asked = [event for event in record.events if event.kind == "question"]
    answered = [event for event in asked if event.ok and event.first_token_s]
    bad = [event for event in record.events if not event.ok]
    taken = [event.total_s for event in record.events if event.kind == "ingest" and event.ok and event.total_s]
    why = "; ".join(
        f"{count} x {detail}" for detail, count in Counter(event.detail[:80] for event in bad).most_common(3)
    )
    rows = [
        Row(figure="questions and ingests failed", unit="count", samples=[float(len(bad))], aim=0, note=why),
        Row(
            figure="questions asked",
            unit="count",
            samples=[float(len(asked))],
            note=f"{sum(e.degraded for e in asked)} degraded, {sum(e.cut for e in asked)} cut off by a fault",
        ),
    ]
    if answered:
        firsts = [event.first_token_s for event in answered]
        rows.append(Row(figure="first token", unit="s", samples=firsts, note=f"p99 {percentile(firsts, 0.99):.2f}"))
    if answered:
        wholes = [event.total_s for event in answered]
        rows.append(Row(figure="whole answer", unit="s", samples=wholes, note=f"p99 {percentile(wholes, 0.99):.2f}"))
    if taken:
        rows.append(Row(figure="document taken in", unit="s", samples=taken, note=f"p99 {percentile(taken, 0.99):.2f}"))
    heals = [event.total_s for event in record.events if event.kind == "healed" and event.ok]
    if heals:
        rows.append(Row(figure="healed after a fault", unit="s", samples=heals, aim=5.0, note=_faults(record)))
    reloads = [event.total_s for event in record.events if event.kind == "reloaded" and event.ok]
    if reloads:
        rows.append(Row(figure="model back after its worker was killed", unit="s", samples=reloads))
    for node in sorted({sample.node for sample in record.samples}):
        rows += growth_rows(node, longest_life([sample for sample in record.samples if sample.node == node]))
    return rows


def _faults(record: Record) -> str:
    counts = Counter(event.kind for event in record.events if event.kind in FAULTS)
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(counts.items()))


def longest_life(samples: list[Sample]) -> list[Sample]:
    """Return the longest run of samples without a gap of more than a few looks (rule 3)."""
    lives: list[list[Sample]] = [[]]
    for sample in samples:
        if lives[-1] and sample.at_s - lives[-1][-1].at_s > 3 * SAMPLE_S:
            lives.append([])
        lives[-1].append(sample)
    return max(lives, key=len)


def growth_rows(node: str, samples: list[Sample]) -> list[Row]:
    """Return how memory, open files and tasks of one node grew."""
    times = [sample.at_s for sample in samples]
    memory = growth(times, [sample.rss_mib for sample in samples], limit_per_hour=RSS_LIMIT_MIB_PER_HOUR)
    files = growth(times, [float(sample.open_files) for sample in samples], limit_per_hour=FILES_LIMIT_PER_HOUR)
    told = [sample for sample in samples if sample.tasks]
    tasks = growth(
        [each.at_s for each in told], [float(each.tasks) for each in told], limit_per_hour=TASKS_LIMIT_PER_HOUR
    )
    return [
        _growth_row(f"{node}: memory", "MiB/h", memory, RSS_LIMIT_MIB_PER_HOUR),
        _growth_row(f"{node}: open files", "1/h", files, FILES_LIMIT_PER_HOUR),
        _growth_row(f"{node}: asyncio tasks", "1/h", tasks, TASKS_LIMIT_PER_HOUR),
        Row(figure=f"{node}: memory", unit="MiB", samples=[sample.rss_mib for sample in samples] or [0.0]),
        Row(figure=f"{node}: disk", unit="MiB", samples=[sample.disk_mib for sample in samples] or [0.0]),
    ]


def _growth_row(figure: str, unit: str, found: Growth, limit: float) -> Row:
    if found.slope is None:
        return Row(figure=f"{figure} growth", unit=unit, samples=[0.0], note="undecided: too short a run")
    low, middle, high = found.slope.per_hour
    row = Row(
        figure=f"{figure} growth", unit=unit, samples=[middle], note=f"{found.verdict}, 95 %: {low:.2f} to {high:.2f}"
    )
    if found.verdict != "undecided":
        row.aim = limit
    return row
