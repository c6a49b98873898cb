"""Whether a sentence tells a fact that is forgotten, and a text without the sentences that do. Pure.

Rules
1. A sentence tells a fact when it holds most of the fact's words that mean something: stemmed, accents folded; little
   words do not count. A long fact is told sentence by sentence.
2. A sentence that lacks a name (or number) of the fact and has another one instead tells another fact: the birthday of
   somebody else on the same day.
3. One code is enough: a word of digits and letters, or of five digits or more, such as a number of a telephone or an
   account. A year or a room number is none.
4. What is left keeps its wording and its order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tarsd.memory.extractive import marks_of, sentences
from tarsd.memory.stemming import stem_words, words
from tarsd.memory.stopwords import LITTLE_WORDS

MOST = 0.6  # of a fact's words: "Ana's birthday is 4 May" is told by "Ana's birthday: 4 May", not by "Ana rang"
LEAST_WORDS = 2  # a fact of one word, such as a heading, is told by that word alone
_MAX_FACTS = 20_000  # sentences; a forgotten book is compared by its beginning, its summaries go by their links
_LITTLE = frozenset().union(*LITTLE_WORDS.values())
_CODE = re.compile(r"(?=.*\d)(?:\d{5,}|(?=.*[^\W\d_])[^\W_]{5,})")


class Facts:
    """The sentences of what is forgotten, ready to be compared with."""

    def __init__(self, texts: Iterable[str]) -> None:
        found = [sentence for text in texts for sentence in sentences(text)][:_MAX_FACTS]
        self._facts = list(dict.fromkeys(fact for sentence in found if (fact := _said(sentence)).stems))
        self._codes = frozenset(code for sentence in found for code in codes_of(sentence))
        common = Counter(stem for fact in self._facts for stem in fact.stems)
        self._by_word: dict[str, list[_Said]] = {}
        for fact in self._facts:
            # Who holds most of its words holds one of these: they are more than what may be missing.
            rarest = sorted(fact.stems, key=lambda stem: (common[stem], stem))[: int((1 - MOST) * len(fact.stems)) + 1]
            for word in rarest:
                self._by_word.setdefault(word, []).append(fact)

    def __bool__(self) -> bool:
        return bool(self._facts)

    def tells(self, sentence: str) -> bool:
        """Say whether a sentence tells one of the facts."""
        if self._codes and not self._codes.isdisjoint(codes_of(sentence)):
            return True
        stems = stems_of(sentence) if self._facts else frozenset()
        near = {fact for word in stems for fact in self._by_word.get(word, ())}
        near = {fact for fact in near if _is_most(fact.stems, stems)}
        return bool(near) and _is_any_told(near, _said(sentence))

    def may_be_told(self, text: str) -> bool:
        """Say whether a text of many sentences may tell one of the facts: quick, and never wrongly no."""
        if self._codes and not self._codes.isdisjoint(codes_of(text)):
            return True
        return bool(self._facts) and not stems_of(text).isdisjoint(self._by_word)


def without(text: str, facts: Facts) -> str:
    """Return a text without the sentences that tell one of the facts; itself where none does."""
    if not facts.may_be_told(text):
        return text
    found = sentences(text)
    kept = [sentence for sentence in found if not facts.tells(sentence)]
    if len(kept) == len(found):
        return text
    return (" " if "\n" not in text else "\n").join(kept)


def tells(text: str, facts: Facts) -> bool:
    """Say whether any sentence of a text tells one of the facts."""
    return without(text, facts) != text


def codes_of(text: str) -> frozenset[str]:
    """Return the words of a text that are codes (rule 3)."""
    return frozenset(word for word in words(text) if _CODE.fullmatch(word))


class _Said(NamedTuple):
    """What a sentence says: the stems of its words, and those of its names and of its numbers."""

    stems: frozenset[str]
    names: frozenset[str]
    numbers: frozenset[str]


def _said(sentence: str) -> _Said:
    marks = stems_of(" ".join(sorted(marks_of(sentence))))
    numbers = frozenset(mark for mark in marks if mark[0].isdigit())
    return _Said(stems_of(sentence), marks - numbers, numbers)


def _is_most(fact: frozenset[str], held: frozenset[str]) -> bool:
    shared = len(fact & held)
    return shared >= MOST * len(fact) and (shared >= LEAST_WORDS or held == fact)


def _is_any_told(facts: Iterable[_Said], held: _Said) -> bool:
    return any(not _is_another(fact, held) for fact in facts)


def _is_another(fact: _Said, held: _Said) -> bool:
    pairs = (fact.names, held.names), (fact.numbers, held.numbers)
    return any(mine - held.stems and theirs - fact.stems for mine, theirs in pairs)


def stems_of(text: str) -> frozenset[str]:
    """Return the words of a text that mean something, as those of two texts are compared.

    They are stemmed for both languages: the text's own may not be known.
    """
    plain = [word for word in words(text) if word not in _LITTLE]
    return frozenset(stem_words(stem_words(plain, "en"), "es"))
