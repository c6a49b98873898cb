"""The engine's worker is killed in mid-answer: what is lost with a second cognitive node and with none, and the gap.

Rules
1. The worker (not the daemon) gets SIGKILL after some tokens; the reader's stream must go on to its end.
2. With no second node the gap may last as long as the model takes to load, and a second; the load is measured in the
   same run, by the bare library in a process of its own.
3. An answer is lost when it ends in an error or too early. Whether its words are those of an undisturbed one is told.
"""

from __future__ import annotations

import signal
import statistics
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import psutil

from bench.bare import Bare
from bench.cluster import Cluster, Daemon, Plan
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
from bench.latency_generation import cpu_s

ANSWER_TOKENS, LOOK_FROM, KILL_AFTER = 96, 4, 24
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
        undisturbed = await ask(session, nodes["pc1"].url, model_name(), story(1000), ANSWER_TOKENS)
        replies = []
        for _ in range(times):
            for name in names:
                await nodes.wait_capability("pc1", "chat", LOAD_S, of=name)
            replies.append(await _kill_in_the_middle(session, nodes))
    return Hurt(undisturbed.text, replies)


class _Killer:
    """Kills the worker that generates: the one whose CPU time grows while the answer's pieces come."""

    def __init__(self, daemons: Sequence[Daemon]) -> None:
        self.workers = [model_worker(daemon) for daemon in daemons]
        self.victim: psutil.Process | None = None
        self._before: list[float] = []

    def hear(self, reply: Reply) -> None:
        """Take a piece (rule 1)."""
        if len(reply.pieces) == LOOK_FROM:
            self._before = [cpu_s(worker.pid) for worker in self.workers]
        elif len(reply.pieces) == KILL_AFTER:
            worked_s = [cpu_s(worker.pid) - before for worker, before in zip(self.workers, self._before, strict=True)]
            self.victim = self.workers[worked_s.index(max(worked_s))]
            self.victim.send_signal(signal.SIGKILL)


async def _kill_in_the_middle(session: aiohttp.ClientSession, nodes: Cluster) -> Reply:
    killer, url = _Killer(nodes.daemons), nodes["pc1"].url
    reply = await ask(session, url, model_name(), story(1000), ANSWER_TOKENS, heard=killer.hear, within_s=WITHIN_S)
    if killer.victim is None:
        raise RuntimeError(f"the answer ended after {len(reply.pieces)} pieces: {reply.error or reply.finish_reason}")
    return reply


async def _load_s() -> float:
    async with Bare(model_file(), threads(), CONTEXT_TOKENS) as bare:
        return bare.load_s
