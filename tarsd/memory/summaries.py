"""Rolling summaries: what a model wrote, held against what was said, and mended by rule. Pure.

Rules
1. A model's summary is taken as far as it is sound: its words only, no sentence twice, no half sentence at its end, and
   no sentence that tells a fact which neither the summary before nor the exchange tells.
2. What is left of too poor a summary (under `LEAST_KEPT` of what it wrote, or it goes round in circles) is none: then
   the sentences themselves take its place, those first that tell most in fewest words (`extractive`).
3. Facts that were told and are missing are mended: the shortest part of a sentence that tells each is added, in the
   order in which they were told.
4. Over `MOST_WORDS` there is room for what weighs most a word: a fact of the last exchange weighs more than one of
   before, one of figures more than a name. What tells nothing new goes first.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from tarsd.memory import facts
from tarsd.memory.extractive import sentences, summarize
from tarsd.memory.facts import Fact, Facts, facts_in

MODEL_WORDS = 120  # asked of a model
MOST_WORDS = 240  # with what was mended
MAX_MODEL_CHARACTERS = 12_000  # what a small model's context holds beside the instructions
LEAST_KEPT = 0.5
LEAST_NEW = 0.5  # of a text's runs of three words; below, it goes round in circles
PIECE_WORDS = 24
LEAST_PIECE_WORDS = 3
TITLE_WORDS = 9

_NEW, _OLD = 3.0, 2.0
_NAME_WEIGHT = 0.8  # of a fact of figures
_LABEL = re.compile(r"^\W*(?:summary|resumen)\W*:\s*", re.IGNORECASE)
_BULLET = re.compile(r"(?m)^\s*(?:[-*•]+|#+)\s+")
_EDGE = re.compile(r"(?<=[,;:)])\s+|\s+(?=[(—–])|\s+(?=(?:y|e|o|pero|and|but|or)\s)")
_LINK = re.compile(r"^(?:y|e|o|pero|and|but|or)\s+")  # to the clause that stays behind
_END = (".", "!", "?", "…", '"', "»", ")")


class Exchange(NamedTuple):
    """What a summary is folded from: the one before, and what was said since."""

    before: str
    question: str
    answer: str

    def text(self) -> str:
        """Return it as one text for a model; of a very long exchange the ends are left out, never the summary."""
        room = max(MAX_MODEL_CHARACTERS - len(self.before) - 3, 0)
        question = self.question[: room * 2 // 3]
        return f"{self.before}\n\n{question}\n{self.answer[: room - len(question)]}".strip()


class _Piece(NamedTuple):
    """A part of a summary with the facts that it tells, and where it stands in the order."""

    place: int
    text: str
    told: Facts

    @property
    def words(self) -> int:
        return max(1, len(self.text.split()))


def fold(exchange: Exchange, written: str, *, most_words: int = MOST_WORDS) -> str:
    """Return the summary of all that was said; `written` is the model's, "" where none could."""
    summary = sound(written, sources_of(exchange))
    if not summary:
        whole = "\n".join(part for part in exchange if part)
        summary = summarize(whole, min(MODEL_WORDS, most_words))
    return mended(summary, exchange, most_words=most_words)


def sources_of(exchange: Exchange) -> list[Facts]:
    """Return what a summary is held against."""
    return [facts_in(part) for part in exchange]


def sound(written: str, sources: Sequence[Facts]) -> str:
    """Return what may be kept of a model's summary; "" when that is too little (rules 1 and 2)."""
    text = _BULLET.sub("", _LABEL.sub("", written.strip()))
    found = list(dict.fromkeys(sentences(text)))
    if len(found) > 1 and not found[-1].endswith(_END):
        found.pop()
    kept = [sentence for sentence in found if not facts.invented(facts_in(sentence), sources)]
    result = " ".join(kept)
    if _newness(text) < LEAST_NEW or len(result.split()) < LEAST_KEPT * len(" ".join(found).split()):
        return ""
    return result


def mended(summary: str, exchange: Exchange, *, most_words: int = MOST_WORDS) -> str:
    """Return a summary with the facts that it lacks, within `most_words` (rules 3 and 4)."""
    pieces = [_Piece(place, text, facts_in(text)) for place, text in enumerate(sentences(summary))]
    told = facts_in(summary)
    for text in exchange:
        for sentence in sentences(text):
            lacking = [fact for fact in facts.missing(facts_in(sentence), told) if not fact.weak]
            for part in _parts(sentence, lacking):
                pieces.append(_Piece(len(pieces), part, facts_in(part)))
                told = facts.together(told, pieces[-1].told)
    if sum(piece.words for piece in pieces) > most_words:
        pieces = _fitting(pieces, _weights(exchange), most_words)
    return told_text(pieces)


def told_text(pieces: Sequence[_Piece]) -> str:
    """Return pieces as one text."""
    return " ".join(_ended(piece.text) for piece in pieces)


