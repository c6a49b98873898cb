"""Which facts a text tells: names, dates, times, amounts, numbers, phones, accounts, addresses; in English and Spanish.

Rules
1. A fact has a sort and a key; the same fact in other words has the same key: "14 de marzo" is "March 14", "1.250,50 €"
   is "€1,250.50", "5:30 pm" is "17:30".
2. What is part of a longer fact is none of its own: the 14 of "14 de marzo" is no number.
3. A name is a run of capitalised words, with the particles between them. A capital at the head of a sentence says
   little: such a word is a name when it stands beside another one, or elsewhere in the text with its capital, or is no
   word that people open sentences with; alone it is `weak`: worth keeping, never a proof of an invention.
4. A fact is told by a text that has its key; a name also by its words, a date also by a fuller one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, NamedTuple

from tarsd.memory import fact_words as words
from tarsd.memory.stopwords import LITTLE_WORDS

Sort = Literal["address", "account", "phone", "date", "time", "amount", "number", "code", "day", "name"]


class Fact(NamedTuple):
    """One fact, where it stands in its text, and its key (rule 1)."""

    sort: Sort
    key: str
    start: int
    end: int
    weak: bool = False


class Facts(NamedTuple):
    """The facts of a text in their order, with what `tells` looks them up in."""

    found: tuple[Fact, ...]
    keys: frozenset[tuple[str, str]]
    values: frozenset[str]  # of all numbers, whatever they count
    words: frozenset[str]
    dates: tuple[tuple[str, str, str], ...]

    def tells(self, fact: Fact) -> bool:
        """Say whether this text tells a fact, too (rule 4)."""
        if (fact.sort, fact.key) in self.keys:
            return True
        match fact.sort:
            case "name":
                return all(word in self.words for word in fact.key.split())
            case "date":
                wanted = _parts(fact.key)
                return any(all(w in ("", h) for w, h in zip(wanted, here, strict=True)) for here in self.dates)
            case "number" | "amount":
                return fact.key in self.values
            case _:
                return False


_NUMBER = r"\d{1,3}(?:[ .,’']\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)*"
_MONTH = "|".join(sorted(words.MONTHS, key=len, reverse=True))
_DAY = r"(?:3[01]|[12]\d|0?[1-9])"
_YEAR = r"(?:19|20)\d\d"
_PATTERNS: tuple[tuple[Sort, re.Pattern[str]], ...] = (
    (
        "address",
        re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+|(?:https?://|www\.)[^\s,;)]+[^\s,;).!?]"),
    ),
    ("account", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("date", re.compile(r"\b(?P<y>(?:19|20)\d\d)-(?P<m>[01]?\d)-(?P<d>[0-3]?\d)\b")),
    ("date", re.compile(rf"\b(?P<d>{_DAY})[/.-](?P<m>1[0-2]|0?[1-9])[/.-](?P<y>{_YEAR}|\d\d)\b")),
    ("date", re.compile(rf"\b(?P<d>{_DAY})/(?P<m>1[0-2]|0?[1-9])\b(?![/\d])")),
    (
        "date",
        re.compile(
            rf"\b(?P<d>{_DAY})(?:st|nd|rd|th|º)?\s+(?:de\s+|of\s+)?(?P<m>{_MONTH})\b"
            rf"(?:\.?,?\s+(?:del?\s+(?:año\s+)?)?(?P<y>{_YEAR}))?",
            re.IGNORECASE,
        ),
    ),
    (
        "date",
        re.compile(
            rf"\b(?P<m>{_MONTH})\b\.?\s+(?P<d>{_DAY})(?:st|nd|rd|th)?\b(?!:)(?:,?\s+(?:of\s+)?(?P<y>{_YEAR}))?", re.I
        ),
    ),
    ("date", re.compile(rf"\b(?P<m>{_MONTH})\b\.?,?\s+(?:del?\s+|of\s+)?(?P<y>{_YEAR})\b", re.IGNORECASE)),
    (
        "time",
        re.compile(
            r"\b(?P<h>[01]?\d|2[0-4])(?:[:.](?P<min>[0-5]\d)(?!\d|[.,]\d)(?:\s?h\b|\s?(?P<half>[ap](?:m\b|\.\s?m\b\.?)))|"
            r":(?P<min2>[0-5]\d)|\s?h\s?(?P<min3>[0-5]\d)\b|\s?(?P<half2>[ap](?:m\b|\.\s?m\b\.?))|\s?(?:h|o'clock)\b)",
            re.IGNORECASE,
        ),
    ),
    ("amount", re.compile(rf"(?P<sign>[€$£])\s?(?P<n>{_NUMBER})(?!\w)")),
    ("amount", re.compile(rf"(?<![\w.,])(?P<n>{_NUMBER})\s?(?P<sign>[€$£]|{words.CURRENCIES})(?!\w)", re.IGNORECASE)),
    (
        "phone",
        re.compile(r"(?<![\w.,/-])(?:\+|00)\d{1,3}(?:[ .-]?\d{2,4}){3,5}\b|(?<![\w.,/-])\d{3}(?:[ .-]?\d{3}){2}\b"),
    ),
    (
        "phone",
        re.compile(r"(?<![\w.,/-])\d{3}(?:[ .-]\d{2}){3}\b|(?<![\w.,/-])\d{2}(?:[ .-]\d{3}[ .-]\d{2}[ .-]\d{2})\b"),
    ),
    ("code", re.compile(r"(?<![\w/-])\d{4} [B-DF-HJ-NP-TV-Z]{3}\b")),  # a Spanish number plate
    (
        "code",
        re.compile(
            r"(?<![\w/-])(?=[\w/-]*\d)(?=[\w/-]*[A-Za-z])(?!\d+(?:[.,]\d+)?(?:kg|km|kw|kwh|cm|mm|ml|gb|mb|tb|min|st|nd|rd|th|m2"
            r"|[gmlwvh])\b)[A-Za-z0-9]+(?:[/-][A-Za-z0-9]+)*\b|(?<![\w/-])\d+(?:[/-]\d+)+\b",
            re.IGNORECASE,
        ),
    ),
    ("number", re.compile(rf"(?<![\w.,])(?P<n>{_NUMBER})(?=[^\W\d_]{{0,3}}(?!\w))")),
    ("date", re.compile(rf"\b(?P<m>{_MONTH})\b", re.IGNORECASE)),
    ("day", re.compile(rf"\b(?:{'|'.join(words.DAYS)})\b", re.IGNORECASE)),
)
_LOOK_BACK = 24  # characters before a word that tell whether it heads a sentence
_LISTED = re.compile(r"(?m)^[ \t]*\d{1,2}[.)]\s")
_WORD = re.compile(r"[^\W\d_](?:[\w'’-]*\w)?")
_PARTICLE = r"(?:\s+(?:de|del|la|las|los|el|van|von|of|the|da|di))"
_CAPITAL = r"[A-ZÁÉÍÓÚÜÑÇÀÈÒÂÊÎÔÛÄÖ](?:[\w'’&-]*\w)?"
_NAME = re.compile(rf"\b{_CAPITAL}(?:{_PARTICLE}{{0,2}}\s+{_CAPITAL})*\b|\b[a-z]+[A-Z]\w*\b")
_HEAD = re.compile(r"(?:^|[.!?…:]|[.!?…][\"'»”)]|\n)\s*(?:[-*•\"'«“(¿¡]\s*|\d{1,2}[.)]\s+)*$")
_TITLE = re.compile(r"\b(?:[Ss]ra?|[Ss]rta|[Dd]ra?|[Mm]rs?|[Mm]s|[Dd]ña|[Dd]|[Pp]rof|[Aa]vda?|[Ss]t)\.\s*$")
_LITTLE = frozenset().union(*LITTLE_WORDS.values()) | words.OPENERS


def facts_in(text: str) -> Facts:
    """Return the facts of a text."""
    taken = bytearray(len(text))
    for match in _LISTED.finditer(text):
        taken[match.start() : match.end()] = b"\1" * (match.end() - match.start())
    found: list[Fact] = []
    for sort, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            if any(taken[match.start() : match.end()]) or not (key := _key(sort, match)):
                continue
            taken[match.start() : match.end()] = b"\1" * (match.end() - match.start())
            found.append(Fact(sort, key, match.start(), match.end()))
    found += _names(text, taken)
    found.sort(key=lambda fact: fact.start)
    return Facts(
        tuple(found),
        frozenset((fact.sort, fact.key) for fact in found),
        frozenset(_values(text)),
        frozenset(map(plain, _WORD.findall(text))),
        tuple(_parts(fact.key) for fact in found if fact.sort == "date"),
    )


def together(one: Facts, other: Facts) -> Facts:
    """Return what two texts tell; `found` is the first one's."""
    return Facts(
        one.found, one.keys | other.keys, one.values | other.values, one.words | other.words, one.dates + other.dates
    )


