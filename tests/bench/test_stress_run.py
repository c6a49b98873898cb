import asyncio
import os
import signal

import pytest
from aiohttp import web

from bench.client import Client
from bench.samples import account_of, from_account
from bench.stress import Run, _ctrl_c, _work
from bench.stress_verdict import Event, Record, longest_life, rows_of


async def test_ctrl_c_ends_the_work_and_raises_nothing():
    cancelled = asyncio.Event()

    async def for_ever():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with _ctrl_c() as pressed:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        await asyncio.wait_for(_work([for_ever(), pressed.wait()], 60), 30)
    assert cancelled.is_set()


async def test_a_bug_of_the_bench_is_raised_not_waited_out():
    async def broken():
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await asyncio.wait_for(_work([broken(), asyncio.Event().wait()], 60), 30)


async def test_the_time_ends_the_work():
    await asyncio.wait_for(_work([asyncio.Event().wait()], 0.01), 30)


async def test_a_node_under_a_fault_is_not_asked_and_excused_until_it_is_back():
    run = Run({"pc1": None, "pc2": None}, None, 1)
    async with run.fault("kill", "pc2"):
        assert run.usable() == ["pc1"]
        assert run.excused(0.0, "pc2")
        assert not run.excused(0.0, "pc1")
    assert run.usable() == ["pc1", "pc2"]
    assert not run.excused(run.now() + 1, "pc2")


async def test_a_node_on_another_pc_tells_of_itself():
    async def status(_request):
        return web.json_response({"parts": {"rss_mib": 61.5, "open_files": 21, "tasks": 14}})

    app = web.Application()
    app.add_routes([web.get("/api/status", status)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with Client(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        sample = from_account("pc1", await account_of(client), 0.0)
        await runner.cleanup()
        gone = await account_of(client)
    assert (sample.rss_mib, sample.open_files, sample.tasks) == (61.5, 21, 14)
    assert from_account("pc1", gone, 0.0) is None


def test_the_time_a_model_needs_to_come_back_is_told_apart_from_a_node_s():
    events = [
        Event(at_s=1, kind="worker", node="pc1"),
        Event(at_s=1, kind="reloaded", node="pc1", total_s=9.0),
        Event(at_s=2, kind="freeze", node="pc1"),
        Event(at_s=2, kind="healed", node="pc1", total_s=1.0),
    ]
    rows = {row.figure: row for row in rows_of(Record(seconds=60, events=events, samples=[]))}
    assert rows["model back after its worker was killed"].median == 9.0
    assert rows["healed after a fault"].verdict == "met"
    assert rows["healed after a fault"].note == "1 x freeze, 1 x worker"


def test_tasks_that_pile_up_are_seen():
    def account(at_s, tasks):
        sample = from_account("pc1", {"rss_mib": 60.0, "open_files": 20, "tasks": tasks}, 0.0)
        sample.at_s = at_s
        return sample

    samples = [account(at * 2.0, 10 + at // 20) for at in range(1800)]
    assert longest_life(samples) == samples
    rows = {row.figure: row for row in rows_of(Record(seconds=3600, events=[], samples=samples))}
    assert rows["pc1: asyncio tasks growth"].verdict == "missed"
    assert rows["pc1: memory growth"].verdict == "met"
