"""How many calls may be made a second time, so that failures do not multiply load. Pure: `now` is an argument.

Rules
1. `CALLS_FOR_ONE` calls earn a second attempt, and up to `EARNED_MOST` of them are saved.
2. Beside that there is a floor: `FLOOR_MOST` at once, and `FLOOR_PER_S` come back: a node that seldom calls may repeat
   too, and a PC that freezes under a household's questions loses none of them.
3. The upper half of the floor is for everybody; the lower half only for a person's question that lost its node, so
   that neither background work nor hedges can starve it.
So within any T seconds with n calls there are at most EARNED_MOST + FLOOR_MOST + n / CALLS_FOR_ONE + T * FLOOR_PER_S.
(After Finagle's RetryBudget.)
"""

from __future__ import annotations

CALLS_FOR_ONE = 5
EARNED_MOST = 10
FLOOR_MOST = 40.0  # twice what a frozen PC is asked within the silence that tells, at ten questions a second
FLOOR_PER_S = 1.0


class Budget:
    """The second attempts that this node may make."""

    def __init__(self, now: float) -> None:
        self._calls = 0  # that earned something still to be had
        self._floor = FLOOR_MOST
        self._filled_at = now

    def called(self) -> None:
        """Count a call's first attempt (rule 1)."""
        self._calls = min(self._calls + 1, EARNED_MOST * CALLS_FOR_ONE)

    def take(self, now: float, *, urgent: bool) -> bool:
        """Take a second attempt; False when there is none. `urgent`: a person's question lost its node (rule 3)."""
        self._floor = min(FLOOR_MOST, self._floor + max(0.0, now - self._filled_at) * FLOOR_PER_S)
        self._filled_at = max(now, self._filled_at)
        if self._calls >= CALLS_FOR_ONE:
            self._calls -= CALLS_FOR_ONE
            return True
        if self._floor - 1 >= (0.0 if urgent else FLOOR_MOST / 2):
            self._floor -= 1
            return True
        return False
