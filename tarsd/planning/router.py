"""Decides how a question is answered: by the model alone, with passages, or by drawing several documents together.

Rules, the first that fits decides (each is named in the reasons that people may ask for)
1. no documents at all -> inference_only
2. the person names documents, files, invoices, contracts … -> synthesis if they want an overview, else needs_context
3. a greeting, thanks, small talk, or a question about the assistant -> inference_only
4. a household command (switch, dim, open, timer, shopping list …) -> inference_only
5. writing, translating, rephrasing, coding, calculating on what stands in the question -> inference_only
6. overview, comparison, "everything about" -> synthesis
7. a question -> needs_context
8. anything else: a short imperative -> inference_only; a longer statement -> needs_context
"""

from __future__ import annotations

from typing import NamedTuple

from tarsd.names import Route
from tarsd.planning import phrases


class Decision(NamedTuple):
    """The route and the names of the rules that chose it."""

    route: Route
    reasons: list[str]


SHORT_WORDS = 9


def decide(question: str, *, documents: int) -> Decision:
    """Return the route for `question` when `documents` documents are known."""
    text = question.strip()
    names_document, overview = bool(phrases.DOCUMENT.search(text)), bool(phrases.OVERVIEW.search(text))
    short = len(text.split()) <= SHORT_WORDS
    if documents == 0:
        return Decision(Route.INFERENCE_ONLY, ["no documents are known"])
    if names_document:
        route = Route.SYNTHESIS if overview else Route.NEEDS_CONTEXT
        return Decision(route, ["names a document", *(["asks for an overview"] if overview else [])])
    if phrases.SMALL_TALK.search(text):
        return Decision(Route.INFERENCE_ONLY, ["small talk"])
    if phrases.COMMAND.search(text) or (short and phrases.DEVICE.search(text)):
        return Decision(Route.INFERENCE_ONLY, ["household command"])
    if phrases.WRITING.search(text):
        return Decision(Route.INFERENCE_ONLY, ["writing or calculating on the question itself"])
    if overview:
        return Decision(Route.SYNTHESIS, ["asks for an overview"])
    if text.endswith("?") or text.startswith("¿") or phrases.QUESTION.search(text):
        return Decision(Route.NEEDS_CONTEXT, ["a question"])
    if short:
        return Decision(Route.INFERENCE_ONLY, ["a short remark"])
    return Decision(Route.NEEDS_CONTEXT, ["a longer statement"])
