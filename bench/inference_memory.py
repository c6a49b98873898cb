"""Memory: PC1 whole with the bundled model after some answers, and the daemon once its engine is unloaded.

All figures are PSS (proportional set size): pages that processes share count once in a sum.
"""

from __future__ import annotations

import asyncio

from bench.cluster import Daemon
from bench.harness import Context, Row
from bench.inference_client import burst, connections, story
from bench.inference_node import model_name, one_node, pss_mib, workers

ANSWERS, ANSWER_TOKENS = 4, 48
UNLOAD_IDLE_S, UNLOADED_WITHIN_S = 5.0, 30.0
DAEMON_MIB, WHOLE_MIB = 60.0, 400.0
POLL_S = 0.2


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    unload = f"[models]\nunload_idle_s = {UNLOAD_IDLE_S}"
    async with one_node(context.folder / "memory", more=unload) as (daemon, _), connections() as session:
        await burst(session, daemon.url, model_name(), [story(1000 + n) for n in range(ANSWERS)], ANSWER_TOKENS)
        parts = {"daemon": pss_mib(daemon.pid)} | {
            f"worker {place}": pss_mib(worker.pid) for place, worker in enumerate(workers(daemon), 1)
        }
        told = ", ".join(f"{name} {size:.0f}" for name, size in parts.items())
        found = [
            Row(
                figure=f"PC1 whole, bundled model, after {ANSWERS} answers (PSS)", unit="MiB",
                samples=[sum(parts.values())], aim=WHOLE_MIB, note=told,
            )
        ]  # fmt: skip
        unloaded = await _unloaded(daemon)
        found.append(
            Row(
                figure="daemon with its engine unloaded (PSS)", unit="MiB",
                samples=[pss_mib(daemon.pid)] if unloaded else [], aim=DAEMON_MIB,
                note=f"RSS {daemon.rss_bytes() / (1 << 20):.0f} MiB",
                missing=f"the engine was not unloaded within {UNLOADED_WITHIN_S:.0f} s of idling",
            )
        )  # fmt: skip
    return found


async def _unloaded(daemon: Daemon) -> bool:
    """Wait until no worker is left; tell whether that came."""
    try:
        async with asyncio.timeout(UNLOADED_WITHIN_S):
            while workers(daemon):  # noqa: ASYNC110 - another process has no event for us
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        return False
    return True
