"""What a daemon holds over time: memory, open files, threads, tasks, processes, disk."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil

from bench.cluster import ApiError, Client, Daemon, DaemonError

SAMPLE_S = 2.0  # between two looks


class Sample(msgspec.Struct, kw_only=True):
    """One look at one node; workers are its child processes, told as a sum."""

    at_s: float
    node: str
    rss_mib: float
    workers_rss_mib: float
    open_files: int
    threads: int
    processes: int
    disk_mib: float
    tasks: int = 0  # of asyncio; 0 = the node did not say


async def account_of(client: Client) -> dict[str, Any]:
    """Return the node's own account of its daemon; empty while it gives none."""
    try:
        return dict((await client.get("/api/status"))["parts"])
    except (ApiError, aiohttp.ClientError, TimeoutError, OSError):
        return {}


def from_account(node: str, account: dict[str, Any], began: float) -> Sample | None:
    """Return what a node on another PC tells of itself; its workers and its disk cannot be seen from here."""
    if "rss_mib" not in account:
        return None
    return Sample(
        at_s=round(time.monotonic() - began, 1),
        node=node,
        rss_mib=account["rss_mib"],
        workers_rss_mib=0.0,
        open_files=account.get("open_files", 0),
        threads=0,
        processes=0,
        disk_mib=0.0,
        tasks=account.get("tasks", 0),
    )


def look(daemon: Daemon, began: float) -> Sample | None:
    """Return what `daemon` holds now; None while it is down."""
    try:
        process = psutil.Process(daemon.pid)
        children = process.children(recursive=True)
        with process.oneshot():
            return Sample(
                at_s=round(time.monotonic() - began, 1),
                node=daemon.name,
                rss_mib=_mib(process.memory_info().rss),
                workers_rss_mib=_mib(sum(_rss(child) for child in children)),
                open_files=process.num_fds(),
                threads=process.num_threads(),
                processes=1 + len(children),
                disk_mib=_mib(_size(daemon.folder / "data")),
            )
    except (psutil.NoSuchProcess, psutil.ZombieProcess, DaemonError):
        return None


def _rss(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # files come and go under a running node
            total += path.stat().st_size if path.is_file() else 0
    return total


def _mib(size_bytes: int) -> float:
    return round(size_bytes / (1 << 20), 2)
