"""Forgetting between three real daemons: a document, what was learned from it, its vectors, a conversation about it.

Each word that is planted is found in every node's files before; a run in which it is not says so, and counts nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.canary import Canary, plant
from bench.client import Client
from bench.cluster import Cluster, Plan, cluster
from bench.harness import Context, NotAvailableError, Row
from bench.memory_node import memory
from tarsd.memory.bodies import key_of
from tarsd.memory.store import Store
from tarsd.names import NodeId

GONE_S, BACK_S = 5.0, 60.0
PLANT_S = 120.0
POLL_S = 0.05
SETTINGS = """\
[cognitive]
max_tokens = 48
[[cognitive.engines]]
kind = "llama_cpp"
threads = 1
context_tokens = 1280
[processing]
threads = 1
"""
PLANS = (
    Plan("pc1", ("cognitive", "orchestrator"), settings=SETTINGS),
    Plan("pc2", ("processing",), settings=SETTINGS),
    Plan("pc3"),
)


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    times = context.pick(1, 5)
    here, away = [Canary() for _ in range(times)], [Canary() for _ in range(times)]
    async with planted([*here, *away], context.folder / "forget") as nodes:
        gone_s, left, let_go = await _while_all_are_there(nodes, here)
        back_s, left_back = await _while_one_is_away(nodes, away)
        await nightly(nodes)
        after = [float(sum(canary.bytes_left(folders(nodes)).values())) for canary in (*here, *away)]
    note = f"a document, a memory, a summary, {len(here[0].vectors)} vectors; on 3 nodes"
    return [
        Row(figure="forget: bytes left in all files of all nodes after 5 s", unit="B", samples=left, aim=0, note=note),
        Row(figure="forget: until no byte is left on any node", unit="s", samples=gone_s, aim=GONE_S, note=let_go),
        Row(figure="forget: bytes left 60 s after a node that was away returned", unit="B", samples=left_back, aim=0),
        Row(figure="forget: from the return of that node until no byte is left", unit="s", samples=back_s, aim=BACK_S),
        Row(figure="forget: bytes left after the nightly jobs", unit="B", samples=after, aim=0),
        *await _large(context),
    ]  # fmt: skip


async def _large(context: Context) -> list[Row]:
    """Forget at one node that holds many records: what costs most there is to clean its database."""
    count, folder = context.pick(10_000, 100_000), context.folder / "forget-large"
    canaries = [Canary() for _ in range(context.pick(2, 5))]
    await asyncio.to_thread(folder.mkdir, parents=True)
    store = await Store.open(folder / "memory.db", NodeId("a" * 32))
    took, left = [], []
    try:
        for first in range(0, count, 1000):
            await store.append_many([memory(f"m{number}", 2000) for number in range(first, first + 1000)])
        await store.append_many([entry for canary in canaries for entry in canary.bodies()])
        for canary in canaries:
            if not canary.bytes_left([folder]):
                raise NotAvailableError("the word was not found before it was forgotten")
            began = time.monotonic()
            await store.forget_all([key_of(body) for _, _, body in canary.bodies()])
            took.append(time.monotonic() - began)
            left.append(float(sum(canary.bytes_left([folder]).values())))
    finally:
        await store.close()
    return [
        Row(
            figure=f"forget at {count:,} records of 2 kB: until its files are clean", unit="s", samples=took, aim=GONE_S
        ),
        Row(figure=f"forget at {count:,} records of 2 kB: bytes left then", unit="B", samples=left, aim=0),
    ]


def folders(nodes: Cluster) -> list[Path]:
    """Return the nodes' folders."""
    return [daemon.folder for daemon in nodes.daemons]


@asynccontextmanager
async def planted(
    canaries: Sequence[Canary], folder: Path | None = None, plans: Sequence[Plan] = PLANS
) -> AsyncGenerator[Cluster, None]:
    """Run a cluster in which all canaries are on every node, with their vectors; found there, or it raises."""
    async with cluster(plans, folder) as nodes:
        await nodes["pc1"].stop()
        await plant(nodes["pc1"].folder, canaries)
        await nodes["pc1"].start()
        await nodes.wait_full()
        await nodes.wait_capability("pc1", "embed", PLANT_S, of="pc2")
        if any("cognitive" in plan.roles for plan in plans):
            await nodes.wait_capability("pc1", "chat", PLANT_S)
        for canary in canaries:
            await _last(nodes.clients["pc1"], canary)
        await _everywhere(nodes, canaries)
        yield nodes


