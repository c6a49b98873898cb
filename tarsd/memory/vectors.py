"""The vector index seen from the daemon: a worker holds it, this asks it and decides when `vector_copy` acts.

Rules
1. The store is the truth. After every start of the worker both sides compare their ids and the difference is made up.
2. Between starts the index follows the store's commits: what is gone is taken out first, then new vectors go in.
3. A worker that came back is another one: nothing it says counts before rule 1 was done again.
4. What is not visible in the store is never returned, whatever the index still holds.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from tarsd.errors import DeadlineExceeded, TarsdError, Unavailable
from tarsd.memory.store import Store
from tarsd.memory.vector_copy import SAVE_AFTER_S, STEP_S, VectorCopy, ask
from tarsd.memory.vector_messages import NearestItem, NearestRequest, VectorSettings
from tarsd.memory.vector_table import RECOLLECTIONS, Change, Recollection, places_of
from tarsd.names import RecordId
from tarsd.wire import decode
from tarsd.workers import SupervisedWorker, Worker, WorkerLimits

_log = logging.getLogger(__name__)

_LOOK_S = 2.0  # how soon a worker that was lost is noticed when nobody asks
_RETRY_S = 1.0
_REBUILD_S = 600.0

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
        self,
        store: Store,
        folder: Path,
        *,
        make_worker: Callable[[VectorSettings], Worker] = supervised_worker,
        save_after_s: float = SAVE_AFTER_S,
    ) -> None:
        self._store = store
        self._folder = folder
        self._make_worker = make_worker
        self._save_after_s = save_after_s
        self._worker: Worker | None = None
        self._model = ""
        self._unsubscribe: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._dirty = asyncio.Event()
        self._removed: list[int] = []
        self._copy: VectorCopy | None = None
        self._pid: int | None = None  # the process that is in step (rule 3)
        self._settled = asyncio.Event()
        self._mended: asyncio.Future[int] | None = None  # somebody waits for the two to be compared
        self._reason = "it was not started"

    async def start(self, model: str, dimension: int) -> None:
        """Start the worker and begin to fill it; `search` works as soon as the two are in step.

        Raises `EngineUnavailable` when the worker cannot be started at all (FAISS is not installed).
        """
        await self.stop()
        self._model = model
        self._reason = "it is being loaded"
        worker = self._make_worker(VectorSettings(str(self._folder / _file_name(model)), model, dimension))
        await worker.start()
        self._worker = worker
        self._copy = VectorCopy(self._store, worker, model, self._save_after_s)
        self._unsubscribe = self._store.subscribe(self._changed)
        self._task = asyncio.create_task(self._follow(worker, self._copy), name="vector index")

    async def stop(self) -> None:
        """Save what is not saved yet and end the worker, within a few seconds."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._worker is not None:
            if self._copy is not None and self._is_in_step():
                await self._copy.save_last()
            await self._worker.stop()
        self._worker = None
        self._out_of_step("it was stopped")

    async def settled(self) -> None:
        """Wait until all that the store had committed is in the index; give it a deadline of your own."""
        self._notice_loss()
        await self._settled.wait()

    async def let_go(self, within_s: float) -> None:
        """Return when no vector of what is gone from the store is left in the file, or the file itself is gone.

        Where the index cannot catch up in time its file is deleted: it is filled again from the store.
        """
        self._notice_loss()
        if self._pid is not None:
            try:
                async with asyncio.timeout(within_s):
                    await self._settled.wait()
                return
            except TimeoutError:
                _log.debug("the vector index is busy: its file is deleted")
        await asyncio.to_thread(self.delete_file)

    def holds(self, file: Path) -> bool:
        """Say whether a file is this index's own, and sees to what is forgotten by itself."""
        return bool(self._model) and file == self._folder / _file_name(self._model)

    def delete_file(self) -> None:
        """Delete the file; it is made again from the store. Blocks."""
        if self._model:
            (self._folder / _file_name(self._model)).unlink(missing_ok=True)

    @property
    def worker(self) -> Worker | None:
        """The worker, for supervision and status; None before the first start."""
        return self._worker

    async def search(self, vector: bytes, count: int, *, deadline_s: float = 2.0) -> list[tuple[RecordId, float]]:
        """Return the `count` visible passages nearest to a normalised vector, with cosines, best first.

        Raises `Unavailable` with the reason while the index cannot be used, `DeadlineExceeded`, or `InvalidInput`
        for a vector of another dimension.
        """
        nearest = await self._nearest(NearestRequest(vector, count, 0, RECOLLECTIONS), deadline_s)
        names = await self._store.names([place for place, _ in nearest])
        return [(names[place], score) for place, score in nearest if place in names]

    async def search_recollections(
        self, vector: bytes, count: int, *, deadline_s: float = 2.0
    ) -> list[tuple[Recollection, float]]:
        """Return the `count` current memories and summaries nearest to a vector; as `search`."""
        nearest = await self._nearest(NearestRequest(vector, count, RECOLLECTIONS), deadline_s)
        found = await self._store.recollections([place for place, _ in nearest])
        return [(found[place], score) for place, score in nearest if place in found]

    async def _nearest(self, request: NearestRequest, deadline_s: float) -> list[tuple[int, float]]:
        (answer,) = await ask(self._ready_worker(), "nearest", request, deadline_s)
        item = decode(answer, NearestItem)
        return list(zip(item.ids, item.scores, strict=True))

    def status(self) -> VectorStatus:
        """Return how the index is."""
        restarts = self._worker.restarts if self._worker is not None else 0
        return VectorStatus(self._is_in_step(), self._model, self._count(), self._reason, restarts)

    async def rebuild(self) -> int:
        """Empty the index and fill it from the store; return how many vectors it holds. Raises as `search`."""
        await ask(self._ready_worker(), "clear", b"", STEP_S)
        self._out_of_step("it is being rebuilt")
        try:
            async with asyncio.timeout(_REBUILD_S):
                await self._settled.wait()
        except TimeoutError:
            raise DeadlineExceeded(f"the vector index was not rebuilt in {_REBUILD_S:.0f} s") from None
        return self._count()

    async def mend(self) -> int:
        """Compare the index with the store, ids and vectors, put right what differs; return how much did.

        Raises `Unavailable` when the index is out of step or falls so meanwhile.
        """
        self._ready_worker()
        if self._mended is None or self._mended.done():
            self._mended = asyncio.get_running_loop().create_future()
        mended = self._mended
        self._dirty.set()
        return await asyncio.shield(mended)

    # --- keeping in step --------------------------------------------------------------------------------------

    def _is_in_step(self) -> bool:
        worker = self._worker
        return worker is not None and self._pid is not None and worker.state == "ready" and worker.pid == self._pid

    def _count(self) -> int:
        return self._copy.vectors if self._copy is not None else 0

    def _notice_loss(self) -> None:
        if self._pid is not None and not self._is_in_step():
            self._out_of_step("its worker was lost")

    def _out_of_step(self, reason: str) -> None:
        self._pid = None
        self._settled.clear()
        if self._mended is not None and not self._mended.done():
            self._mended.set_exception(Unavailable(f"the vector index cannot be compared: {reason}"))
        self._reason = reason
        self._dirty.set()

    def _ready_worker(self) -> Worker:
        self._notice_loss()
        if self._worker is None or self._pid is None:
            raise Unavailable(f"the vector index cannot be used: {self._reason}")
        return self._worker

    def _changed(self, change: Change) -> None:
        self._removed.extend(places_of(change.removed))
        if change.removed or change.model == self._model:
            self._settled.clear()
            self._dirty.set()

    async def _follow(self, worker: Worker, copy: VectorCopy) -> None:
        while True:
            try:
                if not self._is_in_step():
                    await self._make_up(worker, copy)
                await self._catch_up(copy)
                await copy.save_if_due()
                await self._wait()
            except TarsdError as error:
                self._out_of_step(str(error))
                _log.debug("the vector index is not in step: %s", error)
                await asyncio.sleep(_RETRY_S)

    async def _make_up(self, worker: Worker, copy: VectorCopy) -> None:
        """Rule 1."""
        await worker.start()  # waits for a lost one to come back
        pid = worker.pid
        self._removed.clear()
        await copy.make_up()
        self._pid, self._reason = pid, ""

    async def _catch_up(self, copy: VectorCopy) -> None:
        """Rule 2."""
        self._dirty.clear()
        if self._removed:
            removed, self._removed = self._removed, []
            await copy.remove(removed)
        await copy.add_new()
        if self._mended is not None and not self._mended.done():
            self._mended.set_result(await copy.mend())
        if not self._dirty.is_set() and self._is_in_step():
            self._settled.set()

    async def _wait(self) -> None:
        """Wait for a change, or a while."""
        try:
            async with asyncio.timeout(min(_LOOK_S, self._save_after_s)):
                await self._dirty.wait()
        except TimeoutError:
            return


def _file_name(model: str) -> str:
    return f"{hashlib.sha256(model.encode()).hexdigest()[:16]}.vectors"
