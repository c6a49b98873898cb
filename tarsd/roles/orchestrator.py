"""The role `orchestrator`: prepares questions: route, searches, conversation summary, messages for the model.

Rules
1. A search that fails costs the passages of that search, and the answer says so; it never fails the question.
2. Searches, the summary and what is remembered are asked for at the same time.
3. What is remembered is asked for on every route: "what is my wifi password?" needs no documents. A temporary chat uses
   nothing of it. For what meaning adds to the keywords nobody waits longer than `MEANING_S`: "turn on the light" goes
   through here too, and the PC that embeds may hang.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping

from tarsd import calls, routing
from tarsd.calls import (
    Hit,
    Memory,
    PrepareItem,
    PrepareRequest,
    RecallRequest,
    SearchMemoriesRequest,
    SearchRequest,
)
from tarsd.errors import StorageError, TarsdError
from tarsd.memory.recalling import ByMeaning, recall
from tarsd.names import Capability
from tarsd.planning import planner, prompt, router
from tarsd.planning.language import detect_language
from tarsd.planning.texts import texts
from tarsd.roles.base import Attributes, Role, Services
from tarsd.rpc import CallContext, Handler

log = logging.getLogger(__name__)

MEANING_S = 1.0


class Orchestrator(Role):
    """Offers `prepare`."""

    name = "orchestrator"

    def __init__(self, services: Services) -> None:
        self._services = services

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {calls.PREPARE.name: self._prepare}

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        return {calls.PREPARE.name: {}}

    async def _prepare(self, request: PrepareRequest, context: CallContext) -> AsyncGenerator[PrepareItem, None]:
        language = detect_language(request.question) or request.language or "en"
        decision = router.decide(request.question, documents=await self._services.store.document_count())
        steps = planner.plan(
            decision.route,
            request.question,
            request.turns,
            context_tokens=request.context_tokens,
            max_tokens=request.max_tokens,
        )
        summary_task = asyncio.create_task(self._summary(request, context))
        recall_task = asyncio.create_task(self._recall(request, language, context))
        found = await asyncio.gather(*(self._search(query, language, request, context) for query in steps.queries))
        summary, no_summary = await summary_task
        memories = await recall_task
        chosen = planner.choose([hits for hits, _ in found], steps)
        problems = dict.fromkeys([*(problem for _, problem in found), no_summary])
        messages = prompt.build_messages(
            request.question,
            chosen,
            memories=memories,
            summary=summary,
            turns=request.turns,
            language=language,
            context_tokens=request.context_tokens,
            max_tokens=request.max_tokens,
        )
        yield PrepareItem(
            decision.route,
            messages,
            chosen,
            language,
            decision.reasons,
            degraded="; ".join(problem for problem in problems if problem),
            memories=memories,
        )

    async def _search(
        self, query: str, language: str, request: PrepareRequest, context: CallContext
    ) -> tuple[list[Hit], str]:
        asked = SearchRequest(query, planner.SEARCH_LIMIT, language, temporary=request.temporary)
        try:
            found = await self._services.dispatch.one(calls.SEARCH, asked, within=context.headers)
        except TarsdError as error:
            return [], texts(language).no_search.format(reason=error)
        if found.degraded:
            log.info("%s: %s", context.headers.trace, found.degraded)
        return found.hits, texts(language).keywords_only if found.degraded else ""

    async def _recall(self, request: PrepareRequest, language: str, context: CallContext) -> list[Memory]:
        """Return the profile and what is remembered of the question; a failed search by meaning leaves the keywords."""
        if request.temporary:
            return []

        async def by_meaning(query: str, limit: int, language: str) -> ByMeaning:
            asked = SearchMemoriesRequest(query, limit, language)
            try:
                found = await self._services.dispatch.one(
                    calls.SEARCH_MEMORIES, asked, within=context.headers, deadline_s=MEANING_S
                )
            except TarsdError as error:
                log.debug("%s: memories are searched by keywords only: %s", context.headers.trace, error)
                return ByMeaning()
            if found.degraded:  # keywords are asked beside it anyway
                return ByMeaning()
            return ByMeaning([key for key, _ in found.found], found.near)

        query = planner.with_what_came_before(request.question, request.turns)
        try:
            found = await recall(
                self._services.store,
                request.who,
                request.project,
                query,
                language,
                now=time.time(),
                search=by_meaning,
            )
        except StorageError as error:
            log.warning("%s: nothing could be remembered: %s", context.headers.trace, error)
            return []
        return [*found.profile, *found.relevant]

    async def _summary(self, request: PrepareRequest, context: CallContext) -> tuple[str, str]:
        """Return the conversation's summary and what went wrong, "" where nothing did."""
        # while all of the open chat is still at hand, its own turns say more than their summary
        if not request.conversation or request.temporary or 0 < len(request.turns) < prompt.MAX_TURNS:
            return "", ""
        members = self._services.members()
        holder = routing.holder(members, calls.RECALL.name, request.conversation)
        asked = RecallRequest(request.conversation, request.who.person, request.seed)
        try:
            recalled = await self._services.dispatch.one(calls.RECALL, asked, within=context.headers, only=holder)
        except TarsdError as error:
            if request.seed is not None:  # its holder was lost: what the host knows of it is all that it knew
                return request.seed.summary, ""
            return "", texts(request.language).no_summary.format(reason=error)
        return recalled.summary, ""
