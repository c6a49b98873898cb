"""Two nodes of 2:1 speed and 20 questions at once, as `inference_pair`, with scripted models: what routing alone makes
of speeds that are 2:1 whatever the machine does beside. Real daemons, real queues, real moves; no token is computed.

Rules
1. Both models are scripted servers; the slower one's pauses are twice as long. Answers at once share a node's speed as
   in a batch on one CPU: four at once do 1.6 times what one does (`BESIDE`).
2. The nodes know each other's speed from a few questions before, as seen of late.
3. A round asks the faster node alone (the slower one is stopped), then both; all questions go to the faster node's API.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

import aiohttp

from bench.cluster import Cluster, Plan, cluster
from bench.daemon import free_ports
from bench.faults import scripted
from bench.harness import Context, Row
from bench.inference_client import Burst, burst, connections
from bench.inference_pair import QUESTIONS, SLOTS, row_of

TIMES = {"fast": 1.0, "slow": 2.0}
BESIDE = 0.5
PIECES, PAUSE_MS = 16, 50
TOKENS = 4 * PIECES
KNOWN_S = 20.0


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    return [await _row(context, slots) for slots in SLOTS]


async def _row(context: Context, slots: int) -> Row:
    ports = dict(zip(TIMES, free_ports(len(TIMES)), strict=True))
    plans = [
        Plan(name, ("cognitive",), settings=f"{scripted.settings(port)}slots = {slots}\n")
        for name, port in ports.items()
    ]
    alone, both = [], []
    async with AsyncExitStack() as stack:
        for name, port in ports.items():
            await stack.enter_async_context(scripted.running(port, times=TIMES[name], beside=BESIDE))
        nodes = await stack.enter_async_context(cluster(plans, context.folder / f"spread-{slots}"))
        session = await stack.enter_async_context(connections())
        for number in range(context.pick(2, 5)):
            await nodes["slow"].stop()
            await nodes.wait_state("fast", "slow", ("left", "dead"))
            alone.append(await _ask_all(session, nodes["fast"].url, f"a{number}"))
            await nodes["slow"].start()
            await _let_speeds_be_seen(session, nodes, number)
            both.append(await _ask_all(session, nodes["fast"].url, f"b{number}"))
    row = row_of(alone, both, TIMES["slow"] / TIMES["fast"], "scripted models, speeds as seen of late", slots)
    row.figure += " (scripted)"
    return row


async def _let_speeds_be_seen(session: aiohttp.ClientSession, nodes: Cluster, number: int) -> None:
    for name in TIMES:
        for other in TIMES:
            await nodes.wait_capability(name, "chat", KNOWN_S, of=other)
        await _ask(session, nodes[name].url, [f"w{number}{name}{one}" for one in range(2)])


async def _ask_all(session: aiohttp.ClientSession, url: str, key: str) -> Burst:
    return await _ask(session, url, [f"{key}q{one}" for one in range(QUESTIONS)])


async def _ask(session: aiohttp.ClientSession, url: str, keys: list[str]) -> Burst:
    """Ask them all at once; each answer has as many tokens as pieces."""
    prompts = [[{"role": "user", "content": scripted.question(key, PIECES, PAUSE_MS)}] for key in keys]
    found = await burst(session, url, scripted.MODEL, prompts, TOKENS)
    for key, reply in zip(keys, found.replies, strict=True):
        if reply.text != scripted.text_of(key, PIECES):
            raise RuntimeError(f"{url}: the answer to {key} is not the one that was written")
    return found
