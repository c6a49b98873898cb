"""Whether a later memory says otherwise of the very thing that an older one told. Pure.

Distinct memories must never be taken for one another, so only what is sure counts; all else stands side by side, newest
first. Nothing is lost either way: what a later memory contradicts is kept as history.

Rules
1. A memory makes a claim when it is one sentence of the present: "the wifi password is X", "my phone: 5", "Leo is 6".
   Questions, conditions, negations, what was and what will be claim nothing.
2. The thing is an attribute that has one value at a time (`slots`), named first in Spanish ("la contraseña del wifi")
   and last in English ("the wifi password"), with all else that the subject says: another person's, another wifi's is
   another thing.
3. A value must be of the attribute's sort: of a phone digits, of a birthday a day. "The phone is broken" says nothing
   of its number.
4. A value that only says less or more than the other ("Calle Mayor", "Calle Mayor 5, Madrid"; with the country's number
   or without) contradicts nothing. What is a code differs by each character.
5. Where somebody lives changes when the later memory says that it changed: "I moved to", "now lives in".
6. A name that somebody wants to be called by, and the language, length and form of answers, are wishes that a later
   one takes the place of; only wishes are compared with wishes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tarsd.memory import slots
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.extractive import sentences
from tarsd.memory.slots import Sort
from tarsd.memory.stemming import stem_words, words
from tarsd.memory.stopwords import LITTLE_WORDS

MAX_CLAIM_CHARACTERS = 240
MAX_SUBJECT_WORDS = 6
MAX_VALUE_WORDS = 8


class Claim(NamedTuple):
    """What a memory says of what: the slot, of whom or what (stems), the value, and whether it says that it changed."""

    slot: str
    of: frozenset[str]
    sort: Sort
    value: str
    changed: bool = False


_LITTLE = frozenset().union(*LITTLE_WORDS.values()) | slots.POSSESSIVES
_NOT_CLAIMED = re.compile(
    r"\?|^\s*(?:si|if|when|cuando|ojal[aá]|imagin\w+|suppose)\b|\b(?:no|not|never|nunca|jam[aá]s|isn't|aren't|ya no|"
    r"quiz[aá]s?|"
    r"tal vez|maybe|perhaps|creo que|i think|probably|probablemente|might|could|would|podr[ií]a|ser[ií]a|will be|"
    r"ser[aá]|"
    r"was|were|era|eran|fue|used to|antes|before|formerly|until|hasta|cada|every)\b",
    re.IGNORECASE,
)
_NOW = re.compile(
    r"[\s,]*\b(?:ahora(?: mismo)?|actualmente|desde hoy|hoy en d[ií]a|a partir de (?:ahora|hoy)|now|currently|"
    r"from now on|as of "
    r"today|ya)\b[\s,]*",
    re.IGNORECASE,
)
_COPULA = re.compile(
    r"^(?P<subject>.+?)\s*(?:[:=]\s+|\s(?:ha cambiado a|cambi[oó] a|cambia a|ha pasado a ser|has changed to|"
    r"changed to|es|is)\s+"
    r"|'s\s+(?=\S+$))(?P<value>.+)$",
    re.IGNORECASE,
)
_CHANGED_TO = re.compile(r"\s(?:ha cambiado a|cambi[oó] a|cambia a|ha pasado a ser|has changed to|changed to)\s", re.I)
_AGE = re.compile(
    r"^(?P<subject>.+?)\s+(?:tiene|is|turned|ha cumplido|cumpli[oó])\s+(?P<value>\d{1,3})\s*(?:a[nñ]os(?: de edad)?|"
    r"years? old)?$",
    re.IGNORECASE,
)
_MY_AGE = re.compile(r"^(?:yo\s+)?(?:tengo|i am|i'm)\s+(?P<value>\d{1,3})\s+(?:a[nñ]os|years? old)$", re.IGNORECASE)
_LIVES = re.compile(
    r"^(?:(?P<subject>.+?)\s+)?(?P<verb>me he mudado a|nos hemos mudado a|me mud[eé] a|nos mudamos a|se ha mudado a|"
    r"se mud[oó] a|"
    r"se han mudado a|vivo en|vivimos en|vive en|viven en|have moved to|has moved to|moved to|'ve moved to|live in|"
    r"lives in)"
    r"\s+(?P<value>.+)$",
    re.IGNORECASE,
)
_SELF = frozenset({"i", "we", "yo", "nosotros", "nosotras"})


def contradicts(new: MemoryBody, old: MemoryBody) -> bool:
    """Tell whether `new` says otherwise of what `old` told; both by one person of one scope, as the caller sees to."""
    if (new.sort == "fact") != (old.sort == "fact"):
        return False
    if new.sort != "fact":
        return _other_wish(new.text, old.text)
    later, earlier = claim(new.text, new.language), claim(old.text, old.language)
    if later is None or earlier is None or (later.slot, later.sort) != (earlier.slot, earlier.sort):
        return False
    if later.of != earlier.of or (later.slot == "home" and not later.changed):
        return False
    return _differ(later, earlier)


def claim(text: str, language: str) -> Claim | None:
    """Return what a memory claims, None where that is not sure (rules 1 to 3)."""
    found = sentences(text.strip())
    if len(found) != 1 or len(text) > MAX_CLAIM_CHARACTERS:
        return None
    sentence = found[0].rstrip(" .!").replace("’", "'")
    if _NOT_CLAIMED.search(sentence):
        return None
    plain, now = _NOW.subn(" ", sentence)
    plain = " ".join(plain.split())
    return (
        _of_home(plain, language, changed=bool(now)) or _of_age(plain, language) or _of_slot(plain, language, bool(now))
    )


def _of_home(sentence: str, language: str, *, changed: bool) -> Claim | None:
    match = _LIVES.match(sentence)
    if match is None or not re.search(r"[A-ZÁÉÍÓÚÑ]", match["value"]):
        return None
    subject = match["subject"] or ""
    verb = match["verb"].casefold()
    of = frozenset(words(subject))
    is_self = of <= _SELF if subject else verb.split()[0] in ("me", "nos", "vivo", "vivimos")
    if not is_self and not _capital(subject):
        return None
    changed = changed or "mud" in verb or "moved" in verb
    return Claim("home", frozenset() if is_self else _stems(subject, language), "place", match["value"], changed)


def _of_age(sentence: str, language: str) -> Claim | None:
    if match := _MY_AGE.match(sentence):
        return Claim("age", frozenset(), "number", match["value"])
    match = _AGE.match(sentence)
    if match is None or not _capital(match["subject"]) or len(match["subject"].split()) > 2:
        return None
    is_age = sentence.rstrip().casefold().endswith(("años", "anos", "old", "edad")) or " is " not in f" {sentence} "
    return Claim("age", _stems(match["subject"], language), "number", match["value"]) if is_age else None


def _of_slot(sentence: str, language: str, changed: bool) -> Claim | None:
    match = _COPULA.match(sentence)
    if match is None:
        return None
    subject, value = match["subject"].strip(" ,"), match["value"].strip(" ,\"'«»“”")
    if _COPULA.match(value) or len(value.split()) > MAX_VALUE_WORDS:
        return None
    slot, rest = slots.of_subject(subject)
    if slot is None or len(rest) > MAX_SUBJECT_WORDS:
        return None
    value = slots.value_of(slot.sort, value)
    if not value:
        return None
    told = [word for word in rest if word not in _LITTLE]
    if not slots.is_one_thing(slot, told):
        return None
    of = frozenset(stem_words(told, language))
    return Claim(slot.name, of, slot.sort, value, changed or bool(_CHANGED_TO.search(sentence)))


def _differ(later: Claim, earlier: Claim) -> bool:
    """Tell whether two values cannot both be true (rule 4)."""
    if later.sort == "phone":
        return not later.value.endswith(earlier.value) and not earlier.value.endswith(later.value)
    if later.sort != "place":
        return later.value != earlier.value
    one, other = set(words(later.value)) - _LITTLE, set(words(earlier.value)) - _LITTLE
    return not one <= other and not other <= one


def _other_wish(new: str, old: str) -> bool:
    later, earlier = slots.wishes_of(new), slots.wishes_of(old)
    return len(later) == len(earlier) == 1 and later.keys() == earlier.keys() and later != earlier


def _capital(subject: str) -> bool:
    """Tell whether a subject is somebody's name; the head of a sentence has its capital anyway."""
    first = words(subject)[:1]
    return bool(first) and first[0] not in _LITTLE and subject[:1].isupper()


def _stems(subject: str, language: str) -> frozenset[str]:
    return frozenset(stem_words([word for word in words(subject) if word not in _LITTLE], language))
