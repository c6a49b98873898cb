"""How the models of the shelf become engines: what each needs, and what is done where its file is not here.

Rules
1. An engine of [cognitive] may name a model of the catalog; where its file is absent it is brought here behind, and the
   engine, which is tried again for ever, finds it then.
2. A model that is named by a question and absent is pulled. The question waits as long as that looks like less than
   `WAIT_S`; else it is refused with how far the pull is and when to come again. The pull goes on.
3. What a model needs is its file, its cache as configured, and `OVERHEAD_BYTES`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import msgspec

from tarsd.calls import PullItem, PullRequest
from tarsd.config import Engine
from tarsd.engines import base
from tarsd.engines.resident import Loadable
from tarsd.errors import InvalidInput, NotFound, Overloaded, StorageError, TarsdError, Unavailable
from tarsd.models.shelf import Entry, Shelf
from tarsd.wire import MIB
from tarsd.workers.backoff import Backoff

log = logging.getLogger(__name__)

OVERHEAD_BYTES = 96 * MIB  # llama.cpp's buffers and the interpreter
WAIT_S = 60.0
SURE_AFTER_S = 2.0  # before that a speed says nothing
FIRST_AGAIN_S, MOST_AGAIN_S = 5.0, 300.0


class Own(NamedTuple):
    """The engines of [cognitive] as they are started, what they need, and their models' names in the catalog."""

    engines: tuple[Engine, ...]
    needs_bytes: int
    names: tuple[str, ...]
    absent: tuple[str, ...]


async def _nobody_pulls(request: PullRequest) -> AsyncGenerator[PullItem, None]:
    raise NotFound(f"model {request.name!r} is not here")
    yield


class Loading:
    """What a node loads, by its shelf. `follow` yields the progress of a pull."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.follow: Callable[[PullRequest], AsyncGenerator[PullItem, None]] = _nobody_pulls

    def own(self, engines: Sequence[Engine]) -> Own:
        """Return the own engines with the names of the catalog replaced by their files (rule 1)."""
        chosen: list[Engine] = []
        needs, names, absent = 0, list[str](), list[str]()
        for engine in engines:
            if engine.kind != "llama_cpp":
                chosen.append(engine)
                continue
            entry = self._shelf.entry(engine.model) if engine.model else self._bundled()
            path = entry.path if entry is not None else Path(engine.model).expanduser()
            if entry is not None and engine.model:
                engine = msgspec.structs.replace(engine, model=str(path or self._shelf.store.path_of(entry.name)))
                names.append(entry.name)
                if path is None and entry.is_ours:
                    absent.append(entry.name)
            needs += self._needs(path, engine)
            chosen.append(engine)
        return Own(tuple(chosen), needs, tuple(names), tuple(absent))

    def find(self, name: str) -> Loadable | None:
        """Return how to load a model by its name; None for an unknown one. Blocks.

        Raises `InvalidInput` for a file that may not be used, `StorageError`.
        """
        entry = self._shelf.entry(name)
        if entry is None:
            return None
        if entry.path is None:
            if not entry.is_ours:
                raise Unavailable(f"model {name!r}: there is no file {entry.source}")
            path = self._shelf.store.path_of(name)
        else:
            path = self._shelf.verified(name)
        settings = _engine_of(entry, path)
        return Loadable(name, settings, self._needs(path, settings))

    def threads_of(self, name: str) -> int | None:
        """Return with how many threads a model is loaded on demand; None for an unknown one."""
        entry = self._shelf.entry(name)
        return base.threads(entry.settings.threads) if entry is not None else None

    async def fetch(self, name: str) -> AsyncGenerator[None, None]:
        """Yield while the file of a model is being brought here (rule 2).

        Raises `Overloaded` when that takes longer than a question waits, `Unavailable` when it fails.
        """
        entry = self._shelf.entry(name)
        if entry is None or entry.path is not None or not entry.is_ours:
            return
        began, first = time.monotonic(), -1
        async with aclosing(self.follow(PullRequest(name))) as items:
            async for item in items:
                if item.stage == "failed":
                    raise Unavailable(f"model {name!r} could not be fetched: {item.reason}")
                if item.stage == "fetching" and first < 0:
                    began, first = time.monotonic(), item.done_bytes
                if first >= 0 and (left_s := too_long_s(item, first, time.monotonic() - began)):
                    raise Overloaded(_how_far(item, left_s), retry_after_s=left_s)
                yield

    async def bring(self, names: Sequence[str]) -> None:
        """Bring the models of the own engines here, trying again for ever (rule 1)."""
        await asyncio.gather(*(self._bring(name) for name in names))

    async def _bring(self, name: str) -> None:
        backoff = Backoff(FIRST_AGAIN_S, MOST_AGAIN_S)
        while True:
            try:
                async with aclosing(self.follow(PullRequest(name))) as items:
                    async for item in items:
                        if item.stage == "done":
                            return
            except TarsdError as error:
                log.warning("model %s of [cognitive] cannot be fetched: %s", name, error)
            await asyncio.sleep(backoff.failed())

    def _bundled(self) -> Entry | None:
        return next((entry for entry in self._shelf.entries() if entry.source == "bundled"), None)

    def _needs(self, path: Path | None, engine: Engine) -> int:
        """Rule 3; 0 where the file cannot be read, which its engine will say better."""
        try:
            facts = self._shelf.facts(path) if path is not None else None
        except (InvalidInput, StorageError):
            return 0
        if facts is None:
            return 0
        trained = facts.header.context_tokens or engine.context_tokens
        tokens = engine.cache_tokens or min(engine.context_tokens, trained)
        return facts.size_bytes + tokens * facts.header.cache_bytes_per_token + OVERHEAD_BYTES


def _engine_of(entry: Entry, path: Path) -> Engine:
    listed = entry.settings
    return Engine(
        kind="llama_cpp",
        model=str(path),
        context_tokens=listed.context_tokens,
        threads=listed.threads,
        gpu_layers=listed.gpu_layers,
        slots=listed.slots,
        cache_tokens=listed.cache_tokens,
        warm_mib=listed.warm_mib,
    )


def too_long_s(item: PullItem, first_bytes: int, since_s: float) -> float:
    """Pure: return how many seconds a pull will still take where that is longer than a question waits, else 0."""
    if since_s >= WAIT_S:
        return WAIT_S
    got = item.done_bytes - first_bytes
    if item.stage != "fetching" or since_s < SURE_AFTER_S:
        return 0.0
    left_s = (item.total_bytes - item.done_bytes) / (got / since_s) if got > 0 else WAIT_S
    return left_s if since_s + left_s > WAIT_S else 0.0


def _how_far(item: PullItem, left_s: float) -> str:
    share = item.done_bytes / item.total_bytes if item.total_bytes else 0.0
    return (
        f"model {item.name!r} is being fetched from {item.origin}: {share:.0%} of {item.total_bytes // MIB} MiB are "
        f"here, about {max(1, round(left_s / 60))} min are left"
    )
