"""A summary by extraction, where no model can write one: the sentences that say most in fewest words, in their order.

Rules
1. What must not be lost are facts: names, numbers, dates. A sentence's worth is its facts that are not in yet.
2. Sentences are taken by new facts a word, as long as they fit `max_words`; what room is left goes to the first others.
3. Chosen sentences keep their order and their wording; only one that alone is too long is cut.

Greedy coverage by density, after Khuller, Moss, Naor: "The budgeted maximum coverage problem" (1999).
"""

from __future__ import annotations

import re

from tarsd.memory.stopwords import LITTLE_WORDS

_END = re.compile(r"(?<=[.!?…])[\"'»”)]*\s+|\n+")
# A full stop after these, or after a single letter, ends no sentence.
_SHORT = re.compile(
    r"(?:^|[\s(¿¡«\"])(?:[^\W\d_]|sra?|srta|dra?|d\xf1a|ing|lic|prof|avda?|av|n\xba|n[uú]m|p[aá]g|tel|aprox|etc|ej|vs|"
    r"mrs?|ms|st|no|approx|dept|fig|eur|usd|e\.g|i\.e|p\.m|a\.m)\.$",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[€$£]?\d[\d.,:/%€$£ºª°-]*|[^\W\d_][\w'’-]*")
_LITTLE = frozenset().union(*LITTLE_WORDS.values())
_ENGLISH_TIMES = (
    "january february march april may june july august september october november december monday tuesday wednesday "
    "thursday friday saturday sunday today tomorrow"
)
_SPANISH_TIMES = (
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre lunes martes miércoles "
    "jueves viernes sábado domingo hoy mañana"
)
_TIMES = frozenset((*_ENGLISH_TIMES.split(), *_SPANISH_TIMES.split()))


def summarize(text: str, max_words: int) -> str:
    """Return at most `max_words` words of `text`, in its own wording; "" for an empty text."""
    found = sentences(text)
    lengths = [len(sentence.split()) for sentence in found]
    if sum(lengths) <= max_words:
        return " ".join(found)
    facts = [marks_of(sentence) for sentence in found]
    chosen = _cover(facts, lengths, max_words)
    room = max_words - sum(lengths[number] for number in chosen)
    for number, length in enumerate(lengths):
        if number not in chosen and length <= room and found[number] not in (found[each] for each in chosen):
            chosen.add(number)
            room -= length
    if not chosen:
        best = max(range(len(found)), key=lambda number: len(facts[number]))
        return " ".join(found[best].split()[:max_words])
    return " ".join(found[number] for number in sorted(chosen))


def _cover(facts: list[frozenset[str]], lengths: list[int], max_words: int) -> set[int]:
    chosen: set[int] = set()
    covered: set[str] = set()
    room = max_words
    while True:
        worth = {
            number: len(facts[number] - covered) / lengths[number]
            for number in range(len(facts))
            if number not in chosen and lengths[number] <= room and facts[number] - covered
        }
        if not worth:
            return chosen
        best = max(worth, key=lambda number: (worth[number], -number))
        chosen.add(best)
        covered |= facts[best]
        room -= lengths[best]


def sentences(text: str) -> list[str]:
    """Return the sentences and lines of a text, without empty ones."""
    pieces: list[str] = []
    joined = ""
    start = 0
    for match in [*_END.finditer(text), None]:
        piece = text[start : match.start() if match else len(text)]
        joined = f"{joined} {piece}".strip()
        start = match.end() if match else len(text)
        if match is None or "\n" in match.group() or not _SHORT.search(joined):
            if joined:
                pieces.append(joined)
            joined = ""
    return pieces


def marks_of(sentence: str) -> frozenset[str]:
    """Return the marks of facts in a sentence: the words of names, the numbers, the words of time; lower case.

    They are words as they stand there, no facts: what a fact is, and which say the same, is `memory.facts`'s to say.
    That takes twenty times as long, too long for every sentence of what is remembered, and takes units along.

    The first word's capital says nothing, so it counts only when it is no little word; many are verbs, which does
    little harm: it is the same for all sentences.
    """
    found: set[str] = set()
    for number, match in enumerate(_TOKEN.finditer(sentence)):
        token = match.group().strip(".,:/-")
        lower = token.casefold()
        is_name = token[:1].isupper() and (number > 0 or token.isupper() or lower not in _LITTLE)
        if token[:1].isdigit() or token[:1] in "€$£" or lower in _TIMES or (is_name and lower not in _LITTLE):
            found.add(lower)
    return frozenset(found)
