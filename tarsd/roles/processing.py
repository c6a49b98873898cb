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
    Hit,
    IngestItem,
    IngestRequest,
    JobsRequest,
    SearchItem,
    SearchRequest,
)
from tarsd.documents.chunk import Chunk
from tarsd.documents.document import ParsedDocument
from tarsd.documents.jobs import IngestJobs
from tarsd.engines.sentence_transformers import EmbeddingEngine
from tarsd.errors import DeadlineExceeded, InvalidInput, Unavailable
from tarsd.memory import fusion
from tarsd.memory.bodies import DOCUMENT, PASSAGE, DocumentBody, PassageBody
from tarsd.memory.cache import QueryCache
from tarsd.memory.vectors import VectorIndex
from tarsd.names import Capability, RecordId
from tarsd.planning.language import detect_language
from tarsd.roles.base import Attributes, JobResult, NightlyPart, Role, Services, WorkerView
from tarsd.roles.embedding import Embedding
from tarsd.rpc import CallContext, Handler

log = logging.getLogger(__name__)

MAX_SEARCH_LIMIT = 100
CANDIDATES = 4  # times the limit: what each way of searching brings to the fusion
QUERY_EMBED_S = 3.0


class Processing(Role):
    """Offers `ingest`, `jobs`, `embed` and `search`."""

    name = "processing"

    def __init__(self, services: Services) -> None:
        config, store = services.config, services.store
        self._services = services
        self._store = store
        self._engine = EmbeddingEngine(config.processing)
        self._index = VectorIndex(store, config.node.data_dir / "vectors")
        self._embedding = Embedding(store, self._engine, self._index, services.before_load)
        self._cache: QueryCache[SearchItem] = QueryCache()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._jobs = IngestJobs(config.node.data_dir, config.documents, known=store.has_document, store=self._keep)

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {
            calls.INGEST.name: self._ingest,
            calls.JOBS.name: self._follow_jobs,
            calls.EMBED.name: self._embed,
            calls.SEARCH.name: self._search,
        }

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        kept: dict[Capability, Attributes] = {calls.INGEST.name: {}, calls.JOBS.name: {}, calls.SEARCH.name: {}}
        info = self._engine.info()
        return kept if info is None else kept | {calls.EMBED.name: {"model": info.model}}

    async def start(self) -> None:
        """See `Role`; the model loads in the background."""
        self._unsubscribe = self._store.subscribe(lambda change: self._cache.clear())
        await self._jobs.start()
        await self._embedding.start()

    async def stop(self) -> None:
        """See `Role`."""
        self._unsubscribe()
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
            "cache": {"hits": self._cache.hits, "misses": self._cache.misses},
            "problem": self._embedding.problem,
            "index": msgspec.to_builtins(self._index.status()),
        }

    def workers(self) -> Mapping[str, WorkerView]:
        """See `Role`."""
        found = {"sentence_transformers": self._engine.worker, "vectors": self._index.worker}
        return {name: worker for name, worker in found.items() if worker is not None}

    def nightly(self) -> Mapping[str, NightlyPart]:
        """See `Role`."""
        return {"rebuild_embeddings": self._rebuild, "health_check": self._check_index}

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

    async def _search(self, request: SearchRequest, context: CallContext) -> AsyncGenerator[SearchItem, None]:
        if not request.query.strip():
            raise InvalidInput("query: empty")
        if not 0 < request.limit <= MAX_SEARCH_LIMIT:
            raise InvalidInput(f"limit: {request.limit}, allowed is 1 to {MAX_SEARCH_LIMIT}")
        language = request.language or detect_language(request.query)
        info = self._engine.info()
        key = (request.query, request.limit, language, info.model if info else "")
        if (kept := self._cache.get(key)) is not None:
            yield kept
            return
        generation = self._cache.generation
        found = await self._find(request.query, request.limit, language, context.headers.deadline_s)
        if not found.degraded and not request.temporary:
            self._cache.put(key, found, generation)
        yield found

    async def _find(self, query: str, limit: int, language: str, deadline_s: float) -> SearchItem:
        wanted = limit * CANDIDATES
        keywords = asyncio.create_task(self._store.keyword_search(query, wanted, language))
        near, degraded = await self._near(query, wanted, deadline_s)
        return SearchItem(await self._fused(await keywords, near, language, limit), degraded)

    async def _near(self, query: str, limit: int, deadline_s: float) -> tuple[list[tuple[RecordId, float]], str]:
        try:
            item = await self._engine.embed([query], "query", min(deadline_s, QUERY_EMBED_S))
            return await self._index.search(item.vectors[0], limit), ""
        except (Unavailable, DeadlineExceeded) as error:
            return [], f"vectors: {error}"

    async def _fused(
        self,
        keywords: list[tuple[RecordId, float]],
        near: list[tuple[RecordId, float]],
        language: str,
        limit: int,
    ) -> list[Hit]:
        ids = list(dict.fromkeys([record for record, _ in [*keywords, *near]]))
        passages = {RecordId(p.id): p for p in await self._store.passages(ids)}
        info = self._engine.info()
        fused = fusion.fuse(
            [record for record, _ in keywords],
            [record for record, _ in near],
            question=language,
            languages={record: passage.language for record, passage in passages.items()},
            model=fusion.languages_of(info.model if info else ""),
        )
        hits = [Hit(passages[f.id], f.score, f.found_by) for f in fused if f.id in passages]
        return hits[:limit]

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

    async def _rebuild(self) -> JobResult:
        info = self._engine.info()
        if info is None:
            return JobResult(0, "the embedding model is not loaded", ok=False)
        counts = await self._store.counts()
        stale = [model for model in counts["vectors"] if model != info.model]
        missing = await self._embedding.missing()
        for model in stale:
            await self._store.forget_model(model)
        return JobResult(missing + len(stale), f"{missing} passages embedded, {len(stale)} stale models dropped")

    async def _check_index(self) -> JobResult:
        """Compare the index with the records, and fill it anew where they differ."""
        status, info = self._index.status(), self._engine.info()
        if info is None or not status.ready:
            return JobResult(0, f"vector index: {status.reason or self._embedding.problem}", ok=False)
        wanted = len(await self._store.vector_ids(info.model))
        if status.vectors == wanted:
            return JobResult(0, f"vector index sound ({wanted} vectors)")
        await self._index.rebuild()
        return JobResult(1, f"vector index held {status.vectors} of {wanted} vectors: rebuilt")
