"""A prompt of 2,000 tokens that arrives while four answers run: the longest gap between two of their tokens.

The same is done to llama.cpp's own server, where it is installed: what its batches of prompts cost its readers.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import aiohttp

from bench.harness import Context, NotAvailableError, Row
from bench.inference_client import Reply, ask, connections, story
from bench.inference_node import SLOTS, model_name, one_node, require_slots
from bench.inference_servers import Server, native_server

RUNNING = 4
PROMPT_TOKENS, PROMPT_WORDS = 2000, 1950  # of the bundled model's tokens; how many there were is told
RUN_TOKENS = 1200
ALONE_S = 1.0
BEGIN_S = 60.0
AIM_MS = 250.0


@dataclass(frozen=True)
class Gaps:
    """What the readers of one run saw, and how the long prompt fared; `still` answers ran until it was read."""

    with_prompt_ms: float
    before_ms: float
    prompt_tokens: int
    first_token_s: float
    still: int


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    async with one_node(context.folder / "stall") as (daemon, client), connections() as session:
        await require_slots(client, "pc1", RUNNING + 1)
        ours = Server("tarsd", daemon.url, model_name())
        found = [await _gaps(session, ours, number) for number in range(context.pick(1, 5))]
    try:
        async with native_server(SLOTS) as native, connections() as session:
            theirs = [(await _gaps(session, native, number)).with_prompt_ms for number in range(context.pick(1, 5))]
    except NotAvailableError:
        theirs = []
    note = (
        f"{found[0].prompt_tokens} tokens of prompt, read in {min(gaps.first_token_s for gaps in found):.1f} s; "
        f"without it at most {max(gaps.before_ms for gaps in found):.0f} ms; "
        f"{min(gaps.still for gaps in found)} of {RUNNING} ran to its end"
    )
    return [
        Row(
            figure="a 2,000-token prompt among 4 answers: longest gap", unit="ms",
            samples=[gaps.with_prompt_ms for gaps in found], aim=AIM_MS, reference=theirs,
            reference_name="native" if theirs else "", note=note,
        )
    ]  # fmt: skip


class _Running:
    """An answer that runs: its reply as far as it came."""

    def __init__(self, session: aiohttp.ClientSession, server: Server, number: int) -> None:
        self.reply: Reply | None = None
        self.begun = asyncio.Event()
        asking = ask(session, server.url, server.model, story(number), RUN_TOKENS, heard=self._hear)
        self.task = asyncio.create_task(asking)

    def _hear(self, reply: Reply) -> None:
        self.reply = reply
        self.begun.set()


async def _gaps(session: aiohttp.ClientSession, server: Server, number: int) -> Gaps:
    """Return what the readers of one run saw."""
    running = [_Running(session, server, 1000 + 10 * number + one) for one in range(RUNNING)]
    try:
        async with asyncio.timeout(BEGIN_S):
            await asyncio.gather(*(one.begun.wait() for one in running))
        all_run = time.perf_counter()
        await asyncio.sleep(ALONE_S)
        long = await ask(session, server.url, server.model, story(7000 + number, PROMPT_WORDS), 4)
        still = sum(not one.task.done() for one in running)
    finally:
        for one in running:
            one.task.cancel()
        await asyncio.wait([one.task for one in running])
    if not long.times or not still:
        raise NotAvailableError(f"{server.name}: no answer ran until the long prompt was read {long.error}".strip())
    replies = [one.reply for one in running if one.reply is not None]
    return Gaps(
        with_prompt_ms=_longest_ms(replies, long.began, long.times[0]),
        before_ms=_longest_ms(replies, all_run, long.began),
        prompt_tokens=int(long.usage.get("prompt_tokens") or 0),
        first_token_s=long.first_token_s,
        still=still,
    )


def _longest_ms(replies: list[Reply], since: float, until: float) -> float:
    return max((reply.longest_gap_s(since, until) for reply in replies), default=0.0) * 1000
