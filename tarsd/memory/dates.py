"""Which whole dates a text speaks of, as ISO 8601, in English and Spanish. Pure.

Rules
1. Only what has day, month and year is a date: of "4 May" nobody knows the year.
2. 4/5/2026 is 4 May: day before month, as in most of the world; where only the other order is a date, that one.
"""

from __future__ import annotations

import re
from datetime import date

from tarsd.memory.slots import MONTHS
from tarsd.memory.stemming import words

MAX_DATES = 16
_MONTH = "|".join(MONTHS)
_ISO = re.compile(r"(?<!\d)(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})(?!\d)")
_SLASHED = re.compile(r"(?<![\d/.])(?P<d>\d{1,2})([/.-])(?P<m>\d{1,2})\2(?P<y>\d{4})(?!\d)")
_DAY_FIRST = re.compile(
    rf"(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th|º)?(?: de| of)? (?P<month>{_MONTH})(?: del?|,)? (?P<y>\d{{4}})\b", re.I
)
_MONTH_FIRST = re.compile(rf"\b(?P<month>{_MONTH}) (?P<d>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<y>\d{{4}})\b", re.I)


def dates_in(text: str) -> list[str]:
    """Return the dates in their order in the text, without doubles."""
    plain = " ".join(text.split())
    found: list[tuple[int, str]] = []
    for pattern in (_ISO, _SLASHED, _DAY_FIRST, _MONTH_FIRST):
        for match in pattern.finditer(plain):
            told = match.groupdict()
            month = MONTHS[words(told["month"])[0]] if told.get("month") else int(told["m"])
            if iso := _iso(int(told["y"]), month, int(told["d"])):
                found.append((match.start(), iso))
    return list(dict.fromkeys(iso for _, iso in sorted(found)))[:MAX_DATES]


def _iso(year: int, month: int, day: int) -> str:
    for first, second in ((month, day), (day, month)):
        try:
            return date(year, first, second).isoformat()
        except ValueError:
            continue
    return ""
