"""Prepares a question with this node's own means: rules for the route, keywords for the passages and for what is
remembered. No peer is asked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from tarsd.calls import Hit, Memory, Message, Passage, PrepareItem, PrepareRequest
from tarsd.errors import StorageError
from tarsd.memory.recalling import Remembered, recall
from tarsd.names import RecordId, Route
from tarsd.planning import planner, prompt, router
from tarsd.planning.language import detect_language
from tarsd.planning.texts import texts


class Records(Remembered, Protocol):
    """What the host needs of its own copy of the records."""

    async def document_count(self) -> int: ...  # noqa: D102
    async def keyword_search(  # noqa: D102
        self, query: str, limit: int, language: str = ""
    ) -> Sequence[tuple[RecordId, float]]: ...
    async def passages(self, ids: Sequence[RecordId]) -> Sequence[Passage]: ...  # noqa: D102


async def prepare_alone(records: Records, request: PrepareRequest, *, node: str, lost: str) -> PrepareItem:
    """Return the prepared question, marked degraded; `lost` names who did not answer, "" = nobody was there.

    A failed disk costs the passages, not the answer.
    """
    language = detect_language(request.question) or request.language or "en"
    words = texts(language)
    reason = words.does_not_answer.format(node=lost) if lost else words.nobody_prepares
    degraded = words.prepared_alone.format(node=node, reason=reason)
    try:
        decision = router.decide(request.question, documents=await records.document_count())
        steps = planner.plan(
            decision.route,
            request.question,
            request.turns,
            context_tokens=request.context_tokens,
            max_tokens=request.max_tokens,
        )
        found = [await _search(records, query, language) for query in steps.queries]
        chosen = planner.choose(found, steps)
        memories = await _remembered(records, request, language)
    except StorageError as error:
        memories = []
        decision, chosen = router.Decision(Route.INFERENCE_ONLY, ["the records cannot be read"]), []
        degraded = f"{degraded}; {error}"
    messages = _messages(request, chosen, memories, language)
    return PrepareItem(decision.route, messages, chosen, language, decision.reasons, degraded, memories)


async def prepare_again(records: Records, request: PrepareRequest, sources: Sequence[RecordId]) -> PrepareItem | None:
    """Return the question prepared with the passages that the text shown cites; None when they are not all here."""
    language = detect_language(request.question) or request.language or "en"
    try:
        decision = router.decide(request.question, documents=await records.document_count())
        chosen = list(await records.passages(sources))
        memories = await _remembered(records, request, language)
    except StorageError:
        return None
    if [passage.id for passage in chosen] != list(sources):
        return None
    messages = _messages(request, chosen, memories, language)
    return PrepareItem(decision.route, messages, chosen, language, decision.reasons, memories=memories)


async def _remembered(records: Records, request: PrepareRequest, language: str) -> list[Memory]:
    """Return the profile and what keywords find of what is remembered."""
    if request.temporary:
        return []
    query = planner.with_what_came_before(request.question, request.turns)
    found = await recall(records, request.who, request.project, query, language, now=time.time())
    return [*found.profile, *found.relevant]


def _messages(
    request: PrepareRequest, chosen: Sequence[Passage], memories: Sequence[Memory], language: str
) -> list[Message]:
    return prompt.build_messages(
        request.question,
        chosen,
        memories=memories,
        summary=_earlier(request),
        turns=request.turns,
        language=language,
        context_tokens=request.context_tokens,
        max_tokens=request.max_tokens,
    )


def _earlier(request: PrepareRequest) -> str:
    """Return the conversation's summary as far as this host knows it, where the open chat's turns do not tell all."""
    if request.seed is None or 0 < len(request.turns) < prompt.MAX_TURNS:
        return ""
    return request.seed.summary


async def _search(records: Records, query: str, language: str) -> list[Hit]:
    found = await records.keyword_search(query, planner.SEARCH_LIMIT, language)
    scores = dict(found)
    passages = await records.passages([record for record, _ in found])
    return [Hit(p, scores.get(RecordId(p.id), 0.0), ["keywords"]) for p in passages]
