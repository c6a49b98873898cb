"""Turns a route into steps: which searches to make, how many passages to keep, how much room they have.

Rules
1. inference_only searches nothing.
2. needs_context makes one search of the question; a follow-up ("and how much?") is searched with the question before.
3. synthesis searches the question and each of its parts, and keeps passages of several documents.
4. Passages get what is left of the model's context after the answer, the conversation and the instructions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from tarsd.calls import Hit, Passage, Turn
from tarsd.names import Route

CONTEXT_PASSAGES = 4
SYNTHESIS_PASSAGES = 8
PER_DOCUMENT_IN_SYNTHESIS = 3
SEARCH_LIMIT = 12
MAX_QUERIES = 4
FOLLOW_UP_WORDS = 6  # a question this short usually leans on the one before it
CHARACTERS_PER_TOKEN = 2.6  # low on purpose: small models need ~2 pieces for a Spanish word
INSTRUCTION_TOKENS = 220

_PART = re.compile(
    r"\s*(?:[;?]|,?\s(?:and|y|e|versus|vs\.?|compared (?:to|with)|frente a|comparado con)\s)\s*", re.IGNORECASE
)
_LEANING = re.compile(r"^[\s¿¡]*(?:and|but|so|then|also|y|e|pero|entonces|tambi[eé]n)\b", re.IGNORECASE)


class Plan(NamedTuple):
    """The searches to make and what to keep of what they find; `budget_characters` bounds the passages' text."""

    queries: list[str]
    keep: int
    per_document: int
    budget_characters: int


def plan(route: Route, question: str, turns: Sequence[Turn], *, context_tokens: int, max_tokens: int) -> Plan:
    """Return the steps for `question` on `route`, for a model with `context_tokens` that answers in `max_tokens`."""
    room = max(0, context_tokens - max_tokens - INSTRUCTION_TOKENS)
    budget = int(room * CHARACTERS_PER_TOKEN * 0.75)  # a quarter stays for the question and the conversation
    if route is Route.INFERENCE_ONLY:
        return Plan([], 0, 0, 0)
    query = with_what_came_before(question, turns)
    if route is Route.NEEDS_CONTEXT:
        return Plan([query], CONTEXT_PASSAGES, CONTEXT_PASSAGES, budget)
    parts = [part for part in _PART.split(question) if len(part.split()) >= 2]
    queries = list(dict.fromkeys([query, *(parts if len(parts) > 1 else [])]))[:MAX_QUERIES]
    return Plan(queries, SYNTHESIS_PASSAGES, PER_DOCUMENT_IN_SYNTHESIS, budget)


def choose(found: Sequence[Sequence[Hit]], chosen_plan: Plan) -> list[Passage]:
    """Return the passages to show the model: the searches' hits in turn, without doubles, within the plan's bounds."""
    chosen: list[Passage] = []
    per_document: dict[str, int] = {}
    room = chosen_plan.budget_characters
    for hit in _in_turn(found):
        passage = hit.passage
        if len(chosen) == chosen_plan.keep:
            break
        if len(passage.text) > room or per_document.get(passage.document, 0) >= chosen_plan.per_document:
            continue
        if any(_same_words(passage, other) for other in chosen):
            continue
        chosen.append(passage)
        per_document[passage.document] = per_document.get(passage.document, 0) + 1
        room -= len(passage.text)
    return chosen


def with_what_came_before(question: str, turns: Sequence[Turn]) -> str:
    """Return what to search for: a follow-up with the question that it leans on."""
    leans = _LEANING.match(question) or len(question.split()) <= FOLLOW_UP_WORDS
    return f"{turns[-1].question} {question}" if turns and leans else question


def _in_turn(found: Sequence[Sequence[Hit]]) -> list[Hit]:
    """Return first hits first: one of each search, then the second of each, and so on."""
    longest = max((len(hits) for hits in found), default=0)
    return [hits[rank] for rank in range(longest) for hits in found if rank < len(hits)]


def _same_words(one: Passage, other: Passage) -> bool:
    """Tell whether two passages are the same, or overlap for more than half on the same page."""
    if one.id == other.id:
        return True
    if (one.document, one.page) != (other.document, other.page):
        return False
    shared = min(one.end, other.end) - max(one.start, other.start)
    return shared > min(len(one.text), len(other.text)) / 2
