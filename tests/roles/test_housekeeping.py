"""A node's own nightly work, on real files."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tarsd.memory.store import Store
from tarsd.roles import housekeeping
from tests.roles.night_help import ScriptedNight
from tests.roles.role_help import FAR, ME, services


async def run(tmp_path: Path, job: str, end: datetime = FAR) -> housekeeping.JobResult:
    store = await Store.open(tmp_path / "memory.db", ME)
    try:
        return await housekeeping.parts(services(store, None, [], data_dir=tmp_path), lambda: end)[job](ScriptedNight())
    finally:
        await store.close()


async def test_only_old_log_files_are_removed(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for name, days in (("tarsd.log", 99), ("tarsd.log.2026-01-01", 99), ("tarsd.log.2026-05-01", 1), ("mine.txt", 99)):
        (logs / name).write_text("x")
        os.utime(logs / name, (time.time() - days * 86_400,) * 2)
    result = await run(tmp_path, "cleanup_logs")
    assert result.changed == 1
    assert sorted(path.name for path in logs.iterdir()) == ["mine.txt", "tarsd.log", "tarsd.log.2026-05-01"]


async def test_a_sound_node_is_told_so(tmp_path: Path) -> None:
    result = await run(tmp_path, "health_check")
    assert result.ok
    assert "database sound" in result.detail


async def test_a_certificate_that_ends_soon_needs_a_person(tmp_path: Path) -> None:
    result = await run(tmp_path, "health_check", datetime.now(UTC) + timedelta(days=3, minutes=1))
    assert (result.ok, result.detail) == (False, "this node's certificate ends in 3 days")


async def test_the_database_is_compacted(tmp_path: Path) -> None:
    assert (await run(tmp_path, "compact_memory")).ok