async def _last(client: Client, canary: Canary) -> None:
    ended: dict[str, Any] = {}
    async for item in client.ingest_bytes(canary.file, canary.document):
        ended = item
    if ended.get("stage") != "done":
        raise NotAvailableError(f"the document was not taken in: {ended}")


async def _everywhere(nodes: Cluster, canaries: Sequence[Canary]) -> None:
    """Wait for the positive control: each word on each node, its vectors in the records and the index of theirs."""
    began = time.monotonic()
    while time.monotonic() - began < PLANT_S:
        counts = [(await client.get("/api/status"))["parts"]["records"] for client in nodes.clients.values()]
        if all(each["documents"] == each["memories"] == each["summaries"] == len(canaries) for each in counts):
            embedded = [canary.take_vectors(nodes["pc2"].folder / "data" / "memory.db") for canary in canaries]
            found = [canary.bytes_left([folder]) for canary in canaries for folder in folders(nodes)]
            index = [canary.bytes_left([nodes["pc2"].folder / "data" / "vectors"]) for canary in canaries]
            if all(embedded) and all(found) and all(index):
                return
        await asyncio.sleep(POLL_S)
    raise NotAvailableError(f"the words were not on every node within {PLANT_S:.0f} s")


async def forget(client: Client, canary: Canary) -> dict[str, Any]:
    """Forget a canary's document, as a person does; return the receipt."""
    async with client.session.delete(f"{client.url}/api/documents/{canary.sha256}") as response:
        receipt: dict[str, Any] = await response.json()
        if response.status != 200:
            raise NotAvailableError(f"it was not forgotten: {receipt}")
    return receipt


async def until_gone(nodes: Cluster, canary: Canary, within_s: float) -> tuple[float, float]:
    """Wait until no byte of it is left; return the seconds that took, and how many bytes were left at the end."""
    began = time.monotonic()
    while left := canary.bytes_left(folders(nodes)):
        if time.monotonic() - began >= within_s:
            print(f"left of {canary.file}: {left}", flush=True)
            break
        await asyncio.sleep(POLL_S)
    return time.monotonic() - began, float(sum(left.values()))


async def _while_all_are_there(nodes: Cluster, canaries: Sequence[Canary]) -> tuple[list[float], list[float], str]:
    gone_s: list[float] = []
    left: list[float] = []
    let_go = 0
    for canary in canaries:
        await _talk(nodes.clients["pc1"], canary)
        began = time.monotonic()
        receipt = await forget(nodes.clients["pc1"], canary)
        _, bytes_left = await until_gone(nodes, canary, GONE_S)
        gone_s.append(time.monotonic() - began)
        left.append(bytes_left)
        let_go += sum(each["conversations"] for each in receipt["nodes"])
        if not receipt["is_whole"]:
            print(f"not whole: {receipt}", flush=True)
    return gone_s, left, f"from asking; {let_go} conversations let go of it"


async def _talk(client: Client, canary: Canary) -> None:
    """Have a conversation that leans on the document, and wait until it is remembered."""
    before = await _conversations(client)
    answer = await client.ask(f"What does {canary.file} say about the word that opens the safe behind the picture?")
    if not answer.finished:
        raise NotAvailableError(f"no answer: {answer.end}")
    began = time.monotonic()
    while await _conversations(client) == before:
        if time.monotonic() - began > PLANT_S:
            raise NotAvailableError("the conversation was not remembered")
        await asyncio.sleep(POLL_S)


async def _conversations(client: Client) -> int:
    return int((await client.get("/api/status"))["parts"]["cognitive"]["conversations"])


async def _while_one_is_away(nodes: Cluster, canaries: Sequence[Canary]) -> tuple[list[float], list[float]]:
    back_s: list[float] = []
    left: list[float] = []
    for canary in canaries:
        await nodes["pc3"].stop()
        await forget(nodes.clients["pc1"], canary)
        if not canary.bytes_left([nodes["pc3"].folder]):
            raise NotAvailableError("the node that is away has nothing to forget")
        began = time.monotonic()
        await nodes["pc3"].start()
        _, bytes_left = await until_gone(nodes, canary, BACK_S)
        back_s.append(time.monotonic() - began)
        left.append(bytes_left)
    return back_s, left


async def nightly(nodes: Cluster) -> None:
    """Run the nightly jobs on every node."""
    for daemon in nodes.daemons:
        token = (daemon.folder / "data" / "admin.token").read_text(encoding="utf-8").strip()
        client = nodes.clients[daemon.name]
        async with client.session.post(
            f"{client.url}/api/nightly", headers={"Authorization": f"Bearer {token}"}
        ) as response:
            await response.read()
