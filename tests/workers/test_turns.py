"""Several calls that are open in one child at a time."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from tarsd.errors import DocumentError, EngineUnavailable, TarsdError, WorkerLost
from tarsd.wire import decode
from tarsd.workers import SupervisedWorker, Worker

TOGETHER = "worker_classes:Together"


async def numbers(worker: Worker, count: int) -> list[int]:
    async with aclosing(worker.call("steps_of", count, deadline_s=20)) as answer:
        return [decode(item, int) async for item in answer]


async def open_calls(worker: Worker) -> int:
    async with aclosing(worker.call("open_calls", b"", deadline_s=20)) as answer:
        return decode(await anext(answer), int)


async def until_open(worker: Worker, count: int) -> None:
    """Wait until so many calls are open; each asking is a round of the child, so nothing spins."""
    for _ in range(1000):
        if await open_calls(worker) == count:
            return
    raise AssertionError(f"there were never {count} open calls")


@pytest.fixture
async def together(make) -> Worker:
    worker = make(target=TOGETHER, at_once=4)
    await worker.start()
    return worker


async def test_calls_share_the_steps_and_each_gets_its_own_items(together: Worker) -> None:
    found = await asyncio.gather(*(numbers(together, 20) for _ in range(4)))
    for one in found:
        assert one == list(range(one[0], one[0] + 20))
    assert max(one[-1] for one in found) < 50  # 4 x 20 one after another would be 80


async def test_a_call_beyond_the_bound_waits_for_a_place(together: Worker) -> None:
    found = await asyncio.gather(*(numbers(together, 10) for _ in range(6)))
    first_ends = sorted(one[-1] for one in found[:4])
    assert all(one[0] > first_ends[0] for one in found[4:])


async def test_a_call_joins_and_leaves_while_others_go_on(together: Worker) -> None:
    async with aclosing(together.call("steps_of", 100_000, deadline_s=20)) as long:
        first = decode(await anext(long), int)
        assert await numbers(together, 3)
        assert decode(await anext(long), int) == first + 1


async def test_leaving_a_call_closes_it_in_the_child_and_frees_its_place(together: Worker) -> None:
    streams = [together.call("steps_of", 100_000, deadline_s=20) for _ in range(4)]
    for stream in streams:
        await anext(stream)
    for stream in streams[1:]:
        await stream.aclose()
    assert await open_calls(together) == 1
    await streams[0].aclose()
    assert await open_calls(together) == 0


async def test_an_error_of_one_call_does_not_touch_the_others(together: Worker) -> None:
    running = asyncio.create_task(numbers(together, 50))
    with pytest.raises(DocumentError, match="not this one"):
        await anext(together.call("refuse", b"", deadline_s=20))
    with pytest.raises(TarsdError, match="no method"):
        await anext(together.call("nothing", b"", deadline_s=20))
    assert len(await running) == 50


async def test_an_error_of_the_shared_step_ends_all_that_are_open_and_the_child_goes_on(together: Worker) -> None:
    running = asyncio.create_task(numbers(together, 100_000))
    await until_open(together, 1)
    with pytest.raises(EngineUnavailable, match="the step failed"):
        await anext(together.call("break_the_step", b"", deadline_s=20))
    with pytest.raises(EngineUnavailable, match="the step failed"):
        await running
    assert len(await numbers(together, 5)) == 5


async def test_stopping_tells_every_open_call(make) -> None:
    worker = make(target=TOGETHER, at_once=4)
    await worker.start()
    running = [asyncio.create_task(numbers(worker, 100_000)) for _ in range(3)]
    await until_open(worker, 3)
    await worker.stop()
    for task in running:
        with pytest.raises(WorkerLost):
            await task


async def test_native_code_that_hangs_is_found_though_the_reader_thread_lives(make) -> None:
    worker = make(SupervisedWorker, target=TOGETHER, at_once=4, silence_s=0.4, stuck_s=0.4)
    await worker.start()
    with pytest.raises(WorkerLost, match="silent"):
        await anext(worker.call("hang", b"", deadline_s=20))
    await worker.start()  # waits for its return
    assert len(await numbers(worker, 5)) == 5
