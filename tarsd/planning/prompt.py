"""Writes what the model reads: instructions, passages, the conversation and the question, in the question's language.

Rules
1. Passages are numbered from 1, named by file and page, and fenced as material: what they say is never an instruction.
2. They stand with the question, not at the beginning: what was said before stays a prefix that engines keep evaluated.
3. The conversation's summary comes before its recent turns; the oldest turns are dropped first when room is short.
4. The question is always last, and whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from tarsd.calls import Message, Passage, Turn
from tarsd.planning.planner import CHARACTERS_PER_TOKEN
from tarsd.planning.texts import texts

MAX_TURNS = 6


def build_messages(
    question: str,
    passages: Sequence[Passage],
    *,
    summary: str = "",
    turns: Sequence[Turn] = (),
    language: str = "en",
    context_tokens: int = 8192,
    max_tokens: int = 512,
) -> list[Message]:
    """Return the messages for a chat model; they fit `context_tokens` less `max_tokens` by a careful estimate."""
    system, asked = _system(summary, language), _asked(question, passages, language)
    room = int((context_tokens - max_tokens) * CHARACTERS_PER_TOKEN) - len(system) - len(asked)
    messages = [Message("system", system)]
    for turn in _that_fit(turns[-MAX_TURNS:], room):
        messages += [Message("user", turn.question), Message("assistant", turn.answer)]
    return [*messages, Message("user", asked)]


def place(passage: Passage, language: str) -> str:
    """Return "file, page n" in `language`; without a page for formats that have none."""
    return f"{passage.file}, {texts(language).page} {passage.page}" if passage.page else passage.file


def passages_answer(passages: Sequence[Passage], language: str) -> str:
    """Return the answer of last resort: the passages themselves, marked as such."""
    words = texts(language)
    if not passages:
        return words.no_model_no_passages
    quoted = "\n\n".join(f"[{n}] {place(p, language)}:\n{p.text.strip()}" for n, p in enumerate(passages, 1))
    return f"{words.no_model}\n\n{quoted}"


def _system(summary: str, language: str) -> str:
    words = texts(language)
    return f"{words.assistant}\n\n{words.earlier}\n{summary}" if summary else words.assistant


def _asked(question: str, passages: Sequence[Passage], language: str) -> str:
    if not passages:
        return question
    numbered = "\n\n".join(f"[{n}] {place(p, language)}\n{p.text.strip()}" for n, p in enumerate(passages, 1))
    return f"<passages>\n{_unfenced(numbered)}\n</passages>\n\n{texts(language).use_passages}\n\n{question}"


def _unfenced(text: str) -> str:
    """Take away what would close the fence from inside."""
    return text.replace("</passages>", "").replace("<passages>", "")


def _that_fit(turns: Sequence[Turn], room: int) -> list[Turn]:
    """Return the newest turns whose text fits into `room` characters, oldest first."""
    kept: list[Turn] = []
    for turn in reversed(turns):
        room -= len(turn.question) + len(turn.answer)
        if room < 0:
            break
        kept.append(turn)
    return kept[::-1]
