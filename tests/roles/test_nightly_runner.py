"""The nightly runner, rule by rule."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from tarsd.calls import NightlyItem
from tarsd.errors import InvalidInput, Overloaded, StorageError
from tarsd.memory.store import Store
from tarsd.planning.nightly import JOBS
from tarsd.roles import nightly
from tarsd.roles.base import JobResult, Night, NightlyPart
from tarsd.roles.journal import Journal
from tarsd.roles.night_book import NightBook
from tarsd.roles.nightly import NightlyRunner
from tests.roles.role_help import ME

AT = time(3, 0)
NOON = datetime(2026, 5, 10, 12, 0)


def part(result: JobResult | Exception, ran: list[str] | None = None) -> NightlyPart:
    async def run(night: Night) -> JobResult:
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

    async def look(night: Night) -> JobResult:
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

    async def waits(night: Night) -> JobResult:
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


async def test_a_job_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    ran: list[str] = []

    async def counts(night: Night) -> JobResult:
        ran.append(night.cursor)
        await night.step(f"{len(ran)}")
        if len(ran) == 1:
            raise asyncio.CancelledError
        return JobResult(1, "counted")

    parts = {"health_check": [part(JobResult(1, "first"), ran_first := []), counts]}
    with pytest.raises(asyncio.CancelledError):
        await run(NightlyRunner(tmp_path / "n.json", AT, parts), "health_check", only_due=False)
    again = NightlyRunner(tmp_path / "n.json", AT, parts)  # the node was started again
    assert again.due(NOON) == ["health_check"]
    (item,) = await run(again, only_due=True)
    assert (item.changed, item.detail) == (2, "first; counted")
    assert (len(ran_first), ran) == (1, ["", "1"])  # what had ended is not repeated
    assert again.due(NOON) == []


def test_a_job_that_kills_its_node_is_tried_three_times_a_night(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    book = NightBook(path)
    book.note_start(JOBS, NOON)
    for beginning in range(1, 4):
        assert NightlyRunner(path, AT, {}).due(NOON) == (["health_check"] if beginning > 1 else [])
        NightBook(path).begin("health_check", NOON, is_going_on=beginning > 1)  # and then it is killed
    assert NightlyRunner(path, AT, {}).due(NOON) == []
    assert "health_check" in NightlyRunner(path, AT, {}).due(NOON + timedelta(days=1))


async def test_what_people_ask_goes_first(tmp_path: Path) -> None:
    busy = [True, True, False]
    runner: NightlyRunner

    async def steps(night: Night) -> JobResult:
        await night.step("1", "half done")
        return JobResult(0, "")

    def is_busy() -> bool:
        told.append(runner.last_runs()["running"])
        return busy.pop(0)

    told: list[str] = []
    runner = NightlyRunner(tmp_path / "n.json", AT, {"health_check": [steps]}, is_busy)
    with patched_wait(0.0):
        await run(runner, "health_check", now=datetime.now())
    assert busy == []
    assert told[1:] == ["health_check: half done, waits for people's questions"] * 2
    assert "running" not in runner.last_runs()


async def test_people_do_not_keep_the_night_from_ending(tmp_path: Path) -> None:
    async def steps(night: Night) -> JobResult:
        await night.step("1")
        return JobResult(0, "done")

    runner = NightlyRunner(tmp_path / "n.json", AT, {"health_check": [steps]}, lambda: True)
    (item,) = await run(runner, "health_check", now=NOON)  # its morning is long over
    assert item.detail == "done"


def test_what_earlier_versions_wrote_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    path.write_text('{"health_check": "2026-05-10T03:00:00"}')
    assert NightlyRunner(path, AT, {}).last_runs() == {"health_check": "2026-05-10T03:00:00"}


async def test_what_changed_is_in_the_diary(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "memory.db", ME)
    try:
        parts = {"health_check": [part(JobResult(2, "two things"))], "cleanup_logs": [part(JobResult(0, "nothing"))]}
        await run(NightlyRunner(tmp_path / "n.json", AT, parts, journal=Journal(store, "pc1")))
        (entry,) = await store.diary(10)
        assert (entry.job, entry.node, entry.what, entry.ok) == ("health_check", "pc1", "two things", True)
        assert entry.began_at == NOON.timestamp()
    finally:
        await store.close()


@contextmanager
def patched_wait(seconds: float) -> Iterator[None]:
    before, nightly.LOOK_S = nightly.LOOK_S, seconds
    try:
        yield
    finally:
        nightly.LOOK_S = before


async def test_being_cancelled_costs_no_beginning(tmp_path: Path) -> None:
    async def is_cancelled(night: Night) -> JobResult:
        raise asyncio.CancelledError

    runner = NightlyRunner(tmp_path / "n.json", AT, {"health_check": [is_cancelled]})
    for only_due in (False, True, True, True, True):
        with pytest.raises(asyncio.CancelledError):
            await run(runner, "health_check", only_due=only_due)
    assert runner.due(NOON) == ["health_check"]
