"""The attributes that have one value at a time, in English and Spanish, and how their values look. Pure.

A new one is a line of `_SLOTS`; one word in two slots would make two things one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from tarsd.memory.stemming import words

Sort = Literal["code", "phone", "number", "day", "mail", "place"]


class Slot(NamedTuple):
    """An attribute and the sort of its values."""

    name: str
    sort: Sort


def _set(spaced: str) -> frozenset[str]:
    return frozenset(spaced.split())


POSSESSIVES = _set("mi mis tu su sus my our your his her their s nuestro nuestra nuestros nuestras")

# name, sort, its words; two words are written as one name in both orders that people use
_SLOTS: tuple[tuple[str, Sort, str], ...] = (
    ("password", "code", "contraseña, clave, password, passphrase, passcode"),
    ("pin", "code", "pin, pin code, codigo pin, pin number"),
    ("code", "code", "código, code"),
    ("plate", "code", "matrícula, number plate, license plate, plate number, plate, registration number"),
    ("account", "code", "número de cuenta, account number, iban"),
    ("network", "code", "nombre de la red, nombre del wifi, network name, ssid"),
    ("serial", "code", "número de serie, serial number"),
    ("policy", "code", "número de póliza, policy number"),
    ("phone", "phone", "teléfono, número de teléfono, phone, phone number, telephone, telephone number, número"),
    ("mobile", "phone", "móvil, celular, número de móvil, número del móvil, mobile, mobile number, cell, cell phone"),
    ("mail", "mail", "correo, correo electrónico, email, e-mail, mail, email address, mail address"),
    ("birthday", "day", "cumpleaños, birthday, fecha de nacimiento, date of birth"),
    ("anniversary", "day", "aniversario, anniversary, wedding anniversary, aniversario de boda"),
    ("address", "place", "dirección, domicilio, address, home address"),
    ("rent", "number", "alquiler, renta, rent"),
    ("mortgage", "number", "hipoteca, mortgage"),
    ("salary", "number", "sueldo, salario, salary, wage"),
    ("fee", "number", "cuota, fee"),
    ("price", "number", "precio, price"),
    ("age", "number", "edad, age"),
    ("shoe", "number", "número de pie, número de zapato, talla de zapato, shoe size"),
    ("height", "number", "altura, estatura, height"),
    ("weight", "number", "peso, weight"),
)
_BY_WORDS: dict[tuple[str, ...], Slot] = {
    tuple(words(name)): Slot(slot, sort) for slot, sort, names in _SLOTS for name in names.split(",")
}
_LONGEST = max(len(name) for name in _BY_WORDS)
_ARTICLES = _set("el la los las un una the a an") | POSSESSIVES
_OF = re.compile(r"\s(?:of|for|del?|para)\s", re.IGNORECASE)
_SPANISH = re.compile(r"^(?:(?:el|la|mi|tu|su|nuestr[oa])\s)|\s(?:del?|para)\s", re.IGNORECASE)

_PHONE = re.compile(r"\+?\d[\d .()/-]*")
_NUMBER = re.compile(
    r"(?:de |about |unos |[€$£] ?)?(?P<n>\d[\d.,]*?)[.,]?\s*(?:€|\$|£|euros?|dollars?|dólares|pounds?|libras|kilos?|"
    r"kg|cm|m|metros?|"
    r"meters?|metres?|años)?(?:\s*(?:/|al|a|per|por|the|el|la) ?(?:mes|month|año|year|kilo|kg|litro|liter|hora|hour))?",
    re.IGNORECASE,
)
_MONTHS = (
    ("enero", "january"),
    ("febrero", "february"),
    ("marzo", "march"),
    ("abril", "april"),
    ("mayo", "may"),
    ("junio", "june"),
    ("julio", "july"),
    ("agosto", "august"),
    ("septiembre", "september"),
    ("octubre", "october"),
    ("noviembre", "november"),
    ("diciembre", "december"),
)
MONTHS = {name: number for number, names in enumerate(_MONTHS, 1) for name in names}
# One word that says how a code is, not which one.
_HOW = _set(
    "larga largo corta corto facil dificil segura seguro nueva nuevo vieja viejo secreta secreto incorrecta correcta "
    "rara "
    "long short easy hard safe secure new old secret wrong right weak strong public private broken rota roto privada "
    "publica caducada expired obligatoria required"
)


# Of these there are many, one after the other: a booking's code says nothing of the next booking's.
_MANY = _set(
    "descuento discount promo promocion promocional promotion referral cupon coupon voucher factura invoice reserva "
    "booking "
    "reservation pedido order ticket entrada vuelo flight paquete parcel shipping envio seguimiento tracking "
    "verificacion "
    "verification temporal temporary regalo gift"
)
_OF_SOMETHING = _set("password pin code account serial policy fee price network")


def is_one_thing(slot: Slot, of: Sequence[str]) -> bool:
    """Tell whether a slot with the other words of its subject names one thing: "the code" alone may be any code."""
    return _MANY.isdisjoint(of) and (bool(of) or slot.name not in _OF_SOMETHING)


def of_subject(subject: str) -> tuple[Slot | None, list[str]]:
    """Return the slot that a subject names as its head, and the subject's other words; None for no slot."""
    may_be_spanish = _SPANISH.search(f"{subject} ") or not _OF.search(f" {subject} ")
    if may_be_spanish and (found := _spanish(subject)):
        return found
    head, *tail = _OF.split(subject, maxsplit=1)
    plain = words(head.replace("'s ", " "))
    for length in range(min(_LONGEST, len(plain)), 0, -1):
        if slot := _BY_WORDS.get(tuple(plain[-length:])):
            return slot, _others([*plain[:-length], *words(" ".join(tail))])
    return None, []


