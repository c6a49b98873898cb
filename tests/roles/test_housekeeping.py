"""A node's own nightly work, on real files."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tarsd.memory.bodies import DiaryBody
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


async def test_leftovers_of_crashes_are_removed_and_backups_are_not_its_business(tmp_path: Path) -> None:
    for folder in ("spool", "backups"):
        (tmp_path / folder).mkdir()
    ages = {
        "spool/cut.part": 2.0,
        "spool/coming.part": 0.5,
        "spool/waits.bin": 9.0,
        "memory.db.corrupt-20260101": 91.0,
        "memory.db.corrupt-20260501": 89.0,
        "memory.db.before-restore-20260101T000000": 91.0,
        "notes.corrupt": 91.0,
        "backups/old.tarsd-backup": 900.0,
    }
    for name, days in ages.items():
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    result = await run(tmp_path, "cleanup_logs")
    assert result.detail == "removed: 1 cut off uploads, 1 damaged databases, 1 replaced databases"
    gone = {name for name in ages if not (tmp_path / name).exists()}
    assert gone == {"spool/cut.part", "memory.db.corrupt-20260101", "memory.db.before-restore-20260101T000000"}


async def test_old_nights_are_forgotten(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "memory.db", ME)
    now = time.time()
    for name, days in (("old", 401), ("new", 399)):
        await store.append("diary", "", DiaryBody(name, "health_check", "pc1", ended_at=now - days * 86_400))
    await store.close()
    assert (await run(tmp_path, "cleanup_logs")).detail == "removed: 1 entries of the diary"
    store = await Store.open(tmp_path / "memory.db", ME)
    try:
        assert [entry.id for entry in await store.diary(10)] == ["new"]
    finally:
        await store.close()
