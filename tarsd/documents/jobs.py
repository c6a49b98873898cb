"""The queue of documents to take in: one at a time, in order, through restarts.

Rules
1. `submit` returns when the document is safe on disk; from then on it is taken in, whatever is killed in between.
2. One document, one job: the same bytes sent again while they wait are the waiting job; once known, a "duplicate".
3. A job ends as done, duplicate or failed; then its file is deleted. A document that cannot be read fails with its reason.
4. What is only unavailable now (a peer, an engine, the disk) is tried again, with growing pauses, while others go first.
5. A job that was begun `MAX_ATTEMPTS` times and never ended has failed: it may be what stops the daemon.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import msgspec

from tarsd.calls import IngestItem
from tarsd.config.schema import Documents
from tarsd.documents.chunk import Chunk
from tarsd.documents.jobs_db import ACTIVE, Job, JobsDb
from tarsd.documents.pages import Opened
from tarsd.documents.parser import DocumentParser
from tarsd.documents.spool import Spool
from tarsd.errors import DocumentError, InvalidInput, NotFound, Overloaded, StorageError, TarsdError, Unavailable
from tarsd.wire import MIB

_log = logging.getLogger(__name__)

MAX_ATTEMPTS = 8
MAX_WAITING = 1000  # documents in the spool; guards the disk
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0


class ParsedDocument(msgspec.Struct, frozen=True):
    """A document that was read: `pages` is 0 where the format has none, `problems` names pages that could not be read."""

    sha256: str
    file: str
    size_bytes: int
    pages: int
    language: str
    problems: list[str] = []


Known = Callable[[str], Awaitable[bool]]
Progress = Callable[[int, int], None]
Store = Callable[[ParsedDocument, list[Chunk], Progress], Awaitable[None]]


class IngestJobs:
    """Takes documents in, one after the other.

    `known(sha256)`: is the document in memory, whole? `store(document, chunks, progress)`: put it there, all or nothing,
    telling `progress(done, total)` on the way; it may be asked for the same document twice, after a crash.
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
        self._live: dict[str, Job] = {}  # the jobs that have not ended, in order
        self._not_before: dict[str, float] = {}
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the queue and go on where it was left; raises `StorageError`."""
        await self._db.open()
        active = {job.job: job for job in await self._db.active()}
        there = await self._spool.open(active)
        for job in active.values():
            if job.job in there:
                self._live[job.job] = msgspec.structs.replace(job, stage="queued", done=0, total=0)
            else:
                await self._end(job, "failed", reason="its file was lost before it was read; please send it again")
        await self._db.prune()
        self._task = asyncio.create_task(self._run(), name="ingest jobs")

    async def stop(self) -> None:
        """Stop at once; what was begun is begun again at the next start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._live.clear()
        await self._db.close()

    async def submit(
        self, file: str, chunks: AsyncIterator[bytes], size_bytes: int, sha256: str, language: str = ""
    ) -> str:
        """Take a document in and return its job's id; `chunks` is not read when nothing needs to be sent (rule 2).

        Raises `DocumentError` for an empty or too large one, `InvalidInput` for bytes that are not those announced,
        `Overloaded`, `StorageError`. When cancelled, or when it raises, nothing is kept.
        """
        file = self._check(file, size_bytes, sha256)
        job = Job(secrets.token_hex(8), file, size_bytes, sha256, language)
        if await self._known(sha256):
            await self._db.insert(msgspec.structs.replace(job, stage="duplicate"))
            return job.job
        if waiting := await self._db.active(sha256):
            return waiting[0].job
        if len(self._live) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} documents are waiting already", retry_after_s=60)
        await self._spool.receive(job.job, chunks, size_bytes, sha256)
        return await self._accept(job)

    async def follow(self, job: str) -> AsyncGenerator[IngestItem, None]:
        """Yield the job's state now and at each change until it has ended; raises `NotFound`.

        A slow reader misses states in between, never the last one.
        """
        shown: Job | None = None
        while (now := self._live.get(job)) is not None:
            if now != shown:
                shown = now
                yield now.item()
                continue
            async with self._changed:
                await self._changed.wait_for(lambda: self._live.get(job) != shown)
        ended = await self._db.find(job)
        if ended is None:
            raise NotFound(f"there is no ingest job {job}")
        yield ended.item()

    async def list(self, limit: int = 50) -> list[IngestItem]:
        """Return the jobs, newest first."""
        return [self._live.get(job.job, job).item() for job in await self._db.newest(limit)]

    async def forget(self, sha256: str) -> None:
        """Delete every trace of a document here: jobs, their names, a waiting file."""
        for job in await self._db.forget(sha256):
            self._live.pop(job, None)
            await self._spool.delete(job)
        await self._announce()

    def waiting(self) -> int:
        """Return how many documents have not ended."""
        return len(self._live)

    def _check(self, file: str, size_bytes: int, sha256: str) -> str:
        name = Path(file.replace("\\", "/")).name.replace("\0", "")[:255]
        if not name:
            raise InvalidInput("file: a document needs a name")
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise InvalidInput("sha256: 64 lower-case hex digits are needed")
        if size_bytes <= 0:
            raise DocumentError(f"{name} is empty")
        if size_bytes > self._settings.max_file_mib * MIB:
            raise DocumentError(
                f"{name} has {size_bytes / MIB:.0f} MiB; documents.max_file_mib allows {self._settings.max_file_mib}"
            )
        return name

    async def _accept(self, job: Job) -> str:
        """Write the job down; where the same document came in beside it, that one is the job (rule 2)."""
        try:
            if await self._db.insert(job):
                self._live[job.job] = job
                await self._announce()
                return job.job
            waiting = await self._db.active(job.sha256)
        except BaseException:
            if job.job not in self._live:
                await self._spool.delete(job.job)
            raise
        await self._spool.delete(job.job)
        if not waiting:  # it ended just now
            raise Overloaded("the same document was taken in a moment ago; ask again")
        return waiting[0].job

    async def _run(self) -> None:
        while True:
            job = await self._next()
            try:
                await self._take_in(job)
            except StorageError as error:  # the table itself: nothing can be written down about it
                _log.warning("the queue of documents cannot be written: %s", error)
                await self._pause(job)

    async def _next(self) -> Job:
        """Wait for the first job whose pause is over."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            due = {job: self._not_before.get(job, 0.0) for job in self._live}
            if ready := next((job for job, when in due.items() if when <= now), None):
                return self._live[ready]
            wait_s = min(due.values()) - now if due else None
            async with self._changed:
                try:
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait_for(lambda: set(self._live) != set(due))
                except TimeoutError:
                    continue

    async def _take_in(self, job: Job) -> None:
        if job.attempts >= MAX_ATTEMPTS:
            reason = job.reason or "reading it stopped the daemon again and again"
            await self._end(job, "failed", reason=f"given up after {job.attempts} attempts: {reason}")
            return
        job = await self._change(job, stage="parsing", attempts=job.attempts + 1, done=0, total=0, keep=True)
        try:
            if await self._known(job.sha256):  # stored just before a crash
                await self._end(job, "done")
                return
            document, chunks = await self._read(job)
            job = await self._change(job, stage="embedding", done=0, total=len(chunks), passages=len(chunks), keep=True)
            await self._store(document, chunks, lambda done, total: self._note(job.job, done, total))
        except (Unavailable, StorageError) as error:
            await self._try_later(job, str(error))
        except TarsdError as error:
            await self._end(job, "failed", reason=str(error))
        except Exception:  # one document must not stop the queue
            _log.exception("ingest job %s failed", job.job)
            await self._end(job, "failed", reason="internal error")
        else:
            await self._end(job, "done", reason="; ".join(document.problems)[:2000])

    async def _read(self, job: Job) -> tuple[ParsedDocument, list[Chunk]]:
        chunks: list[Chunk] = []
        problems: list[str] = []
        pages = 0
        reading = self._parser.parse(self._spool.path(job.job), job.file, job.language)
        async with aclosing(reading) as items:
            async for item in items:
                if isinstance(item, Opened):
                    pages = item.pages if item.kind == "pdf" else 0
                    await self._change(job, total=item.pages)
                    continue
                chunks += item.chunks
                if item.problem:
                    problems.append(f"page {item.number}: {item.problem}" if item.number else item.problem)
                await self._change(self._live.get(job.job, job), done=item.number or 1)
        document = ParsedDocument(job.sha256, job.file, job.size_bytes, pages, _main_language(chunks), problems)
        return document, chunks

    async def _try_later(self, job: Job, reason: str) -> None:
        _log.log(logging.WARNING if job.attempts == 1 else logging.DEBUG, "ingest job %s waits: %s", job.job, reason)
        job = await self._change(job, stage="queued", done=0, total=0, reason=reason, keep=True)
        await self._pause(job)

    async def _pause(self, job: Job) -> None:
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (max(job.attempts, 1) - 1))
        self._not_before[job.job] = asyncio.get_running_loop().time() + pause_s

    async def _change(self, job: Job, *, keep: bool = False, **changes: object) -> Job:
        """Change a live job; with `keep` on disk too. Page by page only followers are told: the disk is spared."""
        job = msgspec.structs.replace(job, **changes)
        if keep:
            await self._db.update(job)
        if job.job in self._live:
            self._live[job.job] = job
        await self._announce()
        return job

    async def _end(self, job: Job, stage: str, reason: str = "") -> None:
        """Write the end down, then delete the file: in this order a crash leaves waste, never a job without its file."""
        await self._db.update(msgspec.structs.replace(job, stage=stage, done=job.total, reason=reason))
        await self._spool.delete(job.job)
        self._live.pop(job.job, None)
        self._not_before.pop(job.job, None)
        await self._announce()

    def _note(self, job: str, done: int, total: int) -> None:
        """Take the progress of storing; followers see it with the next change or at once if they are waiting."""
        if (live := self._live.get(job)) is not None:
            self._live[job] = msgspec.structs.replace(live, done=done, total=total)
            self._announcing = asyncio.ensure_future(self._announce())

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _main_language(chunks: list[Chunk]) -> str:
    """Return the language that most of the text is in."""
    weights: dict[str, int] = {}
    for chunk in chunks:
        weights[chunk.language] = weights.get(chunk.language, 0) + len(chunk.text)
    return max(weights, key=lambda language: weights[language], default="")
