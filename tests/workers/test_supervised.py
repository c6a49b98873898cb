from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import aclosing

import pytest

from tarsd.errors import EngineUnavailable, WorkerLost
from tarsd.wire import encode
from tarsd.workers import SupervisedWorker, Worker

Make = Callable[..., Worker]


async def echo(worker: Worker) -> bytes:
    async with aclosing(worker.call("echo", b"alive", deadline_s=10)) as answer:
        return await anext(answer)


async def test_a_killed_worker_comes_back(supervised: Worker) -> None:
    before = supervised.pid
    with pytest.raises(WorkerLost):
        async for _ in supervised.call("die", int(signal.SIGSEGV), deadline_s=10):
            pass
    await supervised.start()
    assert supervised.restarts == 1
    assert supervised.pid != before
    assert "SIGSEGV" in supervised.last_error
    assert supervised.last_lines == "last words"
    assert await echo(supervised) == b"alive"


async def test_one_that_was_of_use_in_between_is_not_in_a_crash_loop(supervised: Worker) -> None:
    assert isinstance(supervised, SupervisedWorker)

    async def next_wait_s(*, was_of_use: bool) -> float:
        if was_of_use:
            supervised.did_well()
        with pytest.raises(WorkerLost):
            async for _ in supervised.call("die", int(signal.SIGKILL), deadline_s=10):
                pass
        await supervised.start()
        assert supervised._backoff is not None
        return supervised._backoff._next_s

    assert [await next_wait_s(was_of_use=False) for _ in range(2)] == [0.2, 0.4]
    assert await next_wait_s(was_of_use=True) == 0.2


async def test_one_that_a_signal_without_a_name_killed_comes_back_too(supervised: Worker) -> None:
    number = signal.SIGRTMIN + 3
    with pytest.raises(WorkerLost):
        async for _ in supervised.call("die", number, deadline_s=10):
            pass
    async with asyncio.timeout(10):
        await supervised.start()
    assert f"signal {number}" in supervised.last_error
    assert await echo(supervised) == b"alive"


async def test_while_it_is_away_calls_fail_at_once(supervised: Worker) -> None:
    with pytest.raises(WorkerLost):
        async for _ in supervised.call("die", int(signal.SIGKILL), deadline_s=10):
            pass
    with pytest.raises(WorkerLost):
        await echo(supervised)


@pytest.mark.parametrize("method", ["hold_the_gil", "never_yield"])
async def test_a_hung_worker_is_killed_and_comes_back(make: Make, method: str) -> None:
    worker = make(SupervisedWorker, silence_s=0.4)
    await worker.start()
    async with aclosing(worker.call(method, b"", deadline_s=20)) as answer:
        await anext(answer)
        if method == "hold_the_gil":
            with pytest.raises(WorkerLost, match="silent"):
                await anext(answer)
        else:
            assert worker._child is not None
            while "past the last place" not in worker._child.last_lines():  # noqa: ASYNC110 - another process says it
                await asyncio.sleep(0.01)
            await answer.aclose()
            assert "cancelled call" in await worker._child.lost
    await worker.start()
    assert worker.restarts == 1
    assert await echo(worker) == b"alive"


async def test_a_stopped_worker_process_is_hung(make: Make) -> None:
    worker = make(SupervisedWorker, silence_s=0.4)
    await worker.start()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLost, match="silent"):
        await echo(worker)


async def test_a_long_computation_without_the_gil_is_no_hang(make: Make) -> None:
    worker = make(SupervisedWorker, silence_s=0.4)
    await worker.start()
    async with aclosing(worker.call("compute_without_gil", encode(1.2), deadline_s=10)) as answer:
        assert [item async for item in answer] == [b"done"]
    assert worker.restarts == 0


async def test_a_first_start_that_fails_supervises_nothing(make: Make) -> None:
    worker = make(SupervisedWorker, {"refuse": "no"})
    with pytest.raises(EngineUnavailable):
        await worker.start()
    assert worker.state == "failed"
    assert worker._supervisor is None


async def test_stop_ends_the_restarting(supervised: Worker) -> None:
    with pytest.raises(WorkerLost):
        async for _ in supervised.call("die", int(signal.SIGKILL), deadline_s=10):
            pass
    await supervised.stop()
    assert supervised.state == "stopped"
    assert supervised.pid is None


async def test_the_stall_of_this_process_is_not_the_childs_silence(make: Make) -> None:
    worker = make(SupervisedWorker, silence_s=0.4)
    await worker.start()
    for _ in range(3):
        time.sleep(0.6)  # noqa: ASYNC251 - the loop is blocked: it neither sends nor hears
        await asyncio.sleep(0.02)
    assert await echo(worker) == b"alive"
    assert worker.restarts == 0


def test_it_lives_on_uvloop_as_well() -> None:
    """The daemon runs on uvloop, whose processes and pipes are not asyncio's."""
    import uvloop

    async def life() -> tuple[bytes, int, str]:
        worker = SupervisedWorker("test", "worker_classes:Talker", {})
        await worker.start()
        with pytest.raises(WorkerLost):
            async for _ in worker.call("die", int(signal.SIGKILL), deadline_s=10):
                pass
        await worker.start()
        said = await echo(worker)
        await worker.stop()
        return said, worker.restarts, worker.last_error

    said, restarts, last_error = uvloop.run(life())
    assert (said, restarts) == (b"alive", 1)
    assert "SIGKILL" in last_error