def missing(of: Facts, told: Facts) -> list[Fact]:
    """Return the facts that another text does not tell, each once."""
    found: dict[tuple[str, str], Fact] = {}
    for fact in of.found:
        if not told.tells(fact):
            found.setdefault((fact.sort, fact.key), fact)
    return list(found.values())


def invented(of: Facts, told: Iterable[Facts]) -> list[Fact]:
    """Return the facts of a summary that none of its sources tells; a weak one proves nothing (rule 3)."""
    sources = list(told)
    values = frozenset().union(*(source.values for source in sources))
    known = frozenset().union(*(source.words for source in sources))
    return [
        fact
        for fact in of.found
        if not fact.weak
        and not any(source.tells(fact) for source in sources)
        and not (
            fact.sort in ("number", "amount", "time", "code")
            and set(_values(fact.key)) <= values
            and "-" not in fact.key
        )
        and not (fact.sort == "name" and all(word in known for word in fact.key.split()))
    ]


def dates_of(facts: Facts) -> list[str]:
    """Return the dates that have a year, as ISO 8601: a day, or a month."""
    whole = ((year, month, day) for year, month, day in facts.dates if year)
    return sorted({"-".join(part for part in parts if part) for parts in whole})


def names_of(text: str, facts: Facts) -> list[str]:
    """Return the names in a text as they stand there, the first said first, each once."""
    return list({fact.key: text[fact.start : fact.end] for fact in facts.found if fact.sort == "name"}.values())


