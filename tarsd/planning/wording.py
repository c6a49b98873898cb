"""Reads a short text as what it says: its content in order, and what must agree for two texts to say the same.

Rules
1. Numbers, times of day, amounts and units have one form each: "5 pm" is "17:00", "€12,000" is "12000 euros", "twice a
   week" is "2 times every week".
2. Words that say little (`wording_lists.LIGHT`) are left out; negations, places and orders in time never are.
3. A word with a capital in the middle of a sentence is a name, and so may be the first one: names have no stems and
   no typing mistakes. What holds letters and digits together, or signs, is a code and is taken to the letter.
4. A long text is one token: the same to the letter or another one.
5. In Spanish a last o, a or e tells persons apart ("vecino", "vecina"; "vivo", "vive") that share a stem.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import msgspec

from tarsd.memory import stemming
from tarsd.planning.wording_lists import (
    FUTURE,
    HELPERS,
    KIN,
    LIGHT,
    NUMBERS,
    PAST,
    PERSONS,
    PREPOSITIONS,
    SAME,
    SECRETS,
    TIMES,
)

_LEAD = re.compile(
    r"^\W*(?:(?:please|por favor|oye|hey|always|siempre)\W+)?(?:(?:do not forget|don['’]t forget|no olvides|remember|"
    r"keep in mind|note|bear in mind|reminder|recuerda|ten en cuenta|apunta|acu[eé]rdate|anota)"
    r"(?:\s+(?:that|de que|que))?\s*[:,]?\s+)?",
    re.IGNORECASE,
)
_CODE = re.compile(r"^(?=.*[A-Za-z])(?=.*[\d@#$%&*+=_!\\/])[^\s]{3,}$|^\w+[@#$%&*+=_!\\]\w+")
_UNIT = "kg|gr|g|cm|mm|km|ml|m|l|h|min|eur"
_KEPT_WHOLE = re.compile(
    rf"^(?:\d+(?:th|st|nd|rd|h|º|ª|am|pm|(?:{_UNIT}))|[€$£]?\d[\d.,:]*[€$£%°]?|\w+/\w+)$", re.IGNORECASE
)
_PERIODS = {
    "day": "day", "days": "day", "dia": "day", "dias": "day", "week": "week", "weeks": "week", "semana": "week",
    "semanas": "week", "month": "month", "months": "month", "mes": "month", "meses": "month", "year": "year",
    "years": "year", "ano": "year", "anos": "year",
}  # fmt: skip
_PERIOD = "|".join(_PERIODS)
_ADVERBS = {
    "daily": "day", "diario": "day", "diaria": "day", "weekly": "week", "semanal": "week", "monthly": "month",
    "mensual": "month", "mensuales": "month", "yearly": "year", "annual": "year", "annually": "year", "anual": "year",
}  # fmt: skip
# What is rewritten, in this order, in text that is lower case and without accents.
_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\b(can|ca)n['’]?t\b|\bcannot\b", "can not"),
        (r"\bwon['’]t\b", "will not"),
        (r"n['’]t\b", " not"),
        (r"['’](s|re|ve|m|d)\b", ""),
        (r"['’]ll\b", " will"),
        (r"([€$£])\s?(\d[\d.,]*)", r"\2 \1"),
        (r"€", " euros "),
        (r"\$", " dollars "),
        (r"£", " pounds "),
        (r"%", " percent "),
        (r"°\s?c\b|°", " degrees "),
        (r"(?<=\d)[ºª]", ""),
        (rf"(?<=\d)({_UNIT})\b", r" \1"),
        (r"\b(\d+)(?:st|nd|rd|th)\b", r"\1"),
        (r"(?<=\d)[.,](?=\d{3}\b)", ""),
        (r"(?<=\d),(?=\d)", "."),
        (r"(?<=\d) (?=\d{3}\b(?! ?(?:euros|dollars|m|g|kg|l)\b))", ""),
        (r"\btwice\b", "2 times"),
        (r"\bonce\b(?= (?:a|per|every|each)\b)", "1 times"),
        (
            r"\bneeds? to\b|\b(?:has|have) to be\b|\b(?:has|have) to\b|\b(?:hay|tiene|tienen|tengo) que\b|\bdeben?\b",
            "must",
        ),
        (r"\b(?:hace|hacen) falta\b", "necesita"),
        (r"\bcumple anos\b", "cumpleanos"),
        (r"\b(segunda|primera|tercera|cuarta|quinta) planta\b", r"\1 piso"),
        (r"\b(?:phone|telephone) number\b", "phone"),
        (r"\blikes? (.*) better\b", r"prefer \1"),
        (r"\bworks? as\b|\btrabaja (?:de|como)\b", "is"),
        (r"\bpicked up\b|\bpick up\b", "collect"),
        (
            rf"\b(?:a|per|every|each|al|por|cada|todos los|todas las|a la|de cada|of every) ({_PERIOD})\b",
            r"every_\1",
        ),
        (r"\b(?:of the|del) (month|mes|year|ano|week)\b", r"every_\1"),
    )
)
_CLOCK = re.compile(
    r"\b(\d{1,2})(?:[:.](\d{2}))?\s*(?:(a\.?m\b\.?|p\.?m\b\.?)|de la (manana|tarde|noche|madrugada))"
    r"|\b(\d{1,2}):(\d{2})\b(?:\s?h\b)?"
)
_TOKEN = re.compile(r"t\d\d:\d\d|\d+(?:\.\d+)?|[^\W\d_]+(?:_[^\W\d_]+)?")
_WORD = re.compile(r"[^\W\d_][\w'’]*")
_MAY_IS_A_MONTH = re.compile(
    r"(?:\b(?:in|every|of|on|last|next|by|until|since|each|this|\d+)\s+may\b)|\bmay\s+\d", re.IGNORECASE
)


PHONE_DIGITS = 9
MAX_CHARS = 2000  # a longer text is the same only to the letter: reading it would keep the loop from people


class Token(msgspec.Struct, frozen=True):
    """A word of content. `canon` stands for it; `ending` tells persons apart (rule 5)."""

    canon: str
    plain: str
    kind: str = ""  # "name", "number", "time", "code"; "" = any other word
    ending: str = ""
    may_be_mistyped: bool = False


class Wording(msgspec.Struct, frozen=True):
    """What a text says."""

    tokens: tuple[Token, ...]
    persons: frozenset[str] = frozenset()
    tense: str = ""  # "past", "future", "" = neither
    places: tuple[tuple[str, str], ...] = ()  # ("box", "in"): what in and on stand before
    begins_with: str = ""  # the preposition that it begins with
    secret: tuple[str, ...] = ()  # where a secret is told: its words to the letter, capitals and all


def read(text: str, language: str = "") -> Wording:
    """Return what a text says; `language`: ISO 639-1, "" = its words are taken without their stems."""
    if len(text) > MAX_CHARS:
        whole = " ".join(text.split())
        return Wording((Token(whole, whole, "code"),))
    stripped = _LEAD.sub("", unicodedata.normalize("NFC", text.strip()), count=1) or text
    codes, without = _take_codes(stripped)
    names = _names(without)
    may_is_month = bool(_MAY_IS_A_MONTH.search(without)) or "May" in without.split()[1:]
    plain = _clock(_rewrite(_fold(without)))
    words = _TOKEN.findall(plain)
    tokens = [
        token for number, word in enumerate(words) if (token := _token(word, language, names, number, may_is_month))
    ]
    if any(token.kind == "number" and len(token.canon) >= PHONE_DIGITS for token in tokens):
        tokens = [token for token in tokens if token.canon not in ("phone", "telefon")]  # nothing else is so long
    return Wording(
        tokens=tuple(tokens + [Token(code, code, "code") for code in codes]),
        persons=frozenset(PERSONS[word] for word in words if word in PERSONS),
        tense=_tense(words, without),
        places=_places(words, language),
        begins_with=words[0] if words and words[0] in PREPOSITIONS else "",
        secret=_secret(words, without),
    )


def _fold(text: str) -> str:
    plain = unicodedata.normalize(
        "NFKD", text.casefold().replace("ñ", "\u0001").replace("º", "\u0002").replace("ª", "\u0002")
    )
    bare = "".join(each for each in plain if not unicodedata.combining(each))
    return bare.replace("\u0001", "n").replace("\u0002", "º")


def _rewrite(plain: str) -> str:
    for pattern, new in _REWRITES:
        plain = pattern.sub(new, plain)
    return plain


def _clock(plain: str) -> str:
    def one(match: re.Match[str]) -> str:
        hour, minute, half, part, plain_hour, plain_minute = match.groups()
        if plain_hour:
            return f"t{int(plain_hour):02}:{plain_minute}"
        value = int(hour) % 12 if half else int(hour)
        is_late = (half or "").startswith("p") or (part in ("tarde", "noche") and int(hour) < 12)
        return f"t{value + 12 * is_late:02}:{minute or '00'}"

    return _CLOCK.sub(one, plain)


def _take_codes(text: str) -> tuple[list[str], str]:
    """Return the codes of a text and the rest of it (rule 3)."""
    codes, rest = [], []
    for chunk in text.split():
        bare = chunk.strip(".,;:()\"'«»¿¡")
        if _CODE.match(bare) and not _KEPT_WHOLE.match(bare) and not re.fullmatch(r"[\w'’]+!", bare):
            codes.append(bare)
        else:
            rest.append(chunk)
    return codes, " ".join(rest)


def _names(text: str) -> frozenset[str]:
    """Return what may be names: words with a capital, the first one included, folded."""
    return frozenset(_bare(word) for word in _WORD.findall(text) if word[:1].isupper())


def _bare(word: str) -> str:
    return re.sub(r"['’].*$", "", _fold(word))


def _token(word: str, language: str, names: frozenset[str], number: int, may_is_month: bool) -> Token | None:
    """Return the token of a word, None for one that says little."""
    if word[0].isdigit() or (word[0] == "t" and word[1:2].isdigit()):
        return Token(word, word, "number")
    if word.startswith("every_"):
        return Token(f"every {_PERIODS[word[6:]]}", word, "time")
    if word in _ADVERBS:
        return Token(f"every {_ADVERBS[word]}", word, "time")
    if word in NUMBERS:
        return Token(NUMBERS[word], word, "number")
    if word == "may" and not may_is_month:
        return Token("can", word)
    if word in TIMES:
        return Token(TIMES[word], word, "time")
    if word in PERSONS or word in LIGHT or word in FUTURE:
        return None
    canon = SAME.get(word)
    if canon in KIN or word in KIN:
        return Token(canon or word, word, "name")
    if canon is not None:
        return Token(canon, word, may_be_mistyped=word not in names)
    if word in names and number > 0:
        return Token(word, word, "name")
    stem = stemming.stem_words([word], language)[0]
    return Token(SAME.get(stem, stem), word, "", _ending(word, language), word not in names)


def _ending(word: str, language: str) -> str:
    bare = word.removesuffix("s")
    return bare[-1] if language == "es" and bare.endswith(("o", "a", "e")) else ""


def _tense(words: list[str], text: str) -> str:
    if any(word in FUTURE for word in words) or re.search(
        r"\w+r(?:á|án|é|emos)\b|\bvan? a \w+r\b|\bgoing to\b", text.lower()
    ):
        return "future"
    if any(word in PAST or re.search(r"\w{2}aba[ns]?$", word) for word in words):
        return "past"
    if re.search(r"\w(?:ió|aron|ieron)\b", text.lower()) or _is_done(words):
        return "past"
    return ""


def _is_done(words: list[str]) -> bool:
    """Tell whether an English verb in -ed is a past: not after a form of "be" ("is fed"), nor before a noun."""
    if any(word in HELPERS for word in words):
        return False
    ends = re.compile(r"\w{2}[^\We]ed$|\wied$")
    return any(
        ends.search(word) and before not in LIGHT and before not in PREPOSITIONS for before, word in pairwise(words)
    )


def _places(words: list[str], language: str) -> tuple[tuple[str, str], ...]:
    found = []
    for number, word in enumerate(words):
        if word in ("in", "on"):
            noun = next((each for each in words[number + 1 :] if each not in LIGHT and each not in PERSONS), "")
            if noun and noun not in TIMES and not noun[0].isdigit():
                found.append((stemming.stem_words([noun], language)[0], word))
    return tuple(found)


def _secret(words: list[str], text: str) -> tuple[str, ...]:
    if not any(word in SECRETS for word in words):
        return ()
    return tuple(sorted(word for word in text.split()[1:] if any(each.isupper() for each in word[:1] + word[1:])))
