"""The ingest queue against real files and a real database; what reads and stores documents is scripted."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from tarsd.calls import IngestItem
from tarsd.config.schema import Documents
from tarsd.documents import jobs as jobs_module
from tarsd.documents.chunk import Chunk
from tarsd.documents.document import ParsedDocument
from tarsd.documents.jobs import MAX_ATTEMPTS, IngestJobs
from tarsd.documents.jobs_db import Job, JobsDb
from tarsd.documents.pages import Opened, Page
from tarsd.documents.parser import DocumentParser
from tarsd.errors import DocumentError, InvalidInput, NotFound, Overloaded, Unavailable

DATA = b"the bytes of a document"


class ScriptedParser(DocumentParser):
    """Reads two pages of any file; `gate` holds it back, `error` is raised instead."""

    def __init__(self) -> None:
        super().__init__(Documents())
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.error: Exception | None = None
        self.read: list[str] = []
        self.problem = ""

    async def parse(self, path: Path, file: str, language: str = "") -> AsyncGenerator[Opened | Page, None]:
        self.begun.set()
        self.read.append(file)
        assert await asyncio.to_thread(path.read_bytes)
        yield Opened("pdf", 2)
        yield Page(1, [Chunk(1, 0, 3, "uno", "es")])
        await self.gate.wait()
        if self.error:
            raise self.error
        yield Page(2, [Chunk(2, 0, 9, "two words", "en")], problem=self.problem)


class Memory:
    """What the queue knows of the memory floor."""

    def __init__(self) -> None:
        self.documents: dict[str, tuple[ParsedDocument, list[Chunk]]] = {}
        self.errors: list[Exception] = []

    async def known(self, sha256: str) -> bool:
        return sha256 in self.documents

    async def store(self, document: ParsedDocument, chunks: list[Chunk], progress: Callable[[int, int], None]) -> None:
        progress(1, len(chunks))
        if self.errors:
            raise self.errors.pop(0)
        self.documents[document.sha256] = document, chunks


class House:
    """A queue that can be stopped, or killed, and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parser = ScriptedParser()
        self.memory = Memory()
        self.jobs = self.build()

    def build(self) -> IngestJobs:
        return IngestJobs(
            self.folder, Documents(max_file_mib=1), known=self.memory.known, store=self.memory.store, parser=self.parser
        )

    async def restart(self) -> None:
        await self.jobs.stop()
        self.jobs = self.build()
        await self.jobs.start()

    async def send(self, file: str = "letter.pdf", data: bytes = DATA) -> str:
        return await self.jobs.submit(file, pieces(data), len(data), sha(data))

    async def end_of(self, job: str) -> IngestItem:
        return (await self.all_of(job))[-1]

    async def all_of(self, job: str) -> list[IngestItem]:
        async with asyncio.timeout(30), aclosing(self.jobs.follow(job)) as items:
            return [item async for item in items]

    async def until(self, job: str, true: Callable[[IngestItem], bool]) -> IngestItem:
        async with asyncio.timeout(30), aclosing(self.jobs.follow(job)) as items:
            async for item in items:
                if true(item):
                    return item
        raise AssertionError("the job ended before")

    def spooled(self) -> list[Path]:
        return list((self.folder / "spool").iterdir())


async def never() -> AsyncIterator[bytes]:
    raise AssertionError("these bytes were not needed")
    yield b""


async def pieces(data: bytes, then: Callable[[], Awaitable[None]] | None = None) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 5):
        yield data[start : start + 5]
    if then is not None:
        await then()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    one = House(tmp_path)
    await one.jobs.start()
    yield one
    one.parser.gate.set()
    await one.jobs.stop()


async def test_a_document_goes_through_and_its_file_is_deleted(house: House) -> None:
    job = await house.send()
    last = await house.end_of(job)
    assert (last.stage, last.document, last.passages, last.reason) == ("done", sha(DATA), 2, "")
    document, chunks = house.memory.documents[sha(DATA)]
    assert document == ParsedDocument(sha(DATA), "letter.pdf", len(DATA), 2, "en")
    assert [chunk.text for chunk in chunks] == ["uno", "two words"]
    assert house.spooled() == []


async def test_followers_see_the_stages_and_pages(house: House) -> None:
    house.parser.gate.clear()
    job = await house.send()
    seen = await house.until(job, lambda item: item.done == 1)
    assert (seen.stage, seen.done, seen.total) == ("parsing", 1, 2)
    house.parser.gate.set()
    assert (await house.end_of(job)).stage == "done"


