"""A guard over timings: how much CPU did others use while a block ran?

Machines are shared. A timing taken while others used more than a little of the CPU is an upper bound, not a figure, and
is marked as such. Others' use = the busy time of all CPUs (/proc/stat) minus that of our own process tree.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CONTENDED_SHARE = 0.15  # of one CPU
BUSY_FIELDS = (0, 1, 2, 5, 6, 7)  # user nice system irq softirq steal; not idle, iowait, guest (in user already)


def busy_s() -> float:
    """Return the time that all CPUs together have worked since boot."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    return sum(int(fields[index]) for index in BUSY_FIELDS) / TICKS_PER_S


def own_s() -> float:
    """Return the CPU time of this process and its descendants, the ended and awaited ones included."""
    total = 0.0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        try:
            total += sum(process.cpu_times()[:4])  # user, system, and the same of awaited children
        except psutil.NoSuchProcess:
            continue
    return total


class Foreign:
    """Measures a block: `share` is the others' CPU use in CPUs, `contended` says whether it was too much."""

    share = 0.0

    def __enter__(self) -> Self:
        self._busy, self._own, self._at = busy_s(), own_s(), time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall = max(time.monotonic() - self._at, 1 / TICKS_PER_S)
        self.share = max(0.0, (busy_s() - self._busy) - (own_s() - self._own)) / wall

    @property
    def contended(self) -> bool:
        """Whether a timing of this block is only an upper bound."""
        return self.share > CONTENDED_SHARE


async def wait_quiet(within_s: float, needed_s: int = 3) -> bool:
    """Wait until others were quiet for `needed_s` in a row; False when that did not come in time."""
    end, quiet_s = time.monotonic() + within_s, 0
    while quiet_s < needed_s:
        if time.monotonic() > end:
            return False
        with Foreign() as foreign:
            await asyncio.sleep(1)
        quiet_s = 0 if foreign.contended else quiet_s + 1
    return True
