from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from tarsd.errors import (
    DeadlineExceeded,
    DocumentError,
    EngineUnavailable,
    Overloaded,
    TarsdError,
    WireError,
    WorkerLost,
)
from tarsd.wire import decode, encode
from tarsd.workers import Worker, WorkerLimits

Make = Callable[..., Worker]


async def items(worker: Worker, method: str, request: object = b"", deadline_s: float = 20) -> list[bytes]:
    async with aclosing(worker.call(method, request, deadline_s=deadline_s)) as answer:
        return [item async for item in answer]


async def gone(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        await asyncio.to_thread(psutil.Process(pid).wait, 5)


async def test_items_come_in_order_and_each_by_itself(talker: Worker) -> None:
    assert [decode(item, int) for item in await items(talker, "count", 1000)] == list(range(1000))
    assert await items(talker, "echo", b"raw") == [b"raw"]
    assert await items(talker, "echo", {"a": 1}) == [encode({"a": 1})]


async def test_the_reason_of_the_childs_class_reaches_start(make: Make) -> None:
    worker = make(settings={"refuse": "no such model"})
    with pytest.raises(EngineUnavailable, match="no such model"):
        await worker.start()
    assert worker.state == "failed"
    assert worker.last_error == "no such model"
    assert worker.pid is None


async def test_a_foreign_exception_of_the_class_is_an_engine_that_cannot_be_used(make: Make) -> None:
    with pytest.raises(EngineUnavailable, match="ValueError: the file is not a model"):
        await make(settings={"break": True}).start()
    with pytest.raises(EngineUnavailable, match="No module named 'nowhere'"):
        await make(target="nowhere:Nothing").start()


async def test_a_child_that_dies_at_its_start_is_lost_and_its_last_words_are_kept(make: Make) -> None:
    worker = make(settings={"die": True})
    with pytest.raises(WorkerLost):
        await worker.start()
    assert worker.last_lines == "about to die"


async def test_a_child_that_does_not_start_in_time_is_lost_and_killed(make: Make) -> None:
    before = psutil.Process().children(recursive=True)  # other tests' resource tracker lives as long as this process
    worker = make(settings={"slow_start": True}, start_timeout_s=0.5)
    with pytest.raises(WorkerLost, match=r"did not start in 0\.5 s"):
        await worker.start()
    assert set(psutil.Process().children(recursive=True)) <= set(before)


async def test_what_the_child_prints_is_for_the_log_and_does_not_reach_the_frames(
    talker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tarsd.workers")
    assert await items(talker, "print_loudly") == [b"clean"]
    await talker.stop()  # by then all of it is read
    assert "a native library's banner" in caplog.text


async def test_an_error_of_ours_comes_after_the_items_before_it(talker: Worker) -> None:
    async with aclosing(talker.call("fail", b"", deadline_s=5)) as answer:
        assert await anext(answer) == b"one"
        with pytest.raises(DocumentError, match="page 3 is broken"):
            await anext(answer)


async def test_a_foreign_error_shows_its_class_only_and_harms_nothing(talker: Worker) -> None:
    with pytest.raises(TarsdError, match="KeyError") as caught:
        await items(talker, "fail_strangely")
    assert "secret" not in str(caught.value)
    assert await items(talker, "echo", b"alive") == [b"alive"]


@pytest.mark.parametrize("method", ["nothing", "__init__", "_private"])
async def test_a_method_that_is_not_offered_is_refused(talker: Worker, method: str) -> None:
    with pytest.raises(TarsdError, match="has no method"):
        await items(talker, method)


async def test_a_request_or_item_over_the_bound_is_refused_and_the_worker_lives(talker: Worker) -> None:
    with pytest.raises(WireError):
        await items(talker, "echo", bytes(5 * 1024 * 1024))
    with pytest.raises(WireError):
        await items(talker, "too_big")
    assert await items(talker, "echo", b"alive") == [b"alive"]


async def test_closing_a_call_stops_the_method_at_its_next_yield(talker: Worker) -> None:
    async with aclosing(talker.call("forever", b"x", deadline_s=20)) as answer:
        assert await anext(answer) == b"x"
    assert decode((await items(talker, "was_closed"))[0], bool)


async def test_an_empty_item_is_a_place_to_cancel_and_is_not_sent(talker: Worker) -> None:
    assert await items(talker, "pause") == [b"one", b"two"]
    async with aclosing(talker.call("quietly_forever", b"", deadline_s=20)) as answer:
        assert await anext(answer) == b"first"
    assert await items(talker, "echo", b"free") == [b"free"]


async def test_a_deadline_ends_the_call_and_frees_the_worker(talker: Worker) -> None:
    with pytest.raises(DeadlineExceeded):
        await items(talker, "quietly_forever", deadline_s=0.2)
    assert await items(talker, "echo", b"free") == [b"free"]


async def test_a_deadline_counts_while_waiting_for_the_turn(talker: Worker) -> None:
    async with aclosing(talker.call("quietly_forever", b"", deadline_s=20)) as answer:
        await anext(answer)
        with pytest.raises(DeadlineExceeded):
            await items(talker, "echo", deadline_s=0.1)


async def test_calls_wait_in_order_and_beyond_the_bound_they_are_refused(make: Make) -> None:
    worker = make(max_pending=3)
    await worker.start()
    order: list[bytes] = []

    async def one(name: bytes) -> None:
        order.extend(await items(worker, "echo", name))

    async with asyncio.TaskGroup() as group, aclosing(worker.call("quietly_forever", b"", deadline_s=20)) as answer:
        await anext(answer)
        tasks = [group.create_task(one(name)) for name in (b"a", b"b")]
        await asyncio.sleep(0)  # one turn of the loop: both are waiting now
        assert not any(task.done() for task in tasks)
        with pytest.raises(Overloaded):
            await items(worker, "echo")
    assert order == [b"a", b"b"]


async def test_a_reader_that_does_not_take_makes_the_child_wait(talker: Worker) -> None:
    async with aclosing(talker.call("big", b"", deadline_s=20)) as answer:
        await anext(answer)
        assert talker._child is not None
        link = talker._child.link
        while link._reading:  # noqa: ASYNC110 - there is no event for a reader that does not read
            await asyncio.sleep(0)
        assert link._active
        assert link._held_bytes < 2_000_000
        before = [len(await anext(answer)) for _ in range(20)]
        assert before == [200_000] * 20
    assert await items(talker, "echo", b"free") == [b"free"]


async def test_a_killed_child_fails_the_open_call_and_later_ones_at_once(talker: Worker) -> None:
    with pytest.raises(WorkerLost):
        await items(talker, "die", int(signal.SIGKILL))
    assert talker.state == "failed"
    with pytest.raises(WorkerLost, match="is failed"):
        await items(talker, "echo")


async def test_stop_asks_first_so_that_the_class_can_close(make: Make, tmp_path: Path) -> None:
    goodbye = tmp_path / "goodbye"
    worker = make(settings={"goodbye": str(goodbye)})
    await worker.start()
    async with aclosing(worker.call("quietly_forever", b"", deadline_s=20)) as answer:
        await anext(answer)
        await worker.stop()
        with pytest.raises(WorkerLost):
            await anext(answer)
    assert goodbye.read_text() == "closed"
    assert worker.state == "stopped"


async def test_stop_ends_a_child_that_does_not_listen(talker: Worker) -> None:
    pid = talker.pid
    assert pid is not None
    async with aclosing(talker.call("hold_the_gil", b"", deadline_s=20)) as answer:
        await anext(answer)
        before = time.monotonic()
        await talker.stop()
        assert time.monotonic() - before < 15  # long before the call's own deadline
    await gone(pid)


async def test_grandchildren_end_with_the_child(talker: Worker) -> None:
    pid = decode((await items(talker, "grandchild"))[0], int)
    await talker.stop()
    await gone(pid)


async def test_a_child_dies_with_its_parent() -> None:
    code = (
        "import asyncio, os\n"
        "from tarsd.workers import Worker\n"
        "async def main():\n"
        "    worker = Worker('t', 'worker_classes:Talker', {})\n"
        "    await worker.start(); print(worker.pid, flush=True)\n"
        "    async for _ in worker.call('hold_the_gil', b'', deadline_s=60): os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    out, _ = await parent.communicate()
    await gone(int(out))


async def test_the_child_does_not_know_systemds_socket(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nothing")
    monkeypatch.setenv("WATCHDOG_USEC", "1")
    worker = make()
    await worker.start()
    environment = decode((await items(worker, "environment"))[0], dict)
    assert "NOTIFY_SOCKET" not in environment
    assert "WATCHDOG_USEC" not in environment


async def test_rss_is_that_of_the_child(talker: Worker) -> None:
    assert 5_000_000 < talker.rss_bytes() < 200_000_000
    await talker.stop()
    assert talker.rss_bytes() == 0


async def test_without_network_no_socket_opens_in_the_child_or_its_children(make: Make) -> None:
    worker = make(limits=WorkerLimits(no_network=True))
    await worker.start()
    assert [decode(item, int) for item in await items(worker, "sockets")] == [errno.EPERM] * 3
    assert decode((await items(worker, "sockets_of_a_child"))[0], int) == 1


async def test_with_network_sockets_open(talker: Worker) -> None:
    assert await items(talker, "sockets") == [b"open"] * 3
    assert decode((await items(talker, "sockets_of_a_child"))[0], int) == 0


async def test_beyond_the_memory_limit_the_worker_is_lost_with_the_reason(make: Make) -> None:
    worker = make(limits=WorkerLimits(memory_mib=128))
    await worker.start()
    assert decode((await items(worker, "allocate", 20_000_000))[0], int) == 20_000_000
    with pytest.raises(WorkerLost, match="memory limit"):
        await items(worker, "allocate", 200_000_000)


async def test_beyond_the_limit_of_files_none_opens(make: Make) -> None:
    worker = make(limits=WorkerLimits(files=32))
    await worker.start()
    assert decode((await items(worker, "open_files", 100))[0], int) == errno.EMFILE


async def test_niceness_is_added(make: Make) -> None:
    worker = make(limits=WorkerLimits(nice=5))
    await worker.start()
    assert worker.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5
