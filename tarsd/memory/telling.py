"""Whether a sentence tells a fact that is forgotten, and a text without the sentences that do. Pure.

Rules
1. A sentence tells a fact when it holds most of the fact's words that mean something: stemmed, accents folded; little
   words do not count. A long fact is told sentence by sentence.
2. One code is enough: a word of digits and letters, or of five digits or more, such as a number of a telephone or an
   account. A year or a room number is none.
3. What is left keeps its wording and its order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tarsd.memory.extractive import sentences
from tarsd.memory.stemming import stem_words, words
from tarsd.memory.stopwords import LITTLE_WORDS

MOST = 0.6  # of a fact's words: "Ana's birthday is 4 May" is told by "Ana's birthday: 4 May", not by "Ana rang"
LEAST_WORDS = 2  # a fact of one word is told by that word alone, whole
_MAX_FACTS = 20_000  # sentences; a forgotten book is compared by its beginning, its summaries go by their links
_LITTLE = frozenset().union(*LITTLE_WORDS.values())
_CODE = re.compile(r"(?=.*\d)(?:\d{5,}|(?=.*[^\W\d_])[^\W_]{5,})")


class Facts:
    """The sentences of what is forgotten, ready to be compared with."""

    def __init__(self, texts: Iterable[str]) -> None:
        found = [sentence for text in texts for sentence in sentences(text)][:_MAX_FACTS]
        self._facts = list(dict.fromkeys(stems for sentence in found if (stems := _stems(sentence))))
        self._codes = frozenset(code for sentence in found for code in codes_of(sentence))
        self._by_word: dict[str, list[frozenset[str]]] = {}
        for fact in self._facts:
            for word in fact:
                self._by_word.setdefault(word, []).append(fact)

    def __bool__(self) -> bool:
        return bool(self._facts)

    def tells(self, sentence: str) -> bool:
        """Say whether a sentence tells one of the facts."""
        held = _stems(sentence)
        near = {fact for word in held for fact in self._by_word.get(word, ())}
        return any(_is_most(fact, held) for fact in near) or not self._codes.isdisjoint(codes_of(sentence))


def without(text: str, facts: Facts) -> str:
    """Return a text without the sentences that tell one of the facts; itself where none does."""
    found = sentences(text)
    kept = [sentence for sentence in found if not facts.tells(sentence)]
    if len(kept) == len(found):
        return text
    return (" " if "\n" not in text else "\n").join(kept)


def codes_of(text: str) -> frozenset[str]:
    """Return the words of a text that are codes (rule 2)."""
    return frozenset(word for word in words(text) if _CODE.fullmatch(word))


def _is_most(fact: frozenset[str], held: frozenset[str]) -> bool:
    shared = len(fact & held)
    return shared >= MOST * len(fact) and (shared >= LEAST_WORDS or len(fact) == 1)


def _stems(sentence: str) -> frozenset[str]:
    """Return what a sentence's words have in common in both languages: its own may not be known."""
    plain = [word for word in words(sentence) if word not in _LITTLE]
    return frozenset(stem_words(stem_words(plain, "en"), "es"))
