"""The node that is measured: the bundled model in a daemon of its own, and what the parts need to know of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from bench.cluster import Client, Cluster, Daemon, Plan, cluster
from bench.harness import NotAvailableError
from tarsd.engines.base import threads as threads_of
from tarsd.engines.bundled import chat_gguf

CONTEXT_TOKENS = 8192
SLOTS = 8
LOAD_S = 120.0
SLOTS_KNOWN_S = 5.0  # a load is told anew each second
CHILD = "tarsd.workers.child"


def threads() -> int:
    """Return how many threads every side generates with."""
    return threads_of(0)


def model_file() -> Path:
    """Return the bundled model; raises `NotAvailableError`."""
    found = chat_gguf()
    if found is None:
        raise NotAvailableError("the bundled model is not installed")
    return found


def model_name() -> str:
    """Return how a node calls it."""
    return model_file().stem


def settings(*, slots: int = SLOTS, max_tokens: int = 4096, more: str = "", model_threads: int = 0) -> str:
    """Return the TOML of a node with this model."""
    return f"""\
[cognitive]
max_tokens = {max_tokens}

[[cognitive.engines]]
kind = "llama_cpp"
threads = {model_threads or threads()}
context_tokens = {CONTEXT_TOKENS}
slots = {slots}

{more}
"""


@asynccontextmanager
async def nodes_of(plans: Sequence[Plan], folder: Path) -> AsyncGenerator[Cluster, None]:
    """Run the nodes while the block runs; when it begins, everyone knows everyone that chats."""
    model_file()
    async with cluster(plans, folder) as nodes:
        for daemon in nodes.daemons:
            for other in nodes.daemons:
                if "cognitive" in other.plan.roles:
                    await nodes.wait_capability(daemon.name, "chat", LOAD_S, of=other.name)
        yield nodes


@asynccontextmanager
async def one_node(folder: Path, **options: Any) -> AsyncGenerator[tuple[Daemon, Client], None]:
    """Run one node; options as for `settings`."""
    async with nodes_of([Plan("pc1", ("cognitive",), settings=settings(**options))], folder) as nodes:
        yield nodes["pc1"], nodes.clients["pc1"]


async def require_slots(client: Client, name: str, needed: int) -> None:
    """Raise `NotAvailableError` where the node does not tell that it generates `needed` answers at once."""
    found = 0

    def enough(members: dict[str, dict[str, Any]]) -> bool:
        nonlocal found
        found = int((members[name].get("load") or {}).get("slots") or 1)
        return found >= needed

    try:
        await client.wait_members(enough, SLOTS_KNOWN_S, f"{name} has {needed} slots")
    except TimeoutError:
        raise NotAvailableError(f"{name} generates {found} at once, {needed} are needed") from None


def workers(daemon: Daemon) -> list[psutil.Process]:
    """Return the daemon's worker processes, the largest first."""
    found = []
    for child in psutil.Process(daemon.pid).children(recursive=True):
        try:
            if CHILD in child.cmdline():
                found.append((child.memory_info().rss, child))
        except psutil.NoSuchProcess:
            continue
    return [child for _, child in sorted(found, key=lambda pair: -pair[0])]


def model_worker(daemon: Daemon) -> psutil.Process:
    """Return the worker that holds the model; raises `NotAvailableError` where there is none."""
    found = workers(daemon)
    if not found:
        raise NotAvailableError("no worker runs")
    return found[0]


def pss_mib(pid: int) -> float:
    """Return the proportional set size: shared pages count by the share, so that processes can be added up."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise NotAvailableError("the kernel tells no PSS")
