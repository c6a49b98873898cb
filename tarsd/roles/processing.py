"""The role `processing`: takes in documents, makes embeddings, holds the search index.

Rules
1. Documents and keywords work from the start; vectors join in when the embedding model is loaded.
2. A search without vectors is still a search, and says what was missing.
3. A document is known once all its passages are records; embedding may come later (`roles.embedding`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from tarsd import calls
from tarsd.calls import (
    EmbedItem,
    EmbedRequest,
    IngestItem,
    IngestRequest,
    JobsRequest,
)
from tarsd.documents.chunk import Chunk
from tarsd.documents.document import ParsedDocument
from tarsd.documents.jobs import IngestJobs
from tarsd.engines.sentence_transformers import EmbeddingEngine
from tarsd.errors import DeadlineExceeded, InvalidInput, Unavailable
from tarsd.memory.bodies import DOCUMENT, PASSAGE, DocumentBody, PassageBody
from tarsd.memory.forgetting import Forgotten, LetGo, documents_of
from tarsd.memory.forgetting_files import delete_files
from tarsd.memory.vectors import VectorIndex
from tarsd.names import Capability, RecordId
from tarsd.roles.base import Attributes, JobResult, Night, NightlyPart, Role, Services, WorkerView
from tarsd.roles.embedding import Embedding
from tarsd.roles.searching import Searching
from tarsd.roles.serving import Serving
from tarsd.rpc import CallContext, Handler

log = logging.getLogger(__name__)

LET_GO_S = 3.0  # for the index to take out what was forgotten and save its file


class Processing(Role):
    """Offers `ingest`, `jobs`, `embed` and `search`."""

    name = "processing"

    def __init__(self, services: Services) -> None:
        config, store = services.config, services.store
        self._services = services
        self._store = store
        self._serving = Serving(
            store,
            lambda folder: EmbeddingEngine(msgspec.structs.replace(config.processing, embedding_model=folder)),
            lambda: VectorIndex(store, config.node.data_dir / "vectors"),
            config.processing.embedding_model,
        )
        self._engine = self._serving.chosen.engine
        self._embedding = Embedding(store, self._serving, services.before_load)
        self._searching = Searching(store, self._serving)
        self._jobs = IngestJobs(config.node.data_dir, config.documents, known=store.has_document, store=self._keep)

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {
            calls.INGEST.name: self._ingest,
            calls.JOBS.name: self._follow_jobs,
            calls.EMBED.name: self._embed,
            calls.SEARCH.name: self._searching.passages,
            calls.SEARCH_MEMORIES.name: self._searching.memories,
        }

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        kept: dict[Capability, Attributes] = {calls.INGEST.name: {}, calls.JOBS.name: {}, **self._searching.adverts()}
        info = self._engine.info()
        return kept if info is None else kept | {calls.EMBED.name: {"model": info.model}}

    async def start(self) -> None:
        """See `Role`; the model loads in the background."""
        self._searching.start()
        await self._jobs.start()
        await self._embedding.start()

    async def stop(self) -> None:
        """See `Role`."""
        self._searching.stop()
        await self._jobs.stop()
        await self._embedding.stop()

    def problems(self) -> list[str]:
        """See `Role`."""
        ended = {"embedding": self._embedding.ended(), "document": self._jobs.ended()}
        return [f"processing: the {what} task ended" for what, is_over in ended.items() if is_over]

    def status(self) -> dict[str, Any]:
        """See `Role`."""
        info = self._engine.info()
        return {
            "ready": info is not None,
            "model": info.model if info else "",
            "waiting_documents": self._jobs.waiting(),
            "cache": self._searching.status(),
            "problem": self._embedding.problem,
            "index": msgspec.to_builtins(self._serving.pairs()[-1].index.status()),
            "serving_model": self._serving.model(),
            "re_embedding": self._serving.progress(),
        }

    def workers(self) -> Mapping[str, WorkerView]:
        """See `Role`."""
        found: dict[str, WorkerView | None] = {}
        for pair, note in zip(self._serving.pairs(), ("", "_old"), strict=False):
            found |= {f"sentence_transformers{note}": pair.engine.worker, f"vectors{note}": pair.index.worker}
        return {name: worker for name, worker in found.items() if worker is not None}

    def nightly(self) -> Mapping[str, NightlyPart]:
        """See `Role`."""
        return {"rebuild_embeddings": self._rebuild, "health_check": self._check_index}

    async def let_go(self, forgotten: Forgotten) -> LetGo:
        """See `Role`: cached answers, a document that waits to be read, the vectors' files."""
        cached = self._searching.take_cached_gone()
        for sha256 in documents_of(forgotten):
            await self._jobs.forget(sha256)
        await self._serving.let_go(LET_GO_S)
        await asyncio.to_thread(delete_files, self._services.config.node.data_dir / "vectors", self._serving.holds)
        return LetGo(cached=cached)

    async def _ingest(self, request: IngestRequest, context: CallContext) -> AsyncGenerator[IngestItem, None]:
        if context.upload is None:
            raise InvalidInput("ingest: the document's bytes are missing")
        job = await self._jobs.submit(
            request.file, context.upload, request.size_bytes, request.sha256, request.language
        )
        async with aclosing(self._jobs.follow(job)) as items:
            async for item in items:
                yield item
                if not request.wait:
                    return

    async def _follow_jobs(self, request: JobsRequest, context: CallContext) -> AsyncGenerator[IngestItem, None]:
        if not request.job:
            for item in await self._jobs.recent(request.limit):
                yield item
            return
        async with aclosing(self._jobs.follow(request.job)) as items:
            async for item in items:
                yield item

    async def _embed(self, request: EmbedRequest, context: CallContext) -> AsyncGenerator[EmbedItem, None]:
        yield await self._engine.embed(request.texts, request.purpose, context.headers.deadline_s)

    async def _keep(self, document: ParsedDocument, chunks: list[Chunk], progress: Callable[[int, int], None]) -> None:
        """Write a document's records, then embed them; without an engine the embedding comes later."""
        async with self._embedding.writing:
            await self._write(document, chunks, progress)

    async def _write(self, document: ParsedDocument, chunks: list[Chunk], progress: Callable[[int, int], None]) -> None:
        bodies = [
            (PASSAGE, "", PassageBody(document.sha256, c.page, c.start, c.end, c.text, c.language)) for c in chunks
        ]
        records = await self._store.append_many(bodies)
        body = DocumentBody(
            document.sha256,
            document.file,
            document.size_bytes,
            document.pages,
            document.language,
            added_at=time.time(),
            passages=len(chunks),
        )
        await self._store.append(DOCUMENT, "", body)
        try:
            await self._embedding.embed([RecordId(f"{r.origin}:{r.seq}") for r in records], progress)
        except (Unavailable, DeadlineExceeded) as error:
            log.info("%d passages are embedded later: %s", len(records), error)

    async def _rebuild(self, night: Night) -> JobResult:
        info = self._engine.info()
        if info is None:
            return JobResult(0, "the embedding model is not loaded", ok=False)
        await night.step(night.cursor, "embeds what has no vectors")
        missing = await self._embedding.missing(everywhere=True)
        if progress := self._serving.progress():
            return JobResult(missing, f"{missing} texts embedded; {progress}: the old model serves on", ok=False)
        stale = [model for model in await self._store.models() if model != info.model]
        for model in stale:
            await self._store.forget_model(model)
        return JobResult(missing + len(stale), f"{missing} texts embedded, {len(stale)} stale models dropped")

    async def _check_index(self, night: Night) -> JobResult:
        """Compare the index with the records, ids and vectors, and mend it where they differ."""
        index = self._serving.pairs()[-1].index
        status = index.status()
        if not status.ready:
            return JobResult(0, f"vector index: {status.reason or self._embedding.problem}", ok=False)
        if wrong := await index.mend():
            return JobResult(wrong, f"vector index: {wrong} vectors were missing, wrong or too many: mended")
        return JobResult(0, f"vector index sound ({index.status().vectors} vectors)")
