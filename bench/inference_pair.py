"""Two nodes of 2:1 speed, 20 questions at once: how much sooner the last one is answered than by the faster alone.

Rules
1. Each model's worker is pinned to a CPU of its own. The slower one runs for half of the time (`duty`), from before it
   measures itself on.
2. A round asks the faster node alone (the slower one is stopped), then both; all questions go to the faster node's API.
3. The aim is for nodes of 2:1. Where others used a CPU too, so that the two were not, it is neither met nor missed.
4. All that is done with the slots that a node has by default, and with twice as many: 20 answers in fours leave a last
   wave that is not full, and what that costs nobody's choice of a node wins back (`tests/burst`: 1.36 to 1.43 is the
   best there is with four slots, 1.43 with eight).
5. Before the first round both nodes measure themselves (`tarsd bench`) where they can; else a few questions at each
   let their speeds be seen.
"""

from __future__ import annotations

import os
import statistics
from contextlib import AsyncExitStack

import aiohttp

from bench.cluster import Cluster, Daemon, DaemonError, Plan
from bench.duty import duty
from bench.harness import Context, NotAvailableError, Row
from bench.inference_client import Burst, burst, connections, story
from bench.inference_node import (
    LOAD_S,
    model_name,
    model_worker,
    nodes_of,
    require_slots,
    settings,
)
from bench.stats import paired_ratios

QUESTIONS = 20
SLOTS = (4, 8)
ANSWER_TOKENS, QUICK_TOKENS = 64, 24
MEASURE_S = 120.0
AIM = 1.4
ABOUT_TWICE = (1.6, 2.5)
SLOWER_SHARE = 0.5


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise NotAvailableError("two CPUs are needed, there is one")
    return [await _row(context, slots, cpus) for slots in SLOTS]


async def _row(context: Context, slots: int, cpus: list[int]) -> Row:
    """Return the row of two nodes with so many slots each."""
    tokens = context.pick(QUICK_TOKENS, ANSWER_TOKENS)
    plans = [Plan(name, ("cognitive",), settings=settings(slots=slots, model_threads=1)) for name in ("fast", "slow")]
    alone, both = [], []
    folder = context.folder / f"pair-{slots}"
    async with nodes_of(plans, folder) as nodes, connections() as session, AsyncExitStack() as slowed:
        for name in ("fast", "slow"):
            await require_slots(nodes.clients[name], name, slots)
        pin(nodes["fast"], cpus[0])
        await slow_down(nodes["slow"], cpus[1], slowed)
        speeds = {name: await _speed(session, nodes[name].url, tokens) for name in ("fast", "slow")}
        measured = await _measure(nodes, session, tokens)
        speeds |= await _advertised(nodes)
        for number in range(context.pick(1, 5)):
            await slowed.aclose()
            await nodes["slow"].stop()
            await nodes.wait_state("fast", "slow", ("left", "dead"))
            alone.append(await _ask_all(session, nodes["fast"].url, 1000 + 100 * number, tokens))
            await nodes["slow"].start()
            await nodes.wait_capability("fast", "chat", LOAD_S, of="slow")
            await slow_down(nodes["slow"], cpus[1], slowed)
            await _warm(session, nodes["slow"].url, tokens)
            both.append(await _ask_all(session, nodes["fast"].url, 5000 + 100 * number, tokens))
    return row_of(alone, both, speeds["fast"] / speeds["slow"], measured, slots)


def row_of(alone: list[Burst], both: list[Burst], ratio: float, measured: str, slots: int = SLOTS[0]) -> Row:
    """Return the row; `ratio`: how many times as fast the faster node was, `measured`: how the nodes knew."""
    one, two = ([found.tokens_per_s for found in side] for side in (alone, both))
    gains = paired_ratios(two, one)
    gained = f"gain {min(gains):.2f}-{max(gains):.2f} (median {statistics.median(gains):.2f})"
    return Row(
        figure=f"{QUESTIONS} questions at once, {slots} slots, two nodes against the faster alone",
        unit="tokens/s",
        samples=two,
        aim=AIM if ABOUT_TWICE[0] <= ratio <= ABOUT_TWICE[1] else None,
        aim_is=">=",
        aim_on="ratio",
        reference=one,
        reference_name="faster alone",
        note=f"the faster is {ratio:.1f} times as fast; {measured}; {gained}",
    )


def pin(daemon: Daemon, cpu: int) -> None:
    """Keep every thread of the node's model on one CPU."""
    worker = model_worker(daemon)
    for thread in worker.threads():
        os.sched_setaffinity(thread.id, {cpu})


async def slow_down(daemon: Daemon, cpu: int, until: AsyncExitStack) -> None:
    """Give the node's model half of one CPU, until `until` closes."""
    pin(daemon, cpu)
    await until.enter_async_context(duty(model_worker(daemon).pid, SLOWER_SHARE))


async def _measure(nodes: Cluster, session: aiohttp.ClientSession, tokens: int) -> str:
    """Let the nodes know their speeds (rule 5); return how."""
    try:
        for name in ("fast", "slow"):
            await nodes[name].command("bench", "--quick", within_s=MEASURE_S)
    except DaemonError:
        for name in ("fast", "slow"):
            await _warm(session, nodes[name].url, tokens)
        return "speeds as seen of late, `tarsd bench` is not there"
    return "speeds measured by `tarsd bench`"


async def _advertised(nodes: Cluster) -> dict[str, float]:
    """Return the speeds that the nodes measured of themselves: what is asked of one may be answered by the other."""
    members = await nodes.clients["fast"].members()
    told = {name: members[name]["capabilities"].get("chat", {}).get("speed", 0.0) for name in ("fast", "slow")}
    return told if all(told.values()) else {}


async def _warm(session: aiohttp.ClientSession, url: str, tokens: int) -> None:
    await burst(session, url, model_name(), [story(9000 + one) for one in range(2)], tokens)


async def _speed(session: aiohttp.ClientSession, url: str, tokens: int) -> float:
    """Return the speed of one answer after its first token."""
    await burst(session, url, model_name(), [story(8000)], 8)
    return (await burst(session, url, model_name(), [story(8100)], tokens)).replies[0].tokens_per_s


async def _ask_all(session: aiohttp.ClientSession, url: str, number: int, tokens: int) -> Burst:
    return await burst(session, url, model_name(), [story(number + one) for one in range(QUESTIONS)], tokens)
