"""What a stress run does to a node: kills it, freezes it, kills its biggest worker."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import psutil

from bench.client import Client
from bench.daemon import Daemon
from bench.samples import account_of

WORKER_LOOK_S = 0.1


async def kill(daemon: Daemon, away_s: float) -> None:
    """Kill the daemon and start it again after `away_s`; raises `DaemonError` when it does not start."""
    await daemon.kill()
    await asyncio.sleep(away_s)
    await daemon.start()


async def freeze(daemon: Daemon, away_s: float) -> None:
    """Freeze the daemon and its workers for `away_s`."""
    daemon.freeze()
    try:
        await asyncio.sleep(away_s)
    finally:
        daemon.thaw()


async def kill_worker(client: Client, daemon: Daemon, within_s: float) -> None:
    """Kill the biggest child, which holds a model, and wait until another one took its place and is ready.

    Raises `TimeoutError` when that does not come.
    """
    children = {child.pid: child.memory_info().rss for child in psutil.Process(daemon.pid).children()}
    if not children:
        return
    psutil.Process(max(children, key=lambda pid: children[pid])).kill()
    async with asyncio.timeout(within_s):
        while not await _all_ready(client, daemon, children.keys()):  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(WORKER_LOOK_S)


async def _all_ready(client: Client, daemon: Daemon, before: Collection[int]) -> bool:
    fresh = {child.pid for child in psutil.Process(daemon.pid).children()} - set(before)
    parts = await account_of(client)
    waiting = [part for part in parts.values() if isinstance(part, dict) and not part.get("ready", True)]
    return bool(fresh and parts and not waiting)
