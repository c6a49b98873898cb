"""What the tests between real processes share: plans, short answers, waiting for a condition, process trees."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from bench.client import Client
from bench.cluster import Cluster, Daemon

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MANUAL = EXAMPLES / "washing-machine-manual.pdf"
CONTRACT = EXAMPLES / "contrato-y-factura.pdf"
NOTES = EXAMPLES / "house-notes.md"
RECIPE = EXAMPLES / "lentejas-de-la-abuela.txt"

# Small prompts and one thread: two cores are shared, and what is tested is the way of a question, not its wisdom.
MAX_TOKENS = 160
# Words that the bundled model repeats with a wide margin (over 2 of logit at each token, penalty included): where the
# best two tokens are near, one processor takes the one and another the other, and a test of seams tests the processor.
COUNTED = ", ".join(map(str, range(1, 61)))
COUNT = f"Write these numbers again, all of them, separated by commas: {COUNTED}"

ONE_THREAD = f"""\
[cognitive]
max_tokens = {MAX_TOKENS}
[[cognitive.engines]]
kind = "llama_cpp"
threads = 1
context_tokens = 1280
[processing]
threads = 1
"""

POLL_S = 0.03


async def until(found: Callable[[], Any], within_s: float, what: str) -> Any:
    """Look until `found` (which may be async) returns something true, and return that; raises `TimeoutError`."""
    began = time.monotonic()
    while not (value := await _settled(found())):
        if time.monotonic() - began > within_s:
            raise TimeoutError(f"not within {within_s:.0f} s: {what}")
        await asyncio.sleep(POLL_S)  # another process has no event for us
    return value


async def _settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def answer_of(daemon: Daemon, question: str, max_tokens: int = 16, within_s: float = 90.0) -> dict[str, Any]:
    """Ask the assistant at a node for a short answer; return its text and what `tarsd` tells beside it."""
    body = {
        "model": "tars",
        "max_tokens": max_tokens,
        "temperature": 0,
        "messages": [{"role": "user", "content": question}],
    }
    timeout = aiohttp.ClientTimeout(total=within_s)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"{daemon.url}/v1/chat/completions", json=body) as response,
    ):
        reply = await response.json()
        assert response.status == 200, reply
    told: dict[str, Any] = {"sources": [], "degraded": [], "notices": []} | reply["tarsd"]
    return told | {"text": reply["choices"][0]["message"]["content"], "usage": reply["usage"]}


def places(told: dict[str, Any]) -> list[tuple[str, int]]:
    """Return file and page of each source, best first."""
    return [(source["file"], source["page"]) for source in told["sources"]]


async def wait_routable(nodes: Cluster, seen_by: str, name: str, within_s: float = 60.0) -> float:
    """Wait until a node would give work to another one; return the seconds it took. One that was away is held back."""

    def is_routable(members: dict[str, dict[str, Any]]) -> bool:
        member = members[name]
        return bool(member["state"] == "alive" and member["zone"] and not member["hold_s"] and not member["one_way"])

    return await nodes.clients[seen_by].wait_members(is_routable, within_s, f"{seen_by} gives work to {name}")


async def last_item(client: Client, file: Path) -> dict[str, Any]:
    """Send a document in and return how that ended."""
    return [item async for item in client.ingest(file)][-1]


async def counts_of(client: Client) -> dict[str, Any]:
    """Return what a node holds in its records."""
    found: dict[str, Any] = (await client.get("/api/status"))["parts"]["records"]
    return found


async def asking(client: Client, question: str, first: str = "token") -> asyncio.Task[Any]:
    """Begin to ask, and return once the first event of the type `first` is here; await the task for the answer."""
    heard = asyncio.Event()

    def hear(event: dict[str, Any]) -> None:
        if event["type"] == first:
            heard.set()

    task = asyncio.create_task(client.ask(question, heard=hear))
    waiting = asyncio.create_task(heard.wait())
    try:
        await asyncio.wait({task, waiting}, timeout=90, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if not heard.is_set():
        task.cancel()
        raise AssertionError(f"no {first} came: {task}")
    return task


def tree_of(daemon: Daemon) -> list[psutil.Process]:
    """Return a daemon's process and all below it."""
    own = psutil.Process(daemon.pid)
    return [own, *own.children(recursive=True)]


def workers_of(daemon: Daemon) -> list[psutil.Process]:
    """Return the workers of a daemon."""
    found = []
    for process in tree_of(daemon)[1:]:
        with suppress(psutil.NoSuchProcess):
            if "tarsd.workers.child" in process.cmdline():
                found.append(process)
    return found


def mapped(process: psutil.Process, libraries: Sequence[str]) -> set[str]:
    """Return the files of native `libraries` (by part of their path) that a process has in its memory."""
    lines = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8").splitlines()
    files = {line.split(maxsplit=5)[5] for line in lines if line.count("/") and len(line.split(maxsplit=5)) == 6}
    return {file for file in files if any(f"/{name}" in file for name in libraries)}


def tracebacks(nodes: Cluster) -> dict[str, list[str]]:
    """Return by node what its log has from each traceback on, for those that have any: an error nobody thought of."""
    logs = {daemon.name: daemon.log.read_text(encoding="utf-8").split("Traceback")[1:] for daemon in nodes.daemons}
    return {name: found for name, found in logs.items() if found}
