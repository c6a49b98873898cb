"""Reads a document in a worker of its own and survives whatever the document does to it.

Rules
1. One worker per document: no network, bounded memory, gone afterwards with all it held.
2. A page that takes longer than `parse_page_s`, kills the worker or fails in it is recorded with its reason; a fresh
   worker goes on with the next page.
3. After `MAX_LOST_IN_A_ROW` such pages in a row the document is given up.
4. A document in which not one page holds text has failed, with the first page's reason.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import msgspec

from tarsd.config.schema import Documents
from tarsd.documents.pages import Opened, OpenRequest, Page, PageRequest
from tarsd.errors import DeadlineExceeded, DocumentError, TarsdError, WorkerLost
from tarsd.wire import decode
from tarsd.workers.limits import WorkerLimits
from tarsd.workers.worker import Worker

_log = logging.getLogger(__name__)

TARGET = "tarsd.documents.parse_worker:ParseWorker"
MAX_LOST_IN_A_ROW = 3
_OPEN_S = 60.0
# OCR ends by itself this share before the page's time is over, so that a slow page need not cost the worker.
_OCR_SHARE = 0.9

_T = TypeVar("_T", bound=msgspec.Struct)


class DocumentParser:
    """Reads documents as `[documents]` of the config says; `target` names the worker's class (tests have their own)."""

    def __init__(self, settings: Documents, *, target: str = TARGET) -> None:
        self._settings = settings
        self._target = target

    async def parse(self, path: Path, file: str, language: str = "") -> AsyncGenerator[Opened | Page, None]:
        """Yield `Opened` once, then the pages in order, each as one or more `Page`.

        `file` is the name a person gave, `language` ISO 639-1 where they said it. Raises `DocumentError` with a reason
        for a person, `WorkerLost` when no worker can be had at all (later may do). Closing ends the worker.
        """
        async with aclosing(_Reading(self._settings, self._target, path, file, language).run()) as items:
            async for item in items:
                yield item


class _Reading:
    """One document being read."""

    def __init__(self, settings: Documents, target: str, path: Path, file: str, language: str) -> None:
        self._settings = settings
        self._path = str(path)
        self._file = file
        self._language = language
        self._worker = Worker(
            "parse",
            target,
            settings,
            limits=WorkerLimits(memory_mib=settings.parse_memory_mib, no_network=True, nice=5),
            silence_s=max(30.0, settings.parse_page_s),
        )
        self._lost_in_a_row = 0
        self._found_text = False
        self._first_problem = ""

    async def run(self) -> AsyncGenerator[Opened | Page, None]:
        try:
            await self._worker.start()
            opened = await self._open()
            yield opened
            for number in range(1, opened.pages + 1):
                async with aclosing(self._page(opened, number)) as pages:
                    async for page in pages:
                        self._note(page)
                        yield page
        finally:
            await self._worker.stop()
        if not self._found_text:
            raise DocumentError(f"{self._file} holds no text: {self._first_problem or 'its pages are blank'}")

    async def _open(self) -> Opened:
        request = OpenRequest(self._path, self._file, self._language)
        try:
            async with aclosing(self._worker.call("open", request, deadline_s=_OPEN_S)) as items:
                async for item in items:
                    return decode(item, Opened)
        except DeadlineExceeded as error:
            raise DocumentError(f"{self._file} could not be opened within {_OPEN_S:.0f} s") from error
        except DocumentError:
            raise
        except WorkerLost as error:
            raise DocumentError(f"{self._file} could not be opened: it brings down the reader ({error})") from error
        except TarsdError as error:
            raise DocumentError(f"{self._file} could not be opened: {error}") from error
        raise DocumentError(f"{self._file} could not be opened")

    async def _page(self, opened: Opened, number: int) -> AsyncGenerator[Page, None]:
        """Yield the page, or what became of it (rule 2)."""
        limit_s = self._settings.parse_page_s
        request = PageRequest(self._path, self._file, number, self._language, limit_s * _OCR_SHARE)
        try:
            async with aclosing(self._worker.call("page", request, deadline_s=limit_s)) as items:
                async for item in items:
                    yield decode(item, Page)
            self._lost_in_a_row = 0
            return
        except DeadlineExceeded:
            problem = f"it took longer than {limit_s:g} s"
        except WorkerLost as error:
            problem = f"it brings down the reader: {error}"
        except DocumentError:
            raise
        except TarsdError as error:  # a bug of ours or of a library: as good a reason to go on behind it
            problem = f"it could not be read: {error}"
        await self._start_afresh(number, problem)
        yield Page(number if opened.kind == "pdf" else 0, [], problem=problem)

    async def _start_afresh(self, number: int, problem: str) -> None:
        _log.warning("page %d of a document was given up: %s", number, problem)
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= MAX_LOST_IN_A_ROW:
            raise DocumentError(f"{self._file} was given up at page {number}: {problem}")
        await self._worker.stop()
        await self._worker.start()

    def _note(self, page: Page) -> None:
        self._found_text = self._found_text or bool(page.chunks)
        self._language = page.language or self._language
        if page.problem and not self._first_problem:
            self._first_problem = f"page {page.number}: {page.problem}" if page.number else page.problem
