"""What is written when something is to be remembered: the new memory, and the older ones whose place it takes. Pure.

Rules
1. The same text in the same place (scope, person, project) and of the same sort is known already; nothing is written.
   Only the white space, the first letter's size and a full stop at the end make no other text: a password's letters do.
2. A memory that says otherwise of the same thing (`contradictions`) takes the place of the older ones: each is kept,
   valid until now, with the key of what replaced it.
3. Only memories of one place are compared: what one person is told never hides what others see.
4. Language, dates and keywords are found in the text where they are not given.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from tarsd.calls import SaveRequest
from tarsd.errors import InvalidInput
from tarsd.memory.bodies import MemoryBody, Source, memory_key
from tarsd.memory.contradictions import contradicts
from tarsd.memory.dates import dates_in
from tarsd.memory.extractive import marks_of, sentences

MAX_TEXT_CHARACTERS = 4000
MAX_TAGS = 32
MAX_TAG_CHARACTERS = 64
MAX_KEYWORDS = 16


class Writing(NamedTuple):
    """What to write: `body`, None where `known` says it already, and `replaced` as they are written again."""

    body: MemoryBody | None
    known: MemoryBody | None = None
    replaced: tuple[MemoryBody, ...] = ()


def checked_text(text: str) -> str:
    """Return the text that is remembered; raises `InvalidInput` for none and for too much."""
    text = text.strip()
    if not text:
        raise InvalidInput("text: there is nothing to remember")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidInput(f"text: {len(text)} characters, at most {MAX_TEXT_CHARACTERS} are remembered")
    return text


def checked_tags(tags: Iterable[str]) -> list[str]:
    """Return the tags without doubles; raises `InvalidInput` for too many or too long ones."""
    kept = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(kept) > MAX_TAGS or any(len(tag) > MAX_TAG_CHARACTERS for tag in kept):
        raise InvalidInput(f"tags: at most {MAX_TAGS} of at most {MAX_TAG_CHARACTERS} characters each")
    return kept


def body_of(request: SaveRequest, identity: str, salt: bytes, *, language: str, now: float) -> MemoryBody:
    """Return the new memory that a request asks for (rule 4); raises `InvalidInput` naming the field."""
    text = checked_text(request.text)
    return MemoryBody(
        identity,
        text,
        sort=request.sort,
        scope=request.scope,
        person=request.who.person,
        project=request.project,
        language=language,
        tags=checked_tags(request.tags),
        keywords=keywords_of(text),
        dates=dates_in(text),
        valid_from=request.valid_from,
        valid_until=request.valid_until,
        made_at=now,
        made_by=request.made_by,
        sources=sources_of(request, now),
        salt=salt,
    )


def sources_of(request: SaveRequest, now: float) -> list[Source]:
    """Return what a request says that the memory was learned from."""
    if not request.conversation and not request.answer:
        return []
    return [Source(request.conversation, request.answer, now)]


def edited(old: MemoryBody, request: SaveRequest, *, language: str, now: float) -> MemoryBody:
    """Return a known memory with another text or other fields: the same memory, as a person corrected it."""
    text = checked_text(request.text)
    is_moved = request.scope != old.scope
    return replace(
        old,
        text=text,
        sort=request.sort,
        scope=request.scope,
        person=request.who.person if is_moved else old.person,
        project=request.project,
        language=language,
        tags=checked_tags(request.tags),
        keywords=keywords_of(text),
        dates=dates_in(text),
        valid_from=request.valid_from,
        valid_until=request.valid_until,
        sources=[*old.sources, *sources_of(request, now)],
    )


def judge(new: MemoryBody, near: Iterable[MemoryBody], now: float) -> Writing:
    """Return what to write of a new memory, given current ones that may say the same or otherwise (rules 1 to 3)."""
    own = [old for old in near if not old.replaced_by and _place(old) == _place(new)]
    for old in own:
        if old.sort == new.sort and normal(old.text) == normal(new.text):
            return Writing(None, known=old)
    key = memory_key(new.id)
    replaced = tuple(
        replace(
            old,
            valid_until=min(old.valid_until, now) if old.valid_until else now,
            replaced_by=key,
            replaced_why="contradicted",
        )
        for old in own
        if contradicts(new, old)
    )
    if replaced and not new.valid_from:
        new = replace(new, valid_from=now)
    return Writing(new, replaced=replaced)


def normal(text: str) -> str:
    """Return what two texts share that say the same in the same words (rule 1)."""
    plain = " ".join(unicodedata.normalize("NFC", text).split()).rstrip(".!")
    return plain[:1].casefold() + plain[1:]


def _place(body: MemoryBody) -> tuple[str, str, str]:
    """Return whose a memory is; what is the household's is so whoever said it."""
    return body.scope, "" if body.scope == "household" else body.person, body.project


def keywords_of(text: str) -> list[str]:
    """Return the names, numbers and words of time in a text."""
    found = dict.fromkeys(fact for sentence in sentences(text) for fact in sorted(marks_of(sentence)))
    return list(found)[:MAX_KEYWORDS]
