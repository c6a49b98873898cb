"""The nightly runner, rule by rule."""

import asyncio
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from tarsd.calls import NightlyItem
from tarsd.errors import InvalidInput, Overloaded, StorageError
from tarsd.planning.nightly import JOBS
from tarsd.roles.base import JobResult, NightlyPart
from tarsd.roles.nightly import NightlyRunner

AT = time(3, 0)
NOON = datetime(2026, 5, 10, 12, 0)


def part(result: JobResult | Exception, ran: list[str] | None = None) -> NightlyPart:
    async def run() -> JobResult:
        if ran is not None:
            ran.append(str(result))
        if isinstance(result, Exception):
            raise result
        return result

    return run


async def run(runner: NightlyRunner, *jobs: str, only_due: bool = False, now: datetime = NOON) -> list[NightlyItem]:
    return [item async for item in runner.run(jobs, only_due=only_due, now=now)]


async def test_all_jobs_run_in_order_and_parts_are_added_up(tmp_path: Path) -> None:
    parts = {"health_check": [part(JobResult(1, "a")), part(JobResult(2, "b"))]}
    items = await run(NightlyRunner(tmp_path / "n.json", AT, parts))
    assert [item.job for item in items] == list(JOBS)
    assert (items[-1].changed, items[-1].detail, items[-1].ok) == (3, "a; b", True)


async def test_a_part_that_fails_is_told_and_does_not_stop_the_others(tmp_path: Path) -> None:
    parts = {"health_check": [part(StorageError("disk full")), part(ValueError("bug")), part(JobResult(1, "fine"))]}
    (item,) = await run(NightlyRunner(tmp_path / "n.json", AT, parts), "health_check")
    assert item.ok is False
    assert item.detail == "StorageError: disk full; internal error, see the log; fine"


async def test_the_start_is_on_disk_before_the_work(tmp_path: Path) -> None:
    path = tmp_path / "n.json"

    async def look() -> JobResult:
        again = NightlyRunner(path, AT, {})
        assert again.last_runs()["health_check"] == NOON.isoformat()
        return JobResult(0, "looked")

    (item,) = await run(NightlyRunner(path, AT, {"health_check": [look]}), "health_check")
    assert item.detail == "looked"


async def test_only_what_is_due_runs(tmp_path: Path) -> None:
    runner = NightlyRunner(tmp_path / "n.json", AT, {})
    assert await run(runner, only_due=True) == []  # the first night is still to come
    later = NOON + timedelta(days=1)
    assert len(await run(runner, only_due=True, now=later)) == len(JOBS)
    assert await run(runner, only_due=True, now=later) == []


async def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def waits() -> JobResult:
        await gate.wait()
        return JobResult(0, "")

    runner = NightlyRunner(tmp_path / "n.json", AT, {"health_check": [waits]})
    first = asyncio.ensure_future(run(runner, "health_check"))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await run(runner)
    gate.set()
    assert (await first)[0].ok
    assert len(await run(runner)) == len(JOBS)


async def test_an_unknown_job_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="dance"):
        await run(NightlyRunner(tmp_path / "n.json", AT, {}), "dance")


async def test_a_damaged_file_counts_the_nights_anew(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    path.write_text("{broken")
    runner = NightlyRunner(path, AT, {})
    assert runner.last_runs() == {}
    assert runner.due(NOON) == []


async def test_a_file_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        await run(NightlyRunner(tmp_path / "file" / "n.json", AT, {}))
