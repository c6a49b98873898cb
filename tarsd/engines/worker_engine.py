"""What the engines that live in a worker have in common."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from tarsd import calls, config
from tarsd.engines.base import EngineInfo
from tarsd.errors import EngineUnavailable
from tarsd.wire import decode
from tarsd.workers import SupervisedWorker, WorkerLimits

_DESCRIBE_S = 10.0
# A call that was cancelled is open in the worker until its next token; it does not keep the next one out.
CANCELLED_BESIDE = 4


class WorkerChatEngine:
    """A chat engine whose worker offers `describe` (one `EngineInfo`), `generate` (`ChatItem`s without names), and
    `keep_nothing`."""

    kind: str
    target: str
    start_timeout_s = 120.0
    silence_s = 30.0
    stuck_s = 0.0

    def __init__(self, settings: config.Engine, *, name: str) -> None:
        self.name = name
        self.settings = settings
        self._worker: SupervisedWorker | None = None
        self._info: EngineInfo | None = None

    def worker_settings(self) -> msgspec.Struct:
        """Return what the worker's class is built from; raises `EngineUnavailable` when that cannot be said."""
        raise NotImplementedError

    def limits(self) -> WorkerLimits:
        """A model needs no network, so a broken model file cannot use it."""
        return WorkerLimits(no_network=True)

    def at_once(self) -> int:
        """Return how many answers the worker generates at once; above 1 its class has a `tick`."""
        return 1

    @property
    def worker(self) -> SupervisedWorker | None:
        """The worker, for supervision and status; None before the first start."""
        return self._worker

    async def start(self) -> None:
        """Load the model in the worker; see `ChatEngine.start`."""
        if self._worker is None:
            self._worker = SupervisedWorker(
                self.name,
                self.target,
                self.worker_settings(),
                limits=self.limits(),
                start_timeout_s=self.start_timeout_s,
                silence_s=self.silence_s,
                stuck_s=self.stuck_s,
                at_once=self.at_once() + CANCELLED_BESIDE if self.at_once() > 1 else 1,
            )
        await self._worker.start()
        async with aclosing(self._worker.call("describe", b"", deadline_s=_DESCRIBE_S)) as answer:
            async for item in answer:
                self._info = decode(item, EngineInfo)

    async def stop(self) -> None:
        """End the worker within 3 s."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()

    def info(self) -> EngineInfo | None:
        """Return what is loaded; None while the worker is away."""
        return self._info if self._worker is not None and self._worker.state == "ready" else None

    async def keep_nothing(self) -> None:
        """Drop what the worker keeps of questions that were answered, so that others begin alike.

        Raises `Unavailable` or `DeadlineExceeded` when it did not: it is to be asked again.
        """
        if self.info() is not None and self._worker is not None:
            async with aclosing(self._worker.call("keep_nothing", b"", deadline_s=_DESCRIBE_S)) as answer:
                async for _ in answer:
                    pass

    async def generate(self, request: calls.ChatRequest, deadline_s: float) -> AsyncGenerator[calls.ChatItem, None]:
        """Yield the answer; see `ChatEngine.generate`."""
        if self._worker is None or self._info is None:
            raise EngineUnavailable(f"{self.name} is not loaded")
        named = False
        async with aclosing(self._worker.call("generate", request, deadline_s=deadline_s)) as answer:
            async for data in answer:
                item = decode(data, calls.ChatItem)
                if item.finish_reason:
                    self._worker_did_well()
                if not named:
                    named = True
                    item = msgspec.structs.replace(item, engine=self._info.engine, model=self._info.model)
                yield item

    def _worker_did_well(self) -> None:
        if self._worker is not None:
            self._worker.did_well()
