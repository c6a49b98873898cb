"""The queue of documents to take in: one at a time, in order, through restarts.

Rules
1. `submit` returns when the document is safe on disk; from then on it is taken in, whatever is killed in between.
2. One document, one job: the same bytes sent again while they wait are the waiting job; once known, a "duplicate".
3. A job ends as done, duplicate or failed; then its file is deleted. A document that cannot be read fails with its
   reason.
4. What is only unavailable now (a peer, an engine, the disk) is tried again, for as long as it takes, with growing
   pauses in which other jobs go first.
5. A job that was begun `MAX_ATTEMPTS` times and never came to an end has failed: it may be what kills the daemon.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

from msgspec.structs import replace

from tarsd.calls import IngestItem
from tarsd.config.schema import Documents
from tarsd.documents.bell import Bell
from tarsd.documents.chunk import Chunk
from tarsd.documents.document import ParsedDocument, admitted_name, main_language
from tarsd.documents.jobs_db import Job, JobsDb
from tarsd.documents.pages import Opened
from tarsd.documents.parser import DocumentParser
from tarsd.documents.spool import Spool
from tarsd.errors import DocumentError, NotFound, Overloaded, StorageError, TarsdError, Unavailable, place_of

_log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
MAX_WAITING = 1000  # documents in the spool; guards the disk
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0
_MAX_REASON = 2000


Known = Callable[[str], Awaitable[bool]]
Progress = Callable[[int, int], None]
Store = Callable[[ParsedDocument, list[Chunk], Progress], Awaitable[None]]


class IngestJobs:
    """Takes documents in, one after the other.

    `known(sha256)`: is the document in memory, whole? `store(document, chunks, progress)`: put it there, all or
    nothing, telling `progress(done, total)` on the way; it may be asked for the same document twice, after a crash.
    """

    def __init__(
        self, data_dir: Path, settings: Documents, *, known: Known, store: Store, parser: DocumentParser | None = None
    ) -> None:
        self._settings = settings
        self._known = known
        self._store = store
        self._parser = parser or DocumentParser(settings)
        self._db = JobsDb(data_dir / "jobs.db")
        self._spool = Spool(data_dir / "spool")
        self._bell = Bell()
        self._live: dict[str, Job] = {}  # the jobs that have not ended, in order
        self._pauses: dict[str, tuple[float, float]] = {}  # job: (not before, how long the pause is)
        self._running: tuple[str, asyncio.Task[None]] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the queue and go on where it was left; raises `StorageError`."""
        await self._db.open()
        active = await self._db.active()
        there = await self._spool.open([job.job for job in active])
        for job in active:
            self._live[job.job] = replace(job, stage="queued", done=0, total=0)
            if job.job not in there:
                await self._end(job, "failed", reason="its file was lost before it was read; please send it again")
        await self._db.prune()
        self._task = asyncio.create_task(self._run(), name="ingest jobs")

    async def stop(self) -> None:
        """Stop at once; what was begun is begun again at the next start, and not held against it (rule 5)."""
        task, self._task = self._task, None
        if task is None:
            return
        begun = self._live.get(self._running[0]) if self._running else None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        try:
            if begun is not None and begun.job in self._live:
                await self._db.update(replace(begun, stage="queued", attempts=max(begun.attempts - 1, 0)))
        finally:
            self._live.clear()
            await self._db.close()

    async def submit(
        self, file: str, chunks: AsyncIterator[bytes], size_bytes: int, sha256: str, language: str = ""
    ) -> str:
        """Take a document in and return its job's id; `chunks` is not read when nothing needs to be sent (rule 2).

        Raises `DocumentError` for an empty or too large one, `InvalidInput` for bytes that are not those announced,
        `Overloaded`, `StorageError`. When cancelled, or when it raises, nothing is kept.
        """
        file = admitted_name(file, size_bytes, sha256, self._settings.max_file_mib)
        job = Job(secrets.token_hex(8), file, size_bytes, sha256, language)
        if await self._known(sha256):
            await self._db.insert(replace(job, stage="duplicate"))
            await self._db.prune()
            return job.job
        if waiting := await self._db.active(sha256):
            return waiting[0].job
        if len(self._live) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} documents are waiting already", retry_after_s=60)
        await self._spool.receive(job.job, chunks, size_bytes, sha256)
        # Shielded: a caller that hangs up now must not part the row, which is written, from its file.
        accepting = asyncio.ensure_future(self._accept(job))
        return await asyncio.shield(accepting)

    async def follow(self, job: str) -> AsyncGenerator[IngestItem, None]:
        """Yield the job's state now and at each change until it has ended; raises `NotFound`.

        A slow reader misses states in between, never the last one. While it waits for something (rule 4) `reason` says
        for what.
        """
        shown: Job | None = None
        while True:
            ring = self._bell.next_ring()
            now = self._live.get(job)
            if now is None:
                break
            if now == shown:
                await ring.wait()
            else:
                shown = now
                yield now.item()
        ended = await self._db.find(job)
        if ended is None:
            raise NotFound(f"there is no ingest job {job}")
        yield ended.item()

    async def recent(self, limit: int = 50) -> list[IngestItem]:
        """Return the jobs, newest first."""
        return [self._live.get(job.job, job).item() for job in await self._db.newest(limit)]

    async def forget(self, sha256: str) -> None:
        """Delete every trace of a document here: its jobs, their names, a waiting file; one being read is broken off.

        Call it before the document is deleted from memory: afterwards nothing of it comes from here any more.
        """
        jobs = await self._db.forget(sha256)
        if self._running is not None and self._running[0] in jobs:
            work = self._running[1]
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        for job in jobs:
            self._live.pop(job, None)
            self._pauses.pop(job, None)
            await self._spool.delete(job)
        self._bell.ring()

    def ended(self) -> bool:
        """Tell whether the queue's task ended while it should run, which it never should."""
        return self._task is not None and self._task.done()

    def waiting(self) -> int:
        """Return how many documents have not ended."""
        return len(self._live)

    async def _accept(self, job: Job) -> str:
        """Write the job down; where the same document came in beside it, that one is the job (rule 2)."""
        try:
            if await self._db.insert(job):
                self._live[job.job] = job
                self._bell.ring()
                return job.job
            waiting = await self._db.active(job.sha256)
        finally:
            if job.job not in self._live:
                await self._spool.delete(job.job)
        if not waiting:
            raise Overloaded("the same document was taken in this very moment; ask again")
        return waiting[0].job

    async def _run(self) -> None:
        while True:
            job = await self._next()
            work = asyncio.create_task(self._take_in(job), name=f"ingest {job.job}")
            self._running = job.job, work
            try:
                await asyncio.wait([work])  # its own cancelling (`forget`) is not ours
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                self._running = None

    async def _next(self) -> Job:
        """Wait for the first job whose pause is over."""
        loop = asyncio.get_running_loop()
        while True:
            ring = self._bell.next_ring()
            due = {job: self._pauses.get(job, (0.0, 0.0))[0] for job in self._live}
            if ready := next((job for job, when in due.items() if when <= loop.time()), None):
                return self._live[ready]
            try:
                async with asyncio.timeout_at(min(due.values(), default=None)):
                    await ring.wait()
            except TimeoutError:
                continue

    async def _take_in(self, job: Job) -> None:
        """Bring one job to its end, or put it back; nothing that it raises would be seen, so it raises nothing."""
        try:
            await self._work(job)
        except (Unavailable, StorageError) as error:
            await self._try_later(job, str(error))
        except TarsdError as error:
            await self._end_surely(job, str(error))
        except Exception as error:
            _log.error("ingest job %s failed: %s", job.job, place_of(error))
            await self._end_surely(job, "internal error")

    async def _work(self, job: Job) -> None:
        if job.attempts >= MAX_ATTEMPTS:
            raise DocumentError(f"given up: the daemon was stopped {job.attempts} times while it read this document")
        job = await self._change(job, stage="parsing", attempts=job.attempts + 1, done=0, total=0, reason="")
        if await self._known(job.sha256):  # stored just before a crash
            await self._end(job, "done")
            return
        document, chunks = await self._read(job)
        job = await self._change(job, stage="embedding", done=0, total=len(chunks), passages=len(chunks))
        await self._store(document, chunks, lambda done, total: self._note(job.job, done, total))
        await self._end(job, "done", reason="; ".join(document.problems)[:_MAX_REASON])

    async def _read(self, job: Job) -> tuple[ParsedDocument, list[Chunk]]:
        chunks: list[Chunk] = []
        problems: list[str] = []
        pages = total = 0
        async with aclosing(self._parser.parse(self._spool.path(job.job), job.file, job.language)) as items:
            async for item in items:
                if isinstance(item, Opened):
                    total = item.pages
                    pages = total if item.kind == "pdf" else 0
                    self._note(job.job, 0, total)
                    continue
                chunks += item.chunks
                if item.problem:
                    problems.append(f"page {item.number}: {item.problem}" if item.number else item.problem)
                self._note(job.job, item.number or 1, total)
        document = ParsedDocument(job.sha256, job.file, job.size_bytes, pages, main_language(chunks), problems)
        return document, chunks

    async def _try_later(self, job: Job, reason: str) -> None:
        _, pause_s = self._pauses.get(job.job, (0.0, _FIRST_PAUSE_S / 2))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        level = logging.DEBUG if job.job in self._pauses else logging.WARNING
        _log.log(level, "ingest job %s is tried again in %g s: %s", job.job, pause_s, reason)
        self._pauses[job.job] = asyncio.get_running_loop().time() + pause_s, pause_s
        job = replace(job, stage="queued", done=0, total=0, reason=reason)
        self._live[job.job] = job
        self._bell.ring()
        try:
            await self._db.update(job)
        except StorageError as error:  # the disk is what is unavailable; the row still says that it has not ended
            _log.debug("ingest job %s: %s", job.job, error)

    async def _change(self, job: Job, **changes: object) -> Job:
        job = replace(job, **changes)
        await self._db.update(job)
        self._live[job.job] = job
        self._bell.ring()
        return job

    async def _end_surely(self, job: Job, reason: str) -> None:
        try:
            await self._end(job, "failed", reason=reason)
        except StorageError as error:
            await self._try_later(job, str(error))

    async def _end(self, job: Job, stage: str, reason: str = "") -> None:
        """Write the end down, then delete the file: so a crash leaves waste, never a job without its file."""
        job = self._live.get(job.job, job)
        await self._db.update(replace(job, stage=stage, done=job.total, reason=reason))
        await self._spool.delete(job.job)
        self._live.pop(job.job, None)
        self._pauses.pop(job.job, None)
        self._bell.ring()

    def _note(self, job: str, done: int, total: int) -> None:
        """Tell the followers; the disk is spared what a restart would make worthless."""
        if (live := self._live.get(job)) is not None:
            self._live[job] = replace(live, done=done, total=total)
            self._bell.ring()
