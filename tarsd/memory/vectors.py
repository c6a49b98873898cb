"""The vector index seen from the daemon: a worker holds it, this keeps it in step with the store and asks it.

Rules
1. The store is the truth. After every start of the worker the ids on both sides are compared and the difference made up.
2. Between starts the index follows the store's commits: what is gone is taken out first, then new vectors go in.
3. A worker that came back is another one: nothing it says counts before rule 1 was done again.
4. The file is saved at once after a removal (what is forgotten must leave the disk), else when writing pauses.
5. What is not visible in the store is never returned, whatever the index still holds.
"""

from __future__ import annotations

import array
import asyncio
import hashlib
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec

from tarsd.errors import TarsdError, Unavailable
from tarsd.memory.library import Change
from tarsd.memory.store import Store
from tarsd.memory.vector_messages import AddRequest, NearestItem, NearestRequest, VectorSettings, VectorState
from tarsd.names import RecordId
from tarsd.wire import decode
from tarsd.workers import SupervisedWorker, Worker, WorkerLimits

_log = logging.getLogger(__name__)

SAVE_AFTER_S = 10.0  # of quiet; a save writes the whole file
SAVE_AT_LEAST_S = 60.0  # while writing goes on
_LOOK_S = 2.0  # how soon a worker that came back unasked is noticed
_RETRY_S = 1.0
_STEP_S = 60.0  # deadline of one step of keeping in step; a save of a million vectors takes seconds
_STOP_SAVE_S = 2.0

WORKER = "tarsd.memory.vector_worker:VectorWorker"


class VectorStatus(msgspec.Struct, frozen=True):
    """How the index is; `reason` says why it cannot be used now."""

    ready: bool
    model: str
    vectors: int
    reason: str
    restarts: int


def supervised_worker(settings: VectorSettings) -> Worker:
    """Return the process that holds the index."""
    return SupervisedWorker("vectors", WORKER, settings, limits=WorkerLimits(no_network=True))


