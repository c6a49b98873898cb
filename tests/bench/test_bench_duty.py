"""A process that is given a share of its time."""

from __future__ import annotations

import asyncio
import sys

import psutil
import pytest

from bench.duty import duty
from tests.engines.conftest import until

SPINS = "while True: pass"


@pytest.fixture
async def spinning():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SPINS)
    yield psutil.Process(process.pid)
    if process.returncode is None:
        process.kill()
    await process.wait()


def is_stopped(process):
    return process.status() == psutil.STATUS_STOPPED


async def test_a_process_stands_and_runs_in_turns_and_runs_on_afterwards(spinning):
    async with duty(spinning.pid, 0.5):
        for stopped in (True, False, True, False):
            await until(lambda stopped=stopped: is_stopped(spinning) is stopped)
    await until(lambda: not is_stopped(spinning))
    before = sum(spinning.cpu_times()[:2])
    await until(lambda: sum(spinning.cpu_times()[:2]) > before)


async def test_a_process_that_is_gone_harms_nobody(spinning):
    async with duty(spinning.pid, 0.5):
        spinning.kill()
