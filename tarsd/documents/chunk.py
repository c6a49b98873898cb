"""Cuts a page's text into passages of about `words` words that overlap by about `overlap` words.

Rules
1. A passage is a slice: `chunk.text == page_text[chunk.start:chunk.end]`, without white space at its ends.
2. Each word of the page is in at least one passage, in order; a passage never crosses a page.
3. A cut is made where the text itself pauses, near the wanted length: rather between paragraphs than between
   sentences, rather there than at a line's end, and only then between any two words.
   Never after a heading, which belongs to what follows.
4. A passage has at most `LONGEST` times the wanted words, so an embedding model's window can be sized by it. A rest
   that would be short is evened out over the last two passages.
5. A run of more than `MAX_WORD_CHARACTERS` without a space counts as several words, a Chinese or Japanese character
   as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from math import ceil

import msgspec

LONGEST = 1.15
SHORTEST = 0.6
MAX_WORD_CHARACTERS = 80

_CJK = "\u2e80-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\s{_CJK}]{{1,{MAX_WORD_CHARACTERS}}}")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_BLOCK_START = re.compile(r"#{1,6}$|[-*•]$")  # a Markdown heading or list item begins
_SENTENCE_END = re.compile(r"(?:[^\W\d_]{3}|.[\d%)\]])[.!?…]+[\"'»”’)\]]*$|[!?。！？]$")
_HEADING = re.compile(r"(?:^|\n)#{1,6} [^\n]*$|(?:^|\n)\d{1,2}\.$")  # of Markdown, or the number of one
_SENTENCE_START = re.compile(r"[\"'«“‘(¿¡\[]*[A-ZÀ-ÖØ-ÞΑ-ΩА-Я0-9#\u2e80-\u9fff]")

# How much nearer to the wanted length (as a share of it) another cut must be to beat one of this kind.
_WORTH = {"paragraph": 0.6, "sentence": 0.35, "line": 0.1, "none": 0.0}

_Span = tuple[int, int]


class Chunk(msgspec.Struct, frozen=True):
    """A passage and its place; `language` is ISO 639-1, "" where it is not known."""

    page: int
    start: int
    end: int
    text: str
    language: str = ""


def chunk(text: str, page: int, *, words: int, overlap: int) -> Iterator[Chunk]:
    """Yield the passages of one page in order; none for a page without words. More `overlap` than half is halved."""
    spans = [found.span() for found in _WORD.finditer(text)]
    overlap = min(overlap, words // 2)
    first = last = 0
    while first < len(spans):
        last = _end(text, spans, first, last, words, overlap)
        start, end = spans[first][0], spans[last - 1][1]
        yield Chunk(page, start, end, text[start:end])
        if last == len(spans):
            return
        first = _next_start(text, spans, first, last, overlap)


def _end(text: str, spans: list[_Span], first: int, covered: int, words: int, overlap: int) -> int:
    """Return the index after the last word of the passage that begins at word `first`; it goes beyond `covered`."""
    rest = len(spans) - first
    longest = max(words, int(words * LONGEST))
    if rest <= longest:
        return len(spans)
    wanted = words if rest > 2 * words - overlap else ceil((rest + overlap) / 2)  # rule 4: even out the last two
    shortest = max(1, overlap + 1, int(wanted * SHORTEST), covered - first + 1)
    candidates = range(shortest, max(longest, shortest) + 1)
    return first + max(candidates, key=lambda count: _score(text, spans, first + count, count, wanted))


def _next_start(text: str, spans: list[_Span], first: int, last: int, overlap: int) -> int:
    """Return where the next passage begins: about `overlap` words before `last`, at a sentence where there is one."""
    if overlap == 0:
        return last
    candidates = range(max(first + 1, last - 2 * overlap), last)
    return max(candidates, key=lambda index: _score(text, spans, index, last - index, overlap))


def _score(text: str, spans: list[_Span], index: int, count: int, wanted: int) -> float:
    """Return how good a cut before word `index` is for a piece of `count` words where `wanted` were asked."""
    return _WORTH[_pause(text, spans, index)] - abs(count - wanted) / wanted


def _pause(text: str, spans: list[_Span], index: int) -> str:
    """Return what kind of pause the text makes before word `index`."""
    before, after = spans[index - 1], spans[index]
    gap = text[before[1] : after[0]]
    following = text[after[0] : after[1]]
    if "\n" in gap or text[before[0] : before[1]].endswith("."):
        line = text.rfind("\n", 0, before[0])
        if _HEADING.search(text[max(line, 0) : before[1]]):
            return "none"
    if _PARAGRAPH.search(gap) or ("\n" in gap and _BLOCK_START.match(following)):
        return "paragraph"
    if _SENTENCE_END.search(text[before[0] : before[1]]) and _SENTENCE_START.match(following):
        return "sentence"
    return "line" if "\n" in gap else "none"


def sections(text: str, characters: int) -> Iterator[_Span]:
    """Yield spans that cover `text`, each of about `characters`, cut at paragraphs: a long file in bounded memory."""
    borders = [0]
    while len(text) - borders[-1] > characters:
        wanted = borders[-1] + characters
        borders.append(_section_end(text, borders[-1], wanted))
    borders.append(len(text))
    yield from pairwise(borders)


def _section_end(text: str, start: int, wanted: int) -> int:
    """Return the last paragraph border before `wanted`, else line end, else space, else `wanted` itself."""
    for separator in ("\n\n", "\n", " "):
        found = text.rfind(separator, start + 1, wanted)
        if found > start:
            return found + len(separator)
    return wanted