class VectorIndex:
    """Nearest passages by the vectors of one model at a time."""

    def __init__(
        self, store: Store, folder: Path, *, make_worker: Callable[[VectorSettings], Worker] = supervised_worker
    ) -> None:
        self._store = store
        self._folder = folder
        self._make_worker = make_worker
        self._worker: Worker | None = None
        self._model = ""
        self._unsubscribe: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._dirty = asyncio.Event()
        self._removed: list[int] = []
        self._after = 0  # the store's number of the last vector that is in
        self._vectors = 0
        self._pid: int | None = None  # the process that is in step (rule 3)
        self._reason = "it was not started"
        self._unsaved_since: float | None = None

    async def start(self, model: str, dimension: int) -> None:
        """Start the worker and begin to fill it; `search` works as soon as the two are in step.

        Raises `EngineUnavailable` when the worker cannot be started at all (FAISS is not installed).
        """
        await self.stop()
        self._model = model
        self._reason = "it is being loaded"
        name = hashlib.sha256(model.encode()).hexdigest()[:16]
        worker = self._make_worker(VectorSettings(str(self._folder / f"{name}.vectors"), model, dimension))
        await worker.start()
        self._worker = worker
        self._unsubscribe = self._store.subscribe(self._changed)
        self._task = asyncio.create_task(self._follow(worker), name="vector index")

    async def stop(self) -> None:
        """Save what is not saved yet and end the worker, within a few seconds."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        worker, self._worker = self._worker, None
        if worker is not None:
            await self._save_last(worker)
            await worker.stop()
        self._reason = "it was stopped"

    async def search(self, vector: bytes, count: int, *, deadline_s: float = 2.0) -> list[tuple[RecordId, float]]:
        """Return the `count` visible passages nearest to a normalised vector, with cosines, best first.

        Raises `Unavailable` with the reason while the index cannot be used, `DeadlineExceeded`, or `InvalidInput`
        for a vector of another dimension.
        """
        worker = self._ready_worker()
        (answer,) = await _ask(worker, "nearest", NearestRequest(vector, count), deadline_s)
        nearest = decode(answer, NearestItem)
        names = await self._store.names(nearest.ids)
        pairs = zip(nearest.ids, nearest.scores, strict=True)
        return [(names[local], score) for local, score in pairs if local in names]

    def status(self) -> VectorStatus:
        """Return how the index is."""
        restarts = self._worker.restarts if self._worker is not None else 0
        return VectorStatus(self._is_in_step(), self._model, self._vectors, self._reason, restarts)

    async def rebuild(self) -> int:
        """Empty the index and fill it from the store; return how many vectors it holds. Raises as `search`."""
        worker = self._ready_worker()
        await _ask(worker, "clear", b"", _STEP_S)
        self._pid = None
        self._reason = "it is being rebuilt"
        self._dirty.set()
        while self._reason and self._task is not None:
            await asyncio.sleep(_LOOK_S / 20)
        return self._vectors

    # --- keeping in step --------------------------------------------------------------------------------------

    def _is_in_step(self) -> bool:
        worker = self._worker
        return worker is not None and self._pid is not None and worker.state == "ready" and worker.pid == self._pid

    def _ready_worker(self) -> Worker:
        if self._worker is None or not self._is_in_step():
            self._dirty.set()
            raise Unavailable(f"the vector index cannot be used: {self._reason or 'its worker was lost'}")
        return self._worker

    def _changed(self, change: Change) -> None:
        self._removed.extend(change.removed)
        if change.removed or change.model == self._model:
            self._dirty.set()

    async def _follow(self, worker: Worker) -> None:
        while True:
            try:
                if not self._is_in_step():
                    await self._make_up(worker)
                await self._catch_up(worker)
                await self._wait(worker)
            except TarsdError as error:
                self._pid = None
                self._reason = str(error)
                _log.debug("the vector index is not in step: %s", error)
                await asyncio.sleep(_RETRY_S)

    async def _make_up(self, worker: Worker) -> None:
        """Rule 1."""
        await worker.start()  # waits for a lost one to come back
        pid = worker.pid
        self._removed.clear()
        self._after = await self._store.newest_vector(self._model)
        held = {number for piece in await _ask(worker, "ids", b"", _STEP_S) for number in _ids(piece)}
        wanted = set(await self._store.vector_ids(self._model))
        if extra := held - wanted:
            await self._remove(worker, sorted(extra))
        if missing := wanted - held:
            await self._add(worker, 0, missing)
        await self._count(worker)
        self._pid, self._reason = pid, ""

    async def _catch_up(self, worker: Worker) -> None:
        """Rule 2."""
        self._dirty.clear()
        if self._removed:
            removed, self._removed = self._removed, []
            await self._remove(worker, removed)
            await self._save(worker)
        if await self._add(worker, self._after):
            await self._count(worker)

    async def _wait(self, worker: Worker) -> None:
        """Wait for a change, saving meanwhile (rule 4)."""
        now = asyncio.get_running_loop().time
        while not self._dirty.is_set() and self._is_in_step():
            quiet_since = now()
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._dirty.wait()
            except TimeoutError:
                pass
            since = self._unsaved_since
            if since is not None and (now() - quiet_since >= _LOOK_S or now() - since >= SAVE_AT_LEAST_S):
                await self._save(worker)

    async def _add(self, worker: Worker, after: int, only: set[int] | None = None) -> int:
        added = 0
        async with aclosing(self._store.vectors(self._model, after)) as batches:
            async for batch in batches:
                chosen = [pair for pair in batch.vectors if only is None or pair[0] in only]
                if chosen:
                    packed = AddRequest(_packed([local for local, _ in chosen]), b"".join(vec for _, vec in chosen))
                    await _ask(worker, "add", packed, _STEP_S)
                    added += len(chosen)
                    self._touch()
                self._after = max(self._after, batch.last)
        return added

    async def _remove(self, worker: Worker, ids: Sequence[int]) -> None:
        await _ask(worker, "remove", _packed(ids), _STEP_S)
        self._touch()
        await self._count(worker)

    async def _count(self, worker: Worker) -> None:
        (answer,) = await _ask(worker, "state", b"", _STEP_S)
        state = decode(answer, VectorState)
        self._vectors = state.vectors
        if state.problem:
            _log.warning("%s; it was filled from the records", state.problem)

    def _touch(self) -> None:
        if self._unsaved_since is None:
            self._unsaved_since = asyncio.get_running_loop().time()

    async def _save(self, worker: Worker) -> None:
        await _ask(worker, "save", b"", _STEP_S)
        self._unsaved_since = None

    async def _save_last(self, worker: Worker) -> None:
        if self._unsaved_since is None or not self._is_in_step_of(worker):
            return
        try:
            await _ask(worker, "save", b"", _STOP_SAVE_S)
        except TarsdError as error:
            _log.debug("the vector index was not saved: %s", error)  # it is filled again at the next start
        self._unsaved_since = None


async def _ask(worker: Worker, method: str, request: object, deadline_s: float) -> list[bytes]:
    async with aclosing(worker.call(method, request, deadline_s=deadline_s)) as items:
        return [item async for item in items]


def _packed(ids: Sequence[int]) -> bytes:
    packed = array.array("q", ids)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _ids(packed: bytes) -> array.array[int]:
    found = array.array("q", packed)
    if sys.byteorder == "big":
        found.byteswap()
    return found