def title_of(question: str) -> str:
    """Return a short title for a conversation that begins with this question: its first sentence, cut at a word."""
    found = sentences(question)
    words = (found[0] if found else "").strip("¿¡ ").split()
    cut = " ".join(words[:TITLE_WORDS]).rstrip(",;:")
    return cut if len(words) <= TITLE_WORDS else f"{cut}…"


def _parts(sentence: str, lacking: Sequence[Fact]) -> list[str]:
    """Return the shortest parts of a sentence that tell the facts it is wanted for."""
    if not lacking:
        return []
    bounds = [0, *(match.end() for match in _EDGE.finditer(sentence)), len(sentence)]
    spans = [(a, b) for a, b in itertools.pairwise(bounds) if b > a]
    wanted = {number for number, span in enumerate(spans) if any(_touches(fact, span) for fact in lacking)}
    runs: list[list[int]] = []
    for number in sorted(wanted):
        if runs and number - runs[-1][-1] <= 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    found = [_grown(sentence, spans, run[0], run[-1]) for run in runs]
    return list(dict.fromkeys(_cut(part, lacking) for part in found if part))


def _touches(fact: Fact, span: tuple[int, int]) -> bool:
    return fact.start < span[1] and fact.end > span[0]


def _grown(sentence: str, spans: Sequence[tuple[int, int]], first: int, last: int) -> str:
    """Return a run of clauses, with a neighbour where it is too short to say anything."""
    while len(sentence[spans[first][0] : spans[last][1]].split()) < LEAST_PIECE_WORDS and (
        first > 0 or last < len(spans) - 1
    ):
        first, last = (first - 1, last) if first > 0 else (first, last + 1)
    return _LINK.sub("", sentence[spans[first][0] : spans[last][1]].strip())


def _cut(part: str, lacking: Sequence[Fact]) -> str:
    """Return a part of at most `PIECE_WORDS` about the facts where a clause is a whole speech."""
    words = part.split()
    if len(words) <= PIECE_WORDS:
        return part
    keys = {(fact.sort, fact.key) for fact in lacking}
    places = [fact for fact in facts_in(part).found if (fact.sort, fact.key) in keys]
    if not places:
        return " ".join(words[:PIECE_WORDS])
    first, last = (len(part[:edge].split()) for edge in (places[0].start, places[-1].end))
    spare = max(0, PIECE_WORDS - (last - first)) // 2
    return " ".join(words[max(0, first - spare) : last + spare])


def _weights(exchange: Exchange) -> dict[tuple[str, str], float]:
    """Return what each fact weighs (rule 4)."""
    found: dict[tuple[str, str], float] = {}
    for text, weight in ((exchange.before, _OLD), (exchange.answer, _NEW), (exchange.question, _NEW)):
        for fact in facts_in(text).found:
            found[(fact.sort, fact.key)] = weight * (_NAME_WEIGHT if fact.sort in ("name", "day") else 1.0)
    return found


def _fitting(pieces: Sequence[_Piece], weights: dict[tuple[str, str], float], most_words: int) -> list[_Piece]:
    """Choose by weight a word what fits, greedily, the newer of two alike; keep the order.

    What a piece is worth only falls while others are chosen, so one that still is worth as much as when it was last
    weighed is the best (lazy greedy, after Minoux: "Accelerated greedy algorithms for maximizing submodular set
    functions", 1978).
    """
    chosen: list[_Piece] = []
    told: set[tuple[str, str]] = set()
    room = most_words
    heap = [(-_worth(piece, told, weights), -piece.place) for piece in pieces]
    heapq.heapify(heap)
    while heap and room:
        weighed, place = heapq.heappop(heap)
        best = pieces[-place]
        worth = _worth(best, told, weights)
        if worth <= 0:
            continue
        if worth < -weighed:
            heapq.heappush(heap, (-worth, place))
        elif best.words <= room:
            chosen.append(best)
            told |= best.told.keys
            room -= best.words
    if not chosen and pieces:
        chosen = [pieces[-1]._replace(text=" ".join(pieces[-1].text.split()[:most_words]))]
    return sorted(chosen, key=lambda piece: piece.place)


def _worth(piece: _Piece, told: set[tuple[str, str]], weights: dict[tuple[str, str], float]) -> float:
    return sum(weights.get(key, _OLD) for key in piece.told.keys - told) / piece.words


def _newness(text: str) -> float:
    """Return which share of a text's runs of three words is new."""
    words = text.casefold().split()
    runs = [tuple(words[start : start + 3]) for start in range(len(words) - 2)]
    return len(set(runs)) / len(runs) if runs else float(bool(words))


def _ended(text: str) -> str:
    text = text.strip().rstrip(",;:").strip()
    large = text[:1].upper() + text[1:]
    if facts_in(large).keys == facts_in(text).keys:  # before a name it would become a part of that name
        text = large
    return text if text.endswith(_END) else f"{text}."
