"""Serves what people remember on purpose: every core node takes `save`, `memories`, `save_project` and `projects`.

Rules
1. Each shows and changes only what the person in `Who` may see.
2. With a query the best come first, as `search_memories` finds them, by meaning; where nobody can, by keywords, and the
   answer says so. What that search finds of others is left out, and the person's own is searched by keywords as well:
   a household of many memories never crowds a person's out.
3. A memory is shown with its evidence, and with what it took the place of.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

from tarsd import calls
from tarsd.calls import (
    MemoriesItem,
    MemoriesRequest,
    Memory,
    ProjectsItem,
    ProjectsRequest,
    SearchMemoriesRequest,
)
from tarsd.errors import TarsdError
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.recollections import Filter, Kept
from tarsd.memory.views import project_view, view
from tarsd.names import Capability
from tarsd.planning.language import detect_language
from tarsd.roles.base import Attributes, Role, Services
from tarsd.roles.saving import Saving
from tarsd.rpc import CallContext, Handler

MAX_LIMIT = 500
MAX_QUERY_CHARACTERS = 2000
FOUND_BEYOND = 40  # more than asked for, since some of what is found is others'
_NO_SCORES: Mapping[str, float] = {}


class Memories(Role):
    """Offers `save`, `memories`, `save_project`, `projects`."""

    name = "memories"

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._saving = Saving(services)

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {
            calls.SAVE.name: self._saving.save,
            calls.SAVE_PROJECT.name: self._saving.save_project,
            calls.MEMORIES.name: self._memories,
            calls.PROJECTS.name: self._projects,
        }

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        return {name: {} for name in self.handlers()}

    async def _projects(self, request: ProjectsRequest, context: CallContext) -> AsyncGenerator[ProjectsItem, None]:
        found = await self._store.projects(request.who)
        yield ProjectsItem([project_view(*each) for each in found])

    async def _memories(self, request: MemoriesRequest, context: CallContext) -> AsyncGenerator[MemoriesItem, None]:
        limit, offset = max(0, min(request.limit, MAX_LIMIT)), max(0, request.offset)
        if request.key:
            found = await self._store.get_many([request.key], request.who)
            yield MemoriesItem(await self._views(found), len(found))
        elif request.query.strip():
            ranked, scores, degraded = await self._found(request, offset + limit, context)
            shown = [each for each in ranked if _fits(each, request)]
            page = shown[offset : offset + limit]
            yield MemoriesItem(await self._views(page, scores), len(shown), degraded)
        else:
            wanted = Filter(request.kinds, request.sort, request.scope, request.project, history=request.history)
            kept, total = await self._store.memories(request.who, wanted, limit=limit, offset=offset)
            yield MemoriesItem(await self._views(kept), total)

    async def _found(
        self, request: MemoriesRequest, wanted: int, context: CallContext
    ) -> tuple[list[Kept], dict[str, float], str]:
        """Return what a query finds, best first, with the scores, and what could not be used (rule 2)."""
        query = request.query.strip()[:MAX_QUERY_CHARACTERS]
        language = detect_language(query)
        asked = SearchMemoriesRequest(query, wanted + FOUND_BEYOND, language)
        scores: dict[str, float] = {}
        try:
            found = await self._services.dispatch.one(calls.SEARCH_MEMORIES, asked, within=context.headers)
            scores, degraded = dict(found.found), found.degraded
        except TarsdError as error:
            degraded = f"found by keywords only: {error}"
        own = await self._store.search_memories_by_keywords(query, wanted + FOUND_BEYOND, language, request.who)
        ranked = list(dict.fromkeys((*scores, *(key for key, _ in own))))
        return await self._store.get_many(ranked, request.who), scores or dict(own), degraded

    async def _views(self, kept: Sequence[Kept], scores: Mapping[str, float] = _NO_SCORES) -> list[Memory]:
        documents = sorted({source.document for each in kept for source in each.body.sources if source.document})
        files = await self._store.files(documents) if documents else {}
        replaced = await self._store.replaced_by([each.key for each in kept])
        return [
            view(
                each.body,
                files=files,
                contradicts=[old.key for old in replaced.get(each.key, ()) if _was_contradicted(old)],
                score=scores.get(each.key, 0.0),
            )
            for each in kept
        ]


def _was_contradicted(old: Kept) -> bool:
    return isinstance(old.body, MemoryBody) and old.body.replaced_why == "contradicted"


def _fits(kept: Kept, request: MemoriesRequest) -> bool:
    """Tell whether what a query found fits the other fields of the request."""
    body = kept.body
    kind, sort = ("memory", body.sort) if isinstance(body, MemoryBody) else ("summary", "fact")
    return (
        kind in request.kinds
        and request.sort in ("", sort)
        and request.scope in ("", body.scope)
        and request.project in ("", body.project)
        and (request.history or not body.replaced_by)
    )
