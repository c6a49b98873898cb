"""What is remembered and belongs to a question: the profile, and the memories that the question is about.

Rules
1. The profile is there always, since no search finds it. Of all else only what shares enough with the question is used.
2. A score of a search compares within that search only, and a single memory scores nothing by keywords. So enough is
   counted here: half of what the question asks about is in the memory; or half of a memory that shares two words with
   a long question. Words that only ask ("tell", "remember") count when nothing else is asked.
3. An administrator's questions lean on its own memories, not on those that it may see.
4. Within a project, what belongs to another one is left out. What was replaced, or is over, is no answer for now.
5. Most in common first, newest first where that is the same.
6. A question about one's own things ("my", "do you remember") whose words are in no memory, since it was told in
   another language or in other words, gets the one that meaning finds first, if it is near: something always comes
   first, and "tell me a joke" is not about the wifi password. Of other questions nobody knows whether it fits.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from tarsd.calls import Memory, Who
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.recollections import Kept
from tarsd.memory.stemming import stem_words, words
from tarsd.memory.stopwords import LITTLE_WORDS
from tarsd.memory.views import view

FOUND = 24
KEEP = 6
KEEP_SUMMARIES = 2
ENOUGH = 0.5


class ByMeaning(NamedTuple):
    """Keys that a search by meaning found, best first, and those that are near enough to be an answer alone."""

    keys: Sequence[str] = ()
    near: Sequence[str] = ()


Search = Callable[[str, int, str], Awaitable[ByMeaning]]

_LITTLE = frozenset().union(*LITTLE_WORDS.values())
_ASKING_WORDS = (
    "remember recall know tell say said told please hey hi hello tars much many called name names want need mean "
    "recuerda recuerdas recordar acuerdas sabes saber dime decir dije dijiste dicho favor hola oye llama llamo "
    "llaman nombre nombres quiero necesito puedes puede are am m re s t d ll ve"
)
_ASKING = frozenset(_ASKING_WORDS.split())


_OWN = re.compile(
    r"\b(?:my|mine|our|ours|"
    r"mis?|m[ií][oa]s?|nuestr[oa]s?|me|nos|remember|told you|recuerdas?|te\s+(?:dije|he\s+dicho|cont[eé]))\b",
    re.IGNORECASE,
)


class Remembered(Protocol):
    """What is needed of the store."""

    async def profile(self, who: Who, project: str = "", *, now: float = 0.0) -> list[Kept]: ...  # noqa: D102
    async def get_many(self, keys: Sequence[str], who: Who) -> list[Kept]: ...  # noqa: D102
    async def search_memories_by_keywords(  # noqa: D102
        self, query: str, limit: int, language: str, who: Who
    ) -> list[tuple[str, float]]: ...


class Recall(NamedTuple):
    """The profile, newest first, and then what the question is about, best first."""

    profile: list[Memory]
    relevant: list[Memory]


async def recall(
    store: Remembered, who: Who, project: str, question: str, language: str, *, now: float, search: Search | None = None
) -> Recall:
    """Return what belongs to a question; `search` finds keys by meaning, beside the keywords; its errors are raised."""
    own = Who(who.person)
    profile = await store.profile(own, project, now=now)
    asked = asked_about(question)
    if not asked:
        return Recall([view(each.body) for each in profile], [])
    by_meaning = await search(question, FOUND, language) if search is not None else ByMeaning()
    by_words = await store.search_memories_by_keywords(question, FOUND, language, own)
    kept = await store.get_many([*by_meaning.keys, *(key for key, _ in by_words)], own)
    views = [view(each.body) for each in kept if _is_for(each, project, now)]
    scored = [replace(each, score=relevance(asked, each)) for each in views]
    best = sorted((each for each in scored if each.score >= ENOUGH), key=lambda each: (-each.score, -each.made_at))
    if not best and _OWN.search(question):
        best = [each for each in scored if each.key in by_meaning.near][:1]
    memories = [each for each in best if each.kind == "memory"]
    summaries = [each for each in best if each.kind == "summary"][:KEEP_SUMMARIES]
    return Recall([view(each.body) for each in profile], [*memories[: KEEP - len(summaries)], *summaries])


def relevance(asked: Sequence[str], memory: Memory) -> float:
    """Return how much of what is asked about is in a memory, or of it in the question, 0 to 1 (rule 2)."""
    shared, content = in_common(asked, memory)
    of_memory = min(1.0, shared / content) if shared >= 2 and content else 0.0
    return max(shared / len(asked), of_memory if of_memory >= ENOUGH else 0.0)


def in_common(asked: Sequence[str], memory: Memory) -> tuple[int, int]:
    """Return how many of the words asked about are in a memory, by their stems, and how many words it has itself."""
    told = words(" ".join((memory.title, memory.text, *memory.tags)))
    stems = frozenset((*told, *stem_words(told, memory.language)))
    asked_stems = zip(asked, stem_words(list(asked), memory.language), strict=True)
    shared = sum(word in stems or stem in stems for word, stem in asked_stems)
    return shared, len(set(stem_words([word for word in told if word not in _LITTLE], memory.language)))


def asked_about(question: str) -> list[str]:
    """Return the words that say what a question is about, without doubles; [] where it is about nothing."""
    content = [word for word in dict.fromkeys(words(question)) if word not in _LITTLE]
    return [word for word in content if word not in _ASKING] or content


def _is_for(kept: Kept, project: str, now: float) -> bool:
    body = kept.body
    if body.replaced_by or (project and body.scope == "project" and body.project != project):
        return False
    if not isinstance(body, MemoryBody):
        return True
    return body.sort == "fact" and (not body.valid_until or body.valid_until > now)
