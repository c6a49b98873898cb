"""How soon a lost node is seen: its link goes down, or its process is killed. Real nodes in network namespaces.

"Stop routing" is the moment from which no new work goes there (suspect), "dead" the one from which it counts as gone.
Each repetition is seen by two others; both are asked every `POLL_S`, which is the figure's resolution.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from bench.cluster import Client, Cluster, Plan
from bench.faults.stage import lan_cluster
from bench.harness import Context, Row
from bench.lan import Lan, why_not
from bench.stats import percentile

NAMES = ("pc1", "pc2", "pc3")
VICTIM = 3
OBSERVERS = NAMES[:2]
LOSSY = 25  # per cent
SUSPECT_S, DEAD_S, KILLED_S, HEALED_S = 1.5, 3.5, 0.3, 5.0
POLL_S = 0.01
SEEN_S = 30.0


async def rows(context: Context) -> list[Row]:
    """Return the rows; none where no namespaces can be made."""
    if reason := why_not():
        print(f"network failover: {reason}")
        return []
    times = context.pick(3, 10)
    async with lan_cluster([Plan(name) for name in NAMES], context.folder / "failover") as (nodes, lan):
        found = await _unplugged(nodes, lan, times, "")
        found += await _killed(nodes, times)
        lan.drop("lossy", [f"numgen random mod 100 < {LOSSY}"])
        found += await _unplugged(nodes, lan, context.pick(2, 10), f", {LOSSY} % loss")
        lan.drop("lossy", ())
    return found


async def _unplugged(nodes: Cluster, lan: Lan, times: int, how: str) -> list[Row]:
    suspect: list[float] = []
    dead: list[float] = []
    healed: list[float] = []
    for _ in range(times):
        lan.unplug(VICTIM)
        seen = await asyncio.gather(*(_loss(nodes.clients[name], NAMES[VICTIM - 1]) for name in OBSERVERS))
        suspect += [one for one, _ in seen]
        dead += [other for _, other in seen]
        lan.plug(VICTIM)
        healed.append(await nodes.wait_full(SEEN_S))
    what = f"link down, 3 nodes{how}"
    return [
        *_median_and_tail(f"{what}: stop routing", suspect, SUSPECT_S),
        *_median_and_tail(f"{what}: dead", dead, DEAD_S),
        Row(figure=f"{what}: all see all again", unit="s", samples=healed, aim=HEALED_S, note="after the link is up"),
    ]


async def _killed(nodes: Cluster, times: int) -> list[Row]:
    victim = nodes[NAMES[VICTIM - 1]]
    seen: list[float] = []
    for _ in range(times):
        watching = [asyncio.create_task(_lost(nodes.clients[name], victim.name)) for name in OBSERVERS]
        await asyncio.sleep(2 * POLL_S)  # both look before it happens
        began = time.monotonic()
        await victim.kill()
        seen += [at - began for at in await asyncio.gather(*watching)]
        await victim.start()
        await nodes.wait_full(SEEN_S)
    return _median_and_tail("kill -9, 3 nodes: stop routing", seen, KILLED_S)


def _median_and_tail(figure: str, samples: Sequence[float], aim_s: float) -> list[Row]:
    tail = percentile(samples, 0.99)
    return [
        Row(figure=f"{figure} p50", unit="s", samples=list(samples), aim=aim_s),
        Row(figure=f"{figure} p99", unit="s", samples=[tail], aim=aim_s, note=f"of {len(samples)}"),
    ]


async def _loss(client: Client, name: str) -> tuple[float, float]:
    """Return after how long a node was no longer routed to, and after how long it was dead."""
    began = time.monotonic()
    suspect_s = await _lost(client, name) - began
    await _until(client, name, ("dead",))
    return suspect_s, time.monotonic() - began


async def _lost(client: Client, name: str) -> float:
    """Return when a node was first seen as anything but alive."""
    await _until(client, name, ("suspect", "dead"))
    return time.monotonic()


async def _until(client: Client, name: str, states: Sequence[str]) -> None:
    async with asyncio.timeout(SEEN_S):
        while (await client.members())[name]["state"] not in states:  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(POLL_S)
