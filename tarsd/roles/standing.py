"""How a node's copy of the records stands, for people: who is behind, what has one copy only, what takes room."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tarsd.calls import CopyStanding, MemoryStatusItem
from tarsd.gossip.member import Member, State
from tarsd.memory.hlc import DRIFT_MS
from tarsd.memory.log import is_branch
from tarsd.names import Zone
from tarsd.roles.base import Services
from tarsd.roles.replicating import Replicator

DATABASE = "memory.db"


async def standing(services: Services, replicator: Replicator) -> MemoryStatusItem:
    """Return the account; raises `StorageError`."""
    store, holders, now = services.store, replicator.holders, time.time()
    mine = {origin: seq for origin, (seq, _) in store.heads().items()}
    counts = await store.counts()
    safe = holders.holdings.safe(mine, holders.counting())
    first = {origin: safe[origin] + 1 for origin, seq in mine.items() if safe[origin] < seq}
    folder = services.config.node.data_dir
    disk, free = await asyncio.to_thread(_disk, folder)
    return MemoryStatusItem(
        node=services.identity.node_id,
        name=services.identity.name,
        records=sum(mine.values()),
        copies_wanted=services.config.memory.copies,
        others=[await _of(services, replicator, member, mine, now) for member in _others(services.members())],
        single=sum(mine[origin] - safe[origin] for origin in first),
        single_at=await store.oldest_at(first),
        waiting=counts["waiting"],
        quarantined=counts["quarantined"],
        refused=await store.quarantine_notes(),
        disk_bytes=disk,
        disk_free_bytes=free,
        clock_ahead_s={
            origin: round(at - now, 1) for origin, at in (await store.newest_at()).items() if at - now > DRIFT_MS / 1000
        },
        syncing=dict(replicator.puller.progress),
        branches=sorted(filter(is_branch, mine)),
    )


def _others(members: Iterable[Member]) -> Sequence[Member]:
    kept = (each for each in members if not each.is_self and each.zone is not Zone.LAB and each.state != State.REVOKED)
    return sorted(kept, key=lambda member: member.name)


async def _of(
    services: Services, replicator: Replicator, member: Member, mine: dict[str, int], now: float
) -> CopyStanding:
    holdings = replicator.holders.holdings
    if holdings.of(member.node) is None:
        return CopyStanding(member.node, member.name, member.state, -1)
    lacks = holdings.behind(member.node, mine)
    at = await services.store.oldest_at(lacks.first)
    return CopyStanding(
        member.node, member.name, member.state, lacks.records, round(max(0.0, now - at), 1) if at else 0
    )


def _disk(folder: Path) -> tuple[dict[str, int], int]:
    """Return the bytes that memory takes in the data folder, by what they are, and those that are free."""
    return {
        "database": _bytes([folder / DATABASE]),
        "wal": _bytes([folder / f"{DATABASE}-wal"]),
        "vectors": _bytes((folder / "vectors").rglob("*")),
        "backups": _bytes((folder / "backups").rglob("*")),
        "damaged": _bytes(folder.glob(f"{DATABASE}.corrupt-*")),
    }, shutil.disk_usage(folder).free


def _bytes(files: Iterable[Path]) -> int:
    total = 0
    for file in files:
        try:
            found = os.lstat(file)
        except OSError:  # it went while we looked
            continue
        total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total