async def test_a_late_follower_gets_the_end_and_a_stranger_not_found(house: House) -> None:
    job = await house.send()
    await house.end_of(job)
    assert [item.stage for item in await house.all_of(job)] == ["done"]
    with pytest.raises(NotFound):
        await house.all_of("0000")


async def test_a_known_document_is_a_duplicate_and_its_bytes_are_not_read(house: House) -> None:
    await house.end_of(await house.send())

    job = await house.jobs.submit("copy.pdf", never(), len(DATA), sha(DATA))
    assert (await house.end_of(job)).stage == "duplicate"
    assert house.parser.read == ["letter.pdf"]


async def test_the_same_document_sent_while_it_waits_is_the_same_job(house: House) -> None:
    house.parser.gate.clear()
    first = await house.send()
    assert await house.jobs.submit("copy.pdf", never(), len(DATA), sha(DATA)) == first


async def test_the_same_document_sent_twice_at_once_is_one_job(house: House) -> None:
    house.parser.gate.clear()
    both_on_their_way = asyncio.Barrier(2)

    async def meet() -> None:
        await both_on_their_way.wait()

    ids = await asyncio.gather(
        *(house.jobs.submit(f"{number}.pdf", pieces(DATA, meet), len(DATA), sha(DATA)) for number in range(2))
    )
    assert ids[0] == ids[1]
    assert len(house.spooled()) == 1


async def test_documents_are_read_in_the_order_they_came(house: House) -> None:
    house.parser.gate.clear()
    jobs = [await house.send(f"{number}.pdf", DATA + bytes([number])) for number in range(3)]
    house.parser.gate.set()
    for job in jobs:
        await house.end_of(job)
    assert house.parser.read == ["0.pdf", "1.pdf", "2.pdf"]
    assert [item.file for item in await house.jobs.recent()] == ["2.pdf", "1.pdf", "0.pdf"]
    assert len(await house.jobs.recent(limit=2)) == 2


async def test_a_document_that_cannot_be_read_fails_with_its_reason_and_the_next_is_read(house: House) -> None:
    house.parser.error = DocumentError("letter.pdf is encrypted")
    last = await house.end_of(await house.send())
    assert (last.stage, last.reason) == ("failed", "letter.pdf is encrypted")
    assert house.spooled() == []
    house.parser.error = None
    assert (await house.end_of(await house.send("next.pdf", b"other"))).stage == "done"


async def test_a_bug_fails_its_document_only(house: House) -> None:
    house.parser.error = KeyError("oops")
    last = await house.end_of(await house.send())
    assert (last.stage, last.reason) == ("failed", "internal error")
    house.parser.error = None
    assert (await house.end_of(await house.send("next.pdf", b"other"))).stage == "done"


async def test_pages_that_could_not_be_read_are_told_at_the_end(house: House) -> None:
    house.parser.problem = "it took longer than 120 s"
    last = await house.end_of(await house.send())
    assert (last.stage, last.reason) == ("done", "page 2: it took longer than 120 s")


async def test_what_is_unavailable_is_tried_again_and_others_go_first(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "_FIRST_PAUSE_S", 2.0)
    house.memory.errors = [Unavailable("no node can embed")]
    first = await house.send()
    waiting = await house.until(first, lambda item: item.reason != "")
    assert (waiting.stage, waiting.reason) == ("queued", "no node can embed")
    await house.end_of(await house.send("next.pdf", b"other"))
    assert sha(DATA) not in house.memory.documents
    assert (await house.end_of(first)).stage == "done"