def plain(word: str) -> str:
    """Return a word without case and accents."""
    apart = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def number_of(digits: str) -> str:
    """Return a number in one spelling, whichever of "." and "," separates its thousands: "1250.5"."""
    digits = re.sub(r"[ ’']", "", digits).rstrip(".,")
    separators = [sign for sign in digits if sign in ".,"]
    if len(set(separators)) == 2:  # the last one separates the decimals
        decimal = separators[-1]
        whole, _, part = digits.rpartition(decimal)
    elif separators and (len(separators) > 1 or re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", digits)):
        whole, part = digits, ""
    else:
        whole, _, part = digits.replace(",", ".").partition(".")
    whole, part = re.sub(r"[.,]", "", whole).lstrip("0") or "0", part.rstrip("0")
    return f"{whole}.{part}" if part else whole


def _values(text: str) -> list[str]:
    return [number_of(match) for match in re.findall(_NUMBER, text)] + [
        number_of(match) for match in re.findall(r"\d+", text)
    ]


def _key(sort: Sort, match: re.Match[str]) -> str:
    groups, text = match.groupdict(), match.group()
    match sort:
        case "date":
            month = groups["m"] if groups["m"].isdigit() else str(words.MONTHS[groups["m"].casefold()])
            if not groups["m"].isdigit() and groups["m"].islower() and groups["m"] in words.MAYBE_MONTHS:
                return "" if not groups.get("d") and not groups.get("y") else _date(groups, month)
            return _date(groups, month)
        case "time":
            return _time(groups)
        case "amount" | "number":
            return number_of(groups["n"])
        case "account":
            return text.replace(" ", "")
        case "phone":
            return re.sub(r"\D", "", text)
        case "day":
            return words.DAYS[text.casefold()]
        case _:
            return text.casefold()


def _date(groups: dict[str, str | None], month: str) -> str:
    year = groups.get("y") or ""
    year = f"20{year}" if len(year) == 2 else year
    return f"{year}|{int(month):02}|{int(groups.get('d') or 0):02}"


def _parts(key: str) -> tuple[str, str, str]:
    year, month, day = key.split("|")
    return year, month, "" if day == "00" else day


def _time(groups: dict[str, str | None]) -> str:
    minutes = groups["min"] or groups["min2"] or groups["min3"] or "00"
    half = (groups["half"] or groups["half2"] or " ")[0].casefold()
    hour = int(groups["h"] or 0)
    if half == "p" and hour < 12:
        hour += 12
    if half == "a" and hour == 12:
        hour = 0
    return f"{hour:02}:{minutes}"


def _names(text: str, taken: bytearray) -> list[Fact]:
    found: list[Fact] = []
    inside: set[str] = set()  # those that stand within a sentence somewhere (rule 3)
    heads: list[tuple[Fact, str]] = []
    for match in _NAME.finditer(text):
        start, end = match.span()
        while start < end and any(taken[start:end]):  # a date in the run ends it
            end = text.rfind(" ", start, end) if " " in text[start:end] else start
        is_head = bool(_HEAD.search(text, max(0, start - _LOOK_BACK), start)) and not _TITLE.search(
            text, max(0, start - _LOOK_BACK), start
        )
        start, is_head = _without_openers(text, start, end, is_head)
        key = " ".join(plain(word) for word in _WORD.findall(text[start:end]))
        if not key:
            continue
        fact = Fact("name", key, start, end)
        if is_head and " " not in text[start:end] and not text[start:end].isupper():
            heads.append((fact, key))
        else:
            inside.add(key)
            found.append(fact)
    return found + [fact._replace(weak=key not in inside) for fact, key in heads]


def _without_openers(text: str, start: int, end: int, is_head: bool) -> tuple[int, bool]:
    """Leave out little words in front: "El Vaillant", "Llama a Luis", "La Sra. Gómez"."""
    while (first := _WORD.match(text, start, end)) and plain(first.group()) in _PLAIN_LITTLE and len(first.group()) > 0:
        if first.group().isupper() and len(first.group()) > 1 and not is_head:
            break
        rest = _WORD.search(text, first.end(), end)
        if rest is None:
            return end, is_head
        start, is_head = rest.start(), False
    return start, is_head


_PLAIN_LITTLE = frozenset(map(plain, _LITTLE))
