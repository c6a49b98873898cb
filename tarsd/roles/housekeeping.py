"""A node's own part in the nightly jobs, whatever its roles: its database and its files. Its health is `roles.health`.

Rule
1. Only files that tarsd itself made are removed: rotated logs, uploads that were cut off, databases that were set aside
   as damaged or for a backup, entries of the diary. Backups are thinned out by who makes them (`roles.backing`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

from tarsd.roles import health
from tarsd.roles.base import JobResult, Night, NightlyPart, Services

DAY_S = 86_400
CUT_OFF_UPLOAD_S = DAY_S  # no upload takes a day
DAMAGED_DAYS = 90  # time enough to look for what is in it; records come back from peers long before
DIARY_DAYS = 400
MAX_FORGOTTEN = 50  # entries of the diary a night


def parts(services: Services, certificate_end: Callable[[], datetime]) -> Mapping[str, NightlyPart]:
    """Return the parts that every core node runs."""
    return {
        "compact_memory": partial(_compact, services),
        "cleanup_logs": partial(_cleanup, services),
        "health_check": partial(health.check, services, certificate_end),
    }


async def _compact(services: Services, night: Night) -> JobResult:
    path = services.config.node.data_dir / "memory.db"
    before = path.stat().st_size if path.exists() else 0
    await services.store.optimize()
    freed = before - (path.stat().st_size if path.exists() else 0)
    return JobResult(int(freed > 0), f"database compacted, {max(freed, 0)} bytes freed")


async def _cleanup(services: Services, night: Night) -> JobResult:
    folder, now = services.config.node.data_dir, time.time()
    keep_days = services.config.monitoring.log_keep_days
    removed = {
        "log files": _remove_old((folder / "logs").glob("tarsd.log.*"), now - keep_days * DAY_S),
        "cut off uploads": _remove_old((folder / "spool").glob("*.part"), now - CUT_OFF_UPLOAD_S),
        "damaged databases": _remove_old(folder.glob("*.db.corrupt-*"), now - DAMAGED_DAYS * DAY_S),
        "replaced databases": _remove_old(folder.glob("*.db.before-restore-*"), now - DAMAGED_DAYS * DAY_S),
        "entries of the diary": await _forget_old_nights(services, now),
    }
    told = ", ".join(f"{count} {what}" for what, count in removed.items() if count)
    return JobResult(sum(removed.values()), f"removed: {told}" if told else "nothing old to remove")


def _remove_old(paths: Iterable[Path], before: float) -> int:
    old = [path for path in paths if path.is_file() and path.stat().st_mtime < before]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


async def _forget_old_nights(services: Services, now: float) -> int:
    keys = await services.store.old_diary(now - DIARY_DAYS * DAY_S, MAX_FORGOTTEN)
    if keys:
        await services.store.forget_all(keys)  # in one commit: after each one the files are cleaned
    return len(keys)