async def test_being_unavailable_often_is_no_reason_to_fail(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(jobs_module, "_LONGEST_PAUSE_S", 0.01)
    house.memory.errors = [Unavailable("not yet")] * (3 * MAX_ATTEMPTS)
    assert (await house.end_of(await house.send())).stage == "done"


@pytest.mark.parametrize(
    ("file", "size", "digest", "error", "reason"),
    [
        ("a.pdf", 0, sha(b""), DocumentError, "is empty"),
        ("a.pdf", 2_000_000, sha(DATA), DocumentError, "max_file_mib allows 1"),
        ("a.pdf", len(DATA) + 1, sha(DATA), InvalidInput, "ended after"),
        ("a.pdf", len(DATA) - 1, sha(DATA), InvalidInput, "longer than"),
        ("a.pdf", len(DATA), sha(b"other"), InvalidInput, "damaged on its way"),
        ("a.pdf", len(DATA), "beef", InvalidInput, "sha256"),
        ("/", len(DATA), sha(DATA), InvalidInput, "needs a name"),
    ],
)
async def test_an_upload_that_is_not_what_it_says_leaves_nothing(
    house: House, file: str, size: int, digest: str, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        await house.jobs.submit(file, pieces(DATA), size, digest)
    assert house.spooled() == []
    assert await house.jobs.recent() == []


async def test_a_name_with_folders_is_only_a_name(house: House) -> None:
    item = await house.end_of(await house.send("../..\\etc/passwd.txt"))
    assert item.file == "passwd.txt"


async def test_an_upload_that_is_given_up_leaves_nothing(house: House) -> None:
    arrived = asyncio.Event()

    async def stall() -> None:
        arrived.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(house.jobs.submit("a.pdf", pieces(DATA, stall), len(DATA), sha(DATA)))
    await arrived.wait()
    assert [path.suffix for path in house.spooled()] == [".part"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert house.spooled() == []


async def test_a_full_queue_says_when_to_come_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "MAX_WAITING", 1)
    house.parser.gate.clear()
    await house.send()
    with pytest.raises(Overloaded):
        await house.send("next.pdf", b"other")


async def test_a_stop_in_the_middle_is_taken_up_again_and_not_held_against_it(house: House) -> None:
    house.parser.gate.clear()
    job = await house.send()
    for _ in range(MAX_ATTEMPTS + 1):
        await house.until(job, lambda item: item.done == 1)
        await house.restart()
    house.parser.gate.set()
    assert (await house.end_of(job)).stage == "done"
    assert list(house.memory.documents) == [sha(DATA)]


async def leave_behind(folder: Path, job: Job, *, with_file: bool = True) -> None:
    """Make what a killed daemon leaves on its disk."""
    (folder / "spool").mkdir(exist_ok=True)
    if with_file:
        (folder / "spool" / f"{job.job}.bin").write_bytes(DATA)
    db = JobsDb(folder / "jobs.db")
    await db.open()
    await db.insert(job)
    await db.close()


async def test_a_document_that_stops_the_daemon_again_and_again_has_failed(house: House) -> None:
    await house.jobs.stop()
    await leave_behind(
        house.folder, Job("aa", "evil.pdf", len(DATA), sha(DATA), stage="parsing", attempts=MAX_ATTEMPTS)
    )
    await house.restart()
    last = await house.end_of("aa")
    assert last.stage == "failed"
    assert "given up" in last.reason
    assert house.parser.read == []
    assert house.spooled() == []


async def test_a_job_whose_file_is_lost_has_failed(house: House) -> None:
    await house.jobs.stop()
    await leave_behind(house.folder, Job("aa", "a.pdf", len(DATA), sha(DATA)), with_file=False)
    await house.restart()
    assert "lost before it was read" in (await house.end_of("aa")).reason


async def test_what_was_stored_just_before_a_crash_is_not_read_again(house: House) -> None:
    await house.jobs.stop()
    await leave_behind(house.folder, Job("aa", "a.pdf", len(DATA), sha(DATA), stage="embedding", attempts=1))
    house.memory.documents[sha(DATA)] = ParsedDocument(sha(DATA), "a.pdf", len(DATA), 2, "es"), []
    await house.restart()
    assert (await house.end_of("aa")).stage == "done"
    assert house.parser.read == []


async def test_waste_in_the_spool_is_deleted_at_the_start(house: House) -> None:
    await house.jobs.stop()
    for name in ("nobody.bin", "half.part"):
        (house.folder / "spool" / name).write_bytes(DATA)
    await house.restart()
    assert house.spooled() == []


async def test_forgetting_breaks_off_the_reading_and_leaves_no_trace(house: House) -> None:
    house.parser.gate.clear()
    job = await house.send("diary of ana.pdf")
    await house.until(job, lambda item: item.done == 1)
    await house.jobs.forget(sha(DATA))
    house.parser.gate.set()
    assert house.spooled() == []
    assert await house.jobs.recent() == []
    assert (await house.end_of(await house.send("next.pdf", b"other"))).stage == "done"
    assert sha(DATA) not in house.memory.documents
    await house.jobs.stop()
    assert not any(b"diary" in path.read_bytes() for path in house.folder.rglob("*") if path.is_file())


async def test_files_and_names_are_private(house: House) -> None:
    house.parser.gate.clear()
    await house.send()
    for path in [house.folder / "jobs.db", *house.spooled()]:
        assert path.stat().st_mode & 0o077 == 0
    assert (house.folder / "spool").stat().st_mode & 0o077 == 0


async def test_old_ended_jobs_are_pruned(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from tarsd.documents import jobs_db

    for number in range(4):
        await house.end_of(await house.send(f"{number}.pdf", DATA + bytes([number])))
    monkeypatch.setattr(jobs_db, "_KEEP_ENDED", 2)
    await house.restart()
    assert [item.file for item in await house.jobs.recent()] == ["3.pdf", "2.pdf"]
