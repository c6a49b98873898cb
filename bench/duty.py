"""Gives a process a share of its time: stopped and let go on in turns, by a process that does nothing else.

Rules
1. A turn lasts `TURN_S`, far less than a token takes; the share is that of the wall clock, whatever the machine does
   beside, and turns keep to a fixed schedule: a late one does not move those that follow.
2. However the block ends, the process runs on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

TURN_S = 0.02
_LEAST_S = 0.0005  # of a turn that came too late: still a turn


@asynccontextmanager
async def duty(pid: int, share: float) -> AsyncGenerator[None, None]:
    """Let the process `pid` run for `share` of the time while the block runs."""
    limiter = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.duty", str(pid), str(share), stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    try:
        assert limiter.stdout is not None
        await limiter.stdout.readline()
        yield
    finally:
        with suppress(ProcessLookupError):
            limiter.kill()
        await limiter.wait()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def main() -> None:
    """Take turns until the process is gone."""
    pid, share = int(sys.argv[1]), float(sys.argv[2])
    print("on", flush=True)
    turn_ends = time.monotonic()
    with suppress(ProcessLookupError):
        while True:
            turn_ends += TURN_S
            os.kill(pid, signal.SIGSTOP)
            time.sleep(max(_LEAST_S, turn_ends - share * TURN_S - time.monotonic()))
            os.kill(pid, signal.SIGCONT)
            time.sleep(max(_LEAST_S, turn_ends - time.monotonic()))


if __name__ == "__main__":
    main()
