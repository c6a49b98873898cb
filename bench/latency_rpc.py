"""Round trip of a call between nodes: from a third node of the cluster, in a process of its own, on a daemon's loop.

`python -m bench.latency_rpc DATA_DIR NODE_ID HOST PORT API_URL COUNT HANDSHAKES` prints the times as one JSON line.
The reference is a plain HTTP GET to the same daemon, in turns with the calls: what TLS, frames and our code add to it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec

from bench.cluster import Cluster
from bench.daemon import LOOPBACK, Daemon, DaemonError, Plan, environment_of_a_child
from bench.harness import Context, Row
from bench.stats import percentile
from tarsd import calls
from tarsd.identity import load_identity
from tarsd.names import ConversationId, NodeId, TraceId
from tarsd.rpc import RpcClient

P50_MS, P99_MS = 2.0, 50.0  # the aim on loopback; what the mission asks of a network
WARM_UP = 20
GROUP = 100  # a p99 is told per so many calls, so that it has a spread
CHILD_S = 120.0


class Times(msgspec.Struct):
    """What the child measured, in milliseconds."""

    pooled: list[float]
    fresh: list[float]
    reference: list[float]


async def round_trip_rows(context: Context, nodes: Cluster) -> list[Row]:
    """Measure calls from a third node to pc1, over mutual TLS."""
    caller = await _third_node(nodes)
    times = await _in_child(nodes, caller, context.pick(1000, 5000), context.pick(20, 100))
    name = "plain HTTP GET"
    return [
        Row(
            figure="call round trip p50", unit="ms", samples=times.pooled, aim=P50_MS,
            reference=times.reference, reference_name=name,
        ),
        Row(
            figure="call round trip p99", unit="ms", samples=tails(times.pooled), aim=P99_MS,
            reference=tails(times.reference), reference_name=name, note=f"per {GROUP} of {len(times.pooled)} calls",
        ),
        Row(figure="call on a fresh connection", unit="ms", samples=times.fresh, note="with TCP and mutual TLS 1.3"),
    ]  # fmt: skip


def tails(times: list[float]) -> list[float]:
    """Return the p99 of each full group of calls."""
    return [percentile(times[at : at + GROUP], 0.99) for at in range(0, len(times) - GROUP + 1, GROUP)]


async def _third_node(nodes: Cluster) -> Daemon:
    """Let a third node into the cluster; it is never started, only its certificate is used."""
    caller = Daemon(Plan("caller"), nodes.folder / "caller")
    token = (await nodes["pc1"].command("invite")).split()[0]
    await caller.command("join", token)
    return caller


async def _in_child(nodes: Cluster, caller: Daemon, count: int, handshakes: int) -> Times:
    pc1 = nodes["pc1"]
    node = (await nodes.clients["pc1"].members())["pc1"]["node"]
    arguments = (str(caller.folder / "data"), node, LOOPBACK, str(pc1.port), pc1.url, str(count), str(handshakes))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.latency_rpc", *arguments, stdout=PIPE, stderr=PIPE, env=environment_of_a_child()
    )
    async with asyncio.timeout(CHILD_S):
        out, said = await process.communicate()
    if process.returncode:
        raise DaemonError(f"the caller ended with {process.returncode}: {said.decode()}")
    return msgspec.json.decode(out, type=Times)


async def _measure(folder: Path, node: NodeId, host: str, port: int, url: str, count: int, handshakes: int) -> Times:
    identity = load_identity(folder)
    addresses = [(host, port)]
    headers = calls.Headers(deadline_s=5.0, hops=0, trace=TraceId("bench"))
    request = calls.RecallRequest(ConversationId("bench"))
    client = RpcClient(identity, silence_s=2.0)
    connector = aiohttp.TCPConnector(limit=1)

    async def call(through: RpcClient) -> None:
        items = [item async for item in through.call(addresses, node, calls.RECALL, request, headers)]
        assert len(items) == 1

    async def call_afresh() -> None:
        own = RpcClient(identity, silence_s=2.0)
        await call(own)
        await own.close()

    async with aiohttp.ClientSession(connector=connector) as session:

        async def get() -> None:
            async with session.get(f"{url}/healthz") as response:
                await response.read()

        for _ in range(WARM_UP):
            await call(client)
            await get()
        times = Times([], [], [])
        for _ in range(count):
            times.pooled.append(await _ms(lambda: call(client)))
            times.reference.append(await _ms(get))
        for _ in range(handshakes):
            times.fresh.append(await _ms(call_afresh))
    await client.close()
    return times


async def _ms(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Measure what the arguments say and print the times."""
    import uvloop  # the daemon's own loop

    folder, node, host, port, url, count, handshakes = sys.argv[1:]
    times = uvloop.run(_measure(Path(folder), NodeId(node), host, int(port), url, int(count), int(handshakes)))
    print(msgspec.json.encode(times).decode())


if __name__ == "__main__":
    main()
