"""Many short questions at one node: does the memory of the daemon or of its worker grow?

Rules
1. Growth is told per thousand questions, not per hour: it is questions that would leak. The slope is Theil-Sen's over
   the medians of blocks, after the first fifth (`stats`).
2. "stable" needs the whole interval of 95 % below the limit, "grows" the whole of it above; else "undecided".
3. It ends after `--questions` or `--within-s`, whichever comes first, and says how many there were.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from bench.cluster import Daemon
from bench.harness import Context, Row
from bench.inference_client import Reply, ask, connections, story
from bench.inference_node import model_name, one_node, pss_mib, workers
from bench.stats import MIN_BLOCKS, Slope, blocks, theil_sen, warm_from

NAME = "soak_inference"
IN_ALL = False
QUESTIONS, QUICK_QUESTIONS = 2000, 60
WITHIN_S, QUICK_S = 1800.0, 45.0
AT_ONCE, ANSWER_TOKENS = 4, 8
LOOK_EVERY = 4  # questions
DAEMON_LIMIT_MIB, WORKER_LIMIT_MIB = 2.0, 4.0  # per thousand questions
KEPT = 32  # different questions: conversations come back, as in a household


@dataclass
class Soak:
    """What was seen: memory after so many questions, and what failed."""

    questions: list[float] = field(default_factory=list)
    daemon_mib: list[float] = field(default_factory=list)
    workers_mib: list[float] = field(default_factory=list)
    asked: int = 0
    failed: list[str] = field(default_factory=list)

    def look(self, daemon: Daemon) -> None:
        """Take a sample."""
        try:
            sizes = [pss_mib(worker.pid) for worker in workers(daemon)]
        except OSError:  # one of them just ended
            return
        self.questions.append(float(self.asked))
        self.daemon_mib.append(pss_mib(daemon.pid))
        self.workers_mib.append(sum(sizes))


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument("--questions", type=int, default=None, help=f"how many (default {QUESTIONS})")
    parser.add_argument("--within-s", type=float, default=None, help=f"end after so long (default {WITHIN_S:.0f})")


async def run(context: Context) -> list[Row]:
    """Run the soak and return its verdicts."""
    questions = context.options.questions or context.pick(QUICK_QUESTIONS, QUESTIONS)
    within_s = context.options.within_s or (QUICK_S if context.quick else WITHIN_S)
    rows: list[Row] = []
    async with context.watched(rows), one_node(context.folder / "node", slots=AT_ONCE) as (daemon, _):
        rows += rows_of(await soak(daemon, questions, within_s), questions)
    return rows


async def soak(daemon: Daemon, questions: int, within_s: float) -> Soak:
    """Ask, `AT_ONCE` at a time, and look after every few answers."""
    seen, end = Soak(), time.monotonic() + within_s
    numbers = iter(range(questions))

    async def one_after_another(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            if time.monotonic() > end:
                return
            reply: Reply = await ask(session, daemon.url, model_name(), story(number % KEPT), ANSWER_TOKENS)
            seen.asked += 1
            if not reply.whole:
                seen.failed.append(reply.error or "cut")
            if seen.asked % LOOK_EVERY == 0:
                seen.look(daemon)

    async with connections() as session:
        await asyncio.gather(*(one_after_another(session) for _ in range(AT_ONCE)))
    return seen


def rows_of(seen: Soak, wanted: int) -> list[Row]:
    """Return the rows."""
    why = f", the first: {seen.failed[0]}" if seen.failed else ""
    told = f"{seen.asked} of {wanted} asked"
    return [
        Row(
            figure="short questions at one node: failed", unit="", samples=[float(len(seen.failed))], aim=0,
            note=told + why,
        ),
        _row("the daemon (PSS)", seen.questions, seen.daemon_mib, DAEMON_LIMIT_MIB),
        _row("its workers (PSS)", seen.questions, seen.workers_mib, WORKER_LIMIT_MIB),
    ]  # fmt: skip


def _row(what: str, questions: Sequence[float], sizes_mib: Sequence[float], limit_mib: float) -> Row:
    slope, word = growth(questions, sizes_mib, limit_mib)
    figure = f"growth of {what} in 1,000 questions"
    if slope is None:
        return Row(figure=figure, unit="MiB", samples=[], missing=f"{len(sizes_mib)} looks are too few")
    samples = [1000 * per_question for per_question in (slope.low, slope.per_s, slope.high)]
    note = f"{word}; {sizes_mib[0]:.0f} MiB at first, {sizes_mib[-1]:.0f} at last; interval of 95 %"
    aim = None if word == "undecided" else limit_mib  # an aim is met or missed by what was decided
    return Row(figure=figure, unit="MiB", samples=samples, aim=aim, note=f"{note}; at most {limit_mib:.0f} is stable")


def growth(questions: Sequence[float], sizes_mib: Sequence[float], limit_mib: float) -> tuple[Slope | None, str]:
    """Return the slope per question and the word for it (rules 1 and 2); no slope for too few looks."""
    start = warm_from(questions)
    at, sizes = blocks(questions[start:], sizes_mib[start:])
    if len(sizes) < MIN_BLOCKS or len(set(at)) < MIN_BLOCKS:
        return None, "undecided"
    slope = theil_sen(at, sizes)
    limit = limit_mib / 1000
    return slope, "stable" if slope.high <= limit else "grows" if slope.low > limit else "undecided"
