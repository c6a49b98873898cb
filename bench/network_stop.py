"""What a frozen PC costs new questions: 10 questions a second, and one of the two PCs that chat is stopped (SIGSTOP).

The model is a scripted server (real HTTP, no model): two cores cannot generate 10 answers a second, and the network is
what is measured. A third node is the host.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Iterator

from bench.cluster import Cluster, Plan
from bench.faults import scripted
from bench.faults.checker import judge
from bench.faults.record import Ask, Question, Recorder, stream
from bench.faults.stage import loopback_cluster
from bench.harness import Context, Row

EVERY_S = 0.1
PIECES, PAUSE_MS = 4, 10
PEACE_S, FROZEN_S, AFTER_S = 3.0, 10.0, 3.0
WORST_EXTRA_S = 3.0
WITHIN_S = 10.0
KEYS = (f"stop{number}" for number in itertools.count())


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    failed: list[float] = []
    extra: list[float] = []
    asked = 0
    hosts = [Plan("host", ("orchestrator",))]
    async with loopback_cluster(hosts, ("pc2", "pc3"), context.folder / "stop") as (nodes, _):
        for number in range(context.pick(1, 3)):
            recorder, frozen_at = await _round(nodes, ("pc2", "pc3")[number % 2])
            recorder.write(context.folder / f"stop-{number}.jsonl")
            verdict = judge(recorder.questions, within_s=WITHIN_S, gap_s=WITHIN_S)
            print(f"stop: {verdict}")
            asked += verdict.questions
            failed.append(verdict.questions - verdict.whole)
            extra.append(_worst_extra(recorder.questions, frozen_at))
            await nodes.wait_full(30)
    note = f"of {asked}; scripted server"
    return [
        Row(figure="SIGSTOP under 10 questions/s: questions failed", unit="", samples=failed, aim=0, note=note),
        Row(figure="SIGSTOP under 10 questions/s: worst extra wait", unit="s", samples=extra, aim=WORST_EXTRA_S),
    ]


async def _round(nodes: Cluster, victim: str) -> tuple[Recorder, float]:
    recorder = Recorder()
    asking = asyncio.create_task(stream(recorder, nodes.clients["host"], "host", _asks(), EVERY_S))
    try:
        await asyncio.sleep(PEACE_S)
        frozen_at = recorder.now()
        nodes[victim].freeze()
        try:
            await asyncio.sleep(FROZEN_S)
        finally:
            nodes[victim].thaw()
        await asking
    finally:
        asking.cancel()
    return recorder, frozen_at


def _asks() -> Iterator[Ask]:
    for key in itertools.islice(KEYS, round((PEACE_S + FROZEN_S + AFTER_S) / EVERY_S)):
        yield Ask(text=scripted.question(key, PIECES, PAUSE_MS), expected=scripted.text_of(key, PIECES))


def _worst_extra(questions: list[Question], frozen_at: float) -> float:
    """Return how much longer the slowest answer took than is usual."""
    usual = statistics.median(one.total_s for one in questions if one.ended_at < frozen_at)
    return max(one.total_s for one in questions) - usual
