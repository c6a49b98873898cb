"""Keeps every passage embedded and findable: of new documents, of records from peers, of another model's time.

Rules
1. The model is loaded in the background and again after a loss, with growing pauses; then the index is started for it.
2. One small batch at a time, so that a person's question goes between two of them.
3. What lacks a vector is asked of the store each time, so nothing is lost whatever was interrupted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import islice

from tarsd.calls import EmbedItem, Passage
from tarsd.engines.base import EngineInfo
from tarsd.engines.sentence_transformers import EmbeddingEngine
from tarsd.errors import EngineUnavailable, TarsdError
from tarsd.memory.library import Change
from tarsd.memory.store import Store
from tarsd.memory.vectors import VectorIndex
from tarsd.names import RecordId
from tarsd.workers.backoff import Backoff

log = logging.getLogger(__name__)

BATCH = 16  # about 0.2 s of one core: a question never waits longer for its own vector
EMBED_S = 60.0
LOOK_S = 2.0  # how soon a lost model is noticed when nobody asks for it
PROBE = "dimension"


class Embedding:
    """Embeds what the store holds without vectors, in the background and on request; owns engine and index."""

    def __init__(
        self,
        store: Store,
        engine: EmbeddingEngine,
        index: VectorIndex,
        before_load: Callable[[], None] = lambda: None,
    ) -> None:
        self._before_load = before_load
        self._store = store
        self._engine = engine
        self._index = index
        self._indexed = ""  # the model that the index was started for
        self.writing = asyncio.Lock()  # held by who writes passages and embeds them, so that it is not done twice
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self.problem = "the embedding model is being loaded"

    async def start(self) -> None:
        """Begin; returns at once."""
        self._unsubscribe = self._store.subscribe(self._changed)
        self._task = asyncio.create_task(self._run(), name="embedding")

    async def stop(self) -> None:
        """End within a few seconds; a batch that is on its way is dropped."""
        self._unsubscribe()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(self._index.stop(), self._engine.stop())

    def ended(self) -> bool:
        """Tell whether the task ended, which it never should."""
        return self._task is not None and self._task.done()

    async def embed(self, ids: Sequence[RecordId], progress: Callable[[int, int], None]) -> None:
        """Embed these passages; hold `writing` meanwhile.

        Raises `Unavailable` when the engine is away (they are done later then).
        """
        remaining, done = iter(ids), 0
        while batch := list(islice(remaining, BATCH)):
            await self._embed(await self._store.passages(batch))
            done += len(batch)
            progress(done, len(ids))

    async def missing(self) -> int:
        """Embed all that lacks a vector and return how many there were; raises `Unavailable`."""
        info, done = self._info(), 0
        while True:
            async with self.writing:
                passages = await self._store.passages_without_vectors(info.model, BATCH)
                await self._embed(passages)
            if not passages:
                return done
            done += len(passages)

    def _info(self) -> EngineInfo:
        info = self._engine.info()
        if info is None:
            raise EngineUnavailable(self.problem or "the embedding model is away")
        return info

    async def _embed(self, passages: Sequence[Passage]) -> None:
        if not passages:
            return
        item: EmbedItem = await self._engine.embed([p.text for p in passages], "passage", EMBED_S)
        pairs = [(RecordId(p.id), vector) for p, vector in zip(passages, item.vectors, strict=True)]
        await self._store.put_vectors(item.model, pairs)

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            self._wake.clear()
            try:
                await self._get_ready()
                if done := await self.missing():
                    log.info("%d passages embedded", done)
            except TarsdError as error:
                self._note(str(error))
                await asyncio.sleep(backoff.failed())
            else:
                self.problem = ""
                backoff = Backoff()
                await self._wait()

    async def _get_ready(self) -> None:
        """Have the model loaded and the index started for it."""
        if self._engine.info() is None:
            self._before_load()
            await self._engine.start()
        model = self._info().model
        if self._indexed != model:
            probe = await self._engine.embed([PROBE], "query", EMBED_S)
            await self._index.start(model, probe.dimension)
            self._indexed = model

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._wake.wait()
        except TimeoutError:
            return

    def _note(self, problem: str) -> None:
        log.log(logging.DEBUG if problem == self.problem else logging.WARNING, "embedding waits: %s", problem)
        self.problem = problem

    def _changed(self, change: Change) -> None:
        if change.added:
            self._wake.set()
