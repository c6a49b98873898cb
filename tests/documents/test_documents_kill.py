"""SIGKILL between "it is safe" and "it is read": the document is taken in after the restart, by the real parser."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from tarsd.config.schema import Documents
from tarsd.documents.chunk import Chunk
from tarsd.documents.document import ParsedDocument
from tarsd.documents.jobs import IngestJobs, Progress
from tests.documents.jobs_process import DATA, known

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.processes
async def test_a_document_that_was_accepted_survives_sigkill(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).parent / "jobs_process.py"), str(tmp_path)]
    daemon = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY)
    assert daemon.stdout is not None
    async with asyncio.timeout(30):
        job = (await daemon.stdout.readline()).decode().strip()
        assert job, "the daemon did not accept the document"
        workers = psutil.Process(daemon.pid).children(recursive=True)
        daemon.send_signal(signal.SIGKILL)
        await daemon.wait()

    stored: dict[str, list[Chunk]] = {}

    async def store(document: ParsedDocument, chunks: list[Chunk], progress: Progress) -> None:
        stored[document.sha256] = chunks

    jobs = IngestJobs(tmp_path, Documents(), known=known, store=store)
    await jobs.start()
    try:
        async with asyncio.timeout(60), aclosing(jobs.follow(job)) as items:
            last = [item async for item in items][-1]
    finally:
        await jobs.stop()
    assert last.stage == "done"
    text = DATA.decode()
    chunks = stored[hashlib.sha256(DATA).hexdigest()]
    assert all(chunk.text == text[chunk.start : chunk.end] for chunk in chunks)
    assert chunks[-1].end == len(text.rstrip())
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive, "the killed daemon's worker lives on"
