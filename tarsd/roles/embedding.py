"""Keeps every passage, summary and memory embedded and findable: new ones, those from peers, of another model's time.

Rules
1. The model is loaded in the background and again after a loss, with growing pauses; then the index is started for it.
2. One small batch at a time, so that a person's question goes between two of them.
3. What lacks a vector is asked of the store each time, so nothing is lost whatever was interrupted.
4. When another model was chosen, the one before it serves, with its own index, until the new one has embedded
   `SWITCH_AT` of the texts (`roles.serving`); what comes meanwhile is embedded by both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import islice

from tarsd.errors import EngineUnavailable, TarsdError
from tarsd.memory.library import Change
from tarsd.memory.store import Store
from tarsd.memory.vector_table import Text
from tarsd.names import RecordId
from tarsd.roles.serving import EMBED_S, Pair, Serving
from tarsd.workers.backoff import Backoff

log = logging.getLogger(__name__)

BATCH = 16  # about 0.2 s of one core: a question never waits longer for its own vector
FETCHED = 256  # finding what lacks a vector looks through all texts
LOOK_S = 2.0  # how soon a lost model is noticed when nobody asks for it
_END = 1 << 62


class Embedding:
    """Embeds what the store holds without vectors, in the background and on request; owns engines and indexes."""

    def __init__(self, store: Store, serving: Serving, before_load: Callable[[], None] = lambda: None) -> None:
        self._before_load = before_load
        self._store = store
        self._serving = serving
        self._from = 0  # local ids up to this one are embedded
        self.writing = asyncio.Lock()  # held by who writes passages and embeds them, so that it is not done twice
        self._pass = (
            asyncio.Lock()
        )  # one looks for what is missing at a time, so that who is told "nothing" may trust it
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
        await self._serving.stop()

    def ended(self) -> bool:
        """Tell whether the task ended, which it never should."""
        return self._task is not None and self._task.done()

    async def embed(self, ids: Sequence[RecordId], progress: Callable[[int, int], None]) -> None:
        """Embed these records; hold `writing` meanwhile.

        Raises `Unavailable` when the engine is away (they are done later then).
        """
        remaining, done = iter(ids), 0
        while batch := list(islice(remaining, BATCH)):
            await self._embed(self._serving.chosen, await self._store.texts(batch))
            done += len(batch)
            progress(done, len(ids))

    async def missing(self, *, everywhere: bool = False) -> int:
        """Embed all that lacks a vector and return how many there were; raises `Unavailable`.

        It goes on where it was whole the last time; with `everywhere` it looks at all.
        """
        async with self._pass:
            after, self._from = (0 if everywhere else self._from), _END
            try:
                return await self._missing_after(after)
            except BaseException:
                self._from = min(self._from, after)
                raise

    async def _missing_after(self, after: int) -> int:
        done, chosen = 0, self._serving.chosen
        while True:
            await self._follow_old()
            async with self.writing:
                texts = await self._store.texts_without_vectors(_model(chosen), FETCHED, after)
            if not texts:
                await self._serving.consider()
                return done
            remaining = iter(texts)
            while batch := list(islice(remaining, BATCH)):
                await self._embed(chosen, batch)
                self._serving.embedded(len(batch))
            done += len(texts)
            await self._serving.consider()

    async def _follow_old(self) -> None:
        """Rule 4: what came after the last that the old model had embedded."""
        while (old := self._serving.old) is not None:
            texts = await self._store.texts_without_vectors(old.model, BATCH, old.after)
            if not texts:
                return
            try:
                await self._embed(old, texts)
            except TarsdError as error:
                log.debug("the old model is away: %s", error)
                return

    async def _embed(self, pair: Pair, texts: Sequence[Text]) -> None:
        if not texts:
            return
        item = await pair.engine.embed([each.text for each in texts], "passage", EMBED_S)
        pairs = [(each.name, vector) for each, vector in zip(texts, item.vectors, strict=True)]
        await self._store.put_vectors(item.model, pairs)

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            self._wake.clear()
            try:
                await self._serving.get_ready(self._before_load)
                if done := await self.missing():
                    log.info("%d texts embedded", done)
            except TarsdError as error:
                self._note(str(error))
                await asyncio.sleep(backoff.failed())
            else:
                self.problem = ""
                backoff = Backoff()
                await self._wait()

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
            self._from = min(self._from, min(change.added) - 1)
            self._wake.set()


def _model(pair: Pair) -> str:
    info = pair.engine.info()
    if info is None:
        raise EngineUnavailable("the embedding model is away")
    return info.model
