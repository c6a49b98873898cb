"""When the membership core is asked what is due: often while something is under way, else when there is something.

Rules
1. Every `BUSY_TICK_S` while tries are outstanding; else when something is due, `TICK_S` after the last time at the
   earliest, `IDLE_TICK_S` at the latest: the core takes a much later call for a stall of this node.
2. What arrives may make something due earlier: `hurry` shortens the wait.
"""

from __future__ import annotations

import asyncio

from tarsd.gossip.membership import Membership

TICK_S = 0.05
BUSY_TICK_S = 0.02
IDLE_TICK_S = 0.1  # leaves 150 ms for a busy loop before the core thinks that it stalled


class Metronome:
    """Waits for the next tick; used from the loop's thread only."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._timer: asyncio.TimerHandle | None = None
        self._beat: asyncio.Future[None] | None = None

    async def next(self) -> None:
        """Wait until the core has to be asked. Cancelling leaves nothing behind."""
        loop = asyncio.get_running_loop()
        self._beat = loop.create_future()
        self._plan(loop)
        try:
            await self._beat
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._beat = None

    def hurry(self) -> None:
        """Something arrived: do not wait beyond what is due now."""
        if self._timer is None:
            return
        loop = asyncio.get_running_loop()
        left_s = self._timer.when() - loop.time()
        if left_s > TICK_S and self._pause_s(loop) < left_s - BUSY_TICK_S:
            self._timer.cancel()
            self._plan(loop)

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._pause_s(loop), self._ring)

    def _ring(self) -> None:
        if self._beat is not None and not self._beat.done():
            self._beat.set_result(None)

    def _pause_s(self, loop: asyncio.AbstractEventLoop) -> float:
        if self._membership.is_busy:
            return BUSY_TICK_S
        now = loop.time()  # the monotonic clock, on asyncio's and uvloop's loops
        return min(max(self._membership.due(now) - now, TICK_S), IDLE_TICK_S)
