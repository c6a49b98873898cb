"""A daemon that accepts one document, says so, and never ends reading it: to be killed. Argument: its folder."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tarsd.config.schema import Documents
from tarsd.documents.chunk import Chunk
from tarsd.documents.document import ParsedDocument
from tarsd.documents.jobs import IngestJobs, Progress

DATA = b"Lo que alguien escribe se queda escrito. " * 2000


async def pieces() -> AsyncIterator[bytes]:
    for start in range(0, len(DATA), 1000):
        yield DATA[start : start + 1000]


async def known(sha256: str) -> bool:
    return False


async def store(document: ParsedDocument, chunks: list[Chunk], progress: Progress) -> None:
    await asyncio.Event().wait()


async def main() -> None:
    jobs = IngestJobs(Path(sys.argv[1]), Documents(), known=known, store=store)
    await jobs.start()
    job = await jobs.submit("nota.txt", pieces(), len(DATA), hashlib.sha256(DATA).hexdigest())
    print(job, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
