"""What a lost node costs: questions at pc1 while pc2, which prepares them, is killed or frozen; then how it comes back.

The figure is the time from the question to its `route` event: then the question is prepared, by pc2 or without it.
What follows is the model's work on pc1. A quick run leaves there; a full one reads on to the first token.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from bench.client import Answer, Client
from bench.cluster import Cluster
from bench.harness import Context, Row

QUESTION = "Where is the water main of the house?"
READY_S = 1.0
KILLED_MS, FROZEN_MS = 1000.0, 2500.0  # a reconnect; network.silence_s and a little
INTO_PREPARING_S = 0.008
BACK_S = 30.0


@dataclass
class _Seen:
    """The answers by what had happened to pc2, and how long it took to come back."""

    normal: list[Answer] = field(default_factory=list)
    killed: list[Answer] = field(default_factory=list)
    killed_in_it: list[Answer] = field(default_factory=list)
    frozen: list[Answer] = field(default_factory=list)
    rejoin: list[float] = field(default_factory=list)
    thaw: list[float] = field(default_factory=list)


async def failover_rows(context: Context, nodes: Cluster, starts: list[float], discoveries: list[float]) -> list[Row]:
    """Hurt pc2 in turns; `starts` and `discoveries` are what was measured when the cluster was made."""
    seen = _Seen()
    for _ in range(context.pick(1, 5)):
        await _round(nodes, seen, starts, "route" if context.quick else "token")
    rows = [
        Row(figure="prepared at pc2, asked at pc1", unit="ms", samples=_route_ms(seen.normal)),
        _failover("asked after SIGKILL of pc2", seen.killed, seen, KILLED_MS),
        _failover("SIGKILL while pc2 prepares", seen.killed_in_it, seen, KILLED_MS),
        _failover("asked after SIGSTOP of pc2", seen.frozen, seen, FROZEN_MS),
        Row(figure="discovery: all see all, after the last READY", unit="s", samples=discoveries),
        Row(figure="rejoin: routable again, after READY", unit="s", samples=seen.rejoin),
        Row(figure="rejoin: routable again, after SIGCONT", unit="s", samples=seen.thaw),
        Row(figure="start to READY", unit="s", samples=starts, aim=READY_S),
    ]
    if not context.quick:
        hurt = [answer.first_token_s * 1000 for answer in seen.killed + seen.killed_in_it + seen.frozen]
        normal = [answer.first_token_s * 1000 for answer in seen.normal]
        rows.append(
            Row(figure="first token without pc2", unit="ms", samples=hurt, reference=normal, reference_name="with pc2")
        )
    return rows


def _failover(what: str, answers: list[Answer], seen: _Seen, aim_ms: float) -> Row:
    by = {answer.of_type("route")[0]["prepared_by"] for answer in answers}
    return Row(
        figure=f"failover: {what}", unit="ms", samples=_route_ms(answers), aim=aim_ms,
        reference=_route_ms(seen.normal), reference_name="unhurt", note=f"prepared by {', '.join(sorted(by))}",
    )  # fmt: skip


async def _round(nodes: Cluster, seen: _Seen, starts: list[float], until: str) -> None:
    pc1, pc2 = nodes.clients["pc1"], nodes["pc2"]
    seen.normal.append(await _ask(pc1, until))

    await pc2.kill()
    seen.killed.append(await _ask(pc1, until))
    seen.rejoin.append(await _come_back(nodes, starts))

    asked = asyncio.create_task(_ask(pc1, until))
    try:
        await asyncio.sleep(INTO_PREPARING_S)  # how far into the question it happens is the experiment
        await pc2.kill()
        seen.killed_in_it.append(await asked)
    finally:
        asked.cancel()
    seen.rejoin.append(await _come_back(nodes, starts))

    pc2.freeze()
    seen.frozen.append(await _ask(pc1, until))
    pc2.thaw()
    seen.thaw.append(await nodes.wait_capability("pc1", "prepare", BACK_S, of="pc2"))


async def _come_back(nodes: Cluster, starts: list[float]) -> float:
    """Start pc2 again; return how long after its READY pc1 sends it work."""
    await nodes["pc2"].start()
    ready_at = time.monotonic()
    starts.append(nodes["pc2"].start_s)
    await nodes.wait_capability("pc1", "prepare", BACK_S, of="pc2")
    return time.monotonic() - ready_at


async def _ask(client: Client, until: str) -> Answer:
    """Ask and leave at the first event of type `until`; raises for an answer that fails before."""
    answer = await client.ask(QUESTION, until=until)
    if not answer.of_type(until):
        raise RuntimeError(f"the answer failed: {answer.end}")
    return answer


def _route_ms(answers: list[Answer]) -> list[float]:
    return [next(at for at, event in answer.events if event["type"] == "route") * 1000 for answer in answers]
