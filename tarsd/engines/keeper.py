"""Keeps one engine of a chain usable: starts it, and starts it again whenever it fails. Its circuit breaker.

Rules
1. `starting`: its first attempt to start runs. `closed`: it works. A failure, while it starts or answers, opens the
   circuit: it is not asked (`open`) and is started again after a pause that grows with each failure in a row; one that
   gave a whole answer in between begins with the shortest again.
2. Started again it is `half_open`: one answer tries it. While that runs, others prefer another engine, if there is one.
   What it ends with closes or opens the circuit.
3. That a worker went away is noticed without a question.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from tarsd.engines.base import ChatEngine
from tarsd.errors import TarsdError
from tarsd.workers.backoff import Backoff

_log = logging.getLogger(__name__)

# An engine that came with a worker notices its loss by itself; asking costs nothing.
_LOOK_S = 1.0

Circuit = Literal["starting", "closed", "open", "half_open"]


class Keeper:
    """One engine with what is known of its health; `reason` is why it cannot be used, or why it failed last."""

    def __init__(
        self,
        engine: ChatEngine,
        before_load: Callable[[], None] = lambda: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`before_load` is told each time before a model is loaded, which may freeze a small PC for seconds.

        `changed` is told when it became usable, and when it is no longer.
        """
        self.engine = engine
        self._before_load = before_load
        self._changed = changed
        self.reason = ""
        self.circuit: Circuit = "starting"
        self._trials = 0
        self._backoff = Backoff()
        self._usable = asyncio.Event()
        self._failed = asyncio.Event()

    @property
    def usable(self) -> bool:
        """Whether it can be asked now."""
        return self._usable.is_set() and self.engine.info() is not None

    @property
    def loading(self) -> bool:
        """Whether its first attempt to start runs."""
        return self.circuit == "starting"

    @property
    def is_on_trial(self) -> bool:
        """Whether an answer is trying it after a failure (rule 2)."""
        return self.circuit == "half_open" and self._trials > 0

    def is_called(self, name: str) -> bool:
        """Whether `name` means this engine: its own name, or its model's."""
        info = self.engine.info()
        return name == self.engine.name or (info is not None and name == info.model)

    def asked(self) -> None:
        """Say that an answer begins; it ends with `failed`, `worked` or `left`."""
        self._trials += 1

    def left(self) -> None:
        """Say that an answer ended, and nothing about the engine."""
        self._trials -= 1

    def failed(self, reason: str) -> None:
        """Say that it failed while it answered; it is started again before it is asked again."""
        self._trials -= 1
        self.reason = reason
        self._open()
        self._failed.set()

    def worked(self) -> None:
        """Say that it answered."""
        self._trials -= 1
        self._backoff.worked()
        if self.circuit == "half_open":
            self.circuit, self.reason = "closed", ""

    async def wait_usable(self) -> None:
        """Wait until it can be asked."""
        await self._usable.wait()

    async def run(self) -> None:
        """Start it and keep it started, for ever."""
        loop = asyncio.get_running_loop()
        backoff = self._backoff
        while True:
            try:
                self._before_load()
                await self.engine.start()
            except TarsdError as error:
                self._note_failure(str(error))
                await asyncio.sleep(backoff.failed())
                continue
            self._note_start()
            since = loop.time()
            await self._until_failed()
            if self.reason:
                _log.debug("engine %s is started again: %s", self.engine.name, self.reason)
            await asyncio.sleep(backoff.failed(loop.time() - since))

    async def _until_failed(self) -> None:
        while not self._failed.is_set() and self.engine.info() is not None:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._failed.wait()
            except TimeoutError:
                continue
        self._open()

    def _open(self) -> None:
        self.circuit = "open"
        if self._usable.is_set():
            self._usable.clear()
            self._changed()

    def _note_failure(self, reason: str) -> None:
        if reason != self.reason:  # the first failure is news, its repetitions are not
            _log.warning("engine %s cannot be used: %s", self.engine.name, reason)
        self.reason = reason
        self._open()

    def _note_start(self) -> None:
        info = self.engine.info()
        _log.info("engine %s is ready with %s", self.engine.name, info.model if info is not None else "no model")
        self.circuit = "half_open" if self._failed.is_set() else "closed"
        if self.circuit == "closed":
            self.reason = ""
        self._failed.clear()
        self._usable.set()
        self._changed()
