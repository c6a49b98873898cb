"""A node's own part in the nightly jobs, whatever its roles: its database, its log files, its health.

Rules
1. `health_check` reports what a person must mend (`ok` False) and repairs nothing that it cannot repair for sure.
2. Only files that tarsd itself made are removed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from tarsd.roles.base import JobResult, NightlyPart, Services

DAY_S = 86_400
FREE_DISK_BYTES = 1 << 30  # below it a night's work or a large document may not fit
CERTIFICATE_DAYS = 7  # below the ten days at which nodes renew by themselves: less means that they could not


def parts(services: Services, certificate_end: Callable[[], datetime]) -> Mapping[str, NightlyPart]:
    """Return the parts that every core node runs."""
    return {
        "compact_memory": partial(_compact, services),
        "cleanup_logs": partial(_cleanup, services),
        "health_check": partial(_check, services, certificate_end),
    }


async def _compact(services: Services) -> JobResult:
    path = services.config.node.data_dir / "memory.db"
    before = path.stat().st_size if path.exists() else 0
    await services.store.optimize(rewrite=True)
    freed = before - (path.stat().st_size if path.exists() else 0)
    return JobResult(int(freed > 0), f"database compacted, {max(freed, 0)} bytes freed")


async def _cleanup(services: Services) -> JobResult:
    folder = services.config.node.data_dir / "logs"
    limit = time.time() - services.config.monitoring.log_keep_days * DAY_S
    old = [path for path in folder.glob("tarsd.log.*") if path.stat().st_mtime < limit]
    for path in old:
        path.unlink(missing_ok=True)
    return JobResult(len(old), f"{len(old)} old log files removed")


async def _check(services: Services, certificate_end: Callable[[], datetime]) -> JobResult:
    problems = await services.store.integrity_check()
    free = shutil.disk_usage(services.config.node.data_dir).free
    if free < FREE_DISK_BYTES:
        problems.append(f"only {free >> 20} MiB of disk are free")
    days = (certificate_end() - datetime.now(UTC)).days
    if days < CERTIFICATE_DAYS:
        problems.append(f"this node's certificate ends in {days} days")
    if problems:
        return JobResult(0, "; ".join(problems), ok=False)
    return JobResult(0, f"database sound, {free >> 30} GiB free, certificate good for {days} days")