def _spanish(subject: str) -> tuple[Slot, list[str]] | None:
    """Return the slot whose words a subject begins with."""
    plain = words(subject)
    while plain and plain[0] in _ARTICLES:
        plain = plain[1:]
    for length in range(min(_LONGEST, len(plain)), 0, -1):
        slot = _BY_WORDS.get(tuple(plain[:length]))
        if slot is None:
            continue
        rest = plain[length:]
        if not rest or rest[0] in ("de", "del", "para"):
            return slot, _others(rest)
    return None


def _others(rest: list[str]) -> list[str]:
    return [word for word in rest if word not in _ARTICLES]


def value_of(sort: Sort, text: str) -> str:
    """Return a value in the form in which two are compared, "" where it is not of this sort."""
    match sort:
        case "code":
            return _code(text)
        case "number":
            return _number(text)
        case "phone":
            return _phone(text)
        case "day":
            return _day(text)
        case "mail":
            return text.casefold() if re.fullmatch(r"[^\s@]+@[^\s@]+\.[^\s@]+", text) else ""
        case "place":
            return text if re.search(r"\d|[A-ZÁÉÍÓÚÑ]", text) else ""


def _code(text: str) -> str:
    if len(text.split()) == 1:
        return "" if (words(text) or [""])[0] in _HOW else text
    return text if len(text.split()) <= 6 and re.search(r"\d", text) else ""


def _number(text: str) -> str:
    match = _NUMBER.fullmatch(text.strip())
    return match["n"] if match else ""


def _phone(text: str) -> str:
    text = re.sub(r"^(?:el|the)\s+", "", text)
    return re.sub(r"\D", "", text) if _PHONE.fullmatch(text) else ""


def _day(text: str) -> str:
    """Return month and day; the year of a birthday is that of birth or none."""
    plain = words(re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", text))
    months = [MONTHS[word] for word in plain if word in MONTHS]
    days = [int(word) for word in plain if word.isdigit() and len(word) <= 2]
    if len(months) == 1 and len(days) == 1 and 1 <= days[0] <= 31:
        return f"{months[0]:02}-{days[0]:02}"
    return ""


_LANGUAGES = {
    "es": "espanol castellano spanish",
    "en": "ingles english",
    "fr": "frances french",
    "de": "aleman german",
    "it": "italiano italian",
    "pt": "portugues portuguese",
    "ca": "catalan",
}
_LANGUAGE_OF = {word: code for code, names in _LANGUAGES.items() for word in names.split()}
_ANSWERS = _set(
    "responde respondeme contesta contestame habla hablame escribe escribeme respuestas answer answers reply respond "
    "speak talk "
    "write responder contestar hablar"
)
_LENGTHS = {
    **dict.fromkeys(_set("breve brevemente brevedad corto cortas cortos conciso brief briefly short concise"), "short"),
    **dict.fromkeys(_set("detalle detalladamente detallado largo largas largos long detail detailed length"), "long"),
}
_CALL = re.compile(
    r"\b(?:ll[aá]ma(?:me|nos)|call (?:me|us))\s+(?P<name>[^\s,.;!]+(?:\s[A-ZÁÉÍÓÚÑ][^\s,.;!]*)?)", re.IGNORECASE
)


def wishes_of(text: str) -> dict[str, str]:
    """Return what a wish asks for of the things that have one value: name, language, length and form of answers."""
    found: dict[str, str] = {}
    if match := _CALL.search(text):
        found["name"] = match["name"].casefold()
    plain = words(text)
    if _ANSWERS.isdisjoint(plain):
        if any(word in ("tutea", "tuteame") for word in plain):
            found["form"] = "tu"
        if "usted" in plain:
            found["form"] = "usted"
        return found
    languages = {_LANGUAGE_OF[word] for word in plain if word in _LANGUAGE_OF}
    if len(languages) == 1:
        found["language"] = languages.pop()
    lengths = {_LENGTHS[word] for word in plain if word in _LENGTHS}
    if len(lengths) == 1:
        found["length"] = lengths.pop()
    return found
