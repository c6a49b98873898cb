"""Round trip of a call, first token and speed against the bare model, answers from documents, failover, start, memory.

Two real daemons on loopback: pc1 (cognitive) and pc2 (processing, orchestrator, monitoring). Calls come from a third
node of their cluster, over its own certificate. What is compared with the bare llama-cpp-python runs in turns with it:
same model, prompt, threads, context and batch, temperature 0, and each prompt begins with its own number, so that no
cache of a prefix helps either side.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from bench.cluster import Client, Cluster, Plan, cluster
from bench.daemon import REPOSITORY
from bench.harness import Context, Row
from bench.latency_failover import failover_rows
from bench.latency_generation import generation_rows
from bench.latency_rpc import round_trip_rows

NAME = "latency"

MAX_TOKENS = 64
DOCUMENTS = ("house-notes.md", "washing-machine-manual.pdf")
QUESTIONS = ("What does the washing machine manual say about the filter?", "Where is the water main of the house?")
RSS_MIB = 60.0
INDEX_S = 60.0


def threads() -> int:
    """Return how many threads both sides generate with: cores - 1, since two fight for the last one."""
    return max(1, (os.cpu_count() or 2) - 1)


def plans() -> list[Plan]:
    """Return the two PCs of the household."""
    model = f'[cognitive]\nmax_tokens = {MAX_TOKENS}\n[[cognitive.engines]]\nkind = "llama_cpp"\nthreads = {threads()}'
    return [Plan("pc1", ("cognitive",), settings=model), Plan("pc2", ("processing", "orchestrator", "monitoring"))]


async def run(context: Context) -> list[Row]:
    """Measure everything, in the order in which the daemons are still fresh, loaded, hurt."""
    rows: list[Row] = []
    async with cluster(plans(), context.folder / "nodes") as nodes:
        starts = [daemon.start_s for daemon in nodes.daemons]
        discoveries = [nodes.discovery_s]
        await _ready(nodes)
        sections: list[Callable[[], Awaitable[list[Row]]]] = [
            lambda: memory_rows(nodes, "idle, models loaded in workers", RSS_MIB),
            lambda: round_trip_rows(context, nodes),
            lambda: generation_rows(context, nodes, threads()),
            lambda: answer_rows(context, nodes),
            lambda: failover_rows(context, nodes, starts, discoveries),
            lambda: memory_rows(nodes, "after the above", None),
        ]
        for section in sections:
            async with context.watched(rows):
                rows += await section()
    return rows


async def _ready(nodes: Cluster) -> None:
    """Wait until the model answers and the index takes documents."""
    await nodes.wait_capability("pc2", "chat", INDEX_S)
    await nodes.wait_capability("pc1", "ingest", INDEX_S)
    await nodes.wait_capability("pc1", "embed", INDEX_S)


async def memory_rows(nodes: Cluster, when: str, aim_mib: float | None) -> list[Row]:
    """Return the memory of each daemon process."""
    sizes = [daemon.rss_bytes() / (1 << 20) for daemon in nodes.daemons]
    names = ", ".join(f"{daemon.name} {size:.1f}" for daemon, size in zip(nodes.daemons, sizes, strict=True))
    return [Row(figure=f"daemon RSS, {when}", unit="MiB", samples=sizes, aim=aim_mib, note=names)]


async def answer_rows(context: Context, nodes: Cluster) -> list[Row]:
    """Ask with documents at both nodes: how long until the sources, the first word and the end."""
    for name in DOCUMENTS:
        async for item in nodes.clients["pc2"].ingest(REPOSITORY / "examples" / name):
            if item["stage"] == "failed":
                raise RuntimeError(f"{name}: {item['reason']}")
    prepared, first, total, degraded = [], [], [], 0
    for turn in range(context.pick(1, 10)):
        for name in ("pc1", "pc2"):
            await idle(nodes.clients["pc1"])
            answer = await nodes.clients[name].ask(f"{QUESTIONS[turn % len(QUESTIONS)]} ({turn})")
            if not answer.finished:
                raise RuntimeError(f"asked at {name}: {answer.end}")
            prepared.append(next(at for at, event in answer.events if event["type"] == "route") * 1000)
            first.append(answer.first_token_s * 1000)
            total.append(answer.total_s * 1000)
            degraded += bool(answer.end["degraded"])
    note = f"{degraded} of {len(first)} degraded" if degraded else ""
    return [
        Row(figure="answer with context: prepared", unit="ms", samples=prepared, note=note),
        Row(figure="answer with context: first token", unit="ms", samples=first),
        Row(figure=f"answer with context: whole ({MAX_TOKENS} tokens)", unit="ms", samples=total),
    ]


async def idle(cognitive: Client, within_s: float = 60.0) -> None:
    """Wait until the model is free: after each answer it writes the conversation's summary."""
    async with asyncio.timeout(within_s):
        while await _busy(cognitive):  # noqa: ASYNC110 - another process has no event for us
            await asyncio.sleep(0.05)


async def _busy(cognitive: Client) -> bool:
    load = (await cognitive.get("/api/status"))["parts"]["cognitive"]["load"]
    return bool(load["queued"] or load["running"])
