"""How long a suspect has to clear itself.

Rules
1. The time is at least max(floor, 4 log10(n) T'), and 6 times that while nobody else suspects the member.
2. Each further accuser shortens it, on a logarithm, to the least at K = 2 of them.
3. Where fewer than K others could confirm it (three nodes, or everybody else is silent too): the least at once.
4. A stall that the member announced (BUSY) is not held against it.
Source: Lifeguard, LHA-Suspicion; memberlist `suspicion.go`.
"""

from __future__ import annotations

import math

WANTED_ACCUSERS = 2  # beyond the first
LONGEST = 6.0


class Suspicion:
    """One suspicion against one member."""

    __slots__ = ("_accusers", "_least_s", "others", "since")

    def __init__(self, now: float, members: int, floor_s: float, probe_interval_s: float) -> None:
        self.since = now
        self._least_s = max(floor_s, 4.0 * math.log10(max(members, 1)) * probe_interval_s)
        self.others = members - 2  # who are heard and could join in; kept up to date by `Verdicts`
        self._accusers: set[bytes] = set()

    def accuse(self, by: bytes) -> bool:
        """Count an accuser; says whether it is a new one that still counts."""
        if by in self._accusers or len(self._accusers) > WANTED_ACCUSERS:
            return False
        self._accusers.add(by)
        return True

    def shift(self, lag_s: float) -> None:
        """We were not looking for `lag_s`: give that time back."""
        self.since += lag_s

    @property
    def deadline(self) -> float:
        """When the suspect is dead, if it is not heard before."""
        if self.others < WANTED_ACCUSERS:
            return self.since + self._least_s
        most_s = self._least_s * LONGEST
        further = max(0, len(self._accusers) - 1)
        share = math.log(further + 1) / math.log(WANTED_ACCUSERS + 1)
        return self.since + max(self._least_s, most_s - (most_s - self._least_s) * share)
