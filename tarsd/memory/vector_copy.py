"""What the worker of the vector index holds of one model: filled, compared with the store, mended, saved.

Rules
1. The file is saved at once after a removal (what is forgotten must leave the disk), else when writing pauses.
2. What is put right by ids does not move `after`: what was put meanwhile would be passed over for good.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from tarsd.errors import TarsdError
from tarsd.memory.store import Store
from tarsd.memory.vector_messages import DIGEST_BYTES, AddRequest, Digest, VectorState, digest_of
from tarsd.wire import decode
from tarsd.workers import Worker

_log = logging.getLogger(__name__)

SAVE_AFTER_S = 10.0  # of quiet; a save writes the whole file
SAVE_AT_LEAST_S = 60.0  # while writing goes on
STEP_S = 60.0  # deadline of one step of keeping in step; a save of a million vectors takes seconds
_STOP_SAVE_S = 2.0


class VectorCopy:
    """The vectors of one model as a worker holds them, over all its restarts. Every step raises as a call does."""

    def __init__(self, store: Store, worker: Worker, model: str, save_after_s: float = SAVE_AFTER_S) -> None:
        self._store = store
        self._worker = worker
        self._model = model
        self._save_after_s = save_after_s
        self._after = 0  # the store's number of the last vector that is in
        self._unsaved: tuple[float, float] | None = None  # when the first and the last unsaved change were made
        self.vectors = 0  # held, as last counted

    async def make_up(self) -> None:
        """Compare the ids with the store's, and make up the difference."""
        self._after = await self._store.newest_vector(self._model)
        held = {local for piece in await self._ask("ids") for local in decode(piece, list[int])}
        wanted = set(await self._store.vector_ids(self._model))
        if extra := held - wanted:
            await self.remove(sorted(extra))
        if missing := wanted - held:
            await self._add(0, missing)
        await self._count()

    async def add_new(self) -> None:
        """Add what the store committed since."""
        if await self._add(self._after):
            await self._count()

    async def remove(self, ids: list[int]) -> None:
        """Take vectors out, of the file too (rule 1)."""
        await self._ask("remove", ids)
        self._touch()
        await self._save()
        await self._count()

    async def mend(self) -> int:
        """Compare ids and vectors with the store, put right what differs; return how much did."""
        held: dict[int, bytes] = {}
        for piece in await self._ask("digests"):
            item = decode(piece, Digest)
            cut = [item.digests[at : at + DIGEST_BYTES] for at in range(0, len(item.digests), DIGEST_BYTES)]
            held.update(zip(item.ids, cut, strict=True))
        wrong = 0
        async with aclosing(self._store.vectors(self._model)) as batches:
            async for batch in batches:
                chosen = [pair for pair in batch.vectors if held.pop(pair[0], b"") != digest_of(pair[1])]
                wrong += len(chosen)
                await self._put(chosen)
        if held:  # of what is not in the store; what is forgotten meanwhile is taken out after this
            await self.remove(sorted(held))
        await self._count()
        return wrong + len(held)

    async def save_if_due(self) -> None:
        """Save when writing paused, or went on for long."""
        if self._unsaved is None:
            return
        now = asyncio.get_running_loop().time()
        first, last = self._unsaved
        if now - last >= self._save_after_s or now - first >= SAVE_AT_LEAST_S:
            await self._save()

    async def save_last(self) -> None:
        """Save what is not saved yet, before the worker ends; a failure is no harm."""
        if self._unsaved is None:
            return
        try:
            await self._ask("save", deadline_s=_STOP_SAVE_S)
        except TarsdError as error:
            _log.debug("the vector index was not saved: %s", error)  # it is filled again at the next start
        self._unsaved = None

    async def _add(self, after: int, only: set[int] | None = None) -> int:
        added = 0
        async with aclosing(self._store.vectors(self._model, after)) as batches:
            async for batch in batches:
                chosen = [pair for pair in batch.vectors if only is None or pair[0] in only]
                await self._put(chosen)
                added += len(chosen)
                if only is None:  # rule 2
                    self._after = max(self._after, batch.last)
        return added

    async def _put(self, pairs: list[tuple[int, bytes]]) -> None:
        if pairs:
            ids, vectors = [place for place, _ in pairs], b"".join(vector for _, vector in pairs)
            await self._ask("add", AddRequest(ids, vectors))
            self._touch()

    async def _count(self) -> None:
        (answer,) = await self._ask("state")
        state = decode(answer, VectorState)
        self.vectors = state.vectors
        if state.problem:
            _log.warning("%s; it is filled from the records", state.problem)

    def _touch(self) -> None:
        now = asyncio.get_running_loop().time()
        self._unsaved = (self._unsaved[0] if self._unsaved else now, now)

    async def _save(self) -> None:
        await self._ask("save")
        self._unsaved = None

    async def _ask(self, method: str, request: object = b"", deadline_s: float = STEP_S) -> list[bytes]:
        return await ask(self._worker, method, request, deadline_s)


async def ask(worker: Worker, method: str, request: object, deadline_s: float) -> list[bytes]:
    """Return all that the worker answers; raises as `Worker.call`."""
    async with aclosing(worker.call(method, request, deadline_s=deadline_s)) as items:
        return [item async for item in items]
