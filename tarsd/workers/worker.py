"""A child process that runs one class with native code, called over a pipe."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

import psutil

from tarsd.errors import TarsdError, WorkerLost
from tarsd.wire import encode
from tarsd.workers.limits import WorkerLimits
from tarsd.workers.process import ChildProcess
from tarsd.workers.protocol import Start

State = Literal["stopped", "starting", "ready", "failed"]


class Worker:
    """One child process, started once; see `SupervisedWorker` for one that comes back.

    `target` is "package.module:Class". The class is built in the child as `Class(settings: bytes)` with the msgpack of
    `settings`. Its methods are generators, `def method(self, request: bytes) -> Iterator[bytes]`, run in the child's
    main thread, one call at a time; an empty item is a place to be cancelled and is not sent. A method `close()`, where
    there is one, is called before the child goes.

    `at_once` above 1: so many calls are open in the child at a time. They take turns: after each round of
    `worker.tick()`, which does the work for all of them, each generator is read until it yields an empty item.
    `stuck_s`: a child that is in one round or step for so long hangs, whatever its threads say; 0 = it may last.
    `silence_s`: a child that gives no sign of life for so long, or does not leave a cancelled call, is killed.
    `max_pending`: calls running and waiting; beyond it `Overloaded`.
    `restarts`, `last_error`: how often the child came back, and why it was lost last. `last_lines`: the end of what it
    wrote to stderr then; foreign code wrote it, so it is for debugging and may hold a person's text.
    """

    def __init__(
        self,
        name: str,
        target: str,
        settings: object,
        *,
        limits: WorkerLimits = WorkerLimits(),  # noqa: B008 - frozen
        start_timeout_s: float = 120.0,
        silence_s: float = 30.0,
        max_pending: int = 64,
        at_once: int = 1,
        stuck_s: float = 0.0,
    ) -> None:
        self.name = name
        self.state: State = "stopped"
        self.restarts = 0
        self.last_error = ""
        self.last_lines = ""
        self._start = Start(target, encode(settings), limits, os.getpid(), at_once, stuck_s)
        self._start_timeout_s = start_timeout_s
        self._silence_s = silence_s
        self._max_pending = max_pending
        self._child: ChildProcess | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child is not None else None

    def rss_bytes(self) -> int:
        """Return the child's resident memory; 0 while there is none."""
        pid = self.pid
        try:
            return int(psutil.Process(pid).memory_info().rss) if pid is not None else 0
        except psutil.Error:
            return 0

    async def start(self) -> None:
        """Start the child and wait until it is ready.

        Raises what its class raised (`EngineUnavailable` for an exception that is not ours), or `WorkerLost`.
        """
        if self.state in ("starting", "ready"):
            return
        await self._launch()

    async def stop(self) -> None:
        """End the child within 3 s; open calls fail with `WorkerLost`."""
        child, self._child = self._child, None
        if child is not None:
            await child.stop()
        self.state = "stopped"

    async def call(self, method: str, request: object, *, deadline_s: float) -> AsyncGenerator[bytes, None]:
        """Yield the items of `method`, as the child yields them; `bytes` go as they are, another request as msgpack.

        Raises `WorkerLost` (at once while there is no child), `Overloaded`, `DeadlineExceeded`, or the `TarsdError`
        that the method raised. Closing the generator cancels: the child leaves the method at its next yield.
        """
        child = self._child
        if child is None or self.state != "ready":
            raise WorkerLost(self._absence())
        body = request if isinstance(request, bytes) else encode(request)
        async with aclosing(child.link.call(method, body, deadline_s)) as items:
            async for item in items:
                yield item

    async def _launch(self) -> ChildProcess:
        """Start a child; on failure nothing is left of it, and `state` and `last_error` say so."""
        self.state = "starting"
        child = ChildProcess(
            self.name, self._start, self._on_lost, silence_s=self._silence_s, max_pending=self._max_pending
        )
        self._child = child
        try:
            await child.run(self._start_timeout_s)
        except BaseException as error:
            self._child = None
            self.state = "failed"
            self.last_error = str(error) if isinstance(error, TarsdError) else "its start was given up"
            self.last_lines = child.last_lines()
            raise
        self.state = "ready"
        return child

    def _absence(self) -> str:
        why = f": {self.last_error}" if self.last_error else ""
        return f"worker {self.name} is {self.state}{why}"

    def _on_lost(self) -> None:
        """The child is of no more use; a child that was stopped is not ours any more."""
        if self._child is not None:
            self.state = "failed"
            self.last_error = self._child.lost.result()
