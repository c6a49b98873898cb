"""Which embedding model answers searches: the chosen one, or the one before it while all is embedded anew.

Rules
1. An index serves with the model that made its vectors, never with another.
2. When the chosen model has embedded less than `SWITCH_AT` of the texts and another one had embedded more, that one is
   loaded too and serves; both are in memory then, which is the price for searches that lose nothing.
3. Where it cannot be loaded any more, keywords serve alone until the switch, and `degraded` says how far it is.
4. The switch is one step: when the new index holds what is embedded. Then the old engine and index are ended and the
   file of the old index is deleted; its vectors stay in the database until the night (the choice can be taken back).
5. Everything is found out from the store, so a restart goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tarsd.calls import EmbedItem
from tarsd.engines.base import EngineInfo
from tarsd.errors import EngineUnavailable, TarsdError, Unavailable
from tarsd.memory.store import Store
from tarsd.memory.vector_table import Coverage
from tarsd.memory.vectors import VectorIndex
from tarsd.workers import SupervisedWorker

log = logging.getLogger(__name__)

SWITCH_AT = 0.99
EMBED_S = 60.0
SETTLE_S = 120.0
PROBE = "dimension"


class Engine(Protocol):
    """What embeds; see `engines.sentence_transformers`."""

    @property
    def worker(self) -> SupervisedWorker | None:
        """Its process."""

    @property
    def model(self) -> str:
        """The model that it will load, "" where there is none."""

    async def start(self) -> None:
        """Load it; raises `Unavailable`."""

    async def stop(self) -> None:
        """End it."""

    def info(self) -> EngineInfo | None:
        """Return what is loaded."""

    async def embed(self, texts: list[str], purpose: str, deadline_s: float) -> EmbedItem:
        """Return vectors; raises `Unavailable`, `DeadlineExceeded`."""


@dataclass
class Pair:
    """An engine and the index of its vectors; `model` is the one that the index was started for."""

    engine: Engine
    index: VectorIndex
    model: str = ""
    after: int = 0  # of an old one: it embeds what came after this local id

    async def start_index(self, model: str) -> None:
        """Start the index for the loaded model."""
        probe = await self.engine.embed([PROBE], "query", EMBED_S)
        await self.index.start(model, probe.dimension)
        self.model = model

    async def stop(self) -> None:
        """End both."""
        await asyncio.gather(self.index.stop(), self.engine.stop())


class Serving:
    """Holds the chosen pair and, for a time, the old one. `make_engine` is given a folder, "" for the bundled model."""

    def __init__(
        self, store: Store, make_engine: Callable[[str], Engine], make_index: Callable[[], VectorIndex], folder: str
    ) -> None:
        self._store = store
        self._make_engine = make_engine
        self._make_index = make_index
        self._folder = folder
        self.chosen = Pair(make_engine(folder), make_index())
        self.old: Pair | None = None
        self._is_looked_at = False  # whether there is an old one
        self._coverage: Coverage | None = None  # of the chosen model while all is embedded anew

    async def stop(self) -> None:
        """End all."""
        await asyncio.gather(*(pair.stop() for pair in self.pairs()))

    def pairs(self) -> list[Pair]:
        """Return what is held."""
        return [self.chosen] if self.old is None else [self.chosen, self.old]

    def serving(self) -> Pair:
        """Return what answers searches now; raises `Unavailable` with the progress (rule 3)."""
        if self.old is not None:
            return self.old
        if self._coverage is not None:
            raise Unavailable(self.progress())
        return self.chosen

    def model(self) -> str:
        """Return the model that serves, "" for none."""
        return self.old.model if self.old is not None else "" if self._coverage is not None else self.chosen.model

    def progress(self) -> str:
        """Return how far embedding anew is, "" when there is nothing to do."""
        return "" if self._coverage is None else f"re-embedding {self._coverage.embedded} of {self._coverage.texts}"

    async def get_ready(self, before_load: Callable[[], None]) -> None:
        """Have the model loaded and the index started for it, the old one first; raises `Unavailable`."""
        if not self._is_looked_at:
            await self._look_for_old(self.chosen.engine.model)
            self._is_looked_at = True
        elif self.old is not None and self.old.engine.info() is None:
            await self._revive(self.old)
        engine = self.chosen.engine
        if engine.info() is None:
            before_load()
            await engine.start()
        if (info := engine.info()) is None:
            raise EngineUnavailable("the embedding model is away")
        if self.chosen.model != info.model:
            await self._store.note_folder(info.model, self._folder)
            await self.chosen.start_index(info.model)

    async def _look_for_old(self, chosen: str) -> None:
        """Rule 2."""
        counts, coverage = await self._store.models(), await self._store.coverage(chosen)
        older = {model: count for model, count in counts.items() if model != chosen}
        name = max(older, key=lambda model: older[model], default="")
        if not name or coverage.reaches(SWITCH_AT) or older[name] <= counts.get(chosen, 0):
            return
        self._coverage = coverage
        folder, after = await self._store.folder_of(name), await self._store.newest_embedded(name)
        pair = Pair(self._make_engine(folder), self._make_index(), after=after)
        try:
            await self._revive(pair)
            if (info := pair.engine.info()) is None or info.model != name:
                raise EngineUnavailable("its folder holds another model now")
            await pair.start_index(name)
        except TarsdError as error:
            log.warning("the vectors of the model %s cannot be used: %s", name, error)
            await pair.stop()
            return
        self.old = pair
        log.info("searches are answered by the model %s while all is embedded anew", name)

    async def _revive(self, pair: Pair) -> None:
        if not pair.engine.model:
            raise EngineUnavailable("its folder is gone")
        await pair.engine.start()

    def embedded(self, count: int) -> None:
        """Note that the chosen model embedded more."""
        if self._coverage is not None:
            self._coverage = self._coverage._replace(embedded=self._coverage.embedded + count)

    async def consider(self) -> None:
        """Switch to the chosen model when it has come far enough (rule 4)."""
        if self._coverage is None:
            return
        self._coverage = await self._store.coverage(self.chosen.model)
        if not self._coverage.reaches(SWITCH_AT):
            return
        try:
            async with asyncio.timeout(SETTLE_S):
                await self.chosen.index.settled()
        except TimeoutError:
            log.warning("the new vector index is not in step yet: the old one serves on")
            return
        old, self.old, self._coverage = self.old, None, None
        log.info("searches are answered by the model %s from now on", self.chosen.model)
        if old is not None:
            await old.stop()
            await asyncio.to_thread(old.index.delete_file)

    async def let_go(self, within_s: float) -> None:
        """See `VectorIndex.let_go`, of all that is held."""
        await asyncio.gather(*(pair.index.let_go(within_s) for pair in self.pairs()))

    def holds(self, file: Path) -> bool:
        """Say whether a file is of an index that is held, and sees to what is forgotten by itself."""
        return any(pair.index.holds(file) for pair in self.pairs())
