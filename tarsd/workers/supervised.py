"""A worker that comes back: restarted with backoff when it dies, hangs or outgrows its limits."""

from __future__ import annotations

import asyncio
import logging

from tarsd.errors import TarsdError, WorkerLost
from tarsd.workers.backoff import Backoff
from tarsd.workers.process import ChildProcess
from tarsd.workers.worker import Worker

_log = logging.getLogger(__name__)


class SupervisedWorker(Worker):
    """A `Worker` whose child is restarted after 0.1 s, 0.2 s, … 30 s, for as long as it is not stopped.

    Who calls it says with `did_well` that it was of use: after that it comes back in 0.1 s again.
    Calls while it is away raise `WorkerLost` at once.
    """

    _supervisor: asyncio.Task[None] | None = None
    _back: asyncio.Event | None = None
    _backoff: Backoff | None = None

    def did_well(self) -> None:
        """Say that the child did what it is there for: its loss is no crash loop."""
        if self._backoff is not None:
            self._backoff.worked()

    async def start(self) -> None:
        """Start it and its supervision.

        The first start raises as `Worker.start` does and supervises nothing then. Called again while the child is
        away, it waits for its return, at most `start_timeout_s`, and raises `WorkerLost` with the last reason.
        """
        if self._supervisor is not None:
            await self._wait_until_back()
            return
        child = await self._launch()
        self._back = asyncio.Event()
        self._back.set()
        self._supervisor = asyncio.create_task(self._supervise(child), name=f"supervise {self.name}")

    async def stop(self) -> None:
        """End supervision and child within 3 s."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
        await super().stop()

    def _on_lost(self) -> None:
        super()._on_lost()
        if self._back is not None:
            self._back.clear()

    async def _wait_until_back(self) -> None:
        assert self._back is not None
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await self._back.wait()
        except TimeoutError:
            raise WorkerLost(f"worker {self.name} is away: {self.last_error}") from None

    async def _supervise(self, child: ChildProcess) -> None:
        loop = asyncio.get_running_loop()
        backoff = self._backoff = Backoff()
        while True:
            since = loop.time()
            await asyncio.shield(child.lost)
            await self._bury(child)
            wait_s = backoff.failed(loop.time() - since)
            child = await self._return(backoff, wait_s)
            self.restarts += 1
            if self._back is not None:
                self._back.set()
            _log.info("worker %s is back (restart %d)", self.name, self.restarts)

    async def _bury(self, child: ChildProcess) -> None:
        self.last_error = await child.how_it_ended()
        await child.kill(self.last_error)
        self.last_lines = child.last_lines()
        # The first loss is news; a crash loop is not.
        level = logging.WARNING if self.restarts == 0 else logging.DEBUG
        _log.log(level, "worker %s was lost: %s", self.name, self.last_error)

    async def _return(self, backoff: Backoff, wait_s: float) -> ChildProcess:
        """Wait and start, until a start succeeds."""
        while True:
            await asyncio.sleep(wait_s)
            try:
                return await self._launch()
            except TarsdError as error:
                _log.debug("worker %s could not be restarted: %s", self.name, error)
                wait_s = backoff.failed()
