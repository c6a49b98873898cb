"""What is remembered and belongs to a question: the profile, and the memories that the question is about.

Rules
1. The profile is there always, since no search finds it. Of all else only what shares enough with the question is used.
2. A score of a search compares within that search only, and a single memory scores nothing by keywords. So enough is
   counted here: half of what the question asks about is in the memory; or half of a memory that shares two words with
   a long question. Words that only ask ("tell", "remember") count when nothing else is asked.
3. An administrator's questions lean on its own memories, not on those that it may see.
4. Within a project, what belongs to another one is left out. What was replaced, or is over, is no answer for now.
5. Most in common first, newest first where that is the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

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

Search = Callable[[str, int, str], Awaitable[Sequence[tuple[str, float]]]]

_LITTLE = frozenset().union(*LITTLE_WORDS.values())
_ASKING_WORDS = (
    "remember recall know tell say said told please hey hi hello tars much many called name names want need mean "
    "recuerda recuerdas recordar acuerdas sabes saber dime decir dije dijiste dicho favor hola oye llama llamo "
    "llaman nombre nombres quiero necesito puedes puede are am m re s t d ll ve"
)
_ASKING = frozenset(_ASKING_WORDS.split())


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
    asked = _asked(question)
    if not asked:
        return Recall([view(each.body) for each in profile], [])
    found = list(await search(question, FOUND, language)) if search is not None else []
    found += await store.search_memories_by_keywords(question, FOUND, language, own)
    kept = await store.get_many([key for key, _ in found], own)
    scored = [(relevance(asked, each), each) for each in kept if _is_for(each, project, now)]
    ranked = sorted(scored, key=lambda pair: (-pair[0], -_at(pair[1])))
    best = [view(each.body, score=score) for score, each in ranked if score >= ENOUGH]
    memories = [each for each in best if each.kind == "memory"]
    summaries = [each for each in best if each.kind == "summary"][:KEEP_SUMMARIES]
    return Recall([view(each.body) for each in profile], [*memories[: KEEP - len(summaries)], *summaries])


def relevance(asked: Sequence[str], kept: Kept) -> float:
    """Return how much of what is asked about is in a memory, or of it in the question, 0 to 1 (rule 2)."""
    body = kept.body
    title = "" if isinstance(body, MemoryBody) else body.title
    told = words(" ".join((title, body.text, *body.tags)))
    stems = frozenset((*told, *stem_words(told, body.language)))
    asked_stems = zip(asked, stem_words(list(asked), body.language), strict=True)
    shared = [word for word, stem in asked_stems if word in stems or stem in stems]
    of_question = len(shared) / len(asked)
    content = set(stem_words([word for word in told if word not in _LITTLE], body.language))
    of_memory = len(shared) / len(content) if len(shared) >= 2 and content else 0.0
    return max(of_question, min(1.0, of_memory) if of_memory >= ENOUGH else 0.0)


def _asked(question: str) -> list[str]:
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


def _at(kept: Kept) -> float:
    return kept.body.made_at if isinstance(kept.body, MemoryBody) else kept.body.ended_at
