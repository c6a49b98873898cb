"""Search by keywords and vectors together: of passages, and of memories and summaries.

Rules
1. A search without vectors is still a search, and says what was missing.
2. What was found is kept until something that searches find comes or goes; what is degraded or temporary is not.
3. Memories are found whoever may see them: the caller shows nobody what is not theirs, so it may ask for many.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from tarsd import calls
from tarsd.calls import (
    Hit,
    SearchItem,
    SearchMemoriesItem,
    SearchMemoriesRequest,
    SearchRequest,
)
from tarsd.errors import DeadlineExceeded, InvalidInput, Unavailable
from tarsd.memory import fusion, nearness
from tarsd.memory.cache import QueryCache
from tarsd.memory.library import Change
from tarsd.memory.store import Store
from tarsd.names import Capability, RecordId
from tarsd.planning.language import detect_language
from tarsd.roles.base import Attributes
from tarsd.roles.serving import Pair, Serving
from tarsd.rpc import CallContext

MAX_SEARCH_LIMIT = 100
MAX_MEMORIES_LIMIT = 200
CANDIDATES = 4  # times the limit: what each way of searching brings to the fusion
QUERY_EMBED_S = 3.0
_HIT_BYTES = 300  # of a hit in the cache beside its text
_KEY_BYTES = 150


class Searching:
    """Answers `search` and `search_memories`."""

    def __init__(self, store: Store, serving: Serving) -> None:
        self._store = store
        self._serving = serving
        self._cache: QueryCache[SearchItem | SearchMemoriesItem] = QueryCache()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._cached_gone = 0

    def start(self) -> None:
        """Begin to follow what is written."""
        self._unsubscribe = self._store.subscribe(self._changed)

    def stop(self) -> None:
        """End following."""
        self._unsubscribe()

    def adverts(self) -> dict[Capability, Attributes]:
        """Return the capabilities."""
        return {calls.SEARCH.name: {}, calls.SEARCH_MEMORIES.name: {}}

    def status(self) -> dict[str, Any]:
        """Return how the cache does, by call and in all."""
        counted: Mapping[str, Any] = {
            call: {"hits": each.hits, "misses": each.misses, "hit_rate": round(each.hit_rate, 3)}
            for call, each in self._cache.counted.items()
        }
        hits, misses = (sum(each[what] for each in counted.values()) for what in ("hits", "misses"))
        return {"hits": hits, "misses": misses, "bytes": self._cache.size_bytes, "calls": counted}

    def take_cached_gone(self) -> int:
        """Return how many cached answers went with what they may have held, since that was last asked."""
        gone, self._cached_gone = self._cached_gone, 0
        return gone

    def _changed(self, change: Change) -> None:
        if change.texts or change.model == self._serving.model():
            cleared = self._cache.clear()
            self._cached_gone += cleared if change.removed else 0

    async def passages(self, request: SearchRequest, context: CallContext) -> AsyncGenerator[SearchItem, None]:
        """Handle `search`."""
        language = _checked(request.query, request.limit, request.language, MAX_SEARCH_LIMIT)
        key = self._key(calls.SEARCH.name, request.query, request.limit, language)
        if not request.temporary and isinstance(kept := self._cache.get(calls.SEARCH.name, key), SearchItem):
            yield kept
            return
        generation = self._cache.generation
        wanted = request.limit * CANDIDATES
        keywords = asyncio.create_task(self._store.keyword_search(request.query, wanted, language))
        near, degraded = await self._near(request.query, wanted, context.headers.deadline_s)
        item = SearchItem(await self._fused(await keywords, near, language, request.limit), degraded)
        if not (degraded or request.temporary):
            size_bytes = sum(_HIT_BYTES + 2 * len(hit.passage.text) for hit in item.hits)
            self._cache.put(key, item, size_bytes, generation)
        yield item

    async def memories(
        self, request: SearchMemoriesRequest, context: CallContext
    ) -> AsyncGenerator[SearchMemoriesItem, None]:
        """Handle `search_memories` (rule 3)."""
        language = _checked(request.query, request.limit, request.language, MAX_MEMORIES_LIMIT)
        key = self._key(calls.SEARCH_MEMORIES.name, request.query, request.limit, language)
        kept = None if request.temporary else self._cache.get(calls.SEARCH_MEMORIES.name, key)
        if isinstance(kept, SearchMemoriesItem):
            yield kept
            return
        generation = self._cache.generation
        keywords = asyncio.create_task(self._store.recollections_by_keywords(request.query, request.limit, language))
        scores, degraded = await self._recollections(request.query, request.limit, context.headers.deadline_s)
        near = list(scores)
        by_words = [RecordId(each.key) for each in await keywords]
        model = fusion.languages_of(self._serving.model())
        languages = await self._store.languages_of({*by_words, *near})
        ranked = fusion.fuse(by_words, near, question=language, languages=languages, model=model)
        found = [(str(each.id), each.score) for each in ranked[: request.limit]]
        item = SearchMemoriesItem(found, degraded, nearness.near_enough(scores, language, model))
        if not (degraded or request.temporary):
            self._cache.put(key, item, _KEY_BYTES * len(item.found), generation)
        yield item

    def _key(self, call: str, query: str, limit: int, language: str) -> bytes:
        return self._cache.key(call, query, limit, language, self._serving.model())

    async def _near(self, query: str, limit: int, deadline_s: float) -> tuple[list[tuple[RecordId, float]], str]:
        """Return the passages nearest to the query, or none and the reason (rule 1)."""
        try:
            pair = self._serving.serving()
            vector = await _vector(pair, query, deadline_s)
            return await pair.index.search(vector, limit), ""
        except (Unavailable, DeadlineExceeded) as error:
            return [], f"vectors: {error}"

    async def _recollections(self, query: str, limit: int, deadline_s: float) -> tuple[dict[RecordId, float], str]:
        """Return the memories and summaries nearest to the query, or none and the reason (rule 1)."""
        try:
            pair = self._serving.serving()
            vector = await _vector(pair, query, deadline_s)
            found = await pair.index.search_recollections(vector, limit)
        except (Unavailable, DeadlineExceeded) as error:
            return {}, f"vectors: {error}"
        return {RecordId(each.key): score for each, score in found}, ""

    async def _fused(
        self,
        keywords: Sequence[tuple[RecordId, float]],
        near: Sequence[tuple[RecordId, float]],
        language: str,
        limit: int,
    ) -> list[Hit]:
        ids = list(dict.fromkeys([record for record, _ in [*keywords, *near]]))
        passages = {RecordId(p.id): p for p in await self._store.passages(ids)}
        fused = fusion.fuse(
            [record for record, _ in keywords],
            [record for record, _ in near],
            question=language,
            languages={record: passage.language for record, passage in passages.items()},
            model=fusion.languages_of(self._serving.model()),
        )
        hits = [Hit(passages[f.id], f.score, f.found_by) for f in fused if f.id in passages]
        return hits[:limit]


async def _vector(pair: Pair, query: str, deadline_s: float) -> bytes:
    item = await pair.engine.embed([query], "query", min(deadline_s, QUERY_EMBED_S))
    return item.vectors[0]


def _checked(query: str, limit: int, language: str, most: int) -> str:
    """Return the language of the query; raises `InvalidInput` for what cannot be searched."""
    if not query.strip():
        raise InvalidInput("query: empty")
    if not 0 < limit <= most:
        raise InvalidInput(f"limit: {limit}, allowed is 1 to {most}")
    return language or detect_language(query)
