"""Keeps every passage embedded: those of a new document, those that came from peers, those of another model's time.

Rules
1. One batch at a time, and people's questions go between the batches.
2. An engine that is away is waited for; nothing is lost, since what lacks a vector is asked of the store each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import islice

from tarsd.calls import EmbedItem, Passage
from tarsd.engines.sentence_transformers import EmbeddingEngine
from tarsd.errors import TarsdError
from tarsd.memory.library import Change
from tarsd.memory.store import Store
from tarsd.names import RecordId

log = logging.getLogger(__name__)

BATCH = 16  # about 0.2 s of one core: a question never waits longer for its own vector
EMBED_S = 60.0
RETRY_S = 5.0


class Embedding:
    """Embeds what the store holds without vectors, in the background and on request."""

    def __init__(self, store: Store, engine: EmbeddingEngine) -> None:
        self._store = store
        self._engine = engine
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch the store."""
        self._store.subscribe(self._changed)
        self._task = asyncio.create_task(self._run(), name="embedding")

    async def stop(self) -> None:
        """End; a batch that is on its way is dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Look again now."""
        self._wake.set()

    def ended(self) -> bool:
        """Tell whether the task ended, which it never should."""
        return self._task is not None and self._task.done()

    async def embed(self, ids: Sequence[RecordId], progress: Callable[[int, int], None]) -> None:
        """Embed these passages; raises `Unavailable` when the engine is away (they are done later then)."""
        done = 0
        remaining = iter(ids)
        while batch := list(islice(remaining, BATCH)):
            await self._embed(await self._store.passages(batch))
            done += len(batch)
            progress(done, len(ids))

    async def missing(self) -> int:
        """Embed all that lacks a vector and return how many there were; raises `Unavailable`."""
        done = 0
        while True:
            info = await self._engine.ready()
            passages = await self._store.passages_without_vectors(info.model, BATCH)
            if not passages:
                return done
            await self._embed(passages)
            done += len(passages)

    async def _embed(self, passages: Sequence[Passage]) -> None:
        if not passages:
            return
        async with self._lock:
            item: EmbedItem = await self._engine.embed([p.text for p in passages], "passage", EMBED_S)
        pairs = [(RecordId(p.id), vector) for p, vector in zip(passages, item.vectors, strict=True)]
        await self._store.put_vectors(item.model, pairs)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                if done := await self.missing():
                    log.info("%d passages embedded", done)
            except TarsdError as error:
                log.debug("embedding waits: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            await self._wake.wait()

    def _changed(self, change: Change) -> None:
        if change.added:
            self._wake.set()
