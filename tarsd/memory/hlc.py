"""Hybrid logical clock: decides the time that a record carries.

Rules
1. A stamp is 48 bit of wall-clock milliseconds and 16 bit of counter; stamps of one clock only grow.
2. A stamp that was seen is passed: what is written after reading a record is later than it.
3. A stamp more than a minute ahead of the wall clock is not taken over: one wrong clock must not drag all along.

Source: Kulkarni et al., "Logical Physical Clocks" (2014).
"""

from __future__ import annotations

COUNTER_BITS = 16
MAX_STAMP = 2**63 - 1  # what a signed 64-bit column holds; 48 bits of milliseconds end in the year 6429
DRIFT_MS = 60_000


def stamp(now_ms: int, counter: int = 0) -> int:
    """Return the stamp of a wall-clock time."""
    return (now_ms << COUNTER_BITS) + counter


def milliseconds(hlc: int) -> int:
    """Return the wall-clock part of a stamp."""
    return hlc >> COUNTER_BITS


def is_ahead(hlc: int, now_ms: int) -> bool:
    """Say whether a stamp is too far in the future to be believed (rule 3)."""
    return milliseconds(hlc) > now_ms + DRIFT_MS


class Clock:
    """One node's clock; `now_ms` is always an argument."""

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def tick(self, now_ms: int) -> int:
        """Return the next stamp, later than every one given or observed before; a full counter runs into the time."""
        self.last = max(stamp(now_ms), self.last + 1)
        return self.last

    def observe(self, hlc: int, now_ms: int) -> bool:
        """Pass a stamp that was seen; False says that it is too far ahead and was not taken over."""
        if is_ahead(hlc, now_ms):
            return False
        self.last = max(self.last, hlc)
        return True

    def pass_by_force(self, hlc: int) -> None:
        """Pass a stamp however far ahead: forgetting must be later than what it forgets."""
        self.last = max(self.last, hlc)
