"""What membership costs in peace: gossip's bytes and the daemon's CPU, with 2 and with 16 real nodes in namespaces.

Bytes are IP packets of UDP that cross the bridge, counted there by nftables, without multicast DNS; a packet counts for
its sender. The nodes have no role: they gossip, ask one another for records, and answer calls.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil

from bench.cluster import Plan
from bench.faults.stage import lan_cluster
from bench.harness import Context, Row
from bench.lan import why_not

AIMS_KB = {2: 0.5, 16: 6.5}
CPU_AT_16 = 0.5  # per cent of a core
SETTLE_S, WATCH_S, WINDOWS = 10.0, 10.0, 3
NODE_MIB = 80


async def rows(context: Context) -> list[Row]:
    """Return the rows; none where no namespaces can be made."""
    if reason := why_not():
        print(f"network idle: {reason}")
        return []
    found: list[Row] = []
    for size in (2,) if context.quick else (2, 16):
        if psutil.virtual_memory().available < 2 * size * NODE_MIB << 20:
            print(f"network idle: not enough memory for {size} nodes")
            continue
        found += await _idle(size, context.folder / f"idle-{size}")
    return found


async def _idle(size: int, folder: Path) -> list[Row]:
    async with lan_cluster([Plan(f"pc{number}") for number in range(1, size + 1)], folder) as (nodes, lan):
        await asyncio.sleep(SETTLE_S)
        pids = [daemon.pid for daemon in nodes.daemons]
        bytes_per_s: list[float] = []
        cpu: list[float] = []
        lan.count("gossip", "meta l4proto udp udp dport != 5353")
        for _ in range(WINDOWS):
            bytes_before, cpu_before = lan.counted("gossip"), _cpu_s(pids)
            await asyncio.sleep(WATCH_S)
            bytes_per_s.append((lan.counted("gossip") - bytes_before) / WATCH_S / size)
            cpu.append((_cpu_s(pids) - cpu_before) / WATCH_S / size * 100)
        rss = [daemon.rss_bytes() / (1 << 20) for daemon in nodes.daemons]
    return [
        Row(
            figure=f"gossip per node, idle, {size} nodes", unit="kB/s", samples=[one / 1000 for one in bytes_per_s],
            aim=AIMS_KB[size], note="IP packets",
        ),
        Row(
            figure=f"CPU of a daemon, idle, {size} nodes", unit="% of a core", samples=cpu,
            aim=CPU_AT_16, note="all that it does in peace",
        ),
        Row(figure=f"daemon RSS, no role, {size} nodes", unit="MiB", samples=rss, aim=60.0),
    ]  # fmt: skip


def _cpu_s(pids: list[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)
