"""Keeps one engine of a chain usable: starts it, and starts it again whenever it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tarsd.engines.base import ChatEngine
from tarsd.errors import TarsdError
from tarsd.workers.backoff import Backoff

_log = logging.getLogger(__name__)

# An engine that came with a worker notices its loss by itself; asking costs nothing.
_LOOK_S = 1.0


class Keeper:
    """One engine with what is known of its health; `reason` is why it cannot be used, or why it failed last."""

    def __init__(self, engine: ChatEngine, before_load: Callable[[], None] = lambda: None) -> None:
        """`before_load` is told each time before a model is loaded, which may freeze a small PC for seconds."""
        self.engine = engine
        self._before_load = before_load
        self.reason = ""
        self.loading = True
        self._usable = asyncio.Event()
        self._failed = asyncio.Event()

    @property
    def usable(self) -> bool:
        """Whether it can be asked now."""
        return self._usable.is_set() and self.engine.info() is not None

    def is_called(self, name: str) -> bool:
        """Whether `name` means this engine: its own name, or its model's."""
        info = self.engine.info()
        return name == self.engine.name or (info is not None and name == info.model)

    def failed(self, reason: str) -> None:
        """Say that it failed while it answered; it is started again before it is asked again."""
        self.reason = reason
        self._usable.clear()
        self._failed.set()

    def worked(self) -> None:
        """Say that it answered."""
        self.reason = ""

    async def wait_usable(self) -> None:
        """Wait until it can be asked."""
        await self._usable.wait()

    async def run(self) -> None:
        """Start it and keep it started, for ever."""
        loop = asyncio.get_running_loop()
        backoff = Backoff()
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
        self._usable.clear()

    def _note_failure(self, reason: str) -> None:
        if reason != self.reason:  # the first failure is news, its repetitions are not
            _log.warning("engine %s cannot be used: %s", self.engine.name, reason)
        self.reason = reason
        self.loading = False

    def _note_start(self) -> None:
        info = self.engine.info()
        _log.info("engine %s is ready with %s", self.engine.name, info.model if info is not None else "no model")
        self.reason = ""
        self.loading = False
        self._failed.clear()
        self._usable.set()
