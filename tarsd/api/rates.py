"""How much a token may use: token buckets. Pure: `now` is an argument (a clock that only goes on).

Rules
1. A bucket holds `amount` and fills evenly, in `per_s` seconds from empty to full; it begins full.
2. What is counted before it happens (requests) is taken whole or not at all.
3. What is known only afterwards (the tokens of an answer) is spent when it is known, below nothing too: an answer that
   began is never cut by a rate; the next one waits until the bucket holds something again.
4. A rate that was changed keeps the share that was left: changing it is no way to a full bucket.
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta, Struct

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WORDS = {1.0: "a second", 60.0: "a minute", 3600.0: "an hour", 86400.0: "a day"}
MAX_AMOUNT = 1_000_000_000


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    """So much in so many seconds."""

    amount: Annotated[int, Meta(ge=1, le=MAX_AMOUNT)]
    per_s: Annotated[float, Meta(gt=0, le=86400)]

    def __str__(self) -> str:
        unit = next((name for name, seconds in UNITS_S.items() if seconds == self.per_s), f"{self.per_s:g}s")
        return f"{self.amount}/{unit}"

    def words(self, what: str) -> str:
        """Return it as people say it: 60 requests a minute."""
        return f"{self.amount} {what} {_WORDS.get(self.per_s, f'in {self.per_s:g} s')}"


def rate_of(text: str) -> Rate:
    """Return the rate in a text such as 60/m or 50000/h; raises `ValueError` with a sentence."""
    found = re.fullmatch(r"([0-9]{1,10})/([smhd])", text)
    if found is None or not 1 <= int(found[1]) <= MAX_AMOUNT:
        raise ValueError(f"{text!r} is not a rate such as 60/m or 50000/h (s, m, h or d)")
    return Rate(int(found[1]), UNITS_S[found[2]])


class Bucket:
    """What is left of one rate."""

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._level = float(rate.amount)
        self._at = now

    def left(self, now: float) -> float:
        """Return what is there; below 0 = was spent in advance."""
        if now > self._at:
            self._level = min(self.rate.amount, self._level + (now - self._at) * self.rate.amount / self.rate.per_s)
            self._at = now
        return self._level

    def wait_s(self, least: float, now: float) -> float:
        """Return in how many seconds there will be `least`; 0 = now."""
        return max(0.0, (least - self.left(now)) * self.rate.per_s / self.rate.amount)

    def take(self, amount: int, now: float) -> bool:
        """Take all of it, or nothing (rule 2)."""
        if self.left(now) < amount:
            return False
        self._level -= amount
        return True

    def spend(self, amount: int, now: float) -> None:
        """Count what was used already (rule 3)."""
        self._level = self.left(now) - amount

    def change(self, rate: Rate, now: float) -> None:
        """Go on with another rate (rule 4)."""
        if rate != self.rate:
            self._level = self.left(now) / self.rate.amount * rate.amount
            self.rate = rate
