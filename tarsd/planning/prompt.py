"""Writes what the model reads: instructions, passages, the conversation and the question, in the question's language.

Rules
1. Passages are numbered from 1, named by file and page, and fenced as material: what they say is never an instruction.
2. They stand with the question, not at the beginning: what was said before stays a prefix that engines keep evaluated.
3. The conversation's summary comes before its recent turns; the oldest turns are dropped first when room is short.
4. The question is always last, and whole.
5. The profile (standing instructions and preferences) is in the system's message, before the summary: it changes
   seldom, so engines keep it evaluated. What else is remembered stands with the question, dated and fenced as material.
6. What is remembered takes at most a tenth of the context, the profile a twelfth; the newest and best stay.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from tarsd.calls import Memory, Message, Passage, Turn
from tarsd.planning.planner import CHARACTERS_PER_TOKEN
from tarsd.planning.texts import texts

_FENCE = re.compile(r"<\s{0,3}/?\s{0,3}(?:passages|remembered)\s{0,3}/?\s{0,3}>", re.IGNORECASE)

MAX_TURNS = 6
MAX_PROFILE_CHARACTERS = 1200
MAX_REMEMBERED_CHARACTERS = 1800
MAX_MEMORY_CHARACTERS = 700  # of one: a summary is cut, its beginning says what it is about


def build_messages(
    question: str,
    passages: Sequence[Passage],
    *,
    memories: Sequence[Memory] = (),
    summary: str = "",
    turns: Sequence[Turn] = (),
    language: str = "en",
    context_tokens: int = 8192,
    max_tokens: int = 512,
) -> list[Message]:
    """Return the messages for a chat model; they fit `context_tokens` less `max_tokens` by a careful estimate.

    `memories`: the profile and what is remembered of the question, told apart by their sort.
    """
    room = int((context_tokens - max_tokens) * CHARACTERS_PER_TOKEN)
    profile = _lines([each for each in memories if each.sort != "fact"], min(MAX_PROFILE_CHARACTERS, room // 12))
    system = _system(profile, summary, language)
    remembered = remembered_lines(memories, min(MAX_REMEMBERED_CHARACTERS, room // 10))
    asked = _asked(question, passages, remembered, language)
    room -= len(system) + len(asked)
    messages = [Message("system", system)]
    for turn in _that_fit(turns[-MAX_TURNS:], room):
        messages += [Message("user", turn.question), Message("assistant", turn.answer)]
    return [*messages, Message("user", asked)]


def place(passage: Passage, language: str) -> str:
    """Return "file, page n" in `language`; without a page for formats that have none."""
    return f"{passage.file}, {texts(language).page} {passage.page}" if passage.page else passage.file


def passages_answer(passages: Sequence[Passage], language: str, memories: Sequence[Memory] = ()) -> str:
    """Return the answer of last resort: what is remembered and the passages themselves, marked as such."""
    words = texts(language)
    remembered = remembered_lines(memories, MAX_REMEMBERED_CHARACTERS)
    if not passages:
        return f"{words.no_model_remembered}\n\n{remembered}" if remembered else words.no_model_no_passages
    quoted = "\n\n".join(f"[{n}] {place(p, language)}:\n{p.text.strip()}" for n, p in enumerate(passages, 1))
    before = f"{words.no_model_remembered}\n\n{remembered}\n\n" if remembered else ""
    return f"{before}{words.no_model}\n\n{quoted}"


def remembered_lines(memories: Sequence[Memory], most_characters: int) -> str:
    """Return what is remembered beside the profile, a line each with its date, within so many characters."""
    return _lines([each for each in memories if each.sort == "fact"], most_characters, dated=True)


def _lines(memories: Sequence[Memory], most_characters: int, *, dated: bool = False) -> str:
    lines: list[str] = []
    most_of_one = min(MAX_MEMORY_CHARACTERS, most_characters // 2)  # a long one leaves room for another
    for each in memories:
        text = " ".join(f"{each.title}: {each.text}".split() if each.title else each.text.split())
        if len(text) > most_of_one:
            text = f"{text[:most_of_one]}…"
        when = f" ({day_of(each.made_at)})" if dated and each.made_at else ""
        line = f"- {text}{when}"
        if len(line) + 1 > most_characters:
            continue  # a shorter one may still fit
        most_characters -= len(line) + 1
        lines.append(line)
    return "\n".join(lines)


def day_of(at: float) -> str:
    """Return the day of a time in seconds since 1970, as people and models read it."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _system(profile: str, summary: str, language: str) -> str:
    words = texts(language)
    parts = [words.assistant]
    if profile:
        parts.append(f"{words.profile}\n{profile}")
    if summary:
        parts.append(f"{words.earlier}\n{summary}")
    return "\n\n".join(parts)


def _asked(question: str, passages: Sequence[Passage], remembered: str, language: str) -> str:
    words = texts(language)
    parts: list[str] = []
    if remembered:
        parts += [f"<remembered>\n{_unfenced(remembered)}\n</remembered>", words.use_remembered]
    if passages:
        numbered = "\n\n".join(f"[{n}] {place(p, language)}\n{p.text.strip()}" for n, p in enumerate(passages, 1))
        parts += [f"<passages>\n{_unfenced(numbered)}\n</passages>", words.use_passages]
    return "\n\n".join((*parts, question))


def _unfenced(text: str) -> str:
    """Take away what would close the fence from inside, and what would once that is taken away."""
    while (plain := _FENCE.sub("", text)) != text:
        text = plain
    return text


def _that_fit(turns: Sequence[Turn], room: int) -> list[Turn]:
    """Return the newest turns whose text fits into `room` characters, oldest first."""
    kept: list[Turn] = []
    for turn in reversed(turns):
        room -= len(turn.question) + len(turn.answer)
        if room < 0:
            break
        kept.append(turn)
    return kept[::-1]
