"""The engine's worker is killed in mid-answer: what is lost with a second cognitive node and with none, and the gap.

Rules
1. The worker (not the daemon) gets SIGKILL after some tokens; the reader's stream must go on to its end.
2. With no second node the gap may last as long as the model takes to load, and a second; the load is measured in the
   same run, by the bare library in a process of its own.
3. An answer is lost when it ends in an error or too early. Whether its words are those of an undisturbed one is told.
"""

from __future__ import annotations

import asyncio
import signal
import statistics
from pathlib import Path

import aiohttp
import psutil

from bench.bare import Bare
from bench.cluster import Daemon, Plan
from bench.harness import Context, Row
from bench.inference_client import Reply, ask, connections, story
from bench.inference_node import (
    CONTEXT_TOKENS,
    LOAD_S,
    model_file,
    model_name,
    model_worker,
    nodes_of,
    settings,
    threads,
)

ANSWER_TOKENS, KILL_AFTER = 96, 24
BEYOND_LOAD_S = 1.0
WITHIN_S = 90.0


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    times = context.pick(1, 5)
    load_s = [await _load_s() for _ in range(context.pick(1, 3))]
    second = await _hurt(context.folder / "killed-two", ("pc1", "pc2"), times)
    none = await _hurt(context.folder / "killed-one", ("pc1",), times)
    usual_s = statistics.median(load_s)
    gaps = [reply.longest_gap_s() for reply in none.replies if reply.whole]
    return [
        *second.rows("with a second node"),
        *none.rows("with no second node"),
        Row(
            figure="worker killed, no second node: gap beyond the model's load", unit="s",
            samples=[gap - usual_s for gap in gaps], aim=BEYOND_LOAD_S, note=f"load {usual_s:.2f} s, bare",
            missing="no answer came to its end",
        ),
    ]  # fmt: skip


class Hurt:
    """What came of the answers whose worker was killed; `undisturbed` is one that was left alone."""

    def __init__(self, undisturbed: str, replies: list[Reply]) -> None:
        self.undisturbed = undisturbed
        self.replies = replies

    def rows(self, when: str) -> list[Row]:
        """Return the rows of it."""
        lost = [reply for reply in self.replies if not reply.whole]
        same = sum(reply.text == self.undisturbed for reply in self.replies)
        why = f"; the first: {lost[0].error or 'cut'}" if lost else ""
        gaps = [reply.longest_gap_s() for reply in self.replies if reply.whole]
        return [
            Row(
                figure=f"worker killed in mid-answer, {when}: answers lost", unit="", samples=[float(len(lost))],
                aim=0, note=f"of {len(self.replies)}, {same} in the words of an undisturbed one{why}",
            ),
            Row(
                figure=f"worker killed in mid-answer, {when}: gap", unit="s", samples=gaps,
                missing="no answer came to its end",
            ),
        ]  # fmt: skip


async def _hurt(folder: Path, names: tuple[str, ...], times: int) -> Hurt:
    plans = [Plan(name, ("cognitive",), settings=settings()) for name in names]
    async with nodes_of(plans, folder) as nodes, connections() as session:
        asked = nodes["pc1"]  # it is at home there: its own model answers
        undisturbed = await ask(session, asked.url, model_name(), story(1000), ANSWER_TOKENS)
        replies = []
        for _ in range(times):
            for name in names:
                await nodes.wait_capability("pc1", "chat", LOAD_S, of=name)
            replies.append(await _kill_in_the_middle(session, asked))
    return Hurt(undisturbed.text, replies)


async def _kill_in_the_middle(session: aiohttp.ClientSession, daemon: Daemon) -> Reply:
    worker: psutil.Process = model_worker(daemon)

    def heard(reply: Reply) -> None:
        if len(reply.pieces) == KILL_AFTER:
            worker.send_signal(signal.SIGKILL)

    reply = await ask(session, daemon.url, model_name(), story(1000), ANSWER_TOKENS, heard=heard, within_s=WITHIN_S)
    await asyncio.sleep(0)
    if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        raise RuntimeError(f"the worker that was to be killed still runs: the answer ended after {len(reply.pieces)}")
    return reply


async def _load_s() -> float:
    async with Bare(model_file(), threads(), CONTEXT_TOKENS) as bare:
        return bare.load_s
