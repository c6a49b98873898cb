"""A server of the bench in a process of its own, so that its CPU is not counted as the caller's."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from bench.daemon import environment_of_a_child

START_S = 20.0


@asynccontextmanager
async def running(module: str, *arguments: str, prefix: Sequence[str] = ()) -> AsyncGenerator[Process, None]:
    """Run `module` as a child process while the block runs; `prefix` is a command that runs it elsewhere.

    It says that it is ready by its first line. Raises `RuntimeError` or `TimeoutError` where it does not.
    """
    process = await asyncio.create_subprocess_exec(
        *prefix, sys.executable, "-m", module, *arguments,
        stdin=DEVNULL, stdout=PIPE, env=environment_of_a_child(),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            if not await process.stdout.readline():
                raise RuntimeError(f"{module} did not start")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
